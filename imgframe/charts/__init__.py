"""Charts: each takes a tidy frame and returns a matplotlib Axes; a chart computes nothing beyond its frame.

Every function accepts ``ax=`` to draw into and ``theme="light"`` or ``"dark"``; none touches pyplot's state. Save one with
``ax.figure.savefig("x.svg")``; in a notebook, ``ax.figure`` shows it. Bytes are drawn in decimal units.

Example:
    >>> import imgframe as imf, pandas as pd
    >>> frame = pd.DataFrame({"repository": ["web"], "unique_bytes": [3_000_000], "shared_bytes": [1_000_000]})
    >>> ax = imf.charts.usage_by_repository(frame)
    >>> ax.get_title("left")
    'Bytes by repository'
"""

from imgframe.charts.areas import fleet, layer_sharing, treemap
from imgframe.charts.bars import duplicates, usage_by_repository, waterfall
from imgframe.charts.time_series import age_against_size, growth, timeline

__all__ = [
    "age_against_size",
    "duplicates",
    "fleet",
    "growth",
    "layer_sharing",
    "timeline",
    "treemap",
    "usage_by_repository",
    "waterfall",
]
