"""The facts that need a dataset: growth, forecast, changes, and when images were last in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from imgframe import capacity, schema
from imgframe.dataset import diff, last_used
from imgframe.inventory import Inventory

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.dataset import Dataset


def history_facts(
    dataset: Dataset, inventory: Inventory, max_age: Any = None
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """The tables growth, forecast, changes and last_used, and their totals; ``inventory`` is the dataset's latest state."""
    nodes = inventory.arrow("nodes")["node"].to_pylist()
    seen = last_used(dataset)
    order = ["last_used", "node", "namespace", "name"]
    seen = seen[seen["node"].isin(nodes)].sort_values(order, na_position="first")
    forecast = capacity.forecast(dataset, max_age=max_age)
    changed = changes(dataset)
    soonest = forecast["days_to_full"].dropna()
    never = seen["present"].fillna(False) & seen["last_used"].isna()
    lost: dict[str, bool] = {}
    for one in dataset.collections:
        lost |= dict.fromkeys(one.read, False) | dict.fromkeys(one.failed, True)
    totals = {
        "nodes_failed": sum(lost[node] for node in nodes),
        "collections": len(dataset.collections),
        "first_collection": dataset.dates[0],
        "changes": len(changed),
        "never_seen_in_use": int(never.sum()),
        "soonest_full_days": round(float(soonest.min()), 2) if len(soonest) else None,
    }
    tables = {"growth": capacity.growth(dataset), "forecast": forecast, "changes": changed, "last_used": seen}
    return tables, totals


def changes(dataset: Dataset) -> pd.DataFrame:
    """The image changes between consecutive collections of each node: ``collected_at``, then the columns of ``Diff.changes``.

    ``collected_at`` is that of the later collection. A node's first collection is no change; a collection that could not read a
    node is skipped, and the next one is compared with the one before.
    """
    import pandas as pd

    state: dict[str, pa.Table] = {}
    parts = []
    for one, table in dataset.batches("images"):
        by_node = _by_node(table, one.read)
        known = [node for node in one.read if node in state]
        old, new = (
            Inventory({"images": schema.concat("images", [images[node] for node in known])})
            for images in (state, by_node)
        )
        found = diff(old, new).changes
        when = pd.Timestamp(one.collected_at, unit="ns", tz="UTC").as_unit("ns")
        found.insert(0, "collected_at", pd.DatetimeIndex([when] * len(found), dtype="datetime64[ns, UTC]"))
        parts.append(found)
        state |= by_node
    return _joined(parts)


def _by_node(table: pa.Table, nodes: tuple[str, ...]) -> dict[str, pa.Table]:
    if len(nodes) == 1:
        return {nodes[0]: table}
    names = table["node"].cast(pa.string())
    return {node: table.filter(pc.equal(names, node)) for node in nodes}


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The frames concatenated, with the dtypes of a single one."""
    import pandas as pd

    types: dict[str, Any] = dict(parts[0].dtypes.items())
    text = [name for name, kind in types.items() if isinstance(kind, pd.CategoricalDtype)]
    whole = pd.concat([part.astype(dict.fromkeys(text, "object")) for part in parts], ignore_index=True)
    return whole.astype({name: types[name] if name == "change" else "category" for name in text})
