"""Which digests registries have, and the images that none could give back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from imgframe.errors import RegistryError
from imgframe.upstream.lookup import Paths, QuerySession, RegistryOptions, Resolution, query_registries
from imgframe.upstream.staleness import record_frame

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory


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
        inventory, RegistryOptions(insecure, hosts_dirs, docker_config, max_parallel, timeout)
    )
    digests = images["digest"].astype("object")
    held = digests.map(_copies(inventory)).fillna(0).astype("int64")
    states = [known.get(digest, RegistryPresence(None, "its digest is unknown")) for digest in digests]
    rows = record_frame(
        images,
        {
            "digest": images["digest"],
            "copies": held,
            "in_registry": pd.Series([one.there for one in states], dtype="boolean"),
            "reason": [one.reason for one in states],
        },
    )
    alone = (rows["copies"] <= copies) & ~rows["in_registry"].fillna(False)
    return rows[alone].reset_index(drop=True)


def _copies(inventory: Inventory) -> dict[str, int]:
    """Per digest how many stores hold it completely; two names of one node are one store."""
    nodes = inventory.arrow("nodes").select(["node", "store_uuid"]).to_pylist()
    stores = {row["node"]: row["store_uuid"] or row["node"] for row in nodes}
    holders: dict[str, set[str]] = {}
    for row in inventory.arrow("images").select(["node", "digest", "complete"]).to_pylist():
        if row["complete"]:
            holders.setdefault(row["digest"], set()).add(stores.get(row["node"], row["node"]))
    return {digest: len(found) for digest, found in holders.items()}


class RegistryPresence(NamedTuple):
    """Whether a registry has a digest (None: not learnt), why not, and under which reference it has it."""

    there: bool | None
    reason: str | None = None
    reference: str | None = None


def remote_presence(
    inventory: Inventory, options: RegistryOptions, digests: set[str] | None = None
) -> dict[str, RegistryPresence]:
    """Per digest of an image record (of these, default all): whether a registry has it, and why not.

    Asked for is the digest in the repository of every name that the inventory has for it.
    """
    images = inventory.arrow("images").select(["digest", "name"])
    named = zip(images["digest"].to_pylist(), images["name"].to_pylist(), strict=True)
    pairs = list(dict.fromkeys(pair for pair in named if digests is None or pair[0] in digests))

    async def one(session: QuerySession, pair: tuple[str, str]) -> tuple[str, Resolution] | None:
        digest, name = pair
        try:
            remote = session.registry.image(name)
        except RegistryError:
            return None  # not a name in a registry
        at = f"{remote.domain}/{remote.repository}@{digest}"
        return at, await session.resolve(at)

    async def work(session: QuerySession) -> dict[tuple[str, str], tuple[str, Resolution] | None]:
        return await session.each(pairs, lambda pair: one(session, pair))

    answers: dict[str, list[tuple[str, Resolution]]] = {digest: [] for digest, _ in pairs}
    for (digest, _), found in (query_registries(work, options) if pairs else {}).items():
        answers[digest] += [] if found is None else [found]
    return {digest: _presence(found) for digest, found in answers.items()}


def _presence(answers: list[tuple[str, Resolution]]) -> RegistryPresence:
    for reference, found in answers:
        if found.target is not None:
            return RegistryPresence(True, None, reference)
    if not answers:
        return RegistryPresence(False, "it has no name in a registry")
    doubtful = [found.reason for _, found in answers if not found.absent]
    return RegistryPresence(None, doubtful[0]) if doubtful else RegistryPresence(False, answers[0][1].reason)
