"""Recorded stores written into a real daemon, with the times they had.

The requests are put together here field by field, apart from imgframe's own wire code, so that one checks the other.
"""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import grpc

from testbed.daemons import Daemon

FOLDER = Path(__file__).parents[1] / "data/stores"
_WRITE, _COMMIT = 1, 2
_PIECE = 8 << 20  # containerd takes messages up to 16 MiB
_SPEC = "types.containerd.io/opencontainers/runtime-spec/1/Spec"


def recorded(name: str) -> dict:
    """A dump of tests/data/stores by its stem."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def message(*fields: tuple[int, object]) -> bytes:
    """A protobuf message from (number, value) pairs: int, text, bytes (also a message), or a dict of labels."""
    return b"".join(part for number, value in fields for part in _field(number, value))


def _field(number: int, value: object) -> Iterator[bytes]:
    match value:
        case int():
            if value:
                yield _varint(number << 3) + _varint(value)
        case dict():
            for key, text in value.items():
                yield from _field(number, message((1, key), (2, text)))
        case str():
            yield from _field(number, value.encode()) if value else ()
        case bytes():
            yield _varint(number << 3 | 2) + _varint(len(value)) + value
        case _:
            raise TypeError(value)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def moment(nanoseconds: int) -> bytes:
    """A protobuf Timestamp."""
    return message((1, nanoseconds // 10**9), (2, nanoseconds % 10**9))


class Wire:
    """Raw calls to a daemon in one namespace."""

    def __init__(self, daemon: Daemon, namespace: str) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
        self.channel = grpc.insecure_channel(f"unix:{daemon.socket}", options=options)
        self.namespace = namespace

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def _metadata(self, lease: str) -> tuple[tuple[str, str], ...]:
        held = (("containerd-lease", lease),) if lease else ()
        return (("containerd-namespace", self.namespace), *held)

    def call(self, service: str, method: str, *fields: tuple[int, object], lease: str = "") -> bytes:
        """One unary call: `service` as in images.v1.Images."""
        ask = self.channel.unary_unary(f"/containerd.services.{service}/{method}")
        return ask(message(*fields), metadata=self._metadata(lease), timeout=240)

    def write(self, digest: str, data: bytes, labels: dict[str, str], *, lease: str = "") -> None:
        """Commits a blob piece by piece; `digest` must be right. A blob that is there keeps its labels."""
        talk = self.channel.stream_stream("/containerd.services.content.v1.Content/Write")
        head = ((2, f"write-{digest}"), (3, len(data)), (4, digest))
        pieces = [
            message((1, _WRITE), *head, (5, at), (6, data[at : at + _PIECE]))
            for at in range(0, len(data) - _PIECE, _PIECE)
        ]
        last = len(pieces) * _PIECE
        commit = message((1, _COMMIT), *head, (5, last), (6, data[last:]), (7, labels))
        try:
            list(talk(iter([*pieces, commit]), metadata=self._metadata(lease), timeout=240))
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.ALREADY_EXISTS:
                raise


def load_into(daemon: Daemon, dump: dict) -> None:
    """Rebuilds a recorded store: blobs under a lease that stays, images with their own times, containers.

    The times of images need containerd 1.7 or later. Snapshots are not made: no recorded filter looks at them.
    """
    leases = [lease["id"] for lease in dump["leases"]] or ["hold"]
    with Wire(daemon, dump["namespace"]) as wire, ThreadPoolExecutor(8) as pool:
        for lease in dump["leases"] or [{"id": "hold", "labels": {}}]:
            wire.call("leases.v1.Leases", "Create", (1, lease["id"]), (3, lease["labels"]))
        blobs = [blob for blob in dump["blobs"] if "text" in blob or "base64" in blob]
        list(
            pool.map(
                lambda blob: wire.write(blob["digest"], blob_bytes(blob), blob["labels"], lease=leases[0]),
                blobs,
            )
        )
        list(pool.map(lambda image: _create_image(wire, image), dump["images"]))
        for container in dump["containers"]:
            fields = message(
                *((1, container["id"]), (2, container["labels"]), (3, container["image"])),
                *((4, message((1, container["runtime"]))), (5, message((1, _SPEC), (2, b"{}")))),
                *((6, container["snapshotter"]), (7, container["snapshot_key"])),
            )
            wire.call("containers.v1.Containers", "Create", (1, fields))


def blob_bytes(blob: dict) -> bytes:
    """The bytes of a recorded blob."""
    return base64.b64decode(blob["base64"]) if "base64" in blob else blob["text"].encode()


def _create_image(wire: Wire, image: dict) -> None:
    target = image["target"]
    descriptor = message(
        (1, target["mediaType"]),
        (2, target["digest"]),
        (3, target["size"]),
        (5, target.get("annotations") or {}),
    )
    record = message((1, image["name"]), (2, image["labels"]), (3, descriptor))
    wire.call("images.v1.Images", "Create", (1, record), (2, moment(image["created_at_ns"])))
    if image["updated_at_ns"] != image["created_at_ns"]:
        mask = message((1, "target"))
        wire.call("images.v1.Images", "Update", (1, record), (2, mask), (3, moment(image["updated_at_ns"])))
