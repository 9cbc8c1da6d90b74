"""Documents as Go's encoding/json writes them, to compare with what the real program printed."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from imgframe.errors import DocumentError
from imgframe.golang import time as gotime
from imgframe.golang.json import encoder
from imgframe.oci.documents import NIL, Descriptor, ImageConfig, Index, Manifest, RunConfig
from imgframe.platforms import Platform

_YEAR_0 = gotime.parse_date("0000-01-01")
_YEAR_10000 = gotime.parse_date("9999-12-31") + 86_400 * gotime.SECOND
_CANNOT_WRITE = "json: error calling MarshalJSON for type *time.Time"


def _value(value: Any) -> str:
    if value is None or value is NIL:
        return "null"
    if isinstance(value, str):
        return encoder.string(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{encoder.string(key)}:{_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + ",".join(_value(item) for item in value) + "]"
    return json.dumps(value)


def _filled(**fields: Any) -> dict[str, Any]:
    """The fields that are not empty (omitempty)."""
    return {name: value for name, value in fields.items() if value}


def go_json(document: Manifest | Index | ImageConfig | Descriptor) -> str:
    """The document as json.Marshal of Go writes it."""
    if isinstance(document, Descriptor):
        return _value(_descriptor(document))
    if isinstance(document, ImageConfig):
        return _value(_config(document))
    fields: dict[str, Any] = {"schemaVersion": document.schema_version}
    fields |= _filled(mediaType=document.media_type, artifactType=document.artifact_type)
    if isinstance(document, Manifest):
        fields |= {"config": _descriptor(document.config), "layers": _descriptors(document.layers)}
    else:
        fields |= {"manifests": _descriptors(document.manifests)}
    if document.subject is not None:
        fields["subject"] = _descriptor(document.subject)
    return _value(fields | _filled(annotations=_sorted(document.annotations)))


def _sorted(values: Mapping[str, str] | None) -> dict[str, str]:
    return dict(sorted((values or {}).items()))


def _descriptors(found: tuple[Descriptor, ...]) -> Any:
    return found if found is NIL else [_descriptor(one) for one in found]


def _descriptor(found: Descriptor) -> dict[str, Any]:
    fields: dict[str, Any] = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
    fields |= _filled(urls=found.urls, annotations=_sorted(found.annotations))
    fields |= _filled(data=base64.b64encode(found.data).decode())
    if found.platform is not None:
        fields["platform"] = _platform(found.platform)
    return fields | _filled(artifactType=found.artifact_type)


def _platform(found: Platform) -> dict[str, Any]:
    fields: dict[str, Any] = {"architecture": found.architecture, "os": found.os}
    fields |= _filled(**{"os.version": found.os_version, "os.features": found.os_features})
    return fields | _filled(variant=found.variant)


def _time(text: str) -> str:
    """The time as Go writes it to JSON after reading it (``Time.MarshalJSON``)."""
    nanoseconds, offset = gotime.unmarshal(text)
    local = nanoseconds + offset * gotime.SECOND
    if not _YEAR_0 <= local < _YEAR_10000:
        raise DocumentError(f"{_CANNOT_WRITE}: year outside of range [0,9999]")
    if abs(offset) >= 24 * 3600:
        raise DocumentError(f"{_CANNOT_WRITE}: timezone hour outside of range [0,23]")
    zone = "Z"
    if offset:
        zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 3600:02d}:{abs(offset) // 60 % 60:02d}"
    return gotime.format_time(local).removesuffix("Z") + zone


def _config(found: ImageConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if found.created is not None:
        fields["created"] = _time(found.created)
    fields |= _filled(author=found.author) | _platform(found.platform)
    fields["config"] = _run_config(found.config)
    fields["rootfs"] = {"type": found.rootfs.type, "diff_ids": found.rootfs.diff_ids}
    steps = []
    for step in found.history:
        shown = {} if step.created is None else {"created": _time(step.created)}
        steps.append(
            shown
            | _filled(
                created_by=step.created_by,
                author=step.author,
                comment=step.comment,
                empty_layer=step.empty_layer,
            )
        )
    return fields | _filled(history=steps)


def _run_config(run: RunConfig) -> dict[str, Any]:
    return _filled(
        User=run.user,
        ExposedPorts={name: {} for name in run.exposed_ports},
        Env=run.env,
        Entrypoint=run.entrypoint,
        Cmd=run.cmd,
        Volumes={name: {} for name in run.volumes},
        WorkingDir=run.working_dir,
        Labels=_sorted(run.labels),
        StopSignal=run.stop_signal,
        ArgsEscaped=run.args_escaped,
    )
