"""Translation of gRPC's errors into imgframe's: which call failed, at which address, and what to do.

containerd sends a code and a text, never details; a reference locked by another writer is UNAVAILABLE like a dead daemon,
and only the text tells them apart.
"""

from __future__ import annotations

import grpc

from imgframe.errors import Conflict, Missing, Refused, TimedOut, Unreachable, WireError

_KINDS: dict[grpc.StatusCode, type[WireError]] = {  # every other is Refused
    grpc.StatusCode.CANCELLED: Unreachable,
    grpc.StatusCode.UNAVAILABLE: Unreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOut,
    grpc.StatusCode.NOT_FOUND: Missing,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.ABORTED: Conflict,
}


def kind_of(code: grpc.StatusCode, details: str) -> type[WireError]:
    """The class of the error for a status.

    Example:
        >>> kind_of(grpc.StatusCode.UNAVAILABLE, "ref default/1/x locked for 5ms (since ...)").__name__
        'Conflict'
    """
    if code is grpc.StatusCode.UNAVAILABLE and " locked for " in details:
        return Conflict
    if code is grpc.StatusCode.NOT_FOUND and details.startswith("image ") and " has target " in details:
        return Conflict
    if code is grpc.StatusCode.UNKNOWN and "context deadline exceeded" in details:
        return TimedOut  # containerd's own deadline was earlier
    if code is grpc.StatusCode.CANCELLED and "RST_STREAM with error code 8" in details:
        return TimedOut  # containerd resets a stream at the call's deadline, and that arrived before our timer rang
    return _KINDS.get(code, Refused)


def translate(error: grpc.RpcError, address: str, call: str, seconds: float) -> WireError:
    """The error for a failed call.

    Args:
        error: as raised by gRPC (an ``AioRpcError``).
        address: of the node.
        call: such as ``Images/List``.
        seconds: deadline of the call.
    """
    code, details = error.code(), error.details() or ""
    kind = kind_of(code, details)
    if kind is TimedOut:
        message = f"{call} at {address}: no answer within {seconds:g} s; is the daemon overloaded? Give it a longer timeout"
    elif kind is Unreachable:
        message = f"{call} at {address}: the connection to containerd was lost ({details or code.name}); is it running?"
    elif code is grpc.StatusCode.UNIMPLEMENTED:
        message = f"{call} at {address}: this containerd does not have that call ({details})"
    else:
        message = f"{call} at {address}: {details or 'no reason given'} ({code.name})"
    return kind(message, address=address, call=call, code=code.name)
