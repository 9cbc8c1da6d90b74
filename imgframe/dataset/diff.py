"""What changed between two inventories: row by row, exactly, and by kind of change for images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.arrow.keys import plain_codes
from imgframe.errors import InputError
from imgframe.inventory import Inventory
from imgframe.usage.node_bytes import content_by_node, snapshots_by_node

if TYPE_CHECKING:
    import pandas as pd

KINDS = (
    "added", "removed", "retagged", "pulled again", "unpacked", "snapshots dropped", "content dropped", "content fetched",
    "use began", "use ended", "pinned", "unpinned",
)  # fmt: skip
"""The kinds of change of an image record."""

_KEY = ("node", "namespace", "name")


@dataclass(frozen=True, slots=True)
class Diff:
    """The difference between two inventories.

    ``changes``: a frame with node, namespace, name, change (one of :data:`KINDS`), old_digest, new_digest, content_delta and
    unpacked_delta (by how many bytes of the image the store holds more), one row per image and kind of change. Nodes that either
    inventory could not read are omitted here and in ``totals``: what happened there is unknown.
    ``totals``: a frame per node with content_delta and snapshot_delta: bytes of the whole store, each blob once.
    ``removed`` and ``added``: for every table the rows that only the old or only the new inventory has (Arrow tables).
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

    Applied to the old inventory (:func:`apply_diff`) it yields the new one, up to the order of rows.

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
    changes = _changes(removed["images"], added["images"], unread)
    return Diff(changes, _totals(old, new, unread), removed, added)


def apply_diff(inventory: Inventory, difference: Diff) -> Inventory:
    """The inventory with the difference applied; rows are sorted by all columns.

    Raises:
        InputError: the inventory lacks a row that is to be removed: the difference was made from another one.
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
    """The table sorted by all its columns, the first one first."""
    columns = [column.combine_chunks() for column in table.columns]
    plain = [column.indices if pa.types.is_dictionary(column.type) else column for column in columns]
    keys = pa.Table.from_arrays(plain, names=[str(at) for at in range(len(plain))])
    order = pc.sort_indices(keys, sort_keys=[(column, "ascending") for column in keys.column_names])
    return schema.table(name, {field.name: table[field.name].take(order) for field in table.schema})


def _row_ids(table: pa.Table) -> np.ndarray:
    """A number per row; two are equal if and only if all columns are (NA equals NA)."""
    ids = np.zeros(table.num_rows, dtype=np.int64)
    for field in table.schema:
        column = table[field.name].combine_chunks()
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        keys = ids * (len(column.dictionary) + 1) + plain_codes(column) + 1
        _, ids = np.unique(keys, return_inverse=True)
    return ids


def _marked(ids: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Where ``ids`` are among ``chosen``, each as often as it occurs there."""
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
    """The nodes that could not be read."""
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
    types = dict.fromkeys(names[:-2], "category") | dict.fromkeys(names[-2:], "Int64")
    return frame.astype({**types, "change": pd.CategoricalDtype(KINDS)})


def _kinds(was: dict[str, Any] | None, now: dict[str, Any] | None) -> Iterator[str]:
    """The kinds of change of one record, most important first; none if only what it shares with others changed."""
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
        grown, _ = _deltas(was, now)
        if was["digest"] == now["digest"] and grown:
            yield "content dropped" if grown < 0 else "content fetched"
        used = [_used(row) for row in (was, now)]
        if None not in used and used[0] != used[1]:
            yield "use began" if used[1] else "use ended"
        if bool(was["pinned"]) != bool(now["pinned"]):
            yield "pinned" if now["pinned"] else "unpinned"


def _used(row: dict[str, Any]) -> bool | None:
    """Whether a container uses the image; None if the containers were not read."""
    if row["containers"] or row["used_by_digest"]:
        return True
    return None if row["containers"] is None else False


def _deltas(was: dict[str, Any] | None, now: dict[str, Any] | None) -> list[int | None]:
    """The differences in content and unpacked bytes; a missing record has none; unknown stays unknown."""
    deltas = []
    for column in ("content_present_size", "unpacked_size"):
        before, after = (0 if row is None else row[column] for row in (was, now))
        deltas.append(None if before is None or after is None else after - before)
    return deltas


def _totals(old: Inventory, new: Inventory, unread: set[str]) -> pd.DataFrame:
    """Per node the bytes of content and of snapshots that were added or removed."""
    import pandas as pd

    content = [content_by_node(one.arrow("blobs")) for one in (old, new)]
    snapshots = [snapshots_by_node(one.arrow("snapshots")) for one in (old, new)]
    nodes = sorted({node for sums in (*content, *snapshots) for node in sums} - unread)
    deltas = {
        name: [after.get(node, 0) - before.get(node, 0) for node in nodes]
        for name, (before, after) in (("content_delta", content), ("snapshot_delta", snapshots))
    }
    frame = pd.DataFrame({"node": nodes, **deltas})
    return frame.astype({"node": "category", **dict.fromkeys(deltas, "Int64")})
