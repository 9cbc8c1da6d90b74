"""Host and port as Go's package net separates them."""

from __future__ import annotations


class AddressError(ValueError):
    """The message is Go's: ``address TEXT: …``."""


def split_host_port(text: str) -> tuple[str, str]:
    """Host and port of ``host:port`` (net.SplitHostPort); raises :class:`AddressError`."""
    last = text.rfind(":")
    if last < 0:
        raise AddressError(f"address {text}: missing port in address")
    if text.startswith("["):
        end = text.find("]")
        if end < 0:
            raise AddressError(f"address {text}: missing ']' in address")
        if end + 1 != last:
            wrong = "too many colons" if text[end + 1 : end + 2] == ":" else "missing port"
            raise AddressError(f"address {text}: {wrong} in address")
        host, opened, closed = text[1:end], text[1:], text[end + 1 :]
    else:
        host, opened, closed = text[:last], text, text
        if ":" in host:
            raise AddressError(f"address {text}: too many colons in address")
    if "[" in opened or "]" in closed:
        raise AddressError(f"address {text}: unexpected '{'[' if '[' in opened else ']'}' in address")
    return host, text[last + 1 :]
