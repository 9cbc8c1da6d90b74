"""Pruning half of a store of 1,000 images: a plan's way beside deleting each image and waiting, as nerdctl does.

The two run on the same daemon after each other, on stores filled alike; wall and the daemon's own CPU seconds. Before that what
a plan for 100,000 records takes, without a node.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.collect import daemon_seconds

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

COUNT, HALF = 1000, 500


class Spent(NamedTuple):
    wall: float
    daemon: float


def measured(daemon, work) -> Spent:
    cpu, wall = daemon_seconds(daemon.pid), time.perf_counter()
    work()
    return Spent(time.perf_counter() - wall, daemon_seconds(daemon.pid) - cpu)


def delete_each(address: str, names: list[tuple[str, str]]) -> None:
    """What nerdctl does: one synchronous delete after the other, each with a garbage collection."""
    from imgframe import _loop
    from imgframe.wire import Client

    async def work() -> None:
        async with Client(address) as client:
            for namespace, name in names:
                await client.images.delete(namespace, name, sync=True)

    _loop.run(work())


def plans() -> None:
    """CPU seconds of deciding, the first time with the graph of references."""
    import imgframe as imf
    from benchmarks.explorer import inventory

    inv = inventory()
    for what, wanted, decide in (
        ("prune", 1.5, lambda: imf.prune(inv.images, inv)),
        ("prune again", 0.8, lambda: imf.prune(inv.images, inv)),
        ("prune by nerdctl's rules", 1.5, lambda: imf.prune(inv.images, inv, dialect="nerdctl", all=True)),
        ("prune_to", 4.0, lambda: imf.prune_to(inv, 10**9)),
        ("tag", 3.0, lambda: imf.tag(inv.images, inv, "mirror.example")),
    ):
        begun = time.process_time()
        steps = len(decide().table)
        spent = time.process_time() - begun
        verdict = "yes" if spent <= wanted else "NO"
        print(
            f"plan of 100,000 records, {what}: {steps:,} steps, {spent:.2f} s of CPU (at most {wanted}: {verdict})"
        )


def main() -> None:
    plans()
    from testbed import ctr_stores
    from testbed.daemons import Daemon

    import imgframe as imf

    with Daemon("2.1") as daemon:
        ctr_stores.fill_generated(daemon, "plan", COUNT)
        ctr_stores.fill_generated(daemon, "each", COUNT)
        inventory = imf.collect(daemon.address, cache=False)
        images = inventory.images.sort_values("name")
        ours = images[images["namespace"] == "plan"].iloc[::2].head(HALF)
        plan = imf.prune(ours, inventory)
        applied = measured(daemon, lambda: plan.apply(progress=False).raise_for_errors())
        theirs = images[images["namespace"] == "each"].iloc[::2].head(HALF)
        names = list(zip(theirs["namespace"].astype(str), theirs["name"].astype(str), strict=True))
        each = measured(daemon, lambda: delete_each(daemon.address, names))
    print(f"prune {len(plan.steps)} of {COUNT}: {applied.wall:.2f} s, daemon {applied.daemon:.2f} s of CPU")
    print(f"each with its own collection: {each.wall:.2f} s, daemon {each.daemon:.2f} s of CPU")
    print(
        f"ratio {applied.wall / each.wall:.3f} (at most {1 / 20}), CPU {applied.daemon / each.daemon:.3f} (at most {1 / 30:.3f})"
    )


if __name__ == "__main__":
    main()
