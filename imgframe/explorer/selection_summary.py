"""What a selection frees, who holds the rest, and what a plan would keep: as numbers and as sentences."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe.arrow.keys import numbers, one_array, plain_codes, sums
from imgframe.inventory import Inventory, human_bytes, memoised
from imgframe.planning.requested import KEY, records_of
from imgframe.planning.retention import RetentionRules
from imgframe.reclaiming import Reclaim, reclaim

_HOLDERS = {
    "image": "other images",
    "container": "containers",
    "lease": "leases",
    "label": "gc.root labels",
    "ingest": "unfinished writes",
    "namespace": "other namespaces",
}
_NAMES, _LONG = 2, 56
"""How many holders of a kind are named, and in how many characters; the rest are counted."""


@dataclass(frozen=True)
class SelectionSummary:
    """What deleting the records at ``positions`` frees, and what a plan with the default rules would do.

    ``whole``: all selected records are deleted. ``planned``: without those that a plan keeps; ``kept`` counts these by reason.
    """

    positions: np.ndarray
    whole: Reclaim
    planned: Reclaim
    kept: dict[str, int]

    def sentences(self) -> list[str]:
        """The summary, one string per sentence; plain text with names unescaped.

        Example:
            >>> summarize(Inventory({}), np.array([], np.int64)).sentences()
            ['Nothing is selected.']
        """
        count = len(self.positions)
        if not count:
            return ["Nothing is selected."]
        total = self.whole.total_bytes
        what = "This image" if count == 1 else f"This selection of {count:,} images"
        first = f"{what} frees {self._sure} {human_bytes(total)} ({total:,} bytes)"
        if self.whole.garbage_bytes:
            first += f", {human_bytes(self.whole.garbage_bytes)} of which is already garbage"
        if unknown := self.whole.arrow("unknown").num_rows:
            first += f", not counting {unknown:,} snapshot{'' if unknown == 1 else 's'} of unknown size"
        if unread := self.whole.arrow("unread").num_rows:
            first += f", as {unread:,} list{'' if unread == 1 else 's'} of these stores could not be read (freed.unread)"
        return [f"{first}.", *self._held(), self._plan(count)]

    @property
    def _sure(self) -> str:
        return "at most" if self.whole.arrow("unread").num_rows else "exactly"

    def _held(self) -> list[str]:
        """Who holds what the images refer to that stays."""
        held = held_by(self.whole.arrow("held"))
        if not held:
            return []
        total = human_bytes(sum(size for size, _ in held.values()))
        largest = sorted(held.items(), key=lambda item: -item[1][0])
        parts = [
            (human_bytes(size), f"{_HOLDERS[kind]} ({_listed(names)})") for kind, (size, names) in largest
        ]
        if len(parts) == 1:
            return [f"{total} stays, held by {parts[0][1]}."]
        return [f"{total} stays: {', '.join(f'{size} held by {who}' for size, who in parts)}."]

    def _plan(self, count: int) -> str:
        kept = sum(self.kept.values())
        if not kept:
            return "A plan deletes it." if count == 1 else "A plan deletes all of them."
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in self.kept.items())
        total = self.planned.total_bytes
        if kept == count:
            return f"A plan keeps {'it' if count == 1 else 'all of them'} ({reasons}) and frees nothing."
        return f"A plan keeps {kept:,} of them ({reasons}) and frees {self._sure} {human_bytes(total)} ({total:,} bytes)."


def summarize(inventory: Inventory, positions: np.ndarray) -> SelectionSummary:
    """What deleting the records at ``positions`` of ``inventory.images`` frees."""
    images = inventory.images[list(KEY)]
    if not len(positions):
        nothing = reclaim(inventory, images.iloc[:0])
        return SelectionSummary(positions, nothing, nothing, {})
    reasons = kept_because(inventory)[positions]
    free = np.array([reason is None for reason in reasons], bool)
    whole = reclaim(inventory, images.iloc[positions])
    planned = whole if free.all() else reclaim(inventory, images.iloc[positions[free]])
    return SelectionSummary(positions, whole, planned, dict(Counter(reasons[~free].tolist()).most_common()))


@memoised
def kept_because(inventory: Inventory) -> np.ndarray:
    """For each record of the inventory why a plan with the default rules keeps it, None if it may be deleted.

    Example:
        >>> kept_because(Inventory({})).tolist()
        []
    """
    records = records_of(inventory.images[[*KEY, "digest"]], inventory, "explore")
    reasons: np.ndarray = RetentionRules().reasons(records, inventory)
    return reasons


def held_by(held: pa.Table) -> dict[str, tuple[int, list[str]]]:
    """The bytes that stay and their holders, by kind of holder, largest first; a blob of several namespaces counts once.

    Example:
        >>> import imgframe as imf
        >>> held_by(imf.reclaim(imf.Inventory({}), imf.Inventory({}).images).arrow("held"))
        {}
    """
    if not held.num_rows:
        return {}
    node, key, kind, holder = (plain_codes(held[name]) for name in ("node", "key", "holder_kind", "holder"))
    content = pc.equal(held["kind"].cast(pa.string()), "content").to_numpy()
    rows = np.arange(held.num_rows)
    _, first = np.unique(node[content] * (key.max() + 1) + key[content], return_index=True)
    rows = np.concatenate([rows[content][first], rows[~content]])
    pairs, at = np.unique(kind[rows] * (holder.max() + 2) + holder[rows] + 1, return_inverse=True)
    sizes = sums(numbers(held["size"])[0][rows], at, len(pairs))
    kinds = one_array(held["holder_kind"]).dictionary.to_pylist()
    names = [*one_array(held["holder"]).dictionary.to_pylist(), "unnamed"]
    out: dict[str, tuple[int, list[str]]] = {}
    for place in np.argsort(-sizes, kind="stable").tolist():
        kind_code, holder_code = divmod(int(pairs[place]), int(holder.max()) + 2)
        total, listed = out.get(kinds[kind_code], (0, []))
        listed.append(names[holder_code - 1])
        out[kinds[kind_code]] = total + int(sizes[place]), listed
    return out


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMES
    return ", ".join(map(_short, names[:_NAMES])) + (f" and {more:,} more" if more > 0 else "")


def _short(name: str) -> str:
    """A name, without its middle if it is long."""
    return name if len(name) <= _LONG else f"{name[: _LONG // 2]}…{name[-(_LONG // 2 - 1) :]}"
