"""GetExistingImage on an inventory: the record of each store that an argument refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from imgframe import oci, platforms
from imgframe.errors import DocumentError
from imgframe.inventory_documents import documents_of
from imgframe.planning.local_image import LocalRecord, find_existing, lookup

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory


def get_existing_images(
    inventory: Inventory, reference: str, platform: str | platforms.Platform | None = None
) -> pd.DataFrame:
    """The record that an argument refers to on each node (nerdctl's GetExistingImage).

    A record matches by its normalised name, by the argument itself, or by the beginning of its digest; of several the first
    in the store's order whose config can be read for the platform is taken.

    Args:
        inventory: one with the documents of its images.
        reference: a name, or the beginning of a digest, with or without ``sha256:``.
        platform: exactly this one; default: each node's own.

    Returns:
        One row per node and namespace with images: node, namespace, ref, name and digest of the record (NA: none),
        the snapshotter it is unpacked into (NA: none), and error: why there is no record.

    Raises:
        FilterError: the argument cannot be written in a containerd filter; Go fails as well.
        PlatformError: a platform that cannot be parsed.

    Example:
        >>> import imgframe as imf
        >>> list(imf.get_existing_images(imf.Inventory({}), "alpine").columns)
        ['node', 'namespace', 'ref', 'name', 'digest', 'snapshotter', 'error']
    """
    import pandas as pd

    wanted = lookup(reference)
    wish = None if platform is None else platforms.strict(platform)
    images = inventory.arrow("images")
    columns = ["node", "namespace", "name", "digest", "media_type", "target_size"]
    rows = images.select(columns).to_pylist()
    stores: dict[tuple[str, str], list[LocalRecord]] = {}
    for row in rows:
        target = oci.Descriptor(row["media_type"] or "", row["digest"] or "", row["target_size"] or 0)
        stores.setdefault((row["node"], row["namespace"]), []).append(LocalRecord(row["name"], target))
    found: list[dict[str, Any]] = []
    for (node, namespace), records in stores.items():
        documents = documents_of(inventory, node, namespace)
        matcher = wish or platforms.strict(documents.host, documents.host)
        row = {"node": node, "namespace": namespace, "ref": reference}
        try:
            record, config = find_existing(wanted, records, matcher, documents)
        except DocumentError as error:
            found.append({**row, "error": str(error)})
        else:
            where = _unpacked(inventory, node, namespace, oci.chain_ids(config.rootfs.diff_ids))
            found.append({**row, "name": record.name, "digest": record.target.digest, "snapshotter": where})
    names = ["node", "namespace", "ref", "name", "digest", "snapshotter", "error"]
    return pd.DataFrame(
        {name: pd.array([one.get(name) for one in found], dtype="string") for name in names}
    ).astype(dict.fromkeys(("node", "namespace", "name", "digest", "snapshotter"), "category"))


def _unpacked(inventory: Inventory, node: str, namespace: str, chain: list[str]) -> str | None:
    """The first snapshotter with the whole chain; None: unpacked nowhere, or no layers."""
    if not chain:
        return None
    snapshots = inventory.arrow("snapshots")
    mask = pc.and_(pc.equal(snapshots["node"], node), pc.equal(snapshots["namespace"], namespace))
    here = snapshots.filter(pc.and_(mask, pc.equal(snapshots["key"], chain[-1])))
    return min((name for name in here["snapshotter"].to_pylist() if name), default=None)
