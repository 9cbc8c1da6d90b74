"""Everything that containerd lists in one namespace, fetched concurrently, and its rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeVar

from imgframe.collector.table_builder import TableBuilder
from imgframe.errors import Missing, WireError
from imgframe.golang.time import parse_rfc3339
from imgframe.wire import Client, records

T = TypeVar("T")
Fail = Callable[[str, str, WireError], None]
"""Makes a row of ``errors`` of a stage, a subject and an error."""

SANDBOXES_SINCE = (1, 7, 0)
"""The first containerd that has sandboxes."""

EXPIRE = '"containerd.io/gc.expire"'
_COMMON = ("created_at", "updated_at", "labels")


@dataclass(slots=True)
class NamespaceLists:
    """What containerd lists in a namespace; None if a list could not be read. ``sizes`` are those of the blobs, by digest."""

    images: list[records.Image] | None = None
    blobs: list[records.Blob] | None = None
    sizes: dict[str, int] | None = None
    ingests: list[records.Ingest] | None = None
    containers: list[records.Container] | None = None
    tasks: list[records.Task] | None = None
    sandboxes: list[records.Sandbox] | None = None
    leases: list[tuple[records.Lease, list[records.Resource]]] | None = None
    snapshots: dict[str, list[records.Snapshot] | None] = field(default_factory=dict)


async def attempt(work: Awaitable[T], stage: str, subject: str, fail: Fail) -> T | None:
    """The result of a call, or None and a row of ``errors``."""
    try:
        return await work
    except WireError as error:
        fail(stage, subject, error)
        return None


async def read_content_lists(
    client: Client,
    namespace: str,
    fail: Fail,
    lists: NamespaceLists,
    ready: Callable[[list[records.Image]], None],
) -> None:
    """Reads images and blobs, from which documents are found; calls ``ready`` with the images before the blobs are there."""

    async def images() -> None:
        lists.images = await attempt(client.images.list(namespace), "images", namespace, fail)
        ready(lists.images or [])

    _, lists.blobs = await asyncio.gather(
        images(), attempt(client.content.list(namespace), "content", namespace, fail)
    )
    if lists.blobs is not None:
        lists.sizes = {blob.digest: blob.size for blob in lists.blobs}


async def read_other_lists(client: Client, namespace: str, fail: Fail, lists: NamespaceLists) -> None:
    """Reads ingests, containers, tasks, sandboxes and leases."""
    lists.ingests, lists.containers, lists.tasks, lists.sandboxes, lists.leases = await asyncio.gather(
        attempt(client.content.ingests(namespace), "ingests", namespace, fail),
        attempt(client.daemon.containers(namespace), "containers", namespace, fail),
        attempt(client.daemon.tasks(namespace), "containers", namespace, fail),
        _sandboxes(client, namespace, fail),
        _leases(client, namespace, fail),
    )


async def _sandboxes(client: Client, namespace: str, fail: Fail) -> list[records.Sandbox] | None:
    if client.opened.numbers < SANDBOXES_SINCE:
        return []
    return await attempt(client.daemon.sandboxes(namespace), "sandboxes", namespace, fail)


async def _leases(
    client: Client, namespace: str, fail: Fail
) -> list[tuple[records.Lease, list[records.Resource]]] | None:
    """Leases with their resources, without those deleted meanwhile."""
    leases = await attempt(client.leases.list(namespace), "leases", namespace, fail)
    if leases is None:
        return None

    async def resources(lease: records.Lease) -> tuple[records.Lease, list[records.Resource]] | None:
        try:
            return lease, await client.leases.resources(namespace, lease.id)
        except Missing:
            return None
        except WireError as error:
            fail("leases", lease.id, error)
            return lease, []

    return [pair for pair in await asyncio.gather(*map(resources, leases)) if pair is not None]


def add_records(
    rows: TableBuilder,
    table: str,
    node: str,
    namespace: str,
    listed: Sequence[Any],
    fields: Iterable[str],
    **columns: Any,
) -> None:
    """Rows of a table with one record each, whose ``fields`` are columns of the same names."""
    columns |= {field: list(map(attrgetter(field), listed)) for field in fields}
    rows.add(table, len(listed), node=node, namespace=namespace, **columns)


def add_errors(
    rows: TableBuilder, node: str, namespace: str | None, errors: Sequence[tuple[str, str, str, str]]
) -> None:
    """Rows of ``errors`` of stages, subjects, codes and messages."""
    names = ("stage", "subject", "code", "message")
    columns = dict(zip(names, map(list, zip(*errors, strict=True)), strict=False))
    rows.add("errors", len(errors), node=node, namespace=namespace, **columns)


def add_rows(
    rows: TableBuilder,
    node: str,
    namespace: str,
    lists: NamespaceLists,
    usages: Mapping[str, Mapping[str, tuple[int, int]]],
) -> None:
    """Rows of ``blobs``, ``snapshots``, ``containers``, ``sandboxes``, ``ingests`` and ``leases``.

    ``usages`` are size and inodes by snapshotter and key; sums over parents are computed later, for all nodes at once.
    """
    add_records(rows, "blobs", node, namespace, lists.blobs or [], ("digest", "size", *_COMMON))
    for name in sorted(lists.snapshots):
        snapshots = lists.snapshots[name] or []
        used = [usages[name].get(snapshot.key, (None, None)) for snapshot in snapshots]
        add_records(
            rows, "snapshots", node, namespace, snapshots, ("key", "parent", "kind", *_COMMON),
            snapshotter=name, size=[size for size, _ in used], inodes=[inodes for _, inodes in used],
        )  # fmt: skip
    _add_containers(rows, node, namespace, lists)
    sandboxes = ("id", "runtime", "sandboxer", *_COMMON)
    add_records(rows, "sandboxes", node, namespace, lists.sandboxes or [], sandboxes)
    ingests = ("ref", "offset", "total", "started_at", "updated_at")
    add_records(rows, "ingests", node, namespace, lists.ingests or [], ingests)
    for lease, resources in lists.leases or []:  # a lease without resources is one row
        rows.add(
            "leases",
            max(1, len(resources)),
            node=node,
            namespace=namespace,
            id=lease.id,
            created_at=lease.created_at,
            expires_at=expiry(lease.labels),
            labels=lease.labels,
            resource_kind=[r.type for r in resources] or None,
            resource=[r.id for r in resources] or None,
        )


def _add_containers(rows: TableBuilder, node: str, namespace: str, lists: NamespaceLists) -> None:
    """Rows of ``containers``, with the current digest of the image's name and the status of the task."""
    containers = lists.containers or []
    targets = {image.name: image.target.digest for image in lists.images or []}
    status = {task.id: None if task.status == "unknown" else task.status for task in lists.tasks or []}
    none = "none" if lists.tasks is not None else None
    fields = ("id", "image", "snapshotter", "snapshot_key", "runtime", *_COMMON)
    digests = [targets.get(container.image) for container in containers]
    statuses = [status.get(container.id, none) for container in containers]
    add_records(
        rows, "containers", node, namespace, containers, fields, image_digest=digests, status=statuses
    )


def expiry(labels: str) -> int | None:
    """The time of the label containerd.io/gc.expire [ns]; None: never, also if Go cannot parse it.

    Example:
        >>> from imgframe.collector.namespace_lists import expiry
        >>> expiry('{"containerd.io/gc.expire":"1970-01-01T00:00:01Z"}'), expiry("{}")
        (1000000000, None)
    """
    if EXPIRE not in labels:
        return None
    text = records.labels_of(labels).get(EXPIRE.strip('"'), "")
    try:
        return parse_rfc3339(text)
    except ValueError:
        return None
