"""The snapshots and diff services of a simulated store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, unquote

import grpc

from imgframe._proto import diff_pb2 as diff_api
from imgframe._proto import snapshots_pb2 as api
from imgframe._proto.types_pb2 import Descriptor, Mount
from imgframe.simulator.layer_archive import UnpackedLayer, unpack
from imgframe.simulator.record_filters import by_name, fields, select
from imgframe.simulator.service import Caller, Service, stamped
from imgframe.simulator.services_content import BLOCK
from imgframe.simulator.status import Refusal, check_labels, exists, found, not_empty, precondition
from imgframe.simulator.store import KINDS, StoredSnapshot

Rows = dict[str, StoredSnapshot]

_REF = "containerd.io/snapshot.ref"
_UNCOMPRESSED = "containerd.io/uncompressed"
_TAR = "application/vnd.oci.image.layer.v1.tar"
_EMPTY_FOLDER = 4096  # bytes of a snapshot without files
_INVALID = grpc.StatusCode.INVALID_ARGUMENT


_FIELDS = fields({("kind",): "kind", ("name",): "key", ("parent",): "parent"}, empty="")


def _info(snapshot: StoredSnapshot) -> api.Info:
    kind = KINDS.index(snapshot.kind)
    message = api.Info(name=snapshot.key, parent=snapshot.parent, kind=kind, labels=snapshot.labels)
    return stamped(message, snapshot)


class SnapshotsService(Service):
    """Snapshots of every snapshotter; their usage is without parents."""

    descriptor = api.DESCRIPTOR.services_by_name["Snapshots"]
    bad_filter = (grpc.StatusCode.UNKNOWN, ": invalid argument")

    def list(self, request: api.ListSnapshotsRequest, caller: Caller) -> Iterator[api.ListSnapshotsResponse]:
        rows = self._rows(request.snapshotter, caller)
        chosen = select(request.filters, by_name(rows), _FIELDS)
        for start in range(0, len(chosen), BLOCK):
            yield api.ListSnapshotsResponse(info=map(_info, chosen[start : start + BLOCK]))

    def stat(self, request: api.StatSnapshotRequest, caller: Caller) -> api.StatSnapshotResponse:
        return api.StatSnapshotResponse(info=_info(self._find(request.snapshotter, request.key, caller)))

    def usage(self, request: api.UsageRequest, caller: Caller) -> api.UsageResponse:
        snapshot = self._find(request.snapshotter, request.key, caller)
        if snapshot.kind == "view":
            return api.UsageResponse()
        return api.UsageResponse(size=snapshot.size, inodes=snapshot.inodes)

    def prepare(self, request: api.PrepareSnapshotRequest, caller: Caller) -> api.PrepareSnapshotResponse:
        target = request.labels.get(_REF, "")
        if target in self._rows(request.snapshotter, caller):
            self.hold(caller, f"snapshots/{request.snapshotter}", target)
            raise exists(f'target snapshot "{target}"')
        self._add("active", request, caller)
        return api.PrepareSnapshotResponse(mounts=self._mounts(request.snapshotter, request.key, caller))

    def view(self, request: api.ViewSnapshotRequest, caller: Caller) -> api.ViewSnapshotResponse:
        self._add("view", request, caller)
        return api.ViewSnapshotResponse(mounts=self._mounts(request.snapshotter, request.key, caller))

    def mounts(self, request: api.MountsRequest, caller: Caller) -> api.MountsResponse:
        snapshot = self._find(request.snapshotter, request.key, caller)
        if snapshot.kind == "committed":
            raise precondition(
                f"failed to get active mount: requested snapshot {request.key} not active or view"
            )
        return api.MountsResponse(mounts=self._mounts(request.snapshotter, request.key, caller))

    def commit(self, request: api.CommitSnapshotRequest, caller: Caller) -> None:
        rows = self._rows(request.snapshotter, caller, make=True)
        if request.name in rows:
            raise exists(f'snapshot "{request.name}"')
        snapshot = self._find(request.snapshotter, request.key, caller)
        if snapshot.kind != "active":
            raise precondition(
                f'failed to commit snapshot {request.key}: snapshot "{request.key}" is not active'
            )
        check_labels(request.labels)
        now = self.store.clock()
        del rows[request.key]
        parent, size, inodes = snapshot.parent, snapshot.size, snapshot.inodes
        labels = dict(request.labels)
        rows[request.name] = StoredSnapshot(request.name, parent, "committed", labels, now, now, size, inodes)
        kind = f"snapshots/{request.snapshotter}"
        for lease in self.store.space(caller.namespace).leases.values():
            lease.resources.pop((kind, request.key), None)
        self.hold(caller, kind, request.name)

    def remove(self, request: api.RemoveSnapshotRequest, caller: Caller) -> None:
        snapshot = self._find(request.snapshotter, request.key, caller)
        rows = self._rows(request.snapshotter, caller)
        if any(each.parent == snapshot.key for each in rows.values()):
            raise precondition("cannot remove snapshot with child")
        del rows[snapshot.key]

    def _rows(self, snapshotter: str, caller: Caller, *, make: bool = False) -> Rows:
        if not snapshotter:
            raise Refusal(_INVALID, "snapshotter argument missing: invalid argument")
        if snapshotter not in self.store.snapshotters:
            raise Refusal(_INVALID, f"snapshotter not loaded: {snapshotter}: invalid argument")
        space = self.store.writable(caller.namespace) if make else self.store.space(caller.namespace)
        return space.snapshots.setdefault(snapshotter, {})

    def _find(self, snapshotter: str, key: str, caller: Caller) -> StoredSnapshot:
        return found(self._rows(snapshotter, caller), key, f"snapshot {key} does not exist")

    def _add(self, kind: str, request: Any, caller: Caller) -> None:
        self.lease(caller)
        check_labels(request.labels)
        rows, key, parent = self._rows(request.snapshotter, caller, make=True), request.key, request.parent
        if key in rows:
            raise exists(f'snapshot "{key}"')
        if parent and found(rows, parent, f"parent snapshot {parent} does not exist").kind != "committed":
            raise Refusal(
                _INVALID,
                f'failed to create snapshot: parent "{parent}" is not committed snapshot: invalid argument',
            )
        now = self.store.clock()
        size, inodes = (0, 0) if kind == "view" else (_EMPTY_FOLDER, 1)
        rows[key] = StoredSnapshot(key, parent, kind, not_empty(request.labels), now, now, size, inodes)
        self.hold(caller, f"snapshots/{request.snapshotter}", key)

    def _mounts(self, snapshotter: str, key: str, caller: Caller) -> Sequence[Mount]:
        rows = self._rows(snapshotter, caller)
        folders, each = [], rows.get(key)
        while each is not None:
            folders.append(_folder(self.store.root, snapshotter, caller.namespace, each.key))
            each = rows.get(each.parent)
        own, lower = folders[0], [f"{folder}/fs" for folder in folders[1:]]
        writable = rows[key].kind == "active"
        if snapshotter != "overlayfs" or not lower or (not writable and len(lower) == 1):
            source = f"{own}/fs" if writable or not lower else lower[0]
            return [Mount(type="bind", source=source, options=["rw" if writable else "ro", "rbind"])]
        options = [f"workdir={own}/work", f"upperdir={own}/fs"] if writable else []
        return [Mount(type="overlay", source="overlay", options=[*options, f"lowerdir={':'.join(lower)}"])]


def _folder(root: str, snapshotter: str, namespace: str, key: str) -> str:
    """The folder of a snapshot, whose name identifies it."""
    name = quote(f"{namespace}/{key}", safe="")
    return f"{root}/io.containerd.snapshotter.v1.{snapshotter}/snapshots/{name}"


class DiffService(Service):
    """Unpacking of layers into active snapshots."""

    descriptor = diff_api.DESCRIPTOR.services_by_name["Diff"]

    def apply(self, request: diff_api.ApplyRequest, caller: Caller) -> diff_api.ApplyResponse:
        content, digest = self.store.space(caller.namespace).content, request.diff.digest
        blob = found(content, digest, f"failed to get reader from content store: content digest {digest}")
        snapshot = self._target(request, caller)
        data = self.store.read(blob.digest)
        if data is None:  # only the size is known: diff ID from the label, disk size estimated
            layer = UnpackedLayer(
                blob.labels.get(_UNCOMPRESSED, ""), blob.size, _EMPTY_FOLDER + 2 * blob.size, 1
            )
        else:
            try:
                layer = unpack(data)
            except ValueError as problem:
                raise Refusal(grpc.StatusCode.UNKNOWN, f"failed to extract layer: {problem}") from problem
        snapshot.size, snapshot.inodes = layer.disk_size, layer.inodes
        applied = Descriptor(media_type=_TAR, digest=layer.diff_id, size=layer.size)
        return diff_api.ApplyResponse(applied=applied)

    def _target(self, request: diff_api.ApplyRequest, caller: Caller) -> StoredSnapshot:
        """The active snapshot of the mounts."""
        for mount in request.mounts:
            places = [
                option.removeprefix("upperdir=") for option in mount.options if option.startswith("upperdir=")
            ]
            folder = (places or [mount.source])[0].removesuffix("/fs")
            name = unquote(folder.rpartition("/")[2])
            namespace, _, key = name.partition("/")
            for rows in self.store.space(namespace).snapshots.values():
                if namespace == caller.namespace and key in rows and rows[key].kind == "active":
                    return rows[key]
        raise Refusal(grpc.StatusCode.UNKNOWN, "failed to mount: no such file or directory")
