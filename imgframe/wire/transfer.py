"""Pull and push by containerd itself, with streams for progress and credentials (1.7 and later)."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from imgframe._proto import POOL, streaming_pb2, transfer_pb2
from imgframe._proto import transfer_types_pb2 as types
from imgframe.errors import Unreachable, WireError
from imgframe.platforms import Platform
from imgframe.wire.channel import Bidi, Channel, methods
from imgframe.wire.messages import platform_message
from imgframe.wire.records import TransferProgress

_TRANSFER = methods(transfer_pb2, "Transfer")["Transfer"]
_STREAM = methods(streaming_pb2, "Streaming")["Stream"]
_Any = GetMessageClass(POOL.FindMessageTypeByName("google.protobuf.Any"))
_DRAIN_SECONDS = 5.0  # for progress that arrives after the transfer has returned [s]

Credentials = Callable[[str, str], Awaitable[tuple[str, str] | None]]
"""User and secret for a host and reference; None: anonymous."""


class TransferClient:
    """containerd's transfer service."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def pull(
        self,
        namespace: str,
        reference: str,
        *,
        name: str,
        platforms: Sequence[Platform],
        unpack: Sequence[tuple[Platform, str]],
        labels: Mapping[str, str],
        credentials: Credentials,
        progress: Callable[[TransferProgress], None],
        timeout: float,
        hosts_dir: str = "",
        scheme: str = "",
        all_metadata: bool = False,
        lease: str = "",
    ) -> None:
        """Pulls a reference into the image store under ``name``.

        A platform that the index lacks is no error: the image is created nevertheless, and the caller checks.

        Args:
            namespace: to pull into.
            reference: in the registry.
            name: of the image.
            platforms: to fetch; none: all.
            unpack: pairs of platform and snapshotter.
            labels: of the image.
            credentials: called for each token.
            progress: called with each step.
            timeout: of the whole pull [s].
            hosts_dir: folder of hosts.toml files on the node (2.0 and later).
            scheme: ``http`` for a registry without TLS (2.0 and later).
            all_metadata: fetch manifests and configs of other platforms too.
            lease: keeps what is fetched; empty: containerd creates and deletes one.
        """
        fetched = [platform_message(p) for p in platforms]
        store = types.ImageStore(name=name, all_metadata=all_metadata, labels=labels, platforms=fetched)
        for wanted, snapshotter in unpack:
            store.unpacks.add(platform=platform_message(wanted), snapshotter=snapshotter)
        registry = _registry(reference, hosts_dir, scheme)
        await self._run(namespace, registry, store, registry, credentials, progress, timeout, lease)

    async def push(
        self,
        namespace: str,
        name: str,
        reference: str,
        *,
        platforms: Sequence[Platform],
        credentials: Credentials,
        progress: Callable[[TransferProgress], None],
        timeout: float,
        hosts_dir: str = "",
        scheme: str = "",
    ) -> None:
        """Pushes the image ``name`` to a registry as ``reference``; without platforms it must be complete."""
        store = types.ImageStore(name=name, platforms=[platform_message(p) for p in platforms])
        registry = _registry(reference, hosts_dir, scheme)
        await self._run(namespace, store, registry, registry, credentials, progress, timeout, "")

    async def _run(
        self,
        namespace: str,
        source: Message,
        destination: Message,
        registry: Any,
        credentials: Credentials,
        progress: Callable[[TransferProgress], None],
        timeout: float,
        lease: str,
    ) -> None:
        async with (
            self._stream(namespace, timeout) as (steps, steps_id),
            self._stream(namespace, timeout) as (questions, questions_id),
        ):
            registry.resolver.auth_stream = questions_id
            request = transfer_pb2.TransferRequest(source=_wrap(source), destination=_wrap(destination))
            request.options.progress_stream = steps_id
            forward = asyncio.create_task(_forward(steps, progress))
            answer = asyncio.create_task(_authenticate(questions, credentials))
            try:
                await self._channel.unary(_TRANSFER, request, namespace, lease=lease, timeout=timeout)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(forward, _DRAIN_SECONDS)
            finally:
                for task in (forward, answer):
                    task.cancel()
                await asyncio.gather(forward, answer, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _stream(self, namespace: str, timeout: float) -> AsyncIterator[tuple[Bidi, str]]:
        """A stream that containerd has acknowledged, and its ID."""
        name = f"imgframe-{secrets.token_hex(8)}"
        async with self._channel.bidi(_STREAM, namespace, timeout=timeout) as stream:
            await stream.send(_wrap(streaming_pb2.StreamInit(id=name)))
            if await stream.receive() is None:
                raise Unreachable("Streaming/Stream: containerd ended the stream", call=_STREAM.name)
            yield stream, name


def _registry(reference: str, hosts_dir: str, scheme: str) -> Any:
    return types.OCIRegistry(
        reference=reference, resolver=types.RegistryResolver(host_dir=hosts_dir, default_scheme=scheme)
    )


def _wrap(message: Message) -> Any:
    """A message in an Any as containerd expects it: with the bare name, without ``type.googleapis.com/``."""
    return _Any(type_url=message.DESCRIPTOR.full_name, value=message.SerializeToString())


async def _forward(steps: Bidi, progress: Callable[[TransferProgress], None]) -> None:
    """Forwards steps until containerd closes the stream, which may be after the transfer has returned."""
    with contextlib.suppress(WireError):
        while (wrapped := await steps.receive()) is not None:
            if wrapped.type_url.rsplit("/", 1)[-1] == types.Progress.DESCRIPTOR.full_name:
                step = types.Progress.FromString(wrapped.value)
                progress(
                    TransferProgress(step.event, step.name, tuple(step.parents), step.progress, step.total)
                )


async def _authenticate(questions: Bidi, credentials: Credentials) -> None:
    """Answers each request for credentials; an unanswered one blocks the transfer."""
    with contextlib.suppress(WireError):
        while (wrapped := await questions.receive()) is not None:
            question = types.AuthRequest.FromString(wrapped.value)
            known = await credentials(question.host, question.reference)
            answer = types.AuthResponse(authType=types.NONE)
            if known is not None:
                answer = types.AuthResponse(authType=types.CREDENTIALS, username=known[0], secret=known[1])
            await questions.send(_wrap(answer))
