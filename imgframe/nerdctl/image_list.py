"""What ``nerdctl images`` lists, from the tables of an Inventory: one row per record and readable platform.

Without pandas: the command prints ten images in the time it takes to import pandas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from imgframe import oci
from imgframe.errors import DocumentError
from imgframe.inventory import Inventory, memoised
from imgframe.inventory_documents import documents_of
from imgframe.nerdctl.documents import listed_platforms


class PlatformRow(NamedTuple):
    """One row of the wide list; sizes in bytes. ``size`` (snapshots) is None where the image is not unpacked or it is unknown."""

    node: str
    namespace: str
    name: str
    repository: str
    tag: str
    digest: str
    created_at: int | None
    platform: str
    config_digest: str
    size: int | None
    blob_size: int


class ImageRow(NamedTuple):
    """One row of the default list: the platforms of one record added up; sizes in bytes."""

    node: str
    namespace: str
    name: str
    digest: str
    disk_usage: int
    content_size: int
    used: bool


def platform_rows(inventory: Inventory, positions: Sequence[int] | None = None) -> list[PlatformRow]:
    """One row per image record and readable platform, newest record first, as ``nerdctl images`` lists them.

    ``positions`` are rows of the images table (all by default). Attestations and platforms whose documents cannot be read
    have no row; platforms of one record are in alphabetical order (nerdctl's order is random). The size is that of the
    snapshot chain in the snapshotter of the record. Source: nerdctl ``pkg/cmd/image/list.go``.

    Example:
        >>> import imgframe as imf
        >>> platform_rows(imf.Inventory({}))
        []
    """
    images = inventory.arrow("images")
    names = (
        "node",
        "namespace",
        "name",
        "repository",
        "tag",
        "snapshotter",
        "media_type",
        "digest",
        "target_size",
    )
    columns = [images[name].to_pylist() for name in names]
    created = images["created_at"].cast("int64").to_pylist()
    chosen = range(images.num_rows) if positions is None else positions
    size_of = _chain_sizes(inventory)
    rows = []
    for at in sorted(chosen, key=lambda row: -(created[row] if created[row] is not None else -(2**63))):
        node, namespace, name, repository, tag, snapshotter, media_type, digest, target_size = (
            column[at] for column in columns
        )
        target = oci.Descriptor(media_type or "", digest, target_size or 0)
        front = (node, namespace, name, repository or "", tag or "", digest, created[at])
        rows += [
            PlatformRow(
                *front,
                platform,
                one.config,
                size_of(node, namespace, snapshotter, one.chain_id),
                one.blob_size,
            )
            for platform, one in _listed(inventory, node, namespace, target)
        ]
    return rows


def image_rows(inventory: Inventory, rows: Iterable[PlatformRow]) -> list[ImageRow]:
    """The rows of :func:`platform_rows` added up per record, sorted by the name that the list shows.

    ``used``: a container of the same node and namespace was created from a record with this digest.
    """
    from imgframe.reference import list_ref

    containers = inventory.arrow("containers")
    used = set(
        zip(*(containers[name].to_pylist() for name in ("node", "namespace", "image_digest")), strict=True)
    )
    sums: dict[tuple[str, str, str, str], list[int]] = {}
    for row in rows:
        total = sums.setdefault((row.node, row.namespace, row.name, row.digest), [0, 0])
        total[0] += row.blob_size + (row.size or 0)
        total[1] += row.blob_size
    shown = [
        ImageRow(node, namespace, list_ref(name), digest, disk, content, (node, namespace, digest) in used)
        for (node, namespace, name, digest), (disk, content) in sums.items()
    ]
    return sorted(shown, key=lambda row: (row.node or "", row.namespace or "", row.name))


class _PlatformSizes(NamedTuple):
    config: str
    blob_size: int
    chain_id: str


@memoised
def _listed(
    inventory: Inventory, node: str, namespace: str, target: oci.Descriptor
) -> list[tuple[str, _PlatformSizes]]:
    """The readable platforms of a target, in alphabetical order."""
    try:
        found = listed_platforms(target, documents_of(inventory, node, namespace))
    except DocumentError:
        return []  # nerdctl leaves the record out; the table errors says why
    return [
        (
            platform,
            _PlatformSizes(
                one.manifest.config.digest, one.blob_size, oci.chain_id(one.config.rootfs.diff_ids)
            ),
        )
        for platform, one in sorted(found.items())
    ]


def _chain_sizes(inventory: Inventory) -> Callable[[str, str, str | None, str], int | None]:
    """The bytes of a snapshot chain by node, namespace, snapshotter and key; 0 for a chain without layers."""
    snapshots = inventory.arrow("snapshots")
    keys = zip(
        *(snapshots[name].to_pylist() for name in ("node", "namespace", "snapshotter", "key")), strict=True
    )
    totals: dict[Any, int | None] = dict(zip(keys, snapshots["total_size"].to_pylist(), strict=True))

    def size_of(node: str, namespace: str, snapshotter: str | None, chain_id: str) -> int | None:
        return 0 if chain_id == "" else totals.get((node, namespace, snapshotter, chain_id))

    return size_of
