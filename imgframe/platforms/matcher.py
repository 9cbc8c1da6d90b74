"""Matching and ordering platforms: containerd's matchers, and nerdctl's on top of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

import msgspec

from imgframe.platforms.specifiers import (
    LINUX_AMD64,
    Platform,
    as_platform,
    normalize,
    normalized,
    platform_slice,
)


class Matcher:
    """Matches and orders platforms; made by :func:`only`, :func:`strict`, :func:`ordered` and the like.

    ``match(platform)`` tells whether it matches, ``less(a, b)`` whether ``a`` is preferred to ``b``.
    """

    __slots__ = ("_cached", "_host", "_tests")

    def __init__(self, wanted: Iterable[Platform], host: Platform | str = LINUX_AMD64) -> None:
        self._host = as_platform(host)
        self._tests = [_test(platform, self._host) for platform in wanted]
        self._cached: dict[Platform, int] = {}

    def match(self, platform: Platform) -> bool:
        """Whether the platform matches."""
        return self._rank(platform) < len(self._tests)

    def less(self, a: Platform, b: Platform) -> bool:
        """Whether ``a`` is preferred to ``b``."""
        first, second = self._rank(a), self._rank(b)
        if min(first, second) < len(self._tests):
            if first != second:
                return first < second
            return len(a.os_features) > len(b.os_features)
        if a.os_features or b.os_features:
            return self.less(_bare(a), _bare(b))
        return False

    def _rank(self, platform: Platform) -> int:
        """The place of the first entry that matches; the number of entries if none does."""
        rank = self._cached.get(platform)
        if rank is None:
            rank = self._find(platform)
            if len(self._cached) < 10_000:
                self._cached[platform] = rank
        return rank

    def _find(self, platform: Platform) -> int:
        normal = normalized(platform, self._host.os)
        return next(
            (place for place, test in enumerate(self._tests) if test(platform, normal)), len(self._tests)
        )


class _AnyOf(Matcher):
    """All entries rank equally."""

    __slots__ = ()

    def _find(self, platform: Platform) -> int:
        return 0 if super()._find(platform) < len(self._tests) else len(self._tests)


class _All(Matcher):
    """Everything matches; nothing is preferred."""

    __slots__ = ()

    def match(self, platform: Platform) -> bool:  # noqa: ARG002 -- any platform
        return True

    def less(self, a: Platform, b: Platform) -> bool:  # noqa: ARG002 -- any platforms
        return False


class _OnlyOS(Matcher):
    """The platform itself is preferred to all others of its operating system, version and features."""

    __slots__ = ()

    def __init__(self, wanted: Platform, host: Platform) -> None:
        super().__init__([], host)
        self._tests = [_test(wanted, host, strict=True, any_processor=whole) for whole in (False, True)]

    def less(self, a: Platform, b: Platform) -> bool:
        first, second = self._rank(a), self._rank(b)
        if first != second or first > 0:
            return first < second
        return len(a.os_features) > len(b.os_features)


class _WithoutErofs(Matcher):
    """nerdctl's wrapper: what matches as it is comes first, then what matches without the feature ``erofs``."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Matcher) -> None:
        self._inner = inner

    def match(self, platform: Platform) -> bool:
        return self._inner.match(platform) or self._inner.match(_plain(platform))

    def less(self, a: Platform, b: Platform) -> bool:
        first, second = self._inner.match(a), self._inner.match(b)
        if first != second:
            return first
        return self._inner.less(a, b) if first else self._inner.less(_plain(a), _plain(b))


def _bare(platform: Platform) -> Platform:
    return msgspec.structs.replace(platform, os_features=()) if platform.os_features else platform


def _plain(platform: Platform) -> Platform:
    if "erofs" not in platform.os_features:
        return platform
    kept = tuple(feature for feature in platform.os_features if feature != "erofs")
    return msgspec.structs.replace(platform, os_features=kept)


_Test = Callable[[Platform, Platform], bool]


def _test(wanted: Platform, host: Platform, *, strict: bool = False, any_processor: bool = False) -> _Test:
    """Whether one platform (as written, and normalised) is the one that is wanted: platforms.NewMatcher."""
    normal = normalized(wanted, host.os)
    features = _features_test(wanted, normal, strict=strict)
    version = _version_test(wanted)
    compared = attrgetter("os") if any_processor else attrgetter("os", "architecture", "variant")
    same = compared(normal)
    return lambda platform, candidate: (
        compared(candidate) == same and features(platform.os_features) and version(platform)
    )


def _features_test(wanted: Platform, normal: Platform, *, strict: bool) -> Callable[[tuple[str, ...]], bool]:
    """Whether all features of a candidate, as written, are offered; for Windows one ``win32k`` is ignored."""
    offered = frozenset(normal.os_features)
    if wanted.os != "windows" or strict or "win32k" in offered:
        return offered.issuperset
    return lambda features: offered.union(["win32k"] * (features.count("win32k") == 1)).issuperset(features)


def _version_test(wanted: Platform) -> Callable[[Platform], bool]:
    """Which Windows images run on a Windows host: its own build only, up to and below 20348; later any LTSC before."""
    host = _windows_version(wanted.os_version) if wanted.os == "windows" else (0, 0, 0)
    if host == (0, 0, 0):
        return lambda _: True

    def test(platform: Platform) -> bool:
        if not platform.os_version:
            return True
        image = _windows_version(platform.os_version)
        if image[:2] != host[:2]:
            return False
        if host[2] < _STABLE_BUILD:
            return image[2] == host[2]
        return _STABLE_BUILD <= image[2] <= host[2]

    return test


_STABLE_BUILD = 20348
_NUMBER = re.compile(r"[0-9]+")


def _windows_version(text: str) -> tuple[int, int, int]:
    """Major, minor and build; zeros when the text is not a Windows version."""
    parts = text.split(".")
    if len(parts) < 3 or not all(_NUMBER.fullmatch(part) and len(part) < 100 for part in parts[:3]):
        return 0, 0, 0
    major, minor, build = (int(part) for part in parts[:3])
    return (major, minor, build) if major < 1 << 8 and minor < 1 << 8 and build < 1 << 16 else (0, 0, 0)


def _expanded(platform: Platform) -> list[Platform]:
    """The platforms that a processor runs, best first."""
    variant = platform.variant
    if platform.architecture == "amd64":
        pairs = [*(("amd64", name) for name in _below(variant, 1)), ("386", "")]
    elif platform.architecture == "arm":
        pairs = [("arm", name) for name in _below(variant, 5)]
    elif platform.architecture == "arm64":
        pairs = _arm64(variant)
    else:
        return [platform]
    return [
        msgspec.structs.replace(platform, architecture=architecture, variant=variant)
        for architecture, variant in pairs
    ]


def _below(variant: str, lowest: int) -> list[str]:
    """The variant, and those below it down to ``v<lowest>``, where it is a number as strconv.Atoi reads it."""
    found = re.fullmatch(r"[+-]?[0-9]{1,18}", variant.removeprefix("v"), re.ASCII)
    level = min(int(found[0]), 1000) if found else 0
    return [variant, *(f"v{step}" for step in range(level - 1, lowest - 1, -1))]


def _arm64(variant: str) -> list[tuple[str, str]]:
    """v9.x runs v8.(x+5) and below, all of them 32-bit code; variants outside containerd's table match nothing."""
    found = re.fullmatch(r"v(?:8(?:\.([1-9]))?|9(?:\.([1-7]))?)", variant or "v8")
    if not found:
        return []
    nine, minor = found[0].startswith("v9"), int(found[1] or found[2] or 0)
    steps = [(9, step) for step in range(minor, -1, -1)] if nine else []
    steps += [(8, step) for step in range(min(minor + 5 * nine, 9), -1, -1)]
    names = [f"v{major}.{step}" if step else f"v{major}" for major, step in steps]
    return [*(("arm64", name) for name in names), *(("arm", name) for name in _below("v8", 5))]


def only(platform: Platform | str, host: Platform | str = LINUX_AMD64) -> Matcher:
    """Matches the platform and others that its processor runs, best first: 386 on amd64, arm on arm64 (platforms.Only).

    Example:
        >>> from imgframe import platforms
        >>> matcher = platforms.only("linux/arm64")
        >>> matcher.match(platforms.parse("linux/arm/v7")), matcher.match(platforms.parse("linux/amd64"))
        (True, False)
    """
    host = as_platform(host)
    return Matcher(_expanded(normalize(as_platform(platform, host), host)), host)


def strict(platform: Platform | str, host: Platform | str = LINUX_AMD64) -> Matcher:
    """Matches exactly the platform (platforms.OnlyStrict)."""
    host = as_platform(host)
    return Matcher([normalize(as_platform(platform, host), host)], host)


def only_os(platform: Platform | str, host: Platform | str = LINUX_AMD64) -> Matcher:
    """Matches every architecture of the platform's operating system, the platform itself first (platforms.OnlyOS)."""
    host = as_platform(host)
    return _OnlyOS(normalize(as_platform(platform, host), host), host)


def ordered(*wanted: Platform | str, host: Platform | str = LINUX_AMD64) -> Matcher:
    """Matches the given platforms, each before the next (platforms.Ordered).

    Example:
        >>> from imgframe import platforms
        >>> a, b = platforms.parse("linux/amd64"), platforms.parse("linux/arm64")
        >>> platforms.ordered(b, a).less(b, a)
        True
    """
    host = as_platform(host)
    return Matcher([as_platform(platform, host) for platform in wanted], host)


def any_of(*wanted: Platform | str, host: Platform | str = LINUX_AMD64) -> Matcher:
    """Matches the given platforms, none preferred (platforms.Any)."""
    host = as_platform(host)
    return _AnyOf([as_platform(platform, host) for platform in wanted], host)


def all_() -> Matcher:
    """Matches everything (platforms.All)."""
    return _All([])


def default(host: Platform | str = LINUX_AMD64) -> Matcher:
    """What a containerd client on the host looks for when no platform is named (platforms.Default)."""
    return only(host, host)


def matcher_of(platform: Matcher | Platform | str | None, host: Platform | str = LINUX_AMD64) -> Matcher:
    """What an argument ``platform`` asks for: None what the host itself would run, ``"*"`` any, a matcher itself.

    A platform or a specifier such as ``linux/arm64`` is exactly that.
    """
    if isinstance(platform, Matcher):
        return platform
    if platform is None:
        return default(host)
    return all_() if platform == "*" else strict(platform, host)


def nerdctl(
    texts: Sequence[str] = (),
    *,
    all: bool = False,
    host: Platform | str = LINUX_AMD64,
) -> Matcher:
    """What nerdctl's ``--platform`` and ``--all-platforms`` match (nerdctl's NewMatchComparer).

    Raises:
        PlatformError: a specifier cannot be parsed.

    Example:
        >>> from imgframe import platforms
        >>> platforms.nerdctl(["arm64"]).match(platforms.parse("linux(+erofs)/arm64"))
        True
    """
    if all:
        return all_()
    if not texts:
        return _WithoutErofs(strict(host, host))
    return nerdctl_slice(platform_slice(texts, host=host), host)


def nerdctl_slice(wanted: Sequence[Platform], host: Platform | str = LINUX_AMD64) -> Matcher:
    """The matcher of a list of platforms; an empty one matches everything (nerdctl's …FromOCISpecPlatformSlice)."""
    return _WithoutErofs(ordered(*wanted, host=host)) if wanted else all_()


def nerdctl_inspect(host: Platform | str = LINUX_AMD64) -> Matcher:
    """The host's default, which accepts the feature ``erofs`` too."""
    return _WithoutErofs(default(host))
