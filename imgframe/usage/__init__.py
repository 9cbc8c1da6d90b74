"""Sizes: what snapshots, manifests and images take, and how much of it images share.

The column functions take Arrow tables of :mod:`imgframe.schema` and give Arrow columns, without pandas.
:func:`resource_usage` and :func:`unpacked_image_size` decide as the Go functions of these names. ``docs/bytes.md`` defines
every size.
"""

from imgframe.usage.chains import SnapshotTotals, snapshot_totals
from imgframe.usage.resources import resource_usage, unpacked_image_size
from imgframe.usage.sizes import image_sizes

__all__ = ["SnapshotTotals", "image_sizes", "resource_usage", "snapshot_totals", "unpacked_image_size"]
