"""Capacity: tidy frames of what fills the disks, how fast, until when, and what would still fit.

Every function takes an Inventory or a dataset of them and gives a plain frame, ready for a chart or a report.
"""

from imgframe.capacity.copies import duplicates
from imgframe.capacity.fitting import will_it_fit
from imgframe.capacity.forecasting import forecast
from imgframe.capacity.growing import growth

__all__ = ["duplicates", "forecast", "growth", "will_it_fit"]
