"""What a registry wants to be shown: basic authentication, and tokens as the distribution specification describes them.

The order of requests and the words are those of containerd's ``dockerAuthorizer``.
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
from imgframe.registry.credentials import Login, Wallet
from imgframe.registry.failures import Problem, Secrets, Unauthorized
from imgframe.registry.hosts import Endpoint
from imgframe.registry.transport import Answer, Sending, Transport

CLIENT_ID = "containerd-client"
_MAX_TOKEN_BYTES = 1 << 20
_EARLY_SECONDS = 10.0
_LONGEST_WORDS = 64
_INVALID = "authorization failed"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]*")
_SPACE = re.compile(r"[ \t\r\n]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SCHEMES = ("bearer", "digest", "basic")  # the first that is asked for is answered
_TRY_GET = {400, 401, 404, 405}


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a WWW-Authenticate header asks for; the scheme in lower case."""

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
        scheme = _match(_TOKEN, value, 0)[0]
        if scheme.lower() in _SCHEMES:
            found.append(Challenge(scheme.lower(), _parameters(value, len(scheme))))
    return sorted(found, key=lambda one: _SCHEMES.index(one.scheme))


def _parameters(text: str, at: int) -> dict[str, str]:
    """``name=value`` pairs with commas between, up to the first thing that is none."""
    found: dict[str, str] = {}
    while True:
        name = _match(_TOKEN, text, _match(_SPACE, text, at).end())
        if not name[0] or not text.startswith("=", name.end()):
            return found
        start = name.end() + 1
        quoted = _QUOTED.match(text, start)
        if quoted:
            value, at = re.sub(r"(?s)\\(.)", r"\1", quoted[1]), quoted.end()
        elif text.startswith('"', start):  # a quote that nothing ends
            value, at = "", len(text)
        else:
            token = _match(_TOKEN, text, start)
            value, at = token[0], token.end()
        found[name[0].lower()] = value
        at = _match(_SPACE, text, at).end()
        if not text.startswith(",", at):
            return found
        at += 1


def _match(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str]:
    found = pattern.match(text, at)
    assert found is not None  # these patterns match the empty text
    return found


@dataclass(slots=True)
class _Bearer:
    """Where tokens of a host are fetched; one token for these scopes. Nothing of it is printed."""

    realm: str
    service: str
    scopes: tuple[str, ...]
    login: Login
    token: str = field(default="", repr=False)
    until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)


class Authorizer:
    """Knows for each host what it wants to be shown; tokens are fetched once per set of scopes."""

    def __init__(self, transport: Transport, wallet: Wallet, secrets: Secrets) -> None:
        self._transport = transport
        self._wallet = wallet
        self._secrets = secrets
        self._basic: dict[str, str] = {}
        self._bearer: dict[tuple[str, tuple[str, ...]], _Bearer] = {}
        self._last: dict[str, _Bearer] = {}

    async def header(self, endpoint: Endpoint, scopes: tuple[str, ...]) -> str:
        """The Authorization header for a request; empty if the host has asked for nothing yet."""
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
                except Problem as problem:
                    raise problem.behind("failed to authorize: ") from None
        return f"Bearer {handler.token}"

    async def challenge(
        self, endpoint: Endpoint, scopes: tuple[str, ...], answer: Answer, *, tries: int, shown: str
    ) -> bool:
        """Takes in the 401 that ``tries`` requests ended with; whether another try makes sense."""
        host = endpoint.host
        if answer.host != host:
            return False  # redirected: what others ask for is none of our business
        for one in challenges(answer.response.headers.getall("WWW-Authenticate", ())):
            if one.scheme == "bearer":
                await self._bear(host, scopes, one, tries=tries, shown=shown)
                return True
            if one.scheme == "basic":
                if shown and shown == self._basic.get(host):
                    return False  # containerd would show a refused password four times more, and lock the account
                await self._show_password(host)
                return True
        return False

    async def _show_password(self, host: str) -> None:
        login = await self._wallet.login(host)
        if not login.username or not login.secret:
            raise Unauthorized(f"{_INVALID}: no basic auth credentials", status=401, host=host)
        packed = base64.b64encode(f"{login.username}:{login.secret}".encode()).decode()
        self._secrets.add(login.secret, packed)
        self._basic[host] = f"Basic {packed}"

    async def _bear(
        self, host: str, scopes: tuple[str, ...], challenge: Challenge, *, tries: int, shown: str
    ) -> None:
        key = (host, scopes)
        if words := challenge.parameters.get("error", ""):
            if tries > 1:
                self._bearer.pop(key, None)
                short = words[:_LONGEST_WORDS]
                raise Unauthorized(f"server message: {short}: {_INVALID}", status=401, host=host)
            self._bearer.pop(key, None)
        handler = self._bearer.get(key)
        if handler is not None:
            if tries == 1 and shown == f"Bearer {handler.token}":
                handler.token = ""  # it may have been revoked: once more with a fresh one
            return
        realm = challenge.parameters.get("realm")
        if realm is None:
            raise Problem("no realm specified for token auth challenge", status=401, host=host)
        asked = challenge.parameters.get("scope", "")
        login = await self._wallet.login(host)
        self._secrets.add(login.secret)
        wanted = tuple(sorted({*scopes, *asked.split(" ")} - {""}))
        handler = _Bearer(realm, challenge.parameters.get("service", ""), wanted, login)
        self._bearer[key] = self._last[host] = handler

    async def _fetch(self, handler: _Bearer, endpoint: Endpoint) -> None:
        """Fetches a token: POST with credentials, GET without, and GET where POST is not understood."""
        if not handler.login.secret:
            try:
                answer = await self._get(handler, endpoint)
            except Problem as problem:
                raise problem.behind("failed to fetch anonymous token: ") from None
            self._keep(handler, answer, "anonymous", ("access_token", "token"))
            return
        try:
            self._check_realm(handler, endpoint)
            try:
                answer = await self._post(handler, endpoint)
                names: tuple[str, ...] = ("access_token",)
            except Problem as problem:
                if problem.status not in _TRY_GET or not handler.login.username:
                    raise
                answer = await self._get(handler, endpoint)
                names = ("access_token", "token")
        except Problem as problem:
            raise problem.behind("failed to fetch oauth token: ") from None
        self._keep(handler, answer, "oauth", names)

    def _check_realm(self, handler: _Bearer, endpoint: Endpoint) -> None:
        """Credentials that came over TLS are not sent in the clear to some other machine."""
        parts = urllib.parse.urlsplit(handler.realm)
        clear = endpoint.scheme == "https" and not endpoint.http_fallback and parts.scheme == "http"
        if clear and not urls.matches_localhost(parts.netloc):
            raise Problem(
                f"the token server {parts.netloc} wants credentials without TLS", host=endpoint.host
            )

    async def _get(self, handler: _Bearer, endpoint: Endpoint) -> dict[str, Any]:
        parts = urllib.parse.urlsplit(handler.realm)
        query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
        query += [("service", handler.service)] if handler.service else []
        query += [("scope", scope) for scope in handler.scopes]
        text = urllib.parse.urlencode(sorted(query, key=lambda pair: pair[0]))
        url = urllib.parse.urlunsplit(parts._replace(query=text, fragment=""))
        own: dict[str, tuple[str, ...]] = {}
        if handler.login.secret:
            packed = base64.b64encode(f"{handler.login.username}:{handler.login.secret}".encode()).decode()
            self._secrets.add(packed)
            own["Authorization"] = (f"Basic {packed}",)
        return await self._ask(Sending("GET", url, {}, own, endpoint.trust))

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
        return await self._ask(Sending("POST", handler.realm, kind, {}, endpoint.trust, body=body, keep=True))

    async def _ask(self, sending: Sending) -> dict[str, Any]:
        parts = urllib.parse.urlsplit(sending.url)
        if parts.scheme not in {"http", "https"}:
            raise Problem(
                f'{sending.method.capitalize()} "{sending.url}": unsupported protocol scheme "{parts.scheme}"'
            )
        answer = await self._transport.send(sending)
        body = await answer.body(_MAX_TOKEN_BYTES)
        if answer.status < 200 or answer.status >= 400:
            raise answer.unexpected()
        try:
            tree = scanner.parse(body)
        except DocumentError as problem:
            words = str(problem).replace(
                "unexpected end of JSON input", "EOF" if not body else "unexpected EOF"
            )
            raise Problem(f"unable to decode token response: {words}", host=answer.host) from None
        return _plain(tree)

    def _keep(self, handler: _Bearer, answer: dict[str, Any], what: str, names: tuple[str, ...]) -> None:
        token = next(
            (answer[name] for name in names if isinstance(answer.get(name), str) and answer[name]), ""
        )
        if not token:
            words = "authorization server did not include a token in the response"
            raise Problem(f"failed to fetch {what} token: {words}", host=handler.realm)
        self._secrets.add(token)
        handler.token = token
        seconds = answer.get("expires_in")
        handler.until = float("inf")
        if isinstance(seconds, int) and seconds > 0:
            handler.until = time.monotonic() + max(seconds - _EARLY_SECONDS, 1.0)


def _plain(tree: Any) -> dict[str, Any]:
    """The texts and numbers of an object."""
    found: dict[str, Any] = {}
    for name, value in tree if type(tree) is scanner.Pairs else ():
        if type(value) is bytes and value.startswith(b'"'):
            found[name] = scanner.text(value)
        elif type(value) is bytes and value.isdigit():
            found[name] = int(value)
    return found
