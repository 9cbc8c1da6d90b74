"""Who holds a blob or a snapshot, and why an image's bytes stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.arrow.image_rows import nanoseconds
from imgframe.arrow.keys import NONE, Bools, Ints, one_array
from imgframe.errors import NotFound
from imgframe.inventory import Inventory
from imgframe.reclaiming.gc_labels import CONTENT, SNAPSHOT
from imgframe.reclaiming.graph import Graph, graph_of
from imgframe.reclaiming.held import HELD, categories, held_rows, holder_names, ranks
from imgframe.reclaiming.object_index import KEYS
from imgframe.reclaiming.reclaim import reclaim_rows

if TYPE_CHECKING:
    import pandas as pd


def holders(inventory: Inventory, key: str, *, now: Any = None) -> pd.DataFrame:
    """Who holds a blob or a snapshot: one row for each root that reaches it, on every node and in every namespace.

    ``key`` is a digest or a snapshot key. Columns: node, namespace, kind (content or snapshot), snapshotter, key, size,
    holder_kind (image, container, lease, sandbox, or label: a ``gc.root``), holder, and via: the path from the holder to it. A
    blob or snapshot that nothing holds has one row with holder <NA>: the next collection removes it.

    Raises:
        NotFound: the inventory has no such blob or snapshot.

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
    moment = nanoseconds(now)
    graph = graph_of(inventory, moment)
    found = []
    for kind in (CONTENT, SNAPSHOT):
        rows = np.flatnonzero(_equal(graph.table(kind)[KEYS[kind]], key))
        found += (rows + graph.start[kind]).tolist()
    if not found:
        raise NotFound(f"no blob or snapshot {key!r} in this inventory")
    return pa.concat_tables([_holders_of(graph, number, moment) for number in found]).unify_dictionaries()


def _equal(column: pa.ChunkedArray, word: str) -> Bools:
    """Where a text column has this word."""
    return pc.equal(one_array(column).cast(pa.string()), word).fill_null(False).to_numpy(zero_copy_only=False)


def _holders_of(graph: Graph, number: int, now: int | None) -> pa.Table:
    step = _next_steps(graph, number)
    roots = np.flatnonzero(graph.roots(now) & (step != NONE))
    flat = graph.flat
    roots = np.union1d(roots, flat.lease[(flat.target == number) & graph.roots(now)[flat.lease]])
    roots = roots[np.argsort(ranks(graph)[roots], kind="stable")]
    roots = roots if len(roots) else np.array([NONE])
    kind = int(graph.kind_of(np.array([number]))[0])
    row = np.full(len(roots), number - graph.start[kind])
    made = held_rows(graph, kind, row, *holder_names(graph, roots))
    via = [_path(graph, int(root), number, step) for root in roots]
    return made.drop_columns(["others"]).append_column("via", categories(via))


def _next_steps(graph: Graph, number: int) -> Ints:
    """For every object that reaches ``number`` the next one on a shortest path to it; itself for ``number``; else -1."""
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
    """The objects between a root and what it holds, if there are any."""
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
    """Why an image's bytes are on a node: one row for each blob and snapshot that the image refers to.

    All records with this ``name`` count, or those of one node and namespace. Columns: node, namespace, kind (content or
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
    moment = nanoseconds(now)
    graph = graph_of(inventory, moment)
    chosen = np.ones(graph.tables["images"].num_rows, np.bool_)
    for column, wanted in (("name", name), ("node", node), ("namespace", namespace)):
        if wanted is not None:
            chosen &= _equal(graph.tables["images"][column], wanted)
    rows = np.flatnonzero(chosen)
    if not len(rows):
        raise NotFound(f"no image record {name!r} in this inventory")
    made = reclaim_rows(graph, rows, moment)
    held, reached = made.arrow("held"), graph.reached(rows)
    gone = [
        held_rows(graph, kind, np.flatnonzero(reached[graph.part(kind)] & ~graph.stays(kind, made.after)))
        for kind in (CONTENT, SNAPSHOT)
    ]
    both = pa.concat_tables([held, *gone]).unify_dictionaries()
    frees = pa.array(np.arange(both.num_rows) >= held.num_rows)
    return both.add_column(HELD.index("holder_kind"), "frees", frees)
