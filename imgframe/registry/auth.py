"""Registry authentication: basic, and tokens as the distribution specification describes them.

The order of requests and the messages are those of containerd's ``dockerAuthorizer``.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from imgframe.errors import DocumentError
from imgframe.golang.json import scanner
from imgframe.registry import urls
from imgframe.registry.credentials import CredentialStore, Login
from imgframe.registry.failures import RequestFailure, Secrets, Unauthorized
from imgframe.registry.hosts import Endpoint
from imgframe.registry.transport import HTTPRequest, HTTPResponse, Transport

CLIENT_ID = "containerd-client"
_MAX_TOKEN_BYTES = 1 << 20
_EARLY_SECONDS = 10.0
_LONGEST_ERROR = 64
_INVALID = "authorization failed"
_SCHEMES = ("bearer", "digest", "basic")  # in order of preference
_CHAR = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_SCHEME = re.compile(rf"(?:{'|'.join(_SCHEMES)})(?!{_CHAR})", re.IGNORECASE | re.ASCII)
_PARAMETER = re.compile(  # a quote that is never closed is an empty value, and the last
    rf'[ \t\r\n]*({_CHAR}+)=(?:"((?:[^"\\]|\\.)*+)"|".*\Z|({_CHAR}*))[ \t\r\n]*(,)?', re.DOTALL
)
_TRY_GET = {400, 401, 404, 405}


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a WWW-Authenticate header; the scheme in lower case."""

    scheme: str
    parameters: dict[str, str]


def challenges(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of the header's values, bearer before digest before basic; one per value at most (auth.ParseAuthHeader).

    Example:
        >>> from imgframe.registry import auth
        >>> auth.challenges(['Bearer realm="https://x/token",service="y"'])[0].parameters
        {'realm': 'https://x/token', 'service': 'y'}
    """
    found = []
    for value in headers:
        scheme = _SCHEME.match(value)
        if scheme:
            found.append(Challenge(scheme[0].lower(), _parameters(value, scheme.end())))
    return sorted(found, key=lambda one: _SCHEMES.index(one.scheme))


def _parameters(text: str, at: int) -> dict[str, str]:
    """``name=value`` pairs separated by commas, up to the first malformed one."""
    parameters: dict[str, str] = {}
    while found := _PARAMETER.match(text, at):
        name, quoted, token, comma = found.groups()
        parameters[name.lower()] = re.sub(r"(?s)\\(.)", r"\1", quoted or "") or token or ""
        if not comma:
            break
        at = found.end()
    return parameters


@dataclass(slots=True)
class _Bearer:
    """The token of a host for some scopes, and where it is fetched."""

    realm: str
    service: str
    scopes: tuple[str, ...]
    login: Login
    token: str = field(default="", repr=False)
    until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)


class Authorizer:
    """The authorization of each host; tokens are fetched once per set of scopes."""

    def __init__(self, transport: Transport, credentials: CredentialStore, secrets: Secrets) -> None:
        self._transport = transport
        self._credentials = credentials
        self._secrets = secrets
        self._basic: dict[str, str] = {}
        self._bearer: dict[tuple[str, tuple[str, ...]], _Bearer] = {}
        self._last: dict[str, _Bearer] = {}

    async def header(self, endpoint: Endpoint, scopes: tuple[str, ...]) -> str:
        """The Authorization header for a request; empty as long as the host has sent no challenge."""
        host = endpoint.host
        if host in self._basic:
            return self._basic[host]
        handler = self._bearer.get((host, scopes))
        if handler is None:
            known = self._last.get(host)
            if known is None:
                return ""
            handler = self._bearer[host, scopes] = _Bearer(known.realm, known.service, scopes, known.login)
        async with handler.lock:
            if not handler.token or time.monotonic() > handler.until:
                try:
                    await self._fetch(handler, endpoint)
                except RequestFailure as failure:
                    raise failure.prefixed("failed to authorize: ") from None
        return f"Bearer {handler.token}"

    async def challenge(
        self, endpoint: Endpoint, scopes: tuple[str, ...], response: HTTPResponse, *, attempts: int, sent: str
    ) -> bool:
        """Handles the 401 that the last of ``attempts`` requests got; whether another attempt makes sense."""
        host = endpoint.host
        if response.host != host:
            return False  # redirected: challenges of other hosts are not answered
        for one in challenges(response.raw.headers.getall("WWW-Authenticate", ())):
            if one.scheme == "bearer":
                await self._use_token(host, scopes, one, attempts=attempts, sent=sent)
                return True
            if one.scheme == "basic":
                if sent and sent == self._basic.get(host):
                    return False  # containerd would send a refused password four more times, and lock the account
                await self._use_password(host)
                return True
        return False

    async def _use_password(self, host: str) -> None:
        login = await self._credentials.login(host)
        if not login.username or not login.secret:
            raise Unauthorized(f"{_INVALID}: no basic auth credentials", status=401, host=host)
        self._basic[host] = self._basic_header(login)

    def _basic_header(self, login: Login) -> str:
        packed = base64.b64encode(f"{login.username}:{login.secret}".encode()).decode()
        self._secrets.add(login.secret, packed)
        return f"Basic {packed}"

    async def _use_token(
        self, host: str, scopes: tuple[str, ...], challenge: Challenge, *, attempts: int, sent: str
    ) -> None:
        key = (host, scopes)
        if error := challenge.parameters.get("error", ""):
            self._bearer.pop(key, None)
            if attempts > 1:
                message = f"server message: {error[:_LONGEST_ERROR]}: {_INVALID}"
                raise Unauthorized(message, status=401, host=host)
        handler = self._bearer.get(key)
        if handler is not None:
            if attempts == 1 and sent == f"Bearer {handler.token}":
                handler.token = ""  # it may have been revoked: another attempt with a new one
            return
        realm = challenge.parameters.get("realm")
        if realm is None:
            raise RequestFailure("no realm specified for token auth challenge", status=401, host=host)
        asked = challenge.parameters.get("scope", "")
        login = await self._credentials.login(host)
        self._secrets.add(login.secret)
        wanted = tuple(sorted({*scopes, *asked.split(" ")} - {""}))
        handler = _Bearer(realm, challenge.parameters.get("service", ""), wanted, login)
        self._bearer[key] = self._last[host] = handler

    async def _fetch(self, handler: _Bearer, endpoint: Endpoint) -> None:
        """Fetches a token: POST with credentials, GET without, and GET where POST is not supported."""
        if not handler.login.secret:
            try:
                response = await self._get(handler, endpoint)
            except RequestFailure as failure:
                raise failure.prefixed("failed to fetch anonymous token: ") from None
            self._keep(handler, response, "anonymous", ("access_token", "token"))
            return
        try:
            self._check_realm(handler, endpoint)
            names: tuple[str, ...] = ("access_token",)
            try:
                response = await self._post(handler, endpoint)
            except RequestFailure as failure:
                if failure.status not in _TRY_GET or not handler.login.username:
                    raise
                response = await self._get(handler, endpoint)
                names = ("access_token", "token")
        except RequestFailure as failure:
            raise failure.prefixed("failed to fetch oauth token: ") from None
        self._keep(handler, response, "oauth", names)

    def _check_realm(self, handler: _Bearer, endpoint: Endpoint) -> None:
        """Refuses to send credentials in the clear for a registry that is reached over TLS."""
        parts = urllib.parse.urlsplit(handler.realm)
        clear = endpoint.scheme == "https" and not endpoint.http_fallback and parts.scheme == "http"
        if clear and not urls.matches_localhost(parts.netloc):
            message = f"the token server {parts.netloc} requests credentials without TLS"
            raise RequestFailure(message, host=endpoint.host)

    async def _get(self, handler: _Bearer, endpoint: Endpoint) -> dict[str, Any]:
        parts = urllib.parse.urlsplit(handler.realm)
        query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
        query += [("service", handler.service)] if handler.service else []
        query += [("scope", scope) for scope in handler.scopes]
        text = urllib.parse.urlencode(sorted(query, key=lambda pair: pair[0]))
        url = urllib.parse.urlunsplit(parts._replace(query=text, fragment=""))
        own = {"Authorization": (self._basic_header(handler.login),)} if handler.login.secret else {}
        return await self._request(HTTPRequest("GET", url, {}, own, endpoint.tls))

    async def _post(self, handler: _Bearer, endpoint: Endpoint) -> dict[str, Any]:
        login = handler.login
        form = {"client_id": CLIENT_ID, "service": handler.service}
        if handler.scopes:
            form["scope"] = " ".join(handler.scopes)
        if login.username:
            form |= {"grant_type": "password", "username": login.username, "password": login.secret}
        else:
            form |= {"grant_type": "refresh_token", "refresh_token": login.secret}
        body = urllib.parse.urlencode(sorted(form.items())).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        request = HTTPRequest("POST", handler.realm, kind, {}, endpoint.tls, body=body, keep=True)
        return await self._request(request)

    async def _request(self, request: HTTPRequest) -> dict[str, Any]:
        scheme = urllib.parse.urlsplit(request.url).scheme
        if scheme not in {"http", "https"}:
            start = f'{request.method.capitalize()} "{request.url}"'
            raise RequestFailure(f'{start}: unsupported protocol scheme "{scheme}"')
        response = await self._transport.send(request)
        body = await response.body(_MAX_TOKEN_BYTES)
        if response.status < 200 or response.status >= 400:
            raise response.unexpected()
        try:
            tree = scanner.parse(body)
        except DocumentError as error:
            end = "unexpected EOF" if body else "EOF"
            message = str(error).replace("unexpected end of JSON input", end)
            raise RequestFailure(f"unable to decode token response: {message}", host=response.host) from None
        return scanner.scalars(tree)

    def _keep(self, handler: _Bearer, response: dict[str, Any], what: str, names: tuple[str, ...]) -> None:
        tokens = [response.get(name) for name in names]
        token = next((one for one in tokens if one and isinstance(one, str)), "")
        if not token:
            message = "authorization server did not include a token in the response"
            raise RequestFailure(f"failed to fetch {what} token: {message}", host=handler.realm)
        self._secrets.add(token)
        handler.token = token
        seconds = response.get("expires_in")
        handler.until = float("inf")
        if isinstance(seconds, int) and seconds > 0:
            handler.until = time.monotonic() + max(seconds - _EARLY_SECONDS, 1.0)
