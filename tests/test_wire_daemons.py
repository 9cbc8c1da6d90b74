"""The client against real containerd 1.6, 1.7 and 2.1: what it reads, what it writes, and what goes wrong there."""

import asyncio
import functools
import gzip
import hashlib
import json
import subprocess
import sys

import pytest
import testbed.images as made
from testbed.daemons import OWN_TRANSFER

from imgframe._proto import snapshots_pb2
from imgframe.errors import Conflict, DocumentError, Missing, Refused, TimedOut, Unreachable
from imgframe.platforms import Platform
from imgframe.wire import Client, channel, layout
from imgframe.wire.images import _IMAGES, image
from imgframe.wire.leases import EXPIRE
from imgframe.wire.records import BlobDescriptor, Resource, TransferProgress, labels_of
from imgframe.wire.snapshots import _SNAPSHOTS

pytestmark = pytest.mark.daemon
MIB = 1 << 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
FORK = """
import asyncio, os, signal, sys
from imgframe import _loop
from imgframe.errors import Unreachable
from imgframe.wire import Client

async def version():
    async with Client(sys.argv[1]) as client:
        return client.opened.version

async def left_open():
    client = Client(sys.argv[1])
    await client.__aenter__()
    return client

def child(expected):
    pid = os.fork()
    if pid == 0:
        signal.alarm(120)
        try:
            said = _loop.run(version())
        except Unreachable as error:
            said = str(error)
        os._exit(0 if expected in said else 1)
    assert os.waitpid(pid, 0)[1] == 0, expected

said = _loop.run(version())
child(said)
assert _loop.run(version()) == said
kept = _loop.run(left_open())
child("was forked while a connection")
"""


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def target(size=5, text="x"):
    return BlobDescriptor(MANIFEST, digest_of(text.encode()), size)


def talk(daemon, work, **options):
    """Runs `work(client, namespace)` in a namespace of its own."""

    async def whole():
        async with Client(daemon.address, **options) as client:
            return await work(client, daemon.new_namespace())

    return asyncio.run(whole())


async def lease(client, namespace):
    """A lease, so that nothing written here is collected as garbage by a neighbour's test."""
    return (await client.leases.create(namespace, f"{namespace}-lease", {EXPIRE: "2099-01-01T00:00:00Z"})).id


def test_what_the_daemon_says_of_itself(containerd):
    async def work(client, namespace):
        return client.opened, await client.daemon.server(), layout(await client.daemon.plugins())

    version, server, said = talk(containerd, work)
    assert version.version == containerd.version
    assert ".".join(map(str, version.numbers)).startswith(containerd.release + ".")
    assert len(server.uuid) == 36
    assert {"overlayfs", "native"} <= set(said.snapshotters)
    assert (said.root, said.content_policy) == (str(containerd.root), "shared")
    assert said.content_root == f"{containerd.root}/io.containerd.content.v1.content"
    assert said.platform.os == "linux"


def test_a_namespace_that_does_not_exist_is_empty_and_not_listed(containerd):
    async def work(client, namespace):
        everything = await asyncio.gather(
            client.images.list(namespace),
            client.content.list(namespace),
            client.content.ingests(namespace),
            client.snapshots.list(namespace, "overlayfs"),
            client.daemon.containers(namespace),
            client.daemon.tasks(namespace),
            client.leases.list(namespace),
        )
        assert not any(everything)
        assert namespace not in {one.name for one in await client.daemon.namespaces()}
        containerd.ctr("namespaces", "create", namespace, "team=x", namespace=None)
        found = {one.name: labels_of(one.labels) for one in await client.daemon.namespaces()}
        assert found[namespace] == {"team": "x"}
        containerd.ctr("namespaces", "rm", namespace, namespace=None)

    talk(containerd, work)


def test_a_malformed_namespace_is_refused(containerd):
    async def work(client, namespace):
        for name in ("a b", "-x", "a/b", "x" * 100):
            with pytest.raises(Refused, match=r"Images/List at unix://.*INVALID_ARGUMENT"):
                await client.images.list(name)
        with pytest.raises(Conflict, match="namespace is required"):
            await client.images.list("")

    talk(containerd, work)


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB + 7, 8 * MIB])
def test_documents_of_every_size_come_back_whole(containerd, size):
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]

    async def work(client, namespace):
        held = await lease(client, namespace)
        assert await client.content.write(namespace, "r", digest_of(data), data, {"k": "v"}, lease=held)
        read = await client.content.document(namespace, digest_of(data))
        parts = [part async for part in client.content.chunks(namespace, digest_of(data), offset=size // 2)]
        return read, b"".join(parts), await client.content.info(namespace, digest_of(data))

    read, rest, info = talk(containerd, work)
    assert read == data
    assert rest == data[size // 2 :]
    assert (info.size, labels_of(info.labels)) == (size, {"k": "v"})
    assert info.created_at == info.updated_at > 1_700_000_000_000_000_000


def test_a_document_over_eight_mib_is_refused_and_a_missing_one_missing(containerd):
    async def work(client, namespace):
        held = await lease(client, namespace)

        async def source(offset):
            yield b"x" * (8 * MIB + 1)

        digest = digest_of(b"x" * (8 * MIB + 1))
        assert await client.content.write_stream(
            namespace, "big", digest, 8 * MIB + 1, source, {}, lease=held, timeout=240
        )
        with pytest.raises(DocumentError, match="larger than 8388608 bytes"):
            await client.content.document(namespace, digest)
        with pytest.raises(ValueError, match="write_stream"):
            await client.content.write(namespace, "b", digest, b"x" * (8 * MIB + 1), {}, lease=held)
        for malformed in ("abc", "", "sha256:ab"):  # the first ends containerd 2.3 and 2.4 with a panic
            with pytest.raises(ValueError, match="content is written under its digest, not under"):
                await client.content.write(namespace, "b", malformed, b"x", {}, lease=held)
            with pytest.raises(ValueError, match="content is written under its digest, not under"):
                await client.content.write_stream(
                    namespace, "b", malformed, 1, source, {}, lease=held, timeout=240
                )
        with pytest.raises(Missing, match=r"Content/Read at .*not found"):
            await client.content.document(namespace, digest_of(b"nothing"))
        with pytest.raises(Refused, match="INVALID_ARGUMENT"):
            await client.content.document(namespace, "abc")

    talk(containerd, work)


def test_a_write_is_verified_shared_labelled_and_known(containerd):
    data = b"a layer, so to speak"

    async def work(client, namespace):
        held = await lease(client, namespace)
        with pytest.raises(Conflict, match="unexpected commit digest"):
            await client.content.write(namespace, "r", digest_of(b"other"), data, {}, lease=held)
        assert [one.ref for one in await client.content.ingests(namespace)] == ["r"]
        await client.content.abort(namespace, "r")
        with pytest.raises(Missing):
            await client.content.abort(namespace, "r")
        assert await client.content.write(namespace, "r", digest_of(data), data, {"a": "1"}, lease=held)
        assert not await client.content.write(namespace, "r", digest_of(data), data, {"b": "2"}, lease=held)
        labelled = await client.content.label(namespace, digest_of(data), {"a": "", "c.d/e": "3"})
        assert labels_of(labelled.labels) == {"c.d/e": "3"}
        held_blobs = await client.leases.resources(namespace, held)
        assert held_blobs == [Resource("content", digest_of(data))]

        other = f"{namespace}-other"
        held = await lease(client, other)
        with pytest.raises(Missing):
            await client.content.info(other, digest_of(data))

        async def never(offset):
            raise AssertionError("the bytes are here already")
            yield b""

        moved = await client.content.write_stream(
            other, "r", digest_of(data), len(data), never, {"x": "y"}, lease=held, timeout=10
        )
        assert not moved
        assert labels_of((await client.content.info(other, digest_of(data))).labels) == {"x": "y"}

    talk(containerd, work)


def test_an_interrupted_write_goes_on_where_it_stopped(containerd):
    data = bytes(range(256)) * 4096 * 3  # 3 MiB

    async def work(client, namespace):
        held = await lease(client, namespace)
        digest, offsets, asked = digest_of(data), [], []

        async def breaking(offset):
            yield data[offset : MIB + 5]
            raise LookupError("the registry hung up")

        async def whole(offset):
            asked.append(offset)
            yield data[offset:]

        def writing(source):
            return client.content.write_stream(
                namespace,
                "ref",
                digest,
                len(data),
                source,
                {},
                lease=held,
                timeout=240,
                progress=offsets.append,
            )

        with pytest.raises(LookupError):
            await writing(breaking)
        while True:  # the daemon lets go of the ref once it has seen the broken stream end
            try:
                assert await writing(whole)
                break
            except Conflict:
                continue
        assert asked == [MIB + 5]
        assert offsets[:3] == [0, MIB + 5, MIB + 5]
        assert offsets[-1] == len(data)
        assert await client.content.document(namespace, digest) == data

    talk(containerd, work)


def test_two_writers_of_one_ref_exclude_each_other(containerd):
    data = b"z" * 100

    async def work(client, namespace):
        held = await lease(client, namespace)
        inside, leave = asyncio.Event(), asyncio.Event()

        async def slow(offset):
            inside.set()
            await leave.wait()
            yield data

        def writing(source):
            return client.content.write_stream(
                namespace, "ref", digest_of(data), len(data), source, {}, lease=held, timeout=240
            )

        first = asyncio.create_task(writing(slow))
        await inside.wait()
        with pytest.raises(Conflict, match=" locked for "):
            await writing(slow)
        leave.set()
        assert await first

    talk(containerd, work)


def test_image_records(containerd):
    async def work(client, namespace):
        name = 'odd "name" <script>\n\x01'
        created = await client.images.create(namespace, name, target(), {"a.b/c": "1"})
        assert created == await client.images.get(namespace, name)
        assert await client.images.list(namespace) == [created]
        assert (created.name, created.target, created.labels) == (name, target(), '{"a.b/c":"1"}')
        with pytest.raises(Conflict):
            await client.images.create(namespace, name, target(), {})
        labelled = await client.images.update(namespace, name, target(9, "y"), {"d.e": "2"}, ["labels.d.e"])
        assert (labelled.target, labels_of(labelled.labels)) == (target(), {"a.b/c": "1", "d.e": "2"})
        moved = await client.images.update(namespace, name, target(9, "y"), {}, ["target"])
        assert (moved.target, moved.labels, moved.created_at) == (
            target(9, "y"),
            labelled.labels,
            created.created_at,
        )
        if client.opened.numbers >= (2, 0, 0):
            with pytest.raises(Conflict, match=f"has target {target(9, 'y').digest}, not {target().digest}"):
                await client.images.delete(namespace, name, sync=False, only_if=target())
        await client.images.delete(namespace, name, sync=True, only_if=moved.target)
        with pytest.raises(Missing, match="Images/Delete"):
            await client.images.delete(namespace, name, sync=True)
        with pytest.raises(Missing, match="Images/Get"):
            await client.images.get(namespace, name)
        with pytest.raises(Refused, match="parse error"):
            await client.images.list(namespace, ["name=="])

    talk(containerd, work)


def test_a_layer_is_unpacked_into_a_chain(containerd):
    layer = made.layer([made.file("etc/a", b"a" * 5000)])

    async def work(client, namespace):
        held = await lease(client, namespace)
        await client.content.write(namespace, "l", layer.digest, layer.data, {}, lease=held)
        where = (namespace, "overlayfs")
        mounts = await client.snapshots.prepare(*where, "extract", "", {"u": "v"}, lease=held)
        assert [mount.type for mount in mounts] == ["bind"]
        kind = "application/vnd.oci.image.layer.v1.tar+gzip"
        descriptor = BlobDescriptor(kind, layer.digest, len(layer.data))
        applied = await client.snapshots.apply(namespace, descriptor, mounts, lease=held, timeout=240)
        assert (applied.digest, applied.size) == (layer.diff_id, len(gzip.decompress(layer.data)))
        await client.snapshots.commit(*where, "extract", layer.diff_id, {"k": "v"}, lease=held)
        await client.snapshots.prepare(*where, "work", layer.diff_id, {}, lease=held)
        view = snapshots_pb2.ViewSnapshotRequest(snapshotter="overlayfs", key="look", parent=layer.diff_id)
        await client._channel.unary(_SNAPSHOTS["View"], view, namespace, lease=held)
        rows = {row.key: row for row in await client.snapshots.list(*where)}
        assert {key: (row.kind, row.parent) for key, row in rows.items()} == {
            layer.diff_id: ("committed", ""),
            "work": ("active", layer.diff_id),
            "look": ("view", layer.diff_id),
        }
        assert labels_of(rows[layer.diff_id].labels) == {"k": "v"}
        assert await client.snapshots.stat(*where, layer.diff_id) == rows[layer.diff_id]
        usage = await client.snapshots.usage(*where, layer.diff_id)
        printed = containerd.ctr(
            "snapshots", "--snapshotter", "overlayfs", "usage", "-b", layer.diff_id, namespace=namespace
        )
        assert printed.split("\n")[1].split() == [layer.diff_id, str(usage.size), str(usage.inodes)]
        with pytest.raises(Conflict, match="cannot remove snapshot with child"):
            await client.snapshots.remove(*where, layer.diff_id)
        for key in ("work", "look", layer.diff_id):
            await client.snapshots.remove(*where, key)
        with pytest.raises(Missing):
            await client.snapshots.usage(*where, layer.diff_id)
        with pytest.raises(Refused, match="snapshotter not loaded"):
            await client.snapshots.list(namespace, "nope")

    talk(containerd, work)


def test_leases_hold_and_let_go(containerd):
    async def work(client, namespace):
        held = await lease(client, namespace)
        resource = Resource("content", digest_of(b"not there"))
        await client.leases.add(namespace, held, resource)
        await client.leases.add(namespace, held, resource)
        assert await client.leases.resources(namespace, held) == [resource]
        (found,) = await client.leases.list(namespace)
        assert (found.id, labels_of(found.labels)) == (held, {EXPIRE: "2099-01-01T00:00:00Z"})
        await client.leases.delete(namespace, held, sync=True)
        with pytest.raises(Missing):
            await client.leases.delete(namespace, held, sync=True)

    talk(containerd, work)


def test_events_of_every_namespace_arrive(containerd):
    async def work(client, namespace):
        filters = [f"namespace=={namespace}"]
        stream = client.events.subscribe(filters, seconds=240)
        first = asyncio.ensure_future(anext(stream))
        while not first.done():  # there is no acknowledgement: knock until we hear ourselves
            await client.events.publish(namespace, "/imgframe/knock", "knock")
            await asyncio.wait([first], timeout=0.05)
        assert first.result().topic == "/imgframe/knock"
        await client.images.create(namespace, "n:1", target(), {})
        await client.images.delete(namespace, "n:1", sync=True)
        seen = []
        async for event in stream:
            if event.topic != "/imgframe/knock":
                seen.append((event.namespace, event.topic, event.subject))
            if event.topic == "/images/delete":
                break
        await stream.aclose()
        assert seen == [(namespace, "/images/create", "n:1"), (namespace, "/images/delete", "n:1")]
        with pytest.raises(TimedOut):
            await anext(client.events.subscribe(["topic==nothing"], seconds=0.2))

    talk(containerd, work)


def test_a_list_over_sixteen_mib_comes_in_slices(containerd):
    """1,060 images with 16 KB of labels each: containerd refuses to send them at once."""
    labels = {f"label-{n}": "x" * 4000 for n in range(4)}
    names = [f"docker.io/library/big-{n:04}:latest" for n in range(1060)]

    async def work(client, namespace):
        await asyncio.gather(*(client.images.create(namespace, name, target(), labels) for name in names))
        before = client.rpcs
        rows = await client.images.list(namespace)
        print(f"{client.rpcs - before} calls for {len(rows)} records")
        assert client.rpcs > before + 1, "containerd sent it at once: the test is too small"
        assert sorted(row.name for row in rows) == names
        assert {row.labels for row in rows} == {json.dumps(labels, separators=(",", ":"))}
        some = await client.images.list(
            namespace, ['name~="-0[0-9]*:latest$"', "name==docker.io/library/big-1059:latest"]
        )
        assert sorted(row.name for row in some) == names[:1000] + names[1059:]
        await asyncio.gather(*(client.images.delete(namespace, name, sync=False) for name in names))

    talk(containerd, work)


async def create_raw(client, namespace, name, label):
    """An image whose label is whatever bytes."""
    from imgframe._proto import images_pb2

    request = images_pb2.CreateImageRequest()
    request.image.name, request.image.labels["k"] = name, "PLACE"
    request.image.target.media_type, request.image.target.digest = MANIFEST, target().digest
    request.image.target.size = 5
    call = client._channel._channel.unary_unary(_IMAGES["Create"].path)
    data = request.SerializeToString().replace(b"PLACE", label)
    return image(
        client._channel.parse(
            _IMAGES["Create"], await call(data, metadata=(("containerd-namespace", namespace),)), namespace
        ).image
    )


def test_labels_that_are_not_utf8_cost_no_other_row(fresh_daemon):
    """containerd 1.6 stores them and sends them; after an upgrade of the same store, 2.1 refuses to send such a record."""
    daemon = fresh_daemon("1.6")
    names = [f"docker.io/library/a{n}:latest" for n in range(30)]

    async def fill(client, namespace):
        for n, name in enumerate(names):
            await create_raw(client, "bad", name, b"bad\xff\xfe" if n in (7, 20) else b"fine!")
        client.take_damages()
        return await client.images.list("bad"), client.take_damages()

    rows, damages = talk(daemon, fill)
    assert [row.name for row in sorted(rows, key=lambda row: names.index(row.name))] == names
    assert {row.name for row in rows if labels_of(row.labels) == {"k": "bad\ufffd\ufffd"}} == {
        names[7],
        names[20],
    }
    assert sorted(damage.subject for damage in damages) == [names[20], names[7]]

    daemon.upgrade("2.1")

    async def read(client, namespace):
        assert client.opened.numbers >= (2, 1, 0)
        return await client.images.list("bad"), client.take_damages()

    rows, damages = talk(daemon, read)
    assert {row.name for row in rows} == set(names) - {names[7], names[20]}
    assert sorted(damage.subject for damage in damages) == [names[20], names[7]]
    assert "invalid UTF-8" in damages[0].message


def test_a_restart_in_the_middle_costs_nothing_and_an_end_a_sentence(fresh_daemon, monkeypatch):
    monkeypatch.setattr(channel, "RETRY_SECONDS", 120.0)  # a busy machine starts slowly
    daemon = fresh_daemon()
    blobs = {digest_of(data): data for data in (str(n).encode() * 50 for n in range(600))}

    async def work(client, namespace):
        held = await lease(client, namespace)
        await asyncio.gather(
            *(
                client.content.write(namespace, digest, digest, data, {}, lease=held)
                for digest, data in blobs.items()
            )
        )
        reading = [asyncio.create_task(client.content.document(namespace, digest)) for digest in blobs]
        await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(daemon.kill)
        listing = asyncio.create_task(client.content.list(namespace))
        await asyncio.to_thread(daemon.start)
        assert await asyncio.gather(*reading) == list(blobs.values())
        assert {row.digest for row in await listing} == set(blobs)

        monkeypatch.setattr(channel, "RETRY_SECONDS", 1.0)
        await asyncio.to_thread(daemon.kill)
        lost = await asyncio.gather(
            *(client.content.document(namespace, digest) for digest in blobs), return_exceptions=True
        )
        assert {type(error) for error in lost} == {Unreachable}
        assert "the connection to containerd was lost" in str(lost[0])
        with pytest.raises(Unreachable, match="nobody listens on this socket"):
            async with Client(daemon.address):
                pass

    talk(daemon, work)


def test_the_ttrpc_twin_is_told_apart(containerd):
    async def work():
        with pytest.raises(Unreachable, match=f"not a containerd gRPC socket.*{containerd.socket}"):
            async with Client(f"{containerd.address}.ttrpc", timeout=1):
                pass

    asyncio.run(work())


def test_a_forked_child_talks_too_or_says_why_not(containerd):
    subprocess.run([sys.executable, "-c", FORK, containerd.address], check=True, timeout=280)


async def nobody(host, reference):
    return None


def transferred(client, namespace, reference, **options):
    """A pull by containerd itself."""
    here = Platform("linux", "amd64")
    return client.transfer.pull(
        namespace,
        reference,
        name=reference,
        platforms=[here],
        unpack=[(here, "overlayfs")],
        labels={"by": "us"},
        **options,
    )


@pytest.mark.every_release
@pytest.mark.parametrize(
    ("containerd", "words"), [("1.6", "does not have that call"), ("1.7", "HTTP")], indirect=["containerd"]
)
def test_a_containerd_without_a_transfer_that_does_refuses(containerd, registry, words):
    """1.6 has none; 1.7 cannot speak plain HTTP."""

    async def work(client, namespace):
        with pytest.raises(Refused, match=words):
            await transferred(
                client,
                namespace,
                f"{registry.host}/team/base:1",
                credentials=nobody,
                progress=lambda _: None,
                timeout=240,
                scheme="http",
            )

    talk(containerd, work)


@pytest.mark.parametrize("containerd", OWN_TRANSFER, indirect=True)
def test_containerds_own_transfer(containerd, registry):
    """It pulls, unpacks and pushes."""
    steps = []

    async def work(client, namespace):
        reference = f"{registry.host}/team/base:1"
        options = {"credentials": nobody, "progress": steps.append, "timeout": 240, "scheme": "http"}
        pull = functools.partial(transferred, client, namespace, **options)
        with pytest.raises((Missing, Refused), match="none"):
            await pull(f"{registry.host}/team/none:1")
        await pull(reference)
        found = await client.images.get(namespace, reference)
        assert labels_of(found.labels) == {"by": "us"}
        assert {step.event for step in steps} >= {"complete", "saved"}
        assert all(isinstance(step, TransferProgress) for step in steps)
        copy = f"{registry.host}/wire/{namespace}:1"
        await client.transfer.push(namespace, reference, copy, platforms=[], **options)
        await pull(copy)
        assert (await client.images.get(namespace, copy)).target == found.target
        checked = containerd.ctr("images", "check", f"name=={copy}", namespace=namespace)
        assert "complete (3/3)" in checked
        assert checked.split()[-1] == "true"

    talk(containerd, work)
