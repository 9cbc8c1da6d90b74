"""A namespace of a node: its lists, documents and usages, read until they are consistent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from imgframe.collector import namespace_lists
from imgframe.collector.document_reader import DocumentReader, Failure, Read
from imgframe.collector.images import NamespaceContext, add_images
from imgframe.collector.namespace_lists import NamespaceLists, attempt
from imgframe.collector.reachable_documents import ReachableDocuments, read_reachable
from imgframe.collector.snapshot_usage import UsageReader
from imgframe.collector.summaries import DocumentProblem, Summary, kind_of
from imgframe.collector.table_builder import TableBuilder
from imgframe.errors import Missing, WireError
from imgframe.platforms import Matcher
from imgframe.wire import Client, records

_SEND_SECONDS = 0.001  # until the requests have been sent [s]; containerd then works while rows are made here
ROUNDS = 3
"""How often a namespace is read at most while its images change."""


@dataclass(slots=True)
class NodeContext:
    """What all namespaces of a node share."""

    name: str
    store: str
    client: Client
    documents: DocumentReader
    usage: UsageReader
    matcher: Matcher
    snapshotters: tuple[str, ...]
    read_file: Read | None = None


@dataclass(slots=True)
class NamespaceReading:
    """One reading of a namespace."""

    lists: NamespaceLists = field(default_factory=NamespaceLists)
    reachable: ReachableDocuments | None = None
    usages: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    vanished: set[str] = field(default_factory=set)
    errors: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def documents(self) -> Mapping[tuple[str, str], Summary]:
        """Every reachable document, by kind and digest."""
        return self.reachable.reached if self.reachable else {}

    def add_error(self, stage: str, subject: str, error: WireError) -> None:
        """Adds a row of ``errors`` for a failed call."""
        self.errors.append((stage, subject, error.code, str(error)))

    def add_problem(self, digest: str, problem: DocumentProblem) -> None:
        """Adds a row of ``errors`` for a document."""
        self.errors.append(("documents", digest, problem.code, problem.message))


async def collect_namespace(
    node: NodeContext, namespace: str, snapshotter: str | None, rows: TableBuilder, *, alone: bool
) -> tuple[int, bool]:
    """Adds the rows of a namespace; returns the number of errors, and whether the store changed while it was read.

    If nothing else is read (``alone``), Arrow columns are built while containerd works.
    """
    changed, lost = False, set[str]()
    for _ in range(ROUNDS):
        reading = await _read(node, namespace)
        asked = asyncio.create_task(
            attempt(node.client.images.list(namespace), "images", namespace, reading.add_error)
        )
        await asyncio.sleep(_SEND_SECONDS)
        own = TableBuilder()
        context = NamespaceContext(
            node.name, namespace, reading.lists, reading.documents, node.matcher, snapshotter
        )
        add_images(own, context)
        namespace_lists.add_rows(own, node.name, namespace, reading.lists, reading.usages)
        if alone:
            own.pack()
        again = await asked
        if again == reading.lists.images or again is None or reading.lists.images is None:
            if reading.vanished <= lost:
                break
            lost |= reading.vanished
        changed = True
    node.documents.record(node.store, namespace, reading.documents.keys())
    namespace_lists.add_errors(own, node.name, namespace, sorted(reading.errors))
    rows.extend(own)
    return len(reading.errors), changed


async def _read(node: NodeContext, namespace: str) -> NamespaceReading:
    reading = NamespaceReading()
    lists, client = reading.lists, node.client

    def load_targets(images: list[records.Image]) -> None:
        node.documents.load(image.target.digest for image in images)

    async def documents() -> None:
        await namespace_lists.read_content_lists(client, namespace, reading.add_error, lists, load_targets)
        if lists.images is not None and lists.blobs is not None:
            await _read_documents(node, namespace, reading)

    async def snapshots(name: str) -> None:
        listed = await attempt(client.snapshots.list(namespace, name), "snapshots", name, reading.add_error)
        lists.snapshots[name] = listed
        reading.usages[name], gone = await node.usage.measure(
            namespace, name, listed or [], reading.add_error
        )
        reading.vanished |= gone

    async def cached_documents() -> None:
        await asyncio.sleep(_SEND_SECONDS)
        node.documents.load_namespace(node.store, namespace)

    await asyncio.gather(
        documents(),
        cached_documents(),
        namespace_lists.read_other_lists(client, namespace, reading.add_error, lists),
        *(snapshots(name) for name in node.snapshotters),
    )
    return reading


async def _read_documents(node: NodeContext, namespace: str, reading: NamespaceReading) -> None:
    images, sizes = reading.lists.images or [], reading.lists.sizes or {}
    targets = dict.fromkeys((kind_of(i.target.media_type), i.target.digest) for i in images)
    targets.pop(("", ""), None)

    async def read(digest: str) -> bytes:
        return await node.client.content.document(namespace, digest)

    async def read_file(digest: str) -> bytes:
        assert node.read_file is not None
        try:
            return await node.read_file(digest)
        except OSError:
            return await read(digest)

    wanted = [key for key in targets if key[0]]
    reader = read_file if node.read_file else read
    reachable = reading.reachable = await read_reachable(
        node.documents, wanted, sizes, reading.lists.blobs or [], reader
    )
    for digest in sorted(reachable.unread):
        _add_failure(reading, digest, reachable.failed[digest])
    for (kind, digest), document in reachable.reached.items():
        if document.refused and (kind != "config" or digest in reachable.image_configs):
            reading.add_problem(digest, DocumentProblem("malformed", document.refused))
    for digest in sorted({digest for _, digest in targets if digest not in sizes}):
        text = f"{digest}, the target of an image, is not in the content store"
        reading.add_problem(digest, DocumentProblem("not_found", text))
    for digest, manifest in sorted(reachable.absent_configs.items()):
        text = f"{digest}, the config of manifest {manifest}, is not in the content store"
        reading.add_problem(digest, DocumentProblem("not_found", text))


def _add_failure(reading: NamespaceReading, digest: str, failure: Failure) -> None:
    if isinstance(failure, Missing):
        reading.vanished.add(digest)
        reading.add_problem(digest, DocumentProblem("not_found", str(failure)))
    elif isinstance(failure, WireError):
        reading.add_error("documents", digest, failure)
    else:
        reading.add_problem(digest, failure)
