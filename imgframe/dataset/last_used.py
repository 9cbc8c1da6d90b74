"""When images were seen and used, from the history, which survives all restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from imgframe.dataset.collections import Dataset

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("node", "namespace", "name", "digest", "containers", "used_by_digest")


def last_used(dataset: Dataset) -> pd.DataFrame:
    """For every image ever collected (node, namespace, name, digest): when it was seen, and when it was in use.

    Columns: node, namespace, name, digest; first_seen, last_seen; first_used, last_used (NaT: never observed in use);
    observations (collections that contain it), used_observations; present (in its node's last collection);
    not_observed_before (the node's first collection, after a prune the first from which on there is no gap: what happened
    earlier, or between two collections, was not observed).
    In use: a container names the record, or uses its digest under any name. A collection that could not read a node observed
    nothing there.

    Example:
        >>> import imgframe as imf, tempfile
        >>> from imgframe import schema
        >>> root = tempfile.mkdtemp() + "/history"
        >>> for day in (1, 2):
        ...     nodes = schema.table("nodes", {"node": ["a"], "collected_at": [day * 86_400 * 10**9]})
        ...     images = schema.table("images", {"node": ["a"], "name": ["x:1"], "containers": [2 - day]})
        ...     _ = imf.dataset.append(root, imf.Inventory({"nodes": nodes, "images": images}))
        >>> imf.dataset.last_used(imf.open_dataset(root))[["last_seen", "last_used"]].iloc[0].dt.day.tolist()
        [3, 2]
    """
    import pandas as pd

    seen: dict[tuple[Any, ...], list[Any]] = {}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for one, table in dataset.batches("images", _COLUMNS):
        for node in one.read:
            if node not in first or one.collected_at <= (dataset.pruned_before or 0):
                first[node] = one.collected_at
            last[node] = one.collected_at
        _observe(seen, table, one.collected_at)
    times = ["first_seen", "last_seen", "first_used", "last_used"]
    names = [*_COLUMNS[:4], *times, "observations", "used_observations"]
    frame = pd.DataFrame([(*key, *values) for key, values in seen.items()], columns=names)
    frame["present"] = pd.array([last[key[0]] == values[1] for key, values in seen.items()], dtype="boolean")
    frame["not_observed_before"] = [first[key[0]] for key in seen]
    for name in (*times, "not_observed_before"):
        frame[name] = pd.to_datetime(
            frame[name].astype("Int64").astype("float64") if frame.empty else frame[name], unit="ns", utc=True
        ).dt.as_unit("ns")
    counts = dict.fromkeys(("observations", "used_observations"), "Int64")
    return frame.astype({**dict.fromkeys(names[:4], "category"), **counts})


def _observe(seen: dict[tuple[Any, ...], list[Any]], table: pa.Table, when: int) -> None:
    columns = [table[name].to_pylist() for name in _COLUMNS]
    for *key, containers, by_digest in zip(*columns, strict=True):
        used = bool(containers) or bool(by_digest)
        entry = seen.setdefault(tuple(key), [when, when, None, None, 0, 0])
        entry[1] = when
        entry[4] += 1
        if used:
            entry[2:4] = when if entry[2] is None else entry[2], when
            entry[5] += 1
