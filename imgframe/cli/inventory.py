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
        typer.Option(help="Sizes of snapshots to ask for; all walks the active ones on the node's disk."),
    ] = "committed",
    no_cache: options.NoCache = False,
) -> None:
    """Read nodes, all namespaces by default, and save every table as Parquet."""
    from imgframe.inventory import SAVED

    if output is not None:
        replaceable(output, *SAVED)  # before the work, not after it
    wanted = options.chosen_namespaces(namespaces, all_namespaces, default=None)
    if wanted and not namespaces:
        print(
            f"imgframe: only namespace {wanted[0]} is read (CONTAINERD_NAMESPACE); --all-namespaces reads every one",
            file=sys.stderr,
        )
    inventory = options.load(
        [*(addresses or []), *(more or [])],
        nodes_file,
        None,
        namespaces=wanted,
        cache=not no_cache,
        usage=usage,
    )
    print(repr(inventory)[1:-1])
    if output is not None:
        inventory.save(output)
        print(f"saved in {output}")
    options.finish(inventory)


def show(
    image: Annotated[str, typer.Argument(help="Name as stored or as typed, or a digest.")],
    format: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.WhichNamespaces = None,
    all_namespaces: options.AllNamespaces = False,
    saved: options.From = None,
    no_cache: options.NoCache = False,
) -> None:
    """Show one image wherever it is: records, manifests, layers, history, and who holds it."""
    options.known_format(format, "text", "json")
    wanted = options.chosen_namespaces(namespaces, all_namespaces, default=None)
    inventory = options.load(addresses, nodes_file, saved, namespaces=wanted, cache=not no_cache)
    found = [_details(inventory, row) for row in _records(inventory, image, wanted)]
    if not found:
        nodes = ", ".join(inventory.arrow("nodes")["node"].to_pylist())
        where = f"namespace {', '.join(wanted)} of {nodes}" if wanted else nodes
        raise NotFound(f"no image {image!r} in {where}; imgframe images -A lists what is there")
    if format == "json":
        records.print_json(found)
    else:
        for details in found:
            sys.stdout.write("".join(f"{line}\n" for line in _text(details)))
    options.finish(inventory)


def _records(inventory: Inventory, image: str, namespaces: list[str] | None) -> list[dict[str, Any]]:
    """Records whose name or target digest is ``image``, as stored or normalised."""
    wanted = spellings(image)
    rows = records.rows(inventory.arrow("images"))
    return [
        row
        for row in rows
        if (row["name"] in wanted or row["digest"] in wanted)
        and (not namespaces or row["namespace"] in namespaces)
    ]


def spellings(image: str) -> set[str]:
    """The name as typed and as a reference is stored."""
    from imgframe import reference
    from imgframe.errors import ReferenceError_

    wanted = {image}
    with contextlib.suppress(ReferenceError_):  # a stored name need not be a reference
        wanted.add(reference.parse(image).string)
    return wanted


def _details(inventory: Inventory, record: dict[str, Any]) -> dict[str, Any]:
    """The record with its manifests (and their layers), the history of its config, and the containers and leases that hold it."""
    here = (record["node"], record["namespace"])
    manifests = [
        {
            name: row[name]
            for name in (
                "digest",
                "platform",
                "present",
                "is_attestation",
                "content_size",
                "unpacked_size",
                "config_digest",
            )
        }
        | {"layers": _rows(inventory, "layers", manifest_digest=row["digest"])}
        for row in _rows(inventory, "manifests", node=here[0], namespace=here[1])
        if record["digest"] in {row["parent_digest"], row["digest"]}
    ]
    containers = [
        row["id"]
        for row in _rows(inventory, "containers", node=here[0], namespace=here[1])
        if row["image"] == record["name"] or row["image_digest"] == record["digest"]
    ]
    documents = {record["digest"], *(manifest["digest"] for manifest in manifests)}
    leases = {
        row["id"]
        for row in _rows(inventory, "leases", node=here[0], namespace=here[1])
        if row["resource"] in documents
        or (row["resource_kind"], row["resource"]) == ("images", record["name"])
    }
    return {
        **record,
        "manifests": manifests,
        "history": _rows(inventory, "history", digest=record["config_digest"])
        if record["config_digest"]
        else [],
        "used_by": containers,
        "leases": sorted(leases),
    }


def _rows(inventory: Inventory, table: str, **where: str) -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    rows = inventory.arrow(table)
    for column, value in where.items():
        rows = rows.filter(pc.equal(rows[column].cast("string"), value))
    return records.rows(rows)


def _text(details: dict[str, Any]) -> list[str]:
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
