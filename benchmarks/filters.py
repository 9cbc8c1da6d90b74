"""How fast filters are on ten million image records, each beside a plain numpy read of the codes and write of the mask."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

import imgframe as imf
from imgframe import reference
from imgframe.errors import FilterError
from imgframe.nerdctl import selection

ROWS, NAMES, NODES, LABELS = 10_000_000, 50_000, 1_000, 20_000
NOW = 1_800_000_000_000_000_000


def best(call: Callable[[], Any], times: int = 5) -> float:
    """Best wall time of a few runs [ms]."""
    found = []
    for _ in range(times):
        gc.collect()
        start = time.perf_counter()
        call()
        found.append((time.perf_counter() - start) * 1e3)
    return min(found)


def unique_names(count: int) -> list[str]:
    hosts = (
        "docker.io/library",
        "docker.io/bitnami",
        "ghcr.io/org",
        "registry.example.com:5000/team",
        "quay.io/x",
    )
    return [
        f"{hosts[i % 5]}/app-{i // 40}@sha256:{i:064x}"
        if i % 25 == 0
        else f"{hosts[i % 5]}/app-{i // 40}:v{i % 40}.{i % 7}"
        for i in range(count)
    ]


def category(words: list[str], rows: int, random: np.random.Generator) -> pd.Categorical:
    index = pd.Index(sorted(words), dtype="str")
    return pd.Categorical.from_codes(random.integers(0, len(words), rows).astype(np.int32), categories=index)


def frame(rows: int) -> pd.DataFrame:
    random = np.random.default_rng(7)
    created = (NOW - random.integers(0, 10**17, rows)).view("datetime64[ns]")
    return pd.DataFrame(
        {
            "node": category([f"node-{i:04d}" for i in range(NODES)], rows, random),
            "namespace": pd.Categorical.from_codes(
                np.zeros(rows, np.int8), categories=pd.Index(["k8s.io"], dtype="str")
            ),
            "name": category(unique_names(NAMES), rows, random),
            "digest": category([f"sha256:{i:064x}" for i in range(LABELS)], rows, random),
            "created_at": pd.Series(created).dt.tz_localize("UTC"),
            "content_size": random.integers(0, 10**9, rows),
        },
        copy=False,
    )


def with_labels(images: pd.DataFrame) -> pd.DataFrame:
    """The same with config labels, one text per digest."""
    texts = [f'{{"maintainer":"m{i}","team":"t{i % 20}","version":"{i}"}}' for i in range(LABELS)]
    order = np.argsort(texts)
    place = np.empty(LABELS, np.int32)
    place[order] = np.arange(LABELS, dtype=np.int32)
    codes = place[images["digest"].array.codes]
    index = pd.Index([texts[i] for i in order], dtype="str")
    return images.assign(labels=pd.Categorical.from_codes(codes, categories=index))


def containers(rows: int) -> pd.DataFrame:
    random = np.random.default_rng(8)
    return pd.DataFrame(
        {
            "node": category([f"node-{i:04d}" for i in range(NODES)], rows, random),
            "namespace": pd.Categorical(["k8s.io"] * rows),
            "image": category(unique_names(NAMES), rows, random),
        }
    )


def plain(codes: Any) -> float:
    """Milliseconds to read every code and to write a mask: no filter can be faster in numpy."""
    mask = np.empty(len(codes), dtype=bool)
    return best(lambda: np.greater(codes, 25_000, out=mask))


def hostile() -> float:
    """Milliseconds of a pattern of 4 KiB on 50,000 names, run or refused."""
    images = pd.DataFrame({"name": pd.Categorical(unique_names(NAMES))})
    bomb = "(?i)(?:.{0,60}a){15}Z"
    pattern = bomb * (4096 // len(bomb))
    start = time.perf_counter()
    try:
        images[imf.filter_by_reference([pattern])]
    except FilterError as error:
        print(f"hostile pattern: {str(error)[:80]}")
    return (time.perf_counter() - start) * 1e3


def measurements() -> list[tuple[str, float, float]]:
    """(what, limit in ms, measured in ms)."""
    images = frame(ROWS)
    memory = images.memory_usage(deep=False).sum() / 1e6
    images = with_labels(images)
    one = imf.filter_by_reference(["ghcr.io/org/app-1.*:v3"])
    three = imf.filter_by_reference(["app-1", "v[0-9]+", "ghcr.io/.*"])
    label = imf.filter_by_label({"team": "t3"})
    until = imf.filter_until("2026-11-01T00:00:00Z")
    before = imf.filter_by_created_at(before=["name==" + unique_names(NAMES)[1]])
    for warm in (one, three, label):
        warm(images)  # names parsed, labels decoded
    inventory = imf.Inventory({})
    inventory._frames.update(images=images, containers=containers(1_000_000))
    few = images.head(100).copy()
    names_50k, names_1m = (pa.array(unique_names(count)) for count in (NAMES, 1_000_000))
    found = [
        ("reference, one pattern", 50, best(lambda: one(images))),
        ("reference, three patterns", 80, best(lambda: three(images))),
        ("label", 50, best(lambda: label(images))),
        ("until", 30, best(lambda: until(images))),
        ("before, per node", 30, best(lambda: before(images))),
        ("unused, 1M containers", 300, best(lambda: selection.unused(inventory), 3)),
        ("unused, 1M containers, to a frame", 300, best(lambda: imf.get_unused_images(inventory), 3)),
        (
            "reference, label, until, to a frame",
            150,
            best(lambda: imf.apply_filters(images, one, label, until)),
        ),
        ("images[f] on 100 rows", 3, best(lambda: few[one])),
        ("parse 50,000 names", 200, best(lambda: reference.parse_names(names_50k), 2)),
        ("parse 1,000,000 names", 4500, best(lambda: reference.parse_names(names_1m), 1)),
        ("hostile pattern of 4 KiB", 2000, hostile()),
    ]
    print(f"{ROWS:,} rows, {NAMES:,} names, {NODES:,} nodes; six columns: {memory:.0f} MB (limit 300 MB)")
    print(
        f"plain numpy: read the codes, write the mask: {(floor := plain(images['name'].array.codes)):.1f} ms"
    )
    return [(*each, floor) for each in found]  # type: ignore[misc]


def main() -> None:
    """Print the table."""
    print("filters")
    rows = measurements()
    print(f"{'':38}{'measured':>12}{'limit':>12}{'x plain numpy':>16}")
    for what, limit, measured, floor in rows:  # type: ignore[misc]
        verdict = "" if measured <= limit else "  over the limit"
        print(f"{what:38}{measured:9.1f} ms{limit:9} ms{measured / floor:16.1f}{verdict}")
    print(
        "for scale: nerdctl's Go functions need 6 to 8 us an image for reference, dangling and tagged: 60 to 80 s for 10M rows"
    )


if __name__ == "__main__":
    main()
