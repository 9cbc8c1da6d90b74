"""The options that commands share, and the inventory that they name: a saved one, or nodes read now."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
_NAMESPACE = "containerd namespace; repeat for several. Default: CONTAINERD_NAMESPACE, else"
Namespaces = Annotated[list[str] | None, typer.Option("--namespace", "-n", help=f"{_NAMESPACE} default.")]
WhichNamespaces = Annotated[
    list[str] | None, typer.Option("--namespace", "-n", help=f"{_NAMESPACE} every namespace.")
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Every namespace.")]
From = Annotated[
    Path | None, typer.Option("--from", metavar="DIR", help="Read a saved inventory instead of nodes.")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Read everything from the nodes again.")]
Filters = Annotated[
    list[str] | None, typer.Option("--filter", "-f", help="nerdctl's filters, all of them; repeat to narrow.")
]
Unused = Annotated[bool, typer.Option("--all", "-a", help="Unused images too, not only dangling ones.")]
HostsDirs = Annotated[list[Path] | None, typer.Option("--hosts-dir", help="Folder of hosts.toml files.")]
Insecure = Annotated[
    bool, typer.Option("--insecure-registry", help="Skip TLS verification and fall back to HTTP.")
]
Unverified = Annotated[
    bool, typer.Option("--insecure-registry", help="Do not verify the certificates of registries.")
]

PARTIAL, UNREADABLE = 3, 4
"""Exit codes: some nodes failed; none could be read."""


def chosen_namespaces(
    namespaces: Sequence[str] | None, everything: bool, *, default: str | None = "default"
) -> list[str] | None:
    """The namespaces given, else CONTAINERD_NAMESPACE, else ``default``; None is all of them.

    Raises:
        InputError: both some and all are asked for.
    """
    if namespaces and everything:
        raise InputError("--all-namespaces is every namespace; give either it or --namespace, not both")
    if everything:
        return None
    named = os.environ.get("CONTAINERD_NAMESPACE") or default
    return list(namespaces) if namespaces else None if named is None else [named]


def scope(namespaces: Sequence[str] | None, everything: bool, saved: Path | None) -> list[str] | None:
    """As :func:`chosen_namespaces`, but by default all namespaces of a saved inventory."""
    return chosen_namespaces(namespaces, everything, default="default" if saved is None else None)


def within(rows: Any, namespaces: list[str] | None) -> Any:
    """The rows of a frame in these namespaces; None: all."""
    return rows if namespaces is None else rows[rows["namespace"].isin(namespaces)]


def known_format(format: str, *names: str) -> None:
    """Refuse a format that the command does not have.

    Raises:
        InputError: ``format`` is none of ``names``.
    """
    if format not in names:
        *most, last = names
        raise InputError(f"unsupported format: {format!r}; expected {', '.join(most)} or {last}")


def nodes(addresses: Sequence[str] | None, nodes_file: Path | None) -> list[Any] | None:
    """The nodes of ``--address`` and ``--nodes``; None: the usual ones."""
    from imgframe.node import load_nodes

    return [*(addresses or ()), *(load_nodes(nodes_file) if nodes_file is not None else ())] or None


def load(
    addresses: Sequence[str] | None,
    nodes_file: Path | None,
    saved: Path | None,
    *,
    namespaces: Sequence[str] | None = None,
    cache: bool = True,
    usage: Literal["none", "committed", "all"] = "committed",
) -> Inventory:
    """The Inventory that the options name; its errors go to stderr.

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
        _print_missing(opened, saved, namespaces)
        return opened
    from imgframe.collector import collect

    try:
        inventory = collect(nodes(addresses, nodes_file), namespaces=namespaces, cache=cache, usage=usage)
    except NodeError as error:
        terminal.complain(str(error), lines=True)
        raise typer.Exit(UNREADABLE) from error
    _print_errors(inventory)
    if all(status == "failed" for status in inventory.arrow("nodes")["status"].to_pylist()):
        raise typer.Exit(UNREADABLE)
    return inventory


def _print_missing(inventory: Inventory, saved: Path, namespaces: Sequence[str] | None) -> None:
    """Say which namespaces a saved inventory does not have; those that nodes do not have are rows of ``errors``."""
    there = sorted(set(inventory.arrow("namespaces")["namespace"].to_pylist()))
    for name in namespaces or ():
        if name not in there:
            terminal.complain(
                f"{str(saved)!r} has no namespace {name!r}; it has {', '.join(there) or 'none'}"
            )


def _print_errors(inventory: Inventory, most: int = 10) -> None:
    """What could not be read, one line each, at most ``most`` of them."""
    errors = inventory.arrow("errors")
    for row in errors.slice(0, most).to_pylist():
        where = "/".join(part for part in (row["node"], row["namespace"]) if part)
        message = row["message"]
        terminal.complain(message if message.startswith(row["node"]) else f"{where}: {message}")
    if errors.num_rows > most:
        terminal.complain(
            f"and {errors.num_rows - most} more (imgframe collect saves them all in errors.parquet)"
        )


def finish(inventory: Inventory) -> None:
    """Exit with code 3 when a node could not be read; what could be is on stdout already."""
    if any(status == "failed" for status in inventory.arrow("nodes")["status"].to_pylist()):
        raise typer.Exit(PARTIAL)
