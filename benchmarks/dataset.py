"""Inventories over time: append, unique and total bytes per day, one node of a week; DuckDB in the same run.

90 days of 1,000,000 rows: three different days are written, the others are copies of them under other dates, which costs the
readers the same. ``IMGFRAME_BENCH_ROWS`` and ``IMGFRAME_BENCH_DAYS`` make it smaller.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

import imgframe as imf
from imgframe import capacity, dataset, schema

ROWS = int(os.environ.get("IMGFRAME_BENCH_ROWS", "1000000"))
DAYS = int(os.environ.get("IMGFRAME_BENCH_DAYS", "90"))
DAY = 86_400 * 10**9


def inventory(day: int) -> imf.Inventory:
    """1,000 nodes with the images of a fleet: 50,000 names, 20,000 digests, a few of them very popular."""
    rng = np.random.default_rng(day)
    nodes = [f"node-{number:04d}" for number in range(1000)]
    node = np.repeat(np.arange(1000), ROWS // 1000)
    name = (rng.pareto(0.5, ROWS) * 50).astype(np.int64) % 50_000
    digest = (name + rng.integers(0, 3, ROWS)) % 20_000
    size = (digest * 7919 % 10**9) + 10**6

    def words(codes: np.ndarray, texts: list[str]) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(texts))

    images = schema.table(
        "images",
        {
            "node": words(node, nodes),
            "namespace": words(np.zeros(ROWS), ["k8s.io"]),
            "name": words(name, [f"registry.example/team-{n % 40}/app-{n}:v{n % 9}" for n in range(50_000)]),
            "digest": words(digest, [f"sha256:{n:064x}" for n in range(20_000)]),
            "created_at": pa.array(day * DAY + rng.integers(0, 10**15, ROWS), pa.int64()).cast(
                pa.timestamp("ns", tz="UTC")
            ),
            "content_present_size": size,
        },
    )
    when = {"node": nodes, "collected_at": [(day + 20_000) * DAY] * len(nodes)}
    return imf.Inventory({"nodes": schema.table("nodes", when), "images": images})


MEMORY = """
import resource, sys
import imgframe as imf
opened = imf.open_dataset(sys.argv[1])
imf.capacity.daily(opened.between(end=opened.dates[1]))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
imf.capacity.daily(opened)
print(peak() - before)
"""
"""Run alone: how much more memory all days take than the first."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "history"
        spent = []
        for day in range(min(3, DAYS)):
            made = inventory(day)
            begun = time.perf_counter()
            dataset.append(root, made)
            spent.append(time.perf_counter() - begun)
        print(f"append {ROWS:,} rows: {min(spent):.2f} s (at most 5)")
        fill(root)
        opened = imf.open_dataset(root)
        size = sum(file.stat().st_size for file in root.rglob("images.parquet"))
        print(f"{len(opened.collections)} days, {size / 1e6:,.0f} MB of images")
        per_day(opened, root)
        one_node(opened)


def fill(root: Path) -> None:
    """The other days: copies of the first three with their own dates."""
    written = [one.path for one in imf.open_dataset(root).collections]
    for day in range(len(written), DAYS):
        date = np.datetime64("2024-10-04") + day
        target = root / f"date={date}" / f"collection={day:016x}"
        target.mkdir(parents=True)
        for file in written[day % len(written)].iterdir():
            os.link(file, target / file.name)
        nodes = schema.table(
            "nodes",
            {
                "node": [f"node-{number:04d}" for number in range(1000)],
                "collected_at": [(day + 20_000) * DAY] * 1000,
            },
        )
        (target / "nodes.parquet").unlink()
        spare = root.parent / "spare"
        made = dataset.append(spare, imf.Inventory({"nodes": nodes}))
        shutil.copy(made / "nodes.parquet", target / "nodes.parquet")


def per_day(opened: dataset.Dataset, root: Path) -> None:
    begun = time.perf_counter()
    frame = capacity.daily(opened)
    ours = time.perf_counter() - begun
    alone = subprocess.run(
        [sys.executable, "-c", MEMORY, str(root)], capture_output=True, text=True, check=True
    )
    print(
        f"total and unique bytes per day: {ours:.2f} s (at most 4), {float(alone.stdout):.0f} MB more memory (at most 300)"
    )
    begun = time.perf_counter()
    rows = duckdb.sql(
        f"""select date, sum(s), sum(m) from (
              select date, digest, sum(content_present_size) s, max(content_present_size) m
              from read_parquet('{root}/date=*/*/images.parquet', hive_partitioning=true) group by date, digest)
            group by date order by date"""
    ).fetchall()
    theirs = time.perf_counter() - begun
    assert [(int(a), int(b)) for _, a, b in rows] == [
        (int(a), int(b)) for a, b in zip(frame["total_bytes"], frame["unique_bytes"], strict=True)
    ]
    print(f"  DuckDB, the same numbers: {theirs:.2f} s; ratio {ours / theirs:.2f}")


def one_node(opened: dataset.Dataset) -> None:
    week = opened.between(end=None)
    week = dataset.Dataset(week.path, week.collections[-7:])
    begun = time.perf_counter()
    rows = len(week.table("images", ["node", "name", "content_present_size"], nodes=["node-0500"]))
    print(f"one node of seven days: {time.perf_counter() - begun:.2f} s (at most 0.3), {rows:,} rows")


if __name__ == "__main__":
    main()
