"""Filter strings as ``nerdctl images --filter`` and ``image prune --filter`` read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from imgframe import reference
from imgframe.errors import InputError, ReferenceError_
from imgframe.filters.docker import DockerFilters, parse_docker
from imgframe.filters.filter import Filter, refused
from imgframe.filters.labels import filter_by_label
from imgframe.filters.references import filter_by_reference, filter_dangling_images, filter_tagged_images
from imgframe.filters.times import filter_by_created_at, filter_until
from imgframe.golang import csv as gocsv
from imgframe.golang.strconv import quote

FILTER_BEFORE_TYPE = "before"
FILTER_SINCE_TYPE = "since"
FILTER_UNTIL_TYPE = "until"
FILTER_LABEL_TYPE = "label"
FILTER_REFERENCE_TYPE = "reference"
FILTER_DANGLING_TYPE = "dangling"


@dataclass(frozen=True, slots=True)
class Filters:
    """A parsed list of filter strings (nerdctl's ``Filters``).

    ``before`` and ``since`` are containerd filter expressions, two for each name; ``until`` is the text, empty if not
    given; ``labels`` maps keys to values, ``""`` for any; ``dangling`` is None if not given.
    """

    before: tuple[str, ...] = ()
    since: tuple[str, ...] = ()
    until: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    reference: tuple[str, ...] = ()
    dangling: bool | None = None

    def clauses(self, command: str = "images", *, store: Any = None, now: Any = None) -> tuple[Filter, ...]:
        """The filters that ``nerdctl images`` or ``nerdctl image prune`` applies, in its order.

        ``images`` ignores ``until``; ``image prune`` ignores everything but ``label`` and ``until``.

        Raises:
            InputError: ``command`` is neither ``images`` nor ``image prune``.

        Example:
            >>> import imgframe as imf
            >>> imf.parse_filters(["until=1h", "label=a", "dangling=true"]).clauses("images")
            (<Filter dangling>, <Filter label=a>)
            >>> imf.parse_filters(["until=1h", "label=a", "dangling=true"]).clauses("image prune")
            (<Filter label=a>, <Filter until=1h>)
        """
        return tuple(self._clauses(check_command(command), store, now))

    def _clauses(self, command: str, store: Any, now: Any) -> Iterator[Filter]:
        if command == "images" and self.dangling is not None:
            yield filter_dangling_images() if self.dangling else filter_tagged_images()
        if self.labels:
            yield filter_by_label(self.labels)
        if command == "image prune":
            if self.until:
                yield filter_until(self.until, now=now)
            return
        if self.reference:
            yield filter_by_reference(self.reference)
        if self.before or self.since:
            yield filter_by_created_at(self.before, self.since, store=store, now=now)


def check_command(command: str) -> str:
    """``command``, if it is ``images`` or ``image prune``.

    Raises:
        InputError: it is another.
    """
    if command not in {"images", "image prune"}:
        raise InputError(f"{command!r} is not a command with filters; expected 'images' or 'image prune'")
    return command


def parse_filters(filters: Iterable[str], *, dialect: str = "nerdctl") -> Filters | DockerFilters:
    """Filter strings such as ``label=team=web`` as nerdctl reads them (nerdctl's ParseFilters).

    Each string is split at every ``=``: a value that contains ``=`` is refused, and so is an unknown key. The last
    ``dangling`` and the last value of a label win; a second ``until`` is refused. With ``dialect="docker"`` they are read
    as docker does: see ``docs/filters.md``.

    Raises:
        FilterError: the first string that Go refuses, with Go's message: ``invalid filter "…"``, ``more than one until filter
            provided``, or that of the reference parser.
        InputError: not a list of texts, or an unknown dialect.

    Example:
        >>> import imgframe as imf
        >>> imf.parse_filters(["before=alpine", "label=team=web"])
        Filters(before=('name==docker.io/library/alpine:latest', 'name==alpine'), since=(), until='', labels={'team': 'web'}, \
reference=(), dangling=None)
    """
    if isinstance(filters, str):
        raise InputError(f"{filters!r} is one text; expected a list of filter strings")
    given = list(filters)
    for each in given:
        if not isinstance(each, str):
            raise InputError(f"{each!r} is not a filter string; expected text such as 'label=team=web'")
    if dialect == "docker":
        return parse_docker(given)
    if dialect != "nerdctl":
        raise InputError(f"{dialect!r} is not a dialect; expected 'nerdctl' or 'docker'")
    return _parse(given)


def _parse(given: list[str]) -> Filters:
    named: dict[str, list[str]] = {FILTER_BEFORE_TYPE: [], FILTER_SINCE_TYPE: []}
    references: list[str] = []
    labels: dict[str, str] = {}
    until = ""
    dangling = None
    for each in given:
        key, *values = each.split("=")
        invalid = refused(f"invalid filter {quote(each)}")
        if key == FILTER_LABEL_TYPE and len(values) in {1, 2}:
            labels[values[0]] = values[1] if len(values) > 1 else ""
            continue
        if len(values) != 1:
            raise invalid
        value = values[0]
        if key == FILTER_DANGLING_TYPE and value in {"true", "false"}:
            dangling = value == "true"
        elif key in named:
            named[key] += [f"name=={_normalised(value)}", f"name=={value}"]
        elif key == FILTER_UNTIL_TYPE:
            if until:
                raise refused("more than one until filter provided")
            until = value
        elif key == FILTER_REFERENCE_TYPE:
            references.append(value)
        else:
            raise invalid
    return Filters(
        before=tuple(named[FILTER_BEFORE_TYPE]),
        since=tuple(named[FILTER_SINCE_TYPE]),
        until=until,
        labels=labels,
        reference=tuple(references),
        dangling=dangling,
    )


def _normalised(name: str) -> str:
    try:
        return reference.parse(name).string
    except ReferenceError_ as error:
        raise refused(error.go, f"before and since name an image; got {name!r}") from None


def split_flags(values: Iterable[str], *, flag: str = "--filter") -> list[str]:
    """The filter strings in the values of repeated ``--filter`` flags: each value is one record of CSV, as in nerdctl.

    ``label=a,label=b`` is two filters, ``"label=a,b"`` in quotes is one, the empty value is none; only the first line of a
    value counts. ``flag`` is the flag's name in errors (nerdctl's own says ``-f, --filter``).

    Raises:
        FilterError: a stray or missing quote, with the message of nerdctl's command line.

    Example:
        >>> from imgframe.filters import split_flags
        >>> split_flags(["label=a,label=b", '"label=a,b"'])
        ['label=a', 'label=b', 'label=a,b']
    """
    found: list[str] = []
    for value in values:
        try:
            found += gocsv.read_record(value)
        except InputError as error:
            raise refused(f'invalid argument {quote(value)} for "{flag}" flag: {error}') from None
    return [] if found == [""] else found  # nerdctl's command line loses a lone empty filter
