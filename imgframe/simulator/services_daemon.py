"""The leases, containers, tasks, sandboxes, introspection and version services of a simulated store."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import grpc

from imgframe._proto import (
    containers_pb2,
    introspection_pb2,
    leases_pb2,
    sandbox_pb2,
    task_types_pb2,
    tasks_pb2,
    version_pb2,
)
from imgframe._proto.types_pb2 import Platform, Sandbox
from imgframe.simulator.garbage_collector import collect_garbage, has_image_rules
from imgframe.simulator.record_filters import by_name, fields, select
from imgframe.simulator.service import Caller, Service, stamped
from imgframe.simulator.status import Refusal, check_labels, exists, found, invalid, not_empty
from imgframe.simulator.store import STATUSES, Store, StoredContainer, StoredLease, StoredSandbox

_NEVER = -62_135_596_800  # Go's zero time, in seconds


_LEASE_FIELDS = fields({("id",): "id"})
_CONTAINER_FIELDS = fields({("id",): "id", ("runtime", "name"): "runtime", ("image",): "image"})
_SANDBOX_FIELDS = fields({("id",): "id"})
_PLUGIN_FIELDS = fields({("type",): "type", ("id",): "id"}, ())


def _lease_message(lease: StoredLease) -> leases_pb2.Lease:
    return stamped(leases_pb2.Lease(id=lease.id, labels=lease.labels), lease, "created_at")


class LeasesService(Service):
    """Leases and their resources."""

    descriptor = leases_pb2.DESCRIPTOR.services_by_name["Leases"]

    def create(self, request: leases_pb2.CreateRequest, caller: Caller) -> leases_pb2.CreateResponse:
        check_labels(request.labels)
        space = self.store.writable(caller.namespace)
        name = request.id or secrets.token_hex(8)
        if name in space.leases:
            raise exists(f'lease "{name}"')
        space.leases[name] = StoredLease(name, not_empty(request.labels), self.store.clock(), {})
        return leases_pb2.CreateResponse(lease=_lease_message(space.leases[name]))

    def delete(self, request: leases_pb2.DeleteRequest, caller: Caller) -> None:
        self._find(request.id, caller)
        del self.store.namespaces[caller.namespace].leases[request.id]
        if request.sync:
            collect_garbage(self.store)

    def list(self, request: leases_pb2.ListRequest, caller: Caller) -> leases_pb2.ListResponse:
        leases = self.store.space(caller.namespace).leases
        rows = select(request.filters, by_name(leases), _LEASE_FIELDS)
        return leases_pb2.ListResponse(leases=map(_lease_message, rows))

    def addresource(self, request: leases_pb2.AddResourceRequest, caller: Caller) -> None:
        lease = self._find(request.id, caller)
        self._check(request.resource)
        lease.resources[request.resource.type, request.resource.id] = None

    def deleteresource(self, request: leases_pb2.DeleteResourceRequest, caller: Caller) -> None:
        lease = self._find(request.id, caller)
        self._check(request.resource)
        lease.resources.pop((request.resource.type, request.resource.id), None)

    def listresources(
        self, request: leases_pb2.ListResourcesRequest, caller: Caller
    ) -> leases_pb2.ListResourcesResponse:
        lease = self._find(request.id, caller)
        rows = [leases_pb2.Resource(type=kind, id=name) for kind, name in sorted(lease.resources)]
        return leases_pb2.ListResourcesResponse(resources=rows)

    def _find(self, name: str, caller: Caller) -> StoredLease:
        return found(self.store.space(caller.namespace).leases, name, f'lease "{name}"')

    def _check(self, resource: leases_pb2.Resource) -> None:
        kind, slash, snapshotter = resource.type.partition("/")
        known = {"content", "ingests"} | ({"images"} if has_image_rules(self.store) else set())
        if kind == "snapshots":
            if slash and not snapshotter:
                raise Refusal(grpc.StatusCode.UNKNOWN, "bucket name required")
            if not slash or "/" in snapshotter:
                raise invalid(f"invalid snapshot resource type {resource.type}")
        elif resource.type not in known:
            text = f"resource type {resource.type} not supported yet: not implemented"
            raise Refusal(grpc.StatusCode.UNIMPLEMENTED, text)


def _container_message(container: StoredContainer) -> containers_pb2.Container:
    message = containers_pb2.Container(
        id=container.id,
        labels=container.labels,
        image=container.image,
        runtime=containers_pb2.Container.Runtime(name=container.runtime),
        snapshotter=container.snapshotter,
        snapshot_key=container.snapshot_key,
        sandbox=container.sandbox,
    )
    return stamped(message, container)


class ContainersService(Service):
    """Containers, as a stream."""

    descriptor = containers_pb2.DESCRIPTOR.services_by_name["Containers"]

    def liststream(
        self, request: containers_pb2.ListContainersRequest, caller: Caller
    ) -> Iterator[containers_pb2.ListContainerMessage]:
        containers = self.store.space(caller.namespace).containers
        for container in select(request.filters, by_name(containers), _CONTAINER_FIELDS):
            yield containers_pb2.ListContainerMessage(container=_container_message(container))


class TasksService(Service):
    """Tasks of the containers with a status."""

    descriptor = tasks_pb2.DESCRIPTOR.services_by_name["Tasks"]

    def list(self, request: tasks_pb2.ListTasksRequest, caller: Caller) -> tasks_pb2.ListTasksResponse:
        del request
        reply = tasks_pb2.ListTasksResponse()
        containers = self.store.space(caller.namespace).containers
        for place, container in enumerate(containers.values()):
            if container.status:
                # containerd sets id to that of the container and leaves container_id empty
                task = reply.tasks.add(
                    id=container.id, pid=1000 + place, status=STATUSES.index(container.status)
                )
                stopped = task.status == task_types_pb2.STOPPED
                task.exit_status = 137 if stopped else 0
                task.exited_at.seconds = container.updated_at // 10**9 if stopped else _NEVER
        return reply


def _sandbox_message(sandbox: StoredSandbox) -> Sandbox:
    message = Sandbox(
        sandbox_id=sandbox.id,
        runtime=Sandbox.Runtime(name=sandbox.runtime),
        labels=sandbox.labels,
        sandboxer=sandbox.sandboxer,
    )
    return stamped(message, sandbox)


class SandboxesService(Service):
    """Sandboxes as records; containerd 1.6 has none."""

    descriptor = sandbox_pb2.DESCRIPTOR.services_by_name["Store"]

    def create(
        self, request: sandbox_pb2.StoreCreateRequest, caller: Caller
    ) -> sandbox_pb2.StoreCreateResponse:
        self._check()
        space = self.store.writable(caller.namespace)
        asked = request.sandbox
        if asked.sandbox_id in space.sandboxes:
            raise exists(f'sandbox "{asked.sandbox_id}"')
        sandboxer = asked.sandboxer if self.store.release >= (2, 0) else ""
        now, labels = self.store.clock(), not_empty(asked.labels)
        made = StoredSandbox(asked.sandbox_id, asked.runtime.name, sandboxer, labels, now, now)
        space.sandboxes[made.id] = made
        return sandbox_pb2.StoreCreateResponse(sandbox=_sandbox_message(made))

    def list(self, request: sandbox_pb2.StoreListRequest, caller: Caller) -> sandbox_pb2.StoreListResponse:
        self._check()
        sandboxes = self.store.space(caller.namespace).sandboxes
        rows = select(request.filters, by_name(sandboxes), _SANDBOX_FIELDS)
        return sandbox_pb2.StoreListResponse(list=map(_sandbox_message, rows))

    def _check(self) -> None:
        if self.store.release < (1, 7):
            raise Refusal(grpc.StatusCode.UNIMPLEMENTED, f"unknown service {self.descriptor.full_name}")


class IntrospectionService(Service):
    """Identity and plugins of the daemon."""

    descriptor = introspection_pb2.DESCRIPTOR.services_by_name["Introspection"]
    namespaced = False

    def server(self, request: object, caller: Caller) -> introspection_pb2.ServerResponse:
        del request, caller
        return introspection_pb2.ServerResponse(uuid=self.store.uuid, pid=1, pidns=0)

    def plugins(
        self, request: introspection_pb2.PluginsRequest, caller: Caller
    ) -> introspection_pb2.PluginsResponse:
        del caller
        rows = select(request.filters, _plugins(self.store), _PLUGIN_FIELDS)
        return introspection_pb2.PluginsResponse(plugins=rows)


def _plugins(store: Store) -> list[introspection_pb2.Plugin]:
    """The plugins that matter to clients: content store, metadata and usable snapshotters."""
    os, _, rest = store.platform.partition("/")
    architecture, _, variant = rest.partition("/")
    platforms = [Platform(os=os, architecture=architecture, variant=variant)]
    root = f"{store.root}/io.containerd"
    metadata = {"path": f"{root}.metadata.v1.bolt/meta.db", "policy": "shared"}
    plugins = [
        ("content.v1", "content", [], {"root": f"{root}.content.v1.content"}),
        ("metadata.v1", "bolt", [], metadata),
        ("differ.v1", "walking", platforms, {}),
        ("runtime.v2", "task", platforms, {}),
        *(
            ("snapshotter.v1", name, platforms, {"root": f"{root}.snapshotter.v1.{name}"})
            for name in store.snapshotters
        ),
    ]
    return [
        introspection_pb2.Plugin(type=f"io.containerd.{kind}", id=name, platforms=runs_on, exports=exports)
        for kind, name, runs_on, exports in plugins
    ]


class VersionService(Service):
    """The version of the daemon."""

    descriptor = version_pb2.DESCRIPTOR.services_by_name["Version"]
    namespaced = False

    def version(self, request: object, caller: Caller) -> version_pb2.VersionResponse:
        del request, caller
        return version_pb2.VersionResponse(version=self.store.version)
