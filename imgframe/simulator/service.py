"""What every simulated service shares: its store, who calls, and times on the wire."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import grpc

from imgframe.simulator.status import not_found
from imgframe.simulator.store import Store, StoredLease

_SECOND = 10**9
_INVALID = grpc.StatusCode.INVALID_ARGUMENT


class Caller(NamedTuple):
    """Who calls: the namespace and the lease of the request's headers; empty where not given."""

    namespace: str
    lease: str


class Service:
    """One gRPC service of one store.

    Each call is a method with the name of the RPC in small letters: it takes the request message and the caller and gives
    the reply (None: an empty one), or yields replies where the RPC streams.
    """

    descriptor: ClassVar[Any]
    namespaced: ClassVar[bool] = True
    # what a bad filter is answered: code, and how the text ends
    bad_filter: ClassVar[tuple[grpc.StatusCode, str]] = (_INVALID, ": invalid argument: invalid argument")

    def __init__(self, store: Store) -> None:
        self.store = store

    def lease(self, caller: Caller) -> StoredLease | None:
        """The lease that the caller writes under; an expired one counts, containerd accepts it silently."""
        if not caller.lease:
            return None
        lease = self.store.space(caller.namespace).leases.get(caller.lease)
        if lease is None:
            raise not_found("lease does not exist")
        return lease


def stamp(message: Any, nanoseconds: int) -> None:
    """Set a protobuf timestamp."""
    message.seconds, message.nanos = divmod(nanoseconds, _SECOND)
