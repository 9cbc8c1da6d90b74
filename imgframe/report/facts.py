"""The numbers of a report: totals and the tables behind its figures, each as the public functions return it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from imgframe import capacity, schema
from imgframe.errors import InputError
from imgframe.inventory import Inventory
from imgframe.nerdctl.selection import get_dangling_images, get_unused_images
from imgframe.planning.requested import records_of
from imgframe.planning.retention import RetentionRules, free, kept_table
from imgframe.reclaiming import Reclaim, breakdown, orphans, reclaim, reclaim_each
from imgframe.report.history import history_facts
from imgframe.usage.node_bytes import content_by_node, snapshots_by_node

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.dataset import Dataset

IMAGE_COLUMNS = [
    "node", "namespace", "name", "digest", "created_at", "built_at", "unique_size", "shared_size", "content_present_size",
    "unpacked_size", "containers", "used_by_digest", "pinned",
]  # fmt: skip

SHARING_MOST = 30
"""Images in the matrix of bytes that pairs of images share."""


@dataclass(slots=True)
class Facts:
    """What a report says: ``totals`` are JSON values by name, ``tables`` frames by name.

    ``now``: the latest collection, to which ages refer. ``matrix``: bytes that pairs of images share, in the namespace
    ``sharing_store`` (node, namespace). ``history``: the report is on a dataset.
    """

    inventory: Inventory
    totals: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    matrix: pd.DataFrame | None = None
    sharing_store: tuple[str, ...] = ()
    now: pd.Timestamp | None = None
    history: bool = False


def gather(source: Inventory | Dataset, max_age: Any = None) -> Facts:
    """The facts of an inventory, or of the latest state of a dataset and its history; ``max_age`` as for ``Dataset.at``.

    Raises:
        InputError: ``max_age`` for an inventory, which has no history.
    """
    if isinstance(source, Inventory) and max_age is not None:
        raise InputError("max_age needs a history; report on a dataset (imgframe.dataset.append) or omit it")
    inventory = source if isinstance(source, Inventory) else source.at(max_age=max_age)
    facts = Facts(inventory)
    for add in (_add_nodes, _add_images, _add_reclaimable, _add_sharing):
        add(facts)
    if not isinstance(source, Inventory):
        facts.history = True
        tables, totals = history_facts(source, inventory, max_age)
        facts.tables |= tables
        facts.totals |= totals
    errors = facts.tables["errors"] = inventory.errors
    failures = errors["stage"].astype("str") != "history"  # too old to count is no failure
    facts.totals["errors"] = int(failures.sum())
    return facts


def _add_nodes(facts: Facts) -> None:
    """What the store of each node holds, and when it was read."""
    import pandas as pd

    inventory, nodes = facts.inventory, facts.inventory.nodes
    columns = ["node", "containerd_version", "platform", "status", "collected_at", "disk_total", "disk_free"]
    by_node = capacity.by_node(inventory).set_index("node")
    counts = {
        "content_bytes": content_by_node(inventory.arrow("blobs")),
        "snapshot_bytes": snapshots_by_node(inventory.arrow("snapshots")),
        **{name: by_node[name].to_dict() for name in ("images", "reclaimable_bytes")},
    }
    table = facts.tables["nodes"] = nodes[columns]
    for name, found in counts.items():
        table[name] = pd.array([found.get(node, 0) for node in nodes["node"]], dtype="Int64")
    times = nodes["collected_at"].dropna()
    facts.now = times.max() if len(times) else None
    whole = {name: len(nodes) and nodes[name].notna().all() for name in ("disk_total", "disk_free")}
    facts.totals |= {
        "collected_from": _text(times.min()) if len(times) else None,
        "collected_to": _text(times.max()) if len(times) else None,
        "nodes": len(nodes),
        "nodes_failed": int((nodes["status"] == "failed").sum()),
        **{name: _sum(table[name]) for name in ("content_bytes", "snapshot_bytes")},
        **{name: _sum(nodes[name]) if known else None for name, known in whole.items()},
    }
    parts = facts.tables["breakdown"] = breakdown(facts.inventory)
    sums = parts.groupby("part", observed=True)["size"].sum()
    for part in ("images", "containers", "orphans", "total"):
        facts.totals[f"{part.removesuffix('s')}_bytes"] = int(sums.get(part, 0))


def _sum(values: Any) -> int:
    return int(values.sum()) if len(values) else 0


def _text(moment: Any) -> str:
    return str(moment.isoformat()).replace("+00:00", "Z")


def _add_images(facts: Facts) -> None:
    images = facts.inventory.images
    facts.tables["images"] = images[IMAGE_COLUMNS]
    named = facts.inventory.replace(images=_named(facts.inventory))
    facts.tables["repositories"] = capacity.by_repository(named)
    facts.totals |= {
        "image_records": len(images),
        "image_digests": int(images["digest"].nunique()),
        "repositories": int(images.loc[images["repository"] != "", "repository"].nunique()),
        "dangling_images": len(get_dangling_images(images)),
        "containers": len(facts.inventory.containers),
    }


def _named(inventory: Inventory) -> pa.Table:
    """The image records, without those that have no repository while another record of the same digest has one.

    The CRI creates such a record for each image; as a group of their own these would take half of everything.
    """
    table = inventory.arrow("images")
    images = inventory.images[["node", "namespace", "digest", "repository"]]
    named = images["repository"].astype("object") != ""
    same = [images[name].cat.codes for name in ("node", "namespace", "digest")]
    other = named.groupby(same).transform("any")
    return table.filter(pa.array((named | ~other).to_numpy(dtype=bool))) if len(images) else table


def _add_reclaimable(facts: Facts) -> None:
    """What the unused images take: all of them, and those that a prune would not keep."""
    inventory = facts.inventory
    unused = get_unused_images(inventory)
    records = records_of(unused, inventory, "report")
    reasons = RetentionRules().reasons(records, inventory)
    going = inventory.images.iloc[records.rows[free(reasons)]].reset_index(drop=True)
    freed = reclaim(inventory, going)
    each = reclaim_each(inventory, going)
    columns = ["node", "namespace", "name", "digest", "created_at"]
    table = going[columns].assign(freed_alone_bytes=each["total_bytes"].to_numpy())
    order = ["freed_alone_bytes", "node", "namespace", "name"]
    facts.tables["reclaimable"] = table.sort_values(order, ascending=[False, True, True, True])
    facts.tables["kept"] = schema.to_frame(kept_table(records, reasons))
    facts.tables["held"] = held = _by_holder(freed)
    facts.tables["orphans"] = orphaned = orphans(inventory)
    facts.tables["orphan_reasons"] = _by_reason(orphaned)
    facts.totals |= {
        "unused_images": len(unused),
        "reclaimable_images": len(going),
        "reclaimable_content_bytes": freed.content_bytes,
        "reclaimable_snapshot_bytes": freed.snapshot_bytes,
        "reclaimable_bytes": freed.total_bytes,
        "reclaimable_is_upper_bound": bool(freed.arrow("unread").num_rows),
        "reclaimable_unknown_snapshots": freed.arrow("unknown").num_rows,
        "unused_bytes": reclaim(inventory, unused).total_bytes,
        "kept_images": len(facts.tables["kept"]),
        "held_bytes": _sum(held["held_bytes"]),
        "orphans": len(orphaned),
    }
    facts.tables["waterfall"] = _waterfall(facts.totals, freed)


def _by_holder(freed: Reclaim) -> pd.DataFrame:
    """What the images to delete refer to that stays, by node and holder."""
    held = freed.held
    names = ["node", "namespace", "holder_kind", "holder"]
    plain = held.astype(dict.fromkeys((*names, "kind", "key"), "object"))
    table = plain.groupby(names, dropna=False, as_index=False).agg(
        things=("key", "size"), held_bytes=("size", "sum")
    )
    table = table.sort_values(["held_bytes", *names], ascending=[False, True, True, True, True])
    return table.astype({"things": "Int64", "held_bytes": "Int64"}).reset_index(drop=True)


def _by_reason(orphaned: pd.DataFrame) -> pd.DataFrame:
    """Orphans by reason and by what removes them."""
    plain = orphaned.astype(dict.fromkeys(("reason", "action"), "object"))
    table = plain.groupby(["reason", "action"], as_index=False).agg(
        things=("key", "size"), orphan_bytes=("size", "sum"), oldest=("created_at", "min")
    )
    table = table.sort_values(["orphan_bytes", "reason"], ascending=[False, True]).reset_index(drop=True)
    return table.astype({"things": "Int64", "orphan_bytes": "Int64"})


def _waterfall(totals: dict[str, Any], freed: Reclaim) -> pd.DataFrame:
    """The bytes before, what deleting the unused images frees, what is held, and the bytes after."""
    import pandas as pd

    before = totals["total_bytes"]
    rows = [
        ("before", before, "total"),
        ("unused content", -freed.content_bytes, "freed"),
        ("unused snapshots", -freed.snapshot_bytes, "freed"),
        *([("held", -totals["held_bytes"], "held")] if totals["held_bytes"] else []),
        ("after", before - freed.content_bytes - freed.snapshot_bytes, "total"),
    ]
    frame = pd.DataFrame(rows, columns=["step", "bytes", "kind"])
    return frame if before else frame.iloc[:0]


def _add_sharing(facts: Facts) -> None:
    copies = facts.tables["duplicates"] = capacity.duplicates(facts.inventory)
    facts.totals["duplicate_bytes"] = _sum(copies["duplicate_bytes"])
    images = _sharing_most(facts.inventory.images)
    facts.matrix = capacity.layer_sharing(facts.inventory, images)
    facts.tables["layer_sharing"] = _long(facts.matrix)
    if len(images):
        facts.sharing_store = tuple(str(images[name].iloc[0]) for name in ("node", "namespace"))


def _sharing_most(images: pd.DataFrame) -> pd.DataFrame:
    """The images that share the most, in the namespace whose images share the most, each digest once."""
    known = images[images["shared_size"].fillna(0) > 0]
    if known.empty:
        return known
    sums = known.groupby(["node", "namespace"], observed=True)["shared_size"].sum()
    node, namespace = sums.index[int(sums.to_numpy().argmax())]
    here = known[(known["node"] == node) & (known["namespace"] == namespace)]
    here = here.sort_values(["shared_size", "name"], ascending=[False, True]).drop_duplicates("digest")
    return here.head(SHARING_MOST)


def _long(matrix: pd.DataFrame) -> pd.DataFrame:
    """The pairs of a square frame that share anything, each once, the most bytes first."""
    import pandas as pd

    values = matrix.to_numpy(dtype="int64")
    first, second = np.nonzero(np.triu(values, 1))
    names = matrix.index.astype("object").to_numpy()
    columns = ["shared_bytes", "image", "other_image"]
    pairs = dict(zip(columns, (values[first, second], names[first], names[second]), strict=True))
    table = pd.DataFrame(pairs)[["image", "other_image", "shared_bytes"]]
    return table.sort_values(columns, ascending=[False, True, True]).astype({"shared_bytes": "Int64"})
