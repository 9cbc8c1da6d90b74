"""Content digests: their text as go-digest validates it, and whether bytes have them."""

from __future__ import annotations

import hashlib
import re

_HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX = re.compile(r"[a-f0-9]*")
_SHAPE = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")

FORMAT = "invalid checksum digest format"
LENGTH = "invalid checksum digest length"
UNSUPPORTED = "unsupported digest algorithm"


def digest_error(text: str) -> str | None:
    """What is wrong with the digest ``text``, in Go's words; ``None`` if it is valid (go-digest ``Digest.Validate``).

    Example:
        >>> from imgframe.digests import digest_error
        >>> digest_error("sha256:abc"), digest_error("md5:abc"), digest_error("sha256:" + "0" * 64)
        ('invalid checksum digest length', 'unsupported digest algorithm', None)
    """
    algorithm, colon, encoded = text.partition(":")
    if not (algorithm and colon and encoded):
        return FORMAT
    length = _HEX_LENGTHS.get(algorithm)
    if length is None:
        return UNSUPPORTED if _SHAPE.fullmatch(text) else FORMAT
    if len(encoded.encode("utf-8", "surrogatepass")) != length:
        return LENGTH
    return None if _HEX.fullmatch(encoded) else FORMAT


def sha256(data: bytes | bytearray) -> str:
    """The digest of ``data``, as registries and containerd write it (go-digest ``FromBytes``).

    Example:
        >>> from imgframe import digests
        >>> digests.sha256(b"")[:15]
        'sha256:e3b0c442'
    """
    return f"sha256:{hashlib.sha256(data, usedforsecurity=False).hexdigest()}"


def matches(data: bytes, digest: str) -> bool:
    """Whether ``data`` has the ``digest``; no data has one that :func:`digest_error` refuses.

    Example:
        >>> from imgframe import digests
        >>> digests.matches(b"", digests.sha256(b"")), digests.matches(b"", "md5:d41d8cd98f00b204e9800998ecf8427e")
        (True, False)
    """
    algorithm, _, expected = digest.partition(":")
    known = algorithm in _HEX_LENGTHS
    return known and hashlib.new(algorithm, data, usedforsecurity=False).hexdigest() == expected
