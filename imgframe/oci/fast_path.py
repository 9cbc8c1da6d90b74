"""The fast path: msgspec decodes the documents on which it and Go cannot differ straight into records.

msgspec is as strict as Go about syntax. Where it would decide differently, these functions give None and the document goes to
:mod:`imgframe.golang.json.decoder`: null in the place of a value, keys in another letter case (unknown to msgspec, and unknown
keys are refused), keys written with escapes, integers over 64 bits, repeated keys whose values Go merges.
"""

from __future__ import annotations

import functools
import re
from typing import TypeVar

import msgspec

from imgframe.oci.documents import History, ImageConfig, Index, Manifest, RootFS, RunConfig

_MERGING = re.compile(rb'"(?:config|layers|manifests|subject|annotations|platform|data)"')
_MERGING_CONFIG = re.compile(rb'"(?:config|rootfs|history|created|ExposedPorts|Volumes|Labels|Healthcheck)"')
_ESCAPED_KEY = re.compile(rb"\\u00(?:2[b-eB-E]|3[0-9aA]|[4-7])")
_TIMES = re.compile(
    r"(?:[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:Z|[+-][01][0-9]:[0-5][0-9])(?:\n(?!\Z)|\Z))+"
)

_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_Decoder = msgspec.json.Decoder
_T = TypeVar("_T", Manifest, Index)


def _decoded(decoder: _Decoder[_T], data: bytes) -> _T | None:
    """The manifest or index, or None if the exact decoder has to decide."""
    try:
        found = decoder.decode(data)
    except _REFUSED:
        return None
    merging = _MERGING.findall(data)
    if len(merging) > len(set(merging)) and not _no_repeats(merging, found):
        return None
    if b'"data"' in merging or b'"subject"' in merging:  # rare, and a subject is a descriptor too
        return None
    return None if b"\\" in data and _ESCAPED_KEY.search(data) else found


manifest = functools.partial(_decoded, _Decoder(Manifest))
index = functools.partial(_decoded, _Decoder(Index))


def _no_repeats(merging: list[bytes], found: Manifest | Index) -> bool:
    """Whether no key whose values Go merges occurs more often than the objects that have it."""
    descriptors = found.manifests if isinstance(found, Index) else (found.config, *found.layers)
    platforms = sum(one.platform is not None for one in descriptors)
    annotated = sum(one.annotations is not None for one in descriptors) + (found.annotations is not None)
    allowed = {b'"platform"': platforms, b'"annotations"': annotated}
    return all(merging.count(key) <= allowed.get(key, 1) for key in set(merging))


class _RunConfigKeys(msgspec.Struct, gc=False, forbid_unknown_fields=True, rename="pascal"):
    """The ``config`` of a config, with the Docker keys that Go's struct does not have."""

    user: str = ""
    exposed_ports: dict[str, dict[str, msgspec.Raw]] | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: dict[str, dict[str, msgspec.Raw]] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: msgspec.Raw = msgspec.Raw()
    hostname: msgspec.Raw = msgspec.Raw()
    domainname: msgspec.Raw = msgspec.Raw()
    attach_stdin: msgspec.Raw = msgspec.Raw()
    attach_stdout: msgspec.Raw = msgspec.Raw()
    attach_stderr: msgspec.Raw = msgspec.Raw()
    tty: msgspec.Raw = msgspec.Raw()
    open_stdin: msgspec.Raw = msgspec.Raw()
    stdin_once: msgspec.Raw = msgspec.Raw()
    image: msgspec.Raw = msgspec.Raw()
    on_build: msgspec.Raw = msgspec.Raw()
    mac_address: msgspec.Raw = msgspec.Raw()
    network_disabled: msgspec.Raw = msgspec.Raw()
    shell: msgspec.Raw = msgspec.Raw()
    stop_timeout: msgspec.Raw = msgspec.Raw()


class _ConfigKeys(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A config, with the Docker and BuildKit keys that Go's struct does not have."""

    created: str | None = None
    author: str = ""
    architecture: str = ""
    os: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: tuple[str, ...] = msgspec.field(default=(), name="os.features")
    variant: str = ""
    config: _RunConfigKeys | None = None
    rootfs: RootFS = RootFS()
    history: tuple[History, ...] = ()
    container: msgspec.Raw = msgspec.Raw()
    container_config: msgspec.Raw = msgspec.Raw()
    docker_version: msgspec.Raw = msgspec.Raw()
    comment: msgspec.Raw = msgspec.Raw()
    id: msgspec.Raw = msgspec.Raw()
    parent: msgspec.Raw = msgspec.Raw()
    throwaway: msgspec.Raw = msgspec.Raw()
    buildinfo: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="moby.buildkit.buildinfo.v1")
    cache: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="moby.buildkit.cache.v0")


_configs = msgspec.json.Decoder(_ConfigKeys)


def config(data: bytes) -> ImageConfig | None:
    """The config, or None if the exact decoder has to decide."""
    try:
        found = _configs.decode(data)
    except _REFUSED:
        return None
    times = [step.created for step in found.history if step.created is not None]
    if found.created is not None:
        times.append(found.created)
    merging = _MERGING_CONFIG.findall(data)
    if not _each_once(merging, len(times)) and not _each_once(
        _keys_outside(merging, bytes(found.container_config)), len(times)
    ):
        return None
    if b"\\" in data and _ESCAPED_KEY.search(data):
        return None
    if times and not _TIMES.fullmatch("\n".join(times)):
        return None
    run = found.config
    if run is not None and run.healthcheck:
        return None
    return ImageConfig(
        found.created,
        found.author,
        found.architecture,
        found.os,
        found.os_version,
        found.os_features,
        found.variant,
        RunConfig() if run is None else _run_config(run),
        found.rootfs,
        found.history,
    )


def _each_once(merging: list[bytes], times: int) -> bool:
    """Whether no key whose values Go merges occurs twice, and every ``created`` in the text was decoded."""
    written = merging.count(b'"created"')
    return written == times and len(merging) - written == len(set(merging)) - (written > 0)


def _keys_outside(merging: list[bytes], elsewhere: bytes) -> list[bytes]:
    """The keys that are not in a part that Go does not read."""
    for key in _MERGING_CONFIG.findall(elsewhere):
        merging.remove(key)
    return merging


def _run_config(run: _RunConfigKeys) -> RunConfig:
    return RunConfig(
        run.user,
        tuple(sorted(run.exposed_ports)) if run.exposed_ports else (),
        run.env or (),
        run.entrypoint or (),
        run.cmd or (),
        tuple(sorted(run.volumes)) if run.volumes else (),
        run.working_dir,
        run.labels or {},
        run.stop_signal,
        run.args_escaped,
    )
