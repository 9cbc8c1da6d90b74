"""What changed between two inventories: exactly, row by row, and in words for images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.errors import InputError
from imgframe.inventory import Inventory

if TYPE_CHECKING:
    import pandas as pd

KINDS = (
    "added", "removed", "retagged", "pulled again", "unpacked", "snapshots dropped", "content dropped", "content fetched",
    "use began", "use ended", "pinned", "unpinned",
)  # fmt: skip
"""What can happen to an image record."""

_KEY = ("node", "namespace", "name")


@dataclass(frozen=True, slots=True)
class Diff:
    """What turns one inventory into another.

    ``changes``: a frame with node, namespace, name, change (one of :data:`KINDS`), old_digest, new_digest, content_delta and
    unpacked_delta (bytes of this image that the store holds more or less), one row per image and kind of change. Nodes that
    either inventory could not read are left out here and in ``totals``: nobody knows what happened there.
    ``totals``: a frame per node with content_delta and snapshot_delta: bytes of the store itself, each blob once.
    ``removed`` and ``added``: for every table the rows that go and the rows that come (Arrow tables).
    """

    changes: pd.DataFrame
    totals: pd.DataFrame
    removed: dict[str, pa.Table]
    added: dict[str, pa.Table]

    def __repr__(self) -> str:
        counts = self.changes["change"].value_counts(sort=False)
        words = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        return f"<Diff: {words or 'no image changed'}>"


def diff(old: Inventory, new: Inventory) -> Diff:
    """What changed from ``old`` to ``new``, matching image records by node, namespace and name.

    Applying it to the old inventory gives the new one (:func:`apply_diff`), up to the order of rows.

    Example:
        >>> import imgframe as imf
        >>> from imgframe import schema
        >>> row = {"node": ["a"], "namespace": ["default"], "name": ["x:1"], "digest": ["sha256:1"]}
        >>> imf.diff(imf.Inventory({}), imf.Inventory({"images": schema.table("images", row)}))
        <Diff: 1 added>
    """
    removed, added = {}, {}
    for name in schema.TABLES:
        if name != "labels":
            removed[name], added[name] = _rows_apart(name, old.arrow(name), new.arrow(name))
    unread = _failed(old) | _failed(new)
    return Diff(
        _changes(removed["images"], added["images"], unread), _totals(old, new, unread), removed, added
    )


def apply_diff(inventory: Inventory, difference: Diff) -> Inventory:
    """The inventory with the difference applied; rows come in the order of the table's columns.

    Raises:
        InputError: a row that should go is not in the inventory: the difference was made from another one.
    """
    tables = {}
    for name in difference.removed:
        whole = inventory.arrow(name)
        gone = difference.removed[name]
        ids = _row_ids(schema.concat(name, [gone, whole]))
        going, here = ids[: gone.num_rows], ids[gone.num_rows :]
        keep = ~_marked(here, going)
        if whole.num_rows - int(keep.sum()) != gone.num_rows:
            raise InputError(f"the difference does not fit: table {name!r} lacks rows that it removes")
        tables[name] = canonical(
            name, schema.concat(name, [whole.filter(pa.array(keep)), difference.added[name]])
        )
    return Inventory(tables)


def canonical(name: str, table: pa.Table) -> pa.Table:
    """The table with its rows in the order of its columns, first column first."""
    plain = [
        table[field.name].combine_chunks().indices
        if pa.types.is_dictionary(field.type)
        else table[field.name].combine_chunks()
        for field in table.schema
    ]
    keys = pa.Table.from_arrays(plain, names=[str(at) for at in range(len(plain))])
    order = pc.sort_indices(keys, sort_keys=[(column, "ascending") for column in keys.column_names])
    return schema.table(name, {field.name: table[field.name].take(order) for field in table.schema})


def _row_ids(table: pa.Table) -> np.ndarray:
    """A number per row, equal exactly where all columns are equal (NA equals NA)."""
    ids = np.zeros(table.num_rows, dtype=np.int64)
    for field in table.schema:
        column = table[field.name].combine_chunks()
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        codes = (
            column.indices.fill_null(len(column.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)
        )
        _, ids = np.unique(ids * (len(column.dictionary) + 1) + codes, return_inverse=True)
    return ids


def _marked(ids: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Where ``ids`` meets ``chosen``, each chosen one as often as it occurs there."""
    size = int(max(ids.max(initial=-1), chosen.max(initial=-1))) + 1
    budget = np.bincount(chosen, minlength=size)
    order = np.argsort(ids, kind="stable")
    ranked = ids[order]
    starts = np.searchsorted(ranked, ranked)
    nth = np.arange(len(ids)) - starts
    out = np.zeros(len(ids), dtype=bool)
    out[order] = nth < budget[ranked]
    return out


def _rows_apart(name: str, old: pa.Table, new: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Rows of ``old`` that ``new`` lacks, and the reverse; repeated rows are counted."""
    ids = _row_ids(schema.concat(name, [old, new]))
    before, after = ids[: old.num_rows], ids[old.num_rows :]
    gone = old.filter(pa.array(~_marked(before, after)))
    come = new.filter(pa.array(~_marked(after, before)))
    return schema.concat(name, [gone]), schema.concat(name, [come])


def _failed(inventory: Inventory) -> set[str]:
    """The nodes of which nothing was read."""
    nodes = inventory.arrow("nodes").select(["node", "status"]).to_pylist()
    return {row["node"] for row in nodes if row["status"] == "failed"}


def _changes(removed: pa.Table, added: pa.Table, unread: set[str]) -> pd.DataFrame:
    import pandas as pd

    before, after = (
        {tuple(row[k] for k in _KEY): row for row in table.to_pylist() if row["node"] not in unread}
        for table in (removed, added)
    )
    rows = [
        (*key, kind, (was or {}).get("digest"), (now or {}).get("digest"), *_deltas(was, now))
        for key in sorted(before.keys() | after.keys(), key=lambda key: tuple(part or "" for part in key))
        for was, now in [(before.get(key), after.get(key))]
        for kind in _kinds(was, now)
    ]
    names = [*_KEY, "change", "old_digest", "new_digest", "content_delta", "unpacked_delta"]
    frame = pd.DataFrame(rows, columns=names)
    types = dict.fromkeys((*_KEY, "old_digest", "new_digest"), "category") | dict.fromkeys(
        ("content_delta", "unpacked_delta"), "Int64"
    )
    return frame.astype({**types, "change": pd.CategoricalDtype(KINDS)})


def _kinds(was: dict[str, Any] | None, now: dict[str, Any] | None) -> Iterator[str]:
    """The kinds of change of one record, most telling first; nothing where only sharing with others moved."""
    if was is None:
        yield "added"
    elif now is None:
        yield "removed"
    else:
        if was["digest"] != now["digest"]:
            yield "retagged"
        elif (was["created_at"], was["updated_at"]) != (now["created_at"], now["updated_at"]):
            yield "pulled again"
        if now["unpacked"] and was["unpacked"] is False:
            yield "unpacked"
        if was["unpacked"] and now["unpacked"] is False:
            yield "snapshots dropped"
        if was["digest"] == now["digest"] and None not in {
            was["content_present_size"],
            now["content_present_size"],
        }:
            grown = now["content_present_size"] - was["content_present_size"]
            if grown:
                yield "content dropped" if grown < 0 else "content fetched"
        used = [_used(row) for row in (was, now)]
        if None not in used and used[0] != used[1]:
            yield "use began" if used[1] else "use ended"
        if bool(was["pinned"]) != bool(now["pinned"]):
            yield "pinned" if now["pinned"] else "unpinned"


def _used(row: dict[str, Any]) -> bool | None:
    """Whether a container uses the image; None where the containers were not read."""
    if row["containers"] or row["used_by_digest"]:
        return True
    return None if row["containers"] is None else False


def _deltas(was: dict[str, Any] | None, now: dict[str, Any] | None) -> list[int | None]:
    """Content and unpacked bytes more than before; a record that is not there has none; unknown stays unknown."""
    deltas = []
    for column in ("content_present_size", "unpacked_size"):
        before, after = (0 if row is None else row[column] for row in (was, now))
        deltas.append(None if before is None or after is None else after - before)
    return deltas


def _totals(old: Inventory, new: Inventory, unread: set[str]) -> pd.DataFrame:
    """Per node: bytes of content (each blob once) and of snapshots that came or went."""
    import pandas as pd

    sums = [(_content(one), _snapshots(one)) for one in (old, new)]
    nodes = sorted({node for content, snapshots in sums for node in (*content, *snapshots)} - unread)
    frame = pd.DataFrame(
        {
            "node": nodes,
            "content_delta": [sums[1][0].get(node, 0) - sums[0][0].get(node, 0) for node in nodes],
            "snapshot_delta": [sums[1][1].get(node, 0) - sums[0][1].get(node, 0) for node in nodes],
        }
    )
    return frame.astype({"node": "category", "content_delta": "Int64", "snapshot_delta": "Int64"})


def _content(inventory: Inventory) -> dict[str, int]:
    blobs = (
        inventory.arrow("blobs")
        .select(["node", "digest", "size"])
        .group_by(["node", "digest"])
        .aggregate([("size", "max")])
    )
    summed = blobs.group_by("node").aggregate([("size_max", "sum")])
    return {row["node"]: row["size_max_sum"] or 0 for row in summed.to_pylist()}


def _snapshots(inventory: Inventory) -> dict[str, int]:
    summed = (
        inventory.arrow("snapshots").select(["node", "size"]).group_by("node").aggregate([("size", "sum")])
    )
    return {row["node"]: row["size_sum"] or 0 for row in summed.to_pylist()}
