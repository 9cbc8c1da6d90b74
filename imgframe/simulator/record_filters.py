"""containerd's filters (:mod:`imgframe.containerd_filters`), as its services apply them to their records.

A record matches if any filter does; an empty filter, or none, matches all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from imgframe.containerd_filters import holds, parse

T = TypeVar("T")
Field = Callable[[T, list[str]], str | None]
"""The value of a record's field by its path, or None if it is absent."""


def select(filters: Iterable[str], records: Iterable[T], field: Field[T]) -> list[T]:
    """The records that match any of the filters, in their order.

    Raises:
        FilterError: containerd would refuse a filter; each call appends its own ending to the message.

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


def by_name(records: Mapping[str, T]) -> list[T]:
    """Records sorted by name, as containerd lists them."""
    return [records[name] for name in sorted(records, key=str.encode)]


def fields(
    names: Mapping[tuple[str, ...], str], maps: tuple[str, ...] = ("labels",), *, empty: str | None = None
) -> Field[Any]:
    """Fields of records: the attributes ``names`` by path, and the keys of ``maps``; an empty text gives ``empty``.

    Example:
        >>> from imgframe.simulator.record_filters import fields
        >>> from imgframe.simulator.store import StoredLease
        >>> field = fields({("id",): "id"})
        >>> field(StoredLease("x", {"a.b": "c"}, 0, {}), ["labels", "a", "b"])
        'c'
    """

    def field(record: Any, path: list[str]) -> str | None:
        if path[0] in maps:  # dots belong to the key
            value: str | None = getattr(record, path[0]).get(".".join(path[1:]))
            return value
        name = names.get(tuple(path))
        return None if name is None else getattr(record, name) or empty

    return field
