"""Text for people: tables, sizes, ages and messages, with control characters escaped."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], gap: int = 4) -> list[str]:
    """Lines with aligned columns, as Go's tabwriter aligns them: every cell but the last is padded."""
    widths = [max(len(row[at]) for row in rows) + gap for at in range(len(rows[0]) - 1)] if rows else []
    return [
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[-1] for row in rows
    ]


def print_table(rows: Sequence[Sequence[str]], gap: int = 4, indent: str = "") -> None:
    """The rows as aligned columns on stdout."""
    sys.stdout.write("".join(f"{indent}{line.rstrip()}\n" for line in columns(rows, gap)))


def complain(message: str, *, lines: bool = False) -> None:
    """A message on stderr; with ``lines`` its line feeds stay."""
    print(f"imgframe: {printable_lines(message) if lines else printable(message)}", file=sys.stderr)


def printable(text: str) -> str:
    """The text with control characters as escapes: a hostile name cannot move the cursor."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_lines(text: str) -> str:
    """As :func:`printable`, but line feeds stay."""
    return "\n".join(map(printable, text.split("\n")))


def short(digest: str) -> str:
    """The first twelve hexadecimal digits of a digest."""
    return digest.partition(":")[2][:12]


def rounded(size: int | None) -> str:
    """Bytes with three significant digits, as docker and nerdctl print totals; ``?`` is unknown.

    Example:
        >>> rounded(1254), rounded(None)
        ('1.25kB', '?')
    """
    from imgframe.inventory import human_bytes

    return "?" if size is None else human_bytes(size, digits=3)


def ago(created_ns: int | None, now_ns: int | None = None) -> str:
    """How long ago, in the words of docker's go-units; a missing time is Go's zero time, as long ago as Go can express.

    Example:
        >>> ago(0, 90 * 10**9), ago(0, 5 * 3600 * 10**9), ago(0, 40 * 86400 * 10**9), ago(None)
        ('About a minute ago', '5 hours ago', '5 weeks ago', '292 years ago')
    """
    passed = 2**63 - 1 if created_ns is None else min((now_ns or time.time_ns()) - created_ns, 2**63 - 1)
    return f"{_duration(passed / 1e9)} ago"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if int(seconds) == 1 else f"{int(seconds)} seconds"
    minutes = int(seconds / 60)
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    for unit, factor, below in (
        ("hours", 1, 48),
        ("days", 24, 336),
        ("weeks", 168, 1440),
        ("months", 720, 17520),
    ):
        if hours < below:
            return "About an hour" if hours == 1 else f"{hours // factor} {unit}"
    return f"{int(seconds / 3600) // 8760} years"
