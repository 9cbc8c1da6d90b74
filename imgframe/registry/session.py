"""One request to one server, authenticated and retried as containerd does it."""

from __future__ import annotations

import asyncio
import urllib.parse
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from imgframe.registry.auth import Authorizer
from imgframe.registry.credentials import CredentialStore
from imgframe.registry.failures import RequestFailure, Secrets, registry_errors
from imgframe.registry.hosts import Endpoint
from imgframe.registry.transport import Body, HTTPRequest, HTTPResponse, Transport

MAX_ATTEMPTS = 5
LONGEST_PAUSE = 60.0
"""Seconds waited at most where a server sends Retry-After."""


@dataclass(frozen=True, slots=True)
class RegistryRequest:
    """A request about a repository; ``tail`` is the path after the repository, such as ``manifests/latest``.

    ``last``: no other server is asked after this one. ``retried``: the caller retries, so a busy server is not asked again
    here. ``url``: another address, given by the server (an upload's).
    """

    method: str
    tail: str
    last: bool = True
    retried: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    body: bytes | Body | None = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """What all images share: connections, credentials, tokens, and the secrets that must not be shown."""

    transport: Transport = field(repr=False)
    authorizer: Authorizer = field(repr=False)
    credentials: CredentialStore = field(repr=False)
    secrets: Secrets

    def errors(self, reference: str, host: str) -> AbstractContextManager[None]:
        """Raises failures inside as errors that name the image."""
        return registry_errors(reference, host, self.secrets)

    async def send(
        self, server: Endpoint, repository: str, namespace: str, request: RegistryRequest
    ) -> HTTPResponse:
        """The response, after what containerd does about 401, 405, 408, 429 and 5xx (``doWithRetries``)."""
        method, statuses = request.method, list[int]()
        url = _url(server, repository, namespace, request)
        while True:
            authorization = await self.authorizer.header(server, request.scopes)
            response = await self._send(server, url, method, request, authorization)
            statuses.append(response.status)
            if len(statuses) >= MAX_ATTEMPTS:
                return response
            if response.status == 401:
                if not await self.authorizer.challenge(
                    server, request.scopes, response, attempts=len(statuses), sent=authorization
                ):
                    return response
            elif response.status == 405 and method == "HEAD" and request.tail.startswith("manifests/"):
                method = "GET"
            elif not _retries(statuses, request):
                return response
            elif response.retry_after:
                await asyncio.sleep(min(response.retry_after, LONGEST_PAUSE))
            response.drop()

    async def _send(
        self, server: Endpoint, url: str, method: str, request: RegistryRequest, authorization: str
    ) -> HTTPResponse:
        own = dict(server.headers)
        if authorization:
            own = {name: value for name, value in own.items() if name.lower() != "authorization"}
            own["Authorization"] = (authorization,)
        foreign = bool(request.url) and not _belongs(server, url)
        fallback = server.http_fallback and not foreign
        own = {} if foreign else own
        sent = HTTPRequest(method, url, request.headers, own, server.tls, fallback, request.body)
        try:
            return await self.transport.send(sent)
        except RequestFailure as failure:
            raise failure.prefixed("failed to do request: ") from None


def _retries(statuses: list[int], request: RegistryRequest) -> bool:
    *before, status = statuses
    failing = status in {500, 503, 504} and request.last and before[-1:] != [status]
    return not request.retried and (status in {408, 429} or failing)


def _belongs(server: Endpoint, url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    schemes = {server.scheme, "http"} if server.http_fallback else {server.scheme}
    return parts.netloc.lower() == server.host.lower() and parts.scheme in schemes


def _url(server: Endpoint, repository: str, namespace: str, request: RegistryRequest) -> str:
    """The address; a mirror learns which registry it stands for (``?ns=``)."""
    if request.url:
        return request.url
    tail = request.tail
    if namespace != server.host and (namespace, server.host) != ("docker.io", "registry-1.docker.io"):
        tail += f"{'&' if '?' in tail else '?'}ns={urllib.parse.quote_plus(namespace)}"
    return f"{server.scheme}://{server.host}{server.path}/{repository}/{tail}"
