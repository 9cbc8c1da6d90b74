"""Ensure: look for an image on the node and unpack it where it is not (imgutil's EnsureImage); else pull it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress

from imgframe import oci, platforms
from imgframe.act import pull
from imgframe.act.leases import leased
from imgframe.act.node_session import NodeSession
from imgframe.act.steps import Outcome, Step, StepOptions, done, failed
from imgframe.act.unpack import Unpacker
from imgframe.errors import Missing, NotFound
from imgframe.planning.local_image import LocalRecord, find_existing, lookup, not_available, not_existing
from imgframe.planning.options import PullMode
from imgframe.wire.records import Image

MANY = 4
"""Images from which on listing a node's blobs is cheaper than asking for each document."""


async def apply(node: NodeSession, steps: list[Step]) -> None:
    """Ensure the images of the steps."""
    await node.open()
    local = LocalImages(node, len(steps))
    await node.each(steps, lambda step: _ensure(node, local, step))


async def _ensure(node: NodeSession, local: LocalImages, step: Step) -> Outcome:
    """Look first, unless the mode is always or several platforms are meant."""
    options, namespace = StepOptions.of(step), step["namespace"]
    reason = "not looked for, because more than one platform is meant"
    if options.mode is not PullMode.ALWAYS and len(options.wanted(node.host)) == 1:
        try:
            return await local.find(namespace, step["name"], options)
        except NotFound as error:
            reason = str(error)
    if options.mode is PullMode.NEVER:
        return failed(f"{not_available(step['name'])} ({reason})")
    try:
        return await pull.pull(node, step, options)
    finally:
        local.forget(namespace)


class _Unread(Exception):  # noqa: N818 -- no error: what to read next
    """A document that has not been read yet."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


class LocalImages:
    """The images of one node as a plan finds them; what the plan changes is forgotten.

    The records of a namespace are listed once. A document is read once for all nodes that have it; that a node has it is
    known from a list of its blobs where ``images`` is large, else by reading it there.
    """

    def __init__(self, node: NodeSession, images: int) -> None:
        self._node, self._lists_blobs = node, images >= MANY
        self._documents = node.context.locks.documents
        self._digests: dict[str, set[str]] = {}
        self._records: dict[str, list[LocalRecord]] = {}
        self._blobs: defaultdict[str, dict[str, bytes | None]] = defaultdict(dict)
        self._locks: defaultdict[tuple[str, ...], asyncio.Lock] = defaultdict(asyncio.Lock)

    def forget(self, namespace: str) -> None:
        """The namespace was changed: look again."""
        self._records.pop(namespace, None)
        self._digests.pop(namespace, None)
        blobs = self._blobs[namespace]
        for digest in [digest for digest, data in blobs.items() if data is None]:
            del blobs[digest]

    async def find(self, namespace: str, raw: str, options: StepOptions) -> Outcome:
        """The record that an argument means, unpacked if that is wanted (imgutil's GetExistingImage).

        Raises:
            NotFound: there is none for the platform, or it cannot be unpacked because something is missing.
            FilterError: the argument cannot stand in containerd's filter.
        """
        wanted, host = lookup(raw), self._node.host
        matcher = platforms.strict(options.platforms[0] if options.platforms else host, host)
        blobs = self._blobs[namespace]

        def read(digest: str) -> bytes | None:
            if digest not in blobs:
                raise _Unread(digest)
            return blobs[digest]

        documents = oci.Documents(read, host)
        records = await self._list(namespace)
        while True:
            try:
                record, config = find_existing(wanted, records, matcher, documents)
                _, manifest = oci.find_manifest(record.target, matcher, documents)
                break
            except _Unread as unread:
                await self._read(namespace, unread.digest)
        snapshotter = None
        if options.unpacks(host):
            snapshotter = await self._node.snapshotter(namespace, options.snapshotter)
            await self._unpacked(namespace, raw, manifest, config, snapshotter)
        digest = record.target.digest
        return done(digest, digest, record=record.name, snapshotter=snapshotter, fetched_bytes=0)

    async def _list(self, namespace: str) -> list[LocalRecord]:
        async with self._locks["records", namespace]:
            if namespace not in self._records:
                images = await self._node.client.images.list(namespace)
                self._records[namespace] = [_record(image) for image in images]
            return self._records[namespace]

    async def _read(self, namespace: str, digest: str) -> None:
        """Read a document of the node; one that does not have its digest counts as missing."""
        async with self._locks["blob", namespace, digest]:
            if digest in self._blobs[namespace]:
                return
            data: bytes | None = None
            if not self._lists_blobs:
                data = await self._document(namespace, digest)
            elif await self._has(namespace, digest):
                data = self._documents.get(digest) or await self._document(namespace, digest)
            self._blobs[namespace][digest] = data

    async def _document(self, namespace: str, digest: str) -> bytes | None:
        data = await self._node.document(namespace, digest)
        if data is not None:
            self._documents.put(digest, data)
        return data

    async def _has(self, namespace: str, digest: str) -> bool:
        async with self._locks["digests", namespace]:
            if namespace not in self._digests:
                blobs = await self._node.client.content.list(namespace)
                self._digests[namespace] = {blob.digest for blob in blobs}
            return digest in self._digests[namespace]

    async def _unpacked(
        self,
        namespace: str,
        raw: str,
        manifest: oci.Manifest,
        config: oci.ImageConfig,
        snapshotter: str,
    ) -> None:
        """Unpack the image if its chain is not there.

        Raises:
            NotFound: a layer is missing.
        """
        client = self._node.client
        chain = oci.chain_ids(config.rootfs.diff_ids)
        if not chain:
            return
        with suppress(Missing):
            await client.snapshots.stat(namespace, snapshotter, chain[-1])
            return

        async def ready(_layer: oci.Descriptor) -> None:
            """A layer is there or not: Apply says so."""

        try:
            async with leased(client, namespace) as (lease, clean_ups):
                unpacker = Unpacker(self._node, namespace, lease, snapshotter)
                clean_ups.append(unpacker.remove_all)
                await unpacker.unpack(manifest, config, ready)
        except Missing as error:
            raise NotFound(
                not_existing(raw, f"it cannot be unpacked, because something is missing ({error})")
            ) from error


def _record(image: Image) -> LocalRecord:
    target = image.target
    return LocalRecord(image.name, oci.Descriptor(target.media_type, target.digest, target.size))
