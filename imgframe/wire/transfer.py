"""Pull and push done by containerd itself, with progress and credentials over side streams (1.7 and later)."""

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
from imgframe.wire.messages import fill_labels, platform_message
from imgframe.wire.records import TransferProgress

_TRANSFER = methods(transfer_pb2, "Transfer")["Transfer"]
_STREAM = methods(streaming_pb2, "Streaming")["Stream"]
_Any = GetMessageClass(POOL.FindMessageTypeByName("google.protobuf.Any"))
_LAST_WORDS = 5.0  # seconds that progress may go on after the transfer has returned

Credentials = Callable[[str, str], Awaitable[tuple[str, str] | None]]
"""Host and reference to user and secret, or None: anonymous."""


class TransferClient:
    """containerd's own pull and push."""

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

        A platform that the index lacks is no error: the record is made all the same, and the caller checks.

        Args:
            namespace: to pull into.
            reference: to ask the registry for.
            name: of the image record.
            platforms: to fetch; none: all.
            unpack: pairs of platform and snapshotter.
            labels: of the record.
            credentials: asked for each token.
            progress: told every step.
            timeout: of the whole pull in seconds.
            hosts_dir: folder of hosts.toml files on the node (2.0 and later).
            scheme: ``http`` for a registry without TLS (2.0 and later).
            all_metadata: fetch manifests and configs of other platforms too.
            lease: to put everything under; containerd makes and removes its own otherwise.
        """
        store = types.ImageStore(name=name, all_metadata=all_metadata)
        fill_labels(store, labels)
        store.platforms.extend(platform_message(p) for p in platforms)
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
        """Pushes the image ``name`` to a registry as ``reference``; without platforms every child must be there."""
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
            self._side(namespace, timeout) as (steps, steps_id),
            self._side(namespace, timeout) as (questions, questions_id),
        ):
            registry.resolver.auth_stream = questions_id
            request = transfer_pb2.TransferRequest(source=_wrap(source), destination=_wrap(destination))
            request.options.progress_stream = steps_id
            telling = asyncio.create_task(_tell(steps, progress))
            answering = asyncio.create_task(_answer(questions, credentials))
            try:
                await self._channel.unary(_TRANSFER, request, namespace, lease=lease, timeout=timeout)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(telling, _LAST_WORDS)
            finally:
                for task in (telling, answering):
                    task.cancel()
                await asyncio.gather(telling, answering, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _side(self, namespace: str, timeout: float) -> AsyncIterator[tuple[Bidi, str]]:
        """A side stream that containerd has acknowledged, and its id."""
        name = f"imgframe-{secrets.token_hex(8)}"
        async with self._channel.bidi(_STREAM, namespace, timeout=timeout) as talk:
            await talk.send(_wrap(streaming_pb2.StreamInit(id=name)))
            if await talk.receive() is None:
                raise Unreachable("Streaming/Stream: containerd ended the stream", call=_STREAM.name)
            yield talk, name


def _registry(reference: str, hosts_dir: str, scheme: str) -> Any:
    return types.OCIRegistry(
        reference=reference, resolver=types.RegistryResolver(host_dir=hosts_dir, default_scheme=scheme)
    )


def _wrap(message: Message) -> Any:
    """A message inside Any as containerd wants it: the bare name, no ``type.googleapis.com/``."""
    return _Any(type_url=message.DESCRIPTOR.full_name, value=message.SerializeToString())


async def _tell(steps: Bidi, progress: Callable[[TransferProgress], None]) -> None:
    """Passes steps on until containerd closes the stream; steps may come after the transfer has returned."""
    with contextlib.suppress(WireError):
        while (wrapped := await steps.receive()) is not None:
            if wrapped.type_url.rsplit("/", 1)[-1] == types.Progress.DESCRIPTOR.full_name:
                step = types.Progress.FromString(wrapped.value)
                progress(
                    TransferProgress(step.event, step.name, tuple(step.parents), step.progress, step.total)
                )


async def _answer(questions: Bidi, credentials: Credentials) -> None:
    """Answers each question for credentials; an unanswered one would hang the transfer."""
    with contextlib.suppress(WireError):
        while (wrapped := await questions.receive()) is not None:
            question = types.AuthRequest.FromString(wrapped.value)
            known = await credentials(question.host, question.reference)
            answer = types.AuthResponse(authType=types.NONE)
            if known is not None:
                answer = types.AuthResponse(authType=types.CREDENTIALS, username=known[0], secret=known[1])
            await questions.send(_wrap(answer))
