"""Will it fit: what images would take on nodes that do not have them yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imgframe.errors import InputError, MissingColumn, NotFound

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory

TOGETHER = "all together"
"""The name of the row in which layers that the images share count once."""

_COLUMNS = {
    "node": "category", "name": "category", "missing_bytes": "Int64", "unpacked_bytes": "Int64", "unpacked_low": "Int64",
    "unpacked_high": "Int64", "exact": "boolean", "peak_bytes": "Int64", "free_after": "Int64", "fits": "boolean",
}  # fmt: skip


class _Layer(NamedTuple):
    digest: str
    chain: str
    size: int
    kind: str


class _Want(NamedTuple):
    """What one image needs: its documents and layers by digest."""

    documents: dict[str, int]
    layers: tuple[_Layer, ...]


def will_it_fit(
    images: pd.DataFrame | Sequence[str] | str,
    inventory: Inventory,
    nodes: Iterable[str] | None = None,
    *,
    namespace: str = "default",
    confidence: float = 0.9,
    disk_free: dict[str, int] | None = None,
) -> pd.DataFrame:
    """What each image would take on each node, and all of them together.

    ``images``: an images frame (columns name and digest) or names; they must be known to some node of the inventory, whose
    layers then say what is missing elsewhere. ``nodes``: by name, default all. ``namespace``: where they would be unpacked.
    ``disk_free``: bytes per node where the node itself does not say.

    Columns: node, name (an image, or ``all together`` with shared layers counted once), missing_bytes (to download), unpacked
    _bytes with _low and _high (exact where any node has the same chain unpacked in the same snapshotter, else from the ratios
    that the inventory shows for the media type), exact, peak_bytes (download and unpacked), free_after (at the expected size;
    NA: free space unknown), fits (even at the high end; NA: unknown).

    Raises:
        NotFound: no node knows the image.
        InputError: no such node.

    Example:
        >>> import imgframe as imf
        >>> from imgframe import schema
        >>> images = {"node": ["a"], "name": ["x:1"], "digest": ["m"], "manifest_digest": ["m"], "config_digest": ["c"]}
        >>> layers = {"manifest_digest": ["m"], "position": [0], "digest": ["l"], "size": [70], "chain_id": ["k"]}
        >>> nodes = {"node": ["a", "b"], "disk_free": [0, 1000], "snapshotter": ["overlayfs"] * 2}
        >>> snapshots = {"node": ["a"], "snapshotter": ["overlayfs"], "key": ["k"], "size": [300]}
        >>> tables = {"nodes": nodes, "images": images, "layers": layers, "snapshots": snapshots}
        >>> inv = imf.Inventory({name: schema.table(name, columns) for name, columns in tables.items()})
        >>> fit = imf.capacity.will_it_fit("x:1", inv, ["b"]).iloc[0]
        >>> int(fit["missing_bytes"]), int(fit["unpacked_bytes"]), bool(fit["exact"]), int(fit["free_after"])
        (70, 300, True, 630)
    """
    import pandas as pd

    wants = _wants(_digests(images, inventory), inventory)
    table = inventory.arrow("nodes").to_pylist()
    known = {row["node"]: row for row in table}
    chosen = list(known) if nodes is None else list(nodes)
    for name in chosen:
        if name not in known:
            raise InputError(f"no node {name!r} in the inventory; it has {', '.join(map(str, known))}")
    sizes = _Sizes(inventory, confidence)
    rows = []
    for name in chosen:
        here = _Here(inventory, name, namespace, known[name]["snapshotter"] or "overlayfs")
        free = (disk_free or {}).get(name, known[name]["disk_free"])
        rows += [(name, image, *_fit([want], here, sizes, free)) for image, want in wants.items()]
        if len(wants) > 1:
            rows.append((name, TOGETHER, *_fit(list(wants.values()), here, sizes, free)))
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


def _digests(images: Any, inventory: Inventory) -> dict[str, str]:
    """The target digest of each wanted image by name."""
    if isinstance(images, str):
        images = [images]
    if hasattr(images, "columns"):
        for column in ("name", "digest"):
            if column not in images.columns:
                raise MissingColumn(column, "will_it_fit", images.columns)
        return dict(zip(images["name"].astype(str), images["digest"].astype(str), strict=True))
    records = inventory.arrow("images")
    known = dict(zip(records["name"].to_pylist(), records["digest"].to_pylist(), strict=True))
    found = {}
    for name in images:
        if name not in known:
            raise NotFound(
                f"no node of the inventory knows {name!r}, so its layers are unknown; pull it to one node and collect again"
            )
        found[name] = known[name]
    return found


def _wants(digests: dict[str, str], inventory: Inventory) -> dict[str, _Want]:
    records = (
        inventory.arrow("images")
        .select(["digest", "manifest_digest", "config_digest", "target_size"])
        .to_pylist()
    )
    resolved = {row["digest"]: row for row in records if row["manifest_digest"] is not None}
    blobs = inventory.arrow("blobs")
    size_of = dict(zip(blobs["digest"].to_pylist(), blobs["size"].to_pylist(), strict=True))
    layers: dict[str, list[_Layer]] = {}
    for row in inventory.arrow("layers").to_pylist():
        layers.setdefault(row["manifest_digest"], []).append(
            _Layer(row["digest"], row["chain_id"], row["size"] or 0, row["media_type"])
        )
    wants = {}
    for name, digest in digests.items():
        if digest not in resolved:
            raise NotFound(
                f"no node has a readable manifest of {name!r} ({digest}), so its layers are unknown"
            )
        row = resolved[digest]
        documents = {
            one: size_of.get(one) or 0
            for one in (digest, row["manifest_digest"], row["config_digest"])
            if one
        }
        wants[name] = _Want(documents, tuple(layers.get(row["manifest_digest"], ())))
    return wants


class _Here:
    """What one node has already: blobs, and chains of one namespace and snapshotter."""

    def __init__(self, inventory: Inventory, node: str, namespace: str, snapshotter: str) -> None:
        self.snapshotter = snapshotter
        blobs, snapshots = inventory.arrow("blobs"), inventory.arrow("snapshots")
        self.blobs = {
            digest
            for at, digest in zip(blobs["node"].to_pylist(), blobs["digest"].to_pylist(), strict=True)
            if at == node
        }
        columns = zip(
            *(snapshots[name].to_pylist() for name in ("node", "namespace", "snapshotter", "key")),
            strict=True,
        )
        self.chains = {
            key for at, space, by, key in columns if (at, space, by) == (node, namespace, snapshotter)
        }


class _Sizes:
    """Unpacked sizes of chains that some node has, and the ratios of unpacked to compressed per media type."""

    def __init__(self, inventory: Inventory, confidence: float) -> None:
        snapshots = inventory.arrow("snapshots")
        columns = zip(*(snapshots[name].to_pylist() for name in ("snapshotter", "key", "size")), strict=True)
        self.known = {(by, key): size for by, key, size in columns if size is not None}
        ratios: dict[str, list[float]] = {}
        for row in inventory.arrow("layers").to_pylist():
            for by in {by for by, _ in self.known} if row["size"] else ():
                if (by, row["chain_id"]) in self.known:
                    ratios.setdefault(row["media_type"], []).append(
                        self.known[by, row["chain_id"]] / row["size"]
                    )
        self.tail = (1 - confidence) / 2
        self.ratios = {kind: np.array(values) for kind, values in ratios.items()}

    def of(self, layer: _Layer, snapshotter: str) -> tuple[int, int, int, bool] | None:
        """Expected, low and high bytes of a layer, and whether they are exact; None: nothing like it was ever seen."""
        known = self.known.get((snapshotter, layer.chain))
        if known is not None:
            return known, known, known, True
        ratios = self.ratios.get(layer.kind)
        if ratios is None:
            ratios = np.concatenate(list(self.ratios.values())) if self.ratios else None
        if ratios is None:
            return None
        low, middle, high = np.quantile(ratios, [self.tail, 0.5, 1 - self.tail]) * layer.size
        return int(middle), int(low), int(np.ceil(high)), False


def _fit(wants: Sequence[_Want], here: _Here, sizes: _Sizes, free: int | None) -> tuple[Any, ...]:
    documents = {
        digest: size for want in wants for digest, size in want.documents.items() if digest not in here.blobs
    }
    layers = {
        layer.digest: layer.size for want in wants for layer in want.layers if layer.digest not in here.blobs
    }
    missing = sum(documents.values()) + sum(layers.values())
    chains = {layer.chain: layer for want in wants for layer in want.layers if layer.chain not in here.chains}
    estimates = [sizes.of(layer, here.snapshotter) for layer in chains.values()]
    if None in estimates:
        return missing, None, None, None, False, None, None, None
    told = [one for one in estimates if one is not None]
    expected, low, high = (sum(one[at] for one in told) for at in range(3))
    exact = all(one[3] for one in told)
    after = None if free is None else free - missing - expected
    return (
        missing,
        expected,
        low,
        high,
        exact,
        missing + expected,
        after,
        None if free is None else free - missing - high >= 0,
    )
