"""``imgframe images`` and ``imgframe nodes``: nerdctl's tables, and raw values for machines."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgframe.cli import options, records, terminal
from imgframe.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from imgframe.inventory import Inventory
    from imgframe.nerdctl.image_list import PlatformRow

FORMATS = ("", "table", "wide", "json", "csv")
RAW = (
    "node", "namespace", "name", "repository", "tag", "digest", "media_type", "created_at", "updated_at", "platform",
    "manifest_digest", "config_digest", "built_at", "labels", "record_labels", "pinned", "content_size", "content_present_size",
    "unpacked_size", "unique_size", "shared_size", "complete", "unpacked", "snapshotter", "containers", "used_by_digest",
)  # fmt: skip


def images(
    name: Annotated[
        str | None, typer.Argument(help="Only this repository, or exactly this name with tag or digest.")
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", "-f", help="nerdctl's filters: before, since, label, reference, dangling."),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="table, wide, json, csv, or a Go template of fields.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the IDs.")] = False,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Whole digests.")] = False,
    digests: Annotated[bool, typer.Option("--digests", help="Show a column of digests.")] = False,
    names: Annotated[
        bool, typer.Option("--names", help="Names as stored instead of repository and tag.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", "-a", help="Has no effect, as in nerdctl.")] = False,  # noqa: ARG001 -- nerdctl has it
    dialect: Annotated[str, typer.Option(help="Whose filters: nerdctl or docker.")] = "nerdctl",
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.Namespaces = None,
    all_namespaces: options.AllNamespaces = False,
    saved: options.From = None,
    no_cache: options.NoCache = False,
) -> None:
    """List images as nerdctl does, from one or many nodes.

    --format json and csv give every record with raw integers and RFC 3339 times.
    """
    if quiet and format:
        raise InputError("format and quiet must not be specified together")
    if "{{" not in format and format not in FORMATS:
        raise InputError(
            f'unsupported format: "{format}"; expected table, wide, json, csv or a template such as {{{{.Name}}}}'
        )
    if dialect != "nerdctl":
        from imgframe.filters import parse_filters

        parse_filters((), dialect=dialect)  # refuses an unknown one, also where nothing is filtered
    wanted = options.scope(namespaces, all_namespaces, saved)
    inventory = options.load(addresses, nodes_file, saved, namespaces=wanted, cache=not no_cache)
    positions = _select(inventory, wanted, filters or [], name, dialect)
    if format in {"json", "csv"}:
        records.print_rows(_taken(inventory.arrow("images").select(RAW), positions), format)
    else:
        shown = {"quiet": quiet, "no_trunc": no_trunc, "digests": digests, "names": names}
        _print_tables(inventory, positions, format, _front(inventory, wanted), **shown)
    options.finish(inventory)


def _select(
    inventory: Inventory, namespaces: list[str] | None, clauses: Sequence[str], name: str | None, dialect: str
) -> list[int] | None:
    """Rows of the images table to show; None is all. Only filters import pandas."""
    if clauses or name is not None:
        from imgframe.nerdctl.selection import select_images

        frame = options.within(inventory.images, namespaces)
        return select_images(frame, clauses, name, dialect=dialect).index.tolist()
    if namespaces is None:
        return None
    spaces = inventory.arrow("images")["namespace"].to_pylist()
    return [at for at, namespace in enumerate(spaces) if namespace in namespaces]


def _taken(table: pa.Table, positions: list[int] | None) -> pa.Table:
    import pyarrow as pa

    return table if positions is None else table.take(pa.array(positions, pa.int64()))  # none has no type


def _print_tables(
    inventory: Inventory,
    positions: list[int] | None,
    format: str,
    front: Sequence[str],
    *,
    quiet: bool,
    no_trunc: bool,
    digests: bool,
    names: bool,
) -> None:
    from imgframe.nerdctl.image_list import image_rows, platform_rows

    rows = platform_rows(inventory, positions)
    if quiet:
        lines = [row.digest if no_trunc else terminal.short(row.digest) for row in rows]
    elif "{{" in format:
        lines = [_template(format, row) for row in rows]
    elif format == "" and not (no_trunc or digests or names):
        head = [*(label.upper() for label in front), "IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"]
        body = [
            [*(getattr(row, at) for at in front), row.name, terminal.short(row.digest), terminal.rounded(row.disk_usage), terminal.rounded(row.content_size),
             "U" if row.used else ""]
            for row in image_rows(inventory, rows)
        ]  # fmt: skip
        lines = terminal.columns([head, *_clean(body)])
    else:
        lines = terminal.columns(
            _wide(rows, front, no_trunc=no_trunc, digests=digests or format == "wide", names=names)
        )
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _front(inventory: Inventory, namespaces: list[str] | None) -> list[str]:
    """Which of node and namespace are columns in front: those of which several were asked for, whatever they hold."""
    spaces = inventory.arrow("namespaces")["namespace"].to_pylist() if namespaces is None else namespaces
    several = {"node": inventory.arrow("nodes").num_rows > 1, "namespace": len(set(spaces)) > 1}
    return [name for name, is_so in several.items() if is_so]


def _clean(rows: list[list[str]]) -> list[list[str]]:
    return [[terminal.printable(cell) for cell in row] for row in rows]


def _wide(
    rows: Sequence[PlatformRow], front: Sequence[str], *, no_trunc: bool, digests: bool, names: bool
) -> list[list[str]]:
    from imgframe.inventory import human_bytes

    now = time.time_ns()
    head = [
        *(label.upper() for label in front),
        *(["NAME"] if names else ["REPOSITORY", "TAG"]),
        *(["DIGEST"] if digests else []),
    ]
    body = [
        [
            *(getattr(row, at) for at in front),
            *([row.name] if names else [row.repository or "<none>", row.tag or "<none>"]),
            *([row.digest] if digests else []),
            row.digest if no_trunc else terminal.short(row.digest),
            terminal.ago(row.created_at, now),
            row.platform,
            human_bytes(row.size or 0),
            human_bytes(row.blob_size),
        ]
        for row in rows
    ]
    return [[*head, "IMAGE ID", "CREATED", "PLATFORM", "SIZE", "BLOB SIZE"], *_clean(body)]


def _fields(row: PlatformRow) -> dict[str, str]:
    """The fields of nerdctl's templates."""
    from imgframe.inventory import human_bytes

    created = "0001-01-01 00:00:00"  # Go's zero time
    if row.created_at is not None:
        seconds = (row.created_at + 5 * 10**8) // 10**9  # nerdctl rounds
        created = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    return {
        "CreatedAt": f"{created} +0000 UTC",
        "CreatedSince": terminal.ago(row.created_at),
        "Digest": row.digest,
        "ID": row.digest,
        "Repository": row.repository or "<none>",
        "Tag": row.tag or "<none>",
        "Name": row.name,
        "Size": human_bytes(row.size or 0),
        "BlobSize": human_bytes(row.blob_size),
        "Platform": row.platform,
    }


def _template(format: str, row: PlatformRow) -> str:
    """A Go template with ``{{.Field}}`` and ``{{json .}}`` filled in."""
    fields = _fields(row)

    def fill(match: re.Match[str]) -> str:
        word = match.group(1).strip()
        if word == "json .":
            return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        if word.startswith(".") and word[1:] in fields:
            return terminal.printable(fields[word[1:]])
        raise InputError(
            f"template field {word!r} is unknown; expected json . or one of {', '.join('.' + name for name in fields)}"
        )

    filled = re.sub(r"\{\{(.*?)\}\}", fill, format)
    if "{{" in re.sub(r"\{\{(.*?)\}\}", "", format):
        raise InputError(f"template {format!r} has {{{{ without }}}}")
    return filled


def nodes(
    format: Annotated[str, typer.Option("--format", help="table, json or csv (raw integers).")] = "table",
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    saved: options.From = None,
    no_cache: options.NoCache = False,
) -> None:
    """List the nodes: version, platform, images, bytes, and how long reading took."""
    options.known_format(format, "table", "json", "csv")
    inventory = options.load(addresses, nodes_file, saved, cache=not no_cache)
    if format != "table":
        records.print_rows(inventory.arrow("nodes"), format)
    else:
        rows = [_node_cells(inventory, row) for row in records.rows(inventory.arrow("nodes"))]
        terminal.print_table([NODE_HEAD, *_clean(rows)])
    options.finish(inventory)


NODE_HEAD = ["NODE", "VERSION", "PLATFORM", "IMAGES", "CONTENT", "SNAPSHOTS", "FREE", "RPCS", "SECONDS", "STATUS"]  # fmt: skip


def _node_cells(inventory: Inventory, row: dict[str, Any]) -> list[str]:
    import pyarrow.compute as pc

    def mine(name: str) -> Any:
        table = inventory.arrow(name)
        return table.filter(pc.equal(table["node"].cast("string"), row["node"]))

    blobs = mine("blobs")
    content = dict(zip(blobs["digest"].to_pylist(), blobs["size"].to_pylist(), strict=True))
    sizes = [size for size in mine("snapshots")["size"].to_pylist() if size is not None]
    return [
        row["node"],
        row["containerd_version"] or "?",
        row["platform"] or "?",
        str(mine("images").num_rows),
        terminal.rounded(sum(size or 0 for size in content.values())),
        terminal.rounded(sum(sizes)),
        terminal.rounded(row["disk_free"]),
        str(row["rpcs"]),
        f"{row['seconds']:.2f}" if row["seconds"] is not None else "?",
        row["status"] or "?",
    ]
