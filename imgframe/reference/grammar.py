"""The grammar of image names and their normalised form, as in the Go package distribution/reference."""

from __future__ import annotations

import re
from typing import NamedTuple

from imgframe.digests import digest_error
from imgframe.errors import ReferenceError_
from imgframe.golang.strings import to_lower

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
OFFICIAL = "library/"
_LEGACY_DOMAIN = "index.docker.io"
_MAX_PATH = 255

INVALID = "invalid reference format"
UPPERCASE = "repository name must be lowercase"
TOO_LONG = "repository name must not be more than 255 characters"
NOT_CANONICAL = "repository name must be canonical"

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_PATH = rf"{_PART}(?:/{_PART})*"
_TAG = r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_HOST_ALONE = re.compile(_HOST)
_PATH_ALONE = re.compile(_PATH)
_TAG_ALONE = re.compile(_TAG)
_DIGEST_ALONE = re.compile(_DIGEST)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


def refuse(go: str, name: str) -> ReferenceError_:
    """The error for ``name`` with Go's message ``go``."""
    return ReferenceError_(f"image name {name!r}: {go}", go=go)


class Named(NamedTuple):
    """The parts of a name that Go's ``ParseNormalizedNamed`` accepts; absent parts are empty.

    Example:
        >>> from imgframe.reference import parse_normalized
        >>> named = parse_normalized("alpine:3.20")
        >>> named.name, named.familiar_name, str(named.tag_name_only())
        ('docker.io/library/alpine', 'alpine', 'docker.io/library/alpine:3.20')
    """

    domain: str
    path: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        """Domain and path without tag and digest."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def familiar_name(self) -> str:
        """The name as people write it: without ``docker.io/``, and without ``library/`` before a single component."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        head, _, rest = self.path.partition("/")
        return rest if head == "library" and rest and "/" not in rest else self.path

    @property
    def familiar_string(self) -> str:
        """The familiar name with tag and digest."""
        return self.familiar_name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        """The whole name: ``name[:tag][@digest]``."""
        return self.name + self._suffix()

    def tag_name_only(self) -> Named:
        """The same with the tag ``latest`` if it has neither tag nor digest (Go: ``TagNameOnly``)."""
        return self if self.tag or self.digest else self._replace(tag=DEFAULT_TAG)


def _match(text: str) -> Named | None:
    """The parts of ``text``, or ``None``; scans from the right, so that no input is slow."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST_ALONE.fullmatch(digest):
        return None
    slash = rest.rfind("/")
    colon = rest.rfind(":")
    tag = ""
    if colon > slash:
        rest, tag = rest[:colon], rest[colon + 1 :]
        if not _TAG_ALONE.fullmatch(tag):
            return None
    domain, _, path = rest.partition("/")
    if path and _HOST_ALONE.fullmatch(domain) and _PATH_ALONE.fullmatch(path):
        return Named(domain, path, tag, digest)
    return Named("", rest, tag, digest) if _PATH_ALONE.fullmatch(rest) else None


def _split_domain(name: str) -> tuple[str, str]:
    head, slash, rest = name.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, OFFICIAL + name
    if head == _LEGACY_DOMAIN:
        head = DEFAULT_DOMAIN
    elif not (head == "localhost" or "." in head or ":" in head or to_lower(head) != head):
        head, rest = DEFAULT_DOMAIN, name
    if head == DEFAULT_DOMAIN and "/" not in rest:
        rest = OFFICIAL + rest
    return head, rest


def parse_normalized(name: str) -> Named:
    """``name`` in its normalised form (Go: ``reference.ParseNormalizedNamed``).

    Raises :class:`~imgframe.errors.ReferenceError_` with Go's message.

    Example:
        >>> from imgframe.reference import parse_normalized
        >>> str(parse_normalized("quay.io/a/b@sha256:" + "0" * 64))[:20]
        'quay.io/a/b@sha256:0'
        >>> parse_normalized("Alpine")
        Traceback (most recent call last):
        imgframe.errors.ReferenceError_: image name 'Alpine': invalid reference format: repository name (library/Alpine) must be lowercase
    """
    if _IDENTIFIER.fullmatch(name):
        raise refuse(f"invalid repository name ({name}), cannot specify 64-byte hexadecimal strings", name)
    domain, remainder = _split_domain(name)
    remote = remainder.partition(":")[0]
    if to_lower(remote) != remote:
        raise refuse(f"{INVALID}: repository name ({remote}) must be lowercase", name)
    whole = f"{domain}/{remainder}"
    named = _match(whole)
    if named is None:
        raise refuse(UPPERCASE if _match(to_lower(whole)) else INVALID, name)
    if len(named.path) > _MAX_PATH:
        raise refuse(TOO_LONG, name)
    wrong = digest_error(named.digest) if named.digest else None
    if wrong:
        raise refuse(wrong, name)
    return named


def parse_docker_ref(name: str) -> str:
    """The whole name with the default tag, or with the digest alone if it has both (Go: ``ParseDockerRef``).

    Raises :class:`~imgframe.errors.ReferenceError_` with Go's message.

    Example:
        >>> from imgframe.reference import parse_docker_ref
        >>> parse_docker_ref("busybox")
        'docker.io/library/busybox:latest'
    """
    named = parse_normalized(name)
    if named.tag and named.digest:
        return str(named._replace(tag=""))
    return str(named.tag_name_only())


def parse_named(name: str) -> str:
    """``name`` if it is already in its normalised form (Go: ``ParseNamed``).

    Raises :class:`~imgframe.errors.ReferenceError_` with Go's message.

    Example:
        >>> from imgframe.reference import parse_named
        >>> parse_named("docker.io/library/busybox:1")
        'docker.io/library/busybox:1'
    """
    whole = str(parse_normalized(name))
    if whole != name:
        raise refuse(NOT_CANONICAL, name)
    return whole


def parse_any(name: str) -> str:
    """``name`` as a digest if it is one (64 hex digits count as sha256), else normalised (Go: ``ParseAnyReference``).

    Raises :class:`~imgframe.errors.ReferenceError_` with Go's message.

    Example:
        >>> from imgframe.reference import parse_any
        >>> parse_any("0" * 64)[:10], parse_any("a/b")
        ('sha256:000', 'docker.io/a/b')
    """
    if _IDENTIFIER.fullmatch(name):
        return f"sha256:{name}"
    return name if digest_error(name) is None else str(parse_normalized(name))
