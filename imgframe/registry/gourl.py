"""Addresses as Go's net/url takes them apart, with its words for what it refuses.

Python's own parser is too kind and too eager (it accepts blanks, folds hosts): which registry is asked, and with whose
credentials, must be decided exactly as Go decides it.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from imgframe._gotext import quote

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_BAD_HOST = re.compile(r"""[^A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>"%\x80-\U0010FFFF]""")
_USER = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PORT = re.compile(r"(?::[0-9]*)?")
_HEX = re.compile(r"[0-9a-fA-F]{2}")


class Unparsable(ValueError):  # noqa: N818 -- never leaves this room
    """Go's words: ``parse "ADDRESS": …``."""


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address; ``host`` has the port, user information is dropped."""

    scheme: str
    host: str
    path: str
    query: str

    @property
    def hostname(self) -> str:
        """The host without port and brackets."""
        return _split(self.host)[0]

    @property
    def port(self) -> str:
        """The port as written; empty if there is none."""
        return _split(self.host)[1]


def _split(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    if not colon or not (port == "" or (port.isascii() and port.isdigit())):
        name, port = host, ""
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    return name, port


def parse(text: str) -> Address:
    """The address; raises :class:`Unparsable` where Go refuses it.

    Example:
        >>> from imgframe.registry import gourl
        >>> gourl.parse("https://[::1]:5000/v2?ns=x")
        Address(scheme='https', host='[::1]:5000', path='/v2', query='ns=x')
    """
    raw = text.partition("#")[0]
    try:
        return _parse(raw)
    except Unparsable as problem:
        raise Unparsable(f"parse {quote(raw)}: {problem}") from None


def _parse(raw: str) -> Address:
    if any(char < " " or char == "\x7f" for char in raw):
        raise Unparsable("net/url: invalid control character in URL")
    scheme, rest = _scheme(raw)
    rest, _, query = rest.partition("?")
    if not rest.startswith("/"):
        if scheme:  # opaque, such as mailto:x
            return Address(scheme, "", "", query)
        if ":" in rest.partition("/")[0]:
            raise Unparsable("first path segment in URL cannot contain colon")
    host = ""
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, rest = rest[2:].partition("/")
        rest = slash + rest
        user, at, host = authority.rpartition("@")
        if at and not _USER.fullmatch(user):
            raise Unparsable("net/url: invalid userinfo")
        host = _host(host)
    return Address(scheme, host, _unescaped(rest), query)


def _scheme(raw: str) -> tuple[str, str]:
    if raw.startswith(":"):
        raise Unparsable("missing protocol scheme")
    found = _SCHEME.match(raw)
    if found and raw[found.end() : found.end() + 1] == ":":
        return found[0].lower(), raw[found.end() + 1 :]
    return "", raw


def _host(host: str) -> str:
    if "[" in host:
        end = host.rfind("]")
        if end < 0:
            raise Unparsable("missing ']' in host")
        port = host[end + 1 :]
        if not _PORT.fullmatch(port):
            raise Unparsable(f"invalid port {quote(port)} after host")
        zone = host[:end].find("%25")
        if zone >= 0:
            _check_host(host[:zone])
            return host[:zone] + urllib.parse.unquote(host[zone:end]) + host[end:]
    elif (colon := host.find(":")) >= 0 and not _PORT.fullmatch(host[colon:]):
        raise Unparsable(f"invalid port {quote(host[colon:])} after host")
    _check_host(host)
    return urllib.parse.unquote(host)


def _check_host(host: str) -> None:
    for found in re.finditer("%", host):
        escape = host[found.start() : found.start() + 3]
        if not _HEX.fullmatch(escape[1:]) or (escape != "%25" and int(escape[1], 16) < 8):
            raise Unparsable(f"invalid URL escape {quote(escape)}")
    if wrong := _BAD_HOST.search(host):
        raise Unparsable(f"invalid character {quote(wrong[0])} in host name")


def _unescaped(path: str) -> str:
    for found in re.finditer("%", path):
        escape = path[found.start() : found.start() + 3]
        if not _HEX.fullmatch(escape[1:]):
            raise Unparsable(f"invalid URL escape {quote(escape)}")
    return urllib.parse.unquote(path)


def first_value(query: str, name: str) -> str:
    """The first value of a query's parameter (url.Values.Get): parts with ``;`` or a bad escape do not count."""
    for part in query.split("&"):
        key, _, value = part.partition("=")
        if ";" in part or any(not _HEX.match(part, at.end()) for at in re.finditer("%", part)):
            continue
        if urllib.parse.unquote_plus(key) == name:
            return urllib.parse.unquote_plus(value)
    return ""


def split_host_port(text: str) -> tuple[str, str]:
    """Host and port of ``host:port`` (net.SplitHostPort); raises :class:`Unparsable` with Go's words."""
    last = text.rfind(":")
    if last < 0:
        raise Unparsable(f"address {text}: missing port in address")
    if text.startswith("["):
        end = text.find("]")
        if end < 0:
            raise Unparsable(f"address {text}: missing ']' in address")
        if end + 1 != last:
            wrong = "too many colons" if text[end + 1 : end + 2] == ":" else "missing port"
            raise Unparsable(f"address {text}: {wrong} in address")
        host, opened, closed = text[1:end], text[1:], text[end + 1 :]
    else:
        host, opened, closed = text[:last], text, text
        if ":" in host:
            raise Unparsable(f"address {text}: too many colons in address")
    if "[" in opened or "]" in closed:
        raise Unparsable(f"address {text}: unexpected '{'[' if '[' in opened else ']'}' in address")
    return host, text[last + 1 :]
