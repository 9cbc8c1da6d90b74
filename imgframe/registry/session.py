"""One request to one server: what it wants to be shown, and the tries that containerd makes."""

from __future__ import annotations

import urllib.parse
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from imgframe.registry.auth import Authorizer
from imgframe.registry.credentials import Wallet
from imgframe.registry.failures import Problem, Secrets, speaking
from imgframe.registry.hosts import Endpoint
from imgframe.registry.resolver import pause
from imgframe.registry.transport import Answer, Body, Sending, Transport

MAX_TRIES = 5
LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a server: ``tail`` is what follows the repository, as ``manifests/latest``.

    ``url`` asks another address that the server named (an upload's). ``patient``: whoever calls waits and tries again,
    so a busy server is not asked again at once.
    """

    method: str
    tail: str
    last: bool = True
    patient: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    body: bytes | Body | None = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """What all images share: connections, what was shown to whom, and the secrets that must not be printed."""

    transport: Transport = field(repr=False)
    authorizer: Authorizer = field(repr=False)
    wallet: Wallet = field(repr=False)
    secrets: Secrets

    def speaking(self, reference: str, host: str) -> AbstractContextManager[None]:
        """Problems inside become errors that name the image."""
        return speaking(reference, host, self.secrets)

    async def ask(self, server: Endpoint, repository: str, namespace: str, wanted: Wanted) -> Answer:
        """The answer, after what containerd does with 401, 405, 408, 429 and 5xx (``doWithRetries``)."""
        method, statuses = wanted.method, list[int]()
        while True:
            shown = await self.authorizer.header(server, wanted.scopes)
            answer = await self._send(
                server, _url(server, repository, namespace, wanted), method, wanted, shown
            )
            statuses.append(answer.status)
            if len(statuses) >= MAX_TRIES:
                return answer
            if answer.status == 401:
                if not await self.authorizer.challenge(
                    server, wanted.scopes, answer, tries=len(statuses), shown=shown
                ):
                    return answer
            elif answer.status == 405 and method == "HEAD" and wanted.tail.startswith("manifests/"):
                method = "GET"
            elif not self._again(answer, statuses, wanted):
                return answer
            else:
                await pause(answer, LONGEST_PAUSE)
            answer.drop()

    @staticmethod
    def _again(answer: Answer, statuses: list[int], wanted: Wanted) -> bool:
        if wanted.patient:
            return False
        if answer.status in {408, 429}:
            return True
        return answer.status in {500, 503, 504} and wanted.last and statuses[-2:-1] != [answer.status]

    async def _send(self, server: Endpoint, url: str, method: str, wanted: Wanted, shown: str) -> Answer:
        own = dict(server.headers)
        if shown:
            own = {name: value for name, value in own.items() if name.lower() != "authorization"}
            own["Authorization"] = (shown,)
        foreign = bool(wanted.url) and not _belongs(server, url)
        sending = Sending(
            method,
            url,
            wanted.headers,
            {} if foreign else own,
            server.trust,
            http_fallback=server.http_fallback and not foreign,
            body=wanted.body,
        )
        try:
            return await self.transport.send(sending)
        except Problem as problem:
            raise problem.behind("failed to do request: ") from None


def _belongs(server: Endpoint, url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    schemes = {server.scheme, "http"} if server.http_fallback else {server.scheme}
    return parts.netloc.lower() == server.host.lower() and parts.scheme in schemes


def _url(server: Endpoint, repository: str, namespace: str, wanted: Wanted) -> str:
    """The address; a mirror is told for whom it stands (``?ns=``)."""
    if wanted.url:
        return wanted.url
    behind = "" if namespace == server.host else namespace
    if behind == "docker.io" and server.host in {"registry-1.docker.io", "docker.io"}:
        behind = ""
    query = f"ns={urllib.parse.quote_plus(behind)}" if behind else ""
    joined = "&" if "?" in wanted.tail else "?"
    tail = f"{wanted.tail}{joined}{query}" if query else wanted.tail
    return f"{server.scheme}://{server.host}{server.path}/{repository}/{tail}"
