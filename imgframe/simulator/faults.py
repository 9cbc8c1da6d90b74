"""Faults on demand: which calls of which node fail, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import grpc

from imgframe.errors import InputError
from imgframe.simulator.store import Store


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault in every call that matches ``call``, ``node`` and ``subject``.

    Conditions:
        call: ``Images/List``, or ``*`` for every call.
        node: name of a node; empty matches all.
        subject: text in the request, such as a digest, key or name; empty matches all.
        after: number of matching calls before the first fault.
        times: number of faults; None: no limit.

    Effects, in this order:
        change: called with the :class:`~imgframe.simulator.store.Store` of the node before the call is served.
        delay: of the call [s].
        hang: the call is never answered.
        die: the daemon dies during the call; its socket is closed and removed.
        code: name of the gRPC status with which the call fails, with ``details``.
        messages: number of messages that a stream sends before it fails with ``code``, or UNAVAILABLE.

    Raises:
        InputError: unknown gRPC status.

    Example:
        >>> from imgframe import simulator
        >>> simulator.Fault(call="Content/Read", code="UNAVAILABLE", times=2).times
        2
    """

    call: str = "*"
    node: str = ""
    subject: str = ""
    after: int = 0
    times: int | None = None
    change: Callable[[Store], object] | None = None
    delay: float = 0.0
    hang: bool = False
    die: bool = False
    code: str = ""
    details: str = "the simulator was told to fail here"
    messages: int | None = None

    def __post_init__(self) -> None:
        if self.code and self.code not in grpc.StatusCode.__members__:
            known = ", ".join(grpc.StatusCode.__members__)
            raise InputError(f"{self.code!r} is not a gRPC status; expected one of {known}")

    def status(self) -> tuple[grpc.StatusCode, str]:
        """Status and text of the failure."""
        if self.code:
            return grpc.StatusCode[self.code], self.details
        return grpc.StatusCode.UNAVAILABLE, "Socket closed"


class Faults:
    """The faults of a node, with the number of matching calls of each."""

    def __init__(self, faults: Iterable[Fault], node: str) -> None:
        self._seen = {fault: 0 for fault in faults if fault.node in {"", node}}

    def of_call(self, call: str, request: bytes) -> Iterator[Fault]:
        """The faults of a call, in the given order."""
        for fault, seen in self._seen.items():
            if fault.call not in {"*", call} or fault.subject.encode() not in request:
                continue
            self._seen[fault] = seen + 1
            if seen >= fault.after and (fault.times is None or seen < fault.after + fault.times):
                yield fault
