"""Documents decoded into records as Go decodes them: on the fast path where it is exact, else by the exact decoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from imgframe import digests
from imgframe.errors import DocumentError
from imgframe.golang.json import decoder, encoder, scanner
from imgframe.oci import fast_path, go_structs
from imgframe.oci.documents import MAX_BYTES, ImageConfig, Index, Manifest, is_index_type, is_manifest_type
from imgframe.platforms import LINUX_AMD64, Platform, normalize

HEALTHCHECK_LABEL = "nerdctl/healthcheck"
"""The label with Docker's health check as Go's encoding/json writes it, ``<>&`` escaped."""


def _limited(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise DocumentError(
            f"a document of {len(data)} bytes is over the limit of {MAX_BYTES} bytes", code="too_large"
        )


def decode_manifest(data: bytes) -> Manifest:
    """The manifest as Go's json.Unmarshal reads it into ocispec.Manifest, unchecked (see :func:`checked_manifest`).

    Raises:
        DocumentError: with Go's error text; code ``too_large`` over 8 MiB.

    Example:
        >>> from imgframe import oci
        >>> oci.decode_manifest(b'{"CONFIG": {"size": 7}, "layers": []}').config.size
        7
    """
    return _decoded(data, fast_path.manifest, go_structs.MANIFEST)


def decode_index(data: bytes) -> Index:
    """The index as Go's json.Unmarshal reads it into ocispec.Index, unchecked (see :func:`checked_index`).

    Raises:
        DocumentError: with Go's error text; code ``too_large`` over 8 MiB.

    Example:
        >>> from imgframe import oci
        >>> oci.decode_index(b'{"manifests": [{"digest": "sha256:00"}]}').manifests[0].digest
        'sha256:00'
    """
    return _decoded(data, fast_path.index, go_structs.INDEX)


def _decoded(data: bytes, fast: Callable[[bytes], Any], exact: decoder.Struct) -> Any:
    _limited(data)
    found = fast(data)
    return found if found is not None else decoder.decode(scanner.parse(data), exact)


def decode_config(data: bytes) -> ImageConfig:
    """The config as nerdctl's ReadImageConfig returns it: ocispec.Image, with the health check as a label.

    Raises:
        DocumentError: with Go's error text; code ``too_large`` over 8 MiB.

    Example:
        >>> from imgframe import oci
        >>> oci.decode_config(b'{"config": {"Healthcheck": {"Test": ["NONE"]}}}').config.labels
        {'nerdctl/healthcheck': '{"Test":["NONE"]}'}
    """
    _limited(data)
    found = fast_path.config(data)
    if found is not None:
        return found
    tree = scanner.parse(data)
    config = decoder.decode(tree, go_structs.CONFIG)
    check = _healthcheck(tree)
    if check is None:
        return config
    labels = {**config.config.labels, HEALTHCHECK_LABEL: check}
    replace = msgspec.structs.replace
    return replace(config, config=replace(config.config, labels=labels), healthcheck=check)


def _healthcheck(tree: Any) -> str | None:
    """The health check of a Docker config as the text of the label; None if it has none or Go cannot decode it."""
    try:
        check = decoder.decode(tree, go_structs.HEALTH).get("config", {}).get("Healthcheck")
    except DocumentError:
        return None
    if check is None:
        return None
    texts = []
    for name in ("Test", "Interval", "Timeout", "Retries", "StartPeriod"):  # the order of Go's struct
        if value := check.get(name):
            whole = isinstance(value, int)
            written = json.dumps(value) if whole else f"[{','.join(map(encoder.string, value))}]"
            texts.append(f'"{name}":{written}')
    return "{" + ",".join(texts) + "}"


def decode_platform(data: bytes, host: Platform = LINUX_AMD64) -> Platform:
    """The normalised platform of a config; nothing else of it is decoded (images.ConfigPlatform)."""
    _limited(data)
    config = fast_path.config(data)
    found = (
        config.platform if config is not None else decoder.decode(scanner.parse(data), go_structs.PLATFORM)
    )
    return normalize(found, host)


def checked_manifest(data: bytes, media_type: str, where: str) -> Manifest:
    """The manifest, refused where containerd refuses it: schema 1, or an index by its keys or its media type.

    ``where`` is the prefix of the error: ``manifest: invalid desc sha256:…``.
    """
    _limited(data)
    found = fast_path.manifest(data)
    if found is None:
        return decoder.decode(_checked_tree(data, media_type, where), go_structs.MANIFEST)
    if is_index_type(found.media_type):
        raise DocumentError(f"{where}: media-type: expected manifest but found index ({media_type})")
    return found


def checked_index(data: bytes, media_type: str, where: str) -> Index:
    """The index, refused where containerd refuses it: schema 1, or a manifest by its keys or its media type."""
    _limited(data)
    found = fast_path.index(data)
    if found is None:
        return decoder.decode(_checked_tree(data, media_type, where), go_structs.INDEX)
    if is_manifest_type(found.media_type):
        raise DocumentError(f"{where}: media-type: expected index but found manifest ({media_type})")
    return found


def _checked_tree(data: bytes, media_type: str, where: str) -> scanner.Node:
    """The parsed JSON text, refused if it is not of its media type (containerd's validateMediaType)."""
    try:
        tree = scanner.parse(data)
        found = decoder.decode(tree, go_structs.UNKNOWN)
    except DocumentError as error:
        raise DocumentError(f"{where}: {error}") from error
    own = found.get("mediaType", "")
    if "fsLayers" in found:
        raise DocumentError(f"{where}: media-type: schema 1 not supported")
    if is_manifest_type(media_type) and ("manifests" in found or is_index_type(own)):
        raise DocumentError(f"{where}: media-type: expected manifest but found index ({media_type})")
    if is_index_type(media_type) and ("config" in found or "layers" in found or is_manifest_type(own)):
        raise DocumentError(f"{where}: media-type: expected index but found manifest ({media_type})")
    return tree


def chain_ids(diff_ids: Iterable[str]) -> list[str]:
    """The chain ID up to each layer (identity.ChainIDs): the first is the diff ID itself.

    The diff IDs are not validated, as in Go.

    Example:
        >>> from imgframe import oci
        >>> oci.chain_ids(["sha256:a", "sha256:b"])[1][:15]
        'sha256:970a948b'
    """
    found: list[str] = []
    for diff_id in diff_ids:
        chained = f"{found[-1]} {diff_id}".encode("utf-8", "surrogatepass") if found else b""
        found.append(digests.sha256(chained) if found else diff_id)
    return found


def chain_id(diff_ids: Iterable[str]) -> str:
    """The chain ID of all layers (identity.ChainID); empty without layers.

    Example:
        >>> from imgframe import oci
        >>> oci.chain_id([]), oci.chain_id(["sha256:a"])
        ('', 'sha256:a')
    """
    found = chain_ids(diff_ids)
    return found[-1] if found else ""
