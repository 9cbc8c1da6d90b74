"""The gRPC channel to one containerd: every call has a deadline, is counted, and fails with imgframe's errors.

Reads are retried when the connection breaks; writes never, because containerd may have carried them out, or crashed on
them. Requests and replies pass through gRPC as bytes, so that a reply with text that is not UTF-8 is repaired, not lost.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from imgframe.errors import Refused, TimedOut, Unreachable, WireError
from imgframe.wire import slices, utf8
from imgframe.wire.records import Damage
from imgframe.wire.socket import target
from imgframe.wire.status import translate

T = TypeVar("T")

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
)
RETRY_SECONDS = 5.0
"""How long reads are retried while the connection is broken; a restart of containerd takes less."""

_open: set[int] = set()
_orphaned = False


def _after_fork() -> None:
    global _orphaned  # noqa: PLW0603 -- a fact about the process
    _orphaned = bool(_open)
    _open.clear()


os.register_at_fork(after_in_child=_after_fork)


class Method:
    """A method of a service: its path, its name in errors, and the class of its replies."""

    __slots__ = ("name", "path", "reply")

    def __init__(self, method: MethodDescriptor) -> None:
        service = method.containing_service
        self.path = f"/{service.full_name}/{method.name}"
        self.name = f"{service.name}/{method.name}"
        self.reply = GetMessageClass(method.output_type)


def methods(file: Any, service: str) -> dict[str, Method]:
    """The methods of a service in a generated module, by name."""
    return {m.name: Method(m) for m in file.DESCRIPTOR.services_by_name[service].methods}


class Channel:
    """A channel, which belongs to the event loop it was opened in.

    Attributes:
        address: of the node, for errors.
        timeout: default deadline of a call [s].
        rpcs: calls made so far, including retries.
        damages: records that were repaired or could not be read; the caller takes them.
    """

    def __init__(self, path: str, address: str, timeout: float) -> None:
        self.address = address
        self.timeout = timeout
        self.rpcs = 0
        self.damages: list[Damage] = []
        if _orphaned:
            raise Unreachable(
                f"{address}: this process was forked while a connection to containerd was open, which gRPC does not "
                "survive; start worker processes with the spawn method",
                address=address,
                call="connect",
            )
        self._channel = grpc.aio.insecure_channel(target(path), options=_OPTIONS)
        _open.add(id(self))
        self._stubs: dict[tuple[str, str], Any] = {}
        self._metadata: dict[tuple[str, str], grpc.aio.Metadata] = {}
        self._lost_since: float | None = None

    async def close(self) -> None:
        """Closes the channel and cancels the calls in flight."""
        await self._channel.close()
        _open.discard(id(self))

    async def unary(
        self,
        method: Method,
        request: Message,
        namespace: str = "",
        *,
        lease: str = "",
        timeout: float | None = None,
    ) -> Any:
        """One request and its reply; never retried."""
        data = await self.guard(
            method, timeout, self._start("unary_unary", method, request, namespace, lease, timeout)
        )
        return self.parse(method, data, namespace)

    async def read(
        self, method: Method, request: Message, namespace: str = "", timeout: float | None = None
    ) -> Any:
        """As :meth:`unary`, retried when the connection breaks; for requests that change nothing."""
        return await self._again(lambda: self.unary(method, request, namespace, timeout=timeout))

    async def read_first(self, method: Method, request: Message, namespace: str, timeout: float) -> Any:
        """The only message of a server's stream, or None if there is none, at half the cost of a stream.

        The server must send at most one message: with a second one the call hangs until its deadline.
        """

        async def once() -> Any:
            call = self._start("unary_unary", method, request, namespace, "", timeout)
            data = await self.guard(method, timeout, call)
            return None if data is None else self.parse(method, data, namespace)

        return await self._again(once)

    async def read_stream(
        self,
        method: Method,
        request: Message,
        each: Callable[[Any], Iterable[T]],
        namespace: str = "",
        timeout: float | None = None,
    ) -> list[T]:
        """What ``each`` makes of every message of a server's stream; starts over when the connection breaks."""

        async def once() -> list[T]:
            call = self._start("unary_stream", method, request, namespace, "", timeout)
            found: list[T] = []

            async def gather() -> None:
                while (data := await call.read()) is not grpc.aio.EOF:
                    found.extend(each(self.parse(method, data, namespace)))

            await self.guard(method, timeout, gather())
            return found

        return await self._again(once)

    async def stream(
        self, method: Method, request: Message, namespace: str = "", timeout: float | None = None
    ) -> AsyncIterator[Any]:
        """The messages of a server's stream as they arrive; never retried."""
        call = self._start("unary_stream", method, request, namespace, "", timeout)
        try:
            while (data := await self.guard(method, timeout, call.read())) is not grpc.aio.EOF:
                yield self.parse(method, data, namespace)
        finally:
            call.cancel()

    def bidi(
        self,
        method: Method,
        namespace: str,
        lease: str = "",
        timeout: float | None = None,
        patience: float | None = None,
    ) -> Bidi:
        """A bidirectional stream; ``patience``: seconds that each message may take to be sent or to come."""
        return Bidi(
            self,
            method,
            self._start("stream_stream", method, None, namespace, lease, timeout),
            namespace,
            timeout,
            patience,
        )

    def parse(self, method: Method, data: bytes, namespace: str) -> Any:
        """The message of a reply; what is not UTF-8 becomes U+FFFD and is reported in ``damages``."""
        try:
            return method.reply.FromString(data)
        except DecodeError:
            pass
        try:
            repaired, places = utf8.repair(data, method.reply.DESCRIPTOR)
            reply = method.reply.FromString(repaired)
        except (DecodeError, utf8.Malformed) as error:
            raise Refused(
                f"{method.name} at {self.address}: the answer is not a message of containerd's API",
                address=self.address,
                call=method.name,
                code="INTERNAL",
            ) from error
        self.damages += [
            Damage(namespace, method.name, place, "text that is not UTF-8; its bytes are shown as U+FFFD")
            for place in places
        ]
        return reply

    async def sliced(
        self, fetch: slices.Fetch, field: str, filters: Iterable[str], namespace: str, call: str
    ) -> list[Any]:
        """The records of a list, in slices if necessary; what containerd cannot send is reported in ``damages``."""
        rows, lost = await slices.sliced(fetch, field, tuple(filters))
        self.damages += [Damage(namespace, call, name, f"not readable: {reason}") for name, reason in lost]
        return rows

    def _start(
        self,
        shape: str,
        method: Method,
        request: Message | None,
        namespace: str,
        lease: str,
        timeout: float | None,
    ) -> Any:
        stub = self._stubs.get((shape, method.path))
        if stub is None:
            stub = self._stubs[shape, method.path] = getattr(self._channel, shape)(method.path)
        metadata = self._metadata.get((namespace, lease))
        if metadata is None:
            pairs = (("containerd-namespace", namespace), ("containerd-lease", lease))
            metadata = grpc.aio.Metadata(*(pair for pair in pairs if pair[1]))
            self._metadata[namespace, lease] = metadata
        self.rpcs += 1
        deadline = self.timeout if timeout is None else timeout
        if request is None:
            return stub(timeout=deadline, metadata=metadata)
        return stub(request.SerializeToString(), timeout=deadline, metadata=metadata)

    async def guard(self, method: Method, timeout: float | None, work: Awaitable[Any]) -> Any:
        """Awaits a part of a call and translates gRPC's errors."""
        try:
            result = await work
        except grpc.aio.AioRpcError as error:
            seconds = self.timeout if timeout is None else timeout
            raise translate(error, self.address, method.name, seconds) from error
        except (grpc.aio.UsageError, grpc.aio.InternalError) as error:
            raise Unreachable(
                f"{method.name} at {self.address}: the connection is closed ({error})",
                address=self.address,
                call=method.name,
                code="UNAVAILABLE",
            ) from error
        self._lost_since = None
        return result

    async def _again(self, once: Callable[[], Awaitable[Any]]) -> Any:
        """Runs a read, and retries it with growing pauses until the connection has been down for RETRY_SECONDS."""
        try:
            return await once()
        except Unreachable:
            now = time.monotonic()
            self._lost_since = now if self._lost_since is None else self._lost_since
            left = self._lost_since + RETRY_SECONDS - now
            if left <= 0:
                raise
        import tenacity  # imported on the first failure: it takes 30 ms

        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Unreachable),
            wait=tenacity.wait_exponential(multiplier=0.1, max=1.0) + tenacity.wait_random(0, 0.1),
            stop=tenacity.stop_after_delay(left),
            reraise=True,
        )
        async for attempt in attempts:
            with attempt:
                return await once()
        raise AssertionError("tenacity returns or raises")


class Bidi:
    """A bidirectional stream; leaving its ``async with`` block cancels it if it is unfinished."""

    def __init__(
        self,
        channel: Channel,
        method: Method,
        call: Any,
        namespace: str,
        timeout: float | None,
        patience: float | None,
    ) -> None:
        self._channel, self._method, self._call = channel, method, call
        self._namespace, self._timeout, self._patience = namespace, timeout, patience

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()

    async def send(self, message: Message) -> None:
        """Sends one message; if the server has ended the stream, its reason is raised."""
        await self.send_bytes(message.SerializeToString())

    async def send_bytes(self, message: bytes) -> None:
        """As :meth:`send`, for an encoded message."""
        try:
            await self._moving(self._call.write(message))
        except WireError:
            raise
        except Exception as error:  # grpc.aio has no class for "RPC already finished"
            await self.receive()
            raise Unreachable(
                f"{self._method.name} at {self._channel.address}: the stream ended early",
                address=self._channel.address,
                call=self._method.name,
                code="UNAVAILABLE",
            ) from error

    async def receive(self) -> Any:
        """The next message; None if the server has ended the stream."""
        data = await self._moving(self._call.read())
        return None if data is grpc.aio.EOF else self._channel.parse(self._method, data, self._namespace)

    async def _moving(self, work: Awaitable[Any]) -> Any:
        """A message, which must be sent or come within the patience of the stream."""
        try:
            async with asyncio.timeout(self._patience):
                return await self._channel.guard(self._method, self._timeout, work)
        except TimeoutError:
            raise TimedOut(
                f"{self._method.name} at {self._channel.address}: no answer within {self._patience:g} s; does containerd hang, or is "
                "its disk stuck? Look at its log, or give it a longer timeout",
                address=self._channel.address,
                call=self._method.name,
                code="DEADLINE_EXCEEDED",
            ) from None

    async def done(self) -> None:
        """Half-closes the stream: nothing more will be sent."""
        await self._channel.guard(self._method, self._timeout, self._call.done_writing())
