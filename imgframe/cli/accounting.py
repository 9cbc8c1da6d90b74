"""``imgframe df``, ``reclaim`` and ``why``: where the bytes are, what a prune would free, and who holds the rest."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgframe.cli import acting, source, text

if TYPE_CHECKING:
    import pyarrow as pa

    from imgframe.inventory import Inventory

Format = Annotated[str, typer.Option("--format", help="table or json (raw integers).")]


def df(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="One row per image, and the orphans.")
    ] = False,
    format: Format = "table",
    addresses: source.Addresses = None,
    nodes_file: source.NodesFile = None,
    saved: source.From = None,
    no_cache: source.NoCache = False,
) -> None:
    """Show where the bytes are: images, containers, orphans; total, active, size, reclaimable. All namespaces."""
    from imgframe import reclaiming

    inventory = source.load(addresses, nodes_file, saved, cache=not no_cache)
    tables = {"summary": reclaiming.df(inventory)}
    if verbose:
        tables |= {"images": reclaiming.df_images(inventory), "orphans": reclaiming.orphans_table(inventory)}
        tables["nodes"] = reclaiming.breakdown_table(inventory)
    if format == "json":
        _json({name: text.raw_rows(table) for name, table in tables.items()})
    else:
        _lines(_summary(tables["summary"]))
        if verbose:
            for name, columns in VERBOSE.items():
                print(f"\n{name.upper()}")
                _lines(_table(tables[name], columns))
    source.finish(inventory)


VERBOSE = {
    "images": {
        "node": "NODE", "namespace": "NAMESPACE", "name": "NAME", "shared_size": "SHARED", "unique_size": "UNIQUE",
        "content_present_size": "CONTENT", "unpacked_size": "UNPACKED", "reclaimable_size": "ALONE FREES", "containers": "CONTAINERS",
    },
    "orphans": {
        "node": "NODE", "namespace": "NAMESPACE", "kind": "KIND", "key": "KEY", "size": "SIZE", "reason": "REASON", "action": "ACTION",
    },
    "nodes": {"node": "NODE", "part": "PART", "items": "ITEMS", "size": "SIZE", "unknown": "UNKNOWN"},
}  # fmt: skip
"""Columns of the tables of ``df -v`` and their headings."""

_BYTES = {"size", "shared_size", "unique_size", "content_present_size", "unpacked_size", "reclaimable_size"}


def _summary(table: pa.Table) -> list[list[str]]:
    """The table of docker's ``system df``, with a share behind the reclaimable bytes."""
    rows = [["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]]
    for row in table.to_pylist():
        share = f" ({100 * row['reclaimable'] // row['size']}%)" if row["size"] else ""
        size = text.rounded(row["size"]) + (f" + {row['unknown']} of unknown size" if row["unknown"] else "")
        rows.append(
            [
                row["type"].capitalize(),
                str(row["total"]),
                str(row["active"]),
                size,
                text.rounded(row["reclaimable"]) + share,
            ]
        )
    return rows


def _table(table: pa.Table, columns: dict[str, str]) -> list[list[str]]:
    """Chosen columns as text; a column of one node or namespace only is left out."""
    names = [name for name in columns if name in table.column_names]
    shown = [
        name for name in names if name not in {"node", "namespace"} or len(set(table[name].to_pylist())) > 1
    ]
    rows = [[columns[name] for name in shown]]
    for row in table.select(shown).to_pylist():
        cells = [
            text.rounded(row[name]) if name in _BYTES else "" if row[name] is None else str(row[name])
            for name in shown
        ]
        rows.append([text.printable(cell) for cell in cells])
    return rows


def _lines(rows: list[list[str]]) -> None:
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in text.columns(rows)))


def _json(value: Any) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")


def reclaim(
    filters: acting.Filters = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Unused images too, not only dangling ones.")
    ] = False,
    format: Format = "table",
    addresses: source.Addresses = None,
    nodes_file: source.NodesFile = None,
    namespaces: source.Namespaces = None,
    all_namespaces: source.AllNamespaces = False,
    saved: source.From = None,
    no_cache: source.NoCache = False,
) -> None:
    """Show what a prune would free, exactly, and what it would not, and why. Nothing is deleted.

    The images are those that imgframe prune with the same options is about, before what it keeps.
    """
    from imgframe.reclaiming import reclaim as replay

    inventory = source.load(addresses, nodes_file, saved, cache=not no_cache)
    wanted = source.chosen_namespaces(namespaces, all_namespaces or (saved is not None and not namespaces))
    rows = acting.candidates(inventory, wanted, filters or [], everything=everything)
    made = replay(inventory, rows)
    if format == "json":
        numbers = {
            name: getattr(made, name)
            for name in (
                "content_bytes",
                "snapshot_bytes",
                "ingest_bytes",
                "garbage_bytes",
                "total_bytes",
                "inodes",
            )
        }
        frames = {
            name: text.raw_rows(made.arrow(name))
            for name in ("blobs", "snapshots", "ingests", "held", "unknown")
        }
        _json({"images": [str(name) for name in rows["name"]], **numbers, **frames})
    else:
        print(f"{len(rows)} images would free {text.rounded(made.total_bytes)}: {text.rounded(made.content_bytes)} of content, "
              f"{text.rounded(made.snapshot_bytes)} of snapshots, {made.inodes} inodes")  # fmt: skip
        if made.garbage_bytes:
            print(
                f"of this {text.rounded(made.garbage_bytes)} is garbage already and goes with the next collection"
            )
        if made.arrow("unknown").num_rows:
            print(f"and {made.arrow('unknown').num_rows} snapshots whose size was not collected")
        _held(made.arrow("held"))
    source.finish(inventory)


def _held(held: pa.Table, most: int = 20) -> None:
    """What stays, by holder, largest first."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in held.to_pylist():
        entry = sums.setdefault((row["node"], row["namespace"], row["holder_kind"], row["holder"]), [0, 0])
        entry[0] += row["size"] or 0
        entry[1] += 1
    if not sums:
        return
    print(f"{text.rounded(sum(entry[0] for entry in sums.values()))} of these images stay, held by")
    ranked = sorted(sums.items(), key=lambda pair: -pair[1][0])
    rows = [["BYTES", "ITEMS", "KIND", "HOLDER"]]
    rows += [
        [text.rounded(size), str(count), kind or "", text.printable(holder or "")]
        for (_, _, kind, holder), (size, count) in ranked[:most]
    ]
    _lines(rows)
    if len(ranked) > most:
        print(f"and {len(ranked) - most} more holders (--format json has all)")


def why(
    what: Annotated[str, typer.Argument(metavar="DIGEST|IMAGE", help="A blob, a snapshot key, or an image.")],
    format: Format = "table",
    addresses: source.Addresses = None,
    nodes_file: source.NodesFile = None,
    saved: source.From = None,
    no_cache: source.NoCache = False,
) -> None:
    """Show who holds a blob or snapshot, or why the bytes of an image are here and what would have to go."""
    inventory = source.load(addresses, nodes_file, saved, cache=not no_cache)
    table = _reasons(inventory, what)
    if format == "json":
        _json(text.raw_rows(table))
    else:
        columns = {"node": "NODE", "namespace": "NAMESPACE", "kind": "KIND", "key": "KEY", "size": "SIZE", "frees": "FREED WITH IT",
                   "holder_kind": "HELD BY", "holder": "HOLDER", "via": "VIA"}  # fmt: skip
        _lines(_table(table, columns))
    source.finish(inventory)


def _reasons(inventory: Inventory, what: str) -> pa.Table:
    """The holders of a blob or snapshot; for an image what it holds and who holds it otherwise.

    Raises:
        NotFound: neither is there.
    """
    from imgframe.cli.inspect import spellings
    from imgframe.errors import NotFound
    from imgframe.reclaiming import explain_table, holders_table

    names = set(inventory.arrow("images")["name"].to_pylist())
    for spelling in sorted(spellings(what)):
        if spelling in names:
            return explain_table(inventory, spelling)
    try:
        return holders_table(inventory, what)
    except NotFound as error:
        raise NotFound(
            f"no image, blob or snapshot is called {what!r}; imgframe images -A lists the images"
        ) from error
