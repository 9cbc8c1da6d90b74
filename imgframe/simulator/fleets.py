"""Fleets of simulated nodes: served over gRPC, or as dumps day by day."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa

from imgframe.errors import InputError
from imgframe.inventory import Inventory
from imgframe.simulator.catalogue import DAY
from imgframe.simulator.faults import Fault
from imgframe.simulator.node_life import HOUR, NodeLife, filled_node, fleet_lives
from imgframe.simulator.server import Simulator
from imgframe.simulator.store import Store

Dump = dict[str, Any]
SEED = 20


class NodeDay(NamedTuple):
    """A node on a day: number of the day from 0, time of the dump, name of the node, and its store."""

    day: int
    at: datetime
    node: str
    dump: Dump


def history(
    days: int = 90,
    nodes: int = 12,
    *,
    seed: int = SEED,
    until: datetime | None = None,
    every: int = 1,
) -> Iterator[NodeDay]:
    """The history of a fleet: the dump of each node at the end of each day, oldest day first.

    Releases arrive, tags move, containers are replaced, and kubelets prune from 85 % of the disk to 60 %, so usage is a
    sawtooth. The last day ends at ``until`` (default: this hour) and equals what :func:`fleet` serves for the same arguments.
    ``every``: interval in days, counted back from the last one. Dumps share their rows: do not modify those.

    Raises:
        InputError: ``days``, ``nodes`` or ``every`` below 1, or ``until`` without a time zone.

    Example:
        >>> from datetime import UTC, datetime
        >>> from imgframe import simulator
        >>> end = datetime(2026, 11, 23, 6, tzinfo=UTC)
        >>> [(row.day, row.node, row.at.day) for row in simulator.history(days=2, nodes=1, until=end)]
        [(0, 'edge-00', 22), (1, 'edge-00', 23)]
    """
    end = _end(until)
    if min(days, nodes, every) < 1:
        raise InputError(f"days, nodes and every must be at least 1; got {days}, {nodes}, {every}")
    start = end - days * DAY
    lives = fleet_lives(nodes, seed, start)
    for life in lives:
        life.begin(start)
    for day in range(days):
        at = start + (day + 1) * DAY
        for life in lives:
            life.live(at - DAY)
            if (days - 1 - day) % every == 0:
                yield NodeDay(day, datetime.fromtimestamp(at // 10**9, UTC), life.name, life.dump(at))


def fleet(
    nodes: int = 12,
    *,
    days: int = 90,
    seed: int = SEED,
    until: datetime | None = None,
    faults: Iterable[Fault] = (),
) -> Simulator:
    """A fleet of simulated nodes after ``days``, each on its own socket.

    The store of a node is built on its first call: a thousand nodes start in about a second.

    Raises:
        InputError: ``days`` or ``nodes`` below 1, or ``until`` without a time zone.

    Example:
        >>> from imgframe import simulator
        >>> with simulator.fleet(nodes=3, days=5) as fleet:
        ...     list(fleet.addresses)
        ['edge-00', 'worker-01', 'worker-02']
    """
    end = _end(until)
    if min(days, nodes) < 1:
        raise InputError(f"days and nodes must be at least 1; got {days}, {nodes}")
    start = end - days * DAY

    def grown(life: NodeLife) -> Store:
        life.begin(start)
        for day in range(days):
            life.live(start + day * DAY)
        return Store(life.dump(end))

    lives = fleet_lives(nodes, seed, start)
    return Simulator(
        {life.name: functools.partial(grown, life) for life in lives},
        faults,
        {life.name: _about(life) for life in lives},
    )


def relive(
    days: int = 90,
    nodes: int = 12,
    *,
    seed: int = SEED,
    until: datetime | None = None,
    every: int = 1,
) -> Iterator[tuple[datetime, Simulator]]:
    """:func:`history` served over gRPC: yields the end of each day and the running fleet at that time.

    Collect each yielded fleet before the next one, with one cache file for all days, and date its inventory by :func:`dated`.

    Example:
        >>> import imgframe as imf
        >>> from imgframe import simulator
        >>> for at, fleet in simulator.relive(days=2, nodes=1):
        ...     inv = simulator.dated(imf.collect(fleet.nodes, cache=False), at)
        >>> inv.nodes.collected_at[0] == at
        True
    """
    days_of_nodes = history(days, nodes, seed=seed, until=until, every=every)
    with fleet(nodes, days=1, seed=seed, until=until) as served:
        for at, rows in itertools.groupby(days_of_nodes, key=lambda row: row.at):
            served.replace_stores({row.node: functools.partial(Store, row.dump) for row in rows})
            yield at, served


def dated(inventory: Inventory, at: datetime) -> Inventory:
    """The inventory as if collected at the time ``at``."""
    nodes = inventory.arrow("nodes")
    when = pa.array([at] * nodes.num_rows, nodes.schema.field("collected_at").type)
    place = nodes.schema.get_field_index("collected_at")
    return inventory.replace(nodes=nodes.set_column(place, nodes.schema.field(place), when))


def dump(
    images: int = 100, *, seed: int = SEED, namespace: str = "default", until: datetime | None = None
) -> Dump:
    """A generated store with at least ``images`` image records, for :func:`imgframe.simulator.from_dump`.

    It has pinned, running and unused images, shared bases, multi-platform indexes without the manifests of other platforms,
    attestations and leases; in the namespace ``k8s.io`` each image has three records, as the CRI keeps them.

    Example:
        >>> from imgframe import simulator
        >>> store = simulator.dump(images=30, namespace="k8s.io")
        >>> len(store["namespaces"]["k8s.io"]["images"]) >= 30
        True
    """
    end = _end(until)
    return filled_node(images, seed, end, namespace).dump(end)


def node(
    images: int = 100,
    *,
    seed: int = SEED,
    namespace: str = "default",
    until: datetime | None = None,
    faults: Iterable[Fault] = (),
) -> Simulator:
    """One simulated node that serves :func:`dump`.

    Example:
        >>> from imgframe import simulator
        >>> with simulator.node(images=20) as node:
        ...     len(node.store.namespaces["default"].images) >= 20
        True
    """
    return Simulator(
        {"node": lambda: Store(dump(images, seed=seed, namespace=namespace, until=until))}, faults
    )


def _about(life: NodeLife) -> dict[str, Any]:
    """Labels and disk size of the node, as in a nodes.toml."""
    return {"labels": {"role": life.name.partition("-")[0]}, "disk_total": life.disk_total}


def _end(until: datetime | None) -> int:
    """The end of a history in nanoseconds."""
    if until is None:
        return time.time_ns() // HOUR * HOUR
    if until.tzinfo is None:
        raise InputError(f"until needs a time zone; got {until.isoformat()}")
    return int(until.timestamp()) * 10**9
