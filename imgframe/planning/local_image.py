"""Which local image record an argument of ``ensure`` refers to, as nerdctl's package imgutil decides it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from imgframe import oci, reference
from imgframe.errors import DocumentError, NotFound, ReferenceError_
from imgframe.platforms import Matcher


class EnsuredImage(NamedTuple):
    """An image that is on the node: the argument, the record's name and target digest, and the snapshotter.

    ``remote``: whether it has just been pulled from a registry.
    """

    ref: str
    name: str
    digest: str
    snapshotter: str
    remote: bool


class LocalRecord(NamedTuple):
    """An image record of a store: its name and its target."""

    name: str
    target: oci.Descriptor


class Lookup(NamedTuple):
    """What an argument may refer to: records with these names, or with digests that have these prefixes."""

    raw: str
    names: tuple[str, ...]
    prefixes: tuple[str, ...]

    def candidates(self, records: Iterable[LocalRecord]) -> list[LocalRecord]:
        """The matching records, in the order of the store."""
        return [
            record
            for record in records
            if record.name in self.names or record.target.digest.startswith(self.prefixes)
        ]


@lru_cache(maxsize=4096)
def lookup(raw: str) -> Lookup:
    """How an argument is looked up locally: as a normalised name, as it is, and as the beginning of a digest.

    Raises:
        FilterError: the name is invalid in containerd's filter expression; Go fails in the same way.

    Example:
        >>> lookup("alpine").names
        ('docker.io/library/alpine:latest', 'alpine')
    """
    from imgframe import containerd_filters
    from imgframe.golang.regexp import quote_meta

    names = [raw]
    with contextlib.suppress(ReferenceError_):
        names.insert(0, reference.parse(raw).string)
    wanted = []
    for name in names:
        (selector, *others) = containerd_filters.parse(f"name=={name}")
        if not others:  # a comma makes it two conditions, the second of which is not a field of an image
            wanted.append(selector.value)
    containerd_filters.parse(f"target.digest~=^{quote_meta(raw)}.*$")
    return Lookup(raw, tuple(wanted), (f"sha256:{raw}", raw))


def find_existing(
    wanted: Lookup,
    records: Iterable[LocalRecord],
    matcher: Matcher,
    documents: oci.Documents,
) -> tuple[LocalRecord, oci.ImageConfig]:
    """The first matching record whose config can be read for the platform, and that config.

    Raises:
        NotFound: no record matches, or none can be read; the message ends with Go's words.
    """
    candidates = wanted.candidates(records)
    for record in candidates:
        config = _readable(record.target, matcher, documents)
        if config is not None:
            return record, config
    got = "nil res" if candidates else "count 0"
    raise NotFound(not_existing(wanted.raw, f"got {got} after walking"))


def not_existing(raw: str, why: str) -> str:
    """The message for an image that is not there; ``why`` is Go's text."""
    return f"there is no image {raw!r} for this platform: {why}"


def _readable(target: oci.Descriptor, matcher: Matcher, documents: oci.Documents) -> oci.ImageConfig | None:
    try:
        found = oci.find_config(target, matcher, documents)
        return documents.config(found) if oci.is_config_type(found.media_type) else None
    except DocumentError as error:
        if error.code == "not_collected":  # it is unknown whether it can be read
            raise
        return None


def not_available(raw: str) -> str:
    """The message of mode ``never`` for an image that is not there (nerdctl's words)."""
    return f'image not available: "{raw}"'
