"""Snapshots, and unpacking of layers into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imgframe._proto import diff_pb2
from imgframe._proto import snapshots_pb2 as pb
from imgframe.wire.channel import Channel, methods
from imgframe.wire.messages import descriptor, fill_descriptor, mount_messages, mounts, nanoseconds
from imgframe.wire.records import BlobDescriptor, Mount, Snapshot, Usage, labels_text

_SNAPSHOTS = methods(pb, "Snapshots")
_DIFF = methods(diff_pb2, "Diff")
_KINDS = {pb.COMMITTED: "committed", pb.ACTIVE: "active", pb.VIEW: "view"}


def snapshot(message: Any) -> Snapshot:
    """The record of a snapshot message."""
    return Snapshot(
        message.name,
        message.parent,
        _KINDS.get(message.kind, "unknown"),
        labels_text(message.labels),
        nanoseconds(message, "created_at"),
        nanoseconds(message, "updated_at"),
    )


class SnapshotsClient:
    """containerd's snapshots and diff services; every call names the snapshotter."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def list(self, namespace: str, snapshotter: str, filters: Sequence[str] = ()) -> list[Snapshot]:
        """Snapshots of a namespace in a snapshotter."""

        async def fetch(some: tuple[str, ...]) -> list[Snapshot]:
            request = pb.ListSnapshotsRequest(snapshotter=snapshotter, filters=some)
            return await self._channel.read_stream(
                _SNAPSHOTS["List"], request, lambda block: map(snapshot, block.info), namespace
            )

        return await self._channel.sliced(fetch, "name", filters, namespace, "Snapshots/List")

    async def stat(self, namespace: str, snapshotter: str, key: str) -> Snapshot:
        """One snapshot; :class:`~imgframe.errors.Missing` if there is none."""
        request = pb.StatSnapshotRequest(snapshotter=snapshotter, key=key)
        return snapshot((await self._channel.read(_SNAPSHOTS["Stat"], request, namespace)).info)

    async def usage(
        self, namespace: str, snapshotter: str, key: str, *, timeout: float | None = None
    ) -> Usage:
        """Bytes and inodes of a snapshot without its parents. Slow for an active one: containerd walks its directory."""
        request = pb.UsageRequest(snapshotter=snapshotter, key=key)
        reply = await self._channel.read(_SNAPSHOTS["Usage"], request, namespace, timeout)
        return Usage(reply.size, reply.inodes)

    async def prepare(
        self,
        namespace: str,
        snapshotter: str,
        key: str,
        parent: str,
        labels: Mapping[str, str],
        *,
        lease: str,
        timeout: float | None = None,
    ) -> tuple[Mount, ...]:
        """Prepares an active snapshot; the lease keeps it from the garbage collector.

        Raises:
            Conflict: the key exists, or the snapshot named by the label ``containerd.io/snapshot.ref``.
        """
        request = pb.PrepareSnapshotRequest(snapshotter=snapshotter, key=key, parent=parent, labels=labels)
        method = _SNAPSHOTS["Prepare"]
        reply = await self._channel.unary(method, request, namespace, lease=lease, timeout=timeout)
        return mounts(reply.mounts)

    async def commit(
        self,
        namespace: str,
        snapshotter: str,
        key: str,
        name: str,
        labels: Mapping[str, str],
        *,
        lease: str,
        timeout: float | None = None,
    ) -> None:
        """Commits an active snapshot under a name, with only these labels.

        Raises:
            Conflict: the name exists; the active snapshot remains, and the caller removes it.
        """
        request = pb.CommitSnapshotRequest(snapshotter=snapshotter, key=key, name=name, labels=labels)
        await self._channel.unary(_SNAPSHOTS["Commit"], request, namespace, lease=lease, timeout=timeout)

    async def remove(self, namespace: str, snapshotter: str, key: str) -> None:
        """Removes a snapshot; :class:`~imgframe.errors.Conflict` if it has children."""
        request = pb.RemoveSnapshotRequest(snapshotter=snapshotter, key=key)
        await self._channel.unary(_SNAPSHOTS["Remove"], request, namespace)

    async def apply(
        self, namespace: str, layer: BlobDescriptor, onto: tuple[Mount, ...], *, lease: str, timeout: float
    ) -> BlobDescriptor:
        """Unpacks a layer into the mounts of an active snapshot.

        Returns the descriptor of the uncompressed tar; the caller compares its digest with the layer's diff ID.
        """
        request = diff_pb2.ApplyRequest(mounts=mount_messages(onto))
        fill_descriptor(request.diff, layer)
        reply = await self._channel.unary(_DIFF["Apply"], request, namespace, lease=lease, timeout=timeout)
        return descriptor(reply.applied)
