"""Leases: they protect content and snapshots from the garbage collector while nothing refers to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imgframe._proto import leases_pb2 as pb
from imgframe.wire.channel import Channel, methods
from imgframe.wire.messages import nanoseconds
from imgframe.wire.records import Lease, Resource, labels_text

_LEASES = methods(pb, "Leases")
EXPIRE = "containerd.io/gc.expire"
"""Label with the RFC 3339 time at which a lease expires; without it, it never does."""


def _lease(message: Any) -> Lease:
    return Lease(message.id, labels_text(message.labels), nanoseconds(message, "created_at"))


class LeasesClient:
    """containerd's leases."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def resources(self, namespace: str, lease: str) -> list[Resource]:
        """Resources of a lease."""
        reply = await self._channel.read(
            _LEASES["ListResources"], pb.ListResourcesRequest(id=lease), namespace
        )
        return [Resource(message.type, message.id) for message in reply.resources]

    async def create(self, namespace: str, lease: str, labels: Mapping[str, str]) -> Lease:
        """Creates a lease; with the label :data:`EXPIRE` it does not outlive a killed client for long."""
        request = pb.CreateRequest(id=lease, labels=labels)
        return _lease((await self._channel.unary(_LEASES["Create"], request, namespace)).lease)

    async def delete(self, namespace: str, lease: str, *, sync: bool) -> None:
        """Deletes a lease; ``sync`` waits until the garbage collector has run."""
        await self._channel.unary(_LEASES["Delete"], pb.DeleteRequest(id=lease, sync=sync), namespace)

    async def add(self, namespace: str, lease: str, resource: Resource) -> None:
        """Adds a resource to a lease. Idempotent."""
        request = pb.AddResourceRequest(id=lease, resource=pb.Resource(id=resource.id, type=resource.type))
        await self._channel.unary(_LEASES["AddResource"], request, namespace)

    async def list(self, namespace: str, filters: Sequence[str] = ()) -> list[Lease]:
        """Leases of a namespace."""
        reply = await self._channel.read(_LEASES["List"], pb.ListRequest(filters=filters), namespace)
        return [_lease(message) for message in reply.leases]
