"""What nerdctl reads of an image from a content store: the platforms it lists, the index, the manifest, the config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from imgframe.errors import DocumentError
from imgframe.oci import decode
from imgframe.oci.document_store import Documents
from imgframe.oci.documents import Descriptor, ImageConfig, Manifest, is_index_type, is_manifest_type
from imgframe.oci.resolution import find_config
from imgframe.platforms import Matcher, format, normalize  # noqa: A004 -- the name in platforms


class ListedPlatform(NamedTuple):
    """One platform of an image as nerdctl lists it."""

    manifest_descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig

    @property
    def blob_size(self) -> int:
        """Size of the manifest, its config and its layers by their descriptors [bytes]."""
        sizes = (self.manifest_descriptor.size, self.manifest.config.size)
        return sum(sizes) + sum(layer.size for layer in self.manifest.layers)


def is_attestation(entry: Descriptor) -> bool:
    """Whether an entry of an index is annotated by BuildKit as the attestation of another entry."""
    return (entry.annotations or {}).get("vnd.docker.reference.type") == "attestation-manifest"


def listed_platforms(target: Descriptor, documents: Documents) -> dict[str, ListedPlatform]:
    """The platforms that nerdctl lists for an image: normalised platform of the config → manifest and config.

    In an index every entry that is no attestation counts, whatever its type; unreadable ones are left out, and of two with
    the same platform the later one is listed. Nested indexes are not followed, and media types are not checked.

    Raises:
        NotFound: the target, or the config of a target that is a manifest, is absent.
        DocumentError: it cannot be used, or is neither a manifest nor an index.
    """
    if is_manifest_type(target.media_type):
        name, found = _listed_platform(target, documents)
        return {name: found}
    if not is_index_type(target.media_type):
        raise DocumentError(f"unknown media type: {target.media_type}")
    shown: dict[str, ListedPlatform] = {}
    for entry in documents.unchecked_index(target).manifests:
        if is_attestation(entry):
            continue
        try:
            name, found = _listed_platform(entry, documents)
        except DocumentError:
            continue
        shown[name] = found
    return shown


def _listed_platform(entry: Descriptor, documents: Documents) -> tuple[str, ListedPlatform]:
    manifest = documents.unchecked_manifest(entry)
    config = documents.config(manifest.config)
    return format(normalize(config.platform, documents.host)), ListedPlatform(entry, manifest, config)


class LocatedDocument(NamedTuple):
    """A document and its descriptor; both None where Go finds nothing and returns no error."""

    document: Any
    descriptor: Descriptor | None


NO_DOCUMENT = LocatedDocument(None, None)


def index_in(target: Descriptor, documents: Documents) -> LocatedDocument:
    """The index of an image; none if its target is not an index (nerdctl's ReadIndex).

    Raises:
        DocumentError: it cannot be read (NotFound: it is absent); ``descriptor`` is that of the index.
    """
    if not is_index_type(target.media_type):
        return NO_DOCUMENT
    return LocatedDocument(_at(target, documents.unchecked_index), target)


def manifest_in(target: Descriptor, matcher: Matcher | None, documents: Documents) -> LocatedDocument:
    """The manifest of an image for a platform (nerdctl's ReadManifest).

    In an index it is the first entry with the config that the image resolves to, whatever the entry's own platform; none if
    no entry has it, as with nested indexes.

    Raises:
        DocumentError: a document on the way cannot be read; ``descriptor`` is that of a target that is a manifest.
    """
    if is_manifest_type(target.media_type):
        return LocatedDocument(_at(target, documents.unchecked_manifest), target)
    if not is_index_type(target.media_type):
        return NO_DOCUMENT
    index = documents.unchecked_index(target)
    wanted = find_config(target, matcher, documents)
    for entry in index.manifests:
        try:
            data = documents.data(entry)
        except DocumentError:
            continue
        manifest = decode.decode_manifest(data)
        if manifest.config == wanted:
            return LocatedDocument(manifest, entry)
    return NO_DOCUMENT


def config_in(target: Descriptor, matcher: Matcher | None, documents: Documents) -> LocatedDocument:
    """The config of an image for a platform (nerdctl's ReadImageConfig).

    Raises:
        DocumentError: no config is found, or it cannot be read; then ``descriptor`` is that of the config.
    """
    wanted = find_config(target, matcher, documents)
    return LocatedDocument(_at(wanted, documents.config), wanted)


def _at(wanted: Descriptor, read: Callable[[Descriptor], Any]) -> Any:
    try:
        return read(wanted)
    except DocumentError as error:
        error.descriptor = wanted
        raise
