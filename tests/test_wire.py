"""The client without a daemon: errors, repairs, slices, sockets that are not containerd, requests that are always whole."""

import asyncio
import contextlib
import functools
import inspect
import json
import os
import re
import socket
import urllib.parse
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

import imgframe._proto as generated
from imgframe._proto import content_pb2, images_pb2, version_pb2
from imgframe.errors import Conflict, Refused, TimedOut, Unreachable, WireError
from imgframe.wire import Client, blob_writer, channel, slices, status, utf8
from imgframe.wire.content import DOCUMENT_LIMIT
from imgframe.wire.messages import nanoseconds
from imgframe.wire.records import BlobDescriptor, Damage, Resource, Version, labels_of, labels_text

FACTS = json.loads((Path(__file__).parent / "data/wire-facts.json").read_text(encoding="utf-8"))
TARGET = BlobDescriptor("application/vnd.oci.image.manifest.v1+json", "sha256:" + "a" * 64, 5)
LABELS = st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=6)


# --- records -----------------------------------------------------------------------------------------------------------


@given(LABELS)
def test_labels_are_the_text_that_json_writes(labels):
    expected = json.dumps(labels, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert labels_text(labels) == expected
    assert labels_of(labels_text(labels)) == labels


def test_equal_labels_are_one_object():
    assert labels_text({"a": "1", "b": "2"}) is labels_text({"b": "2", "a": "1"})


@pytest.mark.parametrize(
    ("seconds", "nanos", "expected"),
    [
        (1, 5, 1_000_000_005),
        (-62135596800, 0, None),
        (-62135596800, 7, None),
        (253402300799, 999_999_999, 253402300799_999999999),
        (0, 0, 0),
    ],
)
def test_times_are_integers_and_gos_zero_time_is_none(seconds, nanos, expected):
    info = content_pb2.Info()
    assert nanoseconds(info, "created_at") is None
    info.created_at.seconds, info.created_at.nanos = seconds, nanos
    assert nanoseconds(info, "created_at") == expected


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1.6.20~ds1", (1, 6, 20)),
        ("2.1.9+unknown", (2, 1, 9)),
        ("v2.0.0-rc.1", (2, 0, 0)),
        ("", (0, 0, 0)),
        ("main", (0, 0, 0)),
    ],
)
def test_the_version_is_the_leading_numbers(text, numbers):
    assert Version(text, "").numbers == numbers


# --- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", grpc.StatusCode, ids=lambda code: code.name)
def test_every_status_has_an_error_of_ours(code):
    error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="why")
    ours = status.translate(error, "unix:///a.sock", "Images/List", 60)
    assert isinstance(ours, WireError)
    assert type(ours) is not WireError
    assert (ours.address, ours.call, ours.code) == ("unix:///a.sock", "Images/List", code.name)
    assert "Images/List at unix:///a.sock" in str(ours)


def test_a_lock_and_a_moved_target_are_conflicts():
    locked = "ref wire-c1/1/lk locked for 5.5ms (since 2026-11-23 11:00:00): unavailable"
    moved = 'image "n" has target sha256:a, not sha256:b: not found'
    assert status.kind_of(grpc.StatusCode.UNAVAILABLE, locked) is Conflict
    assert status.kind_of(grpc.StatusCode.UNAVAILABLE, "Socket closed") is Unreachable
    assert status.kind_of(grpc.StatusCode.NOT_FOUND, moved) is Conflict
    assert status.kind_of(grpc.StatusCode.DEADLINE_EXCEEDED, "") is TimedOut
    reset = "Stream removed (RST_STREAM (Received RST_STREAM with error code 8))"
    assert status.kind_of(grpc.StatusCode.CANCELLED, reset) is TimedOut
    assert status.kind_of(grpc.StatusCode.CANCELLED, "Channel closed") is Unreachable
    assert (
        status.kind_of(grpc.StatusCode.UNKNOWN, "subscription error: context deadline exceeded") is TimedOut
    )


# --- text that is not UTF-8 --------------------------------------------------------------------------------------------

BYTES = st.binary(max_size=12)


def field(number, value):
    return bytes([number << 3 | 2]) + bytes([len(value)]) + value


@given(LABELS, st.text(max_size=30), st.integers(0, 2**62))
def test_a_whole_message_is_not_changed(labels, name, size):
    image = images_pb2.Image(name=name, labels=labels)
    image.target.size = size
    image.created_at.seconds = size
    data = images_pb2.ListImagesResponse(images=[image, image]).SerializeToString()
    assert utf8.repair(data, images_pb2.ListImagesResponse.DESCRIPTOR) == (data, [])


@given(BYTES, BYTES, BYTES)
def test_broken_text_is_replaced_and_its_record_named(key, value, annotation):
    image = (
        field(1, b"n") + field(2, field(1, key) + field(2, value)) + field(3, field(5, field(2, annotation)))
    )
    other = images_pb2.Image(name="other").SerializeToString()
    mended, places = utf8.repair(field(1, image) + field(1, other), images_pb2.ListImagesResponse.DESCRIPTOR)
    first, second = images_pb2.ListImagesResponse.FromString(mended).images
    assert (first.name, second.name) == ("n", "other")
    assert dict(first.labels) == {key.decode(errors="replace"): value.decode(errors="replace")}
    assert dict(first.target.annotations) == {"": annotation.decode(errors="replace")}
    broken = any(part != part.decode(errors="replace").encode() for part in (key, value, annotation))
    assert places == (["n"] if broken else [])


@given(st.binary(max_size=60))
def test_any_bytes_are_mended_or_refused(data):
    message = images_pb2.ListImagesResponse
    try:
        accepted = message.FromString(data)
    except DecodeError:
        accepted = None
    try:
        repaired, places = utf8.repair(data, message.DESCRIPTOR)
    except utf8.Malformed:  # as protobuf says, but for the groups of old, which containerd does not send
        assert accepted is None or any(byte & 7 == 3 for byte in data)
    else:
        assert utf8.repair(repaired, message.DESCRIPTOR) == (repaired, [])
        if accepted is not None:
            assert (message.FromString(repaired), places) == (accepted, [])


# --- slices ------------------------------------------------------------------------------------------------------------


class Store:
    """Images.List over plain names, with containerd's limits."""

    def __init__(self, names, limit, unsendable=()):
        self.names, self.limit, self.unsendable, self.asked = names, limit, set(unsendable), 0

    async def fetch(self, filters):
        self.asked += 1
        chosen = [
            name for name in self.names if not filters or any(self.matches(one, name) for one in filters)
        ]
        if self.unsendable & set(chosen):
            raise Refused("string field contains invalid UTF-8", code="INTERNAL")
        if len(chosen) > self.limit:
            raise Refused("trying to send message larger than max", code="RESOURCE_EXHAUSTED")
        return chosen

    @staticmethod
    def matches(text, name):
        wanted = re.match(r"name==([^,]*)", text)
        patterns = re.findall(r'name~=("(?:[^"\\]|\\.)*")', text)
        return (wanted is None or wanted[1] == name) and all(compiled(one).search(name) for one in patterns)


@functools.cache
def compiled(quoted):
    """A pattern as Go reads it: there, $ is the end of the text alone."""
    return re.compile(json.loads(quoted).replace("$", r"\Z"))


NAMES = st.lists(st.text(st.sampled_from("ab01/:é\n"), max_size=6), unique=True, max_size=12)


@settings(max_examples=40, deadline=None)
@given(NAMES, st.integers(1, 4))
def test_slices_give_every_record_once(names, limit):
    store = Store(names, limit)
    try:
        rows, lost = asyncio.run(slices.sliced(store.fetch, "name"))
    except Refused:  # only names that agree in every ASCII letter cannot be told apart
        ascii_only = {re.sub(r"[^\x01-\x7f]", "\0", name).lstrip("\0") for name in names}
        assert len(ascii_only) < len(names)
    else:
        assert sorted(rows) == sorted(names)
        assert lost == []


@settings(max_examples=10, deadline=None)
@given(st.lists(st.text("ab/", min_size=1, max_size=5), unique=True, min_size=2, max_size=8), st.data())
def test_a_record_that_cannot_be_sent_costs_only_itself(names, data):
    bad = data.draw(st.sampled_from(names))
    store = Store(names, 100, {bad})
    rows, lost = asyncio.run(slices.sliced(store.fetch, "name"))
    assert sorted(rows) == sorted(set(names) - {bad})
    assert lost == [(bad, "string field contains invalid UTF-8")]


def test_slices_keep_the_callers_filters():
    names = ["a1", "a2", "b1", "b2", "c1"]
    store = Store(names, 1)
    rows, _ = asyncio.run(slices.sliced(store.fetch, "name", ("name==a1", "name==b2")))
    assert sorted(rows) == ["a1", "b2"]


def test_a_common_tag_costs_few_questions():
    store = Store([f"docker.io/library/big-{i:04}:latest" for i in range(64)], 40)
    rows, _ = asyncio.run(slices.sliced(store.fetch, "name"))
    assert sorted(rows) == store.names
    assert store.asked <= 1 + 2 * 8


# --- sockets that are not containerd -------------------------------------------------------------------------------------


def opening(path, timeout=60):
    async def work():
        async with Client(str(path), timeout=timeout):
            pass

    with pytest.raises(Unreachable) as caught:
        asyncio.run(work())
    return caught.value


def test_no_socket(tmp_path):
    error = opening(tmp_path / "c.sock")
    assert error.code == "ENOENT"
    assert f"{tmp_path}/c.sock: no such socket; is containerd running" in str(error)


def test_a_regular_file(tmp_path):
    (tmp_path / "file").write_text("")
    assert "is not a socket" in str(opening(tmp_path / "file"))
    assert "is not a socket" in str(opening(tmp_path))


def test_a_socket_where_nobody_listens(tmp_path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "dead.sock"))
    assert "nobody listens" in str(opening(tmp_path / "dead.sock"))


def test_a_path_that_no_socket_can_have(tmp_path):
    path = tmp_path / ("x" * 120)
    assert f"this one has {len(str(path))}" in str(opening(path))


def test_no_permission(tmp_path):
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0)
        root = os.geteuid() == 0
        if root:  # for which no permission is needed: be somebody else for a moment
            tmp_path.chmod(0)
            os.seteuid(65534)
        try:
            error = opening(path)
        finally:
            if root:
                os.seteuid(0)
                tmp_path.chmod(0o700)
    assert error.code == "EACCES"
    assert "permission denied; run as root or join the group" in str(error)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"short"])
def test_a_socket_that_is_something_else(tmp_path, answer):
    async def work():
        async def serve(reader, writer):
            writer.write(answer)
            writer.close()

        async with await asyncio.start_unix_server(serve, tmp_path / "c.sock"):
            with pytest.raises(Unreachable, match="not a containerd gRPC socket: its answer is not HTTP/2"):
                async with Client(str(tmp_path / "c.sock"), timeout=60):
                    pass

    asyncio.run(work())


def test_a_socket_that_never_answers_does_not_hang(tmp_path):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "c.sock.ttrpc"))
        silent.listen()
        error = opening(tmp_path / "c.sock.ttrpc", timeout=0.1)
    assert f"not a containerd gRPC socket: no answer within 0.1 s; use {tmp_path}/c.sock" in str(error)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "d.sock"))
        silent.listen()
        error = opening(tmp_path / "d.sock", timeout=0.1)
    assert "no answer within 0.1 s; either containerd hangs (look at its log), or this is not" in str(error)


# --- a gRPC server that is told what to say --------------------------------------------------------------------------------


class Server(grpc.GenericRpcHandler):
    """Answers every call with ``replies[path]`` (messages, or a status to fail with), else an empty message."""

    def __init__(self):
        self.replies, self.requests = {}, []

    def service(self, details):
        async def answer(requests, context):
            async for request in requests:
                self.requests.append((details.method, request, context.invocation_metadata()))
                break
            reply = self.replies.get(details.method, [b""])
            reply = reply.pop(0) if reply and isinstance(reply[0], list) else reply
            for one in reply:
                if isinstance(one, grpc.StatusCode):
                    await context.abort(one, "as told")
                yield one

        return grpc.stream_stream_rpc_method_handler(answer)


@contextlib.asynccontextmanager
async def served(path):
    server, handler = grpc.aio.server(), Server()
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port("unix://" + urllib.parse.quote(str(path)))
    await server.start()
    handler.replies[VERSION] = [version_pb2.VersionResponse(version="2.1.9").SerializeToString()]
    try:
        async with Client(str(path), timeout=60) as client:
            handler.requests.clear()
            yield client, handler
    finally:
        await server.stop(None)


VERSION = "/containerd.services.version.v1.Version/Version"
IMAGES = "/containerd.services.images.v1.Images/"
CONTENT = "/containerd.services.content.v1.Content/"


def test_a_grpc_server_that_is_not_containerd(tmp_path):
    async def work():
        server = grpc.aio.server()
        server.add_insecure_port(f"unix://{tmp_path}/c.sock")
        await server.start()
        with pytest.raises(Unreachable, match="not a containerd gRPC socket: Version/Version"):
            async with Client(f"{tmp_path}/c.sock"):
                pass
        await server.stop(None)

    asyncio.run(work())


def test_paths_that_a_uri_would_bend(tmp_path):
    async def work(name):
        async with served(tmp_path / name) as (client, _):
            assert client.opened.numbers == (2, 1, 9)

    for name in ("a%41 b.sock", "a#b?.sock"):
        asyncio.run(work(name))


def test_reads_are_asked_again_and_writes_never(tmp_path, monkeypatch):
    monkeypatch.setattr(channel, "RETRY_SECONDS", 60.0)
    gone = [grpc.StatusCode.UNAVAILABLE]
    image = images_pb2.GetImageResponse(image=images_pb2.Image(name="n")).SerializeToString()

    async def work():
        async with served(tmp_path / "c.sock") as (client, server):
            server.replies[IMAGES + "Get"] = [gone, gone, [image]]
            assert (await client.images.get("default", "n")).name == "n"
            assert [path for path, *_ in server.requests] == [IMAGES + "Get"] * 3
            before, server.requests[:] = client.rpcs, []
            server.replies[IMAGES + "Delete"] = [gone, [b""]]
            with pytest.raises(
                Unreachable, match=r"Images/Delete at unix://.*: the connection to containerd was lost"
            ):
                await client.images.delete("default", "n", sync=True)
            assert [path for path, *_ in server.requests] == [IMAGES + "Delete"]
            assert client.rpcs == before + 1

    asyncio.run(work())


def test_a_dead_daemon_costs_one_patience_for_all_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(channel, "RETRY_SECONDS", 0.3)

    async def work():
        async with served(tmp_path / "c.sock") as (client, server):
            server.replies[IMAGES + "Get"] = [grpc.StatusCode.UNAVAILABLE]
            for _ in range(20):
                with pytest.raises(Unreachable):
                    await client.images.get("default", "n")
            assert 20 <= len(server.requests) < 30

    asyncio.run(work())


def test_a_stream_that_breaks_in_the_middle_gives_each_record_once(tmp_path, monkeypatch):
    monkeypatch.setattr(channel, "RETRY_SECONDS", 60.0)
    block = content_pb2.ListContentResponse(info=[content_pb2.Info(digest="sha256:1")]).SerializeToString()

    async def work():
        async with served(tmp_path / "c.sock") as (client, server):
            server.replies[CONTENT + "List"] = [[block, grpc.StatusCode.UNAVAILABLE], [block, block]]
            assert [blob.digest for blob in await client.content.list("default")] == ["sha256:1"] * 2

    asyncio.run(work())


def test_a_store_that_sends_small_pieces_is_read_all_the_same(tmp_path, monkeypatch):
    """containerd's own store sends a MiB at once, which is what makes one message enough; a plugin's store may not."""
    monkeypatch.setattr("imgframe.wire.content._PATIENCE", 0.2)
    pieces = [content_pb2.ReadContentResponse(data=part).SerializeToString() for part in (b"ab", b"cd", b"e")]

    async def work():
        async with served(tmp_path / "c.sock") as (client, server):
            server.replies[CONTENT + "Read"] = pieces
            for _ in range(2):
                assert await client.content.document("default", "sha256:1") == b"abcde"
            sizes = [content_pb2.ReadContentRequest.FromString(sent).size for _, sent, _ in server.requests]
            assert sizes[-2:] == [DOCUMENT_LIMIT + 1] * 2
            assert len(sizes[:-2]) <= 1, "the message that never came is asked for once"

    asyncio.run(work())


def test_an_answer_that_is_no_message(tmp_path):
    async def work():
        async with served(tmp_path / "c.sock") as (client, server):
            server.replies[IMAGES + "List"] = [b"\xff\xff\xff"]
            with pytest.raises(Refused, match="not a message of containerd's API"):
                await client.images.list("default")
            name = field(1, field(1, b"bad\xff"))
            server.replies[IMAGES + "List"] = [name]
            assert [image.name for image in await client.images.list("default")] == ["bad\ufffd"]
            assert client.take_damages() == [
                Damage(
                    "default",
                    "Images/List",
                    "bad\ufffd",
                    "text that is not UTF-8; its bytes are shown as U+FFFD",
                )
            ]
            assert client.take_damages() == []

    asyncio.run(work())


def test_a_call_without_an_answer_ends_at_its_deadline(tmp_path):
    async def work():
        async with served(tmp_path / "c.sock") as (client, server):

            async def never(requests, context):
                await asyncio.Event().wait()
                yield b""

            server.service = lambda details: grpc.stream_stream_rpc_method_handler(never)
            with pytest.raises(TimedOut, match=r"Snapshots/Usage at .*: no answer within 0\.2 s"):
                await client.snapshots.usage("default", "overlayfs", "k", timeout=0.2)

    asyncio.run(work())


async def written(client):
    """Every request that the facts say must be whole, built as scantily as our methods allow."""
    await client.images.create("ns", "n", TARGET, {}, lease="l")
    await client.images.update("ns", "n", TARGET, {"a": "1"}, ["labels.a"])
    await client.content.label("ns", "sha256:1", {"a": ""})
    await client.snapshots.apply("ns", BlobDescriptor("", "", 0), (), lease="", timeout=5)
    await client.leases.add("ns", "l", Resource("", ""))
    await client.events.publish("ns", "/t", "")


def test_requests_that_kill_a_daemon_cannot_be_built(tmp_path):
    async def work():
        async with served(tmp_path / "c.sock") as (client, server):
            await written(client)
            return {path: request for path, request, _ in server.requests}

    sent = asyncio.run(work())
    ours = {
        method.input_type.full_name: f"/{service.full_name}/{method.name}"
        for name in FACTS["services"].values()
        for service in [generated.POOL.FindServiceByName(name["full_name"])]
        for method in service.methods
    }
    possible, impossible = 0, []
    for name, paths in FACTS["must_set"]["fields"].items():
        if ours.get(name) not in sent:
            impossible.append(name)
            continue
        message = channel.GetMessageClass(generated.POOL.FindMessageTypeByName(name)).FromString(
            sent[ours[name]]
        )
        for path in paths:
            part = message
            for step in path.split(" ")[0].split("."):
                assert part.HasField(step), f"{name} without {path}"
                part = getattr(part, step)
        possible += 1
    print(f"{possible} whole, {len(impossible)} that we do not send")
    assert sorted(impossible) == [
        "containerd.services.containers.v1.CreateContainerRequest",
        "containerd.services.containers.v1.UpdateContainerRequest",
        "containerd.services.events.v1.ForwardRequest",
        "containerd.services.namespaces.v1.CreateNamespaceRequest",
        "containerd.services.namespaces.v1.UpdateNamespaceRequest",
        "containerd.services.snapshots.v1.UpdateSnapshotRequest",
    ]


def test_an_image_cannot_be_written_without_its_target(tmp_path):
    async def work():
        async with served(tmp_path / "c.sock") as (client, server):
            for method in (client.images.create, client.images.update):
                assert inspect.signature(method).parameters["target"].default is inspect.Parameter.empty
                with pytest.raises((TypeError, AttributeError), match="NoneType"):
                    await method(
                        "ns", "n", None, {}, *([["target"]] if method == client.images.update else [])
                    )
            with pytest.raises(ValueError, match="names at least one field"):
                await client.images.update("ns", "n", TARGET, {}, [])
            assert server.requests == []

    asyncio.run(work())


def test_namespace_and_lease_travel_as_headers(tmp_path):
    async def work():
        async with served(tmp_path / "c.sock") as (client, server):
            await client.images.create("ns", "n", TARGET, {}, lease="l")
            await client.daemon.namespaces()
            return [dict(metadata) for *_, metadata in server.requests]

    first, second = asyncio.run(work())
    assert (first["containerd-namespace"], first["containerd-lease"]) == ("ns", "l")
    assert not {"containerd-namespace", "containerd-lease"} & second.keys()


@given(st.integers(0, 2**63 - 1), st.binary(max_size=300) | st.integers(0, 3 << 20).map(bytes))
def test_a_piece_of_a_blob_is_what_protobuf_reads(offset, data):
    whole = content_pb2.WriteContentRequest(action=content_pb2.WRITE, offset=offset, data=data)
    assert content_pb2.WriteContentRequest.FromString(blob_writer._message(offset, data)) == whole
