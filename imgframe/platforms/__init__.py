"""Platforms as containerd reads, compares and orders them.

A platform is an operating system, an architecture and a variant, rarely also an OS version and OS features. The rules
and the error messages are those of github.com/containerd/platforms and of nerdctl's platformutil. What a bare ``linux`` or
``arm64`` leaves open is taken from ``host``, the platform of the node.

Example:
    >>> from imgframe import platforms
    >>> platforms.format(platforms.normalize(platforms.parse("linux/aarch64")))
    'linux/arm64'
    >>> platforms.only(platforms.parse("linux/amd64")).match(platforms.parse("linux/386"))
    True
"""

from imgframe.platforms.matcher import (
    Matcher,
    all_,
    any_of,
    default,
    matcher_of,
    nerdctl,
    nerdctl_inspect,
    nerdctl_slice,
    only,
    only_os,
    ordered,
    strict,
)
from imgframe.platforms.specifiers import (
    LINUX_AMD64,
    Platform,
    as_platform,
    format,  # noqa: A004 -- Go's name
    format_all,
    normalize,
    normalize_string,
    parse,
    parse_all,
    platform_slice,
)

__all__ = [
    "LINUX_AMD64",
    "Matcher",
    "Platform",
    "all_",
    "any_of",
    "as_platform",
    "default",
    "format",
    "format_all",
    "matcher_of",
    "nerdctl",
    "nerdctl_inspect",
    "nerdctl_slice",
    "normalize",
    "normalize_string",
    "only",
    "only_os",
    "ordered",
    "parse",
    "parse_all",
    "platform_slice",
    "strict",
]
