"""Docker's ``config.json``, read and refused as Go's encoding/json and docker's own code read it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgframe.errors import DocumentError, InputError
from imgframe.golang import base64 as gobase64
from imgframe.golang import utf8
from imgframe.golang.json import scanner
from imgframe.golang.json.decoder import Kind, List, Map, Struct, Text, decode

UNUSABLE = "unable to instantiate docker credentials store"


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """The credentials of one server in the file; hidden in the repr."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return any((self.username, self.password, self.identity_token, self.registry_token))


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """The parts of the file that are about credentials."""

    auths: dict[str, AuthConfig] = field(default_factory=dict, repr=False)
    helpers: dict[str, str] = field(default_factory=dict)
    store: str = ""

    def helper_for(self, server: str) -> str:
        """The helper that keeps the credentials of a server; empty: the file itself does."""
        return self.helpers.get(server, self.store)

    def auth(self, server: str) -> AuthConfig:
        """The file's own credentials of a server, by its name or else by the host in a name; empty if there are none."""
        if server in self.auths:
            return self.auths[server]
        return next((one for name, one in self.auths.items() if _host(name) == server), AuthConfig())


def _host(name: str) -> str:
    for scheme in ("http://", "https://"):
        if name.startswith(scheme):
            name = name.removeprefix(scheme)
            break
    return name.partition("/")[0]


def location(path: str | os.PathLike[str] | None = None) -> Path:
    """The file: ``path`` (or ``config.json`` in that folder), else in ``$DOCKER_CONFIG``, else in ``~/.docker``."""
    if path is None:
        folder = os.environ.get("DOCKER_CONFIG")
        return (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    chosen = Path(path)
    return chosen / "config.json" if chosen.is_dir() else chosen


def load(file: Path) -> DockerConfig:
    """The configuration; an absent or empty file is an empty one.

    Raises:
        InputError: the file, or any ``auth`` in it, cannot be read; ``go`` is Go's message.
    """
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return DockerConfig()
    except OSError as problem:
        raise _unusable(file, (problem.strerror or "cannot be read").lower()) from None
    try:
        return _read(_first_value(data))
    except DocumentError as problem:
        raise _unusable(file, str(problem)) from None


def _unusable(file: Path, words: str) -> InputError:
    go = f"{UNUSABLE}\nparsing config file ({file}): {words}"
    return InputError(go, go=go)


def _first_value(data: bytes) -> Any:
    """The tree of the first JSON value; the rest is ignored (``json.Decoder``)."""
    if not data.strip(b" \t\r\n"):
        return None
    try:
        return scanner.parse(data)
    except DocumentError as problem:
        if str(problem).endswith("after top-level value"):
            text = data.decode("utf-8", "replace")
            start = len(text) - len(text.lstrip(" \t\r\n"))
            return scanner.parse(text[: json.JSONDecoder().raw_decode(text, start)[1]].encode())
        if str(problem) == "unexpected end of JSON input":
            raise DocumentError("unexpected EOF") from None
        raise


def _fields(names: str, kind: Kind) -> dict[str, tuple[str, Kind, tuple[str, ...]]]:
    return {name: (name, kind, ()) for name in names.split()}


_STRING = Text("string")
_TEXTS = Map("map[string]string", _STRING, lambda now: now or {})
_STRINGS = List("[]string", _STRING)
_AUTH = Struct(
    "types.AuthConfig",
    dict,
    _fields("username password auth serveraddress identitytoken registrytoken", _STRING),
)
_PROXY = Struct(
    "configfile.ProxyConfig", dict, _fields("httpProxy httpsProxy noProxy ftpProxy allProxy", _STRING)
)
_AUTHS = Map(
    "map[string]types.AuthConfig",
    _AUTH,
    lambda now: {server: _AUTH.build(fields) for server, fields in (now or {}).items()},
)
# every field that docker knows: if any is of a wrong type, Go reads nothing
_FILE = Struct(
    "configfile.ConfigFile",
    dict,
    {
        **_fields("auths", _AUTHS),
        **_fields("credHelpers HttpHeaders aliases features", _TEXTS),
        **_fields("credsStore detachKeys currentContext psFormat imagesFormat networksFormat", _STRING),
        **_fields("pluginsFormat volumesFormat statsFormat serviceInspectFormat servicesFormat", _STRING),
        **_fields("tasksFormat secretFormat configFormat nodesFormat", _STRING),
        **_fields("pruneFilters cliPluginsExtraDirs", _STRINGS),
        **_fields("proxies", Map("map[string]configfile.ProxyConfig", _PROXY, lambda now: now)),
        **_fields("plugins", Map("map[string]map[string]string", _TEXTS, lambda now: now)),
    },
)


def _read(tree: Any) -> DockerConfig:
    found = decode(tree, _FILE) if tree is not None else {}
    auths = {server: _auth(fields) for server, fields in found.get("auths", {}).items()}
    return DockerConfig(auths, found.get("credHelpers", {}), found.get("credsStore", ""))


def _auth(fields: dict[str, str]) -> AuthConfig:
    username, password = fields.get("username", ""), fields.get("password", "")
    if packed := fields.get("auth", ""):
        username, password = _unpacked(packed)
    return AuthConfig(username, password, fields.get("identitytoken", ""), fields.get("registrytoken", ""))


def _unpacked(packed: str) -> tuple[str, str]:
    data, bad = gobase64.decode(packed.encode())
    if bad is not None:
        raise DocumentError(f"illegal base64 data at input byte {bad}")
    username, colon, password = utf8.decode(data).partition(":")
    if not colon or not username:
        raise DocumentError("invalid auth configuration file")
    return username, password.strip("\x00")
