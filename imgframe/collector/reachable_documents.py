"""From the targets of images to every document that hangs below them and is in the store."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from imgframe import oci
from imgframe.collector.document_reader import MAX_DOCUMENT, DocumentReader, Failure, Read
from imgframe.collector.summaries import ManifestSummary, Summary
from imgframe.wire.records import Blob, labels_of

Key = tuple[str, str]
"""Kind (index, manifest, config) and digest."""

_GUIDES = ("containerd.io/gc.ref.content.m.", "containerd.io/gc.ref.content.config")
"""Labels of a blob that name child manifests and the config."""


class ReachableDocuments(msgspec.Struct):
    """What became of a walk.

    ``reached`` are the documents that were read and what they say, ``unread`` those that could not be, for a reason in
    ``failed``; ``elsewhere`` are those that the store does not list, ``inline`` those that its descriptors carry.
    ``absent_configs`` are configs that are not in the store, with the first manifest that wants them; ``image_configs`` those
    that a manifest calls the config of an image, rather than of some other artifact.
    """

    reached: dict[Key, Summary] = {}
    failed: dict[str, Failure] = {}
    unread: set[str] = set()
    elsewhere: set[Key] = set()
    inline: set[str] = set()
    absent_configs: dict[str, str] = {}
    image_configs: set[str] = set()


async def walk(
    library: DocumentReader, targets: Iterable[Key], sizes: dict[str, int], blobs: list[Blob], read: Read
) -> ReachableDocuments:
    """Read what is reachable from ``targets`` and in the store, whose ``blobs`` have these ``sizes`` by digest.

    The labels for containerd's garbage collector name the children of a blob, so that all documents are in flight at once;
    what they do not name is found by reading, level by level.
    """
    targets = list(targets)
    library.recall(digest for _, digest in targets if digest in sizes)
    result = ReachableDocuments()
    labels: dict[str, str] = {}
    stack = targets
    while stack:
        pending: list[Key] = []
        while stack:
            key = stack.pop()
            if key not in result.reached:
                _visit(key, library, sizes, result, stack, pending)
        wanted = {d: sizes[d] for _, d in pending}
        if wanted:
            labels = labels or {blob.digest: blob.labels for blob in blobs}
            wanted |= _guessed(wanted, sizes, labels, library)
            result.failed |= await library.fetch(wanted, read)
        carried = {key for key in result.elsewhere if key[1] in result.inline} if result.inline else set()
        result.elsewhere -= carried  # whichever of the two was visited first
        stack = [*pending, *carried]
    for digest in result.absent_configs.keys() & result.inline:
        del result.absent_configs[digest]
    return result


def _visit(
    key: Key,
    library: DocumentReader,
    sizes: dict[str, int],
    result: ReachableDocuments,
    stack: list[Key],
    pending: list[Key],
) -> None:
    kind, digest = key
    if digest not in sizes and digest not in result.inline:
        result.elsewhere.add(key)
        return
    summary = library.get(kind, digest)
    if summary is None:
        if digest in result.failed:
            result.unread.add(digest)
        else:
            pending.append(key)
        return
    result.reached[key] = summary
    result.inline.update(summary.inline)
    if isinstance(summary, ManifestSummary) and (config := summary.config.digest):
        if oci.is_config_type(summary.config.media_type):
            result.image_configs.add(config)
        if config not in sizes:
            result.absent_configs[config] = min(digest, result.absent_configs.get(config, digest))
    stack.extend(summary.below())


def _guessed(
    wanted: dict[str, int], sizes: dict[str, int], labels: dict[str, str], library: DocumentReader
) -> dict[str, int]:
    """What lies below, by the labels of the blobs."""
    found: dict[str, int] = {}
    stack = list(wanted)
    while stack:
        text = labels[stack.pop()]
        if "containerd.io/gc.ref.content." not in text:
            continue
        for label, digest in labels_of(text).items():
            if not label.startswith(_GUIDES) or digest in found or digest in wanted or digest not in sizes:
                continue
            if sizes[digest] <= MAX_DOCUMENT and not library.has(digest):
                found[digest] = sizes[digest]
                stack.append(digest)
    return found
