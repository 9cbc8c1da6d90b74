"""``imgframe stale`` and ``irreplaceable``: what registries have of the images that are here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgframe.cli import options, records, terminal
from imgframe.cli.plans import HostsDirs, Unchecked

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory

Format = Annotated[str, typer.Option("--format", help="table, json or csv (whole digests).")]
DockerConfig = Annotated[
    Path | None,
    typer.Option(
        "--docker-config", help="docker's config.json or its folder. Default: DOCKER_CONFIG, else ~/.docker."
    ),
]


def stale(
    format: Format = "table",
    hosts_dirs: HostsDirs = None,
    insecure: Unchecked = False,
    docker_config: DockerConfig = None,
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.Namespaces = None,
    all_namespaces: options.AllNamespaces = False,
    saved: options.From = None,
    no_cache: options.NoCache = False,
) -> None:
    """Compare every image with its registry, each name asked once for all nodes.

    same; cosmetic: another digest, but the same image for the node's platform; different; missing: the registry does not have
    the name; unknown: it could not be asked. Exit code 3: a registry gave no answer.
    """
    from imgframe import upstream

    options.known_format(format, "table", "json", "csv")
    inventory = options.load(addresses, nodes_file, saved, cache=not no_cache)
    wanted = options.scope(namespaces, all_namespaces, saved)
    images = _within(inventory.images, wanted)
    found = upstream.stale(inventory.replace(images=images), **_manner(hosts_dirs, insecure, docker_config))
    columns = {"local_digest": "LOCAL", "remote_digest": "REMOTE", "status": "STATUS", "reason": "WHY"}
    _show(found, columns, format)
    _finish(inventory, found[found["status"] == "unknown"])


def irreplaceable(
    copies: Annotated[int, typer.Option("--copies", "-k", help="On at most so many nodes.")] = 1,
    format: Format = "table",
    hosts_dirs: HostsDirs = None,
    insecure: Unchecked = False,
    docker_config: DockerConfig = None,
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.Namespaces = None,
    all_namespaces: options.AllNamespaces = False,
    saved: options.From = None,
    no_cache: options.NoCache = False,
) -> None:
    """List the images that no registry is known to have and at most so many nodes hold: deleting them may be for ever.

    Exit code 3: a registry gave no answer for one of them.
    """
    from imgframe import upstream

    options.known_format(format, "table", "json", "csv")
    inventory = options.load(addresses, nodes_file, saved, cache=not no_cache)
    wanted, images = options.scope(namespaces, all_namespaces, saved), inventory.images
    mine = _within(images, wanted)
    named = inventory.replace(
        images=images[images["digest"].isin(mine["digest"])]
    )  # their names elsewhere count too
    found = upstream.irreplaceable(named, copies, **_manner(hosts_dirs, insecure, docker_config))
    found = _within(found, wanted)
    columns = {"digest": "DIGEST", "copies": "COPIES", "in_registry": "IN REGISTRY", "reason": "WHY"}
    _show(found, columns, format)
    _finish(inventory, found[found["in_registry"].isna()])


def _within(rows: pd.DataFrame, wanted: list[str] | None) -> pd.DataFrame:
    """The rows of the namespaces ``wanted``; None: all."""
    return rows if wanted is None else rows[rows["namespace"].isin(wanted)]


def _manner(hosts_dirs: list[Path] | None, insecure: bool, docker_config: Path | None) -> dict[str, Any]:
    return {
        "hosts_dirs": tuple(map(str, hosts_dirs or ())),
        "insecure": insecure,
        "docker_config": docker_config,
    }


def _show(found: pd.DataFrame, columns: dict[str, str], format: str) -> None:
    import pyarrow as pa

    rows = records.rows(pa.Table.from_pandas(found, preserve_index=False))
    if format == "json":
        records.print_json(rows)
        return
    if format == "csv":
        records.print_csv(list(found.columns), rows)
        return
    front = [name for name in ("node", "namespace") if len({row[name] for row in rows}) > 1]
    shown = {**{name: name.upper() for name in front}, "name": "NAME", **columns}
    lines = [list(shown.values()), *([_cell(name, row[name]) for name in shown] for row in rows)]
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in terminal.columns(lines)))


def _cell(column: str, value: Any) -> str:
    """A value for people: digests short, control characters as escapes, whether it is in a registry as a word."""
    if column == "in_registry":
        return "?" if value is None else "yes" if value else "no"
    words = "" if value is None else str(value)
    return terminal.short(words) if column.endswith("digest") else terminal.printable(words)


def _finish(inventory: Inventory, unanswered: pd.DataFrame) -> None:
    """Exit code 3 where a node or a registry could not be asked; a name that no registry can know asks none."""
    from imgframe.planning.registry_steps import registry_name

    options.finish(inventory)
    if any(registry_name(str(name)) is not None for name in unanswered["name"]):
        raise typer.Exit(options.PARTIAL)
