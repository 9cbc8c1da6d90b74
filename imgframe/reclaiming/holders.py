"""Who holds what: the roots from which a blob or a snapshot is reached, and why an image's bytes stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.arrow.image_rows import nanoseconds
from imgframe.arrow.keys import NONE, Bools, Ints, one_array, plain_codes
from imgframe.errors import NotFound
from imgframe.inventory import Inventory
from imgframe.reclaiming.gc_labels import CONTAINER, CONTENT, IMAGE, INGEST, LEASE, SNAPSHOT
from imgframe.reclaiming.graph import Graph, graph_of
from imgframe.reclaiming.reclaim import kept_blobs, reclaim_rows

if TYPE_CHECKING:
    import pandas as pd

_NOBODY = np.iinfo(np.int64).max
_HOLDER = {
    IMAGE: "image",
    CONTAINER: "container",
    LEASE: "lease",
    CONTENT: "label",
    SNAPSHOT: "label",
    INGEST: "ingest",
}
_TABLE = {
    IMAGE: ("images", "name"),
    CONTENT: ("blobs", "digest"),
    SNAPSHOT: ("snapshots", "key"),
    CONTAINER: ("containers", "id"),
    LEASE: ("leases", "id"),
    INGEST: ("ingests", "ref"),
}
HELD = ("node", "namespace", "kind", "snapshotter", "key", "size", "holder_kind", "holder", "others")
"""Columns of what stays; ``others``: more than one root holds it."""


def ranks(graph: Graph) -> Ints:
    """A rank for every object that does not depend on the order of rows: by kind, node, namespace and name."""
    if "ranks" not in graph.cache:
        out = np.full(graph.count, _NOBODY, np.int64)
        above = 0
        for kind in (IMAGE, CONTAINER, LEASE, CONTENT, SNAPSHOT, INGEST):
            table, name = _TABLE[kind]
            rows = graph.tables[table]
            if kind == LEASE:
                rows = rows.take(pa.array(graph.lease_rows))
            names = [name, *(["snapshotter"] if kind == SNAPSHOT else []), "namespace", "node"]
            order = np.lexsort([plain_codes(rows[column]) for column in names])
            place = np.empty(rows.num_rows, np.int64)
            place[order] = np.arange(rows.num_rows)
            out[graph.part(kind)] = place + above
            above += rows.num_rows
        by_rank = np.full(above, NONE, np.int64)
        by_rank[out[out < _NOBODY]] = np.flatnonzero(out < _NOBODY)
        graph.cache["ranks"], graph.cache["by_rank"] = out, by_rank
    return graph.cache["ranks"]


def _lower(values: Ints, source: Ints, target: Ints) -> None:
    np.minimum.at(values, target, values[source])


def _raise(values: Ints, source: Ints, target: Ints) -> None:
    np.maximum.at(values, target, values[source])


def witnesses(graph: Graph, removed: Ints, now: int | None) -> tuple[Ints, Bools]:
    """For every object the first root (by rank) that reaches it without the records ``removed``, and whether others do too."""
    rank, roots = ranks(graph), graph.roots(now)
    found = []
    for push, merge, nobody in ((_lower, np.minimum, _NOBODY), (_raise, np.maximum, NONE)):
        values = np.where(roots, rank, nobody)

        def settle(values: Ints, nobody: int = nobody) -> None:
            values[removed] = nobody

        settle(values)
        graph.spread(values, push, settle)
        flat = graph.flat
        live = roots[flat.lease] & ~np.isin(flat.image, removed)
        merge.at(values, flat.target[live], rank[flat.lease[live]])
        found.append(values)
    first, last = found
    root = np.full(graph.count, NONE, np.int64)
    reached = first < _NOBODY
    root[reached] = graph.cache["by_rank"][first[reached]]
    return root, reached & (first != last)


def held_table(graph: Graph, removed: Ints, after: Bools, now: int | None) -> pa.Table:
    """What the records ``removed`` refer to and stays when they go, and who holds it."""
    reached = np.zeros(graph.count, np.bool_)
    reached[removed] = True
    graph.spread(reached, _or)
    root, others = witnesses(graph, removed, now)
    content = np.arange(graph.start[CONTENT], graph.start[CONTENT + 1])
    elsewhere = kept_blobs(graph, after)[graph.physical] & ~after[content]
    content = content[reached[content] & (after[content] | elsewhere)]
    snapshot = np.arange(graph.start[SNAPSHOT], graph.start[SNAPSHOT + 1])
    snapshot = snapshot[reached[snapshot] & after[snapshot]]
    return pa.concat_tables(
        [_held_content(graph, content, root, others, after), _held_snapshots(graph, snapshot, root, others)]
    ).unify_dictionaries()


def _or(values: Bools, source: Ints, target: Ints) -> None:
    values[target[values[source]]] = True


def _held_content(graph: Graph, numbers: Ints, root: Ints, others: Bools, after: Bools) -> pa.Table:
    rows = numbers - graph.start[CONTENT]
    kind, holder = holder_names(graph, root[numbers])
    keeper = _keeping_namespace(graph, after)
    spaces = one_array(graph.tables["blobs"]["namespace"])
    for place in np.flatnonzero(root[numbers] < 0).tolist():
        kind[place] = "namespace"
        holder[place] = spaces[int(keeper[graph.physical[rows[place]]])].as_py()
    taken = graph.tables["blobs"].take(pa.array(rows))
    return _held(taken, "content", None, taken["digest"], kind, holder, others[numbers])


def _keeping_namespace(graph: Graph, after: Bools) -> Ints:
    """For each physical blob the row of a namespace that keeps it, the first by name."""
    spaces = plain_codes(graph.tables["blobs"]["namespace"])
    rows = np.flatnonzero(after[graph.part(CONTENT)])
    out = np.full(len(graph.physical), NONE, np.int64)
    rows = rows[np.argsort(-spaces[rows], kind="stable")]
    out[graph.physical[rows]] = rows
    return out


def _held_snapshots(graph: Graph, numbers: Ints, root: Ints, others: Bools) -> pa.Table:
    taken = graph.tables["snapshots"].take(pa.array(numbers - graph.start[SNAPSHOT]))
    kind, holder = holder_names(graph, root[numbers])
    return _held(taken, "snapshot", taken["snapshotter"], taken["key"], kind, holder, others[numbers])


def _words(values: Any, count: int) -> pa.DictionaryArray:
    if isinstance(values, str) or values is None:
        values = [values] * count
    if isinstance(values, list):
        values = pa.array(values, pa.string()).dictionary_encode()
    return one_array(values).cast(schema.CATEGORY)


def _held(
    taken: pa.Table,
    kind: str,
    snapshotter: Any,
    key: Any,
    holder_kind: Any,
    holder: Any,
    others: Bools,
) -> pa.Table:
    count = taken.num_rows
    columns = [
        taken["node"].combine_chunks(),
        taken["namespace"].combine_chunks(),
        _words(kind, count),
        _words(snapshotter, count),
        _words(key, count),
        taken["size"].combine_chunks(),
        _words(holder_kind, count),
        _words(holder, count),
        pa.array(others),
    ]
    return pa.table(columns, names=list(HELD))


def holder_names(graph: Graph, roots: Ints) -> tuple[list[str], list[str]]:
    """The kind and the name of each root, as a user knows them; empty where there is none."""
    kinds, names = [""] * len(roots), [""] * len(roots)
    of = graph.kind_of(roots)
    for kind, (table, column) in _TABLE.items():
        places = np.flatnonzero((of == kind) & (roots >= 0))
        if not len(places):
            continue
        rows = roots[places] - graph.start[kind]
        rows = graph.lease_rows[rows] if kind == LEASE else rows
        texts = one_array(graph.tables[table][column]).take(pa.array(rows)).to_pylist()
        for place, text in zip(places.tolist(), texts, strict=True):
            kinds[place], names[place] = _HOLDER[kind], text
    return kinds, names


def holders(inventory: Inventory, key: str, *, now: Any = None) -> pd.DataFrame:
    """Who holds a blob or a snapshot: one row for each root that reaches it, in every node and namespace.

    ``key`` is a digest or a snapshot key. Columns: node, namespace, kind (content or snapshot), snapshotter, key, size,
    holder_kind (image, container, lease, or label: a ``gc.root``), holder, and via: the way from the holder to it. A blob or
    snapshot that nobody holds has one row with holder <NA>: the next collection sweeps it.

    Raises:
        NotFound: the inventory has neither a blob nor a snapshot of that name.

    Example:
        >>> import imgframe as imf
        >>> from imgframe import schema
        >>> here = {"node": ["a"], "namespace": ["default"]}
        >>> inv = imf.Inventory({
        ...     "images": schema.table("images", {**here, "name": ["app:1"], "digest": ["sha256:aa"]}),
        ...     "blobs": schema.table("blobs", {**here, "digest": ["sha256:aa"], "size": [700]})})
        >>> imf.holders(inv, "sha256:aa")["holder"].tolist()
        ['app:1']
    """
    return schema.to_frame(holders_table(inventory, key, now=now))


def holders_table(inventory: Inventory, key: str, *, now: Any = None) -> pa.Table:
    """:func:`holders` as an Arrow table."""
    graph, moment = graph_of(inventory), nanoseconds(now)
    found = []
    for kind in (CONTENT, SNAPSHOT):
        table, column = _TABLE[kind]
        rows = np.flatnonzero(
            pc.equal(one_array(graph.tables[table][column]).cast(pa.string()), key).fill_null(False)
        )
        found += (rows + graph.start[kind]).tolist()
    if not found:
        raise NotFound(f"no blob and no snapshot is called {key!r} in this inventory")
    return pa.concat_tables([_holders_of(graph, number, moment) for number in found]).unify_dictionaries()


def _holders_of(graph: Graph, number: int, now: int | None) -> pa.Table:
    step = _way(graph, number)
    roots = np.flatnonzero(graph.roots(now) & (step != NONE))
    flat = graph.flat
    roots = np.union1d(roots, flat.lease[(flat.target == number) & graph.roots(now)[flat.lease]])
    roots = roots[np.argsort(ranks(graph)[roots], kind="stable")]
    roots = roots if len(roots) else np.array([NONE])
    kinds, names = holder_names(graph, roots)
    kind = int(graph.kind_of(np.array([number]))[0])
    table, column = _TABLE[kind]
    row = graph.tables[table].slice(number - int(graph.start[kind]), 1).take(pa.array([0] * len(roots)))
    made = _held(
        row,
        "content" if kind == CONTENT else "snapshot",
        row["snapshotter"] if kind == SNAPSHOT else None,
        row[column],
        [text or None for text in kinds],
        [text or None for text in names],
        np.zeros(len(roots), np.bool_),
    )
    via = [_path(graph, int(root), number, step) for root in roots]
    return made.drop_columns(["others"]).append_column("via", _words(via, len(via)))


def _way(graph: Graph, number: int) -> Ints:
    """For every object that reaches ``number`` the next one on a shortest way to it; itself for ``number``; else -1."""
    step = np.full(graph.count, NONE, np.int64)
    step[number] = number
    while True:
        new = step.copy()
        for edges in (*graph.early, *graph.stages, graph.late):
            hit = np.flatnonzero((step[edges.target] != NONE) & (step[edges.source] == NONE))
            new[edges.source[hit[::-1]]] = edges.target[hit[::-1]]
        if np.array_equal(new, step):
            return step
        step = new


def _path(graph: Graph, root: int, number: int, step: Ints) -> str | None:
    """The objects between a root and what it holds."""
    if root < 0 or step[root] == NONE:
        return None
    between: list[int] = []
    at = int(step[root])
    while at not in {number, root} and len(between) < 64:
        between.append(at)
        at = int(step[at])
    return " > ".join(holder_names(graph, np.array(between, np.int64))[1]) if between else None


def explain_image(
    inventory: Inventory, name: str, *, node: str | None = None, namespace: str | None = None, now: Any = None
) -> pd.DataFrame:
    """Why an image's bytes are here, and what would have to go: one row for each blob and snapshot it refers to.

    All records called ``name`` are meant, or those of one node and namespace. Columns: node, namespace, kind (content or
    snapshot), snapshotter, key, size, frees (deleting the records removes it), holder_kind and holder (who keeps it
    otherwise: see :func:`imgframe.reclaim`), others (there is more than one such holder).

    Raises:
        NotFound: the inventory has no such record.

    Example:
        >>> import imgframe as imf
        >>> from imgframe import schema
        >>> here = {"node": ["a"] * 2, "namespace": ["default"] * 2}
        >>> inv = imf.Inventory({
        ...     "images": schema.table("images", {**here, "name": ["app:1", "app:2"], "digest": ["sha256:aa"] * 2}),
        ...     "blobs": schema.table("blobs", {**here, "digest": ["sha256:aa", "sha256:bb"], "size": [700, 5]})})
        >>> imf.explain_image(inv, "app:1")[["key", "frees", "holder"]].values.tolist()
        [['sha256:aa', False, 'app:2']]
    """
    return schema.to_frame(explain_table(inventory, name, node=node, namespace=namespace, now=now))


def explain_table(
    inventory: Inventory, name: str, *, node: str | None = None, namespace: str | None = None, now: Any = None
) -> pa.Table:
    """:func:`explain_image` as an Arrow table."""
    graph, moment = graph_of(inventory), nanoseconds(now)
    chosen = np.ones(graph.tables["images"].num_rows, np.bool_)
    for column, wanted in (("name", name), ("node", node), ("namespace", namespace)):
        if wanted is not None:
            texts = one_array(graph.tables["images"][column])
            chosen &= (
                pc.equal(texts.cast(pa.string()), wanted).fill_null(False).to_numpy(zero_copy_only=False)
            )
    rows = np.flatnonzero(chosen)
    if not len(rows):
        raise NotFound(f"no image record is called {name!r} in this inventory")
    made = reclaim_rows(graph, rows, moment)
    held = made.arrow("held")
    gone = _gone(graph, rows, made.after)
    frees = np.concatenate([np.zeros(held.num_rows, np.bool_), np.ones(gone.num_rows, np.bool_)])
    both = pa.concat_tables([held, gone]).unify_dictionaries()
    return both.add_column(HELD.index("holder_kind"), "frees", pa.array(frees))


def _gone(graph: Graph, rows: Ints, after: Bools) -> pa.Table:
    """What the records refer to and goes with them."""
    reached = np.zeros(graph.count, np.bool_)
    reached[rows] = True
    graph.spread(reached, _or)
    stays = kept_blobs(graph, after)[graph.physical]
    content = np.flatnonzero(reached[graph.part(CONTENT)] & ~stays)
    snapshot = np.flatnonzero((reached & ~after)[graph.part(SNAPSHOT)])
    parts = []
    for kind, chosen in ((CONTENT, content), (SNAPSHOT, snapshot)):
        table, column = _TABLE[kind]
        taken = graph.tables[table].take(pa.array(chosen))
        nobody: list[Any] = [None] * len(chosen)
        word, snapshotter = ("content", None) if kind == CONTENT else ("snapshot", taken["snapshotter"])
        no = np.zeros(len(chosen), np.bool_)
        parts.append(_held(taken, word, snapshotter, taken[column], nobody, nobody, no))
    return pa.concat_tables(parts)
