"""Content digests as go-digest validates them."""

from __future__ import annotations

import re

_HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX = re.compile(r"[a-f0-9]*")
_SHAPE = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")

FORMAT = "invalid checksum digest format"
LENGTH = "invalid checksum digest length"
UNSUPPORTED = "unsupported digest algorithm"


def digest_error(text: str) -> str | None:
    """Go's words for what is wrong with the digest ``text``; ``None`` if it is valid (go-digest ``Digest.Validate``).

    Example:
        >>> from imgframe.reference.digests import digest_error
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
