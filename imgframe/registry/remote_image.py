"""An image in a registry: resolve it, read its documents and blobs, push blobs and manifests."""

from __future__ import annotations

import contextlib
import random
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import tenacity

from imgframe import digests, oci
from imgframe.oci.documents import MAX_BYTES
from imgframe.reference import Reference
from imgframe.registry import resolver
from imgframe.registry.failures import Absent, RequestFailure
from imgframe.registry.hosts import Endpoint
from imgframe.registry.session import LONGEST_PAUSE, RegistryRequest, Session
from imgframe.registry.transport import Body, HTTPResponse, body_failures

ATTEMPTS = 5
"""How often a document, an upload, or a blob without progress is attempted."""

PIECE = 1 << 20
_FIRST_PAUSE = 0.25
T = TypeVar("T")


class RemoteImage:
    """An image in a registry, made by :meth:`Registry.image`.

    Attributes:
        reference: the normalised name.
        host: the first server.
        domain: the registry in the name.
        repository: the path in the name.
    """

    def __init__(self, session: Session, name: Reference, servers: list[Endpoint]) -> None:
        self.reference = name.string
        self.domain = name.domain
        self.repository = name.path
        self.host = servers[0].host
        self._digest = name.digest
        self._wanted = name.digest or name.tag
        self._session = session
        self._servers = servers

    def __repr__(self) -> str:
        return f"<RemoteImage {self.reference}>"

    async def resolve(self) -> oci.Descriptor:
        """The target by HEAD, or by GET where that does not suffice (nerdctl's ``ResolveDigest``); the digest is not verified.

        Raises:
            RegistryNotFound: no server has the name.
            RegistryDenied: credentials are missing or refused.
            RegistryError: any other failure; ``go`` is containerd's message.
        """

        async def send(server: Endpoint, method: str, tail: str, *, last: bool) -> HTTPResponse:
            headers = {"Accept": resolver.ACCEPT}
            return await self._pull(server, RegistryRequest(method, tail, last, headers=headers))

        with self._session.errors(self.reference, self.host):
            self._session.credentials.open()
            found, _ = await resolver.resolve(self._servers, self.reference, self._digest, self._wanted, send)
            return found

    async def document(self, wanted: oci.Descriptor) -> bytes:
        """A whole index, manifest or config of at most 8 MiB, whose digest is verified.

        Attempted again, with pauses, where a server is busy or failing or its bytes do not match.
        """
        paths = [f"blobs/{wanted.digest}"]
        if _is_manifest(wanted):
            paths.insert(0, f"manifests/{wanted.digest}")

        async def once() -> bytes:
            worst: RequestFailure = Absent("")
            for path in paths:
                for server in self._able("pull"):
                    try:
                        return await self._document(server, path, wanted)
                    except RequestFailure as failure:
                        worst = failure if isinstance(worst, Absent) else worst
                if not isinstance(worst, Absent):
                    break
            raise worst

        return await self._retried(once)

    async def _document(self, server: Endpoint, path: str, wanted: oci.Descriptor) -> bytes:
        response = await self._get(server, path, wanted)
        data = await response.body(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise RequestFailure(f"{wanted.digest} is longer than {MAX_BYTES} bytes", host=response.host)
        if not digests.matches(data, wanted.digest):
            message = f"{response.url} gave other bytes than {wanted.digest}"
            raise RequestFailure(message, host=response.host, transient=True)
        return data

    async def blob(self, wanted: oci.Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes of a blob from ``offset`` on in pieces of at most 1 MiB, exactly as many as its size says.

        A broken connection is resumed, on the next server if there are several; five failures without a byte in between
        are final. The caller verifies the digest, as the pieces are its own by then.
        """
        servers: list[Endpoint] = []
        stream: AsyncGenerator[bytes] | None = None
        failures = 0

        def retries(state: tenacity.RetryCallState) -> bool:
            others = state.attempt_number < len(servers)
            return _is_transient(_error(state)) or (others and isinstance(_error(state), RequestFailure))

        def wait(state: tenacity.RetryCallState) -> float:
            others = state.attempt_number < len(servers)
            first = state.attempt_number == 1 and not _retry_after(_error(state))
            return 0.0 if others or first else _wait(state)

        async def next_piece() -> bytes:
            nonlocal stream, failures
            if stream is None and offset >= wanted.size:
                return b""
            try:
                stream = stream or self._stream(servers[failures % len(servers)], wanted, offset)
                piece = await anext(stream, b"")
            except RequestFailure:
                stream, failures = None, failures + 1
                raise
            failures = 0
            return piece

        with self._session.errors(self.reference, self.host):
            servers += self._able("pull")
            retrying = tenacity.AsyncRetrying(
                retry=retries,
                stop=tenacity.stop_after_attempt(max(ATTEMPTS, len(servers))),
                wait=wait,
                reraise=True,
            )
            while True:
                piece: bytes = await retrying(next_piece)
                if not piece:
                    return
                offset += len(piece)
                yield piece

    async def _stream(self, server: Endpoint, wanted: oci.Descriptor, at: int) -> AsyncGenerator[bytes]:
        """The bytes that one connection gives from ``at`` on; ends only at the end of the blob."""
        response = await self._open(server, wanted, at)
        start, length = at, response.length
        try:
            with body_failures(response):
                async for piece in response.raw.content.iter_chunked(PIECE):
                    at += len(piece)
                    if at > wanted.size:
                        message = f"{response.url} is longer than its descriptor says ({wanted.size} bytes)"
                        raise RequestFailure(message, host=response.host)
                    yield piece
        finally:
            response.drop()
        if at < wanted.size and at - start == length and start == 0:  # all that the server has
            message = f"{response.url} has {at} bytes, its descriptor says {wanted.size}"
            raise RequestFailure(message, host=response.host)
        if at < wanted.size:
            message = f"{response.url} ended after {at} of {wanted.size} bytes"
            raise RequestFailure(message, host=response.host, transient=True)

    async def _open(self, server: Endpoint, wanted: oci.Descriptor, offset: int) -> HTTPResponse:
        response = await self._get(server, f"blobs/{wanted.digest}", wanted, offset)
        skip = offset
        if response.status == 206:
            start = response.header("Content-Range").removeprefix("bytes").strip(" =").partition("-")[0]
            if start != str(offset):
                response.drop()
                message = f"{response.url} gave bytes from {start or 'nowhere'}, not from {offset}"
                raise RequestFailure(message, host=response.host)
            skip = 0
        with body_failures(response):
            while skip:
                piece = await response.raw.content.read(min(PIECE, skip))
                if not piece:
                    message = f"{response.url} is shorter than {offset} bytes"
                    raise RequestFailure(message, host=response.host, transient=True)
                skip -= len(piece)
        return response

    async def exists(self, wanted: oci.Descriptor) -> bool:
        """Whether the registry that is pushed to already has this blob, manifest or index."""
        is_manifest = _is_manifest(wanted)
        path = f"{'manifests' if is_manifest else 'blobs'}/{wanted.digest}"

        async def once() -> bool:
            response = await self._push(
                "HEAD", path, headers={"Accept": resolver.ACCEPT} if is_manifest else {}
            )
            response.drop()
            if response.status not in {200, 404}:
                raise response.unexpected()
            return response.status == 200

        return await self._retried(once)

    async def mount(self, wanted: oci.Descriptor, source: str) -> bool:
        """Mounts a blob from another repository of the same registry; False where the registry does not do that."""

        async def once() -> bool:
            query = urllib.parse.urlencode({"mount": wanted.digest, "from": source})
            response = await self._push("POST", f"blobs/uploads/?{query}", source=source, body=b"")
            response.drop()
            if response.status == 202:
                await self._cancel_upload(response)
            if response.status not in {201, 202, 401, 403, 404, 405}:
                raise response.unexpected()
            return response.status == 201

        return await self._retried(once)

    async def _cancel_upload(self, response: HTTPResponse) -> None:
        with contextlib.suppress(RequestFailure):  # registries drop unfinished uploads by themselves
            (await self._push("DELETE", "blobs/uploads/", url=self._location(response))).drop()

    async def upload(self, wanted: oci.Descriptor, body: Body) -> None:
        """Pushes a blob; ``body()`` gives its bytes from the beginning, once per attempt."""

        async def once() -> None:
            begun = await self._push("POST", "blobs/uploads/", body=b"")
            begun.drop()
            if begun.status != 202:
                raise begun.unexpected()
            url = self._location(begun)
            url += f"{'&' if '?' in url else '?'}digest={urllib.parse.quote_plus(wanted.digest)}"
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(wanted.size)}
            await self._put("blobs/uploads/", headers, body, url)

        await self._retried(once)

    async def put_manifest(self, data: bytes, media_type: str, tag: str = "") -> str:
        """Pushes a manifest or index under a tag, or under its own digest; returns the digest."""
        digest = digests.sha256(data)

        async def once() -> None:
            await self._put(f"manifests/{tag or digest}", {"Content-Type": media_type}, data)

        await self._retried(once)
        return digest

    async def _put(self, tail: str, headers: dict[str, str], body: bytes | Body, url: str = "") -> None:
        response = await self._push("PUT", tail, headers=headers, body=body, url=url)
        if response.status not in {201, 202}:
            failure = response.unexpected()
            details = resolver.error_details(await response.body(64_000))
            raise failure.reworded(failure.message + details)
        response.drop()

    @staticmethod
    def _location(response: HTTPResponse) -> str:
        location = response.header("Location")
        if not location:
            raise RequestFailure(f"{response.url} names no place for the upload", host=response.host)
        return urllib.parse.urljoin(str(response.raw.url), location)

    def _able(self, capability: str) -> list[Endpoint]:
        found = [one for one in self._servers if capability in one.capabilities]
        if not found:
            raise RequestFailure(f"no server of {self.domain} may {capability}", host=self.domain)
        return found

    async def _push(
        self,
        method: str,
        tail: str,
        *,
        source: str = "",
        headers: dict[str, str] | None = None,
        body: bytes | Body | None = None,
        url: str = "",
    ) -> HTTPResponse:
        scopes = [f"repository:{self.repository}:pull,push"]
        scopes += [f"repository:{source}:pull"] if source else []
        request = RegistryRequest(
            method,
            tail,
            retried=True,
            headers=headers or {},
            scopes=tuple(sorted(scopes)),
            body=body,
            url=url,
        )
        return await self._session.send(self._able("push")[0], self.repository, self.domain, request)

    async def _pull(self, server: Endpoint, request: RegistryRequest) -> HTTPResponse:
        scoped = replace(request, scopes=(f"repository:{self.repository}:pull",))
        return await self._session.send(server, self.repository, self.domain, scoped)

    async def _get(
        self, server: Endpoint, path: str, wanted: oci.Descriptor, offset: int = 0
    ) -> HTTPResponse:
        headers = {"Accept": f"{wanted.media_type or '*/*'}, */*"}
        headers |= {"Range": f"bytes={offset}-"} if offset else {}
        response = await self._pull(server, RegistryRequest("GET", path, retried=True, headers=headers))
        if response.status in {200, 206}:
            return response
        response.drop()
        if response.status == 404:
            message = f"{self.reference}: {wanted.digest} is not in the registry"
            raise Absent(message, status=404, host=response.host)
        raise response.unexpected()

    async def _retried(self, once: Callable[[], Awaitable[T]]) -> T:
        """Attempts ``once`` again while that may help, with growing pauses, or those that the server asks for."""
        with self._session.errors(self.reference, self.host):
            return await tenacity.AsyncRetrying(
                retry=tenacity.retry_if_exception(_is_transient),
                stop=tenacity.stop_after_attempt(ATTEMPTS),
                wait=_wait,
                reraise=True,
            )(once)


def _is_manifest(wanted: oci.Descriptor) -> bool:
    return oci.is_manifest_type(wanted.media_type) or oci.is_index_type(wanted.media_type)


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _is_transient(error: BaseException | None) -> bool:
    return isinstance(error, RequestFailure) and error.transient


def _retry_after(error: BaseException | None) -> float:
    return error.retry_after if isinstance(error, RequestFailure) else 0.0


def _wait(state: tenacity.RetryCallState) -> float:
    growing = _FIRST_PAUSE * 2**state.attempt_number * random.uniform(0.5, 1.0)  # noqa: S311 -- jitter
    return min(_retry_after(_error(state)) or growing, LONGEST_PAUSE)
