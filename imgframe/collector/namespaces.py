"""One namespace of one node: its lists, documents and usages, read until they agree with each other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from imgframe.collector import namespace_lists
from imgframe.collector.document_reader import DocumentReader, Failure, Read
from imgframe.collector.images import add_images, scope_of
from imgframe.collector.namespace_lists import NamespaceLists, attempt
from imgframe.collector.reachable_documents import ReachableDocuments, walk
from imgframe.collector.snapshot_usage import UsageReader
from imgframe.collector.summaries import DocumentProblem, Summary, kind_of
from imgframe.collector.table_builder import TableBuilder
from imgframe.errors import Missing, WireError
from imgframe.platforms import Matcher
from imgframe.wire import Client, records

_MOMENT = 0.001  # s: then the questions asked are on their way, and containerd works while rows are made here
ROUNDS = 3
"""How often a namespace is read at most while its images move."""


@dataclass(slots=True)
class NodeContext:
    """What the namespaces of a node have in common."""

    node: str
    store: str
    client: Client
    library: DocumentReader
    meter: UsageReader
    matcher: Matcher
    snapshotters: tuple[str, ...]
    read_file: Read | None = None


@dataclass(slots=True)
class NamespaceReading:
    """One round over a namespace."""

    lists: NamespaceLists = field(default_factory=NamespaceLists)
    walk: ReachableDocuments | None = None
    usages: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    vanished: set[str] = field(default_factory=set)
    errors: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def documents(self) -> Mapping[tuple[str, str], Summary]:
        """Every document that was reached, by kind and digest."""
        return self.walk.reached if self.walk else {}

    def fail(self, stage: str, subject: str, error: WireError) -> None:
        """A row of errors for a call that failed."""
        self.errors.append((stage, subject, error.code, str(error)))

    def note(self, digest: str, problem: DocumentProblem) -> None:
        """A row of errors for a document."""
        self.errors.append(("documents", digest, problem.code, problem.message))


async def collect_namespace(
    job: NodeContext, namespace: str, snapshotter: str | None, rows: TableBuilder, *, alone: bool
) -> tuple[int, bool]:
    """Rows of one namespace; gives the number of rows of errors, and whether the store moved while it was read.

    Where nothing else is read, ``alone``, waiting for containerd is time to make Arrow of the rows.
    """
    moved, lost = False, set[str]()
    for _ in range(ROUNDS):
        reading = await _read(job, namespace)
        asked = asyncio.create_task(
            attempt(job.client.images.list(namespace), "images", namespace, reading.fail)
        )
        await asyncio.sleep(_MOMENT)
        own = TableBuilder()
        _add_rows(job, namespace, snapshotter, reading, own)
        if alone:
            own.pack()
        again = await asked
        if again == reading.lists.images or again is None or reading.lists.images is None:
            if reading.vanished <= lost:
                break
            lost |= reading.vanished
        moved = True
    job.library.settle(job.store, namespace, reading.documents.keys())
    _add_errors(job, namespace, reading, own)
    rows.extend(own)
    return len(reading.errors), moved


async def _read(job: NodeContext, namespace: str) -> NamespaceReading:
    reading = NamespaceReading()
    lists, client = reading.lists, job.client

    def recall(images: list[records.Image]) -> None:
        job.library.recall(image.target.digest for image in images)

    async def documents() -> None:
        await namespace_lists.read_content_lists(client, namespace, reading.fail, lists, recall)
        if lists.images is not None and lists.blobs is not None:
            await _read_documents(job, namespace, reading)

    async def snapshots(name: str) -> None:
        found = await attempt(client.snapshots.list(namespace, name), "snapshots", name, reading.fail)
        lists.snapshots[name] = found
        reading.usages[name], gone = await job.meter.measure(namespace, name, found or [], reading.fail)
        reading.vanished |= gone

    async def meanwhile() -> None:
        await asyncio.sleep(_MOMENT)
        job.library.expect(job.store, namespace)

    await asyncio.gather(
        documents(),
        meanwhile(),
        namespace_lists.read_other_lists(client, namespace, reading.fail, lists),
        *(snapshots(name) for name in job.snapshotters),
    )
    return reading


async def _read_documents(job: NodeContext, namespace: str, reading: NamespaceReading) -> None:
    images, sizes = reading.lists.images or [], reading.lists.sizes or {}
    targets = dict.fromkeys((kind_of(i.target.media_type), i.target.digest) for i in images)
    targets.pop(("", ""), None)

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
    done = reading.walk = await walk(job.library, wanted, sizes, reading.lists.blobs or [], reader)
    for digest in sorted(done.unread):
        _explain(reading, digest, done.failed[digest])
    for (kind, digest), document in done.reached.items():
        if document.refused and (kind != "config" or digest in done.image_configs):
            reading.note(digest, DocumentProblem("malformed", document.refused))
    for digest in sorted({digest for _, digest in targets if digest not in sizes}):
        reading.note(
            digest,
            DocumentProblem("not_found", f"{digest}, the target of an image, is not in the content store"),
        )
    for digest, manifest in sorted(done.absent_configs.items()):
        text = f"{digest}, the config of manifest {manifest}, is not in the content store"
        reading.note(digest, DocumentProblem("not_found", text))


def _explain(reading: NamespaceReading, digest: str, failure: Failure) -> None:
    if isinstance(failure, Missing):
        reading.vanished.add(digest)
        reading.note(digest, DocumentProblem("not_found", str(failure)))
    elif isinstance(failure, WireError):
        reading.fail("documents", digest, failure)
    else:
        reading.note(digest, failure)


def _add_rows(
    job: NodeContext, namespace: str, snapshotter: str | None, reading: NamespaceReading, rows: TableBuilder
) -> None:
    lists, node = reading.lists, job.node
    scope = scope_of(
        node,
        namespace,
        lists,
        reading.documents,
        job.matcher,
        snapshotter,
    )
    add_images(rows, scope)
    namespace_lists.add_blobs(rows, node, namespace, lists.blobs or [])
    for name in sorted(lists.snapshots):
        namespace_lists.add_snapshots(
            rows, node, namespace, name, lists.snapshots[name] or [], reading.usages[name]
        )
    namespace_lists.add_containers(rows, node, namespace, lists)
    namespace_lists.add_ingests(rows, node, namespace, lists.ingests or [])
    namespace_lists.add_leases(rows, node, namespace, lists.leases or [])


def _add_errors(job: NodeContext, namespace: str, reading: NamespaceReading, rows: TableBuilder) -> None:
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
