"""The cheapest set of images that frees enough, where shared bytes are freed only with their last holder.

Pure numbers: units (images deleted together) with a cost each, and objects (blobs, snapshots) with a size and the units that
hold them. Freed bytes are supermodular (two images that share a base free more together than apart), so neither oldest first
nor largest first is optimal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Ints = np.ndarray
EXACT = 18
"""The number of units up to which every set is tried."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Objects and their holders: object ``o`` has ``size[o]`` bytes and is held by ``unit[start[o]:start[o + 1]]``."""

    size: Ints
    start: Ints
    unit: Ints
    units: int

    def freed(self, chosen: np.ndarray) -> int:
        """Bytes freed by deleting the units ``chosen`` (booleans): those of objects that no other unit holds."""
        return int(self.size[self.left(chosen) == 0].sum())

    def left(self, chosen: np.ndarray) -> Ints:
        """By how many units outside ``chosen`` each object is held."""
        if not len(self.size):
            return np.zeros(0, np.int64)
        return np.add.reduceat(np.append(~chosen[self.unit], False), self.start[:-1]).astype(np.int64)

    def only(self, units: Ints) -> np.ndarray:
        """These units as booleans."""
        chosen = np.zeros(self.units, dtype=bool)
        chosen[units] = True
        return chosen

    def by_unit(self) -> list[Ints]:
        """The objects of each unit."""
        thing = np.repeat(np.arange(len(self.size)), np.diff(self.start))
        order = np.argsort(self.unit, kind="stable")
        return np.split(thing[order], np.searchsorted(self.unit[order], np.arange(1, self.units)))


def merge(size: Ints, start: Ints, unit: Ints, units: int) -> Sharing:
    """The sharing with one object for all that have the same holders, without those that have none."""
    thing = np.repeat(np.arange(len(size)), np.diff(start))
    pairs = np.unique(thing * max(units, 1) + unit)
    thing, unit = pairs // max(units, 1), pairs % max(units, 1)
    held, first = np.unique(thing, return_index=True)
    bounds = np.append(first, len(unit))
    raw, width = unit.astype(np.int64).tobytes(), np.dtype(np.int64).itemsize
    groups: dict[bytes, int] = {}
    group = [
        groups.setdefault(raw[begin:end], len(groups))
        for begin, end in zip((bounds[:-1] * width).tolist(), (bounds[1:] * width).tolist(), strict=True)
    ]
    sizes = np.zeros(len(groups), dtype=np.int64)
    np.add.at(sizes, np.array(group, dtype=np.int64), size[held])
    counts = np.array([len(key) // width for key in groups], dtype=np.int64)
    return Sharing(
        sizes,
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.frombuffer(b"".join(groups), np.int64),
        units,
    )


def choose(sharing: Sharing, cost: np.ndarray, target: int, orders: tuple[Ints, ...] = ()) -> np.ndarray:
    """Booleans: a cheap set of units that frees at least ``target`` bytes, or all that free anything if they do not suffice.

    Up to :data:`EXACT` units the cheapest set. Beyond that the cheapest of several greedy solutions, each without units that
    prove unnecessary; among them the first units of each of ``orders`` (oldest first, largest first), so that the result is
    never worse than those.
    """
    if target <= 0:
        return np.zeros(sharing.units, dtype=bool)
    everything = sharing.only(sharing.unit)
    if sharing.freed(everything) < target:
        return everything
    if sharing.units <= EXACT:
        return _cheapest_of_all(sharing, cost, target)
    ways = [_greedy(sharing, cost, target), _bundled(sharing, cost, target)]
    ways += [_first(sharing, order, target) for order in orders]
    trimmed = (_trimmed(sharing, cost, target, way) for way in ways)
    return min(trimmed, key=lambda chosen: (float(cost[chosen].sum()), sharing.freed(chosen)))


def _cheapest_of_all(sharing: Sharing, cost: np.ndarray, target: int) -> np.ndarray:
    """The cheapest of all sets; freed bytes and costs by sums over subsets."""
    units = sharing.units
    freed = np.zeros(1 << units, dtype=np.int64)
    masks = np.bitwise_or.reduceat(np.append(1 << sharing.unit, 0), sharing.start[:-1])
    np.add.at(freed, masks, sharing.size)
    price = np.zeros(1 << units)
    for one in range(units):
        halves = freed.reshape(-1, 2, 1 << one)
        halves[:, 1] += halves[:, 0]
        price.reshape(-1, 2, 1 << one)[:, 1] += cost[one]
    enough = np.flatnonzero(freed >= target)
    best = enough[np.lexsort((freed[enough], price[enough]))[0]]
    return ((int(best) >> np.arange(units)) & 1).astype(bool)


def _first(sharing: Sharing, order: Ints, target: int) -> np.ndarray:
    """The shortest prefix of an order that frees enough, by bisection: more units never free less."""
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        enough = sharing.freed(sharing.only(order[:middle])) >= target
        low, high = (low, middle) if enough else (middle + 1, high)
    return sharing.only(order[:low])


def _greedy(sharing: Sharing, cost: np.ndarray, target: int) -> np.ndarray:
    """Unit by unit, best credit per cost first; a shared object is credited in equal parts to its remaining holders."""
    counts = np.diff(sharing.start)
    left = counts.copy()
    of_unit = sharing.by_unit()
    credit = np.zeros(sharing.units)
    np.add.at(credit, sharing.unit, np.repeat(sharing.size / np.maximum(counts, 1), counts))
    chosen, freed = np.zeros(sharing.units, dtype=bool), 0
    price = np.maximum(cost, 1e-9)
    while freed < target:
        one = int(np.argmax(np.where(chosen, -1.0, credit / price)))
        chosen[one] = True
        for thing in of_unit[one]:
            left[thing] -= 1
            if left[thing] == 0:
                freed += int(sharing.size[thing])
            else:
                others = sharing.unit[sharing.start[thing] : sharing.start[thing + 1]]
                credit[others] += sharing.size[thing] * (1 / left[thing] - 1 / (left[thing] + 1))
    return chosen


def _bundled(sharing: Sharing, cost: np.ndarray, target: int) -> np.ndarray:
    """Object by object, with all its remaining holders at once, best size per cost first."""
    chosen, freed = np.zeros(sharing.units, dtype=bool), 0
    counts = np.diff(sharing.start)
    owner = np.repeat(np.arange(len(sharing.size)), counts)
    while freed < target:
        open_ = ~chosen[sharing.unit]
        price = np.bincount(owner, weights=cost[sharing.unit] * open_, minlength=len(sharing.size))
        waiting = np.bincount(owner, weights=open_, minlength=len(sharing.size)) > 0
        thing = int(np.argmax(np.where(waiting, sharing.size / np.maximum(price, 1e-9), -1.0)))
        chosen[sharing.unit[sharing.start[thing] : sharing.start[thing + 1]]] = True
        freed = sharing.freed(chosen)
    return chosen


def _trimmed(sharing: Sharing, cost: np.ndarray, target: int, chosen: np.ndarray) -> np.ndarray:
    """The set without unnecessary units, the most expensive dropped first."""
    chosen = chosen.copy()
    of_unit, left = sharing.by_unit(), sharing.left(chosen)
    freed = int(sharing.size[left == 0].sum())
    for one in sorted(np.flatnonzero(chosen), key=lambda unit: -cost[unit]):
        things = of_unit[one]
        lost = int(sharing.size[things[left[things] == 0]].sum())
        if freed - lost >= target:
            chosen[one] = False
            left[things] += 1
            freed -= lost
    return chosen
