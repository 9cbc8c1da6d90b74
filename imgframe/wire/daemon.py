"""The daemon: version, identity, plugins, namespaces, containers, tasks and sandboxes."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Any

from google.protobuf.empty_pb2 import Empty

from imgframe._proto import (
    containers_pb2,
    introspection_pb2,
    namespaces_pb2,
    sandbox_pb2,
    task_types_pb2,
    tasks_pb2,
    version_pb2,
)
from imgframe.wire.channel import Channel, methods
from imgframe.wire.messages import nanoseconds, platform
from imgframe.wire.records import (
    Container,
    Layout,
    Namespace,
    Plugin,
    Sandbox,
    Server,
    Task,
    Version,
    labels_of,
    labels_text,
)

_VERSION = methods(version_pb2, "Version")
_INTROSPECTION = methods(introspection_pb2, "Introspection")
_NAMESPACES = methods(namespaces_pb2, "Namespaces")
_CONTAINERS = methods(containers_pb2, "Containers")
_TASKS = methods(tasks_pb2, "Tasks")
_SANDBOXES = methods(sandbox_pb2, "Store")
_STATUSES = {value.number: value.name.lower() for value in task_types_pb2.Status.DESCRIPTOR.values}


def layout(plugins: Sequence[Plugin]) -> Layout:
    """What the plugins tell about the store: usable snapshotters, its root, how content is shared."""
    running = [plugin for plugin in plugins if not plugin.error]
    exports = {(plugin.type, plugin.id): labels_of(plugin.exports) for plugin in running}
    snapshotters = sorted(plugin.id for plugin in running if plugin.type == "io.containerd.snapshotter.v1")
    content = exports.get(("io.containerd.content.v1", "content"), {}).get("root", "")
    metadata = exports.get(("io.containerd.metadata.v1", "bolt"), {})
    runtimes = [plugin for plugin in running if plugin.type == "io.containerd.runtime.v2"]
    platforms = [p for plugin in (*runtimes, *running) for p in plugin.platforms]
    return Layout(
        snapshotters=tuple(snapshotters),
        content_root=content,
        root=posixpath.dirname(content),
        content_policy=metadata.get("policy", ""),
        platform=platforms[0] if platforms else None,
    )


def _plugin(message: Any) -> Plugin:
    return Plugin(
        message.type,
        message.id,
        tuple(platform(p) for p in message.platforms),
        labels_text(message.exports),
        tuple(message.capabilities),
        message.init_err.message or "failed" if message.HasField("init_err") else "",
    )


def _container(message: Any) -> Container:
    return Container(
        message.id,
        message.image,
        message.runtime.name,
        message.snapshotter,
        message.snapshot_key,
        labels_text(message.labels),
        nanoseconds(message, "created_at"),
        nanoseconds(message, "updated_at"),
    )


def _sandbox(message: Any) -> Sandbox:
    return Sandbox(
        message.sandbox_id,
        message.runtime.name,
        message.sandboxer,
        labels_text(message.labels),
        nanoseconds(message, "created_at"),
        nanoseconds(message, "updated_at"),
    )


class DaemonClient:
    """containerd's version, introspection, namespaces, containers, tasks and sandboxes services."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def version(self) -> Version:
        """Version of the daemon."""
        reply = await self._channel.read(_VERSION["Version"], Empty())
        return Version(reply.version, reply.revision)

    async def server(self) -> Server:
        """Identity of the daemon."""
        reply = await self._channel.read(_INTROSPECTION["Server"], Empty())
        return Server(reply.uuid, reply.pid)

    async def plugins(self) -> list[Plugin]:
        """All plugins, including those that failed to start."""
        reply = await self._channel.read(_INTROSPECTION["Plugins"], introspection_pb2.PluginsRequest())
        return [_plugin(message) for message in reply.plugins]

    async def namespaces(self) -> list[Namespace]:
        """All namespaces; no other call tells whether one exists."""
        reply = await self._channel.read(_NAMESPACES["List"], namespaces_pb2.ListNamespacesRequest())
        return [Namespace(message.name, labels_text(message.labels)) for message in reply.namespaces]

    async def containers(self, namespace: str, filters: Sequence[str] = ()) -> list[Container]:
        """Containers of a namespace."""

        async def fetch(some: tuple[str, ...]) -> list[Container]:
            request = containers_pb2.ListContainersRequest(filters=some)
            return await self._channel.read_stream(
                _CONTAINERS["ListStream"], request, lambda reply: (_container(reply.container),), namespace
            )

        return await self._channel.sliced(fetch, "id", filters, namespace, "Containers/ListStream")

    async def tasks(self, namespace: str) -> list[Task]:
        """Tasks of a namespace; a container may have none."""
        reply = await self._channel.read(_TASKS["List"], tasks_pb2.ListTasksRequest(), namespace)
        return [
            Task(
                message.id,
                message.pid,
                _STATUSES.get(message.status, "unknown"),
                message.exit_status,
                nanoseconds(message, "exited_at"),
            )
            for message in reply.tasks
        ]

    async def sandboxes(self, namespace: str) -> list[Sandbox]:
        """Sandboxes of a namespace; containerd 1.6 refuses."""
        reply = await self._channel.read(_SANDBOXES["List"], sandbox_pb2.StoreListRequest(), namespace)
        return [_sandbox(message) for message in reply.list]
