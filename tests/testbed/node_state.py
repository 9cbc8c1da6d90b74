"""What a namespace of a node holds, read by our client and checked against nothing: the tests compare two of them."""

import asyncio
from typing import NamedTuple

from imgframe.wire import Client
from imgframe.wire.records import labels_of
from testbed.daemons import Daemon


class State(NamedTuple):
    """Images by name (target digest), labels by blob, snapshots by (snapshotter, key), names of leases and ingests."""

    images: dict[str, str]
    blobs: dict[str, dict[str, str]]
    snapshots: dict[tuple[str, str], tuple[str, str, dict[str, str]]]
    leases: set[str]
    ingests: set[str]


EMPTY = State({}, {}, {}, set(), set())


def state(daemon: Daemon, namespace: str) -> State:
    """What the namespace holds now."""
    return asyncio.run(_state(daemon.address, namespace))


async def _state(address: str, namespace: str) -> State:
    async with Client(address) as client:
        snapshots = {}
        for snapshotter in ("overlayfs", "native"):
            for one in await client.snapshots.list(namespace, snapshotter):
                snapshots[snapshotter, one.key] = (one.kind, one.parent, labels_of(one.labels))
        return State(
            {one.name: one.target.digest for one in await client.images.list(namespace)},
            {one.digest: labels_of(one.labels) for one in await client.content.list(namespace)},
            snapshots,
            {one.id for one in await client.leases.list(namespace)},
            {one.ref for one in await client.content.ingests(namespace)},
        )


def collect_garbage(daemon: Daemon, namespace: str) -> None:
    """Lets containerd's garbage collector run, and waits for its end."""

    async def run() -> None:
        async with Client(daemon.address) as client:
            await client.leases.create(namespace, "collect-garbage", {})
            await client.leases.delete(namespace, "collect-garbage", sync=True)

    asyncio.run(run())


def checked(daemon: Daemon, namespace: str) -> dict[str, str]:
    """What `ctr images check` says of each image: `complete (5/5) true`, say."""
    lines = daemon.ctr("images", "check", namespace=namespace).splitlines()[1:]
    found = {}
    for line in lines:
        name, _, _, rest = line.split(None, 3)
        found[name] = f"{rest.split(')')[0]}) {rest.split()[-1]}"
    return found
