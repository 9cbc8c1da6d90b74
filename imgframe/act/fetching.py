"""Bringing the blobs of an image into a node: documents first, then layers, every digest verified, nothing twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from imgframe import oci
from imgframe.act.labelling import children_labels, source_label
from imgframe.act.lines import OF_ONE, Lines
from imgframe.digests import digest_error, matches
from imgframe.errors import Conflict, DocumentError, Missing, RegistryError, WireError
from imgframe.oci.resolution import best_entry
from imgframe.platforms import Matcher
from imgframe.wire import Client
from imgframe.wire.records import labels_of

PIECE = 2 << 20
"""Bytes that are sent to containerd in one message, or up to half as many more."""

LAYER_SECONDS = 6 * 3600.0
"""How long one blob may take."""

BROKEN = "have the image built and pushed again"
"""What to do about an image that contradicts itself."""


class Remote(Protocol):
    """An image in a registry, and the way to it.

    Attributes:
        reference: the normalised name, for messages.
        domain: registry of the name.
        repository: path of the name.
    """

    reference: str
    domain: str
    repository: str

    @property
    def host(self) -> str:
        """The registry that is asked, for messages."""

    async def resolve(self) -> oci.Descriptor:
        """The target."""

    async def document(self, wanted: oci.Descriptor) -> bytes:
        """A whole document, its digest verified."""

    def blob(self, wanted: oci.Descriptor, offset: int) -> AsyncIterator[bytes]:
        """The bytes of a blob from an offset on."""


@dataclass
class Tree:
    """What was fetched of an image: the target, its chosen manifests with the bytes of their configs, and the layers that are still on their way."""

    target: oci.Descriptor
    manifests: list[tuple[oci.Descriptor, oci.Manifest, bytes]] = field(default_factory=list)
    layers: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def settle(self) -> None:
        """Waits for all layers; the first failure ends the others."""
        try:
            await asyncio.gather(*self.layers.values())
        except BaseException:
            await self.cancel()
            raise

    async def cancel(self) -> None:
        """Ends what is on its way and waits until it has ended."""
        for task in self.layers.values():
            task.cancel()
        await asyncio.gather(*self.layers.values(), return_exceptions=True)


class Fetcher:
    """Brings one image into one namespace of one node, under a lease.

    Attributes:
        fetched: bytes that came over the network.
        present: bytes that were there already.
        begun: names of unfinished writes that this fetcher opened.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        lease: str,
        remote: Remote,
        lines: Lines,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._client, self._namespace, self._lease = client, namespace, lease
        self._remote, self._lines, self._progress = remote, lines, progress
        self._few = asyncio.Semaphore(OF_ONE)
        self.fetched = 0
        self.present = 0
        self.begun: set[str] = set()

    async def tree(self, target: oci.Descriptor, matcher: Matcher | None, *, one: bool) -> Tree:
        """Fetches the documents below a target and starts the layers of the chosen manifests.

        Args:
            target: what the reference resolved to.
            matcher: which entries of an index are wanted; None: all.
            one: only the best of them.

        Raises:
            DocumentError: a document cannot be used, or no entry matches.
            RegistryError: the registry does not give it.
        """
        tree = Tree(target)
        try:
            await self._walk(target, matcher, one, tree, ())
        except BaseException:
            await tree.cancel()
            raise
        return tree

    async def _walk(
        self,
        here: oci.Descriptor,
        matcher: Matcher | None,
        one: bool,
        tree: Tree,
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
            await _all(self._walk(entry, matcher, one, tree, (*above, here.digest)) for entry in chosen)
        elif oci.is_manifest_type(here.media_type):
            data, received = await self._read(here, "manifest")
            manifest = oci.checked_manifest(data, here.media_type, prefix)
            labels = children_labels((manifest.config, *manifest.layers))
            await self._put(here, "manifest", data, received, labels)
            for layer in manifest.layers:
                if layer.digest not in tree.layers:
                    tree.layers[layer.digest] = asyncio.create_task(self._layer(layer))
            data, received = await self._read(manifest.config, "config")
            await self._put(manifest.config, "config", data, received, {})
            tree.manifests.append((here, manifest, data))
        else:
            raise DocumentError(
                f"{here.digest} is neither an index nor a manifest but {here.media_type!r}; "
                "imgframe pulls images of the OCI and Docker types"
            )

    async def _read(self, wanted: oci.Descriptor, kind: str) -> tuple[bytes, int]:
        """A document's bytes, and how many of them travelled: from an earlier step, this node, or the registry."""
        _check(wanted)
        if wanted.size > oci.MAX_BYTES:
            raise DocumentError(
                f"{kind} {wanted.digest} has {wanted.size} bytes; at most {oci.MAX_BYTES} are read: {BROKEN}",
                code="too_large",
            )
        data = self._lines.known(wanted.digest)
        if data is None:
            data = await self._local(wanted.digest)
        if data is not None:
            self._lines.remember(wanted.digest, data)
            return data, 0
        data, received = await self._lines.document(self._remote, wanted)
        if len(data) != wanted.size:
            raise DocumentError(
                f"{kind} {wanted.digest} has {len(data)} bytes; what names it says {wanted.size}: {BROKEN}"
            )
        return data, received

    async def _put(
        self, wanted: oci.Descriptor, kind: str, data: bytes, received: int, labels: dict[str, str]
    ) -> None:
        """Stores a document with its labels; afterwards the node has it, under the lease."""
        own = labels | source_label({}, self._remote.domain, self._remote.repository)
        async with self._lines.blob(self._client, wanted.digest):
            ref = f"{kind}-{wanted.digest}"  # written in one message: there is nothing to abort
            write = self._client.content.write
            if not await self._alone(
                ref, wanted, lambda: write(self._namespace, ref, wanted.digest, data, own, lease=self._lease)
            ):
                await self._label(wanted.digest, labels)
        self._progress(wanted.digest, len(data), len(data))
        self.fetched += received
        self.present += len(data) - received

    async def _local(self, digest: str) -> bytes | None:
        """What the node has of a document, if it is what its digest says."""
        with suppress(Missing, DocumentError):
            data = await self._client.content.document(self._namespace, digest)
            if matches(data, digest):
                return data
        return None

    async def _label(self, digest: str, labels: dict[str, str]) -> None:
        """Labels a blob that was there, and adds the repository to the places that it is known to come from.

        Called with its line held: nothing else of this plan changes the blob meanwhile.
        """
        known = labels_of((await self._client.content.info(self._namespace, digest)).labels)
        wanted = labels | source_label(known, self._remote.domain, self._remote.repository)
        if more := {key: value for key, value in wanted.items() if known.get(key) != value}:
            await self._client.content.label(self._namespace, digest, more, lease=self._lease)

    async def _layer(self, wanted: oci.Descriptor) -> None:
        _check(wanted)
        received = 0

        async def give(offset: int) -> AsyncIterator[bytes]:
            nonlocal received
            async for piece in _pieces(self._remote.blob(wanted, offset)):
                received += len(piece)
                yield piece

        async with (
            self._few,
            self._lines.blob(self._client, wanted.digest),
            self._lines.layers(self._client),
        ):
            self._progress(wanted.digest, 0, wanted.size)
            labels = source_label({}, self._remote.domain, self._remote.repository)
            if not await self._write(f"layer-{wanted.digest}", wanted, give, labels):
                await self._label(wanted.digest, {})
        self._progress(wanted.digest, wanted.size, wanted.size)
        self._count(wanted, received)

    def _count(self, wanted: oci.Descriptor, received: int) -> None:
        self.fetched += received
        self.present += 0 if received else wanted.size

    async def _write(self, ref: str, wanted: oci.Descriptor, give: Any, labels: dict[str, str]) -> bool:
        """Stores a layer, or takes up where an unfinished write ended; True if this call sent bytes."""

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

        sent = await self._alone(ref, wanted, write)
        self.begun.discard(ref)
        return sent

    async def _alone(self, ref: str, wanted: oci.Descriptor, write: Callable[[], Awaitable[bool]]) -> bool:
        """Writes when no other program does; what an interrupted write left may be spoilt, so once more from the start."""
        pause, spoilt = 0.05, False
        while True:
            try:
                return await write()
            except Conflict as error:
                if error.code == "UNAVAILABLE":  # another writer is at it
                    await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 -- spreads waiters
                    pause = min(pause * 1.5, 1.0)
                elif ref in self.begun and not spoilt:
                    spoilt = True
                    await self.abort(ref)
                else:
                    raise RegistryError(
                        f"{self._remote.host} gave other bytes for {wanted.digest} than its digest and size "
                        f"({wanted.size} bytes) say ({error}); the registry or a proxy before it is damaged: try again, or "
                        "pull from another mirror",
                        reference=self._remote.reference,
                        host=self._remote.host,
                    ) from error

    async def abort(self, ref: str) -> None:
        """Drops an unfinished write; one that its stream still holds is waited for."""
        for _ in range(40):
            try:
                await self._client.content.abort(self._namespace, ref)
            except Missing:
                break
            except WireError as error:
                if error.code != "UNAVAILABLE" or "locked" not in str(error):
                    raise
                await asyncio.sleep(0.05)
            else:
                break
        self.begun.discard(ref)


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


def no_match(digest: str) -> DocumentError:
    """No entry of an index is for the wanted platform; nerdctl's words."""
    return DocumentError(f"no match for platform in manifest {digest}: not found", code="not_found")


async def _pieces(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of :data:`PIECE` at least."""
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


async def _all(work: Any) -> None:
    """Runs coroutines together; the first failure ends the others before it is raised."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
