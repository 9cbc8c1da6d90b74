"""Everything that containerd lists in one namespace, asked for at once, and the rows that come straight from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from imgframe.collector.table_builder import TableBuilder
from imgframe.errors import Missing, WireError
from imgframe.golang.time import parse_rfc3339
from imgframe.wire import Client, records

T = TypeVar("T")
Fail = Callable[[str, str, WireError], None]
"""Takes stage, subject and what went wrong; makes a row of ``errors`` of it."""

EXPIRE = '"containerd.io/gc.expire"'


@dataclass(slots=True)
class NamespaceLists:
    """What containerd lists in one namespace; None where the list could not be read. ``sizes`` are the blobs', by digest."""

    images: list[records.Image] | None = None
    blobs: list[records.Blob] | None = None
    sizes: dict[str, int] | None = None
    ingests: list[records.Ingest] | None = None
    containers: list[records.Container] | None = None
    tasks: list[records.Task] | None = None
    leases: list[tuple[records.Lease, list[records.Resource]]] | None = None
    snapshots: dict[str, list[records.Snapshot] | None] = field(default_factory=dict)


async def attempt(work: Awaitable[T], stage: str, subject: str, fail: Fail) -> T | None:
    """The result of a call, or None and a row of errors."""
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
    """Images and blobs: what the documents are found by. ``ready`` is called with the images while the blobs come in."""

    async def images() -> None:
        lists.images = await attempt(client.images.list(namespace), "images", namespace, fail)
        ready(lists.images or [])

    _, lists.blobs = await asyncio.gather(
        images(), attempt(client.content.list(namespace), "content", namespace, fail)
    )
    if lists.blobs is not None:
        lists.sizes = {blob.digest: blob.size for blob in lists.blobs}


async def read_other_lists(client: Client, namespace: str, fail: Fail, lists: NamespaceLists) -> None:
    """Writes, containers, tasks, leases."""
    lists.ingests, lists.containers, lists.tasks, lists.leases = await asyncio.gather(
        attempt(client.content.ingests(namespace), "ingests", namespace, fail),
        attempt(client.daemon.containers(namespace), "containers", namespace, fail),
        attempt(client.daemon.tasks(namespace), "containers", namespace, fail),
        _leases(client, namespace, fail),
    )


async def _leases(
    client: Client, namespace: str, fail: Fail
) -> list[tuple[records.Lease, list[records.Resource]]] | None:
    """Leases with what they hold; one that is gone when it is asked is left out."""
    leases = await attempt(client.leases.list(namespace), "leases", namespace, fail)
    if leases is None:
        return None

    async def held(lease: records.Lease) -> tuple[records.Lease, list[records.Resource]] | None:
        try:
            return lease, await client.leases.resources(namespace, lease.id)
        except Missing:
            return None
        except WireError as error:
            fail("leases", lease.id, error)
            return lease, []

    return [pair for pair in await asyncio.gather(*map(held, leases)) if pair is not None]


def add_blobs(rows: TableBuilder, node: str, namespace: str, blobs: list[records.Blob]) -> None:
    """Rows of ``blobs``."""
    rows.add(
        "blobs",
        len(blobs),
        node=node,
        namespace=namespace,
        digest=[b.digest for b in blobs],
        size=[b.size for b in blobs],
        created_at=[b.created_at for b in blobs],
        updated_at=[b.updated_at for b in blobs],
        labels=[b.labels for b in blobs],
    )


def add_ingests(rows: TableBuilder, node: str, namespace: str, ingests: list[records.Ingest]) -> None:
    """Rows of ``ingests``."""
    rows.add(
        "ingests",
        len(ingests),
        node=node,
        namespace=namespace,
        ref=[i.ref for i in ingests],
        offset=[i.offset for i in ingests],
        total=[i.total for i in ingests],
        started_at=[i.started_at for i in ingests],
        updated_at=[i.updated_at for i in ingests],
    )


def add_snapshots(
    rows: TableBuilder,
    node: str,
    namespace: str,
    snapshotter: str,
    snapshots: list[records.Snapshot],
    usages: dict[str, tuple[int, int]],
) -> None:
    """Rows of ``snapshots``; the sums over parents are computed later, for all nodes at once."""
    nothing = (None, None)
    used = [usages.get(s.key, nothing) for s in snapshots]
    rows.add(
        "snapshots",
        len(snapshots),
        node=node,
        namespace=namespace,
        snapshotter=snapshotter,
        key=[s.key for s in snapshots],
        parent=[s.parent for s in snapshots],
        kind=[s.kind for s in snapshots],
        size=[u[0] for u in used],
        inodes=[u[1] for u in used],
        created_at=[s.created_at for s in snapshots],
        updated_at=[s.updated_at for s in snapshots],
        labels=[s.labels for s in snapshots],
    )


def add_containers(rows: TableBuilder, node: str, namespace: str, lists: NamespaceLists) -> None:
    """Rows of ``containers``: the digest that the image name has now, and what the task does."""
    containers = lists.containers or []
    targets = {image.name: image.target.digest for image in lists.images or []}
    status = {task.id: task.status for task in lists.tasks or []}
    none = "none" if lists.tasks is not None else None
    rows.add(
        "containers",
        len(containers),
        node=node,
        namespace=namespace,
        id=[c.id for c in containers],
        image=[c.image for c in containers],
        image_digest=[targets.get(c.image) for c in containers],
        snapshotter=[c.snapshotter for c in containers],
        snapshot_key=[c.snapshot_key for c in containers],
        runtime=[c.runtime for c in containers],
        created_at=[c.created_at for c in containers],
        updated_at=[c.updated_at for c in containers],
        status=[_known(status.get(c.id, none)) for c in containers],
        labels=[c.labels for c in containers],
    )


def _known(status: str | None) -> str | None:
    return None if status == "unknown" else status


def add_leases(
    rows: TableBuilder, node: str, namespace: str, leases: list[tuple[records.Lease, list[records.Resource]]]
) -> None:
    """Rows of ``leases``: one per resource, and one without for a lease that holds nothing."""
    for lease, resources in leases:
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


def expiry(labels: str) -> int | None:
    """When the label containerd.io/gc.expire lets a lease end [ns]; None: never, also where Go cannot read the time.

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
