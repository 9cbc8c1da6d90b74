"""The manifest and the config that an image resolves to for a platform, as containerd's package ``images`` finds them.

No digest is verified here, as in Go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from imgframe.errors import DocumentError, NotFound
from imgframe.oci.document_store import Documents, Read
from imgframe.oci.documents import (
    Descriptor,
    ImageConfig,
    Manifest,
    is_index_type,
    is_manifest_type,
)
from imgframe.platforms import Matcher, Platform

MAX_VISITS = 100_000
"""How many documents one walk may visit; it stops an index that contains itself or multiplies at every level."""


class Resolved(NamedTuple):
    """What an image resolves to for a platform.

    ``config`` is None where the config is absent or cannot be used; ``config_error`` says why.
    """

    manifest_descriptor: Descriptor
    manifest: Manifest
    config_descriptor: Descriptor
    config: ImageConfig | None
    config_error: DocumentError | None


def find_manifest(
    target: Descriptor, matcher: Matcher | None, documents: Documents
) -> tuple[Descriptor, Manifest]:
    """The manifest that a target resolves to for a platform, and its descriptor (images.Manifest).

    A target that is a manifest itself is taken for any platform. Of an index only the best entry is followed, even if it
    turns out unusable. Without a matcher the entries are walked in order and the first manifest is taken.

    Raises:
        NotFound: no manifest matches, or a document on the way is absent.
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
        best = best_entry(documents.index(here).manifests, matcher)
        if best is None:
            raise _no_match(target)
        if best.digest == here.digest:
            raise DocumentError(f"index {here.digest} contains itself", code="cycle")
        here = best


def _no_match(target: Descriptor) -> NotFound:
    return NotFound(f"no match for platform in manifest {target.digest}: not found")


class _HasPlatform(Protocol):
    @property
    def platform(self) -> Platform | None: ...


_Entry = TypeVar("_Entry", bound=_HasPlatform)


def best_entry(entries: Iterable[_Entry], matcher: Matcher) -> _Entry | None:
    """The entry of an index that is followed: the best match, else the first without a platform."""
    best: _Entry | None = None
    for entry in entries:
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
    for here in walk(target, lambda here: _all_children(here, documents)):
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


def walk(
    target: Descriptor, children: Callable[[Descriptor], tuple[Descriptor, ...]]
) -> Iterator[Descriptor]:
    """The target and the descriptors below it, parents first, in order, without recursion.

    Raises:
        DocumentError: a document contains itself, or the walk visits more than :data:`MAX_VISITS`.
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
    """The descriptor of the config that a target resolves to for a platform (images.Config)."""
    return find_manifest(target, matcher, documents)[1].config


def resolve(target: Descriptor, matcher: Matcher | None, read: Read | Documents) -> Resolved:
    """The manifest and the config that a target resolves to for a platform.

    ``read`` gives the bytes of a digest or None; a :class:`Documents` decodes each document once. A config that cannot be
    read is None in the result, with its error beside it; everything above it must be readable.

    Raises:
        NotFound: no manifest matches, or a document on the way is absent.
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
