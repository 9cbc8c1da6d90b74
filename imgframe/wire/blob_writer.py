"""Writing a blob: one message for a document, a resumable conversation for a layer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from imgframe._proto import content_pb2 as pb
from imgframe.errors import Conflict, Unreachable
from imgframe.wire.channel import Bidi, Channel, methods

ONE_SHOT = 8 << 20
"""Bytes that are written in one message; containerd takes at most 16 MiB in one."""

_WRITE = methods(pb, "Content")["Write"]
_PIECE = 3 << 20
_DATA_TAG = bytes([pb.WriteContentRequest.DESCRIPTOR.fields_by_name["data"].number << 3 | 2])

Source = Callable[[int], AsyncIterator[bytes]]
"""Gives a blob's bytes from an offset on."""


class BlobWriter:
    """The writing half of the content store."""

    _channel: Channel

    async def write(
        self, namespace: str, ref: str, digest: str, data: bytes, labels: Mapping[str, str], *, lease: str
    ) -> bool:
        """Stores a document; True if it was written, False if the namespace had it already.

        Args:
            namespace: to write into.
            ref: name of the write; two writers of one ref exclude each other.
            digest: of the data; containerd verifies it.
            data: at most 8 MiB; larger blobs go through :meth:`write_stream`.
            labels: of the new blob; a blob that was there keeps its own, see ``label``.
            lease: that holds the blob until something refers to it.

        Raises:
            Conflict: another writer holds the ref, or the data has another digest.
        """
        if len(data) > ONE_SHOT:
            raise ValueError(f"{digest} has {len(data)} bytes; more than {ONE_SHOT} go through write_stream")
        request = pb.WriteContentRequest(
            action=pb.COMMIT, ref=ref, total=len(data), expected=digest, data=data, labels=labels
        )
        async with self._channel.bidi(_WRITE, namespace, lease) as talk:
            try:
                await talk.send(request)
                await _reply(talk)
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
        """Stores a blob of any size, resuming an unfinished write of the same ref; True if bytes were sent.

        False: the namespace had it, or another namespace did and it is now shared without moving a byte.

        Args:
            namespace: to write into.
            ref: name of the write.
            digest: that containerd verifies at the end.
            size: of the whole blob in bytes.
            source: gives the bytes from an offset on; called once, and not at all where nothing is to be sent.
            labels: of the new blob.
            lease: that holds the write and the blob.
            timeout: deadline of the whole conversation in seconds.
            progress: told the offset reached, at the start and after each piece.

        Raises:
            Conflict: another writer holds the ref, or the bytes have another digest or size; then the unfinished
                write remains, and the caller aborts it.
        """
        async with self._channel.bidi(_WRITE, namespace, lease, timeout) as talk:
            try:
                await talk.send(pb.WriteContentRequest(action=pb.STAT, ref=ref, total=size, expected=digest))
                start = (await _reply(talk)).offset
                offset = 0 if start > size else start
                progress(offset)
                if offset < size:
                    offset = await _send(talk, source, offset, progress)
                await talk.send(
                    pb.WriteContentRequest(
                        action=pb.COMMIT, ref=ref, offset=offset, total=size, expected=digest, labels=labels
                    )
                )
                await _reply(talk)
            except Conflict as error:
                if error.code == "ALREADY_EXISTS":
                    return False
                raise
        return start < size


async def _send(talk: Bidi, source: Source, offset: int, progress: Callable[[int], None]) -> int:
    """Sends the source's bytes in pieces; the offset reached."""
    async for data in source(offset):
        for begin in range(0, len(data), _PIECE):
            piece = data[begin : begin + _PIECE]
            await talk.send_bytes(_message(offset, piece))
            offset = (await _reply(talk)).offset
            progress(offset)
    return offset


def _message(offset: int, data: bytes) -> bytes:
    """A message that writes data at an offset, copied once: protobuf's own encoder takes longer than the way to containerd."""
    length, size = bytearray(), len(data)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    head = pb.WriteContentRequest(action=pb.WRITE, offset=offset).SerializeToString()
    return b"".join((head, _DATA_TAG, length, data))


async def _reply(talk: Bidi) -> pb.WriteContentResponse:
    """The answer, which every message of a write gets."""
    reply = await talk.receive()
    if reply is None:
        raise Unreachable(
            "Content/Write: containerd ended the stream without an answer", call="Content/Write"
        )
    return reply
