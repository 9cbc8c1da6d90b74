"""Bringing the blobs of an image into a node: documents first, then layers, every digest verified, nothing twice."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from imgframe import oci
from imgframe.act.labelling import children_labels, source_label
from imgframe.act.lines import Lines
from imgframe.errors import Conflict, DocumentError, Missing, RegistryError, WireError
from imgframe.oci.resolving import best_entry
from imgframe.platforms import Matcher
from imgframe.wire import Client
from imgframe.wire.records import labels_of

PIECE = 1 << 20
"""Bytes that are sent to containerd in one message."""

LAYER_SECONDS = 6 * 3600.0
"""How long one blob may take."""


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
    """What was fetched of an image: the target, its chosen manifests, and the layers that are still on their way."""

    target: oci.Descriptor
    manifests: list[tuple[oci.Descriptor, oci.Manifest]] = field(default_factory=list)
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
            raise DocumentError(f"index {here.digest} contains itself", code="cycle")
        prefix = f"manifest: invalid desc {here.digest}"
        if oci.is_index_type(here.media_type):
            data = await self._document(here, "index")
            index = oci.checked_index(data, here.media_type, prefix)
            await self._label_children(here, index.manifests)
            chosen = _chosen(here, index.manifests, matcher, one)
            await _all(self._walk(entry, matcher, one, tree, (*above, here.digest)) for entry in chosen)
        elif oci.is_manifest_type(here.media_type):
            data = await self._document(here, "manifest")
            manifest = oci.checked_manifest(data, here.media_type, prefix)
            await self._label_children(here, (manifest.config, *manifest.layers))
            await self._document(manifest.config, "config")
            tree.manifests.append((here, manifest))
            for layer in manifest.layers:
                if layer.digest not in tree.layers:
                    tree.layers[layer.digest] = asyncio.create_task(self._layer(layer))
        else:
            raise DocumentError(
                f"{here.digest} is neither an index nor a manifest but {here.media_type!r}; "
                "imgframe pulls images of the OCI and Docker types"
            )

    async def _document(self, wanted: oci.Descriptor, kind: str) -> bytes:
        """A document's bytes; afterwards the node has it, under the lease and labelled with where it came from."""
        _check(wanted)
        if wanted.size > oci.MAX_BYTES:
            raise DocumentError(
                f"{kind} {wanted.digest} has {wanted.size} bytes; at most {oci.MAX_BYTES} are read",
                code="too_large",
            )
        async with self._lines.blob(self._client, wanted.digest):
            data = await self._local(wanted.digest)
            had = data is not None
            if data is None:
                data = await self._lines.document(self._remote, wanted)
            labels = source_label({}, self._remote.domain, self._remote.repository)

            async def give(offset: int) -> AsyncIterator[bytes]:
                yield data[offset:]

            sent = await self._write(f"{kind}-{wanted.digest}", wanted, len(data), give, labels)
            if not sent:
                await self._label_source(wanted.digest)
        self._count(wanted, 0 if had else len(data))
        return data

    async def _local(self, digest: str) -> bytes | None:
        """What the node has of a document, if it is what its digest says."""
        with suppress(Missing, DocumentError):
            data = await self._client.content.document(self._namespace, digest)
            algorithm, _, expected = digest.partition(":")
            if hashlib.new(algorithm, data).hexdigest() == expected:
                return data
        return None

    async def _label_children(self, of: oci.Descriptor, children: tuple[oci.Descriptor, ...]) -> None:
        if labels := children_labels(children):
            await self._client.content.label(self._namespace, of.digest, labels, lease=self._lease)

    async def _label_source(self, digest: str) -> None:
        """Adds the repository to the places that a blob is known to come from; called with its line held."""
        known = labels_of((await self._client.content.info(self._namespace, digest)).labels)
        if more := source_label(known, self._remote.domain, self._remote.repository):
            await self._client.content.label(self._namespace, digest, more, lease=self._lease)

    async def _layer(self, wanted: oci.Descriptor) -> None:
        _check(wanted)
        received = 0

        async def give(offset: int) -> AsyncIterator[bytes]:
            nonlocal received
            async for piece in _pieces(self._remote.blob(wanted, offset)):
                received += len(piece)
                yield piece

        async with self._lines.blob(self._client, wanted.digest), self._lines.layers(self._client):
            self._progress(wanted.digest, 0, wanted.size)
            labels = source_label({}, self._remote.domain, self._remote.repository)
            if not await self._write(f"layer-{wanted.digest}", wanted, wanted.size, give, labels):
                await self._label_source(wanted.digest)
        self._progress(wanted.digest, wanted.size, wanted.size)
        self._count(wanted, received)

    def _count(self, wanted: oci.Descriptor, received: int) -> None:
        self.fetched += received
        self.present += 0 if received else wanted.size

    async def _write(
        self, ref: str, wanted: oci.Descriptor, size: int, give: Any, labels: dict[str, str]
    ) -> bool:
        """Stores a blob, waiting for another writer of the same; True if this call sent bytes."""
        pause, spoilt = 0.05, False

        def told(offset: int) -> None:
            self.begun.add(ref)
            self._progress(wanted.digest, offset, size)

        while True:
            try:
                sent = await self._client.content.write_stream(
                    self._namespace,
                    ref,
                    wanted.digest,
                    size,
                    give,
                    labels,
                    lease=self._lease,
                    timeout=LAYER_SECONDS,
                    progress=told,
                )
            except Conflict as error:
                if error.code == "UNAVAILABLE":  # another writer is at it
                    await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 -- spreads waiters
                    pause = min(pause * 1.5, 1.0)
                elif (
                    ref in self.begun and not spoilt
                ):  # what an interrupted write left may have been spoilt: once more from 0
                    spoilt = True
                    await self.abort(ref)
                else:
                    raise RegistryError(
                        f"{self._remote.host} gave other bytes for {wanted.digest} than its digest and size ({size} bytes) "
                        f"say ({error}); the registry or a proxy before it is damaged: try again, or pull from another mirror",
                        reference=self._remote.reference,
                        host=self._remote.host,
                    ) from error
            else:
                self.begun.discard(ref)
                return sent

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
    if problem := oci.digest_error(wanted.digest):
        raise DocumentError(f"invalid descriptor digest: {problem}")
    if wanted.size < 0:
        raise DocumentError(f"{wanted.digest} has a size of {wanted.size} bytes")


def _chosen(
    here: oci.Descriptor, entries: tuple[oci.Descriptor, ...], matcher: Matcher | None, one: bool
) -> list[oci.Descriptor]:
    """The entries of an index that are wanted, the best first (images.FilterPlatforms, LimitManifests)."""
    if matcher is None:
        return list(entries)
    fitting = [entry for entry in entries if entry.platform is None or matcher.match(entry.platform)]
    if not fitting:
        raise no_match(here.digest)
    if one and (best := best_entry(oci.Index(manifests=tuple(fitting)), matcher)) is not None:
        return [best]
    return fitting


def no_match(digest: str) -> DocumentError:
    """No entry of an index is for the wanted platform; nerdctl's words."""
    return DocumentError(f"no match for platform in manifest {digest}: not found", code="not_found")


async def _pieces(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of :data:`PIECE`."""
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
