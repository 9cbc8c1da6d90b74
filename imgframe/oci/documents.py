"""The documents of an image as frozen records: index, manifest, config, and the descriptors between them.

Fields and their meaning are those of the OCI image specification (image-spec 1.1); the names are Python's. What a document
leaves out, or sets to null, is empty: ``""``, ``0``, ``()`` or ``{}``; ``annotations``, ``platform``, ``subject`` and
``created`` are None.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from imgframe.platforms import Platform

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"

MAX_BYTES = 8 << 20
"""Larger documents are refused."""


def is_manifest_type(media_type: str) -> bool:
    """Whether a descriptor of this type leads to a manifest (images.IsManifestType)."""
    return media_type in {OCI_MANIFEST, DOCKER_MANIFEST}


def is_index_type(media_type: str) -> bool:
    """Whether a descriptor of this type leads to an index or a manifest list (images.IsIndexType)."""
    return media_type in {OCI_INDEX, DOCKER_INDEX}


def is_config_type(media_type: str) -> bool:
    """Whether a descriptor of this type leads to a config (images.IsConfigType)."""
    return media_type in {OCI_CONFIG, DOCKER_CONFIG}


Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class NilList(tuple[Any, ...]):
    """The empty tuple for Go's nil slice: the document has no such list, or null in its place."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return _nil, ()


NIL = NilList()


def _nil() -> NilList:
    return NIL


class Descriptor(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A reference to a document or a layer: its type, digest and size, and what an index says about it.

    Example:
        >>> from imgframe import oci
        >>> oci.Descriptor("application/vnd.oci.image.manifest.v1+json", "sha256:" + "0" * 64, 7).size
        7
    """

    media_type: str = msgspec.field(default="", name="mediaType")
    digest: str = ""
    size: Int64 = 0
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] | None = None
    data: bytes = b""
    platform: Platform | None = None
    artifact_type: str = msgspec.field(default="", name="artifactType")


class Manifest(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """An image manifest: its config and its layers, base layer first."""

    schema_version: Int64 = msgspec.field(default=0, name="schemaVersion")
    media_type: str = msgspec.field(default="", name="mediaType")
    artifact_type: str = msgspec.field(default="", name="artifactType")
    config: Descriptor = Descriptor()
    layers: tuple[Descriptor, ...] = NIL
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """An index or Docker manifest list: the manifests of several platforms, in the order of the document."""

    schema_version: Int64 = msgspec.field(default=0, name="schemaVersion")
    media_type: str = msgspec.field(default="", name="mediaType")
    artifact_type: str = msgspec.field(default="", name="artifactType")
    manifests: tuple[Descriptor, ...] = NIL
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class RunConfig(msgspec.Struct, frozen=True, gc=False):
    """How a container of the image is run: the ``config`` of a config."""

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: dict[str, str] = {}
    stop_signal: str = ""
    args_escaped: bool = False


class RootFS(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The layers of an image by the digests of their uncompressed bytes, base layer first."""

    type: str = ""
    diff_ids: tuple[str, ...] = NIL


class History(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One step of the build. ``created`` is RFC 3339 text, checked as Go reads it."""

    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(msgspec.Struct, frozen=True, gc=False):
    """An image config: platform, how to run it, the layers' diff IDs and the history.

    ``created`` is RFC 3339 text, checked as Go reads it. ``healthcheck`` is compact JSON
    text as nerdctl writes it into the label ``nerdctl/healthcheck`` (also in ``config.labels``); None without a health check.
    """

    created: str | None = None
    author: str = ""
    architecture: str = ""
    os: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    variant: str = ""
    config: RunConfig = RunConfig()
    rootfs: RootFS = RootFS()
    history: tuple[History, ...] = ()
    healthcheck: str | None = None

    @property
    def platform(self) -> Platform:
        """The platform as written."""
        return Platform(self.os, self.architecture, self.variant, self.os_version, self.os_features)
