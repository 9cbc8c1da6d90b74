"""Filter strings as docker reads them, which differs from nerdctl.

From the sources of docker's command line and engine, not measured: keys end at the first ``=`` and are trimmed, values may
contain ``=``, an empty value is a value; several references are alternatives, and globs only; ``label!=`` negates; ``until``
also takes Unix times and times without a zone (which docker's daemon reads in its own zone, imgframe in UTC).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from imgframe.errors import InputError
from imgframe.filters import bounds
from imgframe.filters.filter import Filter, refused
from imgframe.filters.labels import _ByLabel
from imgframe.filters.references import _ByGlob, filter_dangling_images, filter_tagged_images
from imgframe.filters.times import _ByCreatedAt, _ByUntil
from imgframe.golang import time as gotime
from imgframe.golang.strconv import quote

_TRUE, _FALSE = {"1", "true"}, {"0", "false"}
_MOMENT = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:T(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?P<fraction>[.,][0-9]+)?)?)?)?"
    r"(?P<zone>Z|[+-][0-9]{2}:[0-9]{2})?"
)
_UNIX = re.compile(r"(?P<seconds>\+?0*[0-9]{1,18})(?:\.(?P<fraction>\+?[0-9]{1,40}))?")


@dataclass(frozen=True, slots=True)
class DockerFilters:
    """A list of filter strings as docker reads it; ``labels`` and ``not_labels`` are ``key`` or ``key=value`` texts."""

    before: tuple[str, ...] = ()
    since: tuple[str, ...] = ()
    until: str = ""
    labels: tuple[str, ...] = ()
    not_labels: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    dangling: bool | None = None

    def clauses(self, command: str = "images", *, store: Any = None, now: Any = None) -> tuple[Filter, ...]:
        """The filters that docker applies for ``images`` or ``image prune``.

        Raises:
            FilterError: a key that this command of docker refuses.
        """
        if command == "image prune":
            for key in ("before", "since", "reference"):
                if getattr(self, key):
                    taken = "docker image prune takes dangling, label, label! and until"
                    raise refused(f"invalid filter '{key}'", taken)
        elif self.not_labels:
            raise refused("invalid filter 'label!'", "docker images takes no label!=")
        return tuple(self._clauses(store, now))

    def _clauses(self, store: Any, now: Any) -> Iterator[Filter]:
        if self.dangling is not None:
            yield filter_dangling_images() if self.dangling else filter_tagged_images()
        if self.labels:
            yield _label_filter(self.labels)
        if self.not_labels:
            yield ~_label_filter(self.not_labels)
        if self.reference:
            yield _ByGlob(self.reference)
        for name in self.before:
            yield _ByCreatedAt(bounds.entries([name]), (), store, now, bounded=False)
        for name in self.since:
            yield _ByCreatedAt((), bounds.entries([name]), store, now, bounded=False)
        if self.until:
            yield _ByUntil(self.until, now, parse_until)


def _label_filter(texts: tuple[str, ...]) -> Filter:
    """All of these labels, as docker compares them: an empty value is a value."""
    cut = [text.partition("=") for text in texts]
    return _ByLabel((key, value if equals else None) for key, equals, value in cut)


def parse_docker(given: list[str]) -> DockerFilters:
    """The filter strings as docker reads them.

    Raises:
        FilterError: what docker refuses.
    """
    found: dict[str, list[str]] = {}
    for each in given:
        if not each:
            continue
        key, equals, value = each.partition("=")
        if not equals:
            raise refused("bad format of filter (expected name=value)", f"got {each!r}")
        values = found.setdefault(key.strip().lower(), [])
        if value.strip() not in values:
            values.append(value.strip())
    known = {"before", "since", "until", "label", "label!", "reference", "dangling"}
    if unknown := sorted(set(found) - known):
        raise refused(f"invalid filter '{unknown[0]}'")
    if len(found.get("until", ())) > 1:
        raise refused("more than one until filter specified")
    return DockerFilters(
        before=tuple(found.get("before", ())),
        since=tuple(found.get("since", ())),
        until=found.get("until", [""])[0],
        labels=tuple(found.get("label", ())),
        not_labels=tuple(found.get("label!", ())),
        reference=tuple(found.get("reference", ())),
        dangling=_boolean(found.get("dangling")),
    )


def _boolean(values: list[str] | None) -> bool | None:
    if values is None:
        return None
    if len(values) == 1 and values[0] in _TRUE | _FALSE:
        return values[0] in _TRUE
    raise refused(f"invalid filter 'dangling=[{' '.join(values)}]'")


def parse_until(text: str, now_ns: int) -> int:
    """The cut-off of docker's ``until`` in nanoseconds since 1970.

    A Go duration back from now (cut to whole seconds), RFC 3339, the same without zone, seconds or minutes (UTC here), a
    date with or without zone, or seconds since 1970 with or without a fraction. Seconds of 19 digits, which
    are nanoseconds by mistake, are refused; docker would take them for a time in the far future.

    Raises:
        InputError: none of these.

    Example:
        >>> from imgframe.filters import docker
        >>> docker.parse_until("1136073600.5", now_ns=0), docker.parse_until("2006-01-01T01", now_ns=0)
        (1136073600500000000, 1136077200000000000)
    """
    if text != "0":
        try:
            return gotime.back(now_ns, gotime.parse_duration(text)) // gotime.SECOND * gotime.SECOND
        except InputError:
            pass  # not a duration: a moment, or refused below
    if found := _MOMENT.fullmatch(text):
        parts = (found["hour"] or "00", found["minute"] or "00", found["second"] or "00")
        try:
            return gotime.parse_rfc3339(
                f"{found['date']}T{':'.join(parts)}{found['fraction'] or ''}{found['zone'] or 'Z'}"
            )
        except InputError:
            pass  # a day or an hour that does not exist: refused below
    if (found := _UNIX.fullmatch(text)) and int(fraction := found["fraction"] or "0") < 2**63:
        nanoseconds = int(int(fraction) * 10.0 ** (9 - len(fraction)))  # float64, as docker does
        return int(found["seconds"]) * gotime.SECOND + nanoseconds
    message = f"failed to parse value as time or duration: {quote(text)}"
    raise InputError(message, go=message)
