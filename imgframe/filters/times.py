"""Filters by the creation time of the record: until, and before or since other images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from imgframe.errors import InputError
from imgframe.filters import bounds, columns
from imgframe.filters.filter import Filter, Truth, View, refused, text_facts
from imgframe.golang import time as gotime
from imgframe.inventory import Inventory

_NEVER = 2**200
"""Later than any time, in nanoseconds."""


class _ByUntil(Filter):
    __slots__ = ("now", "read", "text")

    def __init__(self, text: str, now: Any, read: Callable[[str, int], int] = gotime.parse_until) -> None:
        self.text = text
        self.read = read
        self.now = None if now is None else gotime.to_nanoseconds(now)

    def cutoff(self, view: View) -> int:
        try:
            return self.read(self.text, view.now_ns if self.now is None else self.now)
        except InputError as error:
            raise refused(error.go, f"until={self.text}") from None

    def truth(self, view: View) -> Truth:
        cutoff = self.cutoff(view)
        created = columns.times(view.images, "created_at", "filter_until")
        return _between(created, None, created.before(cutoff))

    def facts(self, view: View) -> Any:
        limit = f"before {gotime.format_time(self.cutoff(view))}"
        words = [f"created_at is not {limit}", f"created_at is {limit}", "created_at is missing"]
        return text_facts(words, _states(self.truth(view)))

    def __str__(self) -> str:
        return f"until={self.text}"


def filter_until(until: str, *, now: Any = None) -> Filter:
    """Images whose record was created before a moment (nerdctl's FilterUntil), strictly, to the nanosecond.

    Args:
        until: RFC 3339 (``2024-02-29T12:34:56Z``), a date (midnight UTC) or a Go duration back from now (``720h``; there
            are no days).
        now: the moment that durations count back from: int nanoseconds, a Timestamp or a datetime; default: the clock
            when the filter is applied.

    The time is ``created_at``: when this name first entered this store, not that of the build, a pull or the last use. A
    missing time is unknown.

    Raises (when applied, even to an empty frame):
        FilterError: ``no until timestamp provided`` or ``unable to parse until timestamp``.

    Example:
        >>> import imgframe as imf
        >>> import pandas as pd
        >>> images = pd.DataFrame({"created_at": pd.to_datetime(["2024-01-01", "2024-03-01"], utc=True)})
        >>> imf.filter_until("2024-02-01")(images).tolist()
        [True, False]
        >>> imf.filter_until("48h", now=pd.Timestamp("2024-01-04", tz="UTC"))(images).tolist()
        [True, False]
    """
    return _ByUntil(until, now)


def _states(truth: Truth) -> Any:
    """0 false, 1 true, 2 unknown per row."""
    states = truth.yes.astype("int8")
    if truth.unknown is not None:
        states[truth.unknown] = 2
    return states


def _between(created: columns.Times, above: int | None, below: int) -> Truth:
    """Rows with ``above < tick < below``, strictly; missing times are unknown."""
    ticks = created.ticks
    yes = np.empty(len(ticks), dtype=bool)
    unknown = None
    for start in range(0, len(ticks), columns.CHUNK):
        part = slice(start, start + columns.CHUNK)
        chunk = ticks[part]
        np.less(chunk, below, out=yes[part])
        if above is not None:
            yes[part] &= chunk > above
        if chunk.min() == columns.MISSING_TIME:
            missing = chunk == columns.MISSING_TIME
            unknown = np.zeros(len(ticks), dtype=bool) if unknown is None else unknown
            unknown[part] = missing
            yes[part] &= ~missing
    return Truth(yes, unknown)


class _ByCreatedAt(Filter):
    __slots__ = ("before", "bounded", "now", "since", "store")

    def __init__(
        self,
        before: Sequence[bounds.BoundingImage],
        since: Sequence[bounds.BoundingImage],
        store: Any = None,
        now: Any = None,
        *,
        bounded: bool = True,
    ) -> None:
        self.bounded = bounded  # without entries now and 1970 are the bounds; docker has none
        self.before = tuple(before)
        self.since = tuple(since)
        self.store = store
        self.now = None if now is None else gotime.to_nanoseconds(now)

    def truth(self, view: View) -> Truth:
        now_ns, epoch = (view.now_ns if self.now is None else self.now), 0
        if not self.bounded:
            now_ns, epoch = _NEVER, -_NEVER
        created = columns.times(view.images, "created_at", "filter_by_created_at")
        if not self.before and not self.since:
            return _between(created, created.after(epoch), created.before(now_ns))
        store = view.store if self.store is None else self.store
        (rows, held), size = columns.store_numbers(view.images, store)
        upper = self._bound(self.before, store, held, size, latest=True)
        lower = self._bound(self.since, store, held, size, latest=False)
        if rows is None or size == 1:
            if any(bound is not None and not bound for bound in (upper, lower)):
                return Truth(np.zeros(len(view.images), dtype=bool), np.ones(len(view.images), dtype=bool))
            below = created.before(upper[0] if upper else now_ns)
            return _between(created, created.after(lower[0] if lower else epoch), below)
        tables = self._tables(created, upper, lower, (epoch, now_ns), size)
        return _between_stores(created, rows, *tables)

    @staticmethod
    def _tables(
        created: columns.Times, upper: Any, lower: Any, default: tuple[int, int], size: int
    ) -> tuple[Any, Any, Any]:
        """Per store number the upper bound, the lower bound, and whether both are known."""
        below = np.full(size, created.before(default[1]))
        above = np.full(size, created.after(default[0]))
        known = np.ones(size, dtype=bool)
        for bound, table, tick in ((upper, below, created.before), (lower, above, created.after)):
            if bound is None:
                continue
            for number, moment in bound.items():
                table[number] = tick(moment)
            known &= np.isin(np.arange(size), list(bound))
        return below, above, known

    def _bound(
        self,
        entries: tuple[bounds.BoundingImage, ...],
        store: pd.DataFrame,
        held: Any,
        size: int,
        *,
        latest: bool,
    ) -> dict[int, int] | None:
        """The latest or earliest creation per store number of the records that any entry matches; None: no entries.

        Raises FilterError where no store has a match.
        """
        if not entries:
            return None
        matched = bounds.any_of(entries, store)
        created = columns.times(store, "created_at", "filter_by_created_at")
        ticks = created.ticks[matched]
        numbers = np.asarray(matched * 0 if held is None else held[matched], dtype="int64")
        if not len(matched):
            raise refused(f"no such image: {','.join(entry.shown for entry in entries)}")
        best = np.full(size, -(2**63) if latest else 2**63 - 1)
        (np.maximum if latest else np.minimum).at(best, numbers, ticks)
        doubtful = np.unique(numbers[ticks == columns.MISSING_TIME])
        sure = np.setdiff1d(numbers, doubtful)  # a match without a time leaves the bound of its store unknown
        return {number: int(best[number]) * created.tick for number in sure.tolist()}

    def facts(self, view: View) -> Any:
        upper = ",".join(entry.shown for entry in self.before) or "now"
        lower = ",".join(entry.shown for entry in self.since) or "1970-01-01"
        limits = f"between {lower} and {upper}"
        missing = "created_at is missing, or this store has no such image"
        words = [f"created_at is not {limits}", f"created_at is {limits}", missing]
        return text_facts(words, _states(self.truth(view)))

    def __str__(self) -> str:
        parts = [f"before={entry.shown}" for entry in self.before]
        parts += [f"since={entry.shown}" for entry in self.since]
        return ",".join(parts) or "created before now"


def _between_stores(created: columns.Times, rows: Any, below: Any, above: Any, known: Any) -> Truth:
    """As :func:`_between` with bounds per store; rows of a store without a bound are unknown."""
    ticks = created.ticks
    yes = np.empty(len(ticks), dtype=bool)
    unknown = None
    below = np.where(known, below, columns.MISSING_TIME)  # nothing is before it
    unsure = not known.all()
    later, limits = np.empty(columns.CHUNK, dtype=bool), np.empty(columns.CHUNK, dtype="int64")
    same = bool((above == above[0]).all())
    for start in range(0, len(ticks), columns.CHUNK):
        part = slice(start, start + columns.CHUNK)
        chunk, numbers = ticks[part], rows[part]
        size = len(chunk)
        if not same:
            np.take(above, numbers, out=limits[:size], mode="wrap")
        np.greater(chunk, above[0] if same else limits[:size], out=later[:size])
        np.take(below, numbers, out=limits[:size], mode="wrap")
        np.less(chunk, limits[:size], out=yes[part])
        yes[part] &= later[:size]
        if unsure or chunk.min() == columns.MISSING_TIME:
            unknown = np.zeros(len(ticks), dtype=bool) if unknown is None else unknown
            np.equal(limits[:size], columns.MISSING_TIME, out=unknown[part])
            unknown[part] |= chunk == columns.MISSING_TIME
    return Truth(yes, unknown if unknown is not None and unknown.any() else None)


def filter_by_created_at(
    before: Sequence[str] | str = (), since: Sequence[str] | str = (), *, store: Any = None, now: Any = None
) -> Filter:
    """Images created before and since other images (nerdctl's FilterByCreatedAt), both strictly.

    The upper bound is the latest ``created_at`` of the images that any entry of ``before`` names, the lower bound the
    earliest of those that ``since`` names. Without ``before`` it is now, without ``since`` it is 1970-01-01: older images,
    and images of the future, are dropped even by a filter without entries.

    Args:
        before: names of images, as typed or normalised (``alpine`` finds both ``docker.io/library/alpine:latest``
            and a record called ``alpine``). An entry with ``==``, ``~=`` or ``!=`` is one of containerd's filter expressions
            (``name~=^docker.io``, ``labels."a/b"==c``, ``target.digest==sha256:…``); ``""`` matches every image.
        since: as ``before``.
        store: the frame (or Inventory) in which the names are looked up; default: the frame the filter is applied to
            (in a composition the whole frame, not what is left of it).
        now: upper bound without ``before``: int nanoseconds, a Timestamp or a datetime; default: the clock when applied.

    Names are looked up per (node, namespace): a name found in no store is an error, in a store that has none of them the
    rows are unknown.

    Raises (when applied):
        FilterError: ``no such image: …``, or containerd's message about a malformed expression.

    Example:
        >>> import imgframe as imf
        >>> import pandas as pd
        >>> images = pd.DataFrame({
        ...     "name": ["docker.io/library/alpine:latest", "docker.io/library/nginx:1"],
        ...     "created_at": pd.to_datetime(["2024-01-01", "2024-03-01"], utc=True),
        ... })
        >>> images[imf.filter_by_created_at(since=["alpine"])]["name"].tolist()
        ['docker.io/library/nginx:1']
    """
    found = store.images if isinstance(store, Inventory) else store
    if found is not None and not isinstance(found, pd.DataFrame):
        raise InputError(f"store is {type(store).__name__}; expected a DataFrame of images or an Inventory")
    return _ByCreatedAt(bounds.entries(before), bounds.entries(since), found, now)
