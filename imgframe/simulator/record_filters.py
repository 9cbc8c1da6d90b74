"""containerd's filter expressions (:mod:`imgframe.containerd_filters`), as its services evaluate them over their records.

Several expressions mean or; an empty one, or none, matches all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from imgframe.containerd_filters import holds, parse

T = TypeVar("T")
Field = Callable[[T, list[str]], str | None]
"""Value of a field of a record, or None where it is absent."""


def select(filters: Iterable[str], records: Iterable[T], field: Field[T]) -> list[T]:
    """The records that any of the filters matches, in their order; all where there is no filter.

    Raises:
        FilterError: containerd would refuse a filter; each call appends an ending of its own to its words.

    Example:
        >>> from imgframe.simulator.record_filters import select
        >>> select(["name~=^b"], ["ab", "ba"], lambda record, path: record)
        ['ba']
    """
    rows = list(records)
    parsed = [parse(text, end="") for text in filters]
    if not parsed or not all(parsed):
        return rows
    kept: set[int] = set()
    for clauses in parsed:
        places = [place for place in range(len(rows)) if place not in kept]
        for clause in clauses:
            values = [field(rows[place], list(clause.path)) for place in places]
            places = [place for place, fits in zip(places, holds(clause, values), strict=True) if fits]
        kept.update(places)
    return [row for place, row in enumerate(rows) if place in kept]


def of_map(values: Mapping[str, str], path: list[str]) -> str | None:
    """The value under the rest of a path in a map of labels; dots in it belong to the key."""
    return values.get(".".join(path))
