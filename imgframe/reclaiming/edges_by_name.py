"""From names to edges: who is called by a label, a lease or a record, and who calls from behind.

A back reference (2.2) holds its owner as long as anything refers to the name it gives, even where nothing of that name is
there. Such names get numbers of their own, placeholders: whatever refers to the name leads to the placeholder, the placeholder to the owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from imgframe.arrow.keys import Ints, plain_codes, ranges
from imgframe.reclaiming.gc_labels import CONTAINER, CONTENT, IMAGE, PLACEHOLDER, SNAPSHOT, LabelReferences
from imgframe.reclaiming.object_index import TABLES, ObjectIndex, ObjectNames
from imgframe.reclaiming.stages import EdgeStages

_COLUMNS = {IMAGE: "record_labels", CONTENT: "labels", SNAPSHOT: "labels", CONTAINER: "labels"}


def labelled(
    names: ObjectIndex,
    kind: int,
    texts: Ints,
    read: LabelReferences,
    releases: Ints,
    wanted: int,
    backward: bool,
) -> tuple[Ints, ObjectNames]:
    """Each label of one sort for each row whose text has it: the row, and the name it gives."""
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
    return rows, ObjectNames(read.target.take(picked), read.snapshotter.take(picked), label)


class _PlaceholderGroup(NamedTuple):
    """Placeholders of one kind: their scope, their names, their numbers."""

    scope: Ints
    called: ObjectNames
    number: Ints


class Placeholders:
    """The names that back references give, and their numbers, which follow those of all objects."""

    def __init__(self, names: ObjectIndex, read: Mapping[int, LabelReferences], releases: Ints) -> None:
        self.of: dict[int, list[_PlaceholderGroup]] = {}
        self.count = 0
        for kind, references in read.items():
            for wanted in np.unique(references.kind[references.back]).tolist():
                texts = plain_codes(names.tables[TABLES[kind]][_COLUMNS[kind]])
                rows, called = labelled(names, kind, texts, references, releases, wanted, True)
                number = int(names.start[-1]) + self.count + np.arange(len(rows))
                self.count += len(rows)
                self.of.setdefault(wanted, []).append(
                    _PlaceholderGroup(names.scope[kind][rows], called, number)
                )

    def find(self, kind: int, scope: Ints, asked: ObjectNames) -> list[tuple[Ints, Ints]]:
        """Pairs of the place in ``asked`` and the placeholder called so."""
        out = []
        for placeholders in self.of.get(kind, ()):
            own, asked_scope = placeholders.scope, scope
            have, want, words = _both(placeholders.called, asked, snapshotters=False)
            if kind == SNAPSHOT:
                have_kind, want_kind, kinds = _both(placeholders.called, asked, snapshotters=True)
                own, asked_scope = own * (kinds + 1) + have_kind, scope * (kinds + 1) + want_kind
            keys = own * (words + 1) + have
            order = np.argsort(keys, kind="stable")
            wanted = asked_scope * (words + 1) + want
            begin, end = (
                np.searchsorted(keys[order], wanted),
                np.searchsorted(keys[order], wanted, side="right"),
            )
            begin, end = np.where(want < 0, 0, begin), np.where(want < 0, 0, end)
            place = np.repeat(np.arange(len(wanted)), end - begin)
            out.append((place, placeholders.number[order[ranges(begin, end - begin)]]))
        return out


def _both(one: ObjectNames, other: ObjectNames, *, snapshotters: bool) -> tuple[Ints, Ints, int]:
    """Codes of the names (or snapshotters) of both in one space, and how many words it has."""
    column = one.snapshotters if snapshotters else one.words
    have, want, words = (other.snapshotters_against if snapshotters else other.against)(column)
    return have if one.places is None else have[one.places], want, words


class EdgeBuilder:
    """Adds edges by names."""

    def __init__(self, staging: EdgeStages, names: ObjectIndex, placeholders: Placeholders) -> None:
        self.staging = staging
        self.names = names
        self.placeholders = placeholders

    def add(self, kind: int, other: int, rows: Ints, asked: ObjectNames) -> None:
        """Edges from rows of one kind to the objects of another that they call ``asked``, in their own namespace."""
        self.add_from(kind, other, rows, self.names.scope[kind][rows], asked)

    def add_from(self, kind: int, other: int, rows: Ints, scope: Ints, asked: ObjectNames) -> None:
        """:meth:`add` with the scope in which names are looked up."""
        owner = rows + self.names.start[kind]
        self.staging.add(kind, other, owner, self.names.find(other, scope, asked))
        for place, placeholder in self.placeholders.find(other, scope, asked):
            self.staging.add(kind, PLACEHOLDER, owner[place], placeholder)

    def add_back(self, wanted: int, kind: int, rows: Ints, asked: ObjectNames) -> None:
        """Edges from what back references name to the objects that carry them."""
        owner = rows + self.names.start[kind]
        scope = self.names.scope[kind][rows]
        self.staging.add(wanted, kind, self.names.find(wanted, scope, asked), owner)
        for place, placeholder in self.placeholders.find(wanted, scope, asked):
            self.staging.add(PLACEHOLDER, kind, placeholder, owner[place])
