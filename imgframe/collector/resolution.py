"""What an image resolves to on a platform: containerd's ``images.Manifest``, decided on summaries of documents.

Which entry of an index is followed is decided in :func:`imgframe.oci.resolution.best_entry`. The walk itself is not
:func:`imgframe.oci.find_manifest`: that one ends in Go's errors and is twice as slow, while a fleet asks for many thousands
of images and wants to know whether a manifest is absent from the store or only unreadable.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from imgframe.collector.summaries import ConfigSummary, IndexSummary, ManifestSummary, Summary
from imgframe.oci.resolution import best_entry
from imgframe.platforms import Matcher, Platform

Get = Callable[[str, str], Summary | None]
"""Kind and digest to summary; None where the document is not in the store or cannot be read."""


class ResolvedManifest(msgspec.Struct, frozen=True, gc=False):
    """The manifest that a platform resolves to; ``absent`` says that it is known not to be in the store."""

    digest: str | None = None
    manifest: ManifestSummary | None = None
    absent: bool = False


def resolve(
    kind: str, digest: str, matcher: Matcher, get: Get, absent: Callable[[str], bool]
) -> ResolvedManifest:
    """The manifest that the target ``digest`` resolves to for ``matcher``.

    Of an index only the best entry is followed, whatever becomes of it; a manifest that is the target itself is taken for
    any platform. Source: images.Manifest with limit 1.
    """
    target, platform = digest, None
    while True:
        summary = get(kind, digest)
        if summary is None:
            return ResolvedManifest(absent=absent(digest))
        if summary.refused:
            return ResolvedManifest()
        if isinstance(summary, ManifestSummary):
            wanted = digest == target or _fits(summary, platform, matcher, get)
            return ResolvedManifest(digest, summary) if wanted else ResolvedManifest()
        assert isinstance(summary, IndexSummary)
        best = best_entry(summary.children, matcher)
        if best is None or not best.kind:
            return ResolvedManifest()
        kind, digest, platform = best.kind, best.digest, best.platform


def _fits(manifest: ManifestSummary, platform: Platform | None, matcher: Matcher, get: Get) -> bool:
    """Whether an entry fits: by its own platform, else by that of its config."""
    if platform is not None:
        return True
    config = get("config", manifest.config.digest)
    return (
        isinstance(config, ConfigSummary) and config.platform is not None and matcher.match(config.platform)
    )
