"""A session with registries: images by name, over one pool of connections."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from imgframe import reference as names
from imgframe.errors import InsecureWarning, ReferenceError_, RegistryError
from imgframe.registry import hosts
from imgframe.registry.auth import Authorizer
from imgframe.registry.credentials import CredentialStore
from imgframe.registry.failures import Secrets
from imgframe.registry.remote_image import RemoteImage
from imgframe.registry.session import Session
from imgframe.registry.transport import Transport

_SECRET_NAME = re.compile("authorization|cookie|credential|key|password|secret|token", re.IGNORECASE)


class Registry:
    """A session with registries, for use in ``async with``; every method runs on the loop that opened it.

    Args:
        hosts_dirs: directories with a folder per registry (``registry.example_5000_/hosts.toml``).
        insecure: certificates are not verified; warns.
        plain_http: use HTTP where no ``hosts.toml`` says otherwise.
        docker_config: docker's ``config.json`` or its folder; default ``$DOCKER_CONFIG``, else ``~/.docker``.
        timeout: seconds after which a silent server counts as failed.
        connections: maximum number of open connections.

    Proxies are those of the environment (``HTTPS_PROXY``, ``NO_PROXY``), never for loopback addresses. Secrets stay in
    memory: no repr, log or error shows them, and they are sent only to the host they belong to.

    Example:
        >>> import asyncio
        >>> from imgframe.registry import Registry
        >>> async def where():
        ...     async with Registry() as registry:
        ...         return registry.image("alpine").host
        >>> asyncio.run(where())
        'registry-1.docker.io'
    """

    def __init__(
        self,
        *,
        hosts_dirs: Iterable[str | os.PathLike[str]] = (),
        insecure: bool = False,
        plain_http: bool = False,
        docker_config: str | os.PathLike[str] | None = None,
        timeout: float = 60.0,
        connections: int = 64,
    ) -> None:
        if isinstance(hosts_dirs, (str, os.PathLike)):
            hosts_dirs = (hosts_dirs,)
        self._hosts_dirs = tuple(hosts_dirs)
        self._insecure = insecure
        self._plain_http = plain_http
        self._servers: dict[str, list[hosts.Endpoint]] = {}
        credentials, secrets = CredentialStore(docker_config), Secrets()
        transport = Transport(timeout=timeout, connections=connections)
        self._session = Session(transport, Authorizer(transport, credentials, secrets), credentials, secrets)
        if insecure:
            message = "the certificates of registries are not checked: anyone on the network path can impersonate them"
            warnings.warn(message, InsecureWarning, stacklevel=2)

    async def __aenter__(self) -> Self:
        await self._session.transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.transport.close()

    def __repr__(self) -> str:
        return f"<Registry {'insecure ' if self._insecure else ''}hosts_dirs={[str(one) for one in self._hosts_dirs]}>"

    def image(self, reference: str) -> RemoteImage:
        """The image of that name in its registry; no request is sent yet.

        Raises:
            RegistryError: the name or the configuration of its registry cannot be used; ``go`` is Go's message.
        """
        try:
            parsed = names.parse(reference)
        except ReferenceError_ as error:
            raise RegistryError(str(error), reference=reference, go=error.go) from None
        if parsed.protocol or not parsed.path or not parsed.domain:
            raise RegistryError(
                f"{reference}: object required, a name in a registry",
                reference=reference,
                go="object required",
            )
        with self._session.errors(parsed.string, parsed.domain):
            if parsed.domain not in self._servers:
                self._servers[parsed.domain] = hosts.endpoints(
                    parsed.domain,
                    self._hosts_dirs,
                    insecure=self._insecure,
                    plain_http=self._plain_http,
                )
                for server in self._servers[parsed.domain]:
                    for name, values in server.headers.items():
                        if _SECRET_NAME.search(name):
                            self._session.secrets.add(*values)
        return RemoteImage(self._session, parsed, self._servers[parsed.domain])
