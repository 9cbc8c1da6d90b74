"""Registry addresses: their canonical form, and the names under which their credentials are looked up.

Decides as nerdctl's ``dockerconfigresolver.RegistryURL`` and containerd's ``docker.MatchLocalhost`` do.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from imgframe.errors import InputError
from imgframe.golang import net, url

HUB = "https://index.docker.io/v1/"
HUB_NAMES = ("index.docker.io", "registry-1.docker.io")
EXPERIMENTAL = "nerdctl-experimental"
HTTPS_PORT = "443"


@dataclass(frozen=True, slots=True)
class RegistryURL(url.Address):
    """The address of a registry, with its port (443 if none was written).

    ``namespace`` is the registry that a mirror serves (``?ns=``).
    """

    namespace: RegistryURL | None = None

    @property
    def canonical(self) -> str:
        """The name under which docker's config keeps its credentials."""
        if f"{self.scheme}://{self.host}{self.path}" == "https://index.docker.io:443/v1/":
            return HUB
        if self.namespace is not None:
            return f"{EXPERIMENTAL}://{self.namespace.canonical}/host/{self.host}{self.path}"
        return self.host

    @property
    def identifiers(self) -> list[str]:
        """Every name under which credentials are looked up, in order."""
        first = self.canonical
        if self.namespace is not None or first == HUB:
            return [first]
        standard = self.port == HTTPS_PORT
        names = [first]
        if standard and self.hostname in HUB_NAMES:
            names.append(HUB)
        names += [f"https://{self.host}", f"http://{self.host}"]
        if standard:
            names += [self.hostname, f"https://{self.hostname}", f"http://{self.hostname}"]
        return names

    @property
    def server_address(self) -> str:
        """The server address that nerdctl stores with credentials."""
        return self.host if self.namespace is None else f"{self.host}{self.path}?{self.query}"


def parse(text: str) -> RegistryURL:
    """The registry that an address names; ``""`` and ``docker.io`` are Docker Hub, http is taken as https.

    Raises:
        InputError: Go refuses the address; ``go`` is its message.

    Example:
        >>> from imgframe.registry import urls
        >>> urls.parse("docker.io").canonical
        'https://index.docker.io/v1/'
        >>> urls.parse("registry.example").identifiers[:2]
        ['registry.example:443', 'https://registry.example:443']
    """
    wanted = HUB if text in {"", "docker.io"} else text
    if "://" not in wanted:
        wanted = f"https://{wanted}"
    try:
        found = url.parse(wanted)
    except url.Unparsable as problem:
        raise _refused(text, f"unparsable registry URL\n{problem}") from None
    scheme = "https" if found.scheme == "http" else found.scheme
    if scheme not in {"https", EXPERIMENTAL}:
        raise _refused(text, "unsupported scheme in registry URL")
    host = found.host if found.port else f"{found.hostname}:{HTTPS_PORT}"
    behind = url.first_value(found.query, "ns")
    return RegistryURL(scheme, host, found.path, found.query, parse(behind) if behind else None)


def matches_localhost(host: str) -> bool:
    """Whether containerd takes ``host`` or ``host:port`` for the local machine, to which it speaks plain HTTP.

    Raises:
        InputError: the text is neither a host nor a host and port; ``go`` is Go's message.
    """
    if host in {"::1", "[::1]"}:
        return True
    try:
        name, port = net.split_host_port(host)
        if not port:
            raise _refused(host, "invalid host name format")
    except net.AddressError as problem:
        if not str(problem).endswith(": missing port in address"):
            raise _refused(host, str(problem)) from None
        name = host
    return is_localhost(name)


def is_localhost(hostname: str) -> bool:
    """Whether the host is ``localhost`` or a loopback address, also one of IPv4 within IPv6."""
    if "%" in hostname:
        return False
    try:
        address = ipaddress.ip_address(hostname)
    except ValueError:
        return hostname == "localhost"
    return bool((getattr(address, "ipv4_mapped", None) or address).is_loopback)


def _refused(text: str, go: str) -> InputError:
    return InputError(f"registry {text!r}: {go}", go=go)
