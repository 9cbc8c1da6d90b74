"""One image name, as nerdctl's ``referenceutil`` reads it."""

from __future__ import annotations

from dataclasses import dataclass

from imgframe.digests import digest_error
from imgframe.errors import ReferenceError_
from imgframe.reference.cid import canonical_cid
from imgframe.reference.grammar import Named, parse_normalized, refuse

ARCHIVE = "image must be loaded from archive before parsing image reference"
_PROTOCOLS = ("ipfs", "ipns")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed image name (Go: ``referenceutil.ImageReference``); absent parts are empty.

    Example:
        >>> from imgframe import reference
        >>> ref = reference.parse("alpine")
        >>> ref.domain, ref.path, ref.tag, ref.explicit_tag, ref.string, ref.familiar_string
        ('docker.io', 'library/alpine', 'latest', '', 'docker.io/library/alpine:latest', 'alpine:latest')
    """

    protocol: str = ""
    """``ipfs`` or ``ipns``; ``ipfs`` for every CID."""
    domain: str = ""
    """Host and port; empty for digests, CIDs and names such as ``a_b.c/d``."""
    path: str = ""
    """Path within the domain; the canonical CID of a CID."""
    tag: str = ""
    """The tag written, or ``latest`` if there is neither tag nor digest; empty: dangling."""
    explicit_tag: str = ""
    """The tag as written."""
    digest: str = ""
    """The digest as written, or ``sha256:`` and the 64 hex digits that the name is."""
    bare: bool = False
    """The name is a bare digest or a CID: glob patterns skip it."""

    @property
    def name(self) -> str:
        """Domain and path."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def _named(self) -> Named:
        return Named(self.domain, self.path, self.tag, self.digest)

    @property
    def familiar_name(self) -> str:
        """The repository as people write it; empty for a bare digest."""
        return self._named.familiar_name

    @property
    def familiar_string(self) -> str:
        """What a glob pattern is tried on: familiar name, tag (default ``latest``), digest; empty if ``bare``."""
        return "" if self.bare else self._named.familiar_string

    @property
    def string(self) -> str:
        """The whole name (Go: ``String()``); with a protocol and no domain only the path, as in Go."""
        if self.protocol and not self.domain:
            return self.path
        return str(self._named) if self.path else self.digest


def split_protocol(name: str) -> tuple[str, str]:
    """The protocol at the beginning of ``name`` (``ipfs``, ``ipns`` or empty) and the rest.

    Example:
        >>> from imgframe.reference.names import split_protocol
        >>> split_protocol("ipfs://a/b")
        ('ipfs', 'a/b')
    """
    for protocol in _PROTOCOLS:
        if name.startswith(f"{protocol}://"):
            return protocol, name[len(protocol) + 3 :]
    return "", name


def parse(name: str) -> Reference:
    """``name`` as nerdctl reads it: protocol, CID, digest, else a normalised name (Go: ``referenceutil.Parse``).

    Raises :class:`~imgframe.errors.ReferenceError_`; its attribute ``go`` is Go's message alone.

    Example:
        >>> from imgframe import reference
        >>> reference.parse("bafkqaaa").protocol, reference.parse("0" * 64).digest[:12]
        ('ipfs', 'sha256:00000')
        >>> reference.parse("a b")
        Traceback (most recent call last):
        imgframe.errors.ReferenceError_: image name 'a b': invalid reference format
    """
    protocol, rest = split_protocol(name)
    if not protocol and name.startswith("oci-archive://"):
        raise refuse(ARCHIVE, name)
    cid = canonical_cid(rest)
    if cid is not None:
        return Reference(protocol="ipfs", path=cid, bare=True)
    for digest in (rest, f"sha256:{rest}"):
        if digest_error(digest) is None:
            return Reference(protocol=protocol, digest=digest, bare=True)
    named = parse_normalized(rest)
    tag = named.tag_name_only().tag
    return Reference(protocol, named.domain, named.path, tag, named.tag, named.digest)


def listed(name: str, reference: Reference | None) -> str:
    """:func:`list_ref` of a name that is already parsed; ``reference`` is ``None`` if it does not parse."""
    if reference is not None and reference.tag:
        return f"{reference.familiar_name}:{reference.tag}"
    head, slash, _ = name.partition("/")
    is_host = slash and (head == "localhost" or "." in head or ":" in head)
    if reference is not None and not reference.bare and is_host:
        return f"{reference.familiar_name}@{reference.digest}"
    return "<untagged>"


def list_ref(name: str) -> str:
    """The text in the IMAGE column of nerdctl's default listing for ``name``; ``<untagged>`` also if it does not parse.

    Example:
        >>> from imgframe import reference
        >>> reference.list_ref("docker.io/library/alpine:3"), reference.list_ref("alpine@sha256:" + "0" * 64)
        ('alpine:3', '<untagged>')
    """
    try:
        return listed(name, parse(name))
    except ReferenceError_:
        return listed(name, None)
