"""Numbers for the objects of an inventory, and looking them up by name."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from imgframe.arrow.keys import Ints, find, one_array, plain_codes, scopes, unify
from imgframe.reclaiming.gc_labels import CONTAINER, CONTENT, IMAGE, INGEST, LEASE, SANDBOX, SNAPSHOT

TABLES = ("images", "blobs", "snapshots", "containers", "leases", "ingests", "sandboxes")
"""The table of each kind of object."""

UNKNOWN_RELEASE = 900_000
"""Release of a node of unknown version: every reference counts, and what some release keeps does not expire."""

KEYS = {
    IMAGE: "name",
    CONTENT: "digest",
    SNAPSHOT: "key",
    CONTAINER: "id",
    LEASE: "id",
    INGEST: "ref",
    SANDBOX: "id",
}
"""The column that names an object, by kind."""

LABEL_COLUMNS = {
    IMAGE: "record_labels",
    CONTENT: "labels",
    SNAPSHOT: "labels",
    CONTAINER: "labels",
    SANDBOX: "labels",
}
"""The column of containerd's labels that may hold references, by kind."""


class ObjectNames:
    """Names of objects: ``words[places]``, for snapshots with their snapshotters."""

    __slots__ = ("places", "snapshotters", "words")

    def __init__(
        self, words: pa.Array, snapshotters: pa.Array | None = None, places: Ints | None = None
    ) -> None:
        self.words = _encoded(words)
        self.snapshotters = _encoded(snapshotters) if snapshotters is not None else None
        self.places = places

    def against(self, keys: pa.Array) -> tuple[Ints, Ints, int]:
        """Codes of ``keys`` and of these names in one space, and the number of words in it."""
        return self._codes(keys, self.words)

    def snapshotters_against(self, keys: pa.Array) -> tuple[Ints, Ints, int]:
        """The same for the snapshotters."""
        assert self.snapshotters is not None
        return self._codes(keys, self.snapshotters)

    def _codes(self, keys: pa.Array, names: pa.Array) -> tuple[Ints, Ints, int]:
        (key, name), words = unify([keys, names])
        return key, name if self.places is None else name[self.places], len(words)


def _encoded(column: pa.Array | pa.ChunkedArray) -> pa.DictionaryArray:
    array = one_array(column)
    return array if pa.types.is_dictionary(array.type) else array.dictionary_encode()


class ObjectIndex:
    """The objects of an inventory: ``start[kind] + row`` is the number of one, ``scope`` its node and namespace."""

    def __init__(self, tables: Mapping[str, pa.Table]) -> None:
        self.tables = tables
        parts = [tables[name] for name in TABLES]
        all_scopes, self.width = scopes(
            [*parts, tables["nodes"].append_column("namespace", _nulls(tables["nodes"]))]
        )
        self.scope = dict(enumerate(all_scopes[: len(TABLES)]))
        self.node_store = all_scopes[-1] // self.width
        self.lease_rows, self.lease_of_row = _distinct(self.scope[LEASE], tables["leases"]["id"])
        self.lease_row_scope = self.scope[LEASE]
        self.scope[LEASE] = self.scope[LEASE][self.lease_rows]
        counts = [len(self.scope[kind]) for kind in range(len(TABLES))]
        self.start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def part(self, kind: int) -> slice:
        """The numbers of one kind."""
        return slice(int(self.start[kind]), int(self.start[kind + 1]))

    def per_store(self, values: Ints, default: int) -> Ints:
        """A column of the table nodes as an array over store numbers."""
        top = max((int(scope.max(initial=0)) for scope in self.scope.values()), default=0) // self.width
        out = np.full(max(top, int(self.node_store.max(initial=0))) + 1, default, np.int64)
        out[self.node_store] = values
        return out

    def releases(self) -> Ints:
        """The release of each store as 100 * major + minor."""
        versions = one_array(self.tables["nodes"]["containerd_version"])
        words = [_release(version) for version in versions.dictionary.to_pylist()] + [UNKNOWN_RELEASE]
        return self.per_store(np.array(words, np.int64)[plain_codes(versions)], UNKNOWN_RELEASE)

    def store(self) -> Ints:
        """The store of every object."""
        return np.concatenate([self.scope[kind] for kind in range(len(TABLES))]) // self.width

    def find(self, kind: int, scope: Ints, called: ObjectNames) -> Ints:
        """The numbers of the objects of a kind that have the names ``called`` in ``scope``; -1: there is none."""
        table = self.tables[TABLES[kind]]
        own = self.scope[kind]
        key, wanted, words = called.against(table[KEYS[kind]])
        if kind == SNAPSHOT:
            have, want, kinds = called.snapshotters_against(table["snapshotter"])
            own, scope = own * (kinds + 1) + have, scope * (kinds + 1) + want
        rows = find(own, key, scope, wanted, words)
        rows[rows >= 0] += self.start[kind]
        return rows

    def physical(self) -> Ints:
        """One row of blobs for each blob of a store, whichever namespaces list it."""
        node = self.scope[CONTENT] // self.width
        column = one_array(self.tables["blobs"]["digest"])
        digest = plain_codes(column)
        return find(node, digest, node, digest, len(column.dictionary))


def _nulls(table: pa.Table) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.nulls(table.num_rows, pa.int32()), pa.array([], pa.string()))


def _distinct(scope: Ints, column: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """The first row of each (scope, word), and for each row the place of its own among these."""
    words = one_array(column)
    keys = scope * (len(words.dictionary) + 1) + plain_codes(words)
    _, first, of_row = np.unique(keys, return_index=True, return_inverse=True)
    return first, of_row


def _release(version: str) -> int:
    found = re.search(r"(\d+)\.(\d+)", version)
    return int(found[1]) * 100 + int(found[2]) if found else UNKNOWN_RELEASE
