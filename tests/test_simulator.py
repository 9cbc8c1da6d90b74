"""The simulator answers as containerd does: the same calls on both, the same answers."""

import random
import re

import pytest
import testbed.compared_calls as story
import testbed.garbage_rounds as garbage
from conftest import require_daemons
from testbed.daemons import RELEASES, Daemon
from testbed.raw_calls import Asker
from testbed.recorded_stores import load_into, recorded

from imgframe import simulator

# keys behind the snapshotter; what 1.6 says shorter
_NOT_COMPARED = re.compile(r"(?<=commit snapshot) (w/\d+/)?c1|w/\d+/| length \(\d+ bytes\)|(?<=key: )k+")
MOUNTS = {"Snapshots/Prepare", "Snapshots/View", "Snapshots/Mounts"}


def comparable(call, answer):
    """An answer without what is a daemon's own: where it mounts, and how its resources are ordered."""
    if isinstance(answer, list) and call in MOUNTS:
        return [[mount["type"] for mount in each["mounts"]] for each in answer]
    if call == "Snapshots/Usage" and isinstance(answer, list):
        return [each.get("inodes") for each in answer]  # bytes on disk are the file system's
    if isinstance(answer, tuple):
        return answer[0], _NOT_COMPARED.sub("", answer[1])
    if call == "Leases/ListResources" and isinstance(answer, list):
        return sorted((each["type"], each["id"]) for each in answer[0].get("resources", []))
    return answer


def differences(real, simulated, calls):
    """Calls answered differently, with both answers."""
    found, count = [], 0
    for call, requests, fields in calls:
        count += 1
        theirs = comparable(call, real.answer(call, *requests, **fields))
        ours = comparable(call, simulated.answer(call, *requests, **fields))
        if theirs != ours:
            found.append(
                {"call": call, "fields": {**fields, "requests": requests}, "real": theirs, "simulated": ours}
            )
    return count, found


def unstreamed(calls):
    return ((call, [], fields) for call, fields in calls)


@pytest.fixture(scope="module", params=RELEASES)
def daemon(request):
    """A daemon of these tests' own: their collections would sweep what others have not yet leased."""
    require_daemons(f"the simulator against containerd {request.param}", request.param)
    with Daemon(request.param) as started:
        yield started


@pytest.mark.daemon
@pytest.mark.parametrize("store", ["store-1", "store-3", "store-4"])
def test_reads_answer_as_the_real_daemon(daemon, store):
    dump = recorded(store)
    load_into(daemon, dump)
    with (
        simulator.from_dump(dump | {"daemon": daemon.version}) as simulated,
        Asker(daemon.address, dump["namespace"]) as real,
        Asker(simulated.address, dump["namespace"]) as ours,
    ):
        count, found = differences(real, ours, unstreamed(story.reads(dump)))
    print(f"{store} on {daemon.release}: {count} calls")
    assert found == []


@pytest.mark.daemon
def test_garbage_goes_as_on_the_real_daemon(daemon):
    collections = removed = 0
    for seed in range(6):
        namespaces = [f"gc-{seed}-a", f"gc-{seed}-b"]
        with (
            simulator.from_dump({"daemon": daemon.version}) as simulated,
            Asker(daemon.address, "") as real,
            Asker(simulated.address, "") as ours,
        ):
            sizes = []
            for calls in garbage.rounds(random.Random(seed), namespaces):
                _, found = differences(real, ours, calls)
                assert found == []
                for namespace in namespaces:
                    left = [garbage.everything(each, namespace) for each in (real, ours)]
                    assert left[0] == left[1], (seed, namespace, calls[-1])
                sizes.append(len(simulated.store.bytes_of))
            collections += len(sizes)
            removed += sizes[0] - sizes[-1]
    print(f"garbage on {daemon.release}: {collections} collections, {removed} blobs removed by deletes")
    assert removed > 20


@pytest.mark.daemon
@pytest.mark.every_release
@pytest.mark.parametrize("release", RELEASES)
def test_namespaces_answer_as_the_real_daemon(fresh_daemon, release):
    own = fresh_daemon(release)
    with (
        simulator.from_dump({"daemon": own.version, "namespaces": {}}) as simulated,
        Asker(own.address, "caller") as real,
        Asker(simulated.address, "caller") as ours,
    ):
        count, found = differences(real, ours, unstreamed(story.namespaces_story()))
    print(f"namespaces on {release}: {count} calls")
    assert found == []


@pytest.mark.daemon
def test_writes_answer_as_the_real_daemon(daemon):
    calls = [
        *unstreamed(story.leases_story()),
        *unstreamed(story.images_story()),
        *story.content_story(malformed=daemon.numbers < (2, 3)),
        *unstreamed(story.snapshots_story("overlayfs")),
    ]
    with (
        simulator.from_dump({"daemon": daemon.version}) as simulated,
        Asker(daemon.address, "w") as real,
        Asker(simulated.address, "w") as ours,
    ):
        count, found = differences(real, ours, calls)
    print(f"writes on {daemon.release}: {count} calls")
    assert found == []


def unpacked(ask, data, kind):
    """What Apply says of a layer, and the inodes of the snapshot."""
    key = f"x-{story.digest(data)[7:17]}"
    write = {"action": "COMMIT", "ref": key, "data": data, "total": len(data), "expected": story.digest(data)}
    ask("Content/Write", write, lease="hold")
    (prepared,) = ask("Snapshots/Prepare", snapshotter="overlayfs", key=key, lease="hold")
    layer = {"media_type": kind, "digest": story.digest(data), "size": len(data)}
    applied = ask.answer("Diff/Apply", diff=layer, mounts=prepared.mounts, lease="hold")
    return applied, ask.answer("Snapshots/Usage", snapshotter="overlayfs", key=key)[0]["inodes"]


@pytest.mark.daemon
def test_layers_unpack_as_on_the_real_daemon(daemon):
    kind = "application/vnd.oci.image.layer.v1.tar"
    layers = {"": story.TAR, "+gzip": story.GZIP.data, "+zstd": story.ZSTD.data}
    with (
        simulator.from_dump({"daemon": daemon.version}) as simulated,
        Asker(daemon.address, "unpack") as real,
        Asker(simulated.address, "unpack") as ours,
    ):
        for ask in (real, ours):
            ask("Leases/Create", id="hold")
        for end, data in layers.items():
            assert unpacked(real, data, kind + end) == unpacked(ours, data, kind + end)
        gone = {"diff": {"media_type": kind, "digest": story.DIGEST, "size": 5}}
        assert real.answer("Diff/Apply", **gone)[0] == ours.answer("Diff/Apply", **gone)[0] == "NOT_FOUND"
