"""ensure, pull and push: references or a filtered frame go in, a Plan comes out. Nothing is moved here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from imgframe.act.plan import Plan
from imgframe.act.verbs import nodes_of
from imgframe.node import nodes_of as given_nodes
from imgframe.planning.options import PullMode, options_of, refuse_transfer
from imgframe.planning.registry_steps import fetch_steps, push_steps
from imgframe.planning.requested import records_of
from imgframe.planning.tag_steps import new_name

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory


def ensure(
    images: pd.DataFrame | Iterable[str] | str,
    nodes: Any = None,
    *,
    mode: PullMode | str = PullMode.MISSING,
    platform: str | Iterable[str] | None = None,
    unpack: bool | None = None,
    snapshotter: str | None = None,
    namespace: str | None = None,
    hosts_dirs: Iterable[str | os.PathLike[str]] = (),
    insecure: bool = False,
    docker_config: str | os.PathLike[str] | None = None,
    via: str | None = None,
) -> Plan:
    """A Plan after which every image is on every node, as nerdctl's EnsureImage decides.

    Args:
        images: references (names, or beginnings of a digest that a node has), or a frame with the column name.
        nodes: as in :func:`imgframe.collect`; every image goes onto every one of them.
        mode: ``always`` pulls; ``missing`` pulls what is not there for the platform; ``never`` only looks, and unpacks.
        platform: a specifier, several, or ``"all"``; by default each node's own.
        unpack: by default if there is one platform; more than one cannot be unpacked.
        snapshotter: to unpack into; by default the namespace's.
        namespace: by default that of the frame's rows, else ``default``.
        hosts_dirs: folders of ``hosts.toml`` files, as containerd's ``config_path``.
        insecure: accept any certificate, and plain HTTP where a registry has no TLS.
        docker_config: path of the ``config.json`` with the credentials, read when the plan is applied.
        via: ``"client"`` (imgframe fetches), ``"transfer"`` (containerd fetches); by default what serves best.

    Raises:
        InputError: a mode, platform or other value that cannot be used.
        NodeError: no node is found.

    Example:
        >>> import imgframe as imf
        >>> plan = imf.ensure(["alpine:3.20", "busybox"], "/run/containerd/containerd.sock", mode="missing")
        >>> plan.steps[["action", "namespace", "name"]].to_dict("records")[0]
        {'action': 'ensure', 'namespace': 'default', 'name': 'alpine:3.20'}
    """
    options = options_of(
        mode=PullMode.of(mode),
        platform=platform,
        unpack=unpack,
        snapshotter=snapshotter,
        hosts_dirs=hosts_dirs,
        insecure=insecure,
        docker_config=docker_config,
        via=via,
    )
    return _fetching("ensure", images, nodes, namespace, options)


def pull(
    images: pd.DataFrame | Iterable[str] | str,
    nodes: Any = None,
    *,
    platform: str | Iterable[str] | None = None,
    unpack: bool | None = None,
    snapshotter: str | None = None,
    namespace: str | None = None,
    hosts_dirs: Iterable[str | os.PathLike[str]] = (),
    insecure: bool = False,
    docker_config: str | os.PathLike[str] | None = None,
    via: str | None = None,
) -> Plan:
    """A Plan that pulls every image onto every node; what a node has already does not travel again.

    Arguments as in :func:`ensure`. Names of a frame that no registry can know (such as the CRI's ``sha256:...``) are kept, and
    the plan says why.

    Raises:
        InputError: a name, platform or other value that cannot be used.
        NodeError: no node is found.

    Example:
        >>> import imgframe as imf
        >>> imf.pull("alpine", "/run/containerd/containerd.sock", platform="all").steps["name"].tolist()
        ['docker.io/library/alpine:latest']
    """
    options = options_of(
        platform=platform,
        unpack=unpack,
        snapshotter=snapshotter,
        hosts_dirs=hosts_dirs,
        insecure=insecure,
        docker_config=docker_config,
        via=via,
    )
    return _fetching("pull", images, nodes, namespace, options)


def _fetching(action: str, images: Any, nodes: Any, namespace: str | None, options: str) -> Plan:
    by_name = {node.name: node for node in given_nodes(nodes)}
    decided = fetch_steps(action, images, list(by_name), namespace, options)
    return Plan(decided.steps, decided.kept, by_name)


def push(
    images: pd.DataFrame,
    inventory: Inventory,
    *,
    to: Callable[[str], str] | Mapping[str, str] | str | None = None,
    platform: str | Iterable[str] | None = None,
    hosts_dirs: Iterable[str | os.PathLike[str]] = (),
    insecure: bool = False,
    docker_config: str | os.PathLike[str] | None = None,
    via: str | None = None,
) -> Plan:
    """A Plan that pushes the records of a frame to their registries, or to others.

    Args:
        images: a frame with name, and node and namespace where the inventory has several.
        inventory: where the records are.
        to: a function from the name to the new one, a mapping (names that it lacks are kept), or a prefix such as
            ``registry.example/mirror`` that takes the place of the registry; by default each to its own name.
        platform: a specifier or several, of which a smaller index is made; by default the whole index, and all of it must be
            on the node.
        hosts_dirs: folders of ``hosts.toml`` files.
        insecure: accept any certificate, and plain HTTP where a registry has no TLS.
        docker_config: path of the ``config.json`` with the credentials, read when the plan is applied.
        via: ``"client"`` (imgframe sends, as by default), or ``"transfer"`` (containerd 1.7 and later sends, whole images only,
            to registries that it finds by itself: without ``platform``, ``hosts_dirs`` and ``insecure``).

    Raises:
        InputError: a name or platform that cannot be used, or two images for one name.
        MissingColumn: the frame does not say which records are meant.

    Example:
        >>> import imgframe as imf
        >>> inv = imf.Inventory({})
        >>> imf.push(inv.images, inv, to="registry.example/mirror").steps.empty
        True
    """
    options = options_of(
        platform=platform, hosts_dirs=hosts_dirs, insecure=insecure, docker_config=docker_config, via=via
    )
    refuse_transfer(options)
    asked = records_of(images, inventory, "push")
    columns = asked.columns(["digest", "media_type", "target_size", "record_labels"])
    records = pa.table(columns).to_pylist()
    known = dict.fromkeys(str(row["name"]) for row in records)
    given = {name: name if to is None else new_name(name, to) for name in known}
    decided = push_steps(records, [given[str(row["name"])] for row in records], options)
    return Plan(decided.steps, decided.kept, nodes_of(inventory))
