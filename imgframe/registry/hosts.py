"""The servers of a registry: from ``hosts.toml`` directories, and the defaults without them.

The decisions are those of containerd's ``config.ConfigureHosts`` as nerdctl calls it.
"""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imgframe.errors import InputError
from imgframe.golang import path, url
from imgframe.registry import urls

log = logging.getLogger("imgframe.registry")

CAPABILITIES = frozenset({"pull", "resolve", "push", "referrers"})


@dataclass(frozen=True, slots=True)
class TLSConfig:
    """TLS settings: files of authorities, pairs of client certificate and key, and whether certificates go unverified."""

    authorities: tuple[str, ...] = ()
    client_pairs: tuple[tuple[str, str], ...] = ()
    skip_verify: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server; ``http_fallback``: plain HTTP if it does not speak TLS."""

    scheme: str
    host: str
    path: str = "/v2"
    capabilities: frozenset[str] = CAPABILITIES
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)  # may hold secrets
    tls: TLSConfig = TLSConfig()
    http_fallback: bool = False


@dataclass(frozen=True, slots=True)
class _HostEntry:
    """A host as its file configures it; ``skip_verify`` None: not set."""

    scheme: str = ""
    host: str = ""
    path: str = ""
    capabilities: frozenset[str] = CAPABILITIES
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    authorities: tuple[str, ...] | None = None
    client_pairs: tuple[tuple[str, str], ...] | None = None
    skip_verify: bool | None = None

    @property
    def has_tls(self) -> bool:
        return any(one is not None for one in (self.authorities, self.client_pairs, self.skip_verify))


class _Malformed(ValueError):  # noqa: N818 -- never leaves this module
    """The file cannot be used; it is logged and ignored, as containerd does."""


def endpoints(
    host: str,
    hosts_dirs: Iterable[str | os.PathLike[str]] = (),
    *,
    insecure: bool = False,
    plain_http: bool = False,
) -> list[Endpoint]:
    """The servers of a registry, mirrors first.

    Plain HTTP is used for the local machine only (``localhost``, 127.0.0.0/8, ``::1``), or with ``plain_http``, or where
    a file says so; with ``insecure`` certificates are not verified. A file that cannot be read is logged and ignored.

    Raises:
        InputError: the address or a certificate cannot be used; ``go`` is Go's message.

    Example:
        >>> from imgframe.registry import hosts
        >>> [(one.scheme, one.host, one.path) for one in hosts.endpoints("docker.io")]
        [('https', 'registry-1.docker.io', '/v2')]
    """
    plain = plain_http or urls.matches_localhost(host)
    address = urls.parse(host)
    folder = directory(address, hosts_dirs)
    entries = _load(folder) if folder is not None else [_HostEntry()]
    if not entries[-1].host:
        scheme, server = "http" if plain else "https", host
        if host == "docker.io":
            scheme, server = "https", "registry-1.docker.io"
        entries[-1] = replace(entries[-1], scheme=scheme, host=server, path="/v2", capabilities=CAPABILITIES)
    return [_endpoint(entry, insecure=insecure and not plain) for entry in entries]


def _endpoint(entry: _HostEntry, *, insecure: bool) -> Endpoint:
    _check_certificates(entry)
    skip = insecure if entry.skip_verify is None else entry.skip_verify
    tls = TLSConfig(entry.authorities or (), entry.client_pairs or (), skip)
    port = url.Address(entry.scheme, entry.host, entry.path, "").port
    falls_back = entry.scheme == "http" and (insecure or entry.has_tls) and port != "80"
    scheme = "https" if falls_back else entry.scheme
    return Endpoint(
        scheme, entry.host, entry.path, entry.capabilities, entry.headers, tls, http_fallback=falls_back
    )


def directory(address: urls.RegistryURL, hosts_dirs: Iterable[str | os.PathLike[str]]) -> Path | None:
    """The folder of a registry: ``host_port_``, ``host:port`` or ``_default``, then without port 443."""
    roots = [Path(one) for one in hosts_dirs]
    names = [address.host] if address.port != urls.HTTPS_PORT else [address.host, address.hostname]
    if address.host == "index.docker.io:443":
        names = ["docker.io"]
    for name in names:
        for root in roots:
            for wanted in dict.fromkeys((_without_colon(name), name, "_default")):
                if "/" not in wanted and wanted not in {"", ".", ".."} and (root / wanted).is_dir():
                    return root / wanted
    return None


def _without_colon(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return f"{name}_{port}_" if colon and port.isdigit() else host


def _load(folder: Path) -> list[_HostEntry]:
    file = folder / "hosts.toml"
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        data = b""
    if data:
        try:
            return _read(folder, data)
        except (_Malformed, url.Unparsable, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            log.warning("%s cannot be used and is ignored: %s", file, error)
    return [_from_certificates(folder)]


def _from_certificates(folder: Path) -> _HostEntry:
    """Docker's own layout: ``*.crt`` are authorities, ``*.cert`` and ``*.key`` client pairs."""
    files = sorted(one for one in folder.iterdir() if one.is_file())
    pairs = [
        (str(one), str(key) if (key := one.with_suffix(".key")).exists() else "")
        for one in files
        if one.suffix == ".cert"
    ]
    authorities = [str(one) for one in files if one.suffix == ".crt"]
    return _HostEntry(authorities=tuple(authorities) or None, client_pairs=tuple(pairs) or None)


def _read(folder: Path, data: bytes) -> list[_HostEntry]:
    tree = tomllib.loads(data.decode())
    mirrors = _typed(tree, "host", dict, {})
    entries = [_entry(folder, server, settings) for server, settings in mirrors.items()]
    return [*entries, _entry(folder, _typed(tree, "server", str, ""), tree)]


def _typed(settings: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    value = settings.get(key, default)
    if type(value) is not kind and value is not default:
        raise _Malformed(f"{key} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _entry(folder: Path, server: str, settings: Any) -> _HostEntry:
    if not isinstance(settings, dict):
        raise _Malformed(f"host {server!r} is no table")
    named = {value.lower() for value in _texts(settings.get("capabilities", []), "capabilities")}
    if unknown := named - CAPABILITIES:
        raise _Malformed(f"unknown capability {min(unknown)}")
    _typed(settings, "dial_timeout", str, "")
    override = _typed(settings, "override_path", bool, False)
    scheme, host, path = _server(server, override=override) if server else ("", "", "")
    header = _typed(settings, "header", dict, {})
    authorities = settings.get("ca")
    absolute = _absolute(folder)
    return _HostEntry(
        scheme,
        host,
        path,
        frozenset(named) or CAPABILITIES,
        {name: _texts(value, f"header {name}") for name, value in header.items()},
        None if authorities is None else tuple(map(absolute, _texts(authorities, "ca"))),
        _pairs(settings.get("client"), absolute),
        _typed(settings, "skip_verify", bool, None),
    )


def _server(server: str, *, override: bool) -> tuple[str, str, str]:
    found = url.parse(server if server.startswith("http") else f"https://{server}")
    root = path.clean(found.path) if found.path else ""
    if not override and not root.endswith("/v2"):
        root += "/v2"
    return found.scheme, found.host, root


def _texts(value: Any, what: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) and what != "capabilities" else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise _Malformed(f"{what} is neither text nor a list of texts")
    return tuple(values)


def _absolute(folder: Path) -> Callable[[str], str]:
    return lambda path: str(folder / path)


def _pairs(value: Any, absolute: Callable[[str], str]) -> tuple[tuple[str, str], ...] | None:
    if value is None:
        return None
    pairs = []
    for one in value if isinstance(value, list) else [value]:
        texts = _texts(one, "client")
        if len(texts) != (1 if isinstance(one, str) else 2):
            raise _Malformed("client is neither a file nor pairs of files")
        pairs.append((absolute(texts[0]), absolute(texts[1]) if len(texts) > 1 else ""))
    return tuple(pairs)


def _check_certificates(entry: _HostEntry) -> None:
    for file in entry.authorities or ():
        if b"-----BEGIN CERTIFICATE-----" not in _bytes(file, "CA cert"):
            raise _refused(f'unable to load CA cert "{file}"')
    for certificate, key in entry.client_pairs or ():
        for file in filter(None, (certificate, key)):
            if b"-----BEGIN " not in _bytes(file, "CERT file"):
                what = "certificate" if file == certificate else "key"
                problem = f"tls: failed to find any PEM data in {what} input"
                raise _refused(f"failed to load X509 key pair: {problem}")


def _bytes(file: str, what: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise _refused(f'unable to read {what} "{file}": open {file}: {reason}') from None


def _refused(go: str) -> InputError:
    return InputError(go, go=go)
