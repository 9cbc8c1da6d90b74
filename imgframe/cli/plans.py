"""``imgframe prune``, ``apply``, ``tag``, ``pull``, ``ensure``, ``push``: the plan is shown first, then asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgframe.cli import options, terminal
from imgframe.errors import InputError

if TYPE_CHECKING:
    from imgframe.inventory import Inventory
    from imgframe.plans import Plan, Result

Filters = Annotated[
    list[str] | None, typer.Option("--filter", "-f", help="nerdctl's filters, all of them; repeat to narrow.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
PlanFolder = Annotated[
    Path | None, typer.Option("--plan", metavar="DIR", help="Save the plan here instead of applying it.")
]
Audit = Annotated[
    Path | None, typer.Option("--audit", metavar="DIR", help="Add a Parquet file with a row per step here.")
]
Platforms = Annotated[
    list[str] | None,
    typer.Option("--platform", help="Platform; repeat for several, all for all. Default: the node's."),
]
HostsDirs = Annotated[list[Path] | None, typer.Option("--hosts-dir", help="Folder of hosts.toml files.")]
Insecure = Annotated[bool, typer.Option("--insecure-registry", help="Skip TLS checks and fall back to HTTP.")]
Unchecked = Annotated[
    bool, typer.Option("--insecure-registry", help="Do not check the certificates of registries.")
]


def prune(
    filters: Filters = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Unused images too, not only dangling ones.")
    ] = False,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="Free so much: bytes per node, or a share of the disk such as 80%. The least harmful first.",
        ),
    ] = "",
    undo_for: Annotated[
        str, typer.Option("--undo-for", help="Hold the content so long, as in 2h, so that it can be undone.")
    ] = "",
    dialect: Annotated[
        str,
        typer.Option(
            help="Whose rules: imgframe, or nerdctl (takes what nerdctl image prune would; pinned ones too)."
        ),
    ] = "imgframe",
    require_remote: Annotated[
        bool,
        typer.Option(
            "--require-remote", help="Keep what no registry is known to have; asked again before deleting."
        ),
    ] = False,
    hosts_dirs: HostsDirs = None,
    insecure: Unchecked = False,
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
    """Plan to delete images, show what that frees exactly and what is kept and why, ask, and do it.

    Filters mean what they mean for lists: all of them count. With --dialect nerdctl only label and until do, as there.
    """
    from imgframe import plans

    if to and dialect != "imgframe":
        raise InputError(f"--to chooses by imgframe's rules; leave --dialect {dialect} or --to out")
    if (hosts_dirs or insecure) and not require_remote:
        raise InputError(
            "--hosts-dir and --insecure-registry say how --require-remote asks; add it, or leave them out"
        )
    inventory = options.load(addresses, nodes_file, None)
    asked = {"hosts_dirs": tuple(map(str, hosts_dirs or ())), "insecure": insecure}
    arguments: dict[str, Any] = {
        "keep_unknown": keep_unknown,
        "undo_for": undo_for or None,
        "require_remote": asked if require_remote else False,
    }
    spaces = options.chosen_namespaces(namespaces, all_namespaces)
    if dialect == "nerdctl":
        rows = _nerdctl_rows(inventory, spaces, filters or [])
        arguments |= {
            "dialect": dialect,
            "all": everything,
            "keep_used": keep_used,
            "keep_pinned": keep_pinned,
        }
        made = plans.prune(rows, inventory, **arguments)
    elif to:
        rows = candidates(inventory, spaces, filters or [], everything=True)
        arguments |= {"keep_used": keep_used is not False, "keep_pinned": keep_pinned is not False}
        made = plans.prune_to(inventory, int(to) if to.isdigit() else to, candidates=rows, **arguments)
    else:
        rows = candidates(inventory, spaces, filters or [], everything=everything)
        arguments |= {"dialect": dialect, "keep_used": keep_used, "keep_pinned": keep_pinned}
        made = plans.prune(rows, inventory, **arguments)
    conclude(made, yes=yes, folder=plan, audit=audit)


def _nerdctl_rows(inventory: Inventory, namespaces: list[str] | None, filters: list[str]) -> Any:
    """The records that nerdctl's prune looks at: its rules then say which of them go."""
    from imgframe.filters import apply_filters, parse_filters, split_flags

    clauses = parse_filters(split_flags(filters, flag="--filter")).clauses("image prune")
    rows = inventory.images
    if namespaces is not None:
        rows = rows[rows["namespace"].isin(namespaces)]
    return apply_filters(rows, *clauses)


def candidates(
    inventory: Inventory, namespaces: list[str] | None, filters: list[str], *, everything: bool
) -> Any:
    """The records that a prune is about: dangling ones, or all unused ones, that every filter keeps."""
    from imgframe.filters import (
        apply_filters,
        filter_dangling_images,
        parse_filters,
        split_flags,
    )
    from imgframe.nerdctl.selection import get_unused_images

    given = parse_filters(split_flags(filters, flag="--filter"))
    clauses = given.clauses("images")
    if given.until:
        from imgframe.filters import filter_until

        clauses = (*clauses, filter_until(given.until))
    rows = (
        get_unused_images(inventory)
        if everything
        else apply_filters(inventory.images, filter_dangling_images())
    )
    if namespaces is not None:
        rows = rows[rows["namespace"].isin(namespaces)]
    return apply_filters(rows, *clauses)


def conclude(plan: Plan, *, yes: bool, folder: Path | None, audit: Path | None) -> None:
    """Show the plan, save or apply it, and tell by the exit code whether every step is done."""
    show_plan(plan)
    if folder is not None:
        plan.save(folder)
        print(f"saved in {folder}; imgframe apply {folder} does it")
        return
    if not plan.table.num_rows:
        return
    if not yes and not _agreed():
        print("nothing was done")
        raise typer.Exit(1)
    report(plan.apply(audit=audit))


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise InputError(
            "this is not a terminal to ask on: give --yes to do it, or --plan DIR to save the plan"
        )
    return typer.confirm("Do it?", default=False)


def show_plan(plan: Plan) -> None:
    """The plan on stdout: what it frees, what is kept and why, and its steps."""
    print("\n".join(plan.summary()))
    reasons: dict[str, int] = {}
    for reason in plan.kept_table["reason"].to_pylist():
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items(), key=lambda pair: -pair[1]):
        print(f"kept: {count} {reason}")
    rows = [["ACTION", "NODE", "NAMESPACE", "NAME", "BYTES", "WHY"]]
    for step in plan.table.to_pylist():
        name = step["name"] if step["to"] is None else f"{step['name']} -> {step['to']}"
        rows.append(
            [
                step["action"],
                step["node"],
                step["namespace"],
                name,
                terminal.rounded(step["predicted_bytes"]),
                step["reason"] or "",
            ]
        )
    if len(rows) > 1:
        print(
            "\n".join(
                terminal.columns([[terminal.printable(cell or "") for cell in row] for row in rows], gap=2)
            )
        )


def report(result: Result) -> None:
    """What became of the steps; exit code 3 when some were not done, 130 when it was interrupted."""
    statuses = result.outcomes["status"].to_pylist()
    print(", ".join(f"{statuses.count(word)} {word}" for word in dict.fromkeys(statuses)))
    names = result.plan.table["name"].to_pylist()
    for row in result.outcomes.select(["step", "status", "message"]).to_pylist():
        if row["status"] not in {"done", "gone"}:
            print(
                f"imgframe: {terminal.printable(names[row['step']])}: {row['status']}: {row['message']}",
                file=sys.stderr,
            )
    if result.plan.freed is not None:
        seen = [value for value in result.observed.values() if value is not None]
        known = len(seen) == len(result.observed)
        print(
            f"freed {terminal.rounded(sum(seen) if known else None)}, predicted {terminal.rounded(result.plan.freed.total_bytes)}"
        )
    if result.interrupted:
        raise typer.Exit(130)
    if not result.ok:
        raise typer.Exit(options.PARTIAL)


def apply(
    plan: Annotated[Path, typer.Argument(metavar="DIR", help="A plan that --plan saved.")],
    yes: Yes = False,
    audit: Audit = None,
) -> None:
    """Apply a saved plan: every step is compared with its node first."""
    from imgframe.plans import open_plan

    conclude(open_plan(plan), yes=yes, folder=None, audit=audit)


def tag(
    name: Annotated[str, typer.Argument(help="Record to give a further name.")],
    to: Annotated[str, typer.Argument(help="The further name.")],
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.Namespaces = None,
    all_namespaces: options.AllNamespaces = False,
) -> None:
    """Give an image a further name on every node that has it."""
    from imgframe import plans

    inventory = options.load(addresses, nodes_file, None)
    rows = named(inventory, name, options.chosen_namespaces(namespaces, all_namespaces))
    conclude(
        plans.tag(rows, inventory, {str(one): to for one in rows["name"]}), yes=True, folder=None, audit=None
    )


def named(inventory: Inventory, name: str, namespaces: list[str] | None) -> Any:
    """The records called ``name``, as stored or normalised.

    Raises:
        NotFound: there is none.
    """
    from imgframe.cli.inventory import spellings
    from imgframe.errors import NotFound

    rows = inventory.images
    rows = rows[rows["name"].isin(spellings(name))]
    if namespaces is not None:
        rows = rows[rows["namespace"].isin(namespaces)]
    if rows.empty:
        raise NotFound(
            f"no image {name!r} in {'any namespace' if namespaces is None else ', '.join(namespaces)}; imgframe images -A lists what is there"
        )
    return rows


def _moved(verb: str, references: list[str], arguments: dict[str, Any], yes: bool, plan: Path | None) -> None:
    from imgframe import plans

    made = getattr(plans, verb)(references, **arguments)
    conclude(made, yes=yes or plan is None, folder=plan, audit=None)


def pull(
    references: Annotated[list[str], typer.Argument(help="Images.")],
    platform: Platforms = None,
    snapshotter: Annotated[str, typer.Option(help="Unpack into this snapshotter.")] = "",
    unpack: Annotated[
        bool | None,
        typer.Option("--unpack/--no-unpack", help="Unpack; default: where one platform is pulled."),
    ] = None,
    hosts_dirs: HostsDirs = None,
    insecure: Insecure = False,
    plan: PlanFolder = None,
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="containerd namespace.")] = "",
) -> None:
    """Pull images onto one or many nodes."""
    arguments = _arguments(
        platform, snapshotter, unpack, hosts_dirs, insecure, addresses, nodes_file, namespace
    )
    _moved("pull", references, arguments, True, plan)


def ensure(
    references: Annotated[list[str], typer.Argument(help="Images.")],
    mode: Annotated[str, typer.Option("--pull", help="always, missing or never.")] = "missing",
    platform: Platforms = None,
    snapshotter: Annotated[str, typer.Option(help="Unpack into this snapshotter.")] = "",
    unpack: Annotated[
        bool | None,
        typer.Option("--unpack/--no-unpack", help="Unpack; default: where one platform is pulled."),
    ] = None,
    hosts_dirs: HostsDirs = None,
    insecure: Insecure = False,
    plan: PlanFolder = None,
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="containerd namespace.")] = "",
) -> None:
    """Make sure that images are on one or many nodes, pulled and unpacked."""
    arguments = _arguments(
        platform, snapshotter, unpack, hosts_dirs, insecure, addresses, nodes_file, namespace
    )
    _moved("ensure", references, {**arguments, "mode": mode}, True, plan)


def _arguments(
    platform: list[str] | None,
    snapshotter: str,
    unpack: bool | None,
    hosts_dirs: list[Path] | None,
    insecure: bool,
    addresses: list[str] | None,
    nodes_file: Path | None,
    namespace: str,
) -> dict[str, Any]:
    import os

    from imgframe.node import load_nodes

    nodes: list[Any] = [*(addresses or []), *(load_nodes(nodes_file) if nodes_file else [])]
    return {
        "nodes": nodes or None,
        "platform": None if not platform else platform[0] if len(platform) == 1 else platform,
        "snapshotter": snapshotter or None,
        "unpack": unpack,
        "hosts_dirs": tuple(str(one) for one in hosts_dirs or ()),
        "insecure": insecure,
        "namespace": namespace or os.environ.get("CONTAINERD_NAMESPACE") or "default",
    }


def push(
    name: Annotated[str, typer.Argument(help="Record to push.")],
    to: Annotated[
        str, typer.Option("--to", help="Push under this name, or to this registry when it ends with /.")
    ] = "",
    platform: Platforms = None,
    hosts_dirs: HostsDirs = None,
    insecure: Insecure = False,
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.Namespaces = None,
) -> None:
    """Push an image from the node that has it."""
    from imgframe import plans

    inventory = options.load(addresses, nodes_file, None)
    rows = named(inventory, name, options.chosen_namespaces(namespaces, False)).drop_duplicates("digest")
    where: Any = (
        None if not to else to.rstrip("/") if to.endswith("/") else {str(one): to for one in rows["name"]}
    )
    platforms = None if not platform else platform[0] if len(platform) == 1 else platform
    made = plans.push(
        rows,
        inventory,
        to=where,
        platform=platforms,
        hosts_dirs=tuple(map(str, hosts_dirs or ())),
        insecure=insecure,
    )
    conclude(made, yes=True, folder=None, audit=None)
