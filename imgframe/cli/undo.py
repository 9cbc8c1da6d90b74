"""``imgframe undo``: what nodes hold of deleted images, and putting it back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from imgframe.cli import options, plans, terminal
from imgframe.errors import InputError


def undo(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[DIR|ID]", help="A saved plan, an audit, or the id of a plan as --list shows it."
        ),
    ] = "",
    listed: Annotated[bool, typer.Option("--list", help="List what the nodes hold for undo.")] = False,
    yes: plans.Yes = False,
    plan: plans.PlanFolder = None,
    audit: plans.Audit = None,
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
) -> None:
    """Put back image names that prune --undo-for deleted, while the nodes still hold the content.

    Of a plan or an audit only the nodes in it are asked; an ID is looked up on the nodes themselves.
    """
    from imgframe.plans import undoable

    if listed == bool(what):
        raise InputError("give either a saved plan, an audit or the id of a plan, or --list")
    nodes = options.nodes(addresses, nodes_file)
    if listed:
        _print_held(undoable.undoable(nodes))
        return
    if nodes is None and Path(what).exists():
        made = undoable.undo(what)
    elif nodes is not None and Path(what).is_dir():
        raise InputError(f"{what!r} names its nodes itself; omit --address and --nodes")
    else:
        made = undoable.undo_on_nodes(what, nodes)
    plans.conclude(made, yes=yes, folder=plan, audit=audit)


def _print_held(frame: Any) -> None:
    rows = [["PLAN", "NODE", "NAMESPACE", "NAMES", "MISSING", "UNTIL"]]
    for row in frame.astype(object).where(frame.notna(), None).to_dict("records"):
        if row["plan"] is None:
            terminal.complain(f"{row['node']}: {row['problem']}")
            continue
        until = "?" if row["expires_at"] is None else f"{row['expires_at']:%Y-%m-%d %H:%M:%S} UTC"
        counts = ["?" if row[name] is None else str(row[name]) for name in ("names", "missing")]
        cells = [row["plan"], row["node"], row["namespace"], *counts, until]
        rows.append([terminal.printable(cell) for cell in cells])
        if row["problem"] is not None:
            terminal.complain(f"{row['plan']}: {row['problem']}")
    terminal.print_table(rows, gap=2)
