"""Fetch the blobs of an image into a node: documents first, then layers; every digest verified, nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import tenacity

from imgframe import oci
from imgframe.act.labels import children_labels, source_label
from imgframe.act.locks import IMAGE_LAYERS
from imgframe.act.node_session import NodeSession
from imgframe.act.progress import BlobProgress
from imgframe.act.steps import no_match
from imgframe.act.tasks import cancel, gather_or_cancel
from imgframe.digests import digest_error
from imgframe.errors import Conflict, DocumentError, Missing, RegistryError, WireError
from imgframe.oci.resolution import best_entry
from imgframe.platforms import Matcher
from imgframe.upstream.sessions import UpstreamImage
from imgframe.wire.records import labels_of

PIECE = 2 << 20
"""Bytes that are sent to containerd in one message; up to half as many more."""

LAYER_SECONDS = 6 * 3600.0
"""Deadline of one blob."""

BROKEN = "have the image built and pushed again"
"""The advice for an image that contradicts itself."""


@dataclass
class FetchedImage:
    """The target, its chosen manifests with the bytes of their configs, and the layers, which may still be in flight."""

    target: oci.Descriptor
    manifests: list[tuple[oci.Descriptor, oci.Manifest, bytes]] = field(default_factory=list)
    layers: dict[str, asyncio.Task[None]] = field(default_factory=dict)


class Fetcher:
    """Fetches one image into one namespace of one node, under a lease.

    Attributes:
        fetched: bytes that came over the network.
        present: bytes that were there already.
        begun: refs of the unfinished writes that this fetcher opened.
    """

    def __init__(
        self,
        node: NodeSession,
        namespace: str,
        lease: str,
        image: UpstreamImage,
        progress: BlobProgress,
    ) -> None:
        self._node, self._client, self._namespace, self._lease = node, node.client, namespace, lease
        self._locks, self._image, self._progress = node.context.locks, image, progress
        self._gate = asyncio.Semaphore(IMAGE_LAYERS)
        self.fetched = 0
        self.present = 0
        self.begun: set[str] = set()

    async def fetch(self, target: oci.Descriptor, matcher: Matcher | None, *, one: bool) -> FetchedImage:
        """Fetch the documents below a target and start the layers of the chosen manifests.

        Args:
            target: what the reference resolved to.
            matcher: which entries of an index are wanted; None: all.
            one: only the best of them.

        Raises:
            DocumentError: a document cannot be used, or no entry matches.
            RegistryError: the registry does not give it.
        """
        image = FetchedImage(target)
        try:
            await self._walk(target, matcher, one, image, ())
        except BaseException:
            await cancel(image.layers.values())
            raise
        return image

    async def _walk(
        self,
        here: oci.Descriptor,
        matcher: Matcher | None,
        one: bool,
        image: FetchedImage,
        above: tuple[str, ...],
    ) -> None:
        if here.digest in above:
            raise DocumentError(f"index {here.digest} contains itself; {BROKEN}", code="cycle")
        prefix = f"manifest: invalid desc {here.digest}"
        if oci.is_index_type(here.media_type):
            data, received = await self._read(here, "index")
            index = oci.checked_index(data, here.media_type, prefix)
            await self._put(here, "index", data, received, children_labels(index.manifests))
            chosen = _chosen(here, index.manifests, matcher, one)
            await gather_or_cancel(
                self._walk(entry, matcher, one, image, (*above, here.digest)) for entry in chosen
            )
        elif oci.is_manifest_type(here.media_type):
            data, received = await self._read(here, "manifest")
            manifest = oci.checked_manifest(data, here.media_type, prefix)
            labels = children_labels((manifest.config, *manifest.layers))
            await self._put(here, "manifest", data, received, labels)
            for layer in manifest.layers:
                if layer.digest not in image.layers:
                    image.layers[layer.digest] = asyncio.create_task(self._layer(layer))
            data, received = await self._read(manifest.config, "config")
            await self._put(manifest.config, "config", data, received, {})
            image.manifests.append((here, manifest, data))
        else:
            raise DocumentError(
                f"{here.digest} is neither an index nor a manifest but {here.media_type!r}; "
                "imgframe pulls images of the OCI and Docker types"
            )

    async def _read(self, wanted: oci.Descriptor, kind: str) -> tuple[bytes, int]:
        """A document's bytes, from an earlier step, this node or the registry, and how many were received for it."""
        _check(wanted)
        if wanted.size > oci.MAX_BYTES:
            raise DocumentError(
                f"{kind} {wanted.digest} has {wanted.size} bytes; at most {oci.MAX_BYTES} are read: {BROKEN}",
                code="too_large",
            )
        data = self._locks.documents.get(wanted.digest)
        if data is None:
            data = await self._node.document(self._namespace, wanted.digest)
        if data is not None:
            self._locks.documents.put(wanted.digest, data)
            return data, 0
        data, received = await self._locks.documents.fetch(self._image, wanted)
        if len(data) != wanted.size:
            raise DocumentError(
                f"{kind} {wanted.digest} has {len(data)} bytes; its descriptor says {wanted.size}: {BROKEN}"
            )
        return data, received

    async def _put(
        self, wanted: oci.Descriptor, kind: str, data: bytes, received: int, labels: dict[str, str]
    ) -> None:
        """Store a document with its labels; afterwards the node has it, under the lease."""
        own = labels | source_label({}, self._image.domain, self._image.repository)
        async with self._locks.blob(self._client, wanted.digest):
            ref = f"{kind}-{wanted.digest}"  # written in one message: there is nothing to abort
            write = self._client.content.write
            if not await self._exclusively(
                ref, wanted, lambda: write(self._namespace, ref, wanted.digest, data, own, lease=self._lease)
            ):
                await self._label(wanted.digest, labels)
        self._progress(wanted.digest, len(data), len(data))
        self.fetched += received
        self.present += len(data) - received

    async def _label(self, digest: str, labels: dict[str, str]) -> None:
        """Label a blob that was there, and add the repository to its sources.

        Called with the lock of the blob held: nothing else of this plan changes the blob meanwhile.
        """
        known = labels_of((await self._client.content.info(self._namespace, digest)).labels)
        wanted = labels | source_label(known, self._image.domain, self._image.repository)
        if more := {key: value for key, value in wanted.items() if known.get(key) != value}:
            await self._client.content.label(self._namespace, digest, more, lease=self._lease)

    async def _layer(self, wanted: oci.Descriptor) -> None:
        _check(wanted)
        received = 0

        async def give(offset: int) -> AsyncIterator[bytes]:
            nonlocal received
            remote = await self._image.remote()
            async for piece in _pieces(remote.blob(wanted, offset)):
                received += len(piece)
                yield piece

        async with (
            self._gate,
            self._locks.blob(self._client, wanted.digest),
            self._locks.layers(self._client),
        ):
            self._progress(wanted.digest, 0, wanted.size)
            labels = source_label({}, self._image.domain, self._image.repository)
            if not await self._write(f"layer-{wanted.digest}", wanted, give, labels):
                await self._label(wanted.digest, {})
        self._progress(wanted.digest, wanted.size, wanted.size)
        self.fetched += received
        self.present += 0 if received else wanted.size

    async def _write(self, ref: str, wanted: oci.Descriptor, give: Any, labels: dict[str, str]) -> bool:
        """Store a layer, or resume an unfinished write of it; True if this call sent bytes."""

        def told(offset: int) -> None:
            self.begun.add(ref)
            self._progress(wanted.digest, offset, wanted.size)

        def write() -> Awaitable[bool]:
            return self._client.content.write_stream(
                self._namespace,
                ref,
                wanted.digest,
                wanted.size,
                give,
                labels,
                lease=self._lease,
                timeout=LAYER_SECONDS,
                progress=told,
            )

        sent = await self._exclusively(ref, wanted, write)
        self.begun.discard(ref)
        return sent

    async def _exclusively(
        self, ref: str, wanted: oci.Descriptor, write: Callable[[], Awaitable[bool]]
    ) -> bool:
        """Write once no other program does; what an interrupted write left may be spoilt, so once more from the start."""
        try:
            try:
                return await _unless_locked(write)
            except Conflict:
                if ref not in self.begun:
                    raise
                await self.abort(ref)
                return await _unless_locked(write)
        except Conflict as error:
            raise RegistryError(
                f"{self._image.host} gave other bytes for {wanted.digest} than its digest and size ({wanted.size} bytes) "
                f"say ({error}); the registry or a proxy before it is damaged: try again, or pull from another mirror",
                reference=self._image.reference,
                host=self._image.host,
            ) from error

    async def abort(self, ref: str) -> None:
        """Drop an unfinished write; one that its stream still holds is waited for."""
        patiently = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_is_locked),
            wait=tenacity.wait_fixed(0.05),
            stop=tenacity.stop_after_attempt(40),
            retry_error_callback=lambda _: None,
        )
        with suppress(Missing):
            await patiently(self._client.content.abort, self._namespace, ref)
        self.begun.discard(ref)

    async def abort_all(self) -> None:
        """Drop all unfinished writes."""
        for ref in sorted(self.begun):
            await self.abort(ref)


async def _unless_locked(write: Callable[[], Awaitable[bool]]) -> bool:
    """What ``write`` gives, tried again as long as another writer holds the blob."""
    async for attempt in tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, Conflict) and error.code == "UNAVAILABLE"
        ),
        wait=tenacity.wait_exponential(multiplier=0.05, max=1.0, exp_base=1.5)
        + tenacity.wait_random(0, 0.05),
        reraise=True,
    ):
        with attempt:
            sent = await write()
    return sent


def _is_locked(error: BaseException) -> bool:
    return isinstance(error, WireError) and error.code == "UNAVAILABLE" and "locked" in str(error)


def _check(wanted: oci.Descriptor) -> None:
    if problem := digest_error(wanted.digest):
        raise DocumentError(f"invalid descriptor digest: {problem}; {BROKEN}")
    if wanted.size < 0:
        raise DocumentError(f"{wanted.digest} has a size of {wanted.size} bytes; {BROKEN}")


def _chosen(
    here: oci.Descriptor, entries: tuple[oci.Descriptor, ...], matcher: Matcher | None, one: bool
) -> list[oci.Descriptor]:
    """The entries of an index that are wanted, the best first (images.FilterPlatforms, LimitManifests)."""
    if matcher is None:
        return list(entries)
    fitting = [entry for entry in entries if entry.platform is None or matcher.match(entry.platform)]
    if not fitting:
        raise no_match(here.digest)
    if one and (best := best_entry(fitting, matcher)) is not None:
        return [best]
    return fitting


async def _pieces(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of at least :data:`PIECE`."""
    waiting: list[bytes] = []
    length = 0
    async for data in source:
        waiting.append(data)
        length += len(data)
        if length >= PIECE:
            yield b"".join(waiting)
            waiting, length = [], 0
    if waiting:
        yield b"".join(waiting)
