"""Filters: a predicate over the rows of a frame of images (true, false or unknown), and how predicates compose."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from imgframe.errors import FilterError, InputError
from imgframe.filters import columns


def refused(go: str, more: str = "") -> FilterError:
    """A FilterError with Go's message, followed by ``more`` in parentheses."""
    return FilterError(f"{go} ({more})" if more else go, go=go)


class Truth(NamedTuple):
    """A result per row: ``yes``, and ``unknown`` (None: no row is), which are never both true."""

    yes: Any
    unknown: Any = None

    def both(self, other: Truth) -> Truth:
        """And: false where either is false, unknown where neither decides."""
        yes = self.yes & other.yes
        if self.unknown is None and other.unknown is None:
            return Truth(yes)
        return Truth(yes, self.possible & other.possible & ~yes)

    def either(self, other: Truth) -> Truth:
        """Or: true where either is true, unknown where neither decides."""
        yes = self.yes | other.yes
        if self.unknown is None and other.unknown is None:
            return Truth(yes)
        return Truth(yes, (self.possible | other.possible) & ~yes)

    def inverse(self) -> Truth:
        """Not: unknown stays unknown."""
        return Truth(~self.possible, self.unknown)

    @property
    def possible(self) -> Any:
        """Which rows are true or unknown."""
        return self.yes if self.unknown is None else self.yes | self.unknown

    def array(self) -> Any:
        """The results as a nullable boolean array of pandas."""
        unknown = np.zeros(len(self.yes), dtype=bool) if self.unknown is None else self.unknown
        return pd.arrays.BooleanArray(self.yes, unknown)


class View:
    """What a filter is evaluated on: the frame, which rows still matter, where names are looked up, and the clock.

    Rows that do not matter (an earlier filter dropped them) have a result too, but raise no error.
    """

    __slots__ = ("images", "matters", "now_ns", "store")

    def __init__(
        self, images: pd.DataFrame, store: pd.DataFrame, matters: Any = None, now_ns: int | None = None
    ) -> None:
        self.images = images
        self.store = store
        self.matters = matters
        self.now_ns = time.time_ns() if now_ns is None else now_ns

    @classmethod
    def of(cls, images: Any) -> View:
        """The whole frame, which is also the store."""
        if not isinstance(images, pd.DataFrame):
            raise InputError(f"a filter is applied to a DataFrame of images, not to {type(images).__name__}")
        return cls(images, images)

    def narrow(self, kept: Any) -> View:
        """The same where only rows that matter so far and are ``kept`` matter."""
        matters = kept if self.matters is None else self.matters & kept
        return View(self.images, self.store, matters, self.now_ns)


class Filter(ABC):
    """A predicate over the rows of a frame of images.

    Called with a frame it returns a nullable boolean Series on the frame's index: true, false, or ``<NA>`` where the value
    tested is unknown (a config that could not be read). pandas indexes with callables, so ``images[filter]`` is the frame of
    the rows that are true, in their order; the frame itself never changes.

    ``f & g`` evaluates g only on what f kept, as nerdctl applies filters one after the other: an error that depends on a row
    (a name that does not parse) is raised only if a row gets there. ``f | g`` evaluates both on every row. ``~f`` leaves
    unknown unknown: neither a filter nor its negation selects such a row.

    Raises (when applied):
        FilterError: Go refuses the filter; ``.go`` is Go's message.
        MissingColumn: the frame lacks a column that the filter reads.

    Example:
        >>> import imgframe as imf
        >>> import pandas as pd
        >>> images = pd.DataFrame({"name": ["docker.io/library/alpine:3.20", "docker.io/library/nginx:1"]})
        >>> f = imf.filter_by_reference(["alpine"]) | imf.filter_dangling_images()
        >>> f(images).tolist()
        [True, False]
        >>> images[~f]["name"].tolist()
        ['docker.io/library/nginx:1']
    """

    __slots__ = ()

    def __call__(self, images: pd.DataFrame) -> pd.Series:
        """The result per row, as a nullable boolean Series on the frame's index."""
        return pd.Series(self.truth(View.of(images)).array(), index=images.index, copy=False)

    @abstractmethod
    def truth(self, view: View) -> Truth:
        """The result per row of the view."""

    @abstractmethod
    def facts(self, view: View) -> Any:
        """The fact that decides each row of the view, as text (an array of pandas or numpy)."""

    @abstractmethod
    def __str__(self) -> str: ...

    def clauses(self) -> tuple[Filter, ...]:
        """The filters whose conjunction this is."""
        return (self,)

    def explain(self, images: pd.DataFrame) -> pd.DataFrame:
        """Why each row is kept or dropped: two columns per clause on the frame's index.

        ``<clause>`` is true, false or ``<NA>``; ``<clause>: because`` is the deciding fact: which pattern, which time, which
        label value. The conjunction of the truth columns is the mask. A clause is evaluated on every row, but as in
        the filter itself an error is raised only if a row gets there; a row that an earlier clause dropped then shows ``<NA>``.

        Example:
            >>> import imgframe as imf
            >>> import pandas as pd
            >>> images = pd.DataFrame({"name": ["docker.io/library/alpine:3.20"]})
            >>> imf.filter_by_reference(["alpine"]).explain(images).iloc[0, 1]
            "'alpine' matches alpine:3.20 as a glob"
        """
        view = View.of(images)
        found: dict[str, Any] = {}
        for clause in self.clauses():
            truth = clause.truth(view)
            title = str(clause)
            if title in found:
                title = f"{title} #{len(found) // 2 + 1}"
            found[title] = truth.array()
            found[f"{title}: because"] = clause.facts(view)
            view = view.narrow(truth.yes)
        return pd.DataFrame(found, index=images.index)

    def __and__(self, other: Filter) -> Filter:
        return _And(self, other) if isinstance(other, Filter) else NotImplemented

    def __or__(self, other: Filter) -> Filter:
        return _Or(self, other) if isinstance(other, Filter) else NotImplemented

    def __invert__(self) -> Filter:
        return _Not(self)

    def __bool__(self) -> bool:
        raise InputError("a filter is neither true nor false; combine filters with &, | and ~")

    def __repr__(self) -> str:
        return f"<Filter {self}>"


class _Pair(Filter):
    __slots__ = ("first", "second")

    def __init__(self, first: Filter, second: Filter) -> None:
        self.first = first
        self.second = second


class _And(_Pair):
    __slots__ = ()

    def truth(self, view: View) -> Truth:
        first = self.first.truth(view)
        return first.both(self.second.truth(view.narrow(first.yes)))

    def facts(self, view: View) -> Any:
        first = self.first.truth(view)
        inner = view.narrow(first.yes)
        second = self.second.truth(inner)
        own, other = _objects(self.first.facts(view)), _objects(self.second.facts(inner))
        later = first.yes | (
            first.possible & ~second.possible
        )  # what is false settles it, not what is unknown
        return np.where(first.yes & second.yes, own + " and " + other, np.where(later, other, own))

    def clauses(self) -> tuple[Filter, ...]:
        return (*self.first.clauses(), *self.second.clauses())

    def __str__(self) -> str:
        return f"({self.first} & {self.second})"


def _objects(facts: Any) -> Any:
    return np.asarray(facts, dtype=object)


class _Or(_Pair):
    __slots__ = ()

    def truth(self, view: View) -> Truth:
        return self.first.truth(view).either(self.second.truth(view))

    def facts(self, view: View) -> Any:
        first, second = self.first.truth(view), self.second.truth(view)
        own, other = _objects(self.first.facts(view)), _objects(self.second.facts(view))
        return np.where(first.yes, own, np.where(second.yes, other, own + " and " + other))

    def __str__(self) -> str:
        return f"({self.first} | {self.second})"


class _Not(Filter):
    __slots__ = ("inner",)

    def __init__(self, inner: Filter) -> None:
        self.inner = inner

    def truth(self, view: View) -> Truth:
        return self.inner.truth(view).inverse()

    def facts(self, view: View) -> Any:
        return self.inner.facts(view)

    def __str__(self) -> str:
        return f"~{self.inner}"


def kept(view: View, filters: tuple[Filter, ...]) -> Any:
    """The rows of the view, as a boolean array, that matter and that every filter keeps, one after the other."""
    for each in filters:
        if not isinstance(each, Filter):
            raise InputError(f"{each!r} is not a filter; expected the result of filter_until(…) or the like")
        view = view.narrow(each.truth(view).yes)
    return np.ones(len(view.images), dtype=bool) if view.matters is None else view.matters


def apply_filters(images: pd.DataFrame, *filters: Filter) -> pd.DataFrame:
    """The rows that all filters keep, in their order and with their index (nerdctl's ApplyFilters).

    The filters run one after the other, each on the rows that are left; the first error is raised. Filters look up names in
    the whole frame.

    Raises:
        FilterError: Go refuses a filter.

    Example:
        >>> import imgframe as imf
        >>> import pandas as pd
        >>> images = pd.DataFrame({"name": ["docker.io/library/alpine:3.20", "docker.io/library/nginx:1"]})
        >>> imf.apply_filters(images, imf.filter_tagged_images(), imf.filter_by_reference(["nginx"]))["name"].tolist()
        ['docker.io/library/nginx:1']
    """
    return images[kept(View.of(images), filters)]


def text_facts(words: list[str], codes: Any) -> Any:
    """Few distinct facts: ``words`` per code as a categorical of pandas; the last word stands for -1."""
    distinct, places = np.unique(np.array(words, dtype=object).astype(str), return_inverse=True)
    categories = pd.Index(distinct.astype(object), dtype="str")
    return pd.Categorical.from_codes(places[codes], categories=categories)  # place -1 is the last


def gather_truth(table: Any, codes: Any) -> Truth:
    """Results per unique value (true or false), gathered by codes; -1 is unknown."""
    found = columns.gather(np.append(table.astype(np.uint8), np.uint8(2)), codes)
    unknown = found == 2
    return Truth(found == 1, unknown if unknown.any() else None)
