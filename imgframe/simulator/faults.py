"""Faults on demand: which call of which node fails, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import grpc

from imgframe.errors import InputError
from imgframe.simulator.store import Store


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong, in every call that fits ``call``, ``node`` and ``subject``.

    What fits:
        call: ``Images/List``, or ``*`` for every call.
        node: name of a node; empty fits all.
        subject: text that the request must contain, such as a digest, key or name; empty fits all.
        after: so many fitting calls pass untouched first.
        times: and so many are struck; None: all that follow.

    What happens, in this order, each only if given:
        change: is called with the :class:`~imgframe.simulator.store.Store` of the node before the call is served.
        delay: the call is held back so many seconds.
        hang: the call is never answered.
        die: the daemon goes away in the middle of the call; its socket is closed and removed.
        code: a gRPC status name; the call fails with it and with ``details``.
        messages: a stream sends so many messages first, then fails with ``code`` or breaks off (UNAVAILABLE).

    Raises:
        InputError: a status name that gRPC does not know.

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
        """Code and text with which the call fails."""
        if self.code:
            return grpc.StatusCode[self.code], self.details
        return grpc.StatusCode.UNAVAILABLE, "Socket closed"


class Faults:
    """The faults of one node, each with its count of fitting calls."""

    def __init__(self, faults: Iterable[Fault], node: str) -> None:
        self._seen = {fault: 0 for fault in faults if fault.node in {"", node}}

    def striking(self, call: str, request: bytes) -> Iterator[Fault]:
        """The faults that strike this call, in the order given."""
        for fault, seen in self._seen.items():
            if fault.call not in {"*", call} or fault.subject.encode() not in request:
                continue
            self._seen[fault] = seen + 1
            if seen >= fault.after and (fault.times is None or seen < fault.after + fault.times):
                yield fault
