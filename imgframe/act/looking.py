"""Finding an image that a node has already, and unpacking it where it is not: the local half of ensure."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import NamedTuple

from imgframe import oci, platforms
from imgframe.act.leasing import leased
from imgframe.act.lines import Lines
from imgframe.act.pulling import Choice, drop_unpacked
from imgframe.act.sites import Site
from imgframe.act.unpacking import Unpacker
from imgframe.digests import matches
from imgframe.errors import DocumentError, Missing, NotFound
from imgframe.planning.local_image import LocalRecord, find_existing, lookup, not_existing
from imgframe.wire.records import Image


class Existing(NamedTuple):
    """A record that will do, and where it is unpacked (None: nowhere)."""

    name: str
    digest: str
    snapshotter: str | None


class _Needed(Exception):  # noqa: N818 -- no error: what to read next
    """A document that has not been read yet."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


MANY = 4
"""Images from which on listing a node's blobs is cheaper than asking for each document."""


class Shelf:
    """The images of one node as a plan finds them; what the plan changes is forgotten.

    The records of a namespace are listed once. A document is read once for all nodes that have it; that a node has it is
    known from a list of its blobs where ``images`` is large, else by reading it there.
    """

    def __init__(self, site: Site, lines: Lines, images: int) -> None:
        self._site, self._lines, self._listing = site, lines, images >= MANY
        self._digests: dict[str, set[str]] = {}
        self._records: dict[str, list[LocalRecord]] = {}
        self._blobs: defaultdict[str, dict[str, bytes | None]] = defaultdict(dict)
        self._asking: defaultdict[tuple[str, ...], asyncio.Lock] = defaultdict(asyncio.Lock)

    def forget(self, namespace: str) -> None:
        """Something was brought into the namespace: look again."""
        self._records.pop(namespace, None)
        self._digests.pop(namespace, None)
        blobs = self._blobs[namespace]
        for digest in [digest for digest, data in blobs.items() if data is None]:
            del blobs[digest]

    async def find(self, namespace: str, raw: str, choice: Choice) -> Existing:
        """The record that an argument means, unpacked if that is wanted (imgutil's GetExistingImage).

        Raises:
            NotFound: there is none for the platform, or it cannot be unpacked because something is missing.
            FilterError: the argument cannot stand in containerd's filter.
        """
        wanted = lookup(raw)
        specifier = choice.specifiers[0] if choice.specifiers else self._site.host
        matcher = platforms.strict(specifier, self._site.host)
        blobs = self._blobs[namespace]

        def read(digest: str) -> bytes | None:
            if digest not in blobs:
                raise _Needed(digest)
            return blobs[digest]

        documents = oci.Documents(read, self._site.host)
        records = await self._list(namespace)
        while True:
            try:
                record, config = find_existing(wanted, records, matcher, documents)
                _, manifest = oci.find_manifest(record.target, matcher, documents)
                break
            except _Needed as need:
                await self._read(namespace, need.digest)
        snapshotter = None
        if choice.unpacks(self._site.host):
            snapshotter = await self._site.snapshotter(namespace, choice.snapshotter)
            await self._unpacked(namespace, raw, manifest, config, snapshotter)
        return Existing(record.name, record.target.digest, snapshotter)

    async def _list(self, namespace: str) -> list[LocalRecord]:
        async with self._asking["records", namespace]:
            if namespace not in self._records:
                images = await self._site.client.images.list(namespace)
                self._records[namespace] = [_record(image) for image in images]
            return self._records[namespace]

    async def _read(self, namespace: str, digest: str) -> None:
        """Reads a document of the node; one that is not what its digest says counts as missing."""
        async with self._asking["blob", namespace, digest]:
            if digest in self._blobs[namespace]:
                return
            data: bytes | None = None
            if not self._listing:
                data = await self._document(namespace, digest)
            elif await self._has(namespace, digest):
                data = self._lines.known(digest) or await self._document(namespace, digest)
            self._blobs[namespace][digest] = data

    async def _document(self, namespace: str, digest: str) -> bytes | None:
        with suppress(Missing, DocumentError):
            data = await self._site.client.content.document(namespace, digest)
            if matches(data, digest):
                self._lines.remember(digest, data)
                return data
        return None

    async def _has(self, namespace: str, digest: str) -> bool:
        async with self._asking["digests", namespace]:
            if namespace not in self._digests:
                blobs = await self._site.client.content.list(namespace)
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
        """Unpacks the image if its chain is not there.

        Raises:
            NotFound: a layer is missing.
        """
        client = self._site.client
        chain = oci.chain_ids(config.rootfs.diff_ids)
        if not chain:
            return
        with suppress(Missing):
            await client.snapshots.stat(namespace, snapshotter, chain[-1])
            return

        async def ready(_layer: oci.Descriptor) -> None:
            """It is there or it is not: Apply says so."""

        try:
            async with leased(client, namespace) as (lease, clean_ups):
                unpacker = Unpacker(client, namespace, lease, snapshotter, self._lines)
                clean_ups.append(lambda: drop_unpacked(unpacker))
                await unpacker.unpack(manifest, config, ready)
        except Missing as error:
            raise NotFound(
                not_existing(raw, f"it cannot be unpacked, because something is missing ({error})")
            ) from error


def _record(image: Image) -> LocalRecord:
    target = image.target
    return LocalRecord(image.name, oci.Descriptor(target.media_type, target.digest, target.size))
