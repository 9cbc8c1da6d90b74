"""One namespace of one node: its lists, documents and usages, read until they agree with each other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from imgframe.collector import listing
from imgframe.collector.documents import Problem, kind_of
from imgframe.collector.images import add_images, scope_of
from imgframe.collector.library import Failure, Library, Read
from imgframe.collector.listing import Lists, attempt
from imgframe.collector.rows import Rows
from imgframe.collector.usages import Meter
from imgframe.collector.walking import Walk, walk
from imgframe.errors import Missing, WireError
from imgframe.platforms import Matcher
from imgframe.wire import Client, records

ROUNDS = 3
"""How often a namespace is read at most while its images move."""


@dataclass(slots=True)
class Job:
    """What the namespaces of a node have in common."""

    node: str
    client: Client
    library: Library
    meter: Meter
    matcher: Matcher
    snapshotters: tuple[str, ...]
    read_file: Read | None = None


@dataclass(slots=True)
class Reading:
    """One round over a namespace."""

    lists: Lists = field(default_factory=Lists)
    walk: Walk | None = None
    usages: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    vanished: set[str] = field(default_factory=set)
    errors: list[tuple[str, str, str, str]] = field(default_factory=list)

    def fail(self, stage: str, subject: str, error: WireError) -> None:
        """A row of errors for a call that failed."""
        self.errors.append((stage, subject, error.code, str(error)))

    def note(self, digest: str, problem: Problem) -> None:
        """A row of errors for a document."""
        self.errors.append(("documents", digest, problem.code, problem.message))


async def collect_namespace(
    job: Job, namespace: str, snapshotter: str | None, rows: Rows
) -> tuple[int, bool]:
    """Rows of one namespace; gives the number of rows of errors, and whether the store moved while it was read."""
    moved, lost, passed = False, set[str](), set[tuple[str, str]]()
    for _ in range(ROUNDS):
        reading = await _read(job, namespace)
        asked = asyncio.create_task(
            attempt(job.client.images.list(namespace), "images", namespace, reading.fail)
        )
        await asyncio.sleep(0)  # the question is on its way while the rows are made
        own = Rows()
        _add_rows(job, namespace, snapshotter, reading, own)
        again = await asked
        if again == reading.lists.images or again is None or reading.lists.images is None:
            if reading.vanished <= lost:
                break
            lost |= reading.vanished
        moved = True
        passed |= reading.walk.reached if reading.walk else set()
    job.library.settle(reading.walk.reached if reading.walk else set(), passed)
    _add_errors(job, namespace, reading, own)
    rows.extend(own)
    return len(reading.errors), moved


async def _read(job: Job, namespace: str) -> Reading:
    reading = Reading()
    lists, client = reading.lists, job.client

    def recall(images: list[records.Image]) -> None:
        job.library.recall(image.target.digest for image in images)

    async def documents() -> None:
        await listing.read_content_lists(client, namespace, reading.fail, lists, recall)
        if lists.images is not None and lists.blobs is not None:
            await _read_documents(job, namespace, reading)

    async def snapshots(name: str) -> None:
        found = await attempt(client.snapshots.list(namespace, name), "snapshots", name, reading.fail)
        lists.snapshots[name] = found
        reading.usages[name], gone = await job.meter.measure(namespace, name, found or [], reading.fail)
        reading.vanished |= gone

    await asyncio.gather(
        documents(),
        listing.read_other_lists(client, namespace, reading.fail, lists),
        *(snapshots(name) for name in job.snapshotters),
    )
    return reading


async def _read_documents(job: Job, namespace: str, reading: Reading) -> None:
    images, blobs = reading.lists.images or [], reading.lists.blobs or []
    targets = dict.fromkeys((kind_of(i.target.media_type), i.target.digest) for i in images)
    targets.pop(("", ""), None)
    sizes = {blob.digest: blob.size for blob in blobs}
    labels = {blob.digest: blob.labels for blob in blobs}

    async def read(digest: str) -> bytes:
        return await job.client.content.document(namespace, digest)

    async def read_file(digest: str) -> bytes:
        assert job.read_file is not None
        try:
            return await job.read_file(digest)
        except OSError:
            return await read(digest)

    wanted = [key for key in targets if key[0]]
    reader = read_file if job.read_file else read
    done = reading.walk = await walk(job.library, wanted, sizes, labels, reader)
    for digest in sorted(done.unread):
        _explain(reading, digest, done.failed[digest])
    for kind, digest in sorted(done.reached):
        summary = job.library.get(kind, digest)
        if summary is not None and summary.refused and (kind != "config" or digest in done.image_configs):
            reading.note(digest, Problem("malformed", summary.refused))
    for digest in sorted({digest for _, digest in targets if digest not in sizes}):
        reading.note(
            digest, Problem("not_found", f"{digest}, the target of an image, is not in the content store")
        )
    for digest, manifest in sorted(done.absent_configs.items()):
        text = f"{digest}, the config of manifest {manifest}, is not in the content store"
        reading.note(digest, Problem("not_found", text))


def _explain(reading: Reading, digest: str, failure: Failure) -> None:
    if isinstance(failure, Missing):
        reading.vanished.add(digest)
        reading.note(digest, Problem("not_found", str(failure)))
    elif isinstance(failure, WireError):
        reading.fail("documents", digest, failure)
    else:
        reading.note(digest, failure)


def _add_rows(job: Job, namespace: str, snapshotter: str | None, reading: Reading, rows: Rows) -> None:
    lists, node = reading.lists, job.node
    scope = scope_of(
        node,
        namespace,
        lists,
        job.library,
        job.matcher,
        snapshotter,
        reading.walk.reached if reading.walk else set(),
    )
    add_images(rows, scope)
    listing.add_blobs(rows, node, namespace, lists.blobs or [])
    for name in sorted(lists.snapshots):
        listing.add_snapshots(rows, node, namespace, name, lists.snapshots[name] or [], reading.usages[name])
    listing.add_containers(rows, node, namespace, lists)
    listing.add_ingests(rows, node, namespace, lists.ingests or [])
    listing.add_leases(rows, node, namespace, lists.leases or [])


def _add_errors(job: Job, namespace: str, reading: Reading, rows: Rows) -> None:
    errors = sorted(reading.errors)
    rows.add(
        "errors",
        len(errors),
        node=job.node,
        namespace=namespace,
        stage=[e[0] for e in errors],
        subject=[e[1] for e in errors],
        code=[e[2] for e in errors],
        message=[e[3] for e in errors],
    )
