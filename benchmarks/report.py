"""A report of 100,000 images, and every chart of 100,000 and of a million of them."""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

import imgframe as imf
from imgframe import charts, report, schema, simulator

MOST_SECONDS = {"report": 15.0, 100_000: 1.0, 1_000_000: 2.0}


def fleet_of(images: int) -> imf.Inventory:
    """A simulated fleet of twelve nodes, collected once, repeated under other node names until it has so many records."""
    with simulator.fleet(nodes=12, days=60) as fleet:
        one = imf.collect(fleet.nodes, cache=False, progress=False)
    times = -(-images // one.arrow("images").num_rows)
    return imf.Inventory(
        {name: _repeated(name, one.arrow(name), times) for name in schema.TABLES if name != "labels"}
    )


def _repeated(name: str, table: pa.Table, times: int) -> pa.Table:
    if "node" not in table.column_names or not table.num_rows:
        return table
    node = table["node"].combine_chunks()
    place = table.column_names.index("node")
    parts = []
    for at in range(times):
        words = pa.array([f"{word}-{at:04}" for word in node.dictionary.to_pylist()])
        parts.append(table.set_column(place, "node", pa.DictionaryArray.from_arrays(node.indices, words)))
    return schema.concat(name, parts)


def clock(work) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def drawn(ax) -> None:
    ax.figure.savefig(io.BytesIO(), format="png", dpi=100)


def frames(images: int):
    """For each chart what a store of so many images would give it."""
    import pandas as pd

    rng = np.random.default_rng(images)
    groups, nodes = max(images // 150, 1), max(images // 120, 1)
    names = [f"registry.example/team-{at % 40}/service-{at}" for at in range(groups)]
    bytes_ = {
        name: (rng.pareto(1.2, groups) * 1e8).astype("int64")
        for name in ("unique_bytes", "shared_bytes", "physical_bytes")
    }
    repositories = pd.DataFrame({"repository": names, **bytes_})
    ages = pd.Timestamp("2026-11-23", tz="UTC") - pd.to_timedelta(rng.exponential(40, images), unit="D")
    points = pd.DataFrame(
        {
            "created_at": ages,
            "unique_size": pd.array((rng.pareto(1, images) * 1e7).astype("int64"), dtype="Int64"),
            "containers": pd.array(rng.integers(0, 2, images), dtype="Int64"),
            "used_by_digest": pd.array(rng.random(images) < 0.1, dtype="boolean"),
        }
    )
    matrix = pd.DataFrame(rng.integers(0, 10**9, (300, 300)), index=names[:300], columns=names[:300])
    by_node = pd.DataFrame(
        {
            "node": [f"node-{at}" for at in range(nodes)],
            **{k: rng.integers(0, 10**11, nodes) for k in ("content_bytes", "snapshot_bytes")},
        }
    )
    copies = repositories.assign(
        copies=3, one_bytes=bytes_["unique_bytes"], duplicate_bytes=bytes_["shared_bytes"]
    )[["repository", "copies", "one_bytes", "duplicate_bytes"]]
    days = pd.date_range("2026-08-25", periods=90, tz="UTC")
    few = min(nodes, 400)
    growth = pd.DataFrame(
        {
            "collected_at": np.tile(days, few),
            "node": np.repeat([f"node-{at}" for at in range(few)], 90),
            "total_bytes": rng.integers(0, 10**11, 90 * few),
        }
    )
    kinds = pd.Categorical.from_codes(
        rng.integers(0, 4, images), ["added", "removed", "retagged", "use began"]
    )
    changes = pd.DataFrame({"collected_at": days[rng.integers(0, 90, images)], "change": kinds})
    steps = pd.DataFrame(
        {
            "step": ["before", "unused", "held", "after"],
            "bytes": [9, -5, -2, 4],
            "kind": ["total", "freed", "held", "total"],
        }
    )
    return {
        "usage_by_repository": (charts.usage_by_repository, repositories),
        "treemap": (charts.treemap, repositories),
        "layer_sharing": (charts.layer_sharing, matrix),
        "age_against_size": (charts.age_against_size, points),
        "growth": (charts.growth, growth),
        "waterfall": (charts.waterfall, steps),
        "fleet": (charts.fleet, by_node),
        "duplicates": (charts.duplicates, copies),
        "timeline": (charts.timeline, changes),
    }  # fmt: skip


def line(what: str, seconds: float, most: float) -> None:
    print(f"{what:<44}{seconds:7.2f} s   wanted <= {most:g} s: {'yes' if seconds <= most else 'NO'}")


def main() -> None:
    inventory = fleet_of(100_000)
    print(repr(inventory)[1:-1])
    with tempfile.TemporaryDirectory() as folder:
        line(
            "report", clock(lambda: report.write(inventory, Path(folder) / "report")), MOST_SECONDS["report"]
        )
    for images in (100_000, 1_000_000):
        for name, (chart, frame) in frames(images).items():
            line(
                f"{name} of {images:,} images, as PNG",
                clock(lambda c=chart, f=frame: drawn(c(f))),
                MOST_SECONDS[images],
            )


if __name__ == "__main__":
    main()
