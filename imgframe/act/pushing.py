"""Pushing an image of a node to a registry: everything is looked for before anything is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgframe import digests, oci
from imgframe.act.labelling import sources_of
from imgframe.act.lines import Lines
from imgframe.act.pulling import Choice, Told
from imgframe.act.sites import Site
from imgframe.errors import DocumentError, Missing, RegistryError
from imgframe.wire.records import labels_of

if TYPE_CHECKING:
    from imgframe.act.remotes import RegistryImage

AT_ONCE = 4
"""Blobs of one image that are sent at a time."""

_SHOWN = 3
_KEPT_AT_HOME = ("foreign.", "nondistributable.")


@dataclass
class Parcel:
    """What has to be in the registry: blobs, then documents in the order in which they are put, the last under the tag.

    Attributes:
        target: what the name will mean.
        blobs: configs and layers by digest.
        documents: manifests and indexes, children first.
        missing: what the node lacks: digest and what needs it.
    """

    target: oci.Descriptor
    blobs: dict[str, oci.Descriptor] = field(default_factory=dict)
    documents: dict[str, tuple[oci.Descriptor, bytes]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)


async def push(
    site: Site, step: dict[str, Any], remote: RegistryImage, choice: Choice, lines: Lines, told: Told
) -> dict[str, Any]:
    """Pushes the record of a step; its outcome. Refused: the record moved, or something is missing on the node.

    Raises:
        RegistryError: the registry refuses.
        DocumentError: the image cannot be used, or has nothing for the platforms.
        WireError: containerd refuses something.
    """
    parcel = await packed(site, step, choice)
    if not isinstance(parcel, Parcel):
        return parcel
    sending = Sending(site, step["namespace"], remote, lines, told)
    await sending.send(parcel)
    return outcome(step, parcel, sending.sent, sending.present, "client")


def outcome(step: dict[str, Any], parcel: Parcel, sent: int, present: int, via: str) -> dict[str, Any]:
    """What became of a step whose parcel the registry has now."""
    return {
        "status": "done",
        "before": step["digest"],
        "after": step["digest"],
        "remote": parcel.target.digest,
        "fetched_bytes": sent,
        "present_bytes": present,
        "via": via,
    }


async def packed(site: Site, step: dict[str, Any], choice: Choice) -> Parcel | dict[str, Any]:
    """What has to be in the registry for a step, or its outcome: refused, because the record moved or something is missing.

    Raises:
        DocumentError: the image cannot be used, or has nothing for the platforms.
        WireError: containerd refuses something.
    """
    try:
        image = await site.client.images.get(step["namespace"], step["name"])
    except Missing:
        return {"status": "refused", "message": f"{step['name']}: the record is gone; collect and plan again"}
    found = {"before": image.target.digest, "after": image.target.digest}
    if image.target.digest != step["digest"]:
        moved = f"{step['name']}: the record moved to {image.target.digest} since the plan; collect and plan again"
        return {"status": "refused", "message": moved, **found}
    target = oci.Descriptor(image.target.media_type, image.target.digest, image.target.size)
    parcel = await Packing(site, step["namespace"]).pack(target, choice)
    if parcel.missing:
        return {"status": "refused", "message": _refusal(step, parcel), **found}
    return parcel


def _refusal(step: dict[str, Any], parcel: Parcel) -> str:
    missing = [f"{digest} ({what})" for digest, what in parcel.missing.items()]
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return (
        f"{step['name']}: the node lacks {', '.join(missing[:_SHOWN])}{more}; nothing was sent. Pull the whole image first "
        f"(platform='all'), or push the platforms that are there (push(..., platform='linux/amd64'))"
    )


class Packing:
    """Collects what an image consists of, on the node."""

    def __init__(self, site: Site, namespace: str) -> None:
        self._site, self._namespace = site, namespace

    async def pack(self, target: oci.Descriptor, choice: Choice) -> Parcel:
        """Everything below a target, or below the chosen platforms of it.

        Raises:
            DocumentError: nothing is for the platforms, or a document is damaged.
        """
        if not choice.specifiers or not oci.is_index_type(target.media_type):
            return await self._finish(Parcel(target), target)
        data = await self._read(target)
        if data is None:
            return Parcel(target, missing={target.digest: "the index itself"})
        index = oci.checked_index(data, target.media_type, f"manifest: invalid desc {target.digest}")
        matcher = choice.matcher(self._site.host)
        entries = [one for one in index.manifests if one.platform and matcher and matcher.match(one.platform)]
        if not entries:
            raise DocumentError(
                f"no match for platform in manifest {target.digest}: not found", code="not_found"
            )
        if len(entries) == 1:
            return await self._finish(Parcel(entries[0]), entries[0])
        return await self._smaller(target, data, {one.digest for one in entries})

    async def _smaller(self, target: oci.Descriptor, data: bytes, kept: set[str]) -> Parcel:
        """The same index with some of its entries."""
        document = json.loads(data)
        document["manifests"] = [one for one in document["manifests"] if one["digest"] in kept]
        smaller = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        digest = digests.sha256(smaller)
        parcel = Parcel(oci.Descriptor(target.media_type, digest, len(smaller)))
        for entry in oci.decode_index(smaller).manifests:
            await self._walk(entry, parcel, ())
        parcel.documents[digest] = (parcel.target, smaller)
        return await self._look(parcel)

    async def _finish(self, parcel: Parcel, target: oci.Descriptor) -> Parcel:
        await self._walk(target, parcel, ())
        return await self._look(parcel)

    async def _walk(self, here: oci.Descriptor, parcel: Parcel, above: tuple[str, ...]) -> None:
        if here.digest in above:
            raise DocumentError(f"index {here.digest} contains itself", code="cycle")
        if here.digest in parcel.documents:
            return
        what = f"manifest for {here.platform}" if here.platform else "the image's own document"
        data = await self._read(here)
        if data is None:
            parcel.missing[here.digest] = what
            return
        prefix = f"manifest: invalid desc {here.digest}"
        if oci.is_index_type(here.media_type):
            for entry in oci.checked_index(data, here.media_type, prefix).manifests:
                await self._walk(entry, parcel, (*above, here.digest))
        elif oci.is_manifest_type(here.media_type):
            manifest = oci.checked_manifest(data, here.media_type, prefix)
            for one in (manifest.config, *manifest.layers):
                if not any(kind in one.media_type for kind in _KEPT_AT_HOME):
                    parcel.blobs[one.digest] = one
        else:
            raise DocumentError(f"{here.digest} is neither an index nor a manifest but {here.media_type!r}")
        parcel.documents[here.digest] = (here, data)

    async def _read(self, wanted: oci.Descriptor) -> bytes | None:
        """A document of the node; None: it is not there.

        Raises:
            DocumentError: it is not what its digest says.
        """
        try:
            data = await self._site.client.content.document(self._namespace, wanted.digest)
        except Missing:
            return None
        if not digests.matches(data, wanted.digest):
            raise DocumentError(
                f"{wanted.digest} is damaged on the node: pull the image again", code="wrong_digest"
            )
        return data

    async def _look(self, parcel: Parcel) -> Parcel:
        """Which blobs are there, whole, and where they came from."""

        async def one(wanted: oci.Descriptor) -> None:
            try:
                blob = await self._site.client.content.info(self._namespace, wanted.digest)
            except Missing:
                parcel.missing[wanted.digest] = wanted.media_type.rpartition(".")[2] or "blob"
                return
            if blob.size != wanted.size:
                parcel.missing[wanted.digest] = f"{blob.size} of {wanted.size} bytes are there"
            parcel.labels[wanted.digest] = labels_of(blob.labels)

        await asyncio.gather(*(one(wanted) for wanted in parcel.blobs.values()))
        return parcel


class Sending:
    """Brings a parcel to a registry.

    Attributes:
        sent: bytes that left.
        present: bytes that the registry had, or took from another repository of its own.
    """

    def __init__(self, site: Site, namespace: str, remote: RegistryImage, lines: Lines, told: Told) -> None:
        self._site, self._namespace = site, namespace
        self._remote, self._lines, self._told = remote, lines, told
        self.sent = 0
        self.present = 0

    async def send(self, parcel: Parcel) -> None:
        """Blobs first, then documents, children before parents, the last one under the tag."""
        if await self._has_all(parcel):
            return
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(blob: oci.Descriptor) -> None:
            async with gate, self._lines.upload(self._remote.host, self._remote.repository, blob.digest):
                await self._blob(blob, parcel.labels.get(blob.digest, {}))

        tasks = [asyncio.create_task(one(blob)) for blob in parcel.blobs.values()]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        for digest, (wanted, data) in parcel.documents.items():
            last = digest == parcel.target.digest
            await self._remote.put(wanted, data, tagged=last)
            self.sent += len(data)

    async def _has_all(self, parcel: Parcel) -> bool:
        """Whether the name means this target already: a registry takes no document before what it names."""
        with suppress(RegistryError):
            known = await self._remote.resolve()
            if known.digest == parcel.target.digest:
                everything = [*parcel.blobs.values(), *(wanted for wanted, _ in parcel.documents.values())]
                self.present = sum(one.size for one in everything)
                return True
        return False

    async def _blob(self, blob: oci.Descriptor, labels: dict[str, str]) -> None:
        self._told(blob.digest, 0, blob.size)
        known = sources_of(labels, self._remote.domain)
        if not await self._remote.exists(blob) and not await self._mounted(blob, known):
            await self._remote.upload(blob, self._source(blob))
            self.sent += blob.size
        else:
            self.present += blob.size
        self._told(blob.digest, blob.size, blob.size)

    async def _mounted(self, blob: oci.Descriptor, known: Any) -> bool:
        """Whether the registry takes it from another of its repositories."""
        for repository in known:
            if repository != self._remote.repository and await self._remote.mount(blob, repository):
                return True
        return False

    def _source(self, blob: oci.Descriptor) -> Callable[[], AsyncIterator[bytes]]:
        async def give() -> AsyncIterator[bytes]:
            offset = 0
            async for piece in self._site.client.content.chunks(self._namespace, blob.digest):
                yield piece
                offset += len(piece)
                self._told(blob.digest, offset, blob.size)

        return give
