"""Base of the simulated services: their store, the caller, and timestamps."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import grpc

from imgframe.simulator.status import found
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
        leases = self.store.space(caller.namespace).leases
        return found(leases, caller.lease, "lease does not exist") if caller.lease else None

    def hold(self, caller: Caller, kind: str, key: str) -> None:
        """Adds a resource to the lease of the caller, if there is one."""
        if (lease := self.lease(caller)) is not None:
            lease.resources[kind, key] = None


def stamped(message: Any, record: Any, *names: str) -> Any:
    """The message with the times of a record: by default those of creation and change."""
    for name in names or ("created_at", "updated_at"):
        stamp = getattr(message, name)
        stamp.seconds, stamp.nanos = divmod(getattr(record, name), _SECOND)
    return message
