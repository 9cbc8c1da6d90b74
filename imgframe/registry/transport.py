"""HTTP itself: connections, certificates, proxies, redirects, and what goes wrong on the way in Go's words."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import ssl
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import yarl

from imgframe._version import __version__
from imgframe.registry.failures import Problem
from imgframe.registry.hosts import Trust

USER_AGENT = f"imgframe/{__version__}"
MAX_REDIRECTS = 10
CONNECT_SECONDS = 30.0
_REDIRECTS = {301, 302, 303, 307, 308}
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21}
_TLS_PREFIX = 5

Body = Callable[[], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class Sending:
    """A request; ``own`` headers go to the host that was meant, ``headers`` also where it redirects to.

    ``keep``: the body is a secret, or cannot be sent twice, and goes to no other host.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    own: Mapping[str, tuple[str, ...]]
    trust: Trust = field(default_factory=Trust)
    http_fallback: bool = False
    body: bytes | Body | None = None
    keep: bool = False


@dataclass(slots=True)
class Answer:
    """A response whose body was not read yet; ``url`` is where it came from in the end, as errors may show it."""

    response: aiohttp.ClientResponse
    method: str
    url: str
    host: str

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    def header(self, name: str) -> str:
        """A header's first value; empty if there is none."""
        return self.response.headers.get(name, "")

    @property
    def length(self) -> int | None:
        """The length that was announced."""
        text = self.header("Content-Length")
        if text.isascii() and text.isdigit():
            return int(text)
        return 0 if self.status == 204 else None

    async def body(self, limit: int) -> bytes:
        """The body, up to a limit; the connection is free afterwards."""
        parts, size = [], 0
        with reading(self):
            while piece := await self.response.content.read(min(1 << 16, limit - size)):
                parts.append(piece)
                size += len(piece)
                if size >= limit:
                    self.response.close()
                    break
        self.response.release()
        return b"".join(parts)

    def drop(self) -> None:
        """The body is not wanted."""
        if self.response.content.at_eof():
            self.response.release()
        else:
            self.response.close()

    def unexpected(self) -> Problem:
        """Go's words for a status that nobody wanted."""
        status = f"{self.status} {self.response.reason or ''}".rstrip()
        words = f"unexpected status from {self.method} request to {self.url}: {status}"
        return Problem(
            words,
            status=self.status,
            host=self.host,
            pause=self.pause,
            passing=self.status in {408, 429} or self.status >= 500,
        )

    @property
    def pause(self) -> float:
        """Seconds of a Retry-After header; 0 without one."""
        text = self.header("Retry-After").strip()
        return float(text) if text.isascii() and text.isdigit() else 0.0


@contextlib.contextmanager
def reading(answer: Answer) -> Any:
    """Failures while a body is read, as problems."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as problem:
        answer.response.close()
        cause = "no answer within the timeout" if isinstance(problem, TimeoutError) else "unexpected EOF"
        raise Problem(f"{answer.method} {answer.url}: {cause}", host=answer.host, passing=True) from None


class Transport:
    """One pool of connections. ``timeout``: seconds in which a server must send something."""

    def __init__(self, *, timeout: float, connections: int) -> None:
        self._timeout = timeout
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[Trust, ssl.SSLContext] = {}
        self._plain: set[str] = set()
        self._proxies = urllib.request.getproxies_environment()

    async def open(self) -> None:
        """Must run on the loop that is used later."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=min(CONNECT_SECONDS, self._timeout), sock_read=self._timeout
            ),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type"),
            headers={"User-Agent": USER_AGENT},
            read_bufsize=1 << 18,
        )

    async def close(self) -> None:
        """Ends all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, sending: Sending) -> Answer:
        """The answer at the end of at most ten redirects; raises :class:`Problem` with Go's ``Head "URL": …``."""
        origin = _host(sending.url)
        url, method, seen = sending.url, sending.method, 0
        while True:
            same = _same_server(sending.url, url)
            answer = await self._one(sending, method, url, same=same)
            location = answer.header("Location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            answer.drop()
            seen += 1
            target = urllib.parse.urljoin(url, location)
            if seen == MAX_REDIRECTS:
                raise _failed(
                    sending.method, _visible(location, origin), "stopped after 10 redirects", origin
                )
            if answer.status in {301, 302, 303} and method not in {"HEAD", "GET"}:
                raise _failed(
                    method, _visible(url, origin), f"redirected with status {answer.status}", origin
                )
            if sending.keep and not _same_server(sending.url, target):
                raise _failed(method, _visible(url, origin), "redirected to another host", origin)
            if urllib.parse.urlsplit(target).scheme not in {"http", "https"}:
                raise _failed(method, _visible(target, origin), "unsupported protocol scheme", origin)
            url = target

    async def _one(self, sending: Sending, method: str, url: str, *, same: bool) -> Answer:
        host = _host(url)
        plain = sending.http_fallback and same and host in self._plain
        try:
            return await self._try(sending, method, _as_http(url) if plain else url, same=same)
        except Problem as problem:
            if not (sending.http_fallback and same and problem.record == b"HTTP/"):
                raise
            self._plain.add(host)
            return await self._try(sending, method, _as_http(url), same=same)

    async def _try(self, sending: Sending, method: str, url: str, *, same: bool) -> Answer:
        assert self._session is not None, "the registry is not open: use it in `async with`"
        headers = list(sending.headers.items())
        if same:
            headers += [(name, value) for name, values in sending.own.items() for value in values]
        limit = asyncio.timeout(None)
        origin = _host(sending.url)
        proxy = self._proxy(url)
        try:
            async with limit:
                response = await self._session.request(
                    method,
                    yarl.URL(url, encoded=True),
                    headers=headers,
                    data=self._watched(sending.body, limit),
                    allow_redirects=False,
                    ssl=self._context(sending.trust) if url.startswith("https:") else True,
                    proxy=proxy,
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            record = b""
            if isinstance(problem, aiohttp.ClientConnectorSSLError) and proxy is None:
                record = await _first_record(url, self._timeout)
            cause = self._cause(problem, url, record)
            raise Problem(
                f'{method.capitalize()} "{_visible(url, origin)}": {cause}',
                host=_host(url),
                passing=not isinstance(problem, (aiohttp.ClientSSLError, ValueError)),
                record=record,
            ) from None
        return Answer(response, method, _visible(url, origin), _host(url))

    def _watched(
        self, body: bytes | Body | None, limit: asyncio.Timeout
    ) -> bytes | AsyncIterator[bytes] | None:
        """The body; a server that stops taking it runs into ``limit`` (the session's own begins when all is sent)."""
        if callable(body):
            return _piecewise(body(), limit, self._timeout)
        if body:  # one piece: time to take it, and time to answer
            limit.reschedule(asyncio.get_running_loop().time() + 2 * self._timeout)
        return body

    def _cause(self, problem: Exception, url: str, record: bytes) -> str:
        host = _host(url)
        if isinstance(problem, aiohttp.ClientConnectorCertificateError):
            inner = problem.certificate_error
            if getattr(inner, "verify_code", 0) in _UNKNOWN_AUTHORITY:
                return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
            reason = getattr(inner, "verify_message", "") or type(inner).__name__
            return f"tls: failed to verify certificate: x509: {reason}"
        if isinstance(problem, aiohttp.ClientSSLError):
            if record == b"HTTP/":
                return "http: server gave HTTP response to HTTPS client"
            if record and record[0] not in range(20, 25):
                return "tls: first record does not look like a TLS handshake"
            return f"tls: {getattr(problem.os_error, 'reason', None) or 'handshake failed'}".lower()
        if isinstance(problem, TimeoutError):
            return f"no answer within {self._timeout:g} s"
        if isinstance(problem, aiohttp.ClientConnectorError):
            if isinstance(problem.os_error, socket.gaierror):
                return f"dial tcp: lookup {urllib.parse.urlsplit(url).hostname}: no such host"
            return f"dial tcp {host}: connect: {_os_words(problem.os_error)}"
        if isinstance(problem, aiohttp.ServerDisconnectedError):
            return "EOF"
        if isinstance(problem, OSError):
            return f"read tcp {host}: read: {_os_words(problem)}"
        if isinstance(problem, aiohttp.ClientHttpProxyError):
            return f"the proxy answered {problem.status}"
        return f"malformed HTTP response ({type(problem).__name__})"

    def _context(self, trust: Trust) -> ssl.SSLContext:
        context = self._contexts.get(trust)
        if context is None:
            context = ssl.create_default_context()
            for file in trust.authorities:
                context.load_verify_locations(cafile=file)
            for certificate, key in trust.client_pairs:
                context.load_cert_chain(certificate, key or None)
            if trust.skip_verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._contexts[trust] = context
        return context

    def _proxy(self, url: str) -> str | None:
        """The proxy of the environment; never for this machine itself."""
        parts = urllib.parse.urlsplit(url)
        proxy = self._proxies.get(parts.scheme)
        if proxy is None or _is_loopback(parts.hostname or ""):
            return None
        if urllib.request.proxy_bypass_environment(parts.netloc, self._proxies):  # type: ignore[attr-defined]
            return None
        return proxy if "://" in proxy else f"http://{proxy}"


async def _piecewise(
    source: AsyncIterator[bytes], limit: asyncio.Timeout, seconds: float
) -> AsyncIterator[bytes]:
    """Pieces of a body, each of which must be taken within so many seconds; the wait for the next does not count."""
    clock = asyncio.get_running_loop().time

    def until(when: float | None) -> None:
        with contextlib.suppress(RuntimeError):  # answered before all was sent, or ended
            limit.reschedule(when)

    async for piece in source:
        until(clock() + seconds)
        yield piece
        until(None)


def _is_loopback(hostname: str) -> bool:
    try:
        return hostname == "localhost" or ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2]


def _same_server(one: str, other: str) -> bool:
    """Whether secrets meant for the one may go to the other: the same host and port, and never from TLS to plain."""
    first, second = urllib.parse.urlsplit(one), urllib.parse.urlsplit(other)
    return (first.scheme, _host(one).lower()) == (second.scheme, _host(other).lower())


def _as_http(url: str) -> str:
    return "http" + url.removeprefix("https") if url.startswith("https:") else url


def _visible(url: str, origin: str) -> str:
    """An address as an error may show it: no user, and no query where another host signed it."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = parts.query if not host or host == origin else ""
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, query, ""))


def _failed(method: str, url: str, cause: str, host: str) -> Problem:
    return Problem(f'{method.capitalize()} "{url}": {cause}', host=host)


def _os_words(problem: OSError) -> str:
    code = problem.errno
    if code is None:  # several addresses were tried
        code = next(
            (one for one in (errno.ECONNREFUSED, errno.ENETUNREACH) if f"Errno {one}" in str(problem)), 0
        )
    return os.strerror(code).lower() if code else "failed"


async def _first_record(url: str, timeout: float) -> bytes:
    """The first bytes that a server answers to a TLS greeting; empty if it does not."""
    parts = urllib.parse.urlsplit(url)
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    greeting = ssl.create_default_context().wrap_bio(received, sent, server_hostname=parts.hostname)
    with contextlib.suppress(ssl.SSLWantReadError):
        greeting.do_handshake()
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 443)
            try:
                writer.write(sent.read())
                return await reader.readexactly(_TLS_PREFIX)
            finally:
                writer.close()
    return b""
