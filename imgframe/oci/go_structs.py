"""The Go structs that documents are decoded into: their fields by the keys of the image specification."""

from __future__ import annotations

import msgspec

from imgframe.golang.json.decoder import Boolean, Bytes, Integer, Kind, List, Map, Present, Struct, Text, Time
from imgframe.oci.documents import (
    NIL,
    Descriptor,
    History,
    ImageConfig,
    Index,
    Manifest,
    RootFS,
    RunConfig,
)
from imgframe.platforms import Platform

_STRING, _BOOL = Text("string"), Boolean("bool")
_INT64 = Integer("int64", -(1 << 63), (1 << 63) - 1)
_INT = Integer("int", -(1 << 63), (1 << 63) - 1)
_STRINGS = List("[]string", _STRING)
_TEXTS = Map("map[string]string", _STRING, lambda now: now)
_LABELS = Map("map[string]string", _STRING, lambda now: now or {})
_SET = Map("map[string]struct {}", Struct("struct {}", dict, {}), lambda now: tuple(sorted(now or ())))
_DIGEST = Text("digest.Digest")
_WHEN = Time("time.Time")

_Fields = dict[str, tuple[str, Kind, tuple[str, ...]]]


def _fields(record: type[msgspec.Struct], *kinds: Kind) -> _Fields:
    """The fields of a record in their order, by the keys that its documents have."""
    names = zip(record.__struct_encode_fields__, record.__struct_fields__, kinds, strict=True)
    return {key: (attribute, kind, ()) for key, attribute, kind in names}


def _keys(**kinds: Kind) -> _Fields:
    """Fields whose attributes are called as the keys are."""
    return {key: (key, kind, ()) for key, kind in kinds.items()}


_PLATFORM_FIELDS = _fields(Platform, _STRING, _STRING, _STRING, _STRING, _STRINGS)
PLATFORM = Struct("v1.Platform", Platform, _PLATFORM_FIELDS)
_DESCRIPTOR = Struct(
    "v1.Descriptor",
    Descriptor,
    _fields(Descriptor, _STRING, _DIGEST, _INT64, _STRINGS, _TEXTS, Bytes(), PLATFORM.pointed(), _STRING),
)
_SUBJECT, _DESCRIPTORS = _DESCRIPTOR.pointed(), List("[]v1.Descriptor", _DESCRIPTOR, nil=NIL)
_VERSION: _Fields = {"schemaVersion": ("schema_version", _INT, ("Versioned",))}
MANIFEST = Struct(
    "v1.Manifest",
    Manifest,
    _fields(Manifest, _INT, _STRING, _STRING, _DESCRIPTOR, _DESCRIPTORS, _SUBJECT, _TEXTS) | _VERSION,
)
INDEX = Struct(
    "v1.Index",
    Index,
    _fields(Index, _INT, _STRING, _STRING, _DESCRIPTORS, _SUBJECT, _TEXTS) | _VERSION,
)
_RUN_CONFIG = Struct(
    "v1.ImageConfig",
    RunConfig,
    {
        name.title().replace("_", ""): field
        for name, field in _fields(
            RunConfig, _STRING, _SET, _STRINGS, _STRINGS, _STRINGS, _SET, _STRING, _LABELS, _STRING, _BOOL
        ).items()
    },
)
_HISTORY = Struct("v1.History", History, _fields(History, _WHEN, _STRING, _STRING, _STRING, _BOOL))
_ROOTFS = Struct("v1.RootFS", RootFS, _fields(RootFS, _STRING, List("[]digest.Digest", _DIGEST, nil=NIL)))
CONFIG = Struct(
    "v1.Image",
    ImageConfig,
    _keys(
        created=_WHEN,
        author=_STRING,
        config=_RUN_CONFIG,
        rootfs=_ROOTFS,
        history=List("[]v1.History", _HISTORY),
    )
    | {key: (attribute, kind, ("Platform",)) for key, (attribute, kind, _) in _PLATFORM_FIELDS.items()},
)
_PRESENT = Present("json.RawMessage")
UNKNOWN = Struct(
    "images.unknownDocument",
    dict,
    _keys(mediaType=_STRING, config=_PRESENT, layers=_PRESENT, manifests=_PRESENT, fsLayers=_PRESENT),
)
_DURATION = Integer("time.Duration", -(1 << 63), (1 << 63) - 1)
_HEALTHCHECK = Struct(
    "healthcheck.Healthcheck",
    dict,
    _keys(Test=_STRINGS, Interval=_DURATION, Timeout=_DURATION, Retries=_INT, StartPeriod=_DURATION),
).pointed()
HEALTH = Struct("struct", dict, _keys(config=Struct("struct", dict, _keys(Healthcheck=_HEALTHCHECK))))
