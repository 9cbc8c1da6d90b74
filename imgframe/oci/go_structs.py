"""The Go structs that documents are decoded into: their fields by the keys of the image specification."""

from __future__ import annotations

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

_PLATFORM_FIELDS: dict[str, tuple[str, Kind]] = {
    "architecture": ("architecture", _STRING),
    "os": ("os", _STRING),
    "os.version": ("os_version", _STRING),
    "os.features": ("os_features", _STRINGS),
    "variant": ("variant", _STRING),
}


def _own(**fields: tuple[str, Kind]) -> dict[str, tuple[str, Kind, tuple[str, ...]]]:
    return {name: (attribute, kind, ()) for name, (attribute, kind) in fields.items()}


_PLATFORM = Struct("v1.Platform", Platform, _own(**_PLATFORM_FIELDS))
_DESCRIPTOR = Struct(
    "v1.Descriptor",
    Descriptor,
    _own(
        mediaType=("media_type", _STRING),
        digest=("digest", _DIGEST),
        size=("size", _INT64),
        urls=("urls", _STRINGS),
        annotations=("annotations", _TEXTS),
        data=("data", Bytes()),
        platform=("platform", _PLATFORM.pointed()),
        artifactType=("artifact_type", _STRING),
    ),
)
_DESCRIPTORS = List("[]v1.Descriptor", _DESCRIPTOR, nil=NIL)
_SHARED = {
    "schemaVersion": ("schema_version", _INT, ("Versioned",)),
    **_own(
        mediaType=("media_type", _STRING),
        artifactType=("artifact_type", _STRING),
        subject=("subject", _DESCRIPTOR.pointed()),
        annotations=("annotations", _TEXTS),
    ),
}
MANIFEST = Struct(
    "v1.Manifest",
    Manifest,
    {**_SHARED, **_own(config=("config", _DESCRIPTOR), layers=("layers", _DESCRIPTORS))},
)
INDEX = Struct("v1.Index", Index, {**_SHARED, **_own(manifests=("manifests", _DESCRIPTORS))})
PLATFORM = _PLATFORM
_RUN_CONFIG = Struct(
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
_HISTORY = Struct(
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
_ROOTFS = Struct(
    "v1.RootFS",
    RootFS,
    _own(type=("type", _STRING), diff_ids=("diff_ids", List("[]digest.Digest", _DIGEST, nil=NIL))),
)
CONFIG = Struct(
    "v1.Image",
    ImageConfig,
    {
        **_own(
            created=("created", _WHEN),
            author=("author", _STRING),
            config=("config", _RUN_CONFIG),
            rootfs=("rootfs", _ROOTFS),
            history=("history", List("[]v1.History", _HISTORY)),
        ),
        **{name: (attribute, kind, ("Platform",)) for name, (attribute, kind) in _PLATFORM_FIELDS.items()},
    },
)
_PRESENT = Present("json.RawMessage")
UNKNOWN = Struct(
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
_DURATION = Integer("time.Duration", -(1 << 63), (1 << 63) - 1)
_HEALTHCHECK = Struct(
    "healthcheck.Healthcheck",
    dict,
    _own(
        Test=("Test", _STRINGS),
        Interval=("Interval", _DURATION),
        Timeout=("Timeout", _DURATION),
        Retries=("Retries", _INT),
        StartPeriod=("StartPeriod", _DURATION),
    ),
).pointed()
HEALTH = Struct(
    "struct",
    dict,
    _own(config=("config", Struct("struct", dict, _own(Healthcheck=("check", _HEALTHCHECK))))),
)
