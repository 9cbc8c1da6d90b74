"""``imgframe stale`` and ``irreplaceable``: which of the images on nodes registries have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgframe.cli import options, records, terminal

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
    hosts_dirs: options.HostsDirs = None,
    insecure: options.Unverified = False,
    docker_config: DockerConfig = None,
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.Namespaces = None,
    all_namespaces: options.AllNamespaces = False,
    saved: options.From = None,
    no_cache: options.NoCache = False,
) -> None:
    """Compare every image with its registry; each name is asked for once, for all nodes.

    same; cosmetic: another digest, but the same image for the node's platform; different; missing: the registry does not have
    the name; unknown: it could not be asked. Exit code 3: a registry did not answer.
    """
    from imgframe import upstream

    options.known_format(format, "table", "json", "csv")
    inventory = options.load(addresses, nodes_file, saved, cache=not no_cache)
    wanted = options.scope(namespaces, all_namespaces, saved)
    chosen = inventory.replace(images=options.within(inventory.images, wanted))
    found = upstream.stale(chosen, **_registries(hosts_dirs, insecure, docker_config))
    columns = {"local_digest": "LOCAL", "remote_digest": "REMOTE", "status": "STATUS", "reason": "WHY"}
    _print(found, columns, format)
    _finish(inventory, found[found["status"] == "unknown"])


def irreplaceable(
    copies: Annotated[int, typer.Option("--copies", "-k", help="On at most this many nodes.")] = 1,
    format: Format = "table",
    hosts_dirs: options.HostsDirs = None,
    insecure: options.Unverified = False,
    docker_config: DockerConfig = None,
    addresses: options.Addresses = None,
    nodes_file: options.NodesFile = None,
    namespaces: options.Namespaces = None,
    all_namespaces: options.AllNamespaces = False,
    saved: options.From = None,
    no_cache: options.NoCache = False,
) -> None:
    """List the images that no registry is known to have and at most this many nodes hold: they may be gone for good once deleted.

    Exit code 3: a registry did not answer for one of them.
    """
    from imgframe import upstream

    options.known_format(format, "table", "json", "csv")
    inventory = options.load(addresses, nodes_file, saved, cache=not no_cache)
    wanted, images = options.scope(namespaces, all_namespaces, saved), inventory.images
    chosen = images["digest"].isin(
        options.within(images, wanted)["digest"]
    )  # their names elsewhere count too
    arguments = _registries(hosts_dirs, insecure, docker_config)
    found = options.within(
        upstream.irreplaceable(inventory.replace(images=images[chosen]), copies, **arguments), wanted
    )
    columns = {"digest": "DIGEST", "copies": "COPIES", "in_registry": "IN REGISTRY", "reason": "WHY"}
    _print(found, columns, format)
    _finish(inventory, found[found["in_registry"].isna()])


def _registries(hosts_dirs: list[Path] | None, insecure: bool, docker_config: Path | None) -> dict[str, Any]:
    return {
        "hosts_dirs": tuple(map(str, hosts_dirs or ())),
        "insecure": insecure,
        "docker_config": docker_config,
    }


def _print(found: pd.DataFrame, columns: dict[str, str], format: str) -> None:
    import pyarrow as pa

    table = pa.Table.from_pandas(found, preserve_index=False)
    if format != "table":
        records.print_rows(table, format)
        return
    rows = records.rows(table)
    front = [name for name in ("node", "namespace") if len({row[name] for row in rows}) > 1]
    shown = {**{name: name.upper() for name in front}, "name": "NAME", **columns}
    terminal.print_table([[*shown.values()], *([_cell(name, row[name]) for name in shown] for row in rows)])


def _cell(column: str, value: Any) -> str:
    """A value for people: digests short, control characters escaped, whether it is in a registry as a word."""
    if column == "in_registry":
        return "?" if value is None else "yes" if value else "no"
    words = "" if value is None else str(value)
    return terminal.short(words) if column.endswith("digest") else terminal.printable(words)


def _finish(inventory: Inventory, unanswered: pd.DataFrame) -> None:
    """Exit with code 3 if a node or a registry could not be asked; names that no registry can have do not count."""
    from imgframe.planning.registry_steps import registry_name

    options.finish(inventory)
    if any(registry_name(str(name)) is not None for name in unanswered["name"]):
        raise typer.Exit(options.PARTIAL)
