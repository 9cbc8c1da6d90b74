"""HTTP: connections, certificates, proxies, redirects, and failures with Go's messages."""

from __future__ import annotations

import asyncio
import contextlib
import errno
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
from imgframe.registry import urls
from imgframe.registry.failures import RequestFailure
from imgframe.registry.hosts import TLSConfig

USER_AGENT = f"imgframe/{__version__}"
MAX_REDIRECTS = 10
CONNECT_SECONDS = 30.0
_REDIRECTS = {301, 302, 303, 307, 308}
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21}
_TLS_PREFIX = 5

Body = Callable[[], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class HTTPRequest:
    """A request; ``own`` headers go to the addressed host only, ``headers`` also to hosts it redirects to.

    ``keep``: the body is secret, so a redirect to another host is refused. ``http_fallback``: plain HTTP is used if the
    server does not speak TLS.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    own: Mapping[str, tuple[str, ...]]
    tls: TLSConfig = field(default_factory=TLSConfig)
    http_fallback: bool = False
    body: bytes | Body | None = None
    keep: bool = False


@dataclass(slots=True)
class HTTPResponse:
    """A response whose body is unread; ``url`` is where it came from after redirects, in the form errors may show."""

    raw: aiohttp.ClientResponse
    method: str
    url: str
    host: str

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.raw.status

    def header(self, name: str) -> str:
        """A header's first value; empty if there is none."""
        return self.raw.headers.get(name, "")

    @property
    def length(self) -> int | None:
        """The Content-Length; None where the header is missing or malformed."""
        text = self.header("Content-Length")
        if text.isascii() and text.isdigit():
            return int(text)
        return 0 if self.status == 204 else None

    async def body(self, limit: int) -> bytes:
        """The body up to ``limit`` bytes; releases the connection."""
        parts, size = [], 0
        with body_failures(self):
            while piece := await self.raw.content.read(min(1 << 16, limit - size)):
                parts.append(piece)
                size += len(piece)
                if size >= limit:
                    self.raw.close()
                    break
        self.raw.release()
        return b"".join(parts)

    def drop(self) -> None:
        """Discards the body."""
        if self.raw.content.at_eof():
            self.raw.release()
        else:
            self.raw.close()

    def unexpected(self) -> RequestFailure:
        """The failure that this response is: an unexpected status."""
        status = f"{self.status} {self.raw.reason or ''}".rstrip()
        return RequestFailure(
            f"unexpected status from {self.method} request to {self.url}: {status}",
            status=self.status,
            host=self.host,
            retry_after=self.retry_after,
            transient=self.status in {408, 429} or self.status >= 500,
        )

    @property
    def retry_after(self) -> float:
        """Seconds in the Retry-After header; 0 without one."""
        text = self.header("Retry-After").strip()
        return float(text) if text.isascii() and text.isdigit() else 0.0


@contextlib.contextmanager
def body_failures(response: HTTPResponse) -> Any:
    """Raises what goes wrong while a body is read as :class:`RequestFailure`."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as problem:
        response.raw.close()
        cause = "no answer within the timeout" if isinstance(problem, TimeoutError) else "unexpected EOF"
        message = f"{response.method} {response.url}: {cause}"
        raise RequestFailure(message, host=response.host, transient=True) from None


class Transport:
    """One pool of connections. ``timeout``: seconds after which a silent server counts as failed."""

    def __init__(self, *, timeout: float, connections: int) -> None:
        self._timeout = timeout
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[TLSConfig, ssl.SSLContext] = {}
        self._plain: set[str] = set()
        self._proxies = urllib.request.getproxies_environment()

    async def open(self) -> None:
        """Opens the pool, on the loop that is used later."""
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
        """Closes all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, request: HTTPRequest) -> HTTPResponse:
        """The response after at most ten redirects.

        Raises:
            RequestFailure: no response, or a refused redirect: Go's ``Head "URL": …``.
        """
        origin = _host(request.url)
        url, method, seen = request.url, request.method, 0
        while True:
            same = _same_server(request.url, url)
            response = await self._one(request, method, url, same=same)
            location = response.header("Location")
            if response.status not in _REDIRECTS or not location:
                return response
            response.drop()
            seen += 1
            target = urllib.parse.urljoin(url, location)
            if seen == MAX_REDIRECTS:
                raise _failed(request.method, location, origin, "stopped after 10 redirects")
            if response.status in {301, 302, 303} and method not in {"HEAD", "GET"}:
                raise _failed(method, url, origin, f"redirected with status {response.status}")
            if request.keep and not _same_server(request.url, target):
                raise _failed(method, url, origin, "redirected to another host")
            if urllib.parse.urlsplit(target).scheme not in {"http", "https"}:
                raise _failed(method, target, origin, "unsupported protocol scheme")
            url = target

    async def _one(self, request: HTTPRequest, method: str, url: str, *, same: bool) -> HTTPResponse:
        host = _host(url)
        plain = request.http_fallback and same and host in self._plain
        try:
            return await self._try(request, method, _as_http(url) if plain else url, same=same)
        except RequestFailure as failure:
            if not (request.http_fallback and same and failure.tls_record == b"HTTP/"):
                raise
            self._plain.add(host)
            return await self._try(request, method, _as_http(url), same=same)

    async def _try(self, request: HTTPRequest, method: str, url: str, *, same: bool) -> HTTPResponse:
        assert self._session is not None, "the registry is not open: use it in `async with`"
        headers = list(request.headers.items())
        if same:
            headers += [(name, value) for name, values in request.own.items() for value in values]
        limit = asyncio.timeout(None)
        origin = _host(request.url)
        proxy = self._proxy(url)
        try:
            async with limit:
                response = await self._session.request(
                    method,
                    yarl.URL(url, encoded=True),
                    headers=headers,
                    data=self._watched(request.body, limit),
                    allow_redirects=False,
                    ssl=self._context(request.tls) if url.startswith("https:") else True,
                    proxy=proxy,
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            record = b""
            if isinstance(problem, aiohttp.ClientConnectorSSLError) and proxy is None:
                record = await _first_record(url, self._timeout)
            cause = self._cause(problem, url, record)
            raise RequestFailure(
                f'{method.capitalize()} "{_visible(url, origin)}": {cause}',
                host=_host(url),
                transient=not isinstance(problem, (aiohttp.ClientSSLError, ValueError)),
                tls_record=record,
            ) from None
        return HTTPResponse(response, method, _visible(url, origin), _host(url))

    def _watched(
        self, body: bytes | Body | None, limit: asyncio.Timeout
    ) -> bytes | AsyncIterator[bytes] | None:
        """The body, sent under ``limit``: the session's own timeout starts only when all is sent."""
        if callable(body):
            return _piecewise(body(), limit, self._timeout)
        if body:  # sent at once: time to receive it, and time to answer
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

    def _context(self, trust: TLSConfig) -> ssl.SSLContext:
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
        """The proxy that the environment names; none for loopback addresses."""
        parts = urllib.parse.urlsplit(url)
        proxy = self._proxies.get(parts.scheme)
        if proxy is None or urls.is_localhost(parts.hostname or ""):
            return None
        if urllib.request.proxy_bypass_environment(parts.netloc, self._proxies):  # type: ignore[attr-defined]
            return None
        return proxy if "://" in proxy else f"http://{proxy}"


async def _piecewise(
    source: AsyncIterator[bytes], limit: asyncio.Timeout, seconds: float
) -> AsyncIterator[bytes]:
    """The pieces of a body, each of which must be received within ``seconds``; waiting for the source does not count."""
    clock = asyncio.get_running_loop().time

    def until(when: float | None) -> None:
        with contextlib.suppress(RuntimeError):  # answered before all was sent, or ended
            limit.reschedule(when)

    async for piece in source:
        until(clock() + seconds)
        yield piece
        until(None)


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2]


def _same_server(one: str, other: str) -> bool:
    """Whether secrets for one address may go to the other: the same scheme, host and port."""
    first, second = urllib.parse.urlsplit(one), urllib.parse.urlsplit(other)
    return (first.scheme, _host(one).lower()) == (second.scheme, _host(other).lower())


def _as_http(url: str) -> str:
    return "http" + url.removeprefix("https") if url.startswith("https:") else url


def _visible(url: str, origin: str) -> str:
    """The address as errors may show it: without user, and without query (a signature) unless it is on ``origin``."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = parts.query if not host or host == origin else ""
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, query, ""))


def _failed(method: str, url: str, origin: str, cause: str) -> RequestFailure:
    return RequestFailure(f'{method.capitalize()} "{_visible(url, origin)}": {cause}', host=origin)


def _os_words(problem: OSError) -> str:
    code = problem.errno
    if code is None:  # several addresses were tried
        known = (errno.ECONNREFUSED, errno.ENETUNREACH)
        code = next((one for one in known if f"Errno {one}" in str(problem)), 0)
    return os.strerror(code).lower() if code else "failed"


async def _first_record(url: str, timeout: float) -> bytes:
    """The first bytes that a server sends in response to a TLS handshake; empty if it sends none."""
    parts = urllib.parse.urlsplit(url)
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    handshake = ssl.create_default_context().wrap_bio(received, sent, server_hostname=parts.hostname)
    with contextlib.suppress(ssl.SSLWantReadError):
        handshake.do_handshake()
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 443)
            try:
                writer.write(sent.read())
                return await reader.readexactly(_TLS_PREFIX)
            finally:
                writer.close()
    return b""
