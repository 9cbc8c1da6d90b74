"""``stale``: each image record against its registry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from imgframe import oci, platforms
from imgframe.errors import DocumentError, RegistryError
from imgframe.oci.resolution import best_entry
from imgframe.registry import Registry
from imgframe.upstream.lookup import Paths, QuerySession, RegistryOptions, Resolution, query_registries

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory

_MAX_LEVELS = 8


class _ComparedRecord(NamedTuple):
    """What is compared of one record."""

    name: str
    digest: str
    manifest: str | None
    platform: str | None


def stale(
    inventory: Inventory,
    *,
    insecure: bool = False,
    hosts_dirs: Paths = (),
    docker_config: str | os.PathLike[str] | None = None,
    max_parallel: int = 32,
    timeout: float = 60.0,
) -> pd.DataFrame:
    """Each image record against its registry; a name is asked for once, however many nodes have it.

    Returns:
        A frame, one row per record in the order of ``inventory.images``: ``node``, ``namespace``, ``name``,
        ``local_digest``, ``remote_digest`` (<NA>: not learnt), ``status`` and ``reason``. The status is ``same``;
        ``cosmetic`` (another digest, yet the node's platform finds the same manifest in it); ``different``; ``missing`` (the
        registry says that it does not have the name); or ``unknown``, with the reason, where it could not be asked or the
        record names nothing in a registry. An answer that needs credentials is ``unknown``, never ``missing``.

    Options are those of :func:`resolve_digest`. Indexes are read only where digests differ.

    Example:
        >>> import imgframe as imf
        >>> list(imf.stale(imf.Inventory({})).columns)
        ['node', 'namespace', 'name', 'local_digest', 'remote_digest', 'status', 'reason']
    """
    images = inventory.images
    records = _records(inventory)
    options = RegistryOptions(insecure, hosts_dirs, docker_config, max_parallel, timeout)

    async def work(session: QuerySession) -> list[tuple[str | None, str, str | None]]:
        remote = await session.each([record.name for record in records], session.resolve)
        differing = [
            one for one in records if (target := remote[one.name].target) and target.digest != one.digest
        ]
        chosen = await session.each(
            [(one.name, one.platform or "") for one in differing if one.manifest and one.platform],
            lambda key: _chosen(session.registry, key[0], remote[key[0]].target, key[1]),
        )
        return [
            _verdict(one, remote[one.name], chosen.get((one.name, one.platform or ""))) for one in records
        ]

    verdicts = query_registries(work, options) if records else []
    return record_frame(
        images,
        {
            "local_digest": images["digest"],
            "remote_digest": [one[0] for one in verdicts],
            "status": [one[1] for one in verdicts],
            "reason": [one[2] for one in verdicts],
        },
    )


def _records(inventory: Inventory) -> list[_ComparedRecord]:
    images, nodes = inventory.images, inventory.nodes
    hosts = dict(zip(nodes["node"].astype("object"), nodes["platform"].astype("object"), strict=True))
    columns = [images[name].astype("object").array for name in ("node", "name", "digest", "manifest_digest")]
    return [
        _ComparedRecord(name, digest, _text(manifest), _text(hosts.get(node)))
        for node, name, digest, manifest in zip(*columns, strict=True)
    ]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


async def _chosen(registry: Registry, name: str, target: oci.Descriptor | None, platform: str) -> Resolution:
    """The manifest that a platform finds in the registry's image."""
    assert target is not None
    matcher = platforms.default(platforms.parse(platform))
    try:
        remote, here = registry.image(name), target
        for _ in range(_MAX_LEVELS):
            if not oci.documents.is_index_type(here.media_type):
                return Resolution(here)
            entry = best_entry(oci.decode_index(await remote.document(here)).manifests, matcher)
            if entry is None:
                return Resolution(reason=f"the registry's index has nothing for {platform}")
            here = entry
    except (RegistryError, DocumentError) as error:
        return Resolution(reason=f"platforms were not compared: {error}")
    return Resolution(reason="platforms were not compared: the index is nested too deeply")


def _verdict(
    record: _ComparedRecord, found: Resolution, chosen: Resolution | None
) -> tuple[str | None, str, str | None]:
    if found.target is None:
        return None, "missing" if found.absent else "unknown", found.reason
    remote = found.target.digest
    if remote == record.digest:
        return remote, "same", None
    if chosen is None or record.manifest is None:
        return remote, "different", "platforms were not compared: the node's manifest is unknown"
    if chosen.target is not None and chosen.target.digest == record.manifest:
        return remote, "cosmetic", f"the manifest for {record.platform} is the same"
    return remote, "different", chosen.reason


def record_frame(images: pd.DataFrame, columns: dict[str, Any]) -> pd.DataFrame:
    """Node, namespace and name of each record, and more columns; text as categories, as in the inventory's tables."""
    import pandas as pd

    rows = images[["node", "namespace", "name"]].reset_index(drop=True)
    for name, values in columns.items():
        if isinstance(values, pd.Series):
            rows[name] = values.reset_index(drop=True)
        else:
            texts = pd.Series(values, index=rows.index, dtype="object")
            rows[name] = texts.astype("category")
    return rows
