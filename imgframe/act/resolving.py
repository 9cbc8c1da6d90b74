"""What registries say about images: their digests, whether ours are stale, and which images nobody could give back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, overload

from imgframe import _loop, oci, platforms
from imgframe.errors import DocumentError, MissingColumn, RegistryError, RegistryNotFound
from imgframe.oci.resolving import best_entry
from imgframe.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory

Paths = Iterable[str | os.PathLike[str]]
_MAX_LEVELS = 8
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Found:
    """What was learnt about one name: a target, or why not; ``absent``: the registry says that it has no such thing."""

    target: oci.Descriptor | None = None
    reason: str | None = None
    absent: bool = False


class _Asking(NamedTuple):
    """How registries are asked."""

    registry: Registry
    gate: asyncio.Semaphore

    async def all(self, keys: Iterable[K], one: Callable[[K], Awaitable[V]]) -> dict[K, V]:
        """``one(key)`` for each different key, so many at a time."""
        unique = list(dict.fromkeys(keys))

        async def gated(key: K) -> V:
            async with self.gate:
                return await one(key)

        return dict(zip(unique, await asyncio.gather(*map(gated, unique)), strict=True))

    async def find(self, name: str) -> _Found:
        """The target of a name."""
        try:
            return _Found(await self.registry.image(name).resolve())
        except RegistryNotFound as error:
            return _Found(reason=str(error), absent=True)
        except RegistryError as error:
            return _Found(reason=str(error))


def _ask(work: Callable[[_Asking], Awaitable[V]], registry: Registry, max_parallel: int) -> V:
    async def inside() -> V:
        async with registry:
            return await work(_Asking(registry, asyncio.Semaphore(max_parallel)))

    return _loop.run(inside())


@overload
def resolve_digest(
    references: Any,
    *,
    insecure: bool = ...,
    hosts_dirs: Paths = ...,
    docker_config: str | os.PathLike[str] | None = ...,
    max_parallel: int = ...,
    timeout: float = ...,
    frame: Literal[False] = ...,
) -> pd.Series: ...
@overload
def resolve_digest(
    references: Any,
    *,
    insecure: bool = ...,
    hosts_dirs: Paths = ...,
    docker_config: str | os.PathLike[str] | None = ...,
    max_parallel: int = ...,
    timeout: float = ...,
    frame: Literal[True],
) -> pd.DataFrame: ...
def resolve_digest(
    references: Any,
    *,
    insecure: bool = False,
    hosts_dirs: Paths = (),
    docker_config: str | os.PathLike[str] | None = None,
    max_parallel: int = 32,
    timeout: float = 60.0,
    frame: bool = False,
) -> pd.Series | pd.DataFrame:
    """The digests that registries have under these names (nerdctl's ``ResolveDigest``), each different name asked once.

    Args:
        references: image names: a list, a Series, a frame with the column ``name``, or one name.
        insecure: certificates are not checked; warns.
        hosts_dirs: directories with ``hosts.toml`` files.
        docker_config: docker's ``config.json`` or its folder; default ``$DOCKER_CONFIG``, else ``~/.docker``.
        max_parallel: how many names are asked for at a time.
        timeout: seconds in which a registry must send something.
        frame: give all that was learnt, failures too.

    Returns:
        A Series of digests (dtype ``string``), <NA> where a name could not be resolved. Its index is that of the Series or
        frame given, else the names. With ``frame=True`` a frame on the same index with the columns ``reference``,
        ``digest``, ``media_type``, ``size`` (bytes) and ``errors`` (why not; <NA> where it went well).

    The digest is what the registry claims in its headers; nothing is downloaded to check it.

    Example:
        >>> import imgframe as imf
        >>> imf.resolve_digest(["Not A Name"], frame=True).errors.iloc[0]
        "image name 'Not A Name': invalid reference format: repository name (library/Not A Name) must be lowercase"
    """
    import pandas as pd

    names, index = _names(references)
    registry = Registry(
        hosts_dirs=hosts_dirs, insecure=insecure, docker_config=docker_config, timeout=timeout
    )

    async def work(asking: _Asking) -> dict[str, _Found]:
        return await asking.all(names, asking.find)

    found = _ask(work, registry, max_parallel) if names else {}
    rows = [found[name] for name in names]
    digests = pd.Series(
        [row.target.digest if row.target else None for row in rows],
        index=index,
        dtype="string",
        name="digest",
    )
    if not frame:
        return digests
    columns = {
        "reference": pd.Series(names, index=index, dtype="string"),
        "digest": digests,
        "media_type": pd.Series(
            [row.target.media_type if row.target else None for row in rows], index=index, dtype="string"
        ),
        "size": pd.Series(
            [row.target.size if row.target else None for row in rows], index=index, dtype="Int64"
        ),
        "errors": pd.Series([row.reason for row in rows], index=index, dtype="string"),
    }
    return pd.DataFrame(columns)


def _names(references: Any) -> tuple[list[str], Any]:
    import pandas as pd

    if isinstance(references, str):
        references = [references]
    if isinstance(references, pd.DataFrame):
        if "name" not in references.columns:
            raise MissingColumn("name", "resolve_digest", references.columns)
        references = references["name"]
    if isinstance(references, pd.Series):
        return [str(one) for one in references.array], references.index
    names = [str(one) for one in references]
    return names, pd.Index(names, dtype="object", name="reference")


class _Record(NamedTuple):
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
    registry = Registry(
        hosts_dirs=hosts_dirs, insecure=insecure, docker_config=docker_config, timeout=timeout
    )

    async def work(asking: _Asking) -> list[tuple[str | None, str, str | None]]:
        remote = await asking.all([record.name for record in records], asking.find)
        differing = [
            one for one in records if (target := remote[one.name].target) and target.digest != one.digest
        ]
        chosen = await asking.all(
            [(one.name, one.platform or "") for one in differing if one.manifest and one.platform],
            lambda key: _chosen(asking.registry, key[0], remote[key[0]].target, key[1]),
        )
        return [
            _verdict(one, remote[one.name], chosen.get((one.name, one.platform or ""))) for one in records
        ]

    verdicts = _ask(work, registry, max_parallel) if records else []
    return _frame(
        images,
        {
            "local_digest": images["digest"],
            "remote_digest": [one[0] for one in verdicts],
            "status": [one[1] for one in verdicts],
            "reason": [one[2] for one in verdicts],
        },
    )


def _records(inventory: Inventory) -> list[_Record]:
    images, nodes = inventory.images, inventory.nodes
    hosts = dict(zip(nodes["node"].astype("object"), nodes["platform"].astype("object"), strict=True))
    columns = [images[name].astype("object").array for name in ("node", "name", "digest", "manifest_digest")]
    return [
        _Record(name, digest, _text(manifest), _text(hosts.get(node)))
        for node, name, digest, manifest in zip(*columns, strict=True)
    ]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


async def _chosen(registry: Registry, name: str, target: oci.Descriptor | None, platform: str) -> _Found:
    """The manifest that a platform finds in the registry's image."""
    assert target is not None
    matcher = platforms.default(platforms.parse(platform))
    try:
        remote, here = registry.image(name), target
        for _ in range(_MAX_LEVELS):
            if not oci.documents.is_index_type(here.media_type):
                return _Found(here)
            entry = best_entry(oci.decode_index(await remote.document(here)), matcher)
            if entry is None:
                return _Found(reason=f"the registry's index has nothing for {platform}")
            here = entry
    except (RegistryError, DocumentError) as error:
        return _Found(reason=f"platforms were not compared: {error}")
    return _Found(reason="platforms were not compared: the index is nested too deeply")


def _verdict(record: _Record, found: _Found, chosen: _Found | None) -> tuple[str | None, str, str | None]:
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


def _frame(images: pd.DataFrame, columns: dict[str, Any]) -> pd.DataFrame:
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


def irreplaceable(
    inventory: Inventory,
    copies: int = 1,
    *,
    insecure: bool = False,
    hosts_dirs: Paths = (),
    docker_config: str | os.PathLike[str] | None = None,
    max_parallel: int = 32,
    timeout: float = 60.0,
) -> pd.DataFrame:
    """The images that no registry has and at most ``copies`` nodes hold completely: deleting them may be for ever.

    Asked for is the record's digest, in the repository of every name that the inventory has for it on any node, once each.

    Returns:
        A frame, one row per record in the order of ``inventory.images``: ``node``, ``namespace``, ``name``, ``digest``,
        ``copies`` (stores that hold the image completely), ``in_registry`` and ``reason``. ``in_registry`` is False where
        every registry says that it does not have the digest, and <NA> where that could not be learnt, which counts as
        irreplaceable; images that a registry has are not in the frame.

    Options are those of :func:`resolve_digest`. That a registry answers for a digest says nothing about its layers.

    Example:
        >>> import imgframe as imf
        >>> imf.irreplaceable(imf.Inventory({})).empty
        True
    """
    import pandas as pd

    images = inventory.images
    known = remote_presence(
        inventory,
        insecure=insecure,
        hosts_dirs=hosts_dirs,
        docker_config=docker_config,
        max_parallel=max_parallel,
        timeout=timeout,
    )
    digests = images["digest"].astype("object")
    held = digests.map(_copies(inventory)).fillna(0).astype("int64")
    states = [known.get(digest, (None, "")) for digest in digests]
    rows = _frame(
        images,
        {
            "digest": images["digest"],
            "copies": held,
            "in_registry": pd.Series([one[0] for one in states], dtype="boolean"),
            "reason": [one[1] for one in states],
        },
    )
    alone = (rows["copies"] <= copies) & ~rows["in_registry"].fillna(False)
    return rows[alone].reset_index(drop=True)


def _copies(inventory: Inventory) -> dict[str, int]:
    """Per digest how many stores hold it completely; two names of one node are one store."""
    images, nodes = inventory.images, inventory.nodes
    stores = dict(zip(nodes["node"].astype("object"), nodes["store_uuid"].astype("object"), strict=True))
    whole = images[images["complete"].fillna(False).astype(bool)]
    holders: dict[str, set[str]] = {}
    for node, digest in zip(whole["node"].astype("object"), whole["digest"].astype("object"), strict=True):
        holders.setdefault(digest, set()).add(_text(stores.get(node)) or node)
    return {digest: len(found) for digest, found in holders.items()}


def remote_presence(
    inventory: Inventory,
    digests: set[str] | None = None,
    *,
    insecure: bool = False,
    hosts_dirs: Paths = (),
    docker_config: str | os.PathLike[str] | None = None,
    max_parallel: int = 32,
    timeout: float = 60.0,
) -> dict[str, tuple[bool | None, str | None]]:
    """Per digest of an image record (of these, default all): whether a registry has it, and why not.

    Asked for is the digest in the repository of every name that the inventory has for it. None: not learnt.
    """
    images = inventory.images
    registry = Registry(
        hosts_dirs=hosts_dirs, insecure=insecure, docker_config=docker_config, timeout=timeout
    )
    named = zip(images["digest"].astype("object"), images["name"].astype("object"), strict=True)
    pairs = list(dict.fromkeys(pair for pair in named if digests is None or pair[0] in digests))

    async def one(pair: tuple[str, str]) -> _Found | None:
        digest, name = pair
        try:
            remote = registry.image(name)
        except RegistryError:
            return None  # no name in a registry: it says nothing
        try:
            at = registry.image(f"{remote.domain}/{remote.repository}@{digest}")
            return _Found(await at.resolve())
        except RegistryError as error:
            return _Found(reason=str(error), absent=isinstance(error, RegistryNotFound))

    async def work(asking: _Asking) -> dict[tuple[str, str], _Found | None]:
        return await asking.all(pairs, one)

    answers: dict[str, list[_Found | None]] = {}
    for (digest, _), found in (_ask(work, registry, max_parallel) if pairs else {}).items():
        answers.setdefault(digest, []).append(found)
    return {digest: _presence(found) for digest, found in answers.items()}


def _presence(answers: list[_Found | None]) -> tuple[bool | None, str | None]:
    told = [one for one in answers if one is not None]
    if any(one.target is not None for one in told):
        return True, None
    if not told:
        return False, "it has no name in a registry"
    doubtful = [one for one in told if not one.absent]
    return (None, doubtful[0].reason) if doubtful else (False, told[0].reason)
