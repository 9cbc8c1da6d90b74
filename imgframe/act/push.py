"""Push an image of a node to a registry: the whole image is checked before anything is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from imgframe import digests, oci
from imgframe.act import transfer
from imgframe.act.labels import sources_of
from imgframe.act.node_session import NodeSession
from imgframe.act.progress import BlobProgress
from imgframe.act.steps import Outcome, Step, StepOptions, done, no_match, refused
from imgframe.act.tasks import gather_or_cancel
from imgframe.errors import DocumentError, Missing, RegistryError
from imgframe.upstream.sessions import UpstreamImage
from imgframe.wire.records import labels_of

AT_ONCE = 4
"""Blobs of one image that are sent at a time."""

_SHOWN = 3
_NOT_DISTRIBUTED = ("foreign.", "nondistributable.")


@dataclass
class ImageContent:
    """What has to be in the registry: blobs, then documents in the order in which they are put, the last under the tag.

    Attributes:
        target: what the name will refer to.
        blobs: configs and layers by digest.
        documents: manifests and indexes, children first.
        missing: what the node lacks: digest and what it is.
        labels: of the blobs on the node.
    """

    target: oci.Descriptor
    blobs: dict[str, oci.Descriptor] = field(default_factory=dict)
    documents: dict[str, tuple[oci.Descriptor, bytes]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of everything, by digest."""
        documents = (wanted for wanted, _ in self.documents.values())
        return {one.digest: one.size for one in (*self.blobs.values(), *documents)}


async def apply(node: NodeSession, steps: list[Step]) -> None:
    """Push the records of the steps."""
    await node.open()
    await node.each(steps, lambda step: _push(node, step))


async def _push(node: NodeSession, step: Step) -> Outcome:
    """Push one record. Refused: the record moved, or something is missing on the node.

    Raises:
        InputError: this containerd cannot push by itself, as ``via="transfer"`` wants.
        RegistryError: the registry refuses, or got something else.
        DocumentError: the image cannot be used, or has nothing for the platforms.
        WireError: containerd refuses something.
    """
    options = StepOptions.of(step)
    image = node.context.registries.image(step["to"], options.registry)
    by_transfer = options.via == "transfer"
    if by_transfer:
        transfer.require(node, options)
    with node.context.progress.image(step["to"]) as progress:
        content = await _content(node, step, StepOptions(all_platforms=True) if by_transfer else options)
        if not isinstance(content, ImageContent):
            return content
        if by_transfer:
            sent, present = await transfer.push(node, step, image, content.sizes, progress)
        else:
            uploader = Uploader(node, step["namespace"], image, progress)
            await uploader.send(content)
            sent, present = uploader.sent, uploader.present
    digest = step["digest"]
    return done(
        digest,
        digest,
        remote=content.target.digest,
        fetched_bytes=sent,
        present_bytes=present,
        via="transfer" if by_transfer else "client",
    )


async def _content(node: NodeSession, step: Step, options: StepOptions) -> ImageContent | Outcome:
    """What has to be in the registry, or the outcome: refused, because the record moved or something is missing."""
    name = step["name"]
    try:
        target = (await node.client.images.get(step["namespace"], name)).target
    except Missing:
        return refused(f"{name}: the record is gone; collect and plan again")
    if target.digest != step["digest"]:
        words = f"{name}: the record moved to {target.digest} since the plan; collect and plan again"
        return refused(words, target.digest)
    wanted = oci.Descriptor(target.media_type, target.digest, target.size)
    content = await ContentReader(node, step["namespace"]).read(wanted, options)
    if not content.missing:
        return content
    missing = [f"{digest} ({what})" for digest, what in content.missing.items()]
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return refused(
        f"{name}: the node lacks {', '.join(missing[:_SHOWN])}{more}; nothing was sent. Pull the whole image first "
        f"(platform='all'), or push the platforms that are there (push(..., platform='linux/amd64'))",
        target.digest,
    )


class ContentReader:
    """Reads what an image consists of, on the node."""

    def __init__(self, node: NodeSession, namespace: str) -> None:
        self._node, self._namespace = node, namespace

    async def read(self, target: oci.Descriptor, options: StepOptions) -> ImageContent:
        """Everything below a target, or below the chosen platforms of it.

        Raises:
            DocumentError: nothing is for the platforms, or a document is damaged.
        """
        if not options.platforms or not oci.is_index_type(target.media_type):
            return await self._whole(target)
        data = await self._document(target)
        if data is None:
            return ImageContent(target, missing={target.digest: "the index itself"})
        index = oci.checked_index(data, target.media_type, f"manifest: invalid desc {target.digest}")
        matcher = options.matcher(self._node.host)
        entries = [one for one in index.manifests if one.platform and matcher and matcher.match(one.platform)]
        if not entries:
            raise no_match(target.digest)
        if len(entries) == 1:
            return await self._whole(entries[0])
        return await self._smaller(target, data, {one.digest for one in entries})

    async def _smaller(self, target: oci.Descriptor, data: bytes, kept: set[str]) -> ImageContent:
        """The same index with some of its entries."""
        document = json.loads(data)
        document["manifests"] = [one for one in document["manifests"] if one["digest"] in kept]
        smaller = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        digest = digests.sha256(smaller)
        content = ImageContent(oci.Descriptor(target.media_type, digest, len(smaller)))
        for entry in oci.decode_index(smaller).manifests:
            await self._walk(entry, content, ())
        content.documents[digest] = (content.target, smaller)
        return await self._stat(content)

    async def _whole(self, target: oci.Descriptor) -> ImageContent:
        content = ImageContent(target)
        await self._walk(target, content, ())
        return await self._stat(content)

    async def _walk(self, here: oci.Descriptor, content: ImageContent, above: tuple[str, ...]) -> None:
        if here.digest in above:
            raise DocumentError(f"index {here.digest} contains itself", code="cycle")
        if here.digest in content.documents:
            return
        data = await self._document(here)
        if data is None:
            what = f"manifest for {here.platform}" if here.platform else "the image's own document"
            content.missing[here.digest] = what
            return
        prefix = f"manifest: invalid desc {here.digest}"
        if oci.is_index_type(here.media_type):
            for entry in oci.checked_index(data, here.media_type, prefix).manifests:
                await self._walk(entry, content, (*above, here.digest))
        elif oci.is_manifest_type(here.media_type):
            manifest = oci.checked_manifest(data, here.media_type, prefix)
            for one in (manifest.config, *manifest.layers):
                if not any(kind in one.media_type for kind in _NOT_DISTRIBUTED):
                    content.blobs[one.digest] = one
        else:
            raise DocumentError(f"{here.digest} is neither an index nor a manifest but {here.media_type!r}")
        content.documents[here.digest] = (here, data)

    async def _document(self, wanted: oci.Descriptor) -> bytes | None:
        """A document of the node; None: it is not there.

        Raises:
            DocumentError: it does not have its digest.
        """
        try:
            data = await self._node.client.content.document(self._namespace, wanted.digest)
        except Missing:
            return None
        if not digests.matches(data, wanted.digest):
            raise DocumentError(
                f"{wanted.digest} is damaged on the node: pull the image again", code="wrong_digest"
            )
        return data

    async def _stat(self, content: ImageContent) -> ImageContent:
        """Note which blobs are there and complete, and their labels."""

        async def one(wanted: oci.Descriptor) -> None:
            try:
                blob = await self._node.client.content.info(self._namespace, wanted.digest)
            except Missing:
                content.missing[wanted.digest] = wanted.media_type.rpartition(".")[2] or "blob"
                return
            if blob.size != wanted.size:
                content.missing[wanted.digest] = f"{blob.size} of {wanted.size} bytes are there"
            content.labels[wanted.digest] = labels_of(blob.labels)

        await asyncio.gather(*(one(wanted) for wanted in content.blobs.values()))
        return content


class Uploader:
    """Sends the content of an image to a registry.

    Attributes:
        sent: bytes that were sent.
        present: bytes that the registry had, or took from another repository of its own.
    """

    def __init__(
        self, node: NodeSession, namespace: str, image: UpstreamImage, progress: BlobProgress
    ) -> None:
        self._node, self._namespace = node, namespace
        self._image, self._progress = image, progress
        self.sent = 0
        self.present = 0

    async def send(self, content: ImageContent) -> None:
        """Blobs first, then documents, children before parents, the last one under the tag."""
        if await self._has_all(content):
            return
        gate, locks = asyncio.Semaphore(AT_ONCE), self._node.context.locks

        async def one(blob: oci.Descriptor) -> None:
            async with gate, locks.upload(self._image.host, self._image.repository, blob.digest):
                await self._blob(blob, content.labels.get(blob.digest, {}))

        await gather_or_cancel(one(blob) for blob in content.blobs.values())
        remote = await self._image.remote()
        for digest, (wanted, data) in content.documents.items():
            tag = self._image.tag if digest == content.target.digest else ""
            await remote.put_manifest(data, wanted.media_type, tag)
            self.sent += len(data)

    async def _has_all(self, content: ImageContent) -> bool:
        """Whether the name has this target already: a registry accepts no document before what it refers to."""
        with suppress(RegistryError):
            known = await self._image.resolve()
            if known.digest == content.target.digest:
                self.present = sum(content.sizes.values())
                return True
        return False

    async def _blob(self, blob: oci.Descriptor, labels: dict[str, str]) -> None:
        self._progress(blob.digest, 0, blob.size)
        remote = await self._image.remote()
        if await remote.exists(blob) or await self._mounted(blob, labels):
            self.present += blob.size
        else:
            await remote.upload(blob, self._source(blob))
            self.sent += blob.size
        self._progress(blob.digest, blob.size, blob.size)

    async def _mounted(self, blob: oci.Descriptor, labels: dict[str, str]) -> bool:
        """Whether the registry takes the blob from another of its repositories."""
        remote = await self._image.remote()
        for repository in sources_of(labels, self._image.domain):
            if repository != self._image.repository and await remote.mount(blob, repository):
                return True
        return False

    def _source(self, blob: oci.Descriptor) -> Callable[[], AsyncIterator[bytes]]:
        async def give() -> AsyncIterator[bytes]:
            offset = 0
            async for piece in self._node.client.content.chunks(self._namespace, blob.digest):
                yield piece
                offset += len(piece)
                self._progress(blob.digest, offset, blob.size)

        return give
