"""Will it fit: what images would take on nodes that do not have them yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe import platforms
from imgframe.errors import InputError, MissingColumn, NotFound, PlatformError, ReferenceError_
from imgframe.reference import parse_docker_ref

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory

TOGETHER = "all together"
"""The name of the row for all images, in which shared layers count once."""

_COLUMNS = {
    "node": "category", "name": "category", "missing_bytes": "Int64", "unpacked_bytes": "Int64", "unpacked_low": "Int64",
    "unpacked_high": "Int64", "exact": "boolean", "peak_bytes": "Int64", "free_after": "Int64", "fits": "boolean",
}  # fmt: skip


class _Layer(NamedTuple):
    digest: str
    chain: str
    size: int
    kind: str


class _Needs(NamedTuple):
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

    ``images``: an images frame (columns name and digest) or names, as in the inventory or as users type them; some node of the
    inventory must have them, because its layers say what is missing elsewhere. ``nodes``: names, by default all nodes.
    ``namespace``: where they would be unpacked. ``disk_free``: bytes by node, if the node itself does not report them.

    Of an index a node pulls the manifest for its own platform; if no node has read that one, the numbers are NA.

    Columns: node, name (an image, followed by ``@`` and its digest if the frame has several of that name, or ``all together``
    with shared layers counted once), missing_bytes (to download), unpacked_bytes, unpacked_low and unpacked_high (exact if any
    node has the same chain unpacked in the same snapshotter, else from the ratios in the inventory for the media type), exact,
    peak_bytes (download and unpacked), free_after (at the expected size; NA: free space unknown), fits (even at the high end;
    NA: unknown).

    Raises:
        NotFound: no node has the image.
        InputError: no such node, or a name that stands for different images on different nodes.

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

    digests = _digests(images, inventory)
    catalogue = _KnownImages(inventory)
    table = inventory.arrow("nodes").to_pylist()
    known = {row["node"]: row for row in table}
    chosen = list(known) if nodes is None else list(nodes)
    for name in chosen:
        if name not in known:
            raise InputError(f"no node {name!r} in the inventory; it has {', '.join(map(str, known))}")
    sizes = _SizeEstimates(inventory, confidence)
    rows = []
    for name in chosen:
        here = _NodeStore(inventory, name, namespace, known[name]["snapshotter"] or "overlayfs")
        wants = {
            image: catalogue.want(image, digest, known[name]["platform"]) for image, digest in digests.items()
        }
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
        pairs = dict.fromkeys(zip(*(images[name].astype(str) for name in ("name", "digest")), strict=True))
        times = Counter(name for name, _ in pairs)
        return {name if times[name] == 1 else f"{name}@{digest}": digest for name, digest in pairs}
    records = inventory.arrow("images")
    known: dict[str, set[str]] = {}
    for name, digest in zip(records["name"].to_pylist(), records["digest"].to_pylist(), strict=True):
        known.setdefault(name, set()).add(digest)
    return {name: _one_digest(name, known) for name in images}


def _one_digest(name: str, known: dict[str, set[str]]) -> str:
    """The digest of a name, as in stores or as users type it."""
    found = known.get(name)
    if found is None:
        with suppress(ReferenceError_):
            found = known.get(parse_docker_ref(name))
    if found is None:
        raise NotFound(
            f"no node of the inventory has {name!r}, so its layers are unknown; pull it to one node and collect again"
        )
    if len(found) > 1:
        raise InputError(
            f"{name!r} stands for {len(found)} different images on the nodes ({', '.join(sorted(found))}); give rows of inventory.images"
        )
    return next(iter(found))


class _KnownImages:
    """The documents and layers of every image that some node could read, by platform."""

    def __init__(self, inventory: Inventory) -> None:
        images, blobs = inventory.arrow("images"), inventory.arrow("blobs")
        columns = ("digest", "manifest_digest", "config_digest", "platform")
        self._targets: dict[str, dict[str, dict[str, Any]]] = {}
        for row in images.select(columns).to_pylist():
            if row["manifest_digest"] is not None:
                self._targets.setdefault(row["digest"], {})[row["manifest_digest"]] = row
        names = ("parent_digest", "digest", "config_digest", "platform", "is_attestation")
        for row in inventory.arrow("manifests").select(names).to_pylist():
            target = self._targets.get(row["parent_digest"])
            if target is not None and row["config_digest"] is not None and not row["is_attestation"]:
                target.setdefault(row["digest"], {**row, "manifest_digest": row["digest"]})
        self._sizes = dict(zip(blobs["digest"].to_pylist(), blobs["size"].to_pylist(), strict=True))
        self._layers: dict[str, list[_Layer]] = {}
        for row in inventory.arrow("layers").to_pylist():
            self._layers.setdefault(row["manifest_digest"], []).append(
                _Layer(row["digest"], row["chain_id"], row["size"] or 0, row["media_type"])
            )

    def want(self, name: str, digest: str, platform: str | None) -> _Needs | None:
        """What a node of this platform needs for an image; None: no node has read the manifest that it would pull."""
        known = self._targets.get(digest)
        if known is None:
            raise NotFound(
                f"no node has a readable manifest of {name!r} ({digest}), so its layers are unknown"
            )
        row = known.get(digest) or _best(list(known.values()), platform)
        if row is None:
            return None
        manifest = row["manifest_digest"]
        parts = (digest, manifest, row["config_digest"])
        documents = {one: self._sizes.get(one) or 0 for one in parts if one}
        return _Needs(documents, tuple(self._layers.get(manifest, ())))


def _best(rows: list[dict[str, Any]], platform: str | None) -> dict[str, Any] | None:
    """The manifest of an index that a node of this platform pulls; for an unknown platform, that of another node."""
    if platform is None:
        return rows[0]
    matcher = platforms.default(platform)
    best: tuple[platforms.Platform, dict[str, Any]] | None = None
    for row in rows:
        # a config may have any platform; one that cannot be parsed matches no node
        with suppress(PlatformError):
            own = platforms.parse(row["platform"] or "")
            if matcher.match(own) and (best is None or matcher.less(own, best[0])):
                best = own, row
    return None if best is None else best[1]


class _NodeStore:
    """What one node already has: blobs, and chains of one namespace and snapshotter."""

    def __init__(self, inventory: Inventory, node: str, namespace: str, snapshotter: str) -> None:
        self.snapshotter = snapshotter
        self.blobs = set(_where(inventory.arrow("blobs"), node=node)["digest"].to_pylist())
        mine = {"node": node, "namespace": namespace, "snapshotter": snapshotter}
        self.chains = set(_where(inventory.arrow("snapshots"), **mine)["key"].to_pylist())


def _where(table: pa.Table, **wanted: str) -> pa.Table:
    """The rows with these words in these columns."""
    for name, word in wanted.items():
        table = table.filter(pc.equal(table[name].cast(pa.string()), word))
    return table


class _SizeEstimates:
    """Unpacked sizes of the chains that some node has, and ratios of unpacked to compressed size by media type."""

    def __init__(self, inventory: Inventory, confidence: float) -> None:
        snapshots = inventory.arrow("snapshots")
        columns = zip(*(snapshots[name].to_pylist() for name in ("snapshotter", "key", "size")), strict=True)
        self.known = {(by, key): size for by, key, size in columns if size is not None}
        snapshotters = {by for by, _ in self.known}
        ratios: dict[str, list[float]] = {}
        for row in inventory.arrow("layers").to_pylist():
            for by in snapshotters if row["size"] else ():
                if (size := self.known.get((by, row["chain_id"]))) is not None:
                    ratios.setdefault(row["media_type"], []).append(size / row["size"])
        self.tail = (1 - confidence) / 2
        self.ratios = {kind: np.array(values) for kind, values in ratios.items()}

    def of(self, layer: _Layer, snapshotter: str) -> tuple[int, int, int, bool] | None:
        """Expected, low and high bytes of a layer, and whether they are exact; None: nothing comparable is known."""
        known = self.known.get((snapshotter, layer.chain))
        if known is not None:
            return known, known, known, True
        if not self.ratios:
            return None
        ratios = self.ratios.get(layer.kind)
        if ratios is None:
            ratios = np.concatenate(list(self.ratios.values()))
        low, middle, high = np.quantile(ratios, [self.tail, 0.5, 1 - self.tail]) * layer.size
        return int(middle), int(low), int(np.ceil(high)), False


def _fit(
    asked: Sequence[_Needs | None], here: _NodeStore, sizes: _SizeEstimates, free: int | None
) -> tuple[Any, ...]:
    wants = [want for want in asked if want is not None]
    if len(wants) < len(asked):
        return None, None, None, None, False, None, None, None
    documents = {digest: size for want in wants for digest, size in want.documents.items()}
    layers = {layer.digest: layer.size for want in wants for layer in want.layers}
    missing = sum(size for digest, size in (documents | layers).items() if digest not in here.blobs)
    chains = {layer.chain: layer for want in wants for layer in want.layers if layer.chain not in here.chains}
    estimates = [sizes.of(layer, here.snapshotter) for layer in chains.values()]
    told = [one for one in estimates if one is not None]
    if len(told) < len(estimates):
        return missing, None, None, None, False, None, None, None
    expected, low, high = (sum(one[at] for one in told) for at in range(3))
    exact = all(one[3] for one in told)
    after, fits = (None, None) if free is None else (free - missing - expected, free - missing - high >= 0)
    return missing, expected, low, high, exact, missing + expected, after, fits
