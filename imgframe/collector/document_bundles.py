"""Bundles: the tables and summaries of documents as the cache stores them, in one block."""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from imgframe import schema
from imgframe.collector.cache import Cache
from imgframe.collector.summaries import ConfigSummary, ManifestSummary, Summary, layer_rows, lean, summarise
from imgframe.collector.table_builder import TableBuilder
from imgframe.inventory import once

Key = tuple[str, str]
_TABLES = {"documents": "digest", "configs": "digest", "history": "digest", "layers": "manifest_digest"}
_MANY = 8
_LENGTHS = struct.Struct("<5Q")
_ALIGNED = 64
_SUMMARIES = msgspec.msgpack.Decoder(list[tuple[str, str, Summary]])
_ENCODER = msgspec.msgpack.Encoder()
_ALONE = pa.ipc.IpcReadOptions(use_threads=False)  # waking threads costs more than they save
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")  # decompression costs less than a longer read


@dataclass(slots=True)
class DocumentBundle:
    """Tables and lean summaries of some documents."""

    id: int
    tables: dict[str, pa.Table]
    summaries: dict[Key, Summary]
    digests: set[str]

    def read(self, digest: str) -> bytes:
        """The bytes of one document."""
        documents = self.tables["documents"]
        row = documents["digest"].combine_chunks().dictionary.index(digest).as_py()
        data: bytes = documents["data"][row].as_py()
        return data


def pack(tables: dict[str, pa.Table], summaries: dict[Key, Summary]) -> bytes:
    """A bundle as one block of bytes."""
    parts = [_ENCODER.encode([(*key, lean(summary)) for key, summary in summaries.items()])]
    for name in _TABLES:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, tables[name].schema, options=_COMPRESSED) as writer:
            writer.write_table(tables[name])
        parts.append(sink.getvalue().to_pybytes())
    return b"".join(map(_padded, (_LENGTHS.pack(*map(len, parts)), *parts)))


def _padded(part: bytes) -> bytes:
    """The part, padded to the alignment of Arrow's buffers."""
    return part + bytes(-len(part) % _ALIGNED)


def unpack(block: bytes, id: int = 0) -> DocumentBundle:
    """The bundle in a block of :func:`pack`."""
    view = memoryview(block)
    at = _LENGTHS.size + -_LENGTHS.size % _ALIGNED
    parts = []
    for length in _LENGTHS.unpack_from(view):
        parts.append(view[at : at + length])
        at += length + -length % _ALIGNED
    summaries = {(kind, digest): summary for kind, digest, summary in _SUMMARIES.decode(parts[0])}
    tables = {
        name: pa.ipc.open_stream(pa.py_buffer(part), options=_ALONE).read_all()
        for name, part in zip(_TABLES, parts[1:], strict=True)
    }
    return DocumentBundle(id, tables, summaries, {digest for _, digest in summaries})


def load_namespace(cache: Cache, store: str, namespace: str, loaded: Container[int]) -> list[DocumentBundle]:
    """Bundles with the documents that a namespace had when it was last read, except those ``loaded``."""
    numbers = (number for number in sorted(cache.namespace_bundles(store, namespace)) if number not in loaded)
    blocks = ((number, cache.bundle_at(number)) for number in numbers)
    return [unpack(block, number) for number, block in blocks if block is not None]


def load(cache: Cache, wanted: set[str]) -> list[DocumentBundle]:
    """Bundles with some of the documents ``wanted``."""
    found: list[DocumentBundle] = []
    while wanted:
        stored = cache.bundle(wanted)
        if stored is None:
            break
        bundle = unpack(stored[1], stored[0])
        if not wanted & bundle.digests:
            break
        wanted = wanted - bundle.digests
        found.append(bundle)
    return found


class NamespaceBundles(NamedTuple):
    """IDs of the bundles with documents of a namespace, and whether some documents are in none yet."""

    store: str
    namespace: str
    bundles: set[int]
    new: bool


@dataclass(slots=True)
class DocumentSet:
    """All documents of a collection.

    ``data`` has the bytes of those read from nodes, ``rows`` their rows of ``configs`` and ``history``, ``where`` the bundle
    of each other digest. ``referenced`` are the documents of the inventory; ``added`` is the ID of the new bundle.
    """

    bundles: list[DocumentBundle] = field(default_factory=list)
    where: dict[str, DocumentBundle] = field(default_factory=dict)
    data: dict[str, bytes] = field(default_factory=dict)
    summaries: dict[Key, Summary] = field(default_factory=dict)
    referenced: set[Key] = field(default_factory=set)
    rows: TableBuilder = field(default_factory=TableBuilder)
    added: int | None = None

    def add(self, bundles: Iterable[DocumentBundle]) -> None:
        """Adds bundles from the cache; known documents stay as they are."""
        for bundle in bundles:
            self.bundles.append(bundle)
            self.where = self.where or dict.fromkeys(bundle.digests, bundle)
            self.summaries = self.summaries or dict(bundle.summaries)
            for digest in bundle.digests - self.where.keys():
                self.where[digest] = bundle
            for key in bundle.summaries.keys() - self.summaries.keys():
                self.summaries[key] = bundle.summaries[key]

    def full_summary(self, kind: str, digest: str) -> Summary | None:
        """The full summary; a lean one is made again from the bytes."""
        for bundle in self.bundles:
            if (kind, digest) in bundle.summaries:
                return summarise(kind, digest, bundle.read(digest), TableBuilder())
        return self.summaries.get((kind, digest))

    def bundles_of(self, store: str, namespace: str, reached: Iterable[Key]) -> NamespaceBundles:
        """The bundles of a namespace."""
        digests = {digest for _, digest in reached}
        held = {self.where[digest].id for digest in digests if digest in self.where}
        return NamespaceBundles(store, namespace, held, not digests.isdisjoint(self.data))


def tables_of(cache: Cache | None, documents: DocumentSet) -> dict[str, pa.Table]:
    """The tables of the referenced documents, sorted by digest; new ones are cached."""
    used = {digest for _, digest in documents.referenced}
    documents.bundles = [bundle for bundle in documents.bundles if not bundle.digests.isdisjoint(used)]
    old = [bundle.summaries.keys() for bundle in documents.bundles]
    fresh = documents.referenced.difference(*old)
    partial = {
        digest
        for kind, digest in documents.referenced
        if kind == "manifest" and not _has_config(documents, documents.summaries[kind, digest])
    }
    if not fresh and not partial and len(old) == 1 and len(old[0]) == len(documents.referenced):
        return dict(documents.bundles[0].tables)
    parts = {name: [bundle.tables[name] for bundle in documents.bundles] for name in _TABLES}
    whole = used - partial
    parts["layers"] = [_only(table, "layers", whole) for table in parts["layers"]]
    for name, table in _fresh_tables(documents, fresh, partial).items():
        parts[name].append(table)
    rows_of = _by_table(documents.referenced)
    tables = {name: _only(_united(name, several), name, rows_of[name]) for name, several in parts.items()}
    if cache is not None and fresh:
        _cache_new(cache, documents, tables, fresh, partial)
    return tables


def _by_table(keys: Iterable[Key]) -> dict[str, set[str]]:
    """The digests in each table; a digest may be a manifest in one place and a config in another."""
    digests: dict[str, set[str]] = {"index": set(), "manifest": set(), "config": set()}
    for kind, digest in keys:
        digests[kind].add(digest)
    configs = digests["config"]
    return {
        "documents": set().union(*digests.values()),
        "configs": configs,
        "history": configs,
        "layers": digests["manifest"],
    }


def cache_namespaces(cache: Cache, documents: DocumentSet, namespaces: Iterable[NamespaceBundles]) -> None:
    """Caches the bundles of each namespace, so that they can be loaded before its lists are read."""
    kept = {bundle.id for bundle in documents.bundles}
    for store, namespace, bundles, new in namespaces:
        ids = bundles & kept
        if documents.added is not None and (new or bundles - kept):
            ids.add(documents.added)
        if store and ids != cache.namespace_bundles(store, namespace):
            cache.set_namespace_bundles(store, namespace, ids)


def _has_config(documents: DocumentSet, manifest: Summary) -> bool:
    assert isinstance(manifest, ManifestSummary)
    return bool(manifest.refused) or ("config", manifest.config.digest) in documents.referenced


def _fresh_tables(documents: DocumentSet, fresh: set[Key], partial: set[str]) -> dict[str, pa.Table]:
    """Rows of documents in no bundle, and layers of manifests whose config is absent."""
    rows = documents.rows
    digests = sorted({digest for _, digest in fresh if digest in documents.data})
    rows.add("documents", len(digests), digest=digests, data=[documents.data[digest] for digest in digests])
    manifests = sorted({digest for kind, digest in fresh if kind == "manifest"} | partial)
    for digest in manifests:
        manifest = documents.full_summary("manifest", digest)
        assert isinstance(manifest, ManifestSummary)
        config = documents.full_summary("config", manifest.config.digest) if digest not in partial else None
        assert config is None or isinstance(config, ConfigSummary)
        layer_rows(rows, digest, manifest, config)
    return rows.tables()


def _cache_new(
    cache: Cache, documents: DocumentSet, tables: dict[str, pa.Table], fresh: set[Key], partial: set[str]
) -> None:
    """Caches new documents; merges many small bundles into one."""
    merge = len(documents.bundles) >= _MANY
    keys = {key for key in (documents.referenced if merge else fresh) if key[1] not in partial}
    digests = _by_table(keys)
    kept = {name: _only(table, name, digests[name]) for name, table in tables.items()}
    block = pack(kept, {key: documents.summaries[key] for key in keys})
    instead_of = [bundle.id for bundle in documents.bundles] if merge else []
    documents.added = cache.add_bundle(digests["documents"], block, instead_of)
    if merge:
        documents.bundles = []


def _united(name: str, parts: list[pa.Table]) -> pa.Table:
    """Rows of all parts, sorted by digest; a document of several parts is taken from the first."""
    parts = [part for part in parts if part.num_rows]
    if len(parts) < 2:
        return _sorted(name, parts[0]) if parts else schema.empty(name)
    return _sorted(name, once(schema.concat(name, parts), _TABLES[name], parts))


def _sorted(name: str, table: pa.Table) -> pa.Table:
    codes = table[_TABLES[name]].combine_chunks().indices.to_numpy(zero_copy_only=False)
    if (codes[1:] >= codes[:-1]).all():
        return table
    return table.take(pa.array(np.argsort(codes, kind="stable")))


def _only(table: pa.Table, name: str, digests: set[str]) -> pa.Table:
    """The rows of these documents."""
    column = table[_TABLES[name]].combine_chunks() if table.num_rows else None
    if column is None:
        return table
    wanted = np.array([digest in digests for digest in column.dictionary.to_pylist()], dtype=bool)
    if wanted.all():
        return table
    kept = table.filter(pa.array(wanted[column.indices.to_numpy(zero_copy_only=False)]))
    return schema.table(name, {column: kept[column] for column in kept.column_names})
