"""pandas for the container images on your nodes.

The public names load on first use: ``import imgframe`` brings in neither pandas nor grpc nor matplotlib. ``DataFrame.img``
is registered as soon as pandas itself is imported.

Example:
    >>> import imgframe as imf
    >>> imf.parse_repo_tag("docker.io/library/alpine:3.20")
    ('alpine', '3.20')
"""

from __future__ import annotations

import importlib
from typing import Any

from imgframe._after_pandas import after_pandas
from imgframe._version import __version__

_ROOMS = {
    "accessor": (),
    "act": (
        "Result",
        "open_plan",
        "Plan",
        "prune",
        "prune_to",
        "tag",
        "ensure",
        "pull",
        "push",
        "irreplaceable",
        "resolve_digest",
        "stale",
    ),
    "capacity": (),
    "charts": (),
    "collector": ("acollect", "collect"),
    "dataset": ("diff", "open_dataset"),
    "errors": (
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
    "explorer": ("explore",),
    "filters": (
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
    "golang": (),
    "nerdctl": (),
    "golang.time": (),
    "inventory": ("Inventory", "concat", "open_inventory"),
    "nerdctl.existing": ("get_existing_images",),
    "nerdctl.read": ("read_image_config", "read_index", "read_manifest"),
    "nerdctl.selection": ("get_dangling_images", "get_unused_images", "prune_candidates", "select_images"),
    "node": ("Node", "load_nodes"),
    "oci": (),
    "planning": ("EnsuredImage", "PullMode"),
    "platforms": (),
    "reclaiming": (
        "Reclaim",
        "explain_image",
        "holders",
        "orphans",
        "reclaim",
        "reclaim_each",
        "reclaim_marginal",
    ),
    "reference": ("parse_repo_tag",),
    "report": (),
    "scale": (),
    "simulator": (),
    "usage": ("resource_usage", "unpacked_image_size"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", "gotime", *sorted(_HOME), *sorted(room for room in _ROOMS if "." not in room)]  # noqa: PLE0604 -- one table of names


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"imgframe.{_HOME[name]}"), name)
    elif name == "gotime":  # its promised name
        value = importlib.import_module("imgframe.golang.time")
    elif name in _ROOMS:
        value = importlib.import_module(f"imgframe.{name}")
    else:
        raise AttributeError(f"module 'imgframe' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


after_pandas(lambda pandas: importlib.import_module("imgframe.accessor").register(pandas))
