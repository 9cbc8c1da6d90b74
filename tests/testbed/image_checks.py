"""containerd's images.Check and images.Platforms, which its vectors measure, on the resolution of imgframe."""

from typing import NamedTuple

from imgframe import oci
from imgframe.digests import digest_error
from imgframe.errors import DocumentError, NotFound
from imgframe.golang.strconv import quote
from imgframe.oci import Descriptor, Documents, find_manifest, is_config_type, is_index_type, is_manifest_type
from imgframe.oci.resolution import walk
from imgframe.platforms import Matcher, Platform


class BlobCheck(NamedTuple):
    """Which blobs an image needs, and which of them are present (images.Check)."""

    available: bool
    required: tuple[Descriptor, ...]
    present: tuple[Descriptor, ...]
    missing: tuple[Descriptor, ...]


def has(documents: Documents, wanted: Descriptor) -> bool:
    """Whether the store has the blob; inline data does not count."""
    if digest_error(wanted.digest):
        raise DocumentError(f"{quote(wanted.digest)} failed validation")
    return documents.read(wanted.digest) is not None


def _checked(documents, here, decode):
    return decode(documents.data(here), here.media_type, f"children: invalid desc {here.digest}")


def check_blobs(target: Descriptor, matcher: Matcher | None, documents: Documents) -> BlobCheck:
    """Which blobs an image needs for a platform and which of them are present (images.Check).

    Raises:
        DocumentError: a document on the way cannot be used; an absent one is no error.
    """
    try:
        manifest = find_manifest(target, matcher, documents)[1]
    except NotFound:
        return BlobCheck(False, (target,), (), (target,))
    except DocumentError as error:
        raise DocumentError(f"failed to check image {target.digest}: {error}", code=error.code) from error
    required = (manifest.config, *manifest.layers)
    present: list[Descriptor] = []
    missing: list[Descriptor] = []
    for one in required:
        try:
            (present if has(documents, one) else missing).append(one)
        except DocumentError as error:
            raise DocumentError(f"failed to check image {one.digest}: {error}", code=error.code) from error
    return BlobCheck(True, required, tuple(present), tuple(missing))


def find_platforms(target: Descriptor, documents: Documents) -> tuple[list[Platform], DocumentError | None]:
    """The platforms of an image as far as the walk got, and the error that ended it (images.Platforms)."""
    found: list[Platform] = []

    def children(here: Descriptor) -> tuple[Descriptor, ...]:
        if here.platform is not None:
            return ()
        if is_manifest_type(here.media_type):
            manifest = _checked(documents, here, oci.checked_manifest)
            return (manifest.config, *manifest.layers)
        return (
            _checked(documents, here, oci.checked_index).manifests if is_index_type(here.media_type) else ()
        )

    try:
        for here in walk(target, children):
            if here.platform is not None:
                if "unknown" not in {here.platform.os, here.platform.architecture}:
                    found.append(here.platform)
            elif is_config_type(here.media_type):
                found.append(documents.config_platform(here))
    except DocumentError as error:
        return found, error
    return found, None
