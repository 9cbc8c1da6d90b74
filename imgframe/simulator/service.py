"""Base of the simulated services: their store, the caller, and timestamps."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import grpc

from imgframe.simulator.status import not_found
from imgframe.simulator.store import Store, StoredLease

_SECOND = 10**9
_INVALID = grpc.StatusCode.INVALID_ARGUMENT


class Caller(NamedTuple):
    """Namespace and lease from the headers of a request; empty if not given."""

    namespace: str
    lease: str


class Service:
    """A gRPC service of a store.

    Each method is named like its RPC in lower case, takes the request message and the caller, and returns the reply (None: an
    empty one), or yields the replies of a stream.
    """

    descriptor: ClassVar[Any]
    namespaced: ClassVar[bool] = True
    # status and ending of the message for an invalid filter
    bad_filter: ClassVar[tuple[grpc.StatusCode, str]] = (_INVALID, ": invalid argument: invalid argument")

    def __init__(self, store: Store) -> None:
        self.store = store

    def lease(self, caller: Caller) -> StoredLease | None:
        """The lease of the caller, even if expired: containerd accepts it."""
        if not caller.lease:
            return None
        lease = self.store.space(caller.namespace).leases.get(caller.lease)
        if lease is None:
            raise not_found("lease does not exist")
        return lease


def stamp(message: Any, nanoseconds: int) -> None:
    """Sets a protobuf timestamp."""
    message.seconds, message.nanos = divmod(nanoseconds, _SECOND)
