"""A pull of an image while images that share its layers are pruned loses nothing, at whatever point they meet."""

import random
import threading
from typing import NamedTuple

import pandas as pd
import pytest
from testbed import images
from testbed.node_state import EMPTY, checked, collect_garbage, state
from testbed.web_servers import FaultyProxy

import imgframe as imf

HOLD = 60.0  # seconds; a pull that does not come so far is a failure


class Family(NamedTuple):
    """Images that stand on one base: ``old`` ones to be pruned, a ``new`` one to be pulled, and names in a repository."""

    repository: str
    old: list[images.Image]
    new: images.Image

    @classmethod
    def born(cls, registry, release, number):
        """Layers of this round alone: shared by all are 3, by the old and the new image 1, 2 and 3 of them."""
        rng = random.Random(f"{release} {number}")

        def noise(size=150_000):
            return images.layer([images.file("noise", rng.randbytes(size))])

        base = [noise() for _ in range(3)]
        old = [images.image([*base[: n + 1], noise(), noise()], labels={"old": str(n)}) for n in range(3)]
        new = images.image([*base, noise(), noise(600_000)])
        family = cls(f"overlap/{release}-{number}", old, new)
        for at, one in enumerate(old):
            registry.push(family.repository, f"old{at}", one)
        registry.push(family.repository, "new", new)
        return family

    def names(self, host):
        """Of the old ones."""
        return [f"{host}/{self.repository}:old{at}" for at in range(len(self.old))]

    def stages(self):
        """What the registry is asked for, in order; the last: nothing is held, both simply run."""
        new = self.new
        digests = [new.digest, new.document["config"]["digest"], *(one.digest for one in new.layers[3:])]
        return [rf"HEAD .*{self.repository}/manifests/new", *(f"GET .*{one}" for one in digests), None, None]


def meet(daemon, registry, number, *, via):
    """One round: the pull is held while the prune is applied, or they run together; then everything is looked at."""
    family = Family.born(registry, daemon.release, f"{via or 'any'}-{number}")
    namespace = daemon.new_namespace("overlap")
    imf.pull(family.names(registry.host), daemon.address, namespace=namespace).apply().raise_for_errors()
    inventory = imf.collect(daemon.address, namespaces=[namespace], cache=False)
    prune = imf.prune(inventory.images, inventory)
    assert len(prune.steps) == len(family.old)
    stages = family.stages()
    with FaultyProxy(registry.host) as proxy:
        name = f"{proxy.host}/{family.repository}:new"
        pull = imf.pull(name, daemon.address, namespace=namespace, via=via)
        pulled, pruned = together(proxy, stages[number % len(stages)], pull, prune)
    pulled.raise_for_errors()
    look(daemon, namespace, name, family, prune, pruned)


def together(proxy, stage, pull, prune):
    """The results of both. With a stage the registry's answer there waits until the prune has ended."""
    results = {}
    held = proxy.add(stage, times=1, hang=True, late=True) if stage else None
    start = threading.Barrier(2)

    def puller():
        if held is None:
            start.wait()
        results["pull"] = pull.apply(progress=False)

    thread = threading.Thread(target=puller)
    thread.start()
    if held is None:
        start.wait()
    else:
        assert held.struck.wait(HOLD)
    results["prune"] = prune.apply(progress=False)
    if held is not None:
        held.release.set()
    thread.join()
    return results["pull"], results["prune"]


def look(daemon, namespace, name, family, prune, pruned):
    """The pulled image is whole and unpacked, now and after another GC; of the others went what no other needs."""
    statuses = pruned.steps["status"].tolist()
    assert statuses == ["done"] * len(family.old)
    blobs, chain = set(family.new.blobs), images.chain_ids(family.new)
    for _ in range(2):
        assert checked(daemon, namespace) == {name: "complete (6/6) true"}
        found = state(daemon, namespace)
        assert found.images == {name: family.new.digest}
        assert set(found.blobs) == blobs
        assert set(found.snapshots) == {("overlayfs", key) for key in chain}
        assert not found.leases | found.ingests
        collect_garbage(daemon, namespace)
    freed = set(prune.freed.blobs["digest"].astype(str)) - blobs
    assert freed == {digest for one in family.old for digest in one.blobs} - blobs
    shared = sum(len(layer.data) for layer in family.new.layers[:3])
    # NA: a snapshot of the pull was among those that went, under the name that it had before it was whole
    assert pd.isna(pruned.observed_bytes) or pruned.observed_bytes <= prune.freed.total_bytes
    assert prune.freed.content_bytes >= shared
    daemon.ctr("images", "rm", "--sync", name, namespace=namespace)
    assert state(daemon, namespace) == EMPTY


def rounds(daemon, registry, times):
    """So many rounds, every stage in turn; containerd's own pull in every third where it is the way."""
    for number in range(times):
        meet(daemon, registry, number, via=None if number % 3 == 2 else "client")


def test_a_pull_while_a_prune_is_applied_loses_nothing(containerd, registry):
    rounds(containerd, registry, 9)


@pytest.mark.soak
def test_soak_pulls_while_prunes_are_applied(containerd, registry):
    rounds(containerd, registry, 100)
