"""``imgframe df``, ``reclaim`` and ``why``: where the bytes are, what a prune would free, and who holds the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from imgframe.cli import options, plans, records, terminal

if TYPE_CHECKING:
    import pyarrow as pa

    from imgframe.collector.disk import Measured
    from imgframe.inventory import Inventory

Format = Annotated[str, typer.Option("--format", help="table or json (raw integers).")]


def df(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="One row per image, and the orphans.")
    ] = False,
    no_du: Annotated[
        bool,
        typer.Option(
            "--no-du",
            help="Do not read the disk: faster, but nothing is reconciled, and the sizes of writable layers are unknown.",
        ),
    ] = False,
    format: Annotated[
        str,
        typer.Option(
            "--format", help="table, json or csv (raw integers; csv: the summary, with -v the images)."
        ),
    ] = "table",
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    saved: options.From = None,
    no_cache: options.NoCache = False,
) -> None:
    """Show where the bytes are: images, containers, orphans; total, active, size, reclaimable. All namespaces.

    The files of a store that is on this machine and readable are added up as du does; what the tables do not explain is unaccounted.
    """
    from imgframe import reclaiming

    options.known_format(format, "table", "json", "csv")
    usage: Literal["committed", "all"] = "committed" if no_du else "all"
    inventory = options.load(addresses, nodes_file, saved, cache=not no_cache, usage=usage)
    measured = _measured(inventory, "the inventory is a saved one" if saved else "--no-du" if no_du else "")
    disk = _disk(reclaiming.breakdown_table(inventory, measured.sizes).to_pylist(), measured)
    images = reclaiming.df_images(inventory) if verbose else None
    summary = _summary(reclaiming.df(inventory).to_pylist(), disk)
    if format == "csv":
        if images is not None:
            records.print_rows(images, "csv")
        else:
            records.print_csv(list(summary[0]), summary)
    elif format == "json":
        tables = {} if images is None else {"images": images, "orphans": reclaiming.orphans_table(inventory)}
        more = {name: records.rows(table) for name, table in tables.items()}
        records.print_json({"summary": summary, "disk": disk, **more})
    else:
        terminal.print_table([SUMMARY, *map(_summary_line, summary)])
        _print_unmeasured(measured)
        if images is not None:
            print("\nIMAGES")
            _print(inventory, images, IMAGES)
            print("\nORPHANS")
            _print(inventory, reclaiming.orphans_table(inventory), ORPHANS)
            print("\nNODES")
            lines = [
                [terminal.printable(row["node"]), *(_signed(row[name]) for name in DISK[1:])] for row in disk
            ]
            terminal.print_table([[name.upper() for name in DISK], *lines])
    options.finish(inventory)


IMAGES = {
    "node": "NODE", "namespace": "NAMESPACE", "name": "NAME", "shared_size": "SHARED", "unique_size": "UNIQUE",
    "content_present_size": "CONTENT", "unpacked_size": "UNPACKED", "reclaimable_size": "ALONE FREES", "containers": "CONTAINERS",
}  # fmt: skip
ORPHANS = {
    "node": "NODE", "namespace": "NAMESPACE", "kind": "KIND", "key": "KEY", "size": "SIZE", "age": "AGE", "reason": "REASON",
    "action": "ACTION",
}  # fmt: skip
"""Columns of the tables of ``df -v`` and their headings."""

SUMMARY = ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
DISK = ["node", "images", "containers", "orphans", "unaccounted", "total"]
_BYTES = {"size", "shared_size", "unique_size", "content_present_size", "unpacked_size", "reclaimable_size"}


def _measured(inventory: Inventory, but: str) -> Measured:
    """What the stores on this machine take on disk; ``but``: why nothing is measured."""
    from imgframe.collector.disk import Measured, measure

    nodes = inventory.arrow("nodes")["node"].to_pylist()
    return Measured({}, dict.fromkeys(nodes, but)) if but else measure(inventory, progress=None)


def _disk(parts: list[dict[str, Any]], measured: Measured) -> list[dict[str, Any]]:
    """A row per node: its parts and their total. Unaccounted is None, with a reason, where nothing was measured."""
    rows: dict[str, dict[str, Any]] = {}
    for part in parts:
        rows.setdefault(part["node"], {"node": part["node"]})[part["part"]] = part["size"]
    for node, row in rows.items():
        row["reason"] = measured.reasons.get(node)
        if node not in measured.sizes:
            row["unaccounted"] = None
    return list(rows.values())


def _summary(rows: list[dict[str, Any]], disk: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the summary, what is unaccounted on the nodes that were measured, and the total."""
    found = [row["unaccounted"] for row in disk if row["unaccounted"] is not None]
    unaccounted = sum(found) if found else None
    rest: dict[str, Any] = dict.fromkeys(("total", "active", "size", "reclaimable", "unknown"))
    sums = {"size": sum(row["total"] for row in disk), "unknown": sum(row["unknown"] for row in rows)}
    return [*rows, {"type": "unaccounted", **rest, "size": unaccounted}, {"type": "total", **rest, **sums}]


def _summary_line(row: dict[str, Any]) -> list[str]:
    """A line as ``docker system df`` prints it, with the share of the reclaimable bytes in percent."""
    size = _signed(row["size"]) + (f" + {row['unknown']} of unknown size" if row["unknown"] else "")
    line = [
        row["type"].capitalize(),
        *("" if row[name] is None else str(row[name]) for name in ("total", "active")),
        size,
    ]
    if row["reclaimable"] is None:
        return [*line, ""]
    share = f" ({100 * row['reclaimable'] // row['size']}%)" if row["size"] else ""
    return [*line, terminal.rounded(row["reclaimable"]) + share]


def _signed(size: int | None) -> str:
    """Bytes as text; negative where a file system compresses: it takes less than its files say."""
    return f"-{terminal.rounded(-size)}" if size is not None and size < 0 else terminal.rounded(size)


def _print_unmeasured(measured: Measured, most: int = 3) -> None:
    """A line for each reason why nodes could not be compared with their disks."""
    nodes: dict[str, list[str]] = {}
    for node, reason in measured.reasons.items():
        nodes.setdefault(reason, []).append(node)
    for reason, names in nodes.items():
        more = f" and {len(names) - most} more" if len(names) > most else ""
        print(terminal.printable(f"Not reconciled with du: {', '.join(names[:most])}{more}: {reason}"))


def _print(inventory: Inventory, table: pa.Table, columns: dict[str, str], most: int | None = None) -> None:
    """Chosen columns of the first ``most`` rows; node or namespace only where the inventory has several."""
    spaces = inventory.arrow("namespaces")["namespace"].to_pylist()
    several = {"node": inventory.arrow("nodes").num_rows > 1, "namespace": len(set(spaces)) > 1}
    names = [name for name in columns if name in table.column_names]
    shown = [name for name in names if several.get(name, True) or len(set(table[name].to_pylist())) > 1]
    cells = table.select(shown).slice(0, most).to_pylist()
    rows = [[terminal.printable(_cell(name, row[name])) for name in shown] for row in cells]
    terminal.print_table([[columns[name] for name in shown], *rows])


def _cell(name: str, value: Any) -> str:
    if name in _BYTES:
        return terminal.rounded(value)
    if value is None:
        return ""
    return terminal.ago(0, value * 10**9) if name == "age" else str(value)


def reclaim(
    filters: options.Filters = None,
    everything: options.Unused = False,
    format: Format = "table",
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.Namespaces = None,
    all_namespaces: options.AllNamespaces = False,
    saved: options.From = None,
    no_cache: options.NoCache = False,
) -> None:
    """Show what a prune would free, exactly, and what stays, and why. Nothing is deleted.

    The images are the candidates of imgframe prune with the same options; what prune would keep counts here.
    """
    from imgframe.reclaiming import reclaim as replay

    options.known_format(format, "table", "json")
    inventory = options.load(addresses, nodes_file, saved, cache=not no_cache)
    wanted = options.scope(namespaces, all_namespaces, saved)
    rows = plans.candidates(inventory, wanted, filters or [], everything=everything)
    made = replay(inventory, rows)
    if format == "json":
        numbers = (
            "content_bytes",
            "snapshot_bytes",
            "ingest_bytes",
            "garbage_bytes",
            "total_bytes",
            "inodes",
        )
        frames = ("blobs", "snapshots", "ingests", "held", "unknown", "unread")
        records.print_json(
            {"images": [str(name) for name in rows["name"]]}
            | {name: getattr(made, name) for name in numbers}
            | {name: records.rows(made.arrow(name)) for name in frames}
        )
    else:
        print(f"{len(rows)} images would free {terminal.rounded(made.total_bytes)}: {terminal.rounded(made.content_bytes)} of content, "
              f"{terminal.rounded(made.snapshot_bytes)} of snapshots, {made.inodes} inodes")  # fmt: skip
        if made.garbage_bytes:
            print(
                f"of this {terminal.rounded(made.garbage_bytes)} is garbage already: the next collection frees it"
            )
        if made.arrow("unknown").num_rows:
            print(f"and {made.arrow('unknown').num_rows} snapshots whose size was not collected")
        if gaps := made.arrow("unread").num_rows:
            print(f"at most: {gaps} lists of these stores could not be read")
        _print_held(inventory, made.arrow("held"))
    options.finish(inventory)


def _print_held(inventory: Inventory, held: pa.Table, most: int = 20) -> None:
    """What stays, by holder, largest first; in the sum, content that several namespaces list counts once."""
    import pyarrow as pa

    holders: dict[tuple[Any, ...], list[int]] = {}
    whole: dict[tuple[Any, ...], int] = {}
    for row in held.to_pylist():
        entry = holders.setdefault((row["node"], row["namespace"], row["holder_kind"], row["holder"]), [0, 0])
        entry[0] += row["size"] or 0
        entry[1] += 1
        place = None if row["kind"] == "content" else (row["namespace"], row["snapshotter"])
        whole[row["node"], place, row["key"]] = row["size"] or 0
    if not holders:
        return
    print(f"{terminal.rounded(sum(whole.values()))} of these images stay, held by")
    columns = {"size": "BYTES", "items": "ITEMS", "kind": "KIND", "holder": "HOLDER", "node": "NODE", "namespace": "NAMESPACE"}  # fmt: skip
    rows = [
        {"size": size, "items": count, "kind": kind, "holder": holder, "node": node, "namespace": namespace}
        for (node, namespace, kind, holder), (size, count) in sorted(
            holders.items(), key=lambda pair: -pair[1][0]
        )
    ]
    _print(inventory, pa.Table.from_pylist(rows), columns, most)
    if len(rows) > most:
        print(f"and {len(rows) - most} more holders (--format json has all)")


def why(
    what: Annotated[str, typer.Argument(metavar="DIGEST|IMAGE", help="A blob, a snapshot key, or an image.")],
    format: Format = "table",
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    saved: options.From = None,
    no_cache: options.NoCache = False,
) -> None:
    """Show who holds a blob or snapshot, or why the bytes of an image are here and what would have to be deleted to free them."""
    options.known_format(format, "table", "json")
    inventory = options.load(addresses, nodes_file, saved, cache=not no_cache)
    table = _reasons(inventory, what)
    if format == "json":
        records.print_json(records.rows(table))
    else:
        columns = {"node": "NODE", "namespace": "NAMESPACE", "kind": "KIND", "key": "KEY", "size": "SIZE", "frees": "FREED WITH IT",
                   "holder_kind": "HELD BY", "holder": "HOLDER", "via": "VIA"}  # fmt: skip
        _print(inventory, table, columns)
    options.finish(inventory)


def _reasons(inventory: Inventory, what: str) -> pa.Table:
    """The holders of a blob or snapshot; for an image, what it holds and who else holds that.

    Raises:
        NotFound: there is none.
    """
    from imgframe.cli.inventory import spellings
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
