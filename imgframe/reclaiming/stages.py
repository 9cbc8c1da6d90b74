"""The edges of the graph in an order in which one pass carries a value from the roots to the ends of all chains."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from imgframe.arrow.keys import Bools, Ints, stable_order
from imgframe.reclaiming.gc_labels import CONTAINER, CONTENT, IMAGE, LEASE, PLACEHOLDER, SANDBOX, SNAPSHOT

_ROUNDS = 12
"""Documents nested deeper than this (an index in an index in …) are repeated until nothing changes instead."""


class Edges(NamedTuple):
    """Edges of one stage: ``source[i]`` keeps ``target[i]``."""

    source: Ints
    target: Ints


def push_true(values: Bools, source: Ints, target: Ints) -> None:
    """Mark the targets of marked sources."""
    values[target[values[source]]] = True


def push_min(values: Ints, source: Ints, target: Ints) -> None:
    """Lower the targets to the values of their sources."""
    np.minimum.at(values, target, values[source])


def push_max(values: Ints, source: Ints, target: Ints) -> None:
    """Raise the targets to the values of their sources."""
    np.maximum.at(values, target, values[source])


class EdgeStages:
    """Takes edges by the kinds of their ends and returns them in stages.

    First come the edges to image records, then those from records, containers and leases to what they hold, from content to
    content level by level, from content to snapshots, and from snapshots to their parents, deepest first. Edges against that
    order (rare labels, back references and cycles) are kept apart.
    """

    def __init__(self, start: Ints) -> None:
        self.start = start
        self._early: list[Edges] = []
        self._first: list[Edges] = []
        self._content: list[Edges] = []
        self._down: list[Edges] = []
        self._late: list[Edges] = []

    def add(self, kind: int, other: int, source: Ints, target: Ints) -> None:
        """Add edges from objects of one kind to objects of another, without those whose end does not exist (-1)."""
        there = (target >= 0) & (source >= 0)
        edges = Edges(source, target) if there.all() else Edges(source[there], target[there])
        if not len(edges.source):
            return
        if other == IMAGE and kind in {CONTAINER, LEASE, SANDBOX}:
            self._early.append(edges)
        elif kind in {IMAGE, CONTAINER, LEASE, SANDBOX} and other not in {IMAGE, CONTAINER, PLACEHOLDER}:
            self._first.append(edges)
        elif (kind, other) == (CONTENT, CONTENT):
            self._content.append(edges)
        elif (kind, other) == (CONTENT, SNAPSHOT):
            self._down.append(edges)
        else:
            self._late.append(edges)

    @property
    def images_kept_by_objects(self) -> bool:
        """Whether content, snapshots or records keep image records (by labels of 2.x that are hardly ever set)."""
        image = self.start[IMAGE + 1]
        return any(bool((edges.target < image).any()) for edges in self._late)

    def stages(self, parent: Ints, depth: Ints, cycle: Bools) -> tuple[list[Edges], list[Edges], Edges]:
        """The edges to image records, the other stages in order, and the edges against the order."""
        stages = [*self._first, *self._levels(), *self._down, *self._parents(parent, depth, cycle)]
        return self._early, stages, _joined(self._late)

    def _levels(self) -> list[Edges]:
        """The edges from content to content: those into a blob come before those out of it."""
        source, target = _joined(self._content)
        if not len(source):
            return []
        begin = self.start[CONTENT]
        level = np.zeros(self.start[CONTENT + 1] - begin, np.int8)
        rest, from_, to = None, source - begin, target - begin
        for number in range(1, _ROUNDS):
            level[to] = number
            rest = np.flatnonzero(level[from_] == number)
            from_, to = from_[rest], to[rest]
            if not len(rest):
                break
        at, to_level = level[source - begin], level[target - begin]
        against = to_level <= at
        if against.any():
            self._late.append(Edges(source[against], target[against]))
            source, target, at = source[~against], target[~against], at[~against]
        if not at.any():
            return [Edges(source, target)]
        return [Edges(source[at == number], target[at == number]) for number in np.unique(at).tolist()]

    def _parents(self, parent: Ints, depth: Ints, cycle: Bools) -> list[Edges]:
        begin = self.start[SNAPSHOT]
        turning = np.flatnonzero(cycle & (parent >= 0))
        if len(turning):
            self._late.append(Edges(begin + turning, begin + parent[turning]))
        rows = np.flatnonzero(~cycle & (parent >= 0))
        deep = depth[rows]
        order = stable_order(deep)
        rows = rows[order]
        bounds = np.searchsorted(deep[order], np.arange(int(deep.max(initial=0)) + 2))
        parts = [rows[bounds[level] : bounds[level + 1]] for level in range(len(bounds) - 2, -1, -1)]
        return [Edges(begin + part, begin + parent[part]) for part in parts if len(part)]


def _joined(edges: list[Edges]) -> Edges:
    if len(edges) == 1:
        return edges[0]
    none = np.empty(0, np.int64)
    return Edges(
        np.concatenate([none, *(edge.source for edge in edges)]),
        np.concatenate([none, *(edge.target for edge in edges)]),
    )
