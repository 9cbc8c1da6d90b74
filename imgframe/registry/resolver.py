"""From a name to a digest, with the very requests that containerd's resolver makes."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from imgframe import digests, oci
from imgframe.errors import DocumentError
from imgframe.golang.json import scanner
from imgframe.oci.documents import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from imgframe.registry.failures import Absent, Problem, Unauthorized
from imgframe.registry.hosts import Endpoint
from imgframe.registry.transport import Answer

MAX_MANIFEST_BYTES = 4_393_216
"""Larger manifests are refused (containerd's limit and what surrounds it)."""

ACCEPT = f"{DOCKER_MANIFEST}, {DOCKER_INDEX}, {OCI_MANIFEST}, {OCI_INDEX}, */*"
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
_NO_SCHEMA1 = (
    f'not implemented: media type "{_SCHEMA1}" is no longer supported since containerd v2.0, '
    f'please rebuild the image as "{DOCKER_MANIFEST}" or "{OCI_MANIFEST}"'
)
_MAX_ERROR_BYTES = 64_000
_UNREACHED, _MISSING, _REFUSED, _TOO_LARGE = 1, 2, 3, 4


class Asking(Protocol):
    """One request to one server with containerd's own retries; ``last``: no other server comes after it."""

    async def __call__(self, server: Endpoint, method: str, tail: str, *, last: bool) -> Answer:
        """The answer."""


class _Best:
    """The failure that came furthest; among equals the first."""

    def __init__(self) -> None:
        self.rank = 0
        self.problem: Problem = Problem("no available registry endpoint")

    def offer(self, rank: int, problem: Problem) -> None:
        if rank > self.rank:
            self.rank, self.problem = rank, problem


async def resolve(
    servers: list[Endpoint], shown: str, digest: str, wanted: str, ask: Asking
) -> tuple[oci.Descriptor, Endpoint]:
    """The descriptor behind ``wanted`` (a tag, or ``digest``), and the server that knew it.

    Raises:
        Problem: with Go's words, of the server where the search came furthest.
    """
    able = [one for one in servers if ("pull" if digest else "resolve") in one.capabilities]
    best = _Best()
    for tail in [f"manifests/{wanted}", *([f"blobs/{digest}"] if digest else [])]:
        for place, server in enumerate(able):
            found = await _at(server, shown, digest, tail, ask, best, last=place == len(able) - 1)
            if found is not None:
                return found, server
        if best.rank != _MISSING:
            break
    raise best.problem


async def _at(
    server: Endpoint, shown: str, digest: str, tail: str, ask: Asking, best: _Best, *, last: bool
) -> oci.Descriptor | None:
    try:
        answer = await ask(server, "HEAD", tail, last=last)
    except Unauthorized as problem:
        words = "pull access denied, repository does not exist or may require authorization: "
        best.offer(_UNREACHED, problem_as(Unauthorized, problem, words))
        return None
    except Problem as problem:
        best.offer(_UNREACHED, problem)
        return None
    answer.drop()
    if answer.status == 404:
        best.offer(_MISSING, Absent(f"{shown}: not found", status=404, host=answer.host))
        return None
    if answer.status >= 400:
        words = await _message(server, tail, ask, last=last) if answer.status == 403 else ""
        refused = answer.unexpected().words + words
        best.offer(_REFUSED, Problem(refused, status=answer.status, host=answer.host))
        return None
    if answer.status >= 300:
        raise answer.unexpected()
    found = _descriptor(answer, digest) or await _read(server, digest, tail, ask)
    if found.size > MAX_MANIFEST_BYTES:
        words = f"rejecting {found.size} byte manifest for {shown}: not found"
        best.offer(_TOO_LARGE, Problem(words, host=answer.host))
        return None
    return found


def problem_as(kind: type[Problem], problem: Problem, prefix: str) -> Problem:
    """The same problem of another kind, with words before it."""
    return kind(prefix + problem.words, status=problem.status, host=problem.host)


def _descriptor(answer: Answer, digest: str) -> oci.Descriptor | None:
    """What the headers say, where they say enough."""
    size = answer.length
    claimed = answer.header("Docker-Content-Digest")
    if size is None or not (digest or claimed):
        return None
    if not digest and (wrong := digests.digest_error(claimed)):
        raise Problem(f'"{claimed}" in header not a valid digest: {wrong}', host=answer.host)
    return oci.Descriptor(_media_type(answer), digest or claimed, size)


async def _read(server: Endpoint, digest: str, tail: str, ask: Asking) -> oci.Descriptor:
    answer = await ask(server, "GET", tail, last=True)
    if answer.status >= 300:
        answer.drop()
        raise answer.unexpected()
    media_type = _media_type(answer)
    if not digest and media_type == _SCHEMA1:
        answer.drop()
        raise Problem(_NO_SCHEMA1, host=answer.host)
    data = await answer.body(MAX_MANIFEST_BYTES + 1)
    return oci.Descriptor(media_type, digest or digests.sha256(data), len(data))


def _media_type(answer: Answer) -> str:
    found = answer.header("Content-Type").partition(";")[0]
    return _SCHEMA1 if found == "text/plain" else found


async def _message(server: Endpoint, tail: str, ask: Asking, *, last: bool) -> str:
    """What the registry says about a refusal; HEAD has no body, so it is asked once more."""
    try:
        answer = await ask(server, "GET", tail, last=last)
        return "".join(f"\n{words}" for words in registry_words(await answer.body(_MAX_ERROR_BYTES)))
    except Problem:
        return ""


def registry_words(body: bytes) -> list[str]:
    """The errors in a registry's answer as containerd writes them: ``denied: requested access …``."""
    try:
        tree = scanner.parse(body)
    except DocumentError:
        return []
    found = dict(tree).get("errors") if type(tree) is scanner.Pairs else None
    words = [_words(dict(one)) for one in found or () if type(one) is scanner.Pairs]
    return words if len(words) < 2 else ["errors:", *words]


def _words(fields: dict[str, Any]) -> str:
    code, message = (
        scanner.text(value) if type(value := fields.get(name)) is bytes and value.startswith(b'"') else ""
        for name in ("code", "message")
    )
    return f"{code.replace('_', ' ').lower()}: {message}"


async def pause(answer: Answer, longest: float) -> None:
    """As long as the server asks for."""
    if answer.pause:
        await asyncio.sleep(min(answer.pause, longest))
