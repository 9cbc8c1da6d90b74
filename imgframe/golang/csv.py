"""One record of CSV as Go's package encoding/csv reads it, byte by byte."""

from __future__ import annotations

import re

from imgframe.errors import InputError

_QUOTED = re.compile(rb'"([^"]*+(?:""[^"]*+)*+)("?)')
_PLAIN = re.compile(rb"[^,\n]*+")
_STRAY = 'extraneous or missing " in quoted-field'


def read_record(value: str) -> list[str]:
    """The fields of the first record in ``value`` (``csv.Reader.Read``); none if it is empty.

    Raises:
        InputError: a stray or missing quote, or no record at all; the message is Go's.

    Example:
        >>> from imgframe.golang import csv as gocsv
        >>> gocsv.read_record('a,"b,c"')
        ['a', 'b,c']
    """
    if not value:
        return []
    data = re.sub(rb"\r(\n|\Z)", rb"\1", value.encode("utf-8", "surrogatepass"))
    record = data.lstrip(b"\n")
    if not record:
        raise InputError("EOF")
    first = len(data) - len(record) + 1
    fields, end = [], -1
    while end < 0 or record[end : end + 1] == b",":
        start = end + 1
        if quoted := _QUOTED.match(record, start):
            end = quoted.end()
            if not quoted[2]:
                raise _problem(record, first, end, _STRAY)
            if record[end : end + 1] not in {b"", b",", b"\n"}:
                raise _problem(record, first, end - 1, _STRAY)
            fields.append(quoted[1].replace(b'""', b'"'))
        else:
            end = _PLAIN.match(record, start).end()  # type: ignore[union-attr]
            if (stray := record.find(b'"', start, end)) >= 0:
                raise _problem(record, first, stray, 'bare " in non-quoted-field')
            fields.append(record[start:end])
    return [field.decode("utf-8", "surrogatepass") for field in fields]


def _problem(record: bytes, first: int, at: int, problem: str) -> InputError:
    """The error at the offset ``at`` of a record that begins on line ``first``; columns are bytes, from 1."""
    before = record[:at] if at < len(record) else record.removesuffix(b"\n")
    line, column = first + before.count(b"\n"), at - before.rfind(b"\n")
    start = f"record on line {first}; " if first != line else ""
    return InputError(f"{start}parse error on line {line}, column {column}: {problem}")
