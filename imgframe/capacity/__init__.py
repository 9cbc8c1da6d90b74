"""Capacity: tidy frames of what fills the disks, how fast, until when, and what would still fit.

Every function takes an Inventory or a dataset of them and gives a plain frame, ready for a chart or a report.
"""

from imgframe.capacity.attribution import (
    by_label,
    by_namespace,
    by_node,
    by_registry,
    by_repository,
    layer_sharing,
)
from imgframe.capacity.chart_data import ages, changes_by_day, fullest, largest, lines
from imgframe.capacity.daily import daily
from imgframe.capacity.duplicates import duplicates
from imgframe.capacity.fit import will_it_fit
from imgframe.capacity.forecast import forecast
from imgframe.capacity.growth import growth

__all__ = [
    "ages",
    "by_label",
    "by_namespace",
    "by_node",
    "by_registry",
    "by_repository",
    "changes_by_day",
    "daily",
    "duplicates",
    "forecast",
    "fullest",
    "growth",
    "largest",
    "layer_sharing",
    "lines",
    "will_it_fit",
]
