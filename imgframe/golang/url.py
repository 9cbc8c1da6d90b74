"""URLs as Go's net/url parses them, with its messages for those it refuses.

Python's own parser accepts blanks and lower-cases hosts; which registry is contacted, and with whose credentials, must be
decided exactly as in Go.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from dataclasses import dataclass

from imgframe.golang import utf8
from imgframe.golang.strconv import quote

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BAD_HOST = re.compile(r"""[^A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>"%\x80-\U0010FFFF]""")
_HOST_PIECE = re.compile(rf"%|{_BAD_HOST.pattern}")
_USER = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PORT = re.compile(r"(?::[0-9]*)?")
_HEX = re.compile(r"[0-9a-fA-F]{2}")


class Unparsable(ValueError):  # noqa: N818 -- never leaves this room
    """The message is Go's: ``parse "ADDRESS": …``."""


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
        >>> from imgframe.golang import url
        >>> url.parse("https://[::1]:5000/v2?ns=x")
        Address(scheme='https', host='[::1]:5000', path='/v2', query='ns=x')
    """
    raw, _, fragment = text.partition("#")
    try:
        found = _parse(raw)
    except Unparsable as problem:
        raise Unparsable(f"parse {quote(raw)}: {problem}") from None
    try:
        _unescaped(fragment)
    except Unparsable as problem:
        raise Unparsable(f"parse {quote(text)}: {problem}") from None
    return found


def _parse(raw: str) -> Address:
    if any(char < " " or char == "\x7f" for char in raw):
        raise Unparsable("net/url: invalid control character in URL")
    if raw.startswith(":"):
        raise Unparsable("missing protocol scheme")
    found = _SCHEME.match(raw)
    scheme = found[1].lower() if found else ""
    rest, _, query = (raw[found.end() :] if found else raw).partition("?")
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
        host = _host(scheme, host)
        if at and not _USER.fullmatch(user):
            raise Unparsable("net/url: invalid userinfo")
        for part in user.split(":", 1):
            _unescaped(part)
    return Address(scheme, host, _unescaped(rest), query)


def _host(scheme: str, host: str) -> str:
    """Host and port, unescaped; brackets hold an IPv6 address."""
    opened, closed = host.rfind("["), host.rfind("]")
    if opened > 0:
        raise Unparsable("invalid IP-literal")
    if opened == 0:
        if closed < 0:
            raise Unparsable("missing ']' in host")
        port = host[closed + 1 :]
    else:  # more than one colon is an error of http and https only
        colon = host.find(":") if scheme in {"http", "https"} else host.rfind(":")
        port = host[colon:] if colon >= 0 else ""
    if not _PORT.fullmatch(port):
        raise Unparsable(f"invalid port {quote(port)} after host")
    return f"[{_literal(host[1:closed])}]{port}" if opened == 0 else _unescaped_host(host)


def _literal(text: str) -> str:
    at = text.find("%25")
    name = _unescaped_host(text if at < 0 else text[:at])
    if at >= 0:
        name += _unescaped_host(text[at:], zone=True)
    try:
        ipaddress.IPv6Address(name)
    except ValueError as error:
        if re.fullmatch(r"[0-9]+(?:\.[0-9]+){3}", name):
            raise Unparsable("invalid IP-literal") from None
        problem = _address_error(name, str(error))
        raise Unparsable(f"invalid host: ParseAddr({quote(name)}): {problem}") from None
    return name


def _address_error(name: str, error: str) -> str:
    """Go's message (``netip.ParseAddr``) for what is usually wrong with an address; for the rest that of ipaddress."""
    if not re.search(r"[.:%]", name):
        return "unable to parse IP"
    if error.startswith("At least"):
        return "address string too short"
    if "(> 255)" in error:
        return "IPv4 field has value >255"
    if found := re.match(r"Only hex digits permitted in '([^0-9a-fA-F'][^']*)'", error):
        rest = name[name.index(found[1]) :]
        return f"each colon-separated field must have at least one digit (at {quote(rest)})"
    return error


def _unescaped_host(text: str, *, zone: bool = False) -> str:
    """Escapes are allowed for non-ASCII bytes, in a zone for blanks and what hosts may contain, and as ``%25`` anywhere."""
    for found in _HOST_PIECE.finditer(text):
        piece = found[0]
        if piece == "%":
            escape = _escape(text, found.start())
            char = chr(int(escape[1:], 16))
            allowed = (
                char == " " or (char.isascii() and not _BAD_HOST.match(char)) if zone else char >= "\x80"
            )
            if escape != "%25" and not allowed:
                raise Unparsable(f"invalid URL escape {quote(escape)}")
        elif piece:
            raise Unparsable(f"invalid character {quote(piece)} in host name")
    return utf8.decode(urllib.parse.unquote_to_bytes(text))


def _escape(text: str, at: int) -> str:
    """The escape at the offset, three characters."""
    escape = text[at : at + 3]
    if not _HEX.fullmatch(escape[1:]):
        cut = escape.encode("utf-8", "surrogatepass")[:3].decode("utf-8", "surrogateescape")  # Go cuts bytes
        shown = "".join(
            f"\\x{ord(char) & 0xFF:02x}" if "\udc80" <= char <= "\udcff" else quote(char)[1:-1]
            for char in cut
        )
        raise Unparsable(f'invalid URL escape "{shown}"')
    return escape


def _unescaped(path: str) -> str:
    for found in re.finditer("%", path):
        _escape(path, found.start())
    return utf8.decode(urllib.parse.unquote_to_bytes(path))


def first_value(query: str, name: str) -> str:
    """The first value of a query's parameter (url.Values.Get): parts with ``;`` or a bad escape do not count."""
    for part in query.split("&"):
        key, _, value = part.partition("=")
        if ";" in part or any(not _HEX.match(part, at.end()) for at in re.finditer("%", part)):
            continue
        if urllib.parse.unquote_plus(key) == name:
            return urllib.parse.unquote_plus(value)
    return ""
