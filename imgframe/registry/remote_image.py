"""An image in a registry: its target, its documents and blobs, and what is sent there."""

from __future__ import annotations

import asyncio
import random
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import tenacity

from imgframe import digests, oci
from imgframe.oci.documents import MAX_BYTES
from imgframe.reference import Reference
from imgframe.registry import resolver
from imgframe.registry.failures import Absent, Problem
from imgframe.registry.hosts import Endpoint
from imgframe.registry.session import LONGEST_PAUSE, Session, Wanted
from imgframe.registry.transport import Answer, Body, reading

TRIES = 5
"""How often a document, a blob that does not move on, or an upload is tried."""

PIECE = 1 << 20
_FIRST_PAUSE = 0.25
T = TypeVar("T")


class Remote:
    """An image in a registry, made by :meth:`Registry.image`.

    Attributes:
        reference: the normalised name.
        host: the server that is asked first.
        domain: the registry of the name.
        repository: the path of the name.
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
        return f"<Remote {self.reference}>"

    async def resolve(self) -> oci.Descriptor:
        """The target: HEAD, or GET where that does not say enough (nerdctl's ``ResolveDigest``); trusted as it is.

        Raises:
            RegistryNotFound: no server has the name.
            RegistryDenied: credentials are missing or refused.
            RegistryError: everything else; ``go`` are containerd's words.
        """

        async def ask(server: Endpoint, method: str, tail: str, *, last: bool) -> Answer:
            headers = {"Accept": resolver.ACCEPT}
            return await self._ask(server, Wanted(method, tail, last, headers=headers))

        with self._session.speaking(self.reference, self.host):
            self._session.wallet.open()
            found, _ = await resolver.resolve(self._servers, self.reference, self._digest, self._wanted, ask)
            return found

    async def document(self, wanted: oci.Descriptor) -> bytes:
        """A whole index, manifest or config; its digest was compared, and it is at most 8 MiB long.

        Busy and failing servers are tried again with pauses, and so are those whose bytes do not match.
        """
        places = [f"blobs/{wanted.digest}"]
        if oci.is_manifest_type(wanted.media_type) or oci.is_index_type(wanted.media_type):
            places.insert(0, f"manifests/{wanted.digest}")

        async def once() -> bytes:
            worst: Problem = Absent("")
            for place in places:
                for server in self._able("pull"):
                    try:
                        return await self._document(server, place, wanted)
                    except Problem as problem:
                        worst = problem if isinstance(worst, Absent) else worst
                if not isinstance(worst, Absent):
                    break
            raise worst

        with self._session.speaking(self.reference, self.host):
            return await self._patiently(once)

    async def _document(self, server: Endpoint, place: str, wanted: oci.Descriptor) -> bytes:
        headers = {"Accept": f"{wanted.media_type or '*/*'}, */*"}
        answer = await self._good(server, Wanted("GET", place, patient=True, headers=headers), wanted.digest)
        data = await answer.body(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise Problem(f"{wanted.digest} is longer than {MAX_BYTES} bytes", host=answer.host)
        if not digests.matches(data, wanted.digest):
            words = f"{answer.url} gave other bytes than {wanted.digest}"
            raise Problem(words, host=answer.host, passing=True)
        return data

    async def blob(self, wanted: oci.Descriptor, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes of a blob from ``offset`` on, in pieces of at most 1 MiB, exactly as many as it is long.

        A connection that breaks is taken up where it broke, at the next server if there are several; five failures
        without a byte in between are the end. The digest is for the caller to compare: he has the bytes before.
        """
        with self._session.speaking(self.reference, self.host):
            servers, failures = self._able("pull"), 0
            while offset < wanted.size:
                server = servers[failures % len(servers)]
                try:
                    async for piece in self._stream(server, wanted, offset):
                        offset += len(piece)
                        failures = 0
                        yield piece
                except Problem as problem:
                    failures += 1
                    others = failures < len(servers)
                    if failures >= max(TRIES, len(servers)) or not (problem.passing or others):
                        raise
                    if not others and (failures > 1 or problem.pause):  # a first break is taken up at once
                        await asyncio.sleep(_pause_of(problem, failures))

    async def _stream(self, server: Endpoint, wanted: oci.Descriptor, at: int) -> AsyncIterator[bytes]:
        """What one connection gives, from ``at`` on; ends at the end of the blob only."""
        answer = await self._open(server, wanted, at)
        start, whole = at, answer.length
        try:
            with reading(answer):
                async for piece in answer.response.content.iter_chunked(PIECE):
                    at += len(piece)
                    if at > wanted.size:
                        words = f"{answer.url} is longer than what names it says ({wanted.size} bytes)"
                        raise Problem(words, host=answer.host)
                    yield piece
        finally:
            answer.drop()
        if at < wanted.size and at - start == whole and start == 0:  # all that the server has
            words = f"{answer.url} has {at} bytes, what names it says {wanted.size}"
            raise Problem(words, host=answer.host)
        if at < wanted.size:
            words = f"{answer.url} ended after {at} of {wanted.size} bytes"
            raise Problem(words, host=answer.host, passing=True)

    async def _open(self, server: Endpoint, wanted: oci.Descriptor, offset: int) -> Answer:
        headers = {"Accept": f"{wanted.media_type or '*/*'}, */*"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        place = f"blobs/{wanted.digest}"
        answer = await self._good(server, Wanted("GET", place, patient=True, headers=headers), wanted.digest)
        skip = offset
        if answer.status == 206:
            start = answer.header("Content-Range").removeprefix("bytes").strip(" =").partition("-")[0]
            if start != str(offset):
                answer.drop()
                words = f"{answer.url} gave bytes from {start or 'nowhere'}, not from {offset}"
                raise Problem(words, host=answer.host)
            skip = 0
        with reading(answer):
            while skip:
                piece = await answer.response.content.read(min(PIECE, skip))
                if not piece:
                    raise Problem(
                        f"{answer.url} is shorter than {offset} bytes", host=answer.host, passing=True
                    )
                skip -= len(piece)
        return answer

    async def exists(self, wanted: oci.Descriptor) -> bool:
        """Whether the place that is pushed to has this blob, manifest or index already."""
        kind = (
            "manifests"
            if oci.is_manifest_type(wanted.media_type) or oci.is_index_type(wanted.media_type)
            else "blobs"
        )

        async def once() -> bool:
            headers = {"Accept": resolver.ACCEPT} if kind == "manifests" else {}
            answer = await self._push("HEAD", f"{kind}/{wanted.digest}", headers=headers)
            answer.drop()
            if answer.status == 404:
                return False
            if answer.status != 200:
                raise answer.unexpected()
            return True

        with self._session.speaking(self.reference, self.host):
            return await self._patiently(once)

    async def mount(self, wanted: oci.Descriptor, source: str) -> bool:
        """Takes a blob over from another repository of the same registry; whether that went (nothing is sent else)."""

        async def once() -> bool:
            query = urllib.parse.urlencode({"mount": wanted.digest, "from": source})
            answer = await self._push("POST", f"blobs/uploads/?{query}", source=source, body=b"")
            answer.drop()
            if answer.status == 201:
                return True
            if answer.status == 202:
                await self._abandon(answer)
                return False
            if answer.status in {401, 403, 404, 405}:
                return False
            raise answer.unexpected()

        with self._session.speaking(self.reference, self.host):
            return await self._patiently(once)

    async def _abandon(self, answer: Answer) -> None:
        try:
            gone = await self._push("DELETE", "blobs/uploads/", url=self._location(answer))
            gone.drop()
        except Problem:
            return  # the registry forgets unfinished uploads by itself

    async def upload(self, wanted: oci.Descriptor, body: Body) -> None:
        """Sends a blob; ``body()`` gives its bytes from the beginning, and is called once per try."""

        async def once() -> None:
            begun = await self._push("POST", "blobs/uploads/", body=b"")
            begun.drop()
            if begun.status != 202:
                raise begun.unexpected()
            place = self._location(begun)
            url = f"{place}{'&' if '?' in place else '?'}digest={urllib.parse.quote_plus(wanted.digest)}"
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(wanted.size)}
            await self._sent("blobs/uploads/", headers, body, url)

        with self._session.speaking(self.reference, self.host):
            await self._patiently(once)

    async def put_manifest(self, data: bytes, media_type: str, tag: str = "") -> str:
        """Stores a manifest or index under a tag, or under its own digest; the digest is given back."""
        digest = digests.sha256(data)

        async def once() -> None:
            await self._sent(f"manifests/{tag or digest}", {"Content-Type": media_type}, data)

        with self._session.speaking(self.reference, self.host):
            await self._patiently(once)
        return digest

    async def _sent(self, tail: str, headers: dict[str, str], body: bytes | Body, url: str = "") -> None:
        answer = await self._push("PUT", tail, headers=headers, body=body, url=url)
        if answer.status not in {201, 202}:
            words = "".join(f"\n{one}" for one in resolver.registry_words(await answer.body(64_000)))
            problem = answer.unexpected()
            raise Problem(
                problem.words + words, status=problem.status, host=problem.host, passing=problem.passing
            )
        answer.drop()

    @staticmethod
    def _location(answer: Answer) -> str:
        place = answer.header("Location")
        if not place:
            raise Problem(f"{answer.url} names no place for the upload", host=answer.host)
        return urllib.parse.urljoin(str(answer.response.url), place)

    def _able(self, capability: str) -> list[Endpoint]:
        found = [one for one in self._servers if capability in one.capabilities]
        if not found:
            raise Problem(f"no server of {self.domain} may {capability}", host=self.domain)
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
    ) -> Answer:
        scopes = [f"repository:{self.repository}:pull,push"]
        scopes += [f"repository:{source}:pull"] if source else []
        wanted = Wanted(
            method,
            tail,
            patient=True,
            headers=headers or {},
            scopes=tuple(sorted(scopes)),
            body=body,
            url=url,
        )
        server = self._able("push")[0]
        return await self._session.ask(server, self.repository, self.domain, wanted)

    async def _ask(self, server: Endpoint, wanted: Wanted) -> Answer:
        scopes = (f"repository:{self.repository}:pull",)
        whole = Wanted(wanted.method, wanted.tail, wanted.last, wanted.patient, wanted.headers, scopes)
        return await self._session.ask(server, self.repository, self.domain, whole)

    async def _good(self, server: Endpoint, wanted: Wanted, digest: str) -> Answer:
        answer = await self._ask(server, wanted)
        if answer.status in {200, 206}:
            return answer
        answer.drop()
        if answer.status == 404:
            raise Absent(f"{self.reference}: {digest} is not in the registry", status=404, host=answer.host)
        raise answer.unexpected()

    @staticmethod
    async def _patiently(once: Callable[[], Awaitable[T]]) -> T:
        """Again while another try may help, with growing pauses, or the pause that the server asks for."""
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, Problem) and error.passing),
            stop=tenacity.stop_after_attempt(TRIES),
            wait=_wait,
            reraise=True,
        ):
            with attempt:
                result = await once()
        return result


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return _pause_of(error, state.attempt_number)


def _pause_of(error: BaseException | None, failures: int) -> float:
    asked = error.pause if isinstance(error, Problem) else 0.0
    return min(asked or _FIRST_PAUSE * 2**failures * random.uniform(0.5, 1.0), LONGEST_PAUSE)  # noqa: S311 -- jitter
