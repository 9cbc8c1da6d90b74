"""The content store: lists, reads and labels of blobs; their writes are in ``blob_writer``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from imgframe._proto import content_pb2 as pb
from imgframe.errors import DocumentError, TimedOut
from imgframe.wire.blob_writer import BlobWriter
from imgframe.wire.channel import Channel, methods
from imgframe.wire.messages import nanoseconds
from imgframe.wire.records import Blob, Ingest, labels_text

DOCUMENT_LIMIT = 8 << 20
"""Largest index, manifest or config that is read [bytes]."""

_CONTENT = methods(pb, "Content")
_CHUNK = 1 << 20  # what containerd sends in one message [bytes]
_PATIENCE = 20.0  # for such a message [s]; waited for once if the store sends smaller ones


def blob(message: Any) -> Blob:
    """The record of a blob's message."""
    return Blob(
        message.digest,
        message.size,
        labels_text(message.labels),
        nanoseconds(message, "created_at"),
        nanoseconds(message, "updated_at"),
    )


def _ingest(message: Any) -> Ingest:
    return Ingest(
        message.ref,
        message.offset,
        message.total,
        nanoseconds(message, "started_at"),
        nanoseconds(message, "updated_at"),
    )


class ContentClient(BlobWriter):
    """containerd's content store."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._whole_chunks = True

    async def ingests(self, namespace: str, filters: Sequence[str] = ()) -> list[Ingest]:
        """Ingests (unfinished writes) of a namespace."""
        request = pb.ListStatusesRequest(filters=filters)
        reply = await self._channel.read(_CONTENT["ListStatuses"], request, namespace)
        return [_ingest(message) for message in reply.statuses]

    async def list(self, namespace: str, filters: Sequence[str] = ()) -> list[Blob]:
        """Blobs of a namespace: all, or those that match any of the filters."""

        async def fetch(some: tuple[str, ...]) -> list[Blob]:
            request = pb.ListContentRequest(filters=some)
            return await self._channel.read_stream(
                _CONTENT["List"], request, lambda block: map(blob, block.info), namespace
            )

        return await self._channel.sliced(fetch, "digest", filters, namespace, "Content/List")

    async def info(self, namespace: str, digest: str) -> Blob:
        """One blob; :class:`~imgframe.errors.Missing` if the namespace does not have it."""
        reply = await self._channel.read(_CONTENT["Info"], pb.InfoRequest(digest=digest), namespace)
        return blob(reply.info)

    async def document(self, namespace: str, digest: str) -> bytes:
        """A whole index, manifest or config. containerd does not verify what it reads; the caller does.

        Raises:
            Missing: the namespace does not have the blob.
            DocumentError: it is larger than 8 MiB.
        """
        head = await self._head(namespace, digest) if self._whole_chunks else b""
        if 0 < len(head) < _CHUNK:
            return head
        request = pb.ReadContentRequest(digest=digest, offset=len(head), size=DOCUMENT_LIMIT + 1 - len(head))
        parts = await self._channel.read_stream(
            _CONTENT["Read"], request, lambda part: (part.data,), namespace
        )
        data = head + b"".join(parts)
        if len(data) > DOCUMENT_LIMIT:
            raise DocumentError(
                f"{digest} is larger than {DOCUMENT_LIMIT} bytes; it is not read as a document"
            )
        return data

    async def _head(self, namespace: str, digest: str) -> bytes:
        """The first MiB of a blob, which containerd's own store sends as one message; empty if this store does not."""
        request = pb.ReadContentRequest(digest=digest, size=_CHUNK)
        try:
            message = await self._channel.read_first(
                _CONTENT["Read"], request, namespace, min(self._channel.timeout, _PATIENCE)
            )
        except TimedOut:
            self._whole_chunks = False
            return b""
        return message.data if message is not None else b""

    async def chunks(
        self, namespace: str, digest: str, *, offset: int = 0, size: int = 0
    ) -> AsyncIterator[bytes]:
        """A blob's bytes in pieces of up to 1 MiB; ``size`` 0 reads to the end. Never retried."""
        request = pb.ReadContentRequest(digest=digest, offset=offset, size=size)
        async for part in self._channel.stream(_CONTENT["Read"], request, namespace):
            yield part.data

    async def label(self, namespace: str, digest: str, labels: Mapping[str, str], *, lease: str = "") -> Blob:
        """Sets labels of a blob and keeps its others; an empty value deletes one. Idempotent."""
        if not labels:
            return await self.info(namespace, digest)
        request = pb.UpdateRequest(info=pb.Info(digest=digest, labels=labels))
        request.update_mask.paths.extend(f"labels.{key}" for key in sorted(labels))
        reply = await self._channel.unary(_CONTENT["Update"], request, namespace, lease=lease)
        return blob(reply.info)

    async def delete(self, namespace: str, digest: str) -> None:
        """Deletes a blob from the namespace; its bytes go with the next garbage collection."""
        await self._channel.unary(_CONTENT["Delete"], pb.DeleteContentRequest(digest=digest), namespace)

    async def abort(self, namespace: str, ref: str) -> None:
        """Aborts an ingest; :class:`~imgframe.errors.Missing` if there is none."""
        await self._channel.unary(_CONTENT["Abort"], pb.AbortRequest(ref=ref), namespace)
