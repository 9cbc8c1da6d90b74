"""Edges of the graph that hold for a time only: conditional references, from objects to the snapshots that these name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from imgframe.arrow.keys import Bools, Ints
from imgframe.reclaiming.conditions import SINCE, Condition
from imgframe.reclaiming.edges_by_name import label_rows
from imgframe.reclaiming.gc_labels import SNAPSHOT
from imgframe.reclaiming.object_index import ObjectIndex, ObjectNames

_EVER = np.iinfo(np.int64)


class ConditionalEdges(NamedTuple):
    """Edges that hold at a time (ns) between two others, both excluded."""

    source: Ints
    target: Ints
    after: Ints
    before: Ints

    def at(self, moment: Ints | int) -> Bools:
        """Which of them hold at a time, or at a time for each."""
        return (self.after < moment) & (moment < self.before)


class LabelledConditions(NamedTuple):
    """The objects of one kind that may have conditions: the number of each row's label text, and what these texts say."""

    kind: int
    texts: Ints
    conditions: Sequence[Condition]


def conditional_edges(
    index: ObjectIndex,
    owners: Iterable[LabelledConditions],
    texts: Ints,
    used_at: Sequence[tuple[int, int]],
    releases: Ints,
) -> ConditionalEdges:
    """The edges from objects with conditions to the snapshots that these name.

    ``texts`` is the number of each snapshot's label text, ``used_at`` pairs of such a number and a time.
    """
    used = sorted(used_at)
    used_text = np.array([text for text, _ in used], np.int64)
    made = [_edges(index, owner, texts, used, used_text, releases) for owner in owners if owner.conditions]
    none = np.empty(0, np.int64)
    return ConditionalEdges(
        *(np.concatenate([none, *parts]) for parts in zip(*made, strict=True)) if made else [none] * 4
    )


def _edges(
    index: ObjectIndex,
    owner: LabelledConditions,
    texts: Ints,
    used: Sequence[tuple[int, int]],
    used_text: Ints,
    releases: Ints,
) -> ConditionalEdges:
    conditions = sorted(owner.conditions)
    rows, label = label_rows(owner.texts, np.array([each.text for each in conditions], np.int64))
    decides = releases[index.scope[owner.kind][rows] // index.width] >= SINCE
    rows, label = rows[decides], label[decides]
    called = ObjectNames(
        pa.array([each.key for each in conditions]),
        pa.array([each.snapshotter for each in conditions]),
        label,
    )
    found = index.find(SNAPSHOT, index.scope[owner.kind][rows], called)
    there = np.flatnonzero(found >= 0)
    place, time = label_rows(texts[found[there] - index.start[SNAPSHOT]], used_text)
    place = there[place]
    chosen = [conditions[at] for at in label[place].tolist()]
    below = np.array([each.below for each in chosen], np.bool_)
    limits = [used[at][1] + each.age for at, each in zip(time.tolist(), chosen, strict=True)]
    limit = np.array([max(min(each, _EVER.max), _EVER.min) for each in limits], np.int64)
    return ConditionalEdges(
        rows[place] + index.start[owner.kind],
        found[place],
        np.where(below, _EVER.min, limit),
        np.where(below, limit, _EVER.max),
    )
