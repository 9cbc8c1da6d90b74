"""From names to edges: who is called by a label, a lease or a record, and who calls from behind.

A back reference (2.2) holds its owner as long as anything refers to the name it gives, even where nothing of that name is
there. Such names get numbers of their own, ghosts: whatever refers to the name leads to the ghost, the ghost to the owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from imgframe.reclaiming.naming import TABLES, Names
from imgframe.reclaiming.references import CONTAINER, CONTENT, GHOST, IMAGE, SNAPSHOT, References
from imgframe.reclaiming.staging import Staging
from imgframe.usage.rows import Ints, plain_codes, ranges, unify

_COLUMNS = {IMAGE: "record_labels", CONTENT: "labels", SNAPSHOT: "labels", CONTAINER: "labels"}


def taken(values: pa.Array, places: Ints) -> pa.DictionaryArray:
    """``values[places]`` as a dictionary column."""
    words = values.dictionary_encode()
    return pa.DictionaryArray.from_arrays(
        pa.array(plain_codes(words)[places].astype(np.int32)), words.dictionary
    )


def labelled(
    names: Names, kind: int, texts: Ints, read: References, releases: Ints, wanted: int, backward: bool
) -> tuple[Ints, pa.DictionaryArray, pa.DictionaryArray]:
    """Each label of one sort for each row whose text has it: the row, the name and the snapshotter it gives."""
    at = np.flatnonzero((read.kind == wanted) & (read.back == backward))
    text, since = read.text[at], read.since[at]
    bounds = np.searchsorted(text, np.arange(int(texts.max(initial=0)) + 2))
    degree = np.append(bounds[1:] - bounds[:-1], 0)[texts]  # the last is that of no text
    rows = np.flatnonzero(degree)
    degree = degree[rows]
    label = ranges(bounds[texts[rows]], degree)
    rows = np.repeat(rows, degree)
    if since.any():
        counts = releases[names.scope[kind][rows] // names.width] >= since[label]
        rows, label = rows[counts], label[counts]
    picked = pa.array(at)
    return rows, taken(read.target.take(picked), label), taken(read.snapshotter.take(picked), label)


class _Called(NamedTuple):
    """Ghosts of one kind: their scope (with the snapshotter), their names, their numbers."""

    scope: Ints
    name: pa.DictionaryArray
    snapshotter: pa.DictionaryArray
    number: Ints


class Ghosts:
    """The names that back references give, and their numbers, which follow those of all objects."""

    def __init__(self, names: Names, read: Mapping[int, References], releases: Ints) -> None:
        self.called: dict[int, list[_Called]] = {}
        self.count = 0
        for kind, references in read.items():
            for wanted in sorted(
                {w for w, back in zip(references.kind, references.back, strict=True) if back}
            ):
                texts = plain_codes(names.tables[TABLES[kind]][_COLUMNS[kind]])
                rows, name, snapshotter = labelled(names, kind, texts, references, releases, wanted, True)
                number = int(names.start[-1]) + self.count + np.arange(len(rows))
                self.count += len(rows)
                called = _Called(names.scope[kind][rows], name, snapshotter, number)
                self.called.setdefault(wanted, []).append(called)

    def find(
        self, kind: int, scope: Ints, asked: pa.Array, snapshotter: pa.Array | None
    ) -> list[tuple[Ints, Ints]]:
        """Pairs of the place in ``asked`` and the ghost called so."""
        out = []
        for called in self.called.get(kind, ()):
            (have, want), words = unify([called.name, asked])
            own, asked_scope = called.scope, scope
            if kind == SNAPSHOT:
                (have_kind, want_kind), kinds = unify([called.snapshotter, snapshotter])
                own = own * (len(kinds) + 1) + have_kind
                asked_scope = scope * (len(kinds) + 1) + want_kind
            keys = own * (len(words) + 1) + have
            order = np.argsort(keys, kind="stable")
            wanted = asked_scope * (len(words) + 1) + want
            begin, end = (
                np.searchsorted(keys[order], wanted),
                np.searchsorted(keys[order], wanted, side="right"),
            )
            begin, end = np.where(want < 0, 0, begin), np.where(want < 0, 0, end)
            out.append(
                (
                    np.repeat(np.arange(len(wanted)), end - begin),
                    called.number[order[ranges(begin, end - begin)]],
                )
            )
        return out


class Linker:
    """Adds edges by names."""

    def __init__(self, staging: Staging, names: Names, ghosts: Ghosts) -> None:
        self.staging = staging
        self.names = names
        self.ghosts = ghosts

    def add(
        self, kind: int, other: int, rows: Ints, asked: pa.Array, snapshotter: pa.Array | None = None
    ) -> None:
        """Edges from rows of one kind to the objects of another that they call ``asked``, in their own namespace."""
        self.add_from(kind, other, rows, self.names.scope[kind][rows], asked, snapshotter)

    def add_from(
        self,
        kind: int,
        other: int,
        rows: Ints,
        scope: Ints,
        asked: pa.Array,
        snapshotter: pa.Array | None = None,
    ) -> None:
        """:meth:`add` with the scope in which names are looked up."""
        owner = rows + self.names.start[kind]
        self.staging.add(kind, other, owner, self.names.find(other, scope, asked, snapshotter))
        for place, ghost in self.ghosts.find(other, scope, asked, snapshotter):
            self.staging.add(kind, GHOST, owner[place], ghost)

    def add_back(
        self, wanted: int, kind: int, rows: Ints, asked: pa.Array, snapshotter: pa.Array | None
    ) -> None:
        """Edges from what back references name to the objects that carry them."""
        if not len(rows):
            return
        owner = rows + self.names.start[kind]
        scope = self.names.scope[kind][rows]
        self.staging.add(wanted, kind, self.names.find(wanted, scope, asked, snapshotter), owner)
        for place, ghost in self.ghosts.find(wanted, scope, asked, snapshotter):
            self.staging.add(GHOST, kind, ghost, owner[place])
