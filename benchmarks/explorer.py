"""How fast the explorer answers on 100,000 images, kernel side: a filter, a heading, a page, a selection; charts apart.

The yardstick is a plain table of the same rows: what ``DataFrame.to_html`` takes for all of them.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pyarrow as pa

import imgframe as imf
from benchmarks.bytes import best, coded, fleet, show
from imgframe import schema

IMAGES = 100_000


def inventory() -> imf.Inventory:
    """100 nodes of 1,000 image records, with names, labels, times and sizes that a collection would have filled."""
    tables = fleet(IMAGES)
    old = tables["images"]
    rng = np.random.default_rng(5)
    name = np.arange(IMAGES) % 1000
    names = [f"registry.example/team-{i % 20:02d}/app-{i % 250:03d}:1.{i}" for i in range(1000)]
    order = np.argsort(names)
    place = np.empty(1000, np.int64)
    place[order] = np.arange(1000)
    repositories = sorted({each.partition(":")[0] for each in names})
    by_name = np.array([repositories.index(each.partition(":")[0]) for each in names])
    images = schema.table(
        "images",
        {
            **{
                column: old[column]
                for column in ("node", "namespace", "digest", "media_type", "record_labels")
            },
            "name": coded(place[name], [names[i] for i in order]),
            "domain": coded(np.zeros(IMAGES), ["registry.example"]),
            "repository": coded(by_name[name], repositories),
            "tag": coded(name, [f"1.{i:04d}" for i in range(1000)]),
            "labels": coded(name % 20, [f'{{"team":"t{i:02d}"}}' for i in range(20)]),
            "created_at": pa.array(
                1_760_000_000_000_000_000 + rng.integers(0, 10**16, IMAGES), pa.int64()
            ).cast(schema.TIME),
            **{
                size: rng.integers(10**6, 10**9, IMAGES)
                for size in ("content_size", "unpacked_size", "unique_size", "shared_size")
            },
            "containers": rng.random(IMAGES) < 0.1,
            "used_by_digest": rng.random(IMAGES) < 0.1,
            "pinned": np.zeros(IMAGES, bool),
        },
    )
    return imf.Inventory({**tables, "images": images})


async def measure() -> None:
    """In a running loop, as in a notebook: the charts wait for a pause and are measured on their own."""
    inv = inventory()
    first, explorer = best(lambda: imf.explore(inv), 1)
    show("100,000 images: the explorer, first time", first)
    for text in ("reference=^registry.example/team-0", "label=team=t07", "dangling=false", ""):

        def react(text: str = text) -> None:
            explorer.filter = "dangling=true"
            explorer.filter = text

        both, _ = best(react)
        assert not explorer.error
        show(
            f"100,000 images: filter {text or '(none)'!r}: {len(explorer.images):,} rows",
            both,
            300,
            note="(two filters)",
        )
    ours, _ = best(lambda: setattr(explorer._table, "descending", not explorer._table.descending))
    show("100,000 images: sort by another order", ours, 300)
    ours, _ = best(lambda: setattr(explorer._table, "page", (explorer._table.page + 1) % 50))
    show("100,000 images: another page", ours, 100)
    select(explorer, inv)
    explorer._table.shown = True
    ours, _ = best(explorer._draw)
    show("100,000 images: both charts, after a pause", ours, 2000)
    plain, _ = best(explorer.images.iloc[:10_000].to_html, 1)
    show("yardstick: to_html of a tenth of the rows", plain)
    explorer._charts_later.cancel()


def select(explorer, inv) -> None:
    """The live line, against the two calls that give its number."""
    chosen = np.random.default_rng(2).choice(IMAGES, 1000, replace=False)

    def pick(positions) -> None:
        explorer.selected = ()
        explorer.selected = positions

    ours, _ = best(lambda: pick(chosen), 1)
    show("100,000 images: select 1,000, first time (graph, reasons)", ours)
    ours, _ = best(lambda: pick(chosen))
    alone, found = best(lambda: imf.reclaim(inv, explorer.selection))
    assert found.total_bytes == explorer.freed.total_bytes
    show(
        "100,000 images: select 1,000: bytes, holders, the plan's part",
        ours,
        500,
        note=f"(imf.reclaim alone {alone:,.0f} ms)",
    )
    ours, _ = best(lambda: pick([int(chosen[0])]))
    show("100,000 images: select 1", ours, 500)
    ours, _ = best(lambda: pick(range(IMAGES)), 2)
    show("100,000 images: select all", ours)


def main() -> None:
    asyncio.run(measure())


if __name__ == "__main__":
    main()
