"""``imgframe collect`` and ``imgframe show``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from imgframe.cli import options, records, terminal
from imgframe.errors import NotFound
from imgframe.folders import replaceable

if TYPE_CHECKING:
    from imgframe.inventory import Inventory

SIZES = (
    ("content", "content_present_size"),
    ("unpacked", "unpacked_size"),
    ("unique", "unique_size"),
    ("shared", "shared_size"),
)


def collect(
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="[ADDRESS]...", help="containerd sockets.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Save the tables as Parquet here.")
    ] = None,
    more: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.WhichNamespaces = None,
    all_namespaces: options.AllNamespaces = False,
    usage: Annotated[
        Literal["none", "committed", "all"],
        typer.Option(
            help="Which snapshot sizes to ask for; all has containerd walk the active ones on its disk."
        ),
    ] = "committed",
    no_cache: options.NoCache = False,
) -> None:
    """Read nodes, all namespaces by default, and save every table as Parquet."""
    from imgframe.inventory import SAVED

    if output is not None:
        replaceable(output, *SAVED)  # before the work
    wanted = options.chosen_namespaces(namespaces, all_namespaces, default=None)
    if wanted and not namespaces:
        terminal.complain(
            f"only namespace {wanted[0]} is read (CONTAINERD_NAMESPACE); --all-namespaces reads every one"
        )
    sockets = [*(addresses or []), *(more or [])]
    inventory = options.load(sockets, nodes_file, None, namespaces=wanted, cache=not no_cache, usage=usage)
    print(repr(inventory)[1:-1])
    if output is not None:
        inventory.save(output)
        print(f"saved in {output}")
    options.finish(inventory)


def show(
    image: Annotated[str, typer.Argument(help="Name, as stored or as typed, or digest.")],
    format: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.WhichNamespaces = None,
    all_namespaces: options.AllNamespaces = False,
    saved: options.From = None,
    no_cache: options.NoCache = False,
) -> None:
    """Show one image wherever it is: records, manifests, layers, history, and what holds it."""
    options.known_format(format, "text", "json")
    wanted = options.chosen_namespaces(namespaces, all_namespaces, default=None)
    inventory = options.load(addresses, nodes_file, saved, namespaces=wanted, cache=not no_cache)
    names = spellings(image)
    found = [
        _details(inventory, row)
        for row in records.rows(inventory.arrow("images"))
        if not names.isdisjoint({row["name"], row["digest"]}) and (not wanted or row["namespace"] in wanted)
    ]
    if not found:
        nodes = ", ".join(inventory.arrow("nodes")["node"].to_pylist())
        where = f"namespace {', '.join(wanted)} of {nodes}" if wanted else nodes
        raise NotFound(f"no image {image!r} in {where}; imgframe images -A lists what is there")
    if format == "json":
        records.print_json(found)
    else:
        sys.stdout.write("".join(f"{line}\n" for details in found for line in _lines(details)))
    options.finish(inventory)


def spellings(image: str) -> set[str]:
    """The name as typed and as containerd stores it."""
    from imgframe import reference
    from imgframe.errors import ReferenceError_

    wanted = {image}
    with contextlib.suppress(ReferenceError_):  # a stored name need not be a reference
        wanted.add(reference.parse(image).string)
    return wanted


MANIFEST = (
    "digest",
    "platform",
    "present",
    "is_attestation",
    "content_size",
    "unpacked_size",
    "config_digest",
)


def _details(inventory: Inventory, record: dict[str, Any]) -> dict[str, Any]:
    """The record with its manifests and their layers, the history of its config, and the containers and leases that hold it."""
    here = {"node": record["node"], "namespace": record["namespace"]}
    manifests = [
        {name: row[name] for name in MANIFEST}
        | {"layers": _rows(inventory, "layers", manifest_digest=row["digest"])}
        for row in _rows(inventory, "manifests", **here)
        if record["digest"] in {row["parent_digest"], row["digest"]}
    ]
    documents = {record["digest"], *(manifest["digest"] for manifest in manifests)}
    leases = {
        row["id"]
        for row in _rows(inventory, "leases", **here)
        if row["resource"] in documents
        or (row["resource_kind"], row["resource"]) == ("images", record["name"])
    }
    config = record["config_digest"]
    return {
        **record,
        "manifests": manifests,
        "history": _rows(inventory, "history", digest=config) if config else [],
        "used_by": [
            row["id"]
            for row in _rows(inventory, "containers", **here)
            if row["image"] == record["name"] or row["image_digest"] == record["digest"]
        ],
        "leases": sorted(leases),
    }


def _rows(inventory: Inventory, table: str, **where: str) -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    rows = inventory.arrow(table)
    for column, value in where.items():
        rows = rows.filter(pc.equal(rows[column].cast("string"), value))
    return records.rows(rows)


def _lines(details: dict[str, Any]) -> list[str]:
    clean = terminal.printable
    lines = [
        clean(details["name"]),
        f"  node {clean(details['node'])}, namespace {details['namespace']}",
        f"  target {details['digest']} ({details['media_type']})",
        f"  created {details['created_at'] or 'unknown'}, built {details['built_at'] or 'unknown'}",
        "  " + ", ".join(f"{name} {terminal.rounded(details[column])}" for name, column in SIZES),
        f"  containers {', '.join(map(clean, details['used_by'])) or 'none'}{'; pinned' if details['pinned'] else ''}",
        f"  leases {', '.join(map(clean, details['leases'])) or 'none'}",
    ]
    for manifest in details["manifests"]:
        state = "present" if manifest["present"] else "not in the store"
        kind = "attestation" if manifest["is_attestation"] else manifest["platform"] or "platform unknown"
        lines.append(
            f"  manifest {manifest['digest']} {kind}, {terminal.rounded(manifest['content_size'])}, {state}"
        )
        lines += [
            f"    layer {layer['digest']} {terminal.rounded(layer['size'])} {layer['media_type']}"
            for layer in manifest["layers"]
        ]
    lines += [
        f"  history {clean(step['created_by'] or step['comment'] or '')}" for step in details["history"]
    ]
    return lines
