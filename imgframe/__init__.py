"""pandas for the container images on your nodes.

The public names load on first use: ``import imgframe`` brings in neither pandas nor grpc nor matplotlib, and changes nothing
in the process. ``DataFrame.img`` is registered where pandas is loaded already, else as soon as a public name is used after
pandas was loaded, or imgframe makes a frame.

Example:
    >>> import imgframe as imf
    >>> imf.parse_repo_tag("docker.io/library/alpine:3.20")
    ('alpine', '3.20')
"""

from __future__ import annotations

import importlib
from typing import Any

from imgframe._img_accessor import register_where_pandas_is_loaded
from imgframe._version import __version__

_NAMES = {
    "imgframe.collector": ("acollect", "collect"),
    "imgframe.dataset": ("diff", "open_dataset"),
    "imgframe.errors": (
        "ActionError",
        "DocumentError",
        "FilterError",
        "ImgframeError",
        "InputError",
        "MissingColumn",
        "MissingExtra",
        "NodeError",
        "NotFound",
        "PlatformError",
        "RegistryError",
        "SchemaError",
        "WireError",
    ),
    "imgframe.explorer": ("explore",),
    "imgframe.filters": (
        "FILTER_BEFORE_TYPE",
        "FILTER_DANGLING_TYPE",
        "FILTER_LABEL_TYPE",
        "FILTER_REFERENCE_TYPE",
        "FILTER_SINCE_TYPE",
        "FILTER_UNTIL_TYPE",
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
    ),
    "imgframe.inventory": ("Inventory", "concat", "open_inventory"),
    "imgframe.nerdctl.existing_images": ("get_existing_images",),
    "imgframe.nerdctl.read": ("read_image_config", "read_index", "read_manifest"),
    "imgframe.nerdctl.selection": (
        "get_dangling_images",
        "get_unused_images",
        "prune_candidates",
        "select_images",
    ),
    "imgframe.node": ("Node", "load_nodes"),
    "imgframe.planning": ("EnsuredImage", "PullMode"),
    "imgframe.plans": ("Plan", "Result", "ensure", "open_plan", "prune", "prune_to", "pull", "push", "tag"),
    "imgframe.plans.audited_runs": ("open_audit",),
    "imgframe.plans.undoable": ("undo", "undoable"),
    "imgframe.reclaiming": (
        "Reclaim",
        "explain_image",
        "holders",
        "orphans",
        "reclaim",
        "reclaim_each",
        "reclaim_marginal",
    ),
    "imgframe.reference": ("parse_repo_tag",),
    "imgframe.upstream": ("irreplaceable", "resolve_digest", "stale"),
    "imgframe.usage": ("resource_usage", "unpacked_image_size"),
}
"""The public names by the module that defines them; ``__init__.pyi`` is generated from this table and the next."""

_ROOMS = {
    name: f"imgframe.{name}"
    for name in (
        "capacity", "charts", "dataset", "errors", "filters", "kubelet", "oci", "platforms", "reclaiming", "reference", "report", "scale",
        "schema", "simulator",
    )
} | {"gotime": "imgframe.golang.time"}  # fmt: skip
"""The modules that are entered by name, as in ``imgframe.charts.growth``; all others are imported."""

_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME), *sorted(_ROOMS)]  # noqa: PLE0604 -- one table of names


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _ROOMS:
        value = importlib.import_module(_ROOMS[name])
    else:
        raise AttributeError(f"module 'imgframe' has no attribute {name!r}")
    if register_where_pandas_is_loaded():
        globals()[name] = value  # until then every use of a name comes here
    return value


def __dir__() -> list[str]:
    return __all__


register_where_pandas_is_loaded()
