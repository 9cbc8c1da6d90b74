"""The verbs: each takes a filtered frame or references, and gives a Plan. Nothing is written here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from imgframe import planning, schema
from imgframe.arrow.keys import one_array
from imgframe.errors import InputError
from imgframe.golang import time as gotime
from imgframe.node import Node
from imgframe.node import nodes_of as given_nodes
from imgframe.planning.options import PullMode, options_of, refuse_transfer, registry_options
from imgframe.planning.registry_steps import fetch_steps, push_steps
from imgframe.planning.requested import RequestedRecords, records_of
from imgframe.planning.retention import Reasons, RetentionRules, free, nerdctl_says
from imgframe.planning.tag_steps import Names, new_name, tag_steps
from imgframe.plans.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory

Required = bool | Mapping[str, Any]


def prune(
    images: pd.DataFrame,
    inventory: Inventory,
    *,
    dialect: str = "imgframe",
    all: bool | None = None,
    keep_pinned: bool | None = None,
    keep_used: bool | None = None,
    keep_unknown: bool = True,
    undo_for: str | int | None = None,
    require_remote: Required = False,
) -> Plan:
    """A Plan that deletes the records of a frame, with the exact bytes that this frees.

    Args:
        images: any frame with node, namespace, name and digest (what a filter leaves).
        inventory: where the records are.
        dialect: whose rules say what is kept. ``"imgframe"``: what is pinned (under any name of the digest), used by a
            container (by name, by digest under any name, or by its snapshots), and unknown. ``"nerdctl"``: deleted is what
            ``nerdctl image prune`` would take of these images, and that **does not protect** what is pinned, what a container
            uses under another name or by digest, and, without ``all``, what a container uses at all; the reason of a step
            says where imgframe would keep the image.
        all: for nerdctl's dialect, its flag: True deletes every image whose very name no container has; else only dangling
            images (whose name has no tag, such as the CRI's digests), used or not.
        keep_pinned: keep what is pinned; None: as the dialect has it.
        keep_used: keep what a container uses under any name; False lifts the dialect's own rule too.
        keep_unknown: keep records of which it is not known whether they are used, in every dialect.
        undo_for: a Go duration (``"2h"``) or seconds for which a lease holds the content, so that ``result.undo()`` can put the
            names back; the bytes are freed only afterwards.
        require_remote: keep what no registry has under any of its names, or where that cannot be learnt; options of
            :func:`resolve_digest` instead of True say how registries are asked. They are asked again when the plan is applied.

    What is kept is in ``Plan.kept`` with the reason. Kept in any case: what changed since the inventory or is not in it.

    Raises:
        MissingColumn: the frame does not say which records are meant.
        InputError: an unknown dialect, ``all`` without nerdctl's, or credentials where a plan may hold none.

    Example:
        >>> import imgframe as imf
        >>> inv = imf.Inventory({})
        >>> imf.prune(inv.images, inv).steps.empty
        True
        >>> imf.prune(inv.images, inv, dialect="nerdctl", all=True).steps.empty
        True
    """
    rules = RetentionRules.of(
        dialect, all=all, keep_pinned=keep_pinned, keep_used=keep_used, keep_unknown=keep_unknown
    )
    records = records_of(images, inventory, "prune")
    reasons, required = _judged(records, inventory, rules, require_remote)
    why = "asked for" if dialect == "imgframe" else nerdctl_says(records, inventory, all=bool(all))
    return _deletion(
        planning.decide_prune(records, reasons, inventory, why), inventory, rules, undo_for, required
    )


def prune_to(
    inventory: Inventory,
    target: int | str,
    *,
    candidates: pd.DataFrame | None = None,
    order: Any = "harm",
    keep_pinned: bool = True,
    keep_used: bool = True,
    keep_unknown: bool = True,
    undo_for: str | int | None = None,
    require_remote: Required = False,
) -> Plan:
    """A Plan that frees ``target`` by giving up what does the least harm, taking shared layers into account.

    Args:
        inventory: where the records are.
        target: bytes to free on each node, as a number or as ``"10GB"`` or ``"10GiB"``, or ``"80%"``: until the disk of each
            node is that full.
        candidates: a frame of what may go, by default every image.
        order: ``"harm"`` (bytes to pull again, halved for each 30 days untouched), a column of costs, a list of them with one
            for each candidate, or ``"oldest"``/``"largest"`` (one after the other, as simple tools do).
        keep_pinned: what :func:`prune` keeps is kept.
        keep_used: as there.
        keep_unknown: as there.
        undo_for: as there.
        require_remote: as there: what could not be pulled again is no candidate, and the rest reaches the target.

    Where all that may go does not suffice, all of it goes that frees anything, and the plan says so: ``shortfall_bytes`` is
    what is missing on all nodes together, and ``notes`` has a sentence for each of these nodes. So it has for nodes on which
    nothing needs to go.

    Raises:
        InputError: a target that is neither bytes nor a share, a share of a disk whose size is unknown, or an unknown order.

    Example:
        >>> import imgframe as imf
        >>> imf.prune_to(imf.Inventory({}), 10**9).steps.empty
        True
    """
    rules = RetentionRules.of(keep_pinned=keep_pinned, keep_used=keep_used, keep_unknown=keep_unknown)
    asked = inventory.images if candidates is None else candidates
    records = records_of(asked, inventory, "prune_to")
    reasons, required = _judged(records, inventory, rules, require_remote)
    decided = planning.decide_prune_to(records, reasons, inventory, target, asked, order)
    return _deletion(decided, inventory, rules, undo_for, required)


def _judged(
    records: RequestedRecords, inventory: Inventory, rules: RetentionRules, required: Required
) -> tuple[Reasons, dict[str, dict[str, Any]]]:
    """Why records are kept, and the options of the steps by digest, where a registry is required to have it."""
    reasons = rules.reasons(records, inventory)
    if required is False:
        return reasons, {}
    from imgframe.upstream.lookup import RegistryOptions
    from imgframe.upstream.presence import remote_presence
    from imgframe.upstream.recheck import OPTION

    options = RegistryOptions.of({} if required is True else required)
    saved = registry_options(options.hosts_dirs, options.docker_config, insecure=options.insecure)
    saved["timeout"] = None if options.timeout == RegistryOptions().timeout else options.timeout
    saved = {name: value for name, value in saved.items() if value is not None}
    digests = np.array(records.column("digest").to_pylist(), dtype=object)
    presence = remote_presence(inventory, options, set(digests[free(reasons)]))
    for place in np.flatnonzero(free(reasons)):
        found = presence[digests[place]]
        if not found.there:
            what = "not known to be in a registry" if found.there is None else "in no registry"
            reasons[place] = f"{what}: {found.reason}"
    there = {digest: found.reference for digest, found in presence.items() if found.there}
    return reasons, {digest: {OPTION: {**saved, "reference": name}} for digest, name in there.items()}


def _deletion(
    decided: planning.Decision,
    inventory: Inventory,
    rules: RetentionRules,
    undo_for: str | int | None,
    required: dict[str, dict[str, Any]],
) -> Plan:
    steps, options = decided.steps, rules.options()
    digest = one_array(steps["digest"])
    texts = [json.dumps({**options, **required.get(one, {})}) for one in digest.dictionary.to_pylist()]
    column = pa.DictionaryArray.from_arrays(digest.indices, pa.array(texts, pa.string()))
    columns = {name: steps[name] for name in steps.column_names}
    steps = schema.plan_table("steps", {**columns, "options": column})
    return Plan(
        steps,
        decided.kept,
        nodes_of(inventory),
        decided.freed,
        seconds_of(undo_for),
        stores=stores_of(inventory),
        shortfall_bytes=decided.shortfall_bytes,
        notes=decided.notes,
    )


def nodes_of(inventory: Inventory) -> dict[str, Node]:
    """The nodes of an inventory that have an address, by name."""
    rows = inventory.arrow("nodes").select(["node", "address"])
    rows = rows.rename_columns(["name", "address"]).to_pylist()
    return {row["name"]: Node.of(row) for row in rows if row["address"]}


def stores_of(inventory: Inventory) -> dict[str, str]:
    """The uuids of the stores of an inventory, by the names of their nodes."""
    rows = inventory.arrow("nodes").select(["node", "store_uuid"]).to_pylist()
    return {row["node"]: row["store_uuid"] for row in rows if row["store_uuid"]}


def seconds_of(undo_for: str | int | None) -> int | None:
    """Seconds of a Go duration or a number; None stays None."""
    if undo_for is None:
        return None
    seconds = undo_for if isinstance(undo_for, int) else gotime.parse_duration(undo_for) // 10**9
    if seconds <= 0:
        raise InputError(f"undo_for {undo_for!r} is not positive; expected a duration such as '2h'")
    return seconds


def tag(images: pd.DataFrame, inventory: Inventory, to: Names) -> Plan:
    """A Plan that gives the records of a frame a further name each.

    ``to``: a function from the name to the new one, a mapping (names that it lacks are kept untouched), or a prefix such as
    ``registry.example/mirror`` that takes the place of the registry. New names are normalised; one that another record of the
    namespace has is moved, and the step's reason says so.

    Raises:
        InputError: a new name is not an image name, or two records would get the same.

    Example:
        >>> import imgframe as imf
        >>> inv = imf.Inventory({})
        >>> imf.tag(inv.images, inv, "registry.example/mirror").steps.empty
        True
    """
    decided = tag_steps(records_of(images, inventory, "tag"), inventory, to)
    return Plan(decided.steps, decided.kept, nodes_of(inventory), stores=stores_of(inventory))


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
    return Plan(decided.steps, decided.kept, nodes_of(inventory), stores=stores_of(inventory))
