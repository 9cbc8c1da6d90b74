"""The documents of the store that are reachable from the targets of images."""

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
"""Prefixes of a blob's labels with the digests of child manifests and of the config."""


class ReachableDocuments(msgspec.Struct):
    """Documents and their summaries.

    ``unread`` could not be read, for a reason in ``failed``; ``absent`` are not in the store, ``inline`` are embedded in
    descriptors. ``absent_configs`` maps configs that are not in the store to the first manifest that refers to them;
    ``image_configs`` are configs of images rather than of other artifacts, by the media type in a manifest.
    """

    reached: dict[Key, Summary] = {}
    failed: dict[str, Failure] = {}
    unread: set[str] = set()
    absent: set[Key] = set()
    inline: set[str] = set()
    absent_configs: dict[str, str] = {}
    image_configs: set[str] = set()


async def read_reachable(
    documents: DocumentReader, targets: Iterable[Key], sizes: dict[str, int], blobs: list[Blob], read: Read
) -> ReachableDocuments:
    """Reads what is reachable from ``targets`` among the ``blobs`` of the store, whose ``sizes`` are given by digest.

    Labels for containerd's garbage collector name the children of a blob, so that all documents are read at once; children
    without labels are found by reading, level by level.
    """
    targets = list(targets)
    documents.load(digest for _, digest in targets if digest in sizes)
    result = ReachableDocuments()
    labels: dict[str, str] = {}
    stack = targets
    while stack:
        pending: list[Key] = []
        while stack:
            key = stack.pop()
            if key not in result.reached:
                _visit(key, documents, sizes, result, stack, pending)
        wanted = {d: sizes[d] for _, d in pending}
        if wanted:
            labels = labels or {blob.digest: blob.labels for blob in blobs}
            wanted |= _labelled(wanted, sizes, labels, documents)
            result.failed |= await documents.fetch(wanted, read)
        carried = {key for key in result.absent if key[1] in result.inline} if result.inline else set()
        result.absent -= carried  # in whichever order the two were visited
        stack = [*pending, *carried]
    for digest in result.absent_configs.keys() & result.inline:
        del result.absent_configs[digest]
    return result


def _visit(
    key: Key,
    documents: DocumentReader,
    sizes: dict[str, int],
    result: ReachableDocuments,
    stack: list[Key],
    pending: list[Key],
) -> None:
    kind, digest = key
    if digest not in sizes and digest not in result.inline:
        result.absent.add(key)
        return
    summary = documents.get(kind, digest)
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
    stack.extend(summary.children_keys())


def _labelled(
    wanted: dict[str, int], sizes: dict[str, int], labels: dict[str, str], documents: DocumentReader
) -> dict[str, int]:
    """Descendants, by the labels of blobs."""
    found: dict[str, int] = {}
    stack = list(wanted)
    while stack:
        text = labels[stack.pop()]
        if "containerd.io/gc.ref.content." not in text:
            continue
        for label, digest in labels_of(text).items():
            if not label.startswith(_GUIDES) or digest in found or digest in wanted or digest not in sizes:
                continue
            if sizes[digest] <= MAX_DOCUMENT and not documents.has(digest):
                found[digest] = sizes[digest]
                stack.append(digest)
    return found
