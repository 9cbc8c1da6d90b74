"""The exact decoder: what Go's encoding/json puts into the structs of the image specification.

Keys match in any letter case, later ones win, repeated objects and lists merge into what is there, null leaves a plain
value alone and empties the rest. A value of a wrong type is remembered and the first one is the error, unless a time
cannot be read: that ends the reading at once. Slow and complete; :mod:`imgframe.oci.plain` is the fast way for
documents in which none of this can happen.
"""

from __future__ import annotations

from typing import Any

from imgframe.errors import DocumentError
from imgframe.oci import base64text, rfc3339, scanner
from imgframe.oci.documents import (
    NOTHING,
    Descriptor,
    History,
    ImageConfig,
    Index,
    Manifest,
    RootFS,
    RunConfig,
)
from imgframe.oci.scanner import Node, Pairs
from imgframe.platforms import Platform

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
        if self.error is None:
            place = f"struct field {self.struct}.{'.'.join(self.path)}" if self.path else "value"
            self.error = f"json: cannot unmarshal {value} into Go {place} of type {wanted}"

    def fail(self, message: str) -> None:
        if self.error is None:
            self.error = message


def _kind_of(node: Node) -> str:
    """How Go's errors call a value."""
    if type(node) is not bytes:
        return "object" if type(node) is Pairs else "array"
    return {b'"': "string", b"t": "bool", b"f": "bool", b"n": "null"}.get(node[:1], "number")


class _Kind:
    """A Go type: ``zero()`` is its empty value, ``take`` decodes a node over the value that is there."""

    def __init__(self, name: str) -> None:
        self.name = name

    def zero(self) -> Any:
        return None

    def take(self, run: _Run, node: Node, now: Any) -> Any:
        raise NotImplementedError

    def build(self, now: Any) -> Any:
        return now


class _Text(_Kind):
    def zero(self) -> str:
        return ""

    def take(self, run: _Run, node: Node, now: Any) -> Any:
        kind = _kind_of(node)
        if kind == "string":
            return scanner.text(node)
        if kind != "null":
            run.wrong(kind, self.name)
        return now


class _Integer(_Kind):
    def __init__(self, name: str, lowest: int, highest: int) -> None:
        super().__init__(name)
        self.limits = lowest, highest

    def zero(self) -> int:
        return 0

    def take(self, run: _Run, node: Node, now: Any) -> Any:
        kind = _kind_of(node)
        if kind == "number":
            digits = node.removeprefix(b"-")
            if self.limits[0] == 0 and digits is not node:
                digits = b""
            if digits.isdigit() and len(digits) < 30 and self.limits[0] <= int(node) <= self.limits[1]:
                return int(node)
            run.wrong(f"number {node.decode()}", self.name)
        elif kind != "null":
            run.wrong(kind, self.name)
        return now


class _Boolean(_Kind):
    def zero(self) -> bool:
        return False

    def take(self, run: _Run, node: Node, now: Any) -> Any:
        kind = _kind_of(node)
        if kind == "bool":
            return node == b"true"
        if kind != "null":
            run.wrong(kind, self.name)
        return now


class _Time(_Kind):
    """*time.Time: the text, checked."""

    def take(self, run: _Run, node: Node, now: Any) -> Any:  # noqa: ARG002 -- nothing merges
        kind = _kind_of(node)
        if kind == "null":
            return None
        if kind != "string":
            raise DocumentError("Time.UnmarshalJSON: input is not a JSON string")
        text = node[1:-1].decode("latin-1")
        rfc3339.parts(text)
        return text


class _Present(_Kind):
    """json.RawMessage: whether the key is there, even with null."""

    def zero(self) -> bool:
        return False

    def take(self, run: _Run, node: Node, now: Any) -> Any:  # noqa: ARG002 -- any value will do
        return True


class _Cells:
    """A Go slice: what was ever stored stays behind its end and shows again when it grows."""

    __slots__ = ("items", "length")

    def __init__(self, items: list[Any] | None = None) -> None:
        self.items = items or []
        self.length = len(self.items)


class _List(_Kind):
    def __init__(self, name: str, element: _Kind, *, nil: tuple[Any, ...] = ()) -> None:
        super().__init__(name)
        self.element = element
        self.nil = nil

    def take(self, run: _Run, node: Node, now: Any) -> Any:
        if type(node) is not list:
            kind = _kind_of(node)
            if kind == "null":
                return None
            run.wrong(kind, self.name)
            return now
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


class _Bytes(_List):
    """[]byte: Base64 text, or a list of numbers."""

    def __init__(self) -> None:
        super().__init__("[]uint8", _Integer("uint8", 0, 255))

    def take(self, run: _Run, node: Node, now: Any) -> Any:
        if _kind_of(node) != "string":
            return super().take(run, node, now)
        data, bad = base64text.decode(scanner.text(node).encode("utf-8"))
        if bad is not None:
            run.fail(f"illegal base64 data at input byte {bad}")
            return now
        return _Cells(list(data))

    def build(self, now: Any) -> Any:
        return bytes(super().build(now))


class _Map(_Kind):
    def __init__(self, name: str, element: _Kind, build: Any) -> None:
        super().__init__(name)
        self.element = element
        self.make = build

    def take(self, run: _Run, node: Node, now: Any) -> Any:
        if type(node) is not Pairs:
            kind = _kind_of(node)
            if kind == "null":
                return None
            run.wrong(kind, self.name)
            return now
        values = {} if now is None else now
        for key, value in node:
            values[key] = self.element.take(run, value, self.element.zero())
        return values

    def build(self, now: Any) -> Any:
        return self.make(now)


class _Struct(_Kind):
    """A Go struct, or (``pointer``) a pointer to one.

    ``fields``: JSON name → (name in ours, kind, names of embedded structs before it).
    """

    def __init__(
        self,
        name: str,
        make: Any,
        fields: dict[str, tuple[str, _Kind, tuple[str, ...]]],
        *,
        pointer: bool = False,
    ) -> None:
        super().__init__(name)
        self.short = name.rpartition(".")[2]
        self.make = make
        self.fields = {
            name.lower(): (attribute, kind, (*outer, name))
            for name, (attribute, kind, outer) in fields.items()
        }
        self.pointer = pointer

    def pointed(self) -> _Struct:
        other = object.__new__(_Struct)
        other.__dict__.update(self.__dict__, pointer=True)
        return other

    def zero(self) -> Any:
        return None if self.pointer else {}

    def take(self, run: _Run, node: Node, now: Any) -> Any:
        if type(node) is not Pairs:
            kind = _kind_of(node)
            if kind == "null":
                return None if self.pointer else now
            run.wrong(kind, self.name)
            return now
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


_STRING, _BOOL = _Text("string"), _Boolean("bool")
_INT64 = _Integer("int64", -(1 << 63), (1 << 63) - 1)
_INT = _Integer("int", -(1 << 63), (1 << 63) - 1)
_STRINGS = _List("[]string", _STRING)
_TEXTS = _Map("map[string]string", _STRING, lambda now: now)
_LABELS = _Map("map[string]string", _STRING, lambda now: now or {})
_SET = _Map("map[string]struct {}", _Struct("struct {}", dict, {}), lambda now: tuple(sorted(now or ())))
_DIGEST = _Text("digest.Digest")
_WHEN = _Time("time.Time")

_PLATFORM_FIELDS: dict[str, tuple[str, _Kind]] = {
    "architecture": ("architecture", _STRING),
    "os": ("os", _STRING),
    "os.version": ("os_version", _STRING),
    "os.features": ("os_features", _STRINGS),
    "variant": ("variant", _STRING),
}


def _own(**fields: tuple[str, _Kind]) -> dict[str, tuple[str, _Kind, tuple[str, ...]]]:
    return {name: (attribute, kind, ()) for name, (attribute, kind) in fields.items()}


_PLATFORM = _Struct("v1.Platform", Platform, _own(**_PLATFORM_FIELDS))
_DESCRIPTOR = _Struct(
    "v1.Descriptor",
    Descriptor,
    _own(
        mediaType=("media_type", _STRING),
        digest=("digest", _DIGEST),
        size=("size", _INT64),
        urls=("urls", _STRINGS),
        annotations=("annotations", _TEXTS),
        data=("data", _Bytes()),
        platform=("platform", _PLATFORM.pointed()),
        artifactType=("artifact_type", _STRING),
    ),
)
_DESCRIPTORS = _List("[]v1.Descriptor", _DESCRIPTOR, nil=NOTHING)
_SHARED = {
    "schemaVersion": ("schema_version", _INT, ("Versioned",)),
    **_own(
        mediaType=("media_type", _STRING),
        artifactType=("artifact_type", _STRING),
        subject=("subject", _DESCRIPTOR.pointed()),
        annotations=("annotations", _TEXTS),
    ),
}
MANIFEST = _Struct(
    "v1.Manifest",
    Manifest,
    {**_SHARED, **_own(config=("config", _DESCRIPTOR), layers=("layers", _DESCRIPTORS))},
)
INDEX = _Struct("v1.Index", Index, {**_SHARED, **_own(manifests=("manifests", _DESCRIPTORS))})
PLATFORM = _PLATFORM
_RUN_CONFIG = _Struct(
    "v1.ImageConfig",
    RunConfig,
    _own(
        User=("user", _STRING),
        ExposedPorts=("exposed_ports", _SET),
        Env=("env", _STRINGS),
        Entrypoint=("entrypoint", _STRINGS),
        Cmd=("cmd", _STRINGS),
        Volumes=("volumes", _SET),
        WorkingDir=("working_dir", _STRING),
        Labels=("labels", _LABELS),
        StopSignal=("stop_signal", _STRING),
        ArgsEscaped=("args_escaped", _BOOL),
    ),
)
_HISTORY = _Struct(
    "v1.History",
    History,
    _own(
        created=("created", _WHEN),
        created_by=("created_by", _STRING),
        author=("author", _STRING),
        comment=("comment", _STRING),
        empty_layer=("empty_layer", _BOOL),
    ),
)
_ROOTFS = _Struct(
    "v1.RootFS",
    RootFS,
    _own(type=("type", _STRING), diff_ids=("diff_ids", _List("[]digest.Digest", _DIGEST, nil=NOTHING))),
)
CONFIG = _Struct(
    "v1.Image",
    ImageConfig,
    {
        **_own(
            created=("created", _WHEN),
            author=("author", _STRING),
            config=("config", _RUN_CONFIG),
            rootfs=("rootfs", _ROOTFS),
            history=("history", _List("[]v1.History", _HISTORY)),
        ),
        **{name: (attribute, kind, ("Platform",)) for name, (attribute, kind) in _PLATFORM_FIELDS.items()},
    },
)
_PRESENT = _Present("json.RawMessage")
UNKNOWN = _Struct(
    "images.unknownDocument",
    dict,
    _own(
        mediaType=("media_type", _STRING),
        config=("config", _PRESENT),
        layers=("layers", _PRESENT),
        manifests=("manifests", _PRESENT),
        fsLayers=("fs_layers", _PRESENT),
    ),
)
_DURATION = _Integer("time.Duration", -(1 << 63), (1 << 63) - 1)
_HEALTHCHECK = _Struct(
    "healthcheck.Healthcheck",
    dict,
    _own(
        Test=("Test", _STRINGS),
        Interval=("Interval", _DURATION),
        Timeout=("Timeout", _DURATION),
        Retries=("Retries", _INT),
        StartPeriod=("StartPeriod", _DURATION),
    ),
    pointer=True,
)
HEALTH = _Struct(
    "struct",
    dict,
    _own(config=("config", _Struct("struct", dict, _own(Healthcheck=("check", _HEALTHCHECK))))),
)


def decode(node: Node, kind: _Struct) -> Any:
    """The tree of a document as a record of the kind.

    Raises:
        DocumentError: a value that Go cannot store, with its words.
    """
    run = _Run()
    values = kind.take(run, node, kind.zero())
    if run.error is not None:
        raise DocumentError(run.error)
    return kind.build(values)
