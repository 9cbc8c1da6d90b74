"""Writes of blobs: a single message for a document, a resumable stream for a layer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from imgframe._proto import content_pb2 as pb
from imgframe.digests import digest_error
from imgframe.errors import Conflict, Unreachable
from imgframe.wire.channel import Bidi, Channel, methods
from imgframe.wire.utf8 import varint

ONE_SHOT = 8 << 20
"""Largest document written in one message [bytes]; containerd accepts messages of up to 16 MiB."""

_WRITE = methods(pb, "Content")["Write"]
_PIECE = 3 << 20
_DATA_TAG = bytes([pb.WriteContentRequest.DESCRIPTOR.fields_by_name["data"].number << 3 | 2])

Source = Callable[[int], AsyncIterator[bytes]]
"""The bytes of a blob from an offset on."""


def _check(digest: str) -> None:
    """An expected digest without a colon ends containerd 2.3 and later with a panic."""
    if (problem := digest_error(digest)) is not None:
        raise ValueError(f"content is written under its digest, not under {digest!r}: {problem}")


class BlobWriter:
    """Writes to the content store."""

    _channel: Channel

    async def write(
        self, namespace: str, ref: str, digest: str, data: bytes, labels: Mapping[str, str], *, lease: str
    ) -> bool:
        """Writes a document; True if it was written, False if the namespace had it already.

        Args:
            namespace: to write to.
            ref: name of the ingest; containerd locks it for one writer at a time.
            digest: of the data; containerd verifies it.
            data: at most 8 MiB; larger blobs need :meth:`write_stream`.
            labels: of the new blob; an existing blob keeps its own, see ``label``.
            lease: keeps the blob until something refers to it.

        Raises:
            Conflict: another writer holds the ref, or the data has another digest.
        """
        _check(digest)
        if len(data) > ONE_SHOT:
            raise ValueError(f"{digest} has {len(data)} bytes; more than {ONE_SHOT} need write_stream")
        request = pb.WriteContentRequest(
            action=pb.COMMIT, ref=ref, total=len(data), expected=digest, data=data, labels=labels
        )
        async with self._channel.bidi(_WRITE, namespace, lease) as stream:
            try:
                await stream.send(request)
                await _reply(stream)
            except Conflict as error:
                if error.code == "ALREADY_EXISTS":
                    return False
                raise
        return True

    async def write_stream(
        self,
        namespace: str,
        ref: str,
        digest: str,
        size: int,
        source: Source,
        labels: Mapping[str, str],
        *,
        lease: str,
        timeout: float,
        progress: Callable[[int], None] = lambda _written: None,
    ) -> bool:
        """Writes a blob of any size, resuming the ingest of the same ref; True if bytes were sent.

        False: the namespace had it, or another namespace had it and it is shared now.

        Args:
            namespace: to write to.
            ref: name of the ingest.
            digest: verified by containerd at the end.
            size: of the whole blob [bytes].
            source: the bytes from an offset on; called once, and only if bytes must be sent.
            labels: of the new blob.
            lease: keeps the ingest and the blob.
            timeout: deadline of the whole stream [s]; each message has that of any other call.
            progress: called with the offset, at the start and after each piece.

        Raises:
            Conflict: another writer holds the ref, or the bytes have another digest or size; the ingest then remains,
                and the caller aborts it.
        """
        _check(digest)
        async with self._channel.bidi(_WRITE, namespace, lease, timeout, self._channel.timeout) as stream:
            try:
                await stream.send(
                    pb.WriteContentRequest(action=pb.STAT, ref=ref, total=size, expected=digest)
                )
                start = (await _reply(stream)).offset
                offset = 0 if start > size else start
                progress(offset)
                if offset < size:
                    offset = await _send(stream, source, offset, progress)
                await stream.send(
                    pb.WriteContentRequest(
                        action=pb.COMMIT, ref=ref, offset=offset, total=size, expected=digest, labels=labels
                    )
                )
                await _reply(stream)
            except Conflict as error:
                if error.code == "ALREADY_EXISTS":
                    return False
                raise
        return start < size


async def _send(stream: Bidi, source: Source, offset: int, progress: Callable[[int], None]) -> int:
    """Sends the bytes of the source in pieces; returns the offset reached."""
    async for data in source(offset):
        for begin in range(0, len(data), _PIECE):
            piece = data[begin : begin + _PIECE]
            await stream.send_bytes(_message(offset, piece))
            offset = (await _reply(stream)).offset
            progress(offset)
    return offset


def _message(offset: int, data: bytes) -> bytes:
    """An encoded WRITE of data at an offset; protobuf's own encoder copies the data once more."""
    head = pb.WriteContentRequest(action=pb.WRITE, offset=offset).SerializeToString()
    return b"".join((head, _DATA_TAG, varint(len(data)), data))


async def _reply(stream: Bidi) -> pb.WriteContentResponse:
    """The reply that containerd sends to every message of a write."""
    reply = await stream.receive()
    if reply is None:
        raise Unreachable("Content/Write: containerd ended the stream without a reply", call="Content/Write")
    return reply
