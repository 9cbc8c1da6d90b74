"""A simulated containerd store: plain records in dicts, built from a dump and written back as one.

A dump is a dict of JSON types: ``images``, ``containers``, ``blobs``, ``snapshots``, ``sandboxes``, ``leases``,
``ingests`` of one ``namespace``; or ``{"namespaces": {name: dump}}`` for several. Times are integer nanoseconds since the epoch
(``..._ns``).
Records share the label dicts of the dump; a change replaces them.
"""

from __future__ import annotations

import base64
import re
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imgframe.errors import InputError

Labels = Mapping[str, str]
Record = dict[str, Any]

VERSION = "2.1.9"
PLATFORM = "linux/amd64"
SNAPSHOTTERS = ("overlayfs", "native")
STATUSES = ("unknown", "created", "running", "stopped", "paused", "pausing")  # by the number of the task API
KINDS = ("unknown", "view", "active", "committed")  # by the number of the snapshots API
EXPIRE = "containerd.io/gc.expire"


@dataclass(slots=True)
class StoredImage:
    """An image record: a name and a descriptor."""

    name: str
    labels: Labels
    media_type: str
    digest: str
    size: int
    annotations: Labels
    created_at: int
    updated_at: int


@dataclass(slots=True)
class StoredBlob:
    """A blob in one namespace."""

    digest: str
    size: int
    labels: Labels
    created_at: int
    updated_at: int


@dataclass(slots=True)
class StoredSnapshot:
    """A snapshot; ``size`` and ``inodes`` are without its parents."""

    key: str
    parent: str
    kind: str
    labels: Labels
    created_at: int
    updated_at: int
    size: int
    inodes: int


@dataclass(slots=True)
class StoredContainer:
    """A container; ``status`` is empty if it has no task."""

    id: str
    image: str
    snapshotter: str
    snapshot_key: str
    labels: Labels
    runtime: str
    created_at: int
    updated_at: int
    status: str
    sandbox: str


@dataclass(slots=True)
class StoredSandbox:
    """A sandbox; only its labels matter to anything else."""

    id: str
    runtime: str
    sandboxer: str
    labels: Labels
    created_at: int
    updated_at: int


@dataclass(slots=True)
class StoredLease:
    """A lease and its resources, as (type, ID) in the order added."""

    id: str
    labels: Labels
    created_at: int
    resources: dict[tuple[str, str], None]


@dataclass(slots=True)
class StoredIngest:
    """An unfinished write; ``data`` has the bytes received so far."""

    ref: str
    offset: int
    total: int
    started_at: int
    updated_at: int
    expires_at: int | None
    expected: str = ""
    data: bytearray = field(default_factory=bytearray)
    locked: bool = False


@dataclass(slots=True)
class StoredNamespace:
    """Everything in one namespace."""

    labels: Labels = field(default_factory=dict)
    images: dict[str, StoredImage] = field(default_factory=dict)
    content: dict[str, StoredBlob] = field(default_factory=dict)
    snapshots: dict[str, dict[str, StoredSnapshot]] = field(default_factory=dict)
    containers: dict[str, StoredContainer] = field(default_factory=dict)
    sandboxes: dict[str, StoredSandbox] = field(default_factory=dict)
    leases: dict[str, StoredLease] = field(default_factory=dict)
    ingests: dict[str, StoredIngest] = field(default_factory=dict)


class Store:
    """The store of a simulated daemon: records by namespace, and the bytes of blobs, shared by all namespaces.

    ``version``, ``platform``, ``uuid``, ``root`` are those of the daemon. ``bytes_of`` maps digests to bytes or text, or None
    for a layer known by its size only. ``clock`` returns the current time in nanoseconds.

    Raises:
        InputError: the dump is not a dict.

    Example:
        >>> from imgframe.simulator.store import Store
        >>> store = Store({"namespace": "default", "images": [], "blobs": [{"digest": "sha256:ab", "text": "{}"}]})
        >>> store.read("sha256:ab"), list(store.namespaces)
        (b'{}', ['default'])
    """

    def __init__(self, dump: Mapping[str, Any]) -> None:
        if not isinstance(dump, Mapping):
            raise InputError(f"a store dump is a dict, not {type(dump).__name__}")
        parts = dump.get("namespaces")
        if parts is None:
            parts = {dump.get("namespace") or "default": dump}
        first: Mapping[str, Any] = next(iter(parts.values()), {})
        self.version = str(dump.get("daemon") or first.get("daemon") or VERSION)
        self.platform = str(dump.get("platform") or first.get("platform") or PLATFORM)
        self.root = str(dump.get("root") or "/simulated/containerd")
        identity = f"{dump.get('store')}/{sorted(parts)}"
        self.uuid = str(dump.get("uuid") or uuid.uuid5(uuid.NAMESPACE_OID, identity))
        self.clock = time.time_ns
        self.bytes_of: dict[str, bytes | str | None] = {}
        self.snapshotters = list(SNAPSHOTTERS)
        self.namespaces = {name: self._namespace(part) for name, part in parts.items()}

    def _namespace(self, part: Mapping[str, Any]) -> StoredNamespace:
        space = StoredNamespace(labels=_labels(part))
        space.images = {row["name"]: _image(row) for row in _rows(part, "images")}
        for row in _rows(part, "blobs"):
            data = _data(row)
            digest = row["digest"]
            size = row.get("size")
            size = len(data.encode() if isinstance(data, str) else data or b"") if size is None else size
            space.content[digest] = StoredBlob(digest, size, _labels(row), *_times(row))
            if data is not None or digest not in self.bytes_of:
                self.bytes_of[digest] = data
        for snapshotter, rows in (part.get("snapshots") or {}).items():
            if snapshotter not in self.snapshotters:
                self.snapshotters.append(snapshotter)
            space.snapshots[snapshotter] = {row["key"]: _snapshot(row) for row in rows or ()}
        space.containers = {row["id"]: _container(row) for row in _rows(part, "containers")}
        space.sandboxes = {row["id"]: _sandbox(row) for row in _rows(part, "sandboxes")}
        space.leases = {row["id"]: _lease(row, space) for row in _rows(part, "leases")}
        space.ingests = {row["ref"]: _ingest(row) for row in _rows(part, "ingests")}
        return space

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version, which decide rules; (0, 0) for a version text without numbers."""
        found = re.search(r"(\d+)\.(\d+)", self.version)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def read(self, digest: str) -> bytes | None:
        """The bytes of a blob; None if only its size is known."""
        data = self.bytes_of.get(digest)
        return data.encode() if isinstance(data, str) else data

    def space(self, name: str) -> StoredNamespace:
        """The namespace ``name``, or an empty one outside the store."""
        return self.namespaces.get(name) or StoredNamespace()

    def writable(self, name: str) -> StoredNamespace:
        """The namespace ``name``, created if necessary, as by a write to containerd."""
        return self.namespaces.setdefault(name, StoredNamespace())

    def dump(self) -> Record:
        """The store as a dump of its namespaces, from which an equal store can be built."""
        return {
            "daemon": self.version,
            "platform": self.platform,
            "root": self.root,
            "uuid": self.uuid,
            "namespaces": {name: self._dump_of(space) for name, space in self.namespaces.items()},
        }

    def _dump_of(self, space: StoredNamespace) -> Record:
        return {
            "labels": dict(space.labels),
            "images": [_image_row(image) for image in space.images.values()],
            "blobs": [self._blob_row(blob) for blob in space.content.values()],
            "snapshots": {
                name: [_fields(snapshot) for snapshot in rows.values()]
                for name, rows in space.snapshots.items()
            },
            "containers": [_fields(container) for container in space.containers.values()],
            "sandboxes": [_fields(sandbox) for sandbox in space.sandboxes.values()],
            "leases": [
                _fields(lease) | {"resources": [{"type": kind, "id": id_} for kind, id_ in lease.resources]}
                for lease in space.leases.values()
            ],
            "ingests": [_ingest_row(ingest) for ingest in space.ingests.values()],
        }

    def _blob_row(self, blob: StoredBlob) -> Record:
        row = _fields(blob)
        data = self.bytes_of.get(blob.digest)
        if isinstance(data, str):
            row["text"] = data
        elif data is not None:
            row["base64"] = base64.b64encode(data).decode()
        return row


def _rows(part: Mapping[str, Any], table: str) -> Iterable[Record]:
    return part.get(table) or ()


def _labels(row: Mapping[str, Any], name: str = "labels") -> Labels:
    return row.get(name) or {}


def _times(row: Record) -> tuple[int, int]:
    """Times of creation and change; a missing one equals the other."""
    created: int = row.get("created_at_ns") or row.get("updated_at_ns") or 0
    updated: int = row.get("updated_at_ns", created)
    return created, updated


def _image(row: Record) -> StoredImage:
    target = row["target"]
    fields = (target["mediaType"], target["digest"], target["size"], _labels(target, "annotations"))
    return StoredImage(row["name"], _labels(row), *fields, *_times(row))


def _image_row(image: StoredImage) -> Record:
    row = _fields(image)
    target = {"mediaType": row.pop("media_type")}
    return row | {"target": target | {name: row.pop(name) for name in ("digest", "size", "annotations")}}


def _data(row: Record) -> bytes | str | None:
    if "text" in row:
        text = row["text"]
        return text if isinstance(text, str) else bytes(text)
    if "base64" in row:
        return base64.b64decode(row["base64"])
    return None


def _snapshot(row: Record) -> StoredSnapshot:
    kind = row.get("kind", "committed")
    size, inodes = row.get("size") or 0, row.get("inodes") or 0
    return StoredSnapshot(row["key"], row.get("parent") or "", kind, _labels(row), *_times(row), size, inodes)


def _container(row: Record) -> StoredContainer:
    return StoredContainer(
        row["id"],
        row.get("image") or "",
        row.get("snapshotter") or "",
        row.get("snapshot_key") or "",
        _labels(row),
        row.get("runtime") or "io.containerd.runc.v2",
        *_times(row),
        row.get("status") or "",
        row.get("sandbox") or "",
    )


def _sandbox(row: Record) -> StoredSandbox:
    return StoredSandbox(
        row["id"],
        row.get("runtime") or "io.containerd.runc.v2",
        row.get("sandboxer") or "",
        _labels(row),
        *_times(row),
    )


def _lease(row: Record, space: StoredNamespace) -> StoredLease:
    """A lease; without ``resources`` it holds every blob, as in recorded stores."""
    if "resources" in row:
        resources = {(each["type"], each["id"]): None for each in row["resources"]}
    else:
        resources = {("content", digest): None for digest in space.content}
    return StoredLease(row["id"], _labels(row), row.get("created_at_ns", 0), resources)


def _ingest(row: Record) -> StoredIngest:
    started: int = row.get("started_at_ns", 0)
    updated: int = row.get("updated_at_ns", started)
    offset, total = row.get("offset", 0), row.get("total", 0)
    return StoredIngest(row["ref"], offset, total, started, updated, row.get("expires_at_ns"))


def _ingest_row(ingest: StoredIngest) -> Record:
    row = {name: getattr(ingest, name) for name in ("ref", "offset", "total")}
    times = {f"{name}_ns": getattr(ingest, name) for name in ("started_at", "updated_at", "expires_at")}
    return row | {name: value for name, value in times.items() if value is not None}


def _fields(record: Any) -> Record:
    """A record as a row of a dump: names of times end in ``_ns``, labels are copied."""
    values = {name: getattr(record, name) for name in record.__slots__ if name != "resources"}
    return {
        f"{name}_ns" if name.endswith("_at") else name: dict(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }
