"""Results of calls to containerd: plain frozen records without protobuf.

Times are integer nanoseconds since 1970 UTC, or None if containerd sent none or Go's zero time (year 1). Labels and
annotations are compact JSON text with sorted keys (``{}``: none), so that equal sets are equal text; :func:`labels_of`
parses it.

Example:
    >>> from imgframe.wire.records import labels_of, labels_text
    >>> labels_text({"b": "2", "a": "1"})
    '{"a":"1","b":"2"}'
    >>> labels_of('{"a":"1"}')
    {'a': '1'}
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

import msgspec

from imgframe.platforms import Platform

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels as compact JSON text with sorted keys; equal sets share one string."""
    return sys.intern(_encode({key: labels[key] for key in labels}).decode()) if labels else "{}"


def labels_of(text: str) -> dict[str, str]:
    """The labels in a text of :func:`labels_text`."""
    return {} if text == "{}" else _decode(text)


class Record(msgspec.Struct, frozen=True, gc=False):
    """Base of the records: frozen and compared by value."""


class Version(Record, frozen=True, gc=False):
    """Version of the daemon, free text: ``1.6.20~ds1``, ``2.1.9+unknown``."""

    version: str
    revision: str

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The leading ``major.minor.patch``; zeros if the text does not start with them."""
        found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", self.version)
        return (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)


class Server(Record, frozen=True, gc=False):
    """Identity of the daemon; ``uuid`` is stored in its root directory and survives restarts."""

    uuid: str
    pid: int


class Plugin(Record, frozen=True, gc=False):
    """A plugin of the daemon; ``error`` is empty if it runs, ``exports`` is JSON text."""

    type: str
    id: str
    platforms: tuple[Platform, ...]
    exports: str
    capabilities: tuple[str, ...]
    error: str


class Layout(Record, frozen=True, gc=False):
    """What the plugins tell about the store.

    Attributes:
        snapshotters: those that run, sorted.
        content_root: folder of the content store on the node; empty: unknown.
        root: containerd's root folder on the node; empty: unknown.
        content_policy: ``shared`` (a namespace can use another's blob by its digest) or ``isolated``.
        platform: of the node; None: unknown.
    """

    snapshotters: tuple[str, ...]
    content_root: str
    root: str
    content_policy: str
    platform: Platform | None


class Namespace(Record, frozen=True, gc=False):
    """A namespace and its labels."""

    name: str
    labels: str


class BlobDescriptor(Record, frozen=True, gc=False):
    """A descriptor, as a record declares it."""

    media_type: str
    digest: str
    size: int
    annotations: str = "{}"


class Image(Record, frozen=True, gc=False):
    """An image record."""

    name: str
    target: BlobDescriptor
    labels: str
    created_at: int | None
    updated_at: int | None


class Blob(Record, frozen=True, gc=False):
    """A blob of the content store; ``size`` in bytes."""

    digest: str
    size: int
    labels: str
    created_at: int | None
    updated_at: int | None


class Ingest(Record, frozen=True, gc=False):
    """An unfinished write; ``total`` is 0 if not announced."""

    ref: str
    offset: int
    total: int
    started_at: int | None
    updated_at: int | None


class Snapshot(Record, frozen=True, gc=False):
    """A snapshot; ``kind`` is committed, active, view or unknown, ``parent`` is empty for the first layer."""

    key: str
    parent: str
    kind: str
    labels: str
    created_at: int | None
    updated_at: int | None


class Usage(Record, frozen=True, gc=False):
    """Bytes on disk and inodes of one snapshot alone, without its parents."""

    size: int
    inodes: int


class Container(Record, frozen=True, gc=False):
    """A container; ``image`` is a name that may no longer exist."""

    id: str
    image: str
    runtime: str
    snapshotter: str
    snapshot_key: str
    labels: str
    created_at: int | None
    updated_at: int | None


class Sandbox(Record, frozen=True, gc=False):
    """A sandbox: what the containers of a pod share."""

    id: str
    runtime: str
    sandboxer: str
    labels: str
    created_at: int | None
    updated_at: int | None


class Task(Record, frozen=True, gc=False):
    """The task of a container; ``id`` is the container's, ``status`` a lower-case word."""

    id: str
    pid: int
    status: str
    exit_status: int
    exited_at: int | None


class Lease(Record, frozen=True, gc=False):
    """A lease; ``labels`` may hold ``containerd.io/gc.expire``."""

    id: str
    labels: str
    created_at: int | None


class Resource(Record, frozen=True, gc=False):
    """A resource of a lease: type ``content``, ``snapshots/<snapshotter>``, ``ingests`` or ``images``, and its ID."""

    type: str
    id: str


class Mount(Record, frozen=True, gc=False):
    """A mount of a snapshot."""

    type: str
    source: str
    target: str
    options: tuple[str, ...]


class Event(Record, frozen=True, gc=False):
    """A change on the node; ``subject`` is a name, digest, key or id, empty where the payload is of another type."""

    at: int | None
    namespace: str
    topic: str
    subject: str


class TransferProgress(Record, frozen=True, gc=False):
    """Progress of a transfer; ``name`` is like ``layer-sha256:...``, or empty for the whole."""

    event: str
    name: str
    parents: tuple[str, ...]
    progress: int
    total: int


class Damage(Record, frozen=True, gc=False):
    """A record that is missing, or in which bytes that are not UTF-8 were replaced."""

    namespace: str
    call: str
    subject: str
    message: str
