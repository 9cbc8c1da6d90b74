"""One record of CSV as Go's package encoding/csv reads it, byte by byte."""

from __future__ import annotations

from collections.abc import Iterator

from imgframe.errors import InputError


def _lines(value: str) -> Iterator[bytes]:
    """The lines of ``value`` with their line feeds; a carriage return before one is dropped."""
    data = value.encode("utf-8", "surrogatepass")
    *whole, last = data.split(b"\n")
    for line in [*(part + b"\n" for part in whole), *([last] if last else [])]:
        if line.endswith(b"\r\n"):
            yield line[:-2] + b"\n"
        else:
            yield line[:-1] if line.endswith(b"\r") else line


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
    lines = _lines(value)
    number = 0
    line = b""
    for line in lines:
        number += 1
        if line not in {b"\n", b""}:
            break
    else:
        raise InputError("EOF")
    return [part.decode("utf-8", "surrogatepass") for part in _Record(line, lines, number).read()]


class _Record:
    """A cursor over one record; columns are counted in bytes, from 1."""

    def __init__(self, line: bytes, rest: Iterator[bytes], number: int) -> None:
        self.line, self.rest = line, rest
        self.first = self.number = number
        self.column = 1

    def read(self) -> list[bytes]:
        fields = []
        more = True
        while more:
            field, more = self._quoted() if self.line.startswith(b'"') else self._plain()
            fields.append(field)
        return fields

    def _problem(self, column: int, problem: str) -> InputError:
        start = f"record on line {self.first}; " if self.first != self.number else ""
        return InputError(f"{start}parse error on line {self.number}, column {column}: {problem}")

    def _plain(self) -> tuple[bytes, bool]:
        own, comma, rest = self.line.partition(b",")
        if not comma:
            own = own.removesuffix(b"\n")
        if (at := own.find(b'"')) >= 0:
            raise self._problem(self.column + at, 'bare " in non-quoted-field')
        self.line = rest
        self.column += len(own) + 1
        return own, bool(comma)

    def _quoted(self) -> tuple[bytes, bool]:
        out = bytearray()
        self._skip(1)
        while True:
            at = self.line.find(b'"')
            if at < 0:
                if not self.line:
                    raise self._problem(self.column, 'extraneous or missing " in quoted-field')
                out += self.line
                self._next_line()
                continue
            out += self.line[:at]
            self._skip(at + 1)
            if self.line.startswith(b'"'):
                out += b'"'
                self._skip(1)
            elif self.line.startswith(b","):
                self._skip(1)
                return bytes(out), True
            elif self.line in {b"", b"\n"}:
                return bytes(out), False
            else:
                raise self._problem(self.column - 1, 'extraneous or missing " in quoted-field')

    def _skip(self, count: int) -> None:
        self.line = self.line[count:]
        self.column += count

    def _next_line(self) -> None:
        self.column += len(self.line)
        self.line = next(self.rest, b"")
        if self.line:
            self.number += 1
            self.column = 1
