"""From the target of an image to its manifest and config, as containerd's package images walks there.

The store is a callable: digest → bytes, or None for a blob that is not there. Nothing is verified here, as in Go.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from imgframe._gotext import quote
from imgframe.errors import DocumentError, NotFound
from imgframe.oci import decoding
from imgframe.oci.documents import (
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    is_config_type,
    is_index_type,
    is_manifest_type,
)
from imgframe.platforms import LINUX_AMD64, Matcher, Platform, format, normalize  # noqa: A004 -- the name in platforms

Read = Callable[[str], bytes | None]

MAX_VISITS = 100_000
"""Documents that one walk may visit: an index that leads to itself, or grows at every level, ends there."""

_DIGEST = re.compile(r"(?:sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128})", re.ASCII)
_ANY_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", re.ASCII)
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


def digest_error(digest: str) -> str | None:
    """Why go-digest refuses the text (Digest.Validate); None if it does not.

    Example:
        >>> digest_error("sha256:abc")
        'invalid checksum digest length'
    """
    if _DIGEST.fullmatch(digest):
        return None
    algorithm, colon, rest = digest.partition(":")
    if not colon or not algorithm or not rest:
        return "invalid checksum digest format"
    if algorithm in _LENGTHS:
        short = len(rest.encode("utf-8", "surrogatepass")) != _LENGTHS[algorithm]
        return f"invalid checksum digest {'length' if short else 'format'}"
    known = _ANY_DIGEST.fullmatch(digest)
    return "unsupported digest algorithm" if known else "invalid checksum digest format"


class Resolved(NamedTuple):
    """What a platform finds in an image.

    ``config`` is None where the config is not there or cannot be used; ``config_error`` says why.
    """

    manifest_descriptor: Descriptor
    manifest: Manifest
    config_descriptor: Descriptor
    config: ImageConfig | None
    config_error: DocumentError | None


class Checked(NamedTuple):
    """Which blobs an image needs, and which of them are there (images.Check)."""

    available: bool
    required: tuple[Descriptor, ...]
    present: tuple[Descriptor, ...]
    missing: tuple[Descriptor, ...]


class Documents:
    """A store whose documents are decoded once.

    ``read`` gives the bytes of a digest, None if the blob is not there, or raises DocumentError.

    Example:
        >>> from imgframe import oci
        >>> oci.Documents({}.get).data(oci.Descriptor(digest="sha256:" + "0" * 64))
        Traceback (most recent call last):
        imgframe.errors.NotFound: content digest sha256:0000000000000000000000000000000000000000000000000000000000000000: not found
    """

    def __init__(self, read: Read, host: Platform = LINUX_AMD64) -> None:
        self.read = read
        self.host = host
        self._decoded: dict[tuple[str, str, str], Any] = {}

    def data(self, wanted: Descriptor) -> bytes:
        """The bytes of a descriptor: its inline data if length and digest are right, else what the store has.

        Raises:
            NotFound: the store does not have it.
            DocumentError: the digest is malformed.
        """
        digest = wanted.digest
        if len(wanted.data) == wanted.size:
            problem = digest_error(digest)
            if problem:
                raise DocumentError(f"invalid descriptor digest: {problem}")
            algorithm, _, expected = digest.partition(":")
            if hashlib.new(algorithm, wanted.data).hexdigest() == expected:
                return wanted.data
        self._refuse(digest)
        found = self.read(digest)
        if found is None:
            raise NotFound(f"content digest {digest}: not found")
        return found

    def has(self, wanted: Descriptor) -> bool:
        """Whether the store has the blob; inline data does not count.

        Raises:
            DocumentError: the digest is malformed.
        """
        self._refuse(wanted.digest)
        return self.read(wanted.digest) is not None

    def manifest(self, wanted: Descriptor, where: str = "manifest") -> Manifest:
        """The checked manifest of a descriptor."""
        prefix = f"{where}: invalid desc {wanted.digest}"
        return self._once(
            "manifest", wanted, lambda data: decoding.checked_manifest(data, wanted.media_type, prefix), where
        )

    def index(self, wanted: Descriptor, where: str = "manifest") -> Index:
        """The checked index of a descriptor."""
        prefix = f"{where}: invalid desc {wanted.digest}"
        return self._once(
            "index", wanted, lambda data: decoding.checked_index(data, wanted.media_type, prefix), where
        )

    def plain_manifest(self, wanted: Descriptor) -> Manifest:
        """The manifest of a descriptor, unchecked."""
        return self._once("plain manifest", wanted, decoding.decode_manifest)

    def plain_index(self, wanted: Descriptor) -> Index:
        """The index of a descriptor, unchecked."""
        return self._once("plain index", wanted, decoding.decode_index)

    def config(self, wanted: Descriptor) -> ImageConfig:
        """The config of a descriptor."""
        return self._once("config", wanted, decoding.decode_config)

    def config_platform(self, wanted: Descriptor) -> Platform:
        """The normalised platform of a config."""
        return self._once("platform", wanted, lambda data: decoding.decode_platform(data, self.host))

    def _refuse(self, digest: str) -> None:
        if digest_error(digest):
            raise DocumentError(f"{quote(digest)} failed validation")

    def _once(self, kind: str, wanted: Descriptor, decode: Callable[[bytes], Any], where: str = "") -> Any:
        if wanted.data:  # inline: not what the digest alone says
            return decode(self.data(wanted))
        key = (kind + where, wanted.digest, wanted.media_type)
        if key not in self._decoded:
            self._decoded[key] = decode(self.data(wanted))
        return self._decoded[key]


def find_manifest(
    target: Descriptor, matcher: Matcher | None, documents: Documents
) -> tuple[Descriptor, Manifest]:
    """The manifest that a platform finds below a target, and its descriptor (images.Manifest).

    A manifest as target is the answer whatever its platform. Of an index only the best entry is followed, whatever
    becomes of it. Without a matcher the entries are walked in order and the first manifest is the answer.

    Raises:
        NotFound: no manifest matches, or a document on the way is not there.
        DocumentError: a document on the way cannot be used.
    """
    if matcher is None:
        return _first_manifest(target, documents)
    here, depth = target, 0
    while True:
        depth += 1
        if depth > MAX_VISITS:
            raise DocumentError(f"index {target.digest} contains itself", code="cycle")
        if is_manifest_type(here.media_type):
            manifest = documents.manifest(here)
            if here.digest == target.digest:
                return here, manifest
            own = here.platform if here.platform is not None else documents.config_platform(manifest.config)
            if matcher.match(own):
                return here, manifest
            raise _no_match(target)
        if not is_index_type(here.media_type):
            raise NotFound(f"unexpected media type {here.media_type} for {here.digest}: not found")
        best = best_entry(documents.index(here), matcher)
        if best is None:
            raise _no_match(target)
        if best.digest == here.digest:
            raise DocumentError(f"index {here.digest} contains itself", code="cycle")
        here = best


def _no_match(target: Descriptor) -> NotFound:
    return NotFound(f"no match for platform in manifest {target.digest}: not found")


def best_entry(index: Index, matcher: Matcher) -> Descriptor | None:
    """The entry of an index that is followed: the best match, else the first without a platform."""
    best: Descriptor | None = None
    for entry in index.manifests:
        if entry.platform is not None and not matcher.match(entry.platform):
            continue
        if best is None or (
            entry.platform is not None
            and (best.platform is None or matcher.less(entry.platform, best.platform))
        ):
            best = entry
    return best


def _first_manifest(target: Descriptor, documents: Documents) -> tuple[Descriptor, Manifest]:
    found: tuple[Descriptor, Manifest] | None = None
    for here in _walk(target, lambda here: _all_children(here, documents)):
        if is_manifest_type(here.media_type):
            manifest = documents.manifest(here)
            found = found or (here, manifest)
    if found is None:
        raise NotFound(f"manifest {target.digest}: not found")
    return found


def _all_children(here: Descriptor, documents: Documents) -> tuple[Descriptor, ...]:
    if is_manifest_type(here.media_type):
        return ()
    if is_index_type(here.media_type):
        return documents.index(here).manifests
    raise NotFound(f"unexpected media type {here.media_type} for {here.digest}: not found")


def _walk(
    target: Descriptor, children: Callable[[Descriptor], tuple[Descriptor, ...]]
) -> Iterator[Descriptor]:
    """The descriptors below a target, parents first, in order, without recursion.

    Raises:
        DocumentError: a document leads to itself, or the walk is longer than :data:`MAX_VISITS`.
    """
    waiting: list[tuple[Descriptor, int]] = [(target, 0)]
    above: list[str] = []
    visits = 0
    while waiting:
        here, depth = waiting.pop()
        del above[depth:]
        visits += 1
        if here.digest in above[-1000:]:
            raise DocumentError(f"index {here.digest} contains itself", code="cycle")
        if visits > MAX_VISITS:
            raise DocumentError(
                f"{target.digest} leads to more than {MAX_VISITS} documents", code="too_large"
            )
        yield here
        below = children(here)
        above.append(here.digest)
        waiting.extend((child, depth + 1) for child in reversed(below))


def find_config(target: Descriptor, matcher: Matcher | None, documents: Documents) -> Descriptor:
    """The descriptor of the config that a platform finds below a target (images.Config)."""
    return find_manifest(target, matcher, documents)[1].config


def resolve(target: Descriptor, matcher: Matcher | None, read: Read | Documents) -> Resolved:
    """The manifest and the config that a platform finds below a target.

    ``read`` gives the bytes of a digest or None; a :class:`Documents` remembers what it has decoded. A config that cannot
    be read is None in the answer, beside its error; everything before it must be there.

    Raises:
        NotFound: no manifest matches, or a document on the way is not there.
        DocumentError: a document on the way cannot be used.

    Example:
        >>> from imgframe import oci, platforms
        >>> blobs = {
        ...     (config := "sha256:" + "c" * 64): b'{"os": "linux", "architecture": "amd64"}',
        ...     (manifest := "sha256:" + "d" * 64): b'{"config": {"digest": "%s", "size": 40}}' % config.encode(),
        ... }
        >>> target = oci.Descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
        >>> str(oci.resolve(target, platforms.default(), blobs.get).config.platform)
        'linux/amd64'
    """
    documents = read if isinstance(read, Documents) else Documents(read)
    descriptor, manifest = find_manifest(target, matcher, documents)
    config, problem = None, None
    try:
        config = documents.config(manifest.config)
    except DocumentError as error:
        problem = error
    return Resolved(descriptor, manifest, manifest.config, config, problem)


def check_blobs(target: Descriptor, matcher: Matcher | None, documents: Documents) -> Checked:
    """Which blobs the platform's image needs and which are there (images.Check).

    Raises:
        DocumentError: a document on the way cannot be used; one that is not there is no error.
    """
    try:
        manifest = find_manifest(target, matcher, documents)[1]
    except NotFound:
        return Checked(False, (target,), (), (target,))
    except DocumentError as error:
        raise DocumentError(f"failed to check image {target.digest}: {error}", code=error.code) from error
    required = (manifest.config, *manifest.layers)
    present: list[Descriptor] = []
    missing: list[Descriptor] = []
    for one in required:
        try:
            (present if documents.has(one) else missing).append(one)
        except DocumentError as error:
            raise DocumentError(f"failed to check image {one.digest}: {error}", code=error.code) from error
    return Checked(True, required, tuple(present), tuple(missing))


def find_platforms(target: Descriptor, documents: Documents) -> tuple[list[Platform], DocumentError | None]:
    """The platforms of an image, as far as the walk came, and what ended it (images.Platforms)."""
    found: list[Platform] = []

    def children(here: Descriptor) -> tuple[Descriptor, ...]:
        if here.platform is not None:
            return ()
        if is_manifest_type(here.media_type):
            manifest = documents.manifest(here, "children")
            return (manifest.config, *manifest.layers)
        return documents.index(here, "children").manifests if is_index_type(here.media_type) else ()

    try:
        for here in _walk(target, children):
            if here.platform is not None:
                if "unknown" not in {here.platform.os, here.platform.architecture}:
                    found.append(here.platform)
            elif is_config_type(here.media_type):
                found.append(documents.config_platform(here))
    except DocumentError as error:
        return found, error
    return found, None


class Listed(NamedTuple):
    """What nerdctl's image listing shows of one platform of an image."""

    manifest_descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig

    @property
    def blob_size(self) -> int:
        """Bytes as the descriptors say: the manifest, its config and its layers."""
        sizes = (self.manifest_descriptor.size, self.manifest.config.size)
        return sum(sizes) + sum(layer.size for layer in self.manifest.layers)


def is_attestation(entry: Descriptor) -> bool:
    """Whether an entry of an index is BuildKit's attestation of another entry, by its annotation."""
    return (entry.annotations or {}).get("vnd.docker.reference.type") == "attestation-manifest"


def listing(target: Descriptor, documents: Documents) -> dict[str, Listed]:
    """What nerdctl's listing finds in an image: normalised platform of the config → manifest and config.

    Of an index every entry that is no attestation is looked at, whatever its type; one that cannot be read is left out;
    of two with the same platform the later one is shown. Nested indexes are not followed. Nothing is checked against the
    media type.

    Raises:
        NotFound: the target, or the config of a manifest as target, is not there.
        DocumentError: it cannot be used, or is neither a manifest nor an index.
    """
    if is_manifest_type(target.media_type):
        name, found = _listed(target, documents)
        return {name: found}
    if not is_index_type(target.media_type):
        raise DocumentError(f"unknown media type: {target.media_type}")
    shown: dict[str, Listed] = {}
    for entry in documents.plain_index(target).manifests:
        if is_attestation(entry):
            continue
        try:
            name, found = _listed(entry, documents)
        except DocumentError:
            continue
        shown[name] = found
    return shown


def _listed(entry: Descriptor, documents: Documents) -> tuple[str, Listed]:
    manifest = documents.plain_manifest(entry)
    config = documents.config(manifest.config)
    return format(normalize(config.platform, documents.host)), Listed(entry, manifest, config)


class Found(NamedTuple):
    """A document and the descriptor that leads to it; both None where Go finds nothing and reports no error."""

    document: Any
    descriptor: Descriptor | None


NOTHING_FOUND = Found(None, None)


def read_index(target: Descriptor, documents: Documents) -> Found:
    """The index of an image; nothing if its target is none (nerdctl's ReadIndex).

    Raises:
        DocumentError: it cannot be read (NotFound: it is not there); ``descriptor`` is that of the index.
    """
    if not is_index_type(target.media_type):
        return NOTHING_FOUND
    return Found(_at(target, documents.plain_index), target)


def read_manifest(target: Descriptor, matcher: Matcher | None, documents: Documents) -> Found:
    """The manifest of an image for a platform (nerdctl's ReadManifest).

    In an index it is the first entry whose config is the one that the platform finds, whatever the entry's own platform;
    nothing if none has it, as with nested indexes.

    Raises:
        DocumentError: a document on the way cannot be read; ``descriptor`` is that of a manifest as target.
    """
    if is_manifest_type(target.media_type):
        return Found(_at(target, documents.plain_manifest), target)
    if not is_index_type(target.media_type):
        return NOTHING_FOUND
    index = documents.plain_index(target)
    wanted = find_config(target, matcher, documents)
    for entry in index.manifests:
        try:
            data = documents.data(entry)
        except DocumentError:
            continue
        manifest = decoding.decode_manifest(data)
        if manifest.config == wanted:
            return Found(manifest, entry)
    return NOTHING_FOUND


def read_image_config(target: Descriptor, matcher: Matcher | None, documents: Documents) -> Found:
    """The config of an image for a platform (nerdctl's ReadImageConfig).

    Raises:
        DocumentError: no config is found or it cannot be read; then ``descriptor`` is that of the config.
    """
    wanted = find_config(target, matcher, documents)
    return Found(_at(wanted, documents.config), wanted)


def _at(wanted: Descriptor, read: Callable[[Descriptor], Any]) -> Any:
    try:
        return read(wanted)
    except DocumentError as error:
        error.descriptor = wanted
        raise
