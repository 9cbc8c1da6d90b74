"""``imgframe prune``, ``apply``, ``tag``, ``pull``, ``ensure``, ``push``: show the plan, ask, apply it."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgframe.cli import options, terminal
from imgframe.errors import InputError

if TYPE_CHECKING:
    from imgframe.inventory import Inventory
    from imgframe.plans import Plan, Result

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
PlanFolder = Annotated[
    Path | None, typer.Option("--plan", metavar="DIR", help="Save the plan here instead of applying it.")
]
Audit = Annotated[
    Path | None,
    typer.Option(
        "--audit", metavar="DIR", help="Keep a journal here, and add a Parquet file with a row per step."
    ),
]
Images = Annotated[list[str], typer.Argument(help="Images.")]
Platforms = Annotated[
    list[str] | None,
    typer.Option("--platform", help="Platform; repeat for several, all for all. Default: the node's."),
]
Snapshotter = Annotated[str, typer.Option(help="Unpack into this snapshotter.")]
Unpack = Annotated[
    bool | None, typer.Option("--unpack/--no-unpack", help="Unpack; default: if one platform is pulled.")
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="containerd namespace.")]


def prune(
    filters: options.Filters = None,
    everything: options.Unused = False,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="Free this much, doing the least harm: per node, such as 10GB or 10GiB, or a share of the disk such as 80%.",
        ),
    ] = "",
    undo_for: Annotated[
        str,
        typer.Option("--undo-for", help="Hold the content this long, as in 2h, so that it can be undone."),
    ] = "",
    dialect: Annotated[
        str,
        typer.Option(
            help="Whose rules: imgframe, or nerdctl (deletes what nerdctl image prune would, pinned images too)."
        ),
    ] = "imgframe",
    require_remote: Annotated[
        bool,
        typer.Option(
            "--require-remote", help="Keep what no registry is known to have; checked again before deleting."
        ),
    ] = False,
    hosts_dirs: options.HostsDirs = None,
    insecure: options.Unverified = False,
    keep_used: Annotated[
        bool | None,
        typer.Option(
            "--keep-used/--no-keep-used",
            help="Keep what containers use under any name; default: as the dialect.",
        ),
    ] = None,
    keep_pinned: Annotated[
        bool | None,
        typer.Option("--keep-pinned/--no-keep-pinned", help="Keep pinned images; default: as the dialect."),
    ] = None,
    keep_unknown: Annotated[
        bool, typer.Option("--keep-unknown/--no-keep-unknown", help="Keep what is not known to be unused.")
    ] = True,
    yes: Yes = False,
    plan: PlanFolder = None,
    audit: Audit = None,
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.Namespaces = None,
    all_namespaces: options.AllNamespaces = False,
) -> None:
    """Plan to delete images, show exactly what that frees, what is kept and why, ask, and do it.

    All filters must match, as in lists. With --dialect nerdctl only label and until are accepted, as there.
    """
    from imgframe import plans

    if to and dialect != "imgframe":
        raise InputError(f"--to chooses by imgframe's rules; omit --dialect {dialect} or --to")
    if (hosts_dirs or insecure) and not require_remote:
        raise InputError("--hosts-dir and --insecure-registry need --require-remote; add it, or omit them")
    inventory = options.load(addresses, nodes_file, None)
    registries = {"hosts_dirs": tuple(map(str, hosts_dirs or ())), "insecure": insecure}
    arguments: dict[str, Any] = {
        "keep_unknown": keep_unknown,
        "undo_for": undo_for or None,
        "require_remote": registries if require_remote else False,
    }
    spaces = options.chosen_namespaces(namespaces, all_namespaces)
    if to:
        rows = candidates(inventory, spaces, filters or [], everything=True)
        arguments |= {"keep_used": keep_used is not False, "keep_pinned": keep_pinned is not False}
        made = plans.prune_to(inventory, int(to) if to.isdigit() else to, candidates=rows, **arguments)
    else:
        arguments |= {"dialect": dialect, "keep_used": keep_used, "keep_pinned": keep_pinned}
        if dialect == "nerdctl":
            rows = _nerdctl_rows(inventory, spaces, filters or [])
            arguments["all"] = everything
        else:
            rows = candidates(inventory, spaces, filters or [], everything=everything)
        made = plans.prune(rows, inventory, **arguments)
    conclude(made, yes=yes, folder=plan, audit=audit)


def _nerdctl_rows(inventory: Inventory, namespaces: list[str] | None, filters: list[str]) -> Any:
    """The records that nerdctl's prune considers; its rules then say which of them go."""
    from imgframe.filters import apply_filters, parse_filters, split_flags

    clauses = parse_filters(split_flags(filters, flag="--filter")).clauses("image prune")
    return apply_filters(options.within(inventory.images, namespaces), *clauses)


def candidates(
    inventory: Inventory, namespaces: list[str] | None, filters: list[str], *, everything: bool
) -> Any:
    """The records that a prune considers: the dangling ones, or all unused ones, that every filter keeps."""
    from imgframe import filters as by
    from imgframe.nerdctl.selection import get_unused_images

    given = by.parse_filters(by.split_flags(filters, flag="--filter"))
    clauses = given.clauses("images")
    if given.until:
        clauses = (*clauses, by.filter_until(given.until))
    rows = (
        get_unused_images(inventory)
        if everything
        else by.apply_filters(inventory.images, by.filter_dangling_images())
    )
    return by.apply_filters(options.within(rows, namespaces), *clauses)


def conclude(plan: Plan, *, yes: bool, folder: Path | None, audit: Path | None) -> None:
    """Show the plan, save or apply it; the exit code says whether every step is done."""
    _print_plan(plan)
    if folder is not None:
        plan.save(folder)
        print(f"saved in {folder}; apply it with imgframe apply {folder}")
        return
    if not plan.table.num_rows:
        return
    if not yes and not _confirmed():
        print("nothing was done")
        raise typer.Exit(1)
    _print_result(plan.apply(audit=audit))


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise InputError("stdin is not a terminal; pass --yes or --plan DIR")
    return typer.confirm("Do it?", default=False)


def _print_plan(plan: Plan) -> None:
    """What the plan frees, what is kept and why, and its steps."""
    print("\n".join(plan.summary()))
    reasons = Counter(plan.kept_table["reason"].to_pylist())
    for reason, count in reasons.most_common():
        print(f"kept: {count} {reason}")
    rows = []
    for step in plan.table.to_pylist():
        name = step["name"] if step["to"] is None else f"{step['name']} -> {step['to']}"
        cells = (
            step["action"],
            step["node"],
            step["namespace"],
            name,
            terminal.rounded(step["predicted_bytes"]),
            step["reason"],
        )
        rows.append([terminal.printable(cell or "") for cell in cells])
    if rows:
        terminal.print_table([["ACTION", "NODE", "NAMESPACE", "NAME", "BYTES", "WHY"], *rows], gap=2)


def _print_result(result: Result) -> None:
    """What became of the steps; exit code 3 when some were not done, 130 when it was interrupted."""
    statuses = Counter(result.outcomes["status"].to_pylist())
    print(", ".join(f"{count} {status}" for status, count in statuses.items()))
    names = result.plan.table["name"].to_pylist()
    for row in result.outcomes.select(["step", "status", "message"]).to_pylist():
        if row["status"] not in {"done", "gone", "stopped"}:  # those are as many as the rest of the plan
            terminal.complain(f"{names[row['step']]}: {row['status']}: {row['message']}")
    if result.plan.freed is not None:
        seen = result.observed.values()
        freed = None if None in seen else sum(value for value in seen if value is not None)
        print(f"freed {terminal.rounded(freed)}, predicted {terminal.rounded(result.plan.freed.total_bytes)}")
    for line in result.time_notes():
        print(terminal.printable(line))
    if result.held_until:
        print(f"imgframe undo {result.plan.id} puts the names back; give the same --address or --nodes")
    if result.interrupted:
        raise typer.Exit(130)
    if not result.ok:
        raise typer.Exit(options.PARTIAL)


def apply(
    plan: Annotated[Path, typer.Argument(metavar="DIR", help="A plan that --plan saved.")],
    yes: Yes = False,
    audit: Audit = None,
) -> None:
    """Apply a saved plan; every step is first compared with its node."""
    from imgframe.plans import open_plan

    conclude(open_plan(plan), yes=yes, folder=None, audit=audit)


def tag(
    name: Annotated[str, typer.Argument(help="Image to tag.")],
    to: Annotated[str, typer.Argument(help="The new name.")],
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.Namespaces = None,
    all_namespaces: options.AllNamespaces = False,
) -> None:
    """Give an image another name on every node that has it."""
    from imgframe import plans

    inventory = options.load(addresses, nodes_file, None)
    rows = named(inventory, name, options.chosen_namespaces(namespaces, all_namespaces))
    made = plans.tag(rows, inventory, {str(one): to for one in rows["name"]})
    conclude(made, yes=True, folder=None, audit=None)


def named(inventory: Inventory, name: str, namespaces: list[str] | None) -> Any:
    """The records called ``name``, as stored or normalised.

    Raises:
        NotFound: there is none.
    """
    from imgframe.cli.inventory import spellings
    from imgframe.errors import NotFound

    rows = options.within(inventory.images, namespaces)
    rows = rows[rows["name"].isin(spellings(name))]
    if rows.empty:
        where = "any namespace" if namespaces is None else ", ".join(namespaces)
        raise NotFound(f"no image {name!r} in {where}; imgframe images -A lists what is there")
    return rows


def pull(
    references: Images,
    platform: Platforms = None,
    snapshotter: Snapshotter = "",
    unpack: Unpack = None,
    hosts_dirs: options.HostsDirs = None,
    insecure: options.Insecure = False,
    plan: PlanFolder = None,
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespace: Namespace = "",
) -> None:
    """Pull images onto one or many nodes."""
    from imgframe import plans

    arguments = _transfer(platform, hosts_dirs, insecure) | _target(snapshotter, unpack, namespace)
    made = plans.pull(references, options.nodes(addresses, nodes_file), **arguments)
    conclude(made, yes=True, folder=plan, audit=None)


def ensure(
    references: Images,
    mode: Annotated[str, typer.Option("--pull", help="always, missing or never.")] = "missing",
    platform: Platforms = None,
    snapshotter: Snapshotter = "",
    unpack: Unpack = None,
    hosts_dirs: options.HostsDirs = None,
    insecure: options.Insecure = False,
    plan: PlanFolder = None,
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespace: Namespace = "",
) -> None:
    """Make sure that images are on one or many nodes, pulled and unpacked."""
    from imgframe import plans

    arguments = _transfer(platform, hosts_dirs, insecure) | _target(snapshotter, unpack, namespace)
    made = plans.ensure(references, options.nodes(addresses, nodes_file), mode=mode, **arguments)
    conclude(made, yes=True, folder=plan, audit=None)


def _transfer(platform: list[str] | None, hosts_dirs: list[Path] | None, insecure: bool) -> dict[str, Any]:
    return {
        "platform": platform[0] if platform and len(platform) == 1 else platform or None,
        "hosts_dirs": tuple(map(str, hosts_dirs or ())),
        "insecure": insecure,
    }


def _target(snapshotter: str, unpack: bool | None, namespace: str) -> dict[str, Any]:
    space = namespace or os.environ.get("CONTAINERD_NAMESPACE") or "default"
    return {"snapshotter": snapshotter or None, "unpack": unpack, "namespace": space}


def push(
    name: Annotated[str, typer.Argument(help="Image to push.")],
    to: Annotated[
        str, typer.Option("--to", help="Push under this name, or to this registry if it ends with /.")
    ] = "",
    platform: Platforms = None,
    hosts_dirs: options.HostsDirs = None,
    insecure: options.Insecure = False,
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.Namespaces = None,
) -> None:
    """Push an image from the node that has it."""
    from imgframe import plans

    inventory = options.load(addresses, nodes_file, None)
    rows = named(inventory, name, options.chosen_namespaces(namespaces, False)).drop_duplicates("digest")
    where: Any = (
        to.rstrip("/") if to.endswith("/") else {str(one): to for one in rows["name"]} if to else None
    )
    made = plans.push(rows, inventory, to=where, **_transfer(platform, hosts_dirs, insecure))
    conclude(made, yes=True, folder=None, audit=None)
