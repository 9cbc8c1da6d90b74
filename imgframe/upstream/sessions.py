"""The registry sessions of a plan, one per set of options, and its images, each resolved once for all nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from imgframe import oci, reference
from imgframe.errors import RegistryError
from imgframe.registry import Registry, RemoteImage
from imgframe.registry.credentials import CredentialStore, Login

_NO_TLS = ("server gave HTTP response to HTTPS client", "connection refused")


class RegistrySessions(AsyncExitStack):
    """The images that a plan takes from registries or sends to them; for use in ``async with``.

    Args:
        docker_config: path of a ``config.json`` or its folder that takes the place of the one in a step's options.
        timeout: seconds in which a registry must send or accept something, where the options do not say.
    """

    def __init__(self, docker_config: Any, timeout: float) -> None:
        super().__init__()
        self._docker_config, self._timeout = docker_config, timeout
        self._lock = asyncio.Lock()
        self._sessions: dict[tuple[Any, ...], Registry] = {}
        self._images: dict[tuple[Any, ...], UpstreamImage] = {}
        self._credentials: dict[Any, CredentialStore] = {}

    def image(self, name: str, options: Mapping[str, Any]) -> UpstreamImage:
        """An image by its name; nothing is asked yet. Options: hosts_dirs, insecure, docker_config, timeout.

        Raises:
            ReferenceError_: the name cannot be parsed.
        """
        key = (name, *self._key(options))
        if key not in self._images:
            self._images[key] = UpstreamImage(self, name, options)
        return self._images[key]

    async def open(self, options: Mapping[str, Any], *, plain_http: bool) -> Registry:
        """The session for these options."""
        key = (*self._key(options), plain_http)
        async with self._lock:
            if key not in self._sessions:
                registry = Registry(
                    hosts_dirs=options.get("hosts_dirs", ()),
                    insecure=options.get("insecure", False),
                    plain_http=plain_http,
                    docker_config=self._config(options),
                    timeout=self.timeout(options),
                )
                self._sessions[key] = await self.enter_async_context(registry)
        return self._sessions[key]

    def timeout(self, options: Mapping[str, Any]) -> float:
        """Seconds in which a registry must send or accept something."""
        return float(options.get("timeout", self._timeout))

    def _config(self, options: Mapping[str, Any]) -> Any:
        return self._docker_config if self._docker_config is not None else options.get("docker_config")

    def _key(self, options: Mapping[str, Any]) -> tuple[Any, ...]:
        dirs, insecure = tuple(options.get("hosts_dirs", ())), bool(options.get("insecure"))
        return dirs, insecure, self._config(options), self.timeout(options)

    async def login(self, host: str, options: Mapping[str, Any]) -> Login:
        """The credentials for a registry."""
        config = self._config(options)
        if config not in self._credentials:
            self._credentials[config] = CredentialStore(config)
        return await self._credentials[config].login(host)


class UpstreamImage:
    """An image in a registry, for all nodes of a plan.

    Attributes:
        reference: the normalised name.
        domain: registry of the name.
        repository: path of the name.
        tag: tag of the name; empty where it has a digest.
        timeout: seconds in which its registry must send or accept something.
    """

    def __init__(self, sessions: RegistrySessions, name: str, options: Mapping[str, Any]) -> None:
        parsed = reference.parse(name)
        self.reference, self.domain, self.repository = parsed.string, parsed.domain, parsed.path
        self.tag = "" if parsed.digest else parsed.tag
        self.timeout = sessions.timeout(options)
        self._sessions, self._options = sessions, options
        self._remote: RemoteImage | None = None
        self._lock = asyncio.Lock()
        self._target: oci.Descriptor | RegistryError | None = None

    @property
    def host(self) -> str:
        """The server that is asked first."""
        return self._remote.host if self._remote is not None else self.domain

    async def remote(self) -> RemoteImage:
        """The image in its open session."""
        return self._remote if self._remote is not None else await self._open(plain_http=False)

    async def resolve(self) -> oci.Descriptor:
        """The target, asked for once: all nodes get the same.

        Raises:
            RegistryError: the registry does not say.
        """
        async with self._lock:
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
            if not (self._options.get("insecure") and any(words in error.go for words in _NO_TLS)):
                raise
        remote = await self._open(plain_http=True)
        return await remote.resolve()

    async def _open(self, *, plain_http: bool) -> RemoteImage:
        session = await self._sessions.open(self._options, plain_http=plain_http)
        self._remote = session.image(self.reference)
        return self._remote

    async def login(self) -> Login:
        """The credentials for the registry."""
        return await self._sessions.login(self.host, self._options)

    async def credentials(self, host: str, _reference: str) -> tuple[str, str] | None:
        """User and secret for containerd's own requests; None: nothing is known."""
        login = await self._sessions.login(host, self._options)
        return (login.username, login.secret) if login.username else None
