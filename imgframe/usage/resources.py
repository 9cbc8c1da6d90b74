"""nerdctl's ResourceUsage and UnpackedImageSize for whole frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from imgframe import oci, platforms, schema
from imgframe.arrow.image_rows import rows_of
from imgframe.arrow.keys import NONE, Ints, find, numbers, scopes, unify
from imgframe.errors import DocumentError, MissingColumn
from imgframe.inventory import Inventory
from imgframe.inventory_documents import documents_of
from imgframe.usage.sizes import node_snapshotters

if TYPE_CHECKING:
    import pandas as pd

_NOT_THERE = "there is no such image record in the inventory"


def resource_usage(
    inventory: Inventory,
    images: pd.DataFrame,
    *,
    snapshotter: str | None = None,
    platform: str | platforms.Platform | platforms.Matcher | None = None,
) -> pd.DataFrame:
    """What the snapshots of images take, counted as by Go's ``ResourceUsage``: a frame on ``images.index``.

    Columns: ``size`` [bytes] and ``inodes`` of the top snapshot alone (Go's first result), ``total_size`` and ``total_inodes`` of
    it and all its parents (the second), ``error``: why they are <NA>, in Go's words. An image without layers has 0, not <NA>.
    In a frame with a column ``snapshot_key`` (``inventory.containers``) or ``key`` (``inventory.snapshots``) the rows mean
    those snapshots instead; an empty key is 0.

    Args:
        inventory: where the images and snapshots are.
        images: rows with node, namespace and name, of one or many nodes.
        snapshotter: default: the one in each image's row, else the node's.
        platform: default: what the node itself would run; ``"*"`` any, or a specifier such as ``linux/arm64``.

    Raises:
        MissingColumn: the frame does not identify records or snapshots.

    Example:
        >>> import imgframe as imf
        >>> from imgframe import schema
        >>> here = {"node": ["a"], "namespace": ["default"], "snapshotter": ["overlayfs"]}
        >>> inv = imf.Inventory({
        ...     "images": schema.table("images", {**here, "name": ["app:1"], "chain_id": ["sha256:aa"]}),
        ...     "snapshots": schema.table("snapshots", {**here, "key": ["sha256:aa"], "parent": [""],
        ...         "size": [5], "inodes": [2], "total_size": [5], "total_inodes": [2]})})
        >>> imf.resource_usage(inv, inv.images)[["size", "total_size", "total_inodes"]].values.tolist()
        [[5, 5, 2]]
    """
    import pandas as pd

    asked = _asked(inventory, images, snapshotter, platform)
    snapshots = inventory.arrow("snapshots")
    row = _snapshot_rows(asked, snapshots)
    nothing = np.array([chain == "" for chain in asked.chain], np.bool_)
    problems = list(asked.problem)
    data: dict[str, Any] = {}
    known_all = np.ones(len(row), np.bool_)
    for name in ("size", "inodes", "total_size", "total_inodes"):
        values, known = numbers(snapshots[name])
        good = (row >= 0) & np.append(known, False)[row] & ~nothing
        data[name] = pd.arrays.IntegerArray(np.where(good, np.append(values, 0)[row], 0), ~(good | nothing))
        known_all &= good | nothing
    for place in np.flatnonzero(~known_all).tolist():
        problems[place] = problems[place] or _problem(asked.chain[place], bool(row[place] >= 0))
    data["error"] = pd.array([problem or None for problem in problems], dtype="str")
    return pd.DataFrame(data, index=images.index)


def unpacked_image_size(
    inventory: Inventory,
    images: pd.DataFrame,
    *,
    snapshotter: str | None = None,
    platform: str | platforms.Platform | platforms.Matcher | None = None,
) -> pd.Series:
    """What images take unpacked, counted as by Go's ``UnpackedImageSize``: nullable integers on ``images.index`` [bytes].

    The sum over the snapshots of the chain of all diff IDs. An image without layers has 0; what Go reports as an error is
    <NA>, and :func:`resource_usage` says why. Arguments and errors are the same.

    Example:
        >>> import imgframe as imf
        >>> imf.unpacked_image_size(imf.Inventory({}), imf.Inventory({}).images).dtype
        Int64Dtype()
    """
    usage = resource_usage(inventory, images, snapshotter=snapshotter, platform=platform)
    return usage["total_size"].rename("unpacked_size")


class _Asked(NamedTuple):
    """The snapshot of each row: its store, its snapshotter, its key (None: not known), or why there is none."""

    place: pa.Table
    snapshotter: list[str | None]
    chain: list[str | None]
    problem: list[str]


def _asked(
    inventory: Inventory,
    images: pd.DataFrame,
    snapshotter: str | None,
    platform: str | platforms.Platform | platforms.Matcher | None,
) -> _Asked:
    for name in ("snapshot_key", "key"):
        if name in images.columns:
            return _by_key(images, name, snapshotter)
    table = inventory.arrow("images")
    rows = rows_of(table, images, "resource_usage")
    there = np.flatnonzero(rows >= 0)
    place = table.take(pa.array(np.maximum(rows, 0))) if table.num_rows else schema.empty("images")
    if not table.num_rows and len(rows):
        place = schema.table("images", {"node": [None] * len(rows)})
    kinds = _snapshotters(inventory, place, snapshotter)
    chains: list[str | None] = [None] * len(rows)
    problems = [_NOT_THERE] * len(rows)
    given = place["chain_id"].to_pylist()
    targets = place.select(["node", "namespace", "digest", "media_type", "target_size"])
    known: dict[tuple[str, str, str], tuple[str | None, str]] = {}  # each target of a namespace once

    def chain_of(at: int) -> tuple[str | None, str]:
        row = targets.slice(at, 1).to_pylist()[0]
        key = (row["node"], row["namespace"], row["digest"])
        if key not in known:
            target = oci.Descriptor(row["media_type"] or "", row["digest"] or "", row["target_size"] or 0)
            known[key] = _chain(target, documents_of(inventory, *key[:2]), platform)
        return known[key]

    for at in there.tolist():
        chains[at], problems[at] = given[at], ""
        if platform is not None or given[at] is None:
            chains[at], problems[at] = chain_of(at)
    return _Asked(place, kinds, chains, problems)


def _by_key(frame: pd.DataFrame, key: str, snapshotter: str | None) -> _Asked:
    for name in ("node", "namespace", "snapshotter"):
        if name not in frame.columns and (name != "snapshotter" or snapshotter is None):
            raise MissingColumn(name, "resource_usage", frame.columns)
    names = [name for name in ("node", "namespace") if name in frame.columns]
    place = schema.from_frame("snapshots", frame[names])
    own = frame["snapshotter"].tolist() if "snapshotter" in frame.columns else [None] * len(frame)
    kinds = [snapshotter or (kind if isinstance(kind, str) else None) for kind in own]
    keys = [value if isinstance(value, str) else None for value in frame[key].tolist()]
    return _Asked(
        place, kinds, keys, ["" if value is not None else "the row has no snapshot key" for value in keys]
    )


def _snapshotters(inventory: Inventory, place: pa.Table, snapshotter: str | None) -> list[str | None]:
    if snapshotter is not None:
        return [snapshotter] * place.num_rows
    of_node = node_snapshotters(place["node"], inventory.arrow("nodes")).to_pylist()
    return [own or node for own, node in zip(place["snapshotter"].to_pylist(), of_node, strict=True)]


def _chain(
    target: oci.Descriptor,
    documents: oci.Documents,
    platform: str | platforms.Platform | platforms.Matcher | None,
) -> tuple[str | None, str]:
    """The chain ID of a target for a platform, or why it is not known."""
    try:
        resolved = oci.resolve(target, platforms.matcher_of(platform, documents.host), documents)
    except DocumentError as error:
        return None, str(error)
    if resolved.config is None:
        return None, str(resolved.config_error)
    return oci.chain_id(resolved.config.rootfs.diff_ids), ""


def _snapshot_rows(asked: _Asked, snapshots: pa.Table) -> Ints:
    chains = pa.array(asked.chain, pa.string()).dictionary_encode()
    kinds = pa.array(asked.snapshotter, pa.string()).dictionary_encode()
    (key, chain), words = unify([snapshots["key"], chains])
    (kind, wanted), kind_words = unify([snapshots["snapshotter"], kinds])
    (scope, asked_scope), _ = scopes([snapshots, asked.place])
    width = len(kind_words) + 1
    rows = find(scope * width + kind, key, asked_scope * width + wanted, chain, len(words))
    rows[wanted < 0] = NONE
    return rows


def _problem(chain: str | None, there: bool) -> str:
    if chain is None:
        return "its chain of layers is not known"
    if not there:
        return f"snapshot {chain} does not exist: not found"
    return f"the usage of snapshot {chain} or of a parent is not known"
