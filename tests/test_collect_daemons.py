"""Real daemons that die, change or lie while they are read, each caught in the middle of a read by a lease on a blob."""

import contextlib
import fcntl
import os
import select
import signal
import socket
import threading

import pytest
from testbed import recorded_stores
from testbed.daemons import RELEASES
from testbed.spoilt_stores import CONFIG, INDEX, Spoilt, digest_of

import imgframe as imf
from imgframe import simulator
from imgframe.wire import channel

pytestmark = pytest.mark.daemon

TABLES = ("images", "manifests", "configs", "history", "layers", "documents")
STORE = recorded_stores.recorded("store-1")


def collected(address, **options):
    return imf.collect({"name": "n", "address": str(address)}, cache=False, progress=False, **options)


def same_tables(one, other, *more):
    for table in (*TABLES, *more):
        assert one.arrow(table).equals(other.arrow(table)), table


def errors(inv):
    return sorted((row.stage, row.subject, row.code) for row in inv.errors.itertuples())


@contextlib.contextmanager
def collecting(daemon, digest, **options):
    """A collection that waits in the read of `digest`; what it gave is in the list at the end.

    We hold a lease on the file of the blob: Linux tells us that containerd opens it, and lets it wait until we are done.
    """
    path = daemon.root / "io.containerd.content.v1.content/blobs/sha256" / digest.removeprefix("sha256:")
    result = []
    reader = threading.Thread(target=lambda: result.append(collected(daemon.socket, **options)))
    told, tells = socket.socketpair()  # written to whichever thread the signal comes to
    tells.setblocking(False)
    before = signal.signal(signal.SIGIO, lambda *_: None), signal.set_wakeup_fd(tells.fileno())
    with told, tells, path.open("rb") as blob:
        fcntl.fcntl(blob, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        reader.start()
        assert select.select([told], [], [], 120)[0]
        signal.set_wakeup_fd(before[1])
        yield result
    reader.join()
    signal.signal(signal.SIGIO, before[0])


@pytest.mark.parametrize("release", RELEASES)
def test_a_daemon_killed_while_it_reads_and_started_again_is_read_to_the_end(
    fresh_daemon, monkeypatch, release
):
    monkeypatch.setattr(channel, "RETRY_SECONDS", 120.0)  # a busy machine starts slowly
    daemon = fresh_daemon(release)
    recorded_stores.load_into(daemon, STORE)
    calm = collected(daemon.socket)
    with collecting(daemon, calm.documents.digest[0]) as result:
        daemon.kill()
        daemon.start()
    (inv,) = result
    same_tables(inv, calm, "errors")
    assert inv.nodes.status[0] == calm.nodes.status[0]


@pytest.mark.parametrize("release", RELEASES)
def test_a_daemon_killed_while_it_reads_leaves_its_lists_and_error_rows(fresh_daemon, monkeypatch, release):
    monkeypatch.setattr(channel, "RETRY_SECONDS", 0.3)
    daemon = fresh_daemon(release)
    recorded_stores.load_into(daemon, STORE)
    calm = collected(daemon.socket)
    digest = calm.documents.digest[0]
    with collecting(daemon, digest) as result:
        daemon.kill()
    (inv,) = result
    assert inv.nodes.status[0] == "partial"
    assert inv.images[["name", "digest", "created_at"]].equals(calm.images[["name", "digest", "created_at"]])
    assert inv.blobs[["digest", "size"]].equals(calm.blobs[["digest", "size"]])
    lost = inv.errors[inv.errors.code == "UNAVAILABLE"]
    assert digest in set(lost.subject)
    assert lost.message.str.contains("the connection to containerd was lost").all()
    assert digest not in set(inv.documents.digest)
    assert set(inv.documents.digest) < set(calm.documents.digest)
    touched = inv.images[inv.images.digest == digest]
    assert touched.complete.isna().all()


@pytest.mark.parametrize("release", RELEASES)
def test_a_daemon_that_hangs_is_given_up_and_what_it_said_is_kept(fresh_daemon, release):
    daemon = fresh_daemon(release)
    recorded_stores.load_into(daemon, STORE)
    calm = collected(daemon.socket)
    digest = calm.documents.digest[0]
    with collecting(daemon, digest, timeout=5.0) as result:
        os.kill(daemon.pid, signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(daemon.pid, os.WUNTRACED)[1])  # every thread of it
    (inv,) = result
    try:
        still = collected(daemon.socket, timeout=0.5)
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    assert inv.nodes.status[0] == "partial"
    assert inv.images[["name", "digest"]].equals(calm.images[["name", "digest"]])
    assert "DEADLINE_EXCEEDED" in set(inv.errors.code)
    assert digest not in set(inv.documents.digest)
    assert still.nodes.status[0] == "failed"
    assert "no answer within 0.5 s; either containerd hangs" in still.errors.message[0]
    same_tables(collected(daemon.socket), calm, "errors")


@pytest.mark.parametrize("release", RELEASES)
def test_an_image_deleted_while_its_manifest_is_read_is_not_there_in_the_end(fresh_daemon, release):
    daemon = fresh_daemon(release)
    spoilt = Spoilt()
    targets = {name: spoilt.manifest(annotations={"is": name}) for name in ("stays:1", "goes:1")}
    for name, target in targets.items():
        spoilt.image(name, target)
    spoilt.dump["leases"] = [{"id": "hold", "labels": {}}]
    recorded_stores.load_into(daemon, spoilt.dump)
    gone = targets["goes:1"]["digest"]
    with collecting(daemon, gone) as result:
        daemon.ctr("images", "rm", "goes:1")
        daemon.ctr("leases", "rm", "--sync", "hold")
    (inv,) = result
    assert inv.images.name.tolist() == ["stays:1"]
    assert gone not in set(inv.blobs.digest)
    assert inv.nodes.status[0] == "partial"  # of both images the layers were never there
    same_tables(inv, collected(daemon.socket), "errors", "blobs")


def hostile(space):
    """Whatever the content store takes that is no document of an image, and what is at the limit of one."""
    spoilt = Spoilt(space)
    malformed = {
        "list": b"[1]",
        "cut": b'{"schemaVersion":2,"config":{"dig',
        "nan": b'{"schemaVersion":NaN}',
        "layers": b'{"schemaVersion":2,"layers":{}}',
        "size": b'{"config":{"size":"7"}}',
        "two": b"{}{}",
        "schema-1": b'{"schemaVersion":1,"fsLayers":[]}',
    }
    broken = {}
    for name, data in malformed.items():
        target = spoilt.add(data)
        broken[target["digest"]] = "malformed"
        spoilt.image(f"{name}:1", target)
    huge = spoilt.add(b'{"a":"' + b"x" * (100 << 20) + b'"}')
    spoilt.image("huge:1", huge)
    missing = {"mediaType": CONFIG, "digest": digest_of(b"missing"), "size": 7}
    spoilt.image("missing:1", spoilt.add({"schemaVersion": 2, "config": missing, "layers": []}))
    twice = b'{"os":"linux","os":"linux","architecture":"arm","architecture":"amd64","config":{"Labels":{"a":"1"}}}'
    spoilt.image(
        "twice:1", spoilt.add({"schemaVersion": 2, "config": spoilt.add(twice, CONFIG), "layers": []})
    )
    deep = spoilt.manifest(annotations={"is": "deep"})
    for _ in range(100):
        deep = spoilt.index({**deep, "platform": {"os": "linux", "architecture": "amd64"}})
    spoilt.image("deep:1", deep)
    labels = {f"label.{n}": str(n) for n in range(100_000)}
    spoilt.image("wide:1", spoilt.manifest(layers=10_000, labels=labels))
    return spoilt.dump, {**broken, huge["digest"]: "too_large", missing["digest"]: "not_found"}


@pytest.mark.every_release
def test_hostile_documents_are_the_same_rows_from_a_real_daemon(containerd):
    space = containerd.new_namespace("hostile")
    dump, broken = hostile(space)
    if containerd.release != "1.6":  # which takes no times from us
        target = dump["images"][-1]["target"]
        for name, at in (("late:1", 253402300799 * 10**9), ("old:1", 1)):
            moments = {"created_at_ns": at, "updated_at_ns": at}
            dump["images"].append({"name": name, "labels": {}, "target": target, **moments})
    recorded_stores.load_into(containerd, dump)
    try:
        real = imf.collect({"name": "n", "address": containerd.address}, namespaces=space, cache=False)
    finally:
        containerd.delete_namespace(space)
    assert {row.subject: row.code for row in real.errors.itertuples()} == broken
    with simulator.from_dump(dump) as node:
        simulated = imf.collect({"name": "n", "address": node.address}, cache=False)
    same_tables(
        *(
            inv.replace(images=inv.images.assign(created_at=None, updated_at=None)) if old else inv
            for inv in (real, simulated)
            for old in [containerd.release == "1.6"]
        ),
        "errors",
    )
    images = real.images.set_index("name")
    assert images.layer_count[["deep:1", "wide:1", "twice:1"]].tolist() == [1, 10_000, 0]
    assert images.labels["wide:1"].count(":") == 100_000
    assert images.platform["twice:1"] == "linux/amd64"
    if containerd.release != "1.6":
        assert images.created_at.isna()["late:1"]
        assert images.created_at["old:1"].value == 1


@pytest.mark.parametrize("release", RELEASES)
def test_an_index_that_contains_itself_and_other_lies_of_a_real_daemon(fresh_daemon, release):
    """Only behind its back: content is addressed by its digest."""
    daemon = fresh_daemon(release)
    spoilt = Spoilt()
    child = spoilt.manifest()
    index = spoilt.index(child)
    spoilt.image("ring:1", index)
    spoilt.image("calm:1", child)
    recorded_stores.load_into(daemon, spoilt.dump)
    path = daemon.root / "io.containerd.content.v1.content/blobs/sha256" / index["digest"][7:]
    entry = {"mediaType": INDEX, "digest": index["digest"], "size": index["size"]}
    ring = Spoilt()
    ring.index(entry, entry)
    path.unlink()
    path.write_text(ring.dump["blobs"][0]["text"])
    inv = collected(daemon.socket)
    assert errors(inv) == [("documents", index["digest"], "wrong_digest")]
    assert inv.images.set_index("name").manifest_digest.notna().to_dict() == {"calm:1": True, "ring:1": False}


def test_a_namespace_that_is_not_there_says_so_in_every_version(containerd):
    containerd.ctr("namespaces", "create", here := containerd.new_namespace("here"), namespace=None)
    inv = imf.collect(containerd.address, namespaces=[here, "no.such"], cache=False)
    (row,) = inv.errors.itertuples()
    assert (row.namespace, row.subject, row.code) == ("no.such", "no.such", "not_found")
    assert "has no namespace 'no.such'; it has " in row.message
    assert here in row.message
    assert inv.namespaces.namespace.tolist() == [here]
    assert "no.such" not in containerd.ctr("namespaces", "ls", "-q", namespace=None).split()
