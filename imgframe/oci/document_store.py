"""A content store to walk through: a callable from digest to bytes, with each document decoded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from imgframe.digests import digest_error, matches
from imgframe.errors import DocumentError, NotFound
from imgframe.golang.strconv import quote
from imgframe.oci import decode
from imgframe.oci.documents import Descriptor, ImageConfig, Index, Manifest
from imgframe.platforms import LINUX_AMD64, Platform

Read = Callable[[str], bytes | None]


class Documents:
    """A store whose documents are decoded once.

    ``read`` gives the bytes of a digest, None if the blob is absent, or raises DocumentError. Stores that share
    ``decoded`` decode a document once for all of them; each still reads it itself.

    Example:
        >>> from imgframe import oci
        >>> oci.Documents({}.get).data(oci.Descriptor(digest="sha256:" + "0" * 64))
        Traceback (most recent call last):
        imgframe.errors.NotFound: content digest sha256:0000000000000000000000000000000000000000000000000000000000000000: not found
    """

    def __init__(
        self, read: Read, host: Platform = LINUX_AMD64, decoded: dict[Any, Any] | None = None
    ) -> None:
        self.read = read
        self.host = host
        self._own: dict[Any, Any] = {}
        self._decoded = self._own if decoded is None else decoded

    def data(self, wanted: Descriptor) -> bytes:
        """The bytes of a descriptor: its inline data if size and digest are right, else what the store has.

        Raises:
            NotFound: the store does not have it.
            DocumentError: the digest is malformed.
        """
        digest = wanted.digest
        if len(wanted.data) == wanted.size:
            problem = digest_error(digest)
            if problem:
                raise DocumentError(f"invalid descriptor digest: {problem}")
            if matches(wanted.data, digest):
                return wanted.data
        if digest_error(digest):
            raise DocumentError(f"{quote(digest)} failed validation")
        found = self.read(digest)
        if found is None:
            raise NotFound(f"content digest {digest}: not found")
        return found

    def manifest(self, wanted: Descriptor) -> Manifest:
        """The checked manifest of a descriptor."""
        return self._checked("manifest", wanted, decode.checked_manifest)

    def index(self, wanted: Descriptor) -> Index:
        """The checked index of a descriptor."""
        return self._checked("index", wanted, decode.checked_index)

    def _checked(self, kind: str, wanted: Descriptor, decoder: Callable[[bytes, str, str], Any]) -> Any:
        where = f"manifest: invalid desc {wanted.digest}"
        return self._once(kind, wanted, lambda data: decoder(data, wanted.media_type, where))

    def unchecked_manifest(self, wanted: Descriptor) -> Manifest:
        """The manifest of a descriptor, unchecked."""
        return self._once("unchecked manifest", wanted, decode.decode_manifest)

    def unchecked_index(self, wanted: Descriptor) -> Index:
        """The index of a descriptor, unchecked."""
        return self._once("unchecked index", wanted, decode.decode_index)

    def config(self, wanted: Descriptor) -> ImageConfig:
        """The config of a descriptor."""
        return self._once("config", wanted, decode.decode_config)

    def config_platform(self, wanted: Descriptor) -> Platform:
        """The normalised platform of a config."""
        kind = f"platform for {self.host}"
        return self._once(kind, wanted, lambda data: decode.decode_platform(data, self.host))

    def _once(self, kind: str, wanted: Descriptor, decoder: Callable[[bytes], Any]) -> Any:
        if wanted.data:  # inline: not what the digest alone says
            return decoder(self.data(wanted))
        key = (kind, wanted.digest, wanted.media_type)
        if key not in self._own:
            data = self.data(wanted)
            if key not in self._decoded:
                self._decoded[key] = decoder(data)
            self._own[key] = self._decoded[key]
        return self._own[key]
