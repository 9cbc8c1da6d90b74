"""Docker's ``config.json``, read and refused as Go's encoding/json and docker's own code read it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgframe.errors import DocumentError, InputError
from imgframe.oci import base64text, scanner
from imgframe.oci.decoder import folded

UNUSABLE = "unable to instantiate docker credentials store"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the file says about one server; nothing of it is printed."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return any((self.username, self.password, self.identity_token, self.registry_token))


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """The parts of the file that are about credentials."""

    auths: dict[str, Entry] = field(default_factory=dict, repr=False)
    helpers: dict[str, str] = field(default_factory=dict)
    store: str = ""

    def helper_for(self, server: str) -> str:
        """The helper that keeps the credentials of this server; empty: the file itself does."""
        return self.helpers.get(server, self.store)

    def entry(self, server: str) -> Entry:
        """The file's own credentials of a server, by its name or else by the host in a name; empty if there are none."""
        if server in self.auths:
            return self.auths[server]
        return next((one for name, one in self.auths.items() if _host(name) == server), Entry())


def _host(name: str) -> str:
    for scheme in ("http://", "https://"):
        if name.startswith(scheme):
            name = name.removeprefix(scheme)
            break
    return name.partition("/")[0]


def location(path: str | os.PathLike[str] | None = None) -> Path:
    """The file: as given (or ``config.json`` in the folder given), else in ``$DOCKER_CONFIG``, else in ``~/.docker``."""
    if path is None:
        folder = os.environ.get("DOCKER_CONFIG")
        return (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    chosen = Path(path)
    return chosen / "config.json" if chosen.is_dir() else chosen


def load(file: Path) -> DockerConfig:
    """The configuration; an absent or empty file is an empty one.

    Raises:
        InputError: the file, or one ``auth`` anywhere in it, cannot be read; ``go`` are Go's words.
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
    error = InputError(go)
    error.go = go
    return error


def _first_value(data: bytes) -> Any:
    """The tree of the first JSON value; what follows it is not looked at (json.Decoder)."""
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


def _read(tree: Any) -> DockerConfig:
    auths: dict[str, dict[str, str]] = {}
    helpers: dict[str, str] = {}
    store = ""
    for name, value in _pairs(tree, "value", "configfile.ConfigFile"):
        if name == "auths":
            place = "struct field ConfigFile.auths"
            for server, fields in _named(value, place, "map[string]types.AuthConfig"):
                found = auths[server] = {}
                for key, one in _pairs(fields, place, "types.AuthConfig"):
                    if key in {"username", "password", "auth", "identitytoken", "registrytoken"}:
                        found[key] = _text(one, f"AuthConfig.auths.{key}", found.get(key, ""))
        elif name == "credhelpers":
            place = "ConfigFile.credHelpers"
            for server, helper in _named(value, f"struct field {place}", "map[string]string"):
                helpers[server] = _text(helper, place, "")
        elif name == "credsstore":
            store = _text(value, "ConfigFile.credsStore", store)
    return DockerConfig({server: _entry(fields) for server, fields in auths.items()}, helpers, store)


def _named(node: Any, place: str, kind: str) -> list[tuple[str, Any]]:
    if type(node) is scanner.Pairs:
        return list(node)
    if node is not None and node != b"null":
        raise DocumentError(f"json: cannot unmarshal {_kind(node)} into Go {place} of type {kind}")
    return []


def _pairs(node: Any, place: str, kind: str) -> list[tuple[str, Any]]:
    return [(folded(name), value) for name, value in _named(node, place, kind)]


def _text(node: Any, place: str, before: str) -> str:
    if node == b"null":
        return before
    if type(node) is not bytes or not node.startswith(b'"'):
        raise DocumentError(
            f"json: cannot unmarshal {_kind(node)} into Go struct field {place} of type string"
        )
    return scanner.text(node)


def _kind(node: Any) -> str:
    if type(node) is not bytes:
        return "object" if type(node) is scanner.Pairs else "array"
    return {b'"': "string", b"t": "bool", b"f": "bool"}.get(node[:1], "number")


def _entry(fields: dict[str, str]) -> Entry:
    username, password = fields.get("username", ""), fields.get("password", "")
    if packed := fields.get("auth", ""):
        username, password = _unpacked(packed)
    return Entry(username, password, fields.get("identitytoken", ""), fields.get("registrytoken", ""))


def _unpacked(packed: str) -> tuple[str, str]:
    data, bad = base64text.decode(packed.encode())
    if bad is not None:
        raise DocumentError(f"illegal base64 data at input byte {bad}")
    username, colon, password = data.decode("utf-8", "replace").partition(":")
    if not colon or not username:
        raise DocumentError("invalid auth configuration file")
    return username, password.strip("\x00")
