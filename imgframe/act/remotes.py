"""The registries of a plan: one session per set of options, each name resolved once for all nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from imgframe import oci, reference
from imgframe.errors import RegistryError, RegistryNotFound
from imgframe.registry import Registry, Remote
from imgframe.registry.credentials import Login, Wallet

_PLAIN = ("server gave HTTP response to HTTPS client", "connection refused")


class Remotes:
    """The images that a plan takes from registries or brings to them; for use in ``async with``.

    Args:
        docker_config: path of a ``config.json`` or its folder that takes the place of the one in a step's options.
        timeout: seconds in which a registry must send or take something.
    """

    def __init__(self, docker_config: Any, timeout: float) -> None:
        self._docker_config = docker_config
        self.timeout = timeout
        self._stack = AsyncExitStack()
        self._sessions: dict[tuple[Any, ...], asyncio.Task[Registry]] = {}
        self._images: dict[tuple[Any, ...], RegistryImage] = {}
        self._wallets: dict[Any, Wallet] = {}

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def image(self, name: str, options: dict[str, Any]) -> RegistryImage:
        """An image by its name; nothing is asked yet.

        Raises:
            ReferenceError_: the name is none.
        """
        key = (name, *_key(options))
        if key not in self._images:
            self._images[key] = RegistryImage(self, name, options)
        return self._images[key]

    async def session(self, options: dict[str, Any], *, plain_http: bool) -> Registry:
        """The session for these options."""
        key = (*_key(options), plain_http)
        if key not in self._sessions:
            self._sessions[key] = asyncio.create_task(self._open(options, plain_http))
        return await self._sessions[key]

    async def _open(self, options: dict[str, Any], plain_http: bool) -> Registry:
        registry = Registry(
            hosts_dirs=options.get("hosts_dirs", ()),
            insecure=options.get("insecure", False),
            plain_http=plain_http,
            docker_config=self._config(options),
            timeout=self.timeout,
        )
        return await self._stack.enter_async_context(registry)

    def _config(self, options: dict[str, Any]) -> Any:
        return self._docker_config if self._docker_config is not None else options.get("docker_config")

    async def login(self, host: str, options: dict[str, Any]) -> Login:
        """What a registry is shown."""
        config = self._config(options)
        if config not in self._wallets:
            self._wallets[config] = Wallet(config)
        return await self._wallets[config].login(host)


def _key(options: dict[str, Any]) -> tuple[Any, ...]:
    return (
        tuple(options.get("hosts_dirs", ())),
        bool(options.get("insecure")),
        options.get("docker_config"),
    )


class RegistryImage:
    """An image in a registry, for all nodes of a plan.

    Attributes:
        reference: the normalised name.
        domain: registry of the name.
        repository: path of the name.
        tag: tag of the name; empty where it has a digest.
        timeout: seconds in which its registry must send something.
    """

    def __init__(self, remotes: Remotes, name: str, options: dict[str, Any]) -> None:
        parsed = reference.parse(name)
        self.reference, self.domain, self.repository = parsed.string, parsed.domain, parsed.path
        self.tag = "" if parsed.digest else parsed.tag
        self.timeout = remotes.timeout
        self._remotes, self._options = remotes, options
        self._remote: Remote | None = None
        self._asking = asyncio.Lock()
        self._target: oci.Descriptor | RegistryError | None = None

    @property
    def host(self) -> str:
        """The server that is asked first."""
        return self._remote.host if self._remote is not None else self.domain

    async def resolve(self) -> oci.Descriptor:
        """The target, asked for once: all nodes get the same.

        Raises:
            RegistryError: the registry does not say.
        """
        async with self._asking:
            if self._target is None:
                try:
                    self._target = await self._resolved()
                except RegistryError as error:
                    self._target = error
            if isinstance(self._target, RegistryError):
                raise self._target.with_traceback(None)
            return self._target

    async def _resolved(self) -> oci.Descriptor:
        """As nerdctl: a registry without TLS is asked over plain HTTP where ``insecure`` allows it."""
        remote = await self._open(plain_http=False)
        try:
            return await remote.resolve()
        except RegistryError as error:
            if not (self._options.get("insecure") and any(words in error.go for words in _PLAIN)):
                raise
        remote = await self._open(plain_http=True)
        return await remote.resolve()

    async def _open(self, *, plain_http: bool) -> Remote:
        session = await self._remotes.session(self._options, plain_http=plain_http)
        self._remote = session.image(self.reference)
        return self._remote

    async def document(self, wanted: oci.Descriptor) -> bytes:
        """A whole document, its digest verified."""
        return await (await self._ready()).document(wanted)

    async def blob(self, wanted: oci.Descriptor, offset: int) -> AsyncIterator[bytes]:
        """The bytes of a blob from an offset on."""
        remote = await self._ready()
        async for piece in remote.blob(wanted, offset):
            yield piece

    async def exists(self, wanted: oci.Descriptor) -> bool:
        """Whether the repository has it."""
        return await (await self._ready()).exists(wanted)

    async def mount(self, wanted: oci.Descriptor, repository: str) -> bool:
        """Takes a blob over from another repository of the registry; whether that went."""
        return await (await self._ready()).mount(wanted, repository)

    async def upload(self, wanted: oci.Descriptor, body: Callable[[], AsyncIterator[bytes]]) -> None:
        """Sends a blob."""
        await (await self._ready()).upload(wanted, body)

    async def put(self, wanted: oci.Descriptor, data: bytes, *, tagged: bool) -> None:
        """Stores a manifest or index, under the tag of the name or under its digest."""
        remote = await self._ready()
        await remote.put_manifest(data, wanted.media_type, self.tag if tagged else "")

    async def _ready(self) -> Remote:
        return self._remote if self._remote is not None else await self._open(plain_http=False)

    async def login(self) -> Login:
        """What the registry is shown."""
        return await self._remotes.login(self.host, self._options)

    async def credentials(self, host: str, _reference: str) -> tuple[str, str] | None:
        """User and secret for containerd's own pull; None: nothing is known."""
        login = await self._remotes.login(host, self._options)
        return (login.username, login.secret) if login.username else None

    def not_found(self, words: str) -> RegistryNotFound:
        """The registry has no such image."""
        return RegistryNotFound(words, reference=self.reference, host=self.host, go=words)
