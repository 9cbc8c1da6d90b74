"""Edges from the names in labels, leases and records; references and back references.

A back reference (2.2) holds its owner as long as anything refers to the name that it gives, even where no object has that
name. Such names get numbers of their own, as placeholders: whatever refers to the name refers to the placeholder, and the
placeholder keeps the owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from imgframe.arrow.keys import Ints, plain_codes, ranges
from imgframe.reclaiming.gc_labels import PLACEHOLDER, SNAPSHOT, LabelReferences
from imgframe.reclaiming.object_index import LABEL_COLUMNS, TABLES, ObjectIndex, ObjectNames
from imgframe.reclaiming.stages import EdgeStages


def labelled(
    index: ObjectIndex,
    kind: int,
    texts: Ints,
    read: LabelReferences,
    releases: Ints,
    wanted: int,
    backward: bool,
) -> tuple[Ints, ObjectNames]:
    """The references of one kind and direction in a label column: the row of each, and the name that it gives."""
    at = np.flatnonzero((read.kind == wanted) & (read.back == backward))
    since = read.since[at]
    rows, label = label_rows(texts, read.text[at])
    if since.any():
        counts = releases[index.scope[kind][rows] // index.width] >= since[label]
        rows, label = rows[counts], label[counts]
    picked = pa.array(at)
    return rows, ObjectNames(read.target.take(picked), read.snapshotter.take(picked), label)


def label_rows(texts: Ints, text: Ints) -> tuple[Ints, Ints]:
    """Pairs of a row and the place of a label in it; ``texts`` is each row's label text, ``text`` each label's, sorted."""
    bounds = np.searchsorted(text, np.arange(int(texts.max(initial=0)) + 2))
    degree = np.append(bounds[1:] - bounds[:-1], 0)[texts]  # the last is for rows without labels
    rows = np.flatnonzero(degree)
    degree = degree[rows]
    return np.repeat(rows, degree), ranges(bounds[texts[rows]], degree)


class _PlaceholderGroup(NamedTuple):
    """Placeholders of one kind: scopes, names and numbers."""

    scope: Ints
    called: ObjectNames
    number: Ints


class Placeholders:
    """The names that back references give; their numbers follow those of all objects."""

    def __init__(self, index: ObjectIndex, read: Mapping[int, LabelReferences], releases: Ints) -> None:
        self.of: dict[int, list[_PlaceholderGroup]] = {}
        self.count = 0
        for kind, references in read.items():
            for wanted in np.unique(references.kind[references.back]).tolist():
                texts = plain_codes(index.tables[TABLES[kind]][LABEL_COLUMNS[kind]])
                rows, called = labelled(index, kind, texts, references, releases, wanted, True)
                number = int(index.start[-1]) + self.count + np.arange(len(rows))
                self.count += len(rows)
                self.of.setdefault(wanted, []).append(
                    _PlaceholderGroup(index.scope[kind][rows], called, number)
                )

    def find(self, kind: int, scope: Ints, asked: ObjectNames) -> list[tuple[Ints, Ints]]:
        """Pairs of a place in ``asked`` and a placeholder of that name."""
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
    """Codes of the names (or snapshotters) of both in one space, and the number of words in it."""
    column = one.snapshotters if snapshotters else one.words
    have, want, words = (other.snapshotters_against if snapshotters else other.against)(column)
    return have if one.places is None else have[one.places], want, words


class EdgeBuilder:
    """Adds edges whose ends are given by name."""

    def __init__(self, edges: EdgeStages, index: ObjectIndex, placeholders: Placeholders) -> None:
        self.edges = edges
        self.index = index
        self.placeholders = placeholders

    def add(self, kind: int, other: int, rows: Ints, asked: ObjectNames) -> None:
        """Add edges from rows of one kind to the objects of another that they name ``asked``, in their own namespace."""
        self.add_from(kind, other, rows, self.index.scope[kind][rows], asked)

    def add_from(self, kind: int, other: int, rows: Ints, scope: Ints, asked: ObjectNames) -> None:
        """:meth:`add` with the scope in which names are looked up."""
        owner = rows + self.index.start[kind]
        self.edges.add(kind, other, owner, self.index.find(other, scope, asked))
        for place, placeholder in self.placeholders.find(other, scope, asked):
            self.edges.add(kind, PLACEHOLDER, owner[place], placeholder)

    def add_back(self, wanted: int, kind: int, rows: Ints, asked: ObjectNames) -> None:
        """Add edges from what back references name to the objects that carry them."""
        owner = rows + self.index.start[kind]
        scope = self.index.scope[kind][rows]
        self.edges.add(wanted, kind, self.index.find(wanted, scope, asked), owner)
        for place, placeholder in self.placeholders.find(wanted, scope, asked):
            self.edges.add(PLACEHOLDER, kind, placeholder, owner[place])
