"""A node, from its socket to its rows; failures become rows of ``errors``."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from imgframe.collector import local_store
from imgframe.collector.cache import Cache
from imgframe.collector.document_reader import MAX_DOCUMENT, DocumentReader, Read
from imgframe.collector.namespace_lists import add_errors, attempt
from imgframe.collector.namespaces import NodeContext, collect_namespace
from imgframe.collector.progress import ProgressBars
from imgframe.collector.snapshot_usage import Usage, UsageReader
from imgframe.collector.table_builder import TableBuilder
from imgframe.errors import DocumentError, WireError
from imgframe.node import Node
from imgframe.platforms import LINUX_AMD64, default, format_all, normalize
from imgframe.wire import Client, layout, records

_DEFAULT_SNAPSHOTTER = "containerd.io/defaults/snapshotter"
_STAGES = {
    "Images": "images",
    "Content": "content",
    "Snapshots": "snapshots",
    "Containers": "containers",
    "Tasks": "containers",
    "Store": "sandboxes",
    "Leases": "leases",
}


@dataclass(slots=True, frozen=True)
class CollectOptions:
    """Arguments of ``collect``; None: everything."""

    namespaces: tuple[str, ...] | None
    snapshotters: tuple[str, ...] | None
    usage: Usage
    timeout: float
    read_files: bool


@dataclass(slots=True)
class NodeReader:
    """Reads one node; ``alone`` if there is no other."""

    _node: Node
    _options: CollectOptions
    _documents: DocumentReader
    _cache: Cache | None
    _progress: ProgressBars
    _batch_size: int
    _alone: bool
    _rows: TableBuilder = field(default_factory=TableBuilder)
    _errors: int = 0

    async def read(self) -> TableBuilder:
        """The rows of the node."""
        began, clock = time.time_ns(), time.perf_counter()
        facts: dict[str, object] = {"status": "failed"}
        try:
            async with Client(self._node, timeout=self._options.timeout) as client:
                try:
                    facts |= await self._read(client)
                finally:
                    facts["rpcs"] = client.rpcs
        except WireError as error:
            self._add_error("connect", self._node.address, error)
        facts |= {"collected_at": began, "seconds": time.perf_counter() - clock}
        self._rows.add("nodes", 1, node=self._node.name, address=self._node.address, **facts)  # type: ignore[arg-type]
        return self._rows

    def _fail(self, stage: str, subject: str, code: str, message: str, namespace: str | None = None) -> None:
        self._errors += 1
        add_errors(self._rows, self._node.name, namespace, [(stage, subject, code, message)])

    def _add_error(self, stage: str, subject: str, error: WireError) -> None:
        self._fail(stage, subject, error.code, str(error))

    async def _read(self, client: Client) -> dict[str, object]:
        """Reads all namespaces; returns columns of the node's row."""
        server, plugins, namespaces = await asyncio.gather(
            attempt(client.daemon.server(), "connect", "server", self._add_error),
            attempt(client.daemon.plugins(), "connect", "plugins", self._add_error),
            attempt(client.daemon.namespaces(), "connect", "namespaces", self._add_error),
        )
        store = layout(plugins or [])
        uuid = server.uuid if server else ""
        local = local_store.is_store(store.root, uuid)
        host = normalize(store.platform) if store.platform else None
        snapshotter = min(store.snapshotters, key=lambda name: (name != "overlayfs", name), default=None)
        context = NodeContext(
            self._node.name,
            uuid,
            client,
            self._documents,
            UsageReader(client, uuid, self._options.usage, self._cache, self._progress, self._batch_size),
            default(host or LINUX_AMD64),
            store.snapshotters if self._options.snapshotters is None else self._options.snapshotters,
            _file_reader(store.content_root) if local and self._options.read_files else None,
        )
        changed = await self._read_namespaces(context, namespaces or [], snapshotter)
        for damage in dict.fromkeys(client.take_damages()):
            stage = _STAGES.get(damage.call.partition("/")[0], "connect")
            self._fail(stage, damage.subject, "malformed", damage.message, damage.namespace or None)
        total, free = local_store.disk(store.root) if local else (None, None)
        if namespaces is None:
            status = "failed"
        else:
            status = "partial" if self._errors else "moved" if changed else "ok"
        return {
            "containerd_version": client.opened.version,
            "store_uuid": uuid or None,
            "platform": format_all(host) if host else None,
            "snapshotter": snapshotter,
            "root": store.root or None,
            "disk_total": self._node.disk_total if total is None else total,
            "disk_free": free,
            "status": status,
        }

    async def _read_namespaces(
        self, context: NodeContext, found: list[records.Namespace], snapshotter: str | None
    ) -> bool:
        """Adds the rows of all wanted namespaces, sorted by name; returns whether one of them changed."""
        wanted = self._options.namespaces or self._node.namespaces or None
        by_name = {namespace.name: namespace for namespace in sorted(found, key=lambda n: n.name)}
        for name in wanted or ():
            if name not in by_name:
                text = f"{self._node.name} has no namespace {name!r}; it has {', '.join(by_name) or 'none'}"
                self._fail("connect", name, "not_found", text, name)
        chosen = [n for n in by_name.values() if wanted is None or n.name in wanted]
        parts = [TableBuilder() for _ in chosen]
        results = await asyncio.gather(
            *(
                collect_namespace(
                    context,
                    n.name,
                    records.labels_of(n.labels).get(_DEFAULT_SNAPSHOTTER, snapshotter),
                    rows,
                    alone=self._alone and len(chosen) == 1,
                )
                for n, rows in zip(chosen, parts, strict=True)
            )
        )
        names, labels = [n.name for n in chosen], [n.labels for n in chosen]
        self._rows.add("namespaces", len(chosen), node=self._node.name, namespace=names, labels=labels)
        for rows in parts:
            self._rows.extend(rows)
        self._errors += sum(errors for errors, _ in results)
        return any(changed for _, changed in results)


def _file_reader(content_root: str) -> Read:
    async def read(digest: str) -> bytes:
        data = local_store.read_blob(content_root, digest, MAX_DOCUMENT)
        if len(data) > MAX_DOCUMENT:
            raise DocumentError(f"{digest} is larger than 8 MiB; it is not read as a document")
        return data

    return read
