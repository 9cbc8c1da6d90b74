"""The filters of nerdctl's imgutil over a frame of images, and how they compose.

Each filter function returns a :class:`Filter`; ``images[filter]`` is the frame of the rows that it keeps. Results and errors
are those of nerdctl's Go code for every row, computed once per unique name or label text.
"""

from imgframe.filters.docker import DockerFilters
from imgframe.filters.filter import Filter, apply_filters
from imgframe.filters.labels import filter_by_label
from imgframe.filters.lint import lint_filters
from imgframe.filters.parser import (
    FILTER_BEFORE_TYPE,
    FILTER_DANGLING_TYPE,
    FILTER_LABEL_TYPE,
    FILTER_REFERENCE_TYPE,
    FILTER_SINCE_TYPE,
    FILTER_UNTIL_TYPE,
    Filters,
    parse_filters,
    split_flags,
)
from imgframe.filters.references import filter_by_reference, filter_dangling_images, filter_tagged_images
from imgframe.filters.times import filter_by_created_at, filter_until

__all__ = [
    "FILTER_BEFORE_TYPE",
    "FILTER_DANGLING_TYPE",
    "FILTER_LABEL_TYPE",
    "FILTER_REFERENCE_TYPE",
    "FILTER_SINCE_TYPE",
    "FILTER_UNTIL_TYPE",
    "DockerFilters",
    "Filter",
    "Filters",
    "apply_filters",
    "filter_by_created_at",
    "filter_by_label",
    "filter_by_reference",
    "filter_dangling_images",
    "filter_tagged_images",
    "filter_until",
    "lint_filters",
    "parse_filters",
    "split_flags",
]
