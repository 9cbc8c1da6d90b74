"""Platforms as values: parsed, normalised, formatted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote_to_bytes

import msgspec

from imgframe.errors import PlatformError
from imgframe.golang import path, utf8
from imgframe.golang.strconv import quote
from imgframe.golang.strings import to_lower

_OS_NAMES = (
    "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris "
    "windows zos"
)
_ARCHITECTURES = (
    "386 amd64 amd64p32 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64 mips64le "
    "mips64p32 mips64p32le ppc riscv riscv64 s390 s390x sparc sparc64 wasm"
)
_KNOWN_OS, _KNOWN_ARCHITECTURES = frozenset(_OS_NAMES.split()), frozenset(_ARCHITECTURES.split())
_OS_PATTERN = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$"
_PART_PATTERN = r"^[A-Za-z0-9_.-]+$"
_OS = re.compile(_OS_PATTERN[1:-1])
_PART = re.compile(_PART_PATTERN[1:-1])
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}")
_ENCODED = str.maketrans({"%": "%25", "+": "%2B", "(": "%28", ")": "%29", "/": "%2F"})
_MAX_PARTS = 4


class Platform(
    msgspec.Struct,
    frozen=True,
    gc=False,
    omit_defaults=True,
    forbid_unknown_fields=True,
    rename={"os_version": "os.version", "os_features": "os.features"},
):
    """A platform, as written: nothing is normalised until :func:`normalize`.

    Example:
        >>> from imgframe.platforms import Platform
        >>> str(Platform("linux", "arm", "v7"))
        'linux/arm/v7'
    """

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        return format_all(self)


LINUX_AMD64 = Platform("linux", "amd64")
"""The default of ``host``."""


def as_platform(value: Platform | str, host: Platform = LINUX_AMD64) -> Platform:
    """The value itself; a text is parsed."""
    return value if isinstance(value, Platform) else parse(value, host)


def parse(text: str, host: Platform | str = LINUX_AMD64) -> Platform:
    """The platform that a specifier such as ``linux/arm64``, ``arm64`` or ``windows(10.0.20348)/amd64`` names.

    One part is an operating system or an architecture; ``host`` gives what is left open. Source: platforms.Parse.

    Raises:
        PlatformError: with Go's message.

    Example:
        >>> from imgframe import platforms
        >>> platforms.parse("arm64", host=platforms.Platform("linux", "amd64")).architecture
        'arm64'
    """
    host = as_platform(host)
    if "*" in text:
        raise PlatformError(f"{quote(text)}: wildcards not yet supported: invalid argument")
    parts = text.split("/", _MAX_PARTS - 1)
    os, version, features = _parse_os(parts[0], text)
    for part in parts[1:]:
        if not _PART.fullmatch(part):
            raise PlatformError(
                f"{quote(part)} is an invalid component of {quote(text)}: "
                f"platform specifier component must match {quote(_PART_PATTERN)}: invalid argument"
            )
    if len(parts) == _MAX_PARTS:
        raise PlatformError(f"{quote(text)}: cannot parse platform specifier: invalid argument")
    if len(parts) == 1 and os in _KNOWN_OS:
        variant = host.variant if host.architecture == "arm" and host.variant != "v7" else ""
        return Platform(os, host.architecture, variant, version, features)
    architecture, variant = _normal_architecture(parts[1] if len(parts) > 1 else parts[0], "".join(parts[2:]))
    if len(parts) < 3:
        if architecture == "arm" and variant == "v7":
            variant = ""
    elif architecture == "arm64" and not variant:
        variant = "v8"
    if len(parts) == 1:
        if architecture not in _KNOWN_ARCHITECTURES:
            raise PlatformError(f"{quote(text)}: unknown operating system or architecture: invalid argument")
        os = host.os
    return Platform(os, architecture, variant, version, features)


def _parse_os(part: str, text: str) -> tuple[str, str, tuple[str, ...]]:
    """Operating system, version and features of the first part."""
    found = _OS.fullmatch(part)
    if not found:
        raise PlatformError(
            f"{quote(part)} is an invalid OS component of {quote(text)}: "
            f"OSAndVersion specifier component must match {quote(_OS_PATTERN)}: invalid argument"
        )
    try:
        version = _decoded(found[2] or "")
    except ValueError as error:
        raise PlatformError(f"{quote(text)} has an invalid OS version {quote(found[2])}: {error}") from None
    features = []
    for feature in (found[3] or "").split("+")[1:]:
        try:
            features.append(_decoded(feature))
        except ValueError as error:
            problem = f"invalid os feature {quote(feature)}: {error}"
            raise PlatformError(f"{quote(text)} has invalid OS features: {problem}") from None
    return _normal_os(found[1], ""), version, tuple(features)


def _decoded(raw: str) -> str:
    bad = _BAD_ESCAPE.search(raw)
    if bad:
        raise ValueError(f"invalid URL escape {quote(bad[0])}")
    return utf8.decode(unquote_to_bytes(raw))


def normalize(platform: Platform, host: Platform | str = LINUX_AMD64) -> Platform:
    """The platform in the form that containerd compares: lower case, aliases resolved, features sorted.

    An empty operating system becomes that of ``host``. Source: platforms.Normalize.

    Example:
        >>> from imgframe.platforms import Platform, normalize
        >>> str(normalize(Platform("Linux", "armhf")))
        'linux/arm/v7'
    """
    return normalized(platform, as_platform(host).os)


@lru_cache(maxsize=4096)
def normalized(platform: Platform, host_os: str) -> Platform:
    """As :func:`normalize`, given the host's operating system; cached."""
    architecture, variant = _normal_architecture(platform.architecture, platform.variant)
    features = tuple(sorted(set(platform.os_features)))
    return Platform(_normal_os(platform.os, host_os), architecture, variant, platform.os_version, features)


def _normal_os(os: str, host_os: str) -> str:
    os = to_lower(os) or host_os
    return "darwin" if os == "macos" else os


_VARIANTS = {
    "amd64": {"v1": ""},
    "arm64": {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"},
    "arm": {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"},
}
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
_FIXED = {"i386": ("386", ""), "armhf": ("arm", "v7"), "armel": ("arm", "v6")}


def _normal_architecture(architecture: str, variant: str) -> tuple[str, str]:
    architecture, variant = to_lower(architecture), to_lower(variant)
    if architecture in _FIXED:
        return _FIXED[architecture]
    architecture = _ALIASES.get(architecture, architecture)
    return architecture, _VARIANTS.get(architecture, {}).get(variant, variant)


def format(platform: Platform) -> str:  # noqa: A001 -- Go's name
    """``os/architecture/variant`` without empty parts, ``unknown`` without an operating system (platforms.Format).

    Example:
        >>> from imgframe.platforms import Platform, format
        >>> format(Platform("linux", "arm", "v7")), format(Platform())
        ('linux/arm/v7', 'unknown')
    """
    if not platform.os:
        return "unknown"
    return path.join(platform.os, platform.architecture, platform.variant)


def format_all(platform: Platform) -> str:
    """As :func:`format`, with the OS version and features: ``windows(10.0.20348+win32k)/amd64`` (platforms.FormatAll).

    Example:
        >>> from imgframe.platforms import Platform, format_all
        >>> format_all(Platform("linux", "amd64", os_features=("erofs",)))
        'linux(+erofs)/amd64'
    """
    if not platform.os:
        return "unknown"
    parts = platform.os_version, *sorted({*platform.os_features} - {""})
    options = "+".join(part.translate(_ENCODED) for part in parts)
    os = f"{platform.os}({options})" if options else platform.os
    return path.join(os, platform.architecture, platform.variant)


def normalize_string(text: str, host: Platform | str = LINUX_AMD64) -> str:
    """The specifier in its normal spelling; an empty one gives the host (nerdctl's NormalizeString).

    Example:
        >>> from imgframe import platforms
        >>> platforms.normalize_string("arm64"), platforms.normalize_string("")
        ('linux/arm64', 'linux/amd64')
    """
    host = as_platform(host)
    return format(normalize(parse(text, host), host)) if text else format(host)


def parse_all(texts: Iterable[str], host: Platform | str = LINUX_AMD64) -> list[Platform]:
    """The platforms of several specifiers, in order (platforms.ParseAll).

    Raises:
        PlatformError: one of them cannot be parsed.
    """
    host = as_platform(host)
    found = []
    for text in texts:
        try:
            found.append(parse(text, host))
        except PlatformError as error:
            raise PlatformError(f"invalid platform {text}: {error}") from error
    return found


def platform_slice(
    texts: Iterable[str], *, all: bool = False, host: Platform | str = LINUX_AMD64
) -> list[Platform]:
    """The platforms that nerdctl's ``--platform`` and ``--all-platforms`` name (nerdctl's NewOCISpecPlatformSlice).

    ``all`` gives an empty list, which stands for every platform; no specifier gives the host; duplicates are dropped.

    Raises:
        PlatformError: one of them cannot be parsed.

    Example:
        >>> from imgframe import platforms
        >>> [str(p) for p in platforms.platform_slice(["amd64", "arm64", "amd64"])]
        ['linux/amd64', 'linux/arm64']
    """
    if all:
        return []
    host = as_platform(host)
    found = []
    for text in dict.fromkeys(texts):
        try:
            found.append(parse(text, host))
        except PlatformError as error:
            raise PlatformError(f"invalid platform: {quote(text)}") from error
    return found or [host]
