"""What a deletion frees, exactly, and who holds the rest: containerd's garbage collector replayed on the tables.

The numbers are proved against real daemons: ``tests/test_reclaim_live.py`` predicts, deletes, and compares digest for digest.
"""

from imgframe.reclaiming.breakdown import breakdown, breakdown_table, df, df_images
from imgframe.reclaiming.holders import explain_image, explain_table, holders, holders_table
from imgframe.reclaiming.orphans import ACTIONS, orphans, orphans_table
from imgframe.reclaiming.per_image import each_table, reclaim_each, reclaim_marginal
from imgframe.reclaiming.reclaim import Reclaim, reclaim

__all__ = [
    "ACTIONS",
    "Reclaim",
    "breakdown",
    "breakdown_table",
    "df",
    "df_images",
    "each_table",
    "explain_image",
    "explain_table",
    "holders",
    "holders_table",
    "orphans",
    "orphans_table",
    "reclaim",
    "reclaim_each",
    "reclaim_marginal",
]
