"""The content service of a simulated store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import grpc

from imgframe import digests
from imgframe._proto import content_pb2 as api
from imgframe.simulator.record_filters import by_name, fields, select
from imgframe.simulator.service import Caller, Service, stamped
from imgframe.simulator.status import (
    Refusal,
    check_labels,
    exists,
    found,
    invalid,
    not_empty,
    precondition,
    updated,
)
from imgframe.simulator.store import Labels, StoredBlob, StoredIngest

BLOCK = 100  # records per message of a listing
CHUNK = 1 << 20  # bytes per message of a read
_DAY = 86_400 * 10**9
_INVALID = grpc.StatusCode.INVALID_ARGUMENT


_BLOB_FIELDS = fields({("digest",): "digest"})
_INGEST_FIELDS = fields({("ref",): "ref"}, ())


def _info(blob: StoredBlob) -> api.Info:
    return stamped(api.Info(digest=blob.digest, size=blob.size, labels=blob.labels), blob)


def _status(ingest: StoredIngest) -> api.Status:
    message = api.Status(ref=ingest.ref, offset=ingest.offset, total=ingest.total)
    return stamped(message, ingest, "started_at", "updated_at")


class ContentService(Service):
    """Blobs and ingests. A layer known by its size only cannot be read."""

    descriptor = api.DESCRIPTOR.services_by_name["Content"]
    bad_filter = (_INVALID, ": invalid argument")

    def info(self, request: api.InfoRequest, caller: Caller) -> api.InfoResponse:
        if digests.digest_error(request.digest):
            raise Refusal(_INVALID, f'"{request.digest}" failed validation')
        return api.InfoResponse(info=_info(self._find(request.digest, caller)))

    def update(self, request: api.UpdateRequest, caller: Caller) -> api.UpdateResponse:
        digest, paths = request.info.digest, list(request.update_mask.paths)
        if digests.digest_error(digest):
            raise Refusal(_INVALID, f'"{digest}" failed validation')
        blob = self._find(digest, caller)
        for path in paths:
            if path != "labels" and not path.startswith("labels."):
                raise invalid(f'cannot update "{path}" field on content info "{digest}"')
        labels = updated(blob.labels, request.info.labels, paths)
        check_labels(labels)
        blob.labels, blob.updated_at = labels, self.store.clock()
        return api.UpdateResponse(info=_info(blob))

    def list(self, request: api.ListContentRequest, caller: Caller) -> Iterator[api.ListContentResponse]:
        content = self.store.space(caller.namespace).content
        rows = select(request.filters, by_name(content), _BLOB_FIELDS)
        for start in range(0, len(rows), BLOCK):
            yield api.ListContentResponse(info=map(_info, rows[start : start + BLOCK]))

    def delete(self, request: api.DeleteContentRequest, caller: Caller) -> None:
        if problem := digests.digest_error(request.digest):
            raise Refusal(_INVALID, problem)
        blob = self._find(request.digest, caller)
        del self.store.namespaces[caller.namespace].content[blob.digest]

    def read(self, request: api.ReadContentRequest, caller: Caller) -> Iterator[api.ReadContentResponse]:
        if problem := digests.digest_error(request.digest):
            raise Refusal(_INVALID, f"{request.digest}: {problem}")
        blob = self._find(request.digest, caller)
        data = self.store.read(blob.digest)
        if data is None:
            text = f"content digest {blob.digest}: the simulator knows only the size of this blob"
            raise Refusal(grpc.StatusCode.UNIMPLEMENTED, text)
        offset = max(request.offset, 0)
        if offset > len(data):
            raise Refusal(grpc.StatusCode.OUT_OF_RANGE, f"read past object length {len(data)} bytes")
        end = offset + request.size if 0 < request.size < len(data) - offset else len(data)
        for start in range(offset, end, CHUNK):
            # offsets of replies are relative to that of the request
            yield api.ReadContentResponse(offset=start - offset, data=data[start : min(start + CHUNK, end)])

    def status(self, request: api.StatusRequest, caller: Caller) -> api.StatusResponse:
        problem = f'could not get status for ref "{request.ref}": '
        return api.StatusResponse(status=_status(self._ingest(request.ref, caller, problem)))

    def liststatuses(self, request: api.ListStatusesRequest, caller: Caller) -> api.ListStatusesResponse:
        ingests = self.store.space(caller.namespace).ingests
        rows = select(request.filters, by_name(ingests), _INGEST_FIELDS)
        return api.ListStatusesResponse(statuses=map(_status, rows))

    def abort(self, request: api.AbortRequest, caller: Caller) -> None:
        ingest = self._ingest(request.ref, caller)
        del self.store.namespaces[caller.namespace].ingests[ingest.ref]

    async def write(
        self, requests: AsyncIterator[api.WriteContentRequest], caller: Caller
    ) -> AsyncIterator[api.WriteContentResponse]:
        ingest, reply = None, None
        total, expected = 0, ""
        try:
            async for request in requests:
                total, expected = request.total or total, request.expected or expected
                if ingest is None:
                    ingest = self._open(request, caller)
                reply = api.WriteContentResponse(action=request.action)
                if request.action == api.STAT:
                    reply.total = total
                else:
                    self._take(ingest, request)
                if request.action == api.COMMIT:
                    self._commit(ingest, request.labels, caller, total, expected)
                reply.offset = ingest.offset
                stamped(reply, ingest, "started_at", "updated_at")
                if ingest.data:
                    reply.digest = digests.sha256(ingest.data)
                yield reply
                if request.action == api.COMMIT:
                    break
            if reply is not None:
                yield reply  # containerd sends the last one twice
        finally:
            if ingest is not None:
                ingest.locked = False

    def _find(self, digest: str, caller: Caller) -> StoredBlob:
        return found(self.store.space(caller.namespace).content, digest, f"content digest {digest}")

    def _ingest(self, ref: str, caller: Caller, problem: str = "") -> StoredIngest:
        return found(self.store.space(caller.namespace).ingests, ref, f"{problem}reference {ref}")

    def _open(self, request: api.WriteContentRequest, caller: Caller) -> StoredIngest:
        """The ingest of a stream's first message, started or resumed, and locked."""
        if not request.ref:
            raise Refusal(_INVALID, "first message must have a reference")
        lease = self.lease(caller)
        space = self.store.writable(caller.namespace)
        if request.expected in space.content:
            self.hold(caller, "content", request.expected)
            raise exists(f"content {request.expected}")
        now = self.store.clock()
        ingest = space.ingests.get(request.ref)
        if ingest is None:
            expires = None if lease else now + _DAY
            ingest = StoredIngest(request.ref, 0, request.total, now, now, expires, request.expected)
            shared = self.store.read(request.expected) if request.expected else None
            if shared is not None:  # another namespace has it: no bytes need to be sent
                ingest.data, ingest.offset, ingest.total = bytearray(shared), len(shared), len(shared)
            space.ingests[request.ref] = ingest
            self.hold(caller, "ingests", request.ref)
        elif ingest.locked:
            since = datetime.fromtimestamp(ingest.updated_at / 1e9, UTC)
            held = (now - ingest.updated_at) / 1e9
            text = (
                f"ref {caller.namespace}/1/{request.ref} locked for {held:.9g}s (since {since}): unavailable"
            )
            raise Refusal(grpc.StatusCode.UNAVAILABLE, text)
        elif request.total and ingest.total and request.total != ingest.total:
            ingest.data.clear()  # containerd starts over if the total differs
            ingest.offset, ingest.total = 0, request.total
        ingest.locked = True
        return ingest

    def _take(self, ingest: StoredIngest, request: api.WriteContentRequest) -> None:
        if request.offset == 0:
            ingest.data.clear()
            ingest.offset = 0
        elif request.offset != ingest.offset:
            text = f"write @{request.offset} must occur at current offset {ingest.offset}"
            raise Refusal(grpc.StatusCode.OUT_OF_RANGE, text)
        ingest.data += request.data
        ingest.offset = len(ingest.data)
        ingest.updated_at = self.store.clock()

    def _commit(
        self, ingest: StoredIngest, labels: Labels, caller: Caller, total: int, expected: str
    ) -> None:
        digest = digests.sha256(ingest.data)
        if total and total != ingest.offset:
            raise precondition(f'"{ingest.ref}" failed size validation: {ingest.offset} != {total}')
        if expected and expected != digest:
            raise precondition(f"unexpected commit digest {digest}, expected {expected}")
        check_labels(labels, "info.Labels: ")
        self.lease(caller)
        space = self.store.writable(caller.namespace)
        del space.ingests[ingest.ref]
        self.hold(caller, "content", digest)
        for each in space.leases.values():
            each.resources.pop(("ingests", ingest.ref), None)
        if digest in space.content:
            raise exists(f"content {digest}")
        now = self.store.clock()
        space.content[digest] = StoredBlob(digest, ingest.offset, not_empty(labels), now, now)
        self.store.bytes_of[digest] = bytes(ingest.data)
