"""Nodes: a node is a name and the socket of its containerd.

Example:
    >>> from imgframe import Node
    >>> Node.of("unix:///srv/a/containerd.sock")
    Node('/srv/a/containerd.sock')
    >>> Node.of({"name": "web-1", "address": "/srv/a/containerd.sock", "labels": {"team": "shop"}}).labels["team"]
    'shop'
"""

from __future__ import annotations

import os
import platform
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from imgframe.byte_sizes import read_bytes
from imgframe.errors import NodeError

WELL_KNOWN = {
    "/run/containerd/containerd.sock": "",
    "/run/k3s/containerd/containerd.sock": "k3s",
    "/run/k0s/containerd.sock": "k0s",
    "/var/snap/microk8s/common/run/containerd.sock": "microk8s",
    "/run/docker/containerd/containerd.sock": "docker",
}
"""Well-known sockets, and the suffix of the node's name for each (rke2 uses that of k3s)."""

_UNSUPPORTED = {
    "tcp": "an address over the network needs TLS, which imgframe does not support yet; run it on the node, or forward the socket with ssh -L",
    "ssh": "imgframe does not open SSH connections yet; forward the socket yourself: ssh -L /tmp/NODE.sock:/run/containerd/containerd.sock NODE",
}
_KEYS = ("name", "address", "namespaces", "labels", "disk_total")


@dataclass(frozen=True, slots=True, repr=False)
class Node:
    """One containerd.

    Args:
        address: path of its socket, or a ``unix://`` address.
        name: for the column ``node``; by default the host's name for well-known sockets (with ``:k3s`` and the like for
            those of distributions), else the path.
        namespaces: to read; none: all.
        labels: to group nodes by: team, zone, price.
        disk_total: size of the file system of containerd's root [bytes], if it cannot be measured.
    """

    address: str
    name: str = ""
    namespaces: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    disk_total: int | None = None

    def __post_init__(self) -> None:
        path = _path(self.address)
        _check(self)
        object.__setattr__(self, "address", "unix://" + path)
        object.__setattr__(self, "name", self.name or _default_name(path))
        object.__setattr__(self, "namespaces", tuple(self.namespaces))
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))
        if self.disk_total is not None:
            object.__setattr__(self, "disk_total", read_bytes(self.disk_total))

    @property
    def path(self) -> str:
        """Path of the socket."""
        return self.address.removeprefix("unix://")

    @classmethod
    def of(cls, value: object) -> Node:
        """A Node from a Node, a path, a ``unix://`` address, or a dict with the fields of a Node.

        Raises:
            NodeError: it is none of these, or its scheme is not supported.
        """
        match value:
            case Node():
                return value
            case str() | os.PathLike():
                return cls(os.fspath(value))
            case Mapping():
                return cls(**_fields(value, "a node"))
        raise NodeError(f"{value!r} is not a node; expected a Node, a path, a unix:// address or a dict")

    def __repr__(self) -> str:
        name = "" if self.name == self.path else f", name={self.name!r}"
        return f"Node({self.path!r}{name})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Node, (self.address, self.name, self.namespaces, dict(self.labels), self.disk_total)


def nodes_of(value: object = None) -> tuple[Node, ...]:
    """The nodes of an argument: one or several; None searches this machine.

    Raises:
        NodeError: none was found, a value is not a node, or two nodes have the same name.
    """
    if value is None:
        return discover()
    several = isinstance(value, Iterable) and not isinstance(value, (str, Mapping, os.PathLike))
    nodes = tuple(Node.of(one) for one in value) if several else (Node.of(value),)  # type: ignore[attr-defined]
    if not nodes:
        raise NodeError("no nodes were given; expected at least one")
    seen: dict[str, Node] = {}
    for node in nodes:
        if node.name in seen:
            raise NodeError(
                f"two nodes have the name {node.name!r}: {seen[node.name].path} and {node.path}; give each its own"
            )
        seen[node.name] = node
    return nodes


def discover() -> tuple[Node, ...]:
    """Nodes on this machine: that of CONTAINERD_ADDRESS if it is set, else every well-known socket that exists.

    Raises:
        NodeError: there is none; the message names the paths.
    """
    given = os.environ.get("CONTAINERD_ADDRESS")
    if given:
        return (Node(given),)
    candidates = [*WELL_KNOWN, *_rootless()]
    found: dict[tuple[int, int], Node] = {}
    for path in candidates:
        try:
            status = Path(path).stat()
        except PermissionError:
            found[-1, len(found)] = Node(path)
        except OSError:
            continue
        else:
            found.setdefault((status.st_dev, status.st_ino), Node(path))
    if not found:
        raise NodeError(
            f"no containerd socket was found; looked at {', '.join(candidates)}; give an address, or set CONTAINERD_ADDRESS"
        )
    return tuple(found.values())


def load_nodes(path: str | os.PathLike[str] = "nodes.toml") -> tuple[Node, ...]:
    """The nodes in a TOML file.

    Each ``[[node]]`` has an ``address`` and may have ``name``, ``namespaces``, ``labels`` and ``disk_total`` (bytes, or ``"2TB"``);
    ``[defaults]`` may have ``namespaces`` and ``labels`` for all of them.

    Raises:
        NodeError: the file cannot be read, is not TOML, or has other contents; the message says where.

    Example:
        >>> from pathlib import Path
        >>> text = '[[node]]' + chr(10) + 'name = "web-1"' + chr(10) + 'address = "/run/web-1.sock"'
        >>> _ = Path("nodes.toml").write_text(text)
        >>> load_nodes("nodes.toml")
        (Node('/run/web-1.sock', name='web-1'),)
        >>> Path("nodes.toml").unlink()
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise NodeError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise NodeError(f"{path} is not TOML: {error}") from error
    strange = content.keys() - {"node", "defaults"}
    if strange:
        raise NodeError(f"{path}: unknown {', '.join(sorted(strange))}; expected [[node]] and [defaults]")
    entries, defaults = content.get("node"), content.get("defaults", {})
    if not isinstance(entries, list) or not entries or not isinstance(defaults, dict):
        raise NodeError(f"{path} lists no node; expected [[node]] tables with an address each")
    common = _fields(defaults, f"{path}: [defaults]", allowed=("namespaces", "labels"), needed=())
    return nodes_of(
        [_listed(entry, common, f"{path}: node {place}") for place, entry in enumerate(entries, 1)]
    )


def _listed(entry: Any, common: dict[str, Any], where: str) -> Node:
    if not isinstance(entry, dict):
        raise NodeError(f"{where} is not a table")
    try:
        node = Node(**(common | _fields(entry, where)))
        return replace(node, labels={**common.get("labels", {}), **node.labels})
    except NodeError as error:
        text = str(error)
        raise NodeError(text if text.startswith(where) else f"{where}: {text}") from error


def _fields(
    given: Mapping[Any, Any],
    where: str,
    *,
    allowed: tuple[str, ...] = _KEYS,
    needed: tuple[str, ...] = ("address",),
) -> dict[str, Any]:
    """The given fields, checked to be known."""
    strange = sorted(str(key) for key in given if key not in allowed)
    if strange:
        raise NodeError(f"{where}: unknown {', '.join(strange)}; expected {', '.join(allowed)}")
    for key in needed:
        if key not in given:
            raise NodeError(f"{where} has no {key}")
    return {str(key): value for key, value in given.items()}


def _check(node: Node) -> None:
    """Checks the types of values from a dict or a file."""
    names: Any = node.namespaces
    labels: Any = node.labels
    size: Any = node.disk_total
    if not isinstance(node.name, str):
        raise NodeError(f"the name of a node must be text, not {node.name!r}")
    if isinstance(names, str) or not all(isinstance(one, str) and one for one in names):
        raise NodeError(f"namespaces of a node must be a list of names, not {names!r}")
    if not isinstance(labels, Mapping) or not all(
        isinstance(key, str) and isinstance(value, str) for key, value in labels.items()
    ):
        raise NodeError(f"labels of a node must map names to text, not {labels!r}")
    if size is not None:
        try:
            read_bytes(size)
        except ValueError as error:
            raise NodeError(
                f"disk_total of a node must be a number of bytes, or text such as '50GB' or '50GiB', not {size!r}"
            ) from error


def _path(address: Any) -> str:
    """The path of the socket."""
    if not isinstance(address, str) or not address:
        raise NodeError(f"the address of a node must be a path or a unix:// address, not {address!r}")
    scheme, separator, rest = address.partition("://")
    if separator and scheme in _UNSUPPORTED:
        raise NodeError(f"{address}: {_UNSUPPORTED[scheme]}")
    if separator and scheme != "unix":
        raise NodeError(f"{address}: unknown scheme {scheme!r}; expected a path or a unix:// address")
    path = rest if separator else address.removeprefix("unix:")
    if "\0" in path or not path or (separator and not path.startswith("/")):
        raise NodeError(
            f"{address!r} is not the path of a socket; expected unix:///run/containerd/containerd.sock"
        )
    return os.path.abspath(path)  # noqa: PTH100 -- resolve() would follow links, and the user named this path


def _default_name(path: str) -> str:
    flavour = WELL_KNOWN.get(path)
    if flavour is None:
        return path
    host = platform.node() or "localhost"
    return f"{host}:{flavour}" if flavour else host


def _rootless() -> list[str]:
    """The socket of a rootless containerd, in the file system of its mount namespace."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if not runtime:
        return []
    try:
        child = Path(runtime, "containerd-rootless", "child_pid").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return []
    return [f"/proc/{child}/root/run/containerd/containerd.sock"] if child.isdigit() else []
