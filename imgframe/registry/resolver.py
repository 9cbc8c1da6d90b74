"""A name resolved to a digest, with the same requests as containerd's resolver."""

from __future__ import annotations

from typing import Protocol

from imgframe import digests, oci
from imgframe.errors import DocumentError
from imgframe.golang.json import scanner
from imgframe.oci.documents import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from imgframe.registry.failures import Absent, RequestFailure, Unauthorized
from imgframe.registry.hosts import Endpoint
from imgframe.registry.transport import HTTPResponse

MAX_MANIFEST_BYTES = 4_393_216
"""Larger manifests are refused (containerd's limit, plus the surrounding message)."""

ACCEPT = f"{DOCKER_MANIFEST}, {DOCKER_INDEX}, {OCI_MANIFEST}, {OCI_INDEX}, */*"
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
_NO_SCHEMA1 = (
    f'not implemented: media type "{_SCHEMA1}" is no longer supported since containerd v2.0, '
    f'please rebuild the image as "{DOCKER_MANIFEST}" or "{OCI_MANIFEST}"'
)
_MAX_ERROR_BYTES = 64_000
_UNREACHED, _MISSING, _REFUSED, _TOO_LARGE = 1, 2, 3, 4


class Send(Protocol):
    """Sends a request to a server with containerd's own retries; ``last``: no other server is asked after it."""

    async def __call__(self, server: Endpoint, method: str, tail: str, *, last: bool) -> HTTPResponse:
        """The response."""


class _Furthest:
    """The failure of the server where the search came furthest; among equals the first."""

    def __init__(self) -> None:
        self.rank = 0
        self.failure = RequestFailure("no available registry endpoint")

    def offer(self, rank: int, failure: RequestFailure) -> None:
        if rank > self.rank:
            self.rank, self.failure = rank, failure


async def resolve(
    servers: list[Endpoint], name: str, digest: str, wanted: str, send: Send
) -> tuple[oci.Descriptor, Endpoint]:
    """The descriptor of ``wanted`` (a tag, or ``digest``), and the server that has it; ``name`` is for errors.

    Raises:
        RequestFailure: with Go's message, of the server where the search came furthest.
    """
    able = [one for one in servers if ("pull" if digest else "resolve") in one.capabilities]
    furthest = _Furthest()
    for tail in [f"manifests/{wanted}", *([f"blobs/{digest}"] if digest else [])]:
        for place, server in enumerate(able):
            found = await _at(server, name, digest, tail, send, furthest, last=place == len(able) - 1)
            if found is not None:
                return found, server
        if furthest.rank != _MISSING:
            break
    raise furthest.failure


async def _at(
    server: Endpoint, name: str, digest: str, tail: str, send: Send, furthest: _Furthest, *, last: bool
) -> oci.Descriptor | None:
    try:
        response = await send(server, "HEAD", tail, last=last)
    except RequestFailure as failure:
        if isinstance(failure, Unauthorized):
            denied = "pull access denied, repository does not exist or may require authorization: "
            failure = Unauthorized(denied + failure.message, status=failure.status, host=failure.host)
        furthest.offer(_UNREACHED, failure)
        return None
    response.drop()
    if response.status == 404:
        furthest.offer(_MISSING, Absent(f"{name}: not found", status=404, host=response.host))
        return None
    if response.status >= 400:
        details = await _details(server, tail, send, last=last) if response.status == 403 else ""
        message = response.unexpected().message + details
        furthest.offer(_REFUSED, RequestFailure(message, status=response.status, host=response.host))
        return None
    if response.status >= 300:
        raise response.unexpected()
    found = _descriptor(response, digest) or await _read(server, digest, tail, send)
    if found.size > MAX_MANIFEST_BYTES:
        message = f"rejecting {found.size} byte manifest for {name}: not found"
        furthest.offer(_TOO_LARGE, RequestFailure(message, host=response.host))
        return None
    return found


def _descriptor(response: HTTPResponse, digest: str) -> oci.Descriptor | None:
    """The descriptor that the headers give, where they suffice."""
    size = response.length
    claimed = response.header("Docker-Content-Digest")
    if size is None or not (digest or claimed):
        return None
    if not digest and (wrong := digests.digest_error(claimed)):
        raise RequestFailure(f'"{claimed}" in header not a valid digest: {wrong}', host=response.host)
    return oci.Descriptor(_media_type(response), digest or claimed, size)


async def _read(server: Endpoint, digest: str, tail: str, send: Send) -> oci.Descriptor:
    response = await send(server, "GET", tail, last=True)
    if response.status >= 300:
        response.drop()
        raise response.unexpected()
    media_type = _media_type(response)
    if not digest and media_type == _SCHEMA1:
        response.drop()
        raise RequestFailure(_NO_SCHEMA1, host=response.host)
    data = await response.body(MAX_MANIFEST_BYTES + 1)
    return oci.Descriptor(media_type, digest or digests.sha256(data), len(data))


def _media_type(response: HTTPResponse) -> str:
    found = response.header("Content-Type").partition(";")[0]
    return _SCHEMA1 if found == "text/plain" else found


async def _details(server: Endpoint, tail: str, send: Send, *, last: bool) -> str:
    """What the registry says about a refusal: a second request, as the response to HEAD has no body."""
    try:
        response = await send(server, "GET", tail, last=last)
        return error_details(await response.body(_MAX_ERROR_BYTES))
    except RequestFailure:
        return ""


def error_details(body: bytes) -> str:
    """The errors in a registry's response, each on a line of its own as containerd writes them: ``denied: requested …``."""
    try:
        tree = scanner.parse(body)
    except DocumentError:
        return ""
    errors = dict(tree).get("errors") if type(tree) is scanner.Pairs else None
    lines = [
        f"{str(fields.get('code', '')).replace('_', ' ').lower()}: {fields.get('message', '')}"
        for fields in (scanner.scalars(one) for one in errors or () if type(one) is scanner.Pairs)
    ]
    return "".join(f"\n{line}" for line in (lines if len(lines) < 2 else ["errors:", *lines]))
