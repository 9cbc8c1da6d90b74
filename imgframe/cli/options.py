"""Where a command gets its Inventory from: a saved one, or nodes read now; and the options that say so."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imgframe.cli import terminal
from imgframe.errors import InputError, NodeError

if TYPE_CHECKING:
    from imgframe.inventory import Inventory

Addresses = Annotated[
    list[str] | None,
    typer.Option(
        "--address",
        "-H",
        help="containerd socket; repeat for several nodes. Default: CONTAINERD_ADDRESS, else the usual sockets.",
    ),
]
NodesFile = Annotated[Path | None, typer.Option("--nodes", help="nodes.toml with the nodes to read.")]
Namespaces = Annotated[
    list[str] | None,
    typer.Option(
        "--namespace",
        "-n",
        help="containerd namespace; repeat for several. Default: CONTAINERD_NAMESPACE, else default.",
    ),
]
WhichNamespaces = Annotated[
    list[str] | None,
    typer.Option(
        "--namespace",
        "-n",
        help="containerd namespace; repeat for several. Default: CONTAINERD_NAMESPACE, else every namespace.",
    ),
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Every namespace.")]
From = Annotated[
    Path | None, typer.Option("--from", metavar="DIR", help="Read a saved inventory instead of nodes.")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Read everything anew.")]

PARTIAL, UNREADABLE = 3, 4
"""Exit codes: some nodes failed; none could be read."""


def chosen_namespaces(
    namespaces: Sequence[str] | None, everything: bool, *, default: str | None = "default"
) -> list[str] | None:
    """The namespaces named, else CONTAINERD_NAMESPACE, else ``default``; None is all of them.

    Raises:
        InputError: some are named, and all are asked for.
    """
    if namespaces and everything:
        raise InputError("--all-namespaces is every namespace; give either it or --namespace, not both")
    if everything:
        return None
    named = os.environ.get("CONTAINERD_NAMESPACE") or default
    return list(namespaces) if namespaces else None if named is None else [named]


def scope(namespaces: Sequence[str] | None, everything: bool, saved: Path | None) -> list[str] | None:
    """As :func:`chosen_namespaces`; without a word about it a saved inventory is meant as a whole."""
    return chosen_namespaces(namespaces, everything, default="default" if saved is None else None)


def known_format(format: str, *names: str) -> None:
    """Refuse a format that the command does not have.

    Raises:
        InputError: ``format`` is none of ``names``.
    """
    if format not in names:
        *most, last = names
        raise InputError(f"unsupported format: {format!r}; expected {', '.join(most)} or {last}")


def load(
    addresses: Sequence[str] | None,
    nodes_file: Path | None,
    saved: Path | None,
    *,
    namespaces: Sequence[str] | None = None,
    cache: bool = True,
    usage: Literal["none", "committed", "all"] = "committed",
) -> Inventory:
    """The Inventory that the options name, its errors told on stderr.

    Raises:
        InputError: ``--from`` together with ``--address`` or ``--nodes``.
        typer.Exit: with code 4 when no node could be read.
    """
    from imgframe.cli.pandas_later import postpone
    from imgframe.inventory import open_inventory

    postpone()
    if saved is not None:
        if addresses or nodes_file:
            raise InputError(
                "--from reads a saved inventory; give either it or --address and --nodes, not both"
            )
        opened = open_inventory(saved)
        _tell_missing(opened, saved, namespaces)
        return opened
    from imgframe.collector import collect
    from imgframe.node import load_nodes

    nodes: list[object] = list(addresses or [])
    if nodes_file is not None:
        nodes += load_nodes(nodes_file)
    try:
        inventory = collect(nodes or None, namespaces=namespaces, cache=cache, usage=usage)
    except NodeError as error:
        print(f"imgframe: {terminal.printable_lines(str(error))}", file=sys.stderr)
        raise typer.Exit(UNREADABLE) from error
    tell_errors(inventory)
    if all(status == "failed" for status in inventory.arrow("nodes")["status"].to_pylist()):
        raise typer.Exit(UNREADABLE)
    return inventory


def _tell_missing(inventory: Inventory, saved: Path, namespaces: Sequence[str] | None) -> None:
    """Say which namespaces a saved inventory does not have; those of nodes are rows of ``errors``."""
    there = sorted(set(inventory.arrow("namespaces")["namespace"].to_pylist()))
    for name in namespaces or ():
        if name not in there:
            has = ", ".join(there) or "none"
            print(f"imgframe: {str(saved)!r} has no namespace {name!r}; it has {has}", file=sys.stderr)


def tell_errors(inventory: Inventory, most: int = 10) -> None:
    """What could not be read, a line each on stderr, at most ``most`` of them."""
    errors = inventory.arrow("errors")
    for row in errors.slice(0, most).to_pylist():
        where = "/".join(part for part in (row["node"], row["namespace"]) if part)
        said = row["message"] if row["message"].startswith(row["node"]) else f"{where}: {row['message']}"
        print(f"imgframe: {terminal.printable(said)}", file=sys.stderr)
    if errors.num_rows > most:
        print(
            f"imgframe: and {errors.num_rows - most} more (imgframe collect saves them all in errors.parquet)",
            file=sys.stderr,
        )


def finish(inventory: Inventory) -> None:
    """Exit code 3 when a node could not be read; what could is on stdout already."""
    if any(status == "failed" for status in inventory.arrow("nodes")["status"].to_pylist()):
        raise typer.Exit(PARTIAL)
