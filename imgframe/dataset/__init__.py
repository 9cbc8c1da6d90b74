"""Inventories over time: a partitioned Parquet dataset, what changed between two moments, and when images were last used.

::

    DIR/date=2026-11-23/collection=<id>/images.parquet, blobs.parquet, ...

One folder per collection, put in place by one rename, so that readers never see an incomplete one. What is keyed by digest
alone (configs, layers, history, documents) is stored with the first collection that saw it: delete folders only with
:func:`prune`, which moves what later collections refer to. DuckDB, polars and Dask read the files as they are: ``read_parquet('DIR/date=*/*/images.parquet', hive_partitioning=true)``.
"""

from imgframe.dataset.append import append
from imgframe.dataset.collections import Dataset, open_dataset
from imgframe.dataset.diff import Diff, apply_diff, diff
from imgframe.dataset.expiry import Pruned, prune
from imgframe.dataset.last_used import last_used

__all__ = ["Dataset", "Diff", "Pruned", "append", "apply_diff", "diff", "last_used", "open_dataset", "prune"]
