"""A check of the socket before gRPC connects to it, which tells why it cannot be used.

gRPC reports a missing, a forbidden and a dead socket with the same code, and hangs on a socket that does not speak gRPC,
such as the ``.ttrpc`` socket beside each containerd socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from pathlib import Path
from urllib.parse import quote

from imgframe.errors import Unreachable

# RFC 9113 3.4: a client starts with the connection preface and a SETTINGS frame (here empty), a server with SETTINGS.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_SETTINGS = 4
_LONGEST = 107  # bytes of a socket's path on Linux


def target(path: str) -> str:
    """The gRPC target of a socket's absolute path; gRPC reads a target as a URI.

    Example:
        >>> target("/run/a%41 b.sock")
        'unix:///run/a%2541%20b.sock'
    """
    return "unix://" + quote(path)


async def probe(path: str, timeout: float) -> None:
    """Raises an error of one sentence if the socket cannot be used for gRPC.

    Raises:
        Unreachable: there is no socket, no permission, no listener, or the listener does not speak gRPC.
    """

    def refuse(sentence: str, code: str) -> Unreachable:
        return Unreachable(sentence, address=path, call="connect", code=code)

    if len(os.fsencode(path)) > _LONGEST:
        raise refuse(
            f"{path}: a socket's path may have {_LONGEST} bytes, this one has {len(os.fsencode(path))}; "
            "make a symbolic link with a short name",
            "ENAMETOOLONG",
        )
    try:
        if not _is_socket(path):
            raise refuse(f"{path} is not a socket; give the path of containerd's socket", "ENOTSOCK")
        async with asyncio.timeout(timeout):
            first = await _first_frame(path)
    except FileNotFoundError as error:
        raise refuse(
            f"{path}: no such socket; is containerd running, and is this its address? "
            "(CONTAINERD_ADDRESS, --address)",
            "ENOENT",
        ) from error
    except PermissionError as error:
        raise refuse(
            f"{path}: permission denied; run as root or join the group that owns the socket", "EACCES"
        ) from error
    except ConnectionRefusedError as error:
        raise refuse(
            f"{path}: nobody listens on this socket; is containerd running?", "ECONNREFUSED"
        ) from error
    except TimeoutError as error:
        twin = path.removesuffix(".ttrpc")
        silent = f"no answer within {timeout:g} s"
        if twin != path:
            raise refuse(
                f"{path}: this is not a containerd gRPC socket: {silent}; use {twin}", "TIMEOUT"
            ) from error
        text = f"{path}: {silent}; either containerd hangs (look at its log), or this is not a containerd gRPC socket"
        raise refuse(text, "TIMEOUT") from error
    except OSError as error:
        raise refuse(f"{path}: {error.strerror or error}", str(error.errno)) from error
    if len(first) < 9 or first[3] != _SETTINGS:
        raise refuse(f"{path}: this is not a containerd gRPC socket: its answer is not HTTP/2", "PROTOCOL")


def _is_socket(path: str) -> bool:
    return stat.S_ISSOCK(Path(path).stat().st_mode)


async def _first_frame(path: str) -> bytes:
    """The first nine bytes of the reply to HTTP/2's preface; fewer if the server closes the connection."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(_PREFACE)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            return await reader.readexactly(9)
    except asyncio.IncompleteReadError as error:
        return error.partial
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return b""
