"""The exact decoder: what Go's encoding/json puts into structs (those of images are in :mod:`imgframe.oci.go_structs`).

Keys match in any letter case, the last one wins, repeated objects and lists are merged, null leaves a scalar unchanged and
clears the rest. The first value of a wrong type is the error, unless a time cannot be parsed, which ends decoding at once.
 Slow and complete; :mod:`imgframe.oci.fast_path` is the fast way for
documents in which none of this can happen.
"""

from __future__ import annotations

from typing import Any

from imgframe.errors import DocumentError
from imgframe.golang import base64 as gobase64
from imgframe.golang import time as gotime
from imgframe.golang.json import scanner
from imgframe.golang.json.scanner import Node, Pairs

_FOLDED = str.maketrans({"\u017f": "s", "\u212a": "k"})


def folded(key: str) -> str:
    """The key as Go compares it with the names of fields."""
    return key.lower() if key.isascii() else key.translate(_FOLDED).lower()


class _Run:
    """One document being decoded: the first wrong type, and the fields on the way to the current value."""

    __slots__ = ("error", "path", "struct")

    def __init__(self) -> None:
        self.error: str | None = None
        self.struct = ""
        self.path: tuple[str, ...] = ()

    def wrong(self, value: str, wanted: str) -> None:
        place = f"struct field {self.struct}.{'.'.join(self.path)}" if self.path else "value"
        self.fail(f"json: cannot unmarshal {value} into Go {place} of type {wanted}")

    def fail(self, message: str) -> None:
        if self.error is None:
            self.error = message


def _kind_of(node: Node) -> str:
    """The name of a value's type in Go's errors."""
    if type(node) is not bytes:
        return "object" if type(node) is Pairs else "array"
    return {b'"': "string", b"t": "bool", b"f": "bool", b"n": "null"}.get(node[:1], "number")


class Kind:
    """A Go type: ``zero()`` is its zero value, ``take`` decodes a node over the current value, ``build`` converts the result.

    ``read`` decodes a node of the type ``accepts``; null leaves the current value or (``clears``) makes it None.
    """

    accepts = ""
    nothing: Any = None
    clears = False

    def __init__(self, name: str) -> None:
        self.name = name

    def zero(self) -> Any:
        return self.nothing

    def take(self, run: _Run, node: Node, now: Any) -> Any:
        kind = _kind_of(node)
        if kind == self.accepts:
            return self.read(run, node, now)
        if kind != "null":
            run.wrong(kind, self.name)
        return None if self.clears and kind == "null" else now

    def read(self, run: _Run, node: Node, now: Any) -> Any:
        raise NotImplementedError

    def build(self, now: Any) -> Any:
        return now


class Text(Kind):
    """A string."""

    accepts, nothing = "string", ""

    def read(self, run: _Run, node: Node, now: Any) -> str:  # noqa: ARG002 -- nothing merges
        return scanner.text(node)


class Integer(Kind):
    """An integer with its limits."""

    accepts, nothing = "number", 0

    def __init__(self, name: str, lowest: int, highest: int) -> None:
        super().__init__(name)
        self.limits = lowest, highest

    def read(self, run: _Run, node: Node, now: Any) -> Any:
        digits = node.removeprefix(b"-")
        if self.limits[0] == 0 and digits is not node:
            digits = b""
        if digits.isdigit() and len(digits) < 30 and self.limits[0] <= int(node) <= self.limits[1]:
            return int(node)
        run.wrong(f"number {node.decode()}", self.name)
        return now


class Boolean(Kind):
    """A bool."""

    accepts, nothing = "bool", False

    def read(self, run: _Run, node: Node, now: Any) -> bool:  # noqa: ARG002 -- nothing merges
        return bool(node == b"true")


class Time(Kind):
    """*time.Time: the text, checked."""

    def take(self, run: _Run, node: Node, now: Any) -> Any:  # noqa: ARG002 -- nothing merges
        kind = _kind_of(node)
        if kind == "null":
            return None
        if kind != "string":
            raise DocumentError("Time.UnmarshalJSON: input is not a JSON string")
        text = node[1:-1].decode("latin-1")
        gotime.unmarshal(text)
        return text


class Present(Kind):
    """json.RawMessage: whether the key is there, even with null."""

    nothing = False

    def take(self, run: _Run, node: Node, now: Any) -> Any:  # noqa: ARG002 -- any value will do
        return True


class _Cells:
    """A Go slice: elements beyond its length persist and reappear when it grows."""

    __slots__ = ("items", "length")

    def __init__(self, items: list[Any] | None = None) -> None:
        self.items = items or []
        self.length = len(self.items)


class List(Kind):
    """A slice; ``nil`` is what a missing one becomes."""

    accepts, clears = "array", True

    def __init__(self, name: str, element: Kind, *, nil: tuple[Any, ...] = ()) -> None:
        super().__init__(name)
        self.element = element
        self.nil = nil

    def read(self, run: _Run, node: Node, now: Any) -> Any:
        if not node:
            return _Cells()
        cells = now or _Cells()
        for place, item in enumerate(node):
            if place == len(cells.items):
                cells.items.append(self.element.zero())
            cells.length = max(cells.length, place + 1)
            cells.items[place] = self.element.take(run, item, cells.items[place])
        cells.length = len(node)
        return cells

    def build(self, now: Any) -> tuple[Any, ...]:
        if now is None:
            return self.nil
        return tuple(self.element.build(item) for item in now.items[: now.length])


class Bytes(List):
    """[]byte: Base64 text, or a list of numbers."""

    def __init__(self) -> None:
        super().__init__("[]uint8", Integer("uint8", 0, 255))

    def take(self, run: _Run, node: Node, now: Any) -> Any:
        if _kind_of(node) != "string":
            return super().take(run, node, now)
        data, bad = gobase64.decode(scanner.text(node).encode("utf-8"))
        if bad is not None:
            run.fail(f"illegal base64 data at input byte {bad}")
            return now
        return _Cells(list(data))

    def build(self, now: Any) -> Any:
        return bytes(super().build(now))


class Map(Kind):
    """A map with string keys; ``build`` converts it."""

    accepts, clears = "object", True

    def __init__(self, name: str, element: Kind, build: Any) -> None:
        super().__init__(name)
        self.element = element
        self.make = build

    def read(self, run: _Run, node: Node, now: Any) -> Any:
        values = {} if now is None else now
        for key, value in node:
            values[key] = self.element.take(run, value, self.element.zero())
        return values

    def build(self, now: Any) -> Any:
        return self.make(now)


class Struct(Kind):
    """A Go struct; :meth:`pointed` gives a pointer to one.

    ``fields``: JSON name → (attribute of the record, kind, names of the embedded structs that contain it).
    """

    accepts = "object"

    def __init__(self, name: str, make: Any, fields: dict[str, tuple[str, Kind, tuple[str, ...]]]) -> None:
        super().__init__(name)
        self.short = name.rpartition(".")[2]
        self.make = make
        self.fields = {
            name.lower(): (attribute, kind, (*outer, name))
            for name, (attribute, kind, outer) in fields.items()
        }

    def pointed(self) -> Struct:
        other = object.__new__(Struct)
        other.__dict__.update(self.__dict__, clears=True)
        return other

    def zero(self) -> Any:
        return None if self.clears else {}

    def read(self, run: _Run, node: Node, now: Any) -> Any:
        values = {} if now is None else now
        struct, path = run.struct, run.path
        for key, value in node:
            field = self.fields.get(key) or self.fields.get(folded(key))
            if field is None:
                continue
            attribute, wanted, names = field
            run.struct, run.path = self.short, path + names
            before = values[attribute] if attribute in values else wanted.zero()
            values[attribute] = wanted.take(run, value, before)
        run.struct, run.path = struct, path
        return values

    def build(self, now: Any) -> Any:
        if now is None:
            return None
        kinds = {attribute: kind for attribute, kind, _ in self.fields.values()}
        return self.make(**{attribute: kinds[attribute].build(value) for attribute, value in now.items()})


def decode(node: Node, kind: Struct) -> Any:
    """The tree of a document as a record of the kind.

    Raises:
        DocumentError: a value that Go cannot store, with its message.
    """
    run = _Run()
    values = kind.take(run, node, kind.zero())
    if run.error is not None:
        raise DocumentError(run.error)
    return kind.build(values)
