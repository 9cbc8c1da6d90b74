"""How fast bytes are counted: sums over snapshot chains, what images share, and what a deletion frees.

The fleet: nodes of 1,000 image records, one distinct image for every 50 records, of 10 layers in three generations (a base for
100 of them, a middle for 10), popular ones on most nodes, all unpacked. Beside each number the straightforward pandas way on the same data.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

import imgframe as imf
from imgframe import schema
from imgframe.reclaiming.graph import Edges, Graph, build, graph_of
from imgframe.reclaiming.reclaim import reclaim_rows
from imgframe.usage.chains import block_bounds, chains_of, climb_blocks
from imgframe.usage.composition import compose
from imgframe.usage.sizes import shares

PER_NODE = 1_000
LAYERS = 10  # 4 of the base, 3 of the middle, 3 of its own


def best(call: Callable[[], Any], times: int = 3) -> tuple[float, Any]:
    """Best wall time of a few runs [ms], and what the last one gave."""
    found, value = [], None
    for _ in range(times):
        value = None
        gc.collect()
        start = time.perf_counter()
        value = call()
        found.append((time.perf_counter() - start) * 1e3)
    return min(found), value


def show(
    what: str, ours: float, target: float | None = None, naive: float | None = None, note: str = ""
) -> None:
    aim = f"target {target:>8,.0f}" if target is not None else " " * 15
    ratio = f"pandas {naive:>9,.0f} ms, {naive / ours:>6.1f}x" if naive is not None else ""
    print(f"{what:<62} {ours:>9,.1f} ms  {aim}  {ratio}  {note}".rstrip(), flush=True)


# ---- snapshots


def snapshot_table(count: int, *, shuffled: bool) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Chains of 5 to 60 with forks, 1,000 snapshots per node; with the parent rows and the sizes."""
    rng = np.random.default_rng(5)
    within = np.arange(count) % PER_NODE
    node = np.arange(count) // PER_NODE
    start = (rng.random(count) < 1 / 25) | (within == 0)
    parent = np.where(start, -1, np.arange(count) - 1)
    heads = np.maximum.accumulate(np.where(start, np.arange(count), 0))
    parent[np.arange(count) - heads >= 60] = -1
    fork = (rng.random(count) < 0.05) & (parent >= 0)
    heads = np.maximum.accumulate(np.where(parent < 0, np.arange(count), 0))
    parent[fork] = heads[fork]
    parent[parent == np.arange(count)] = -1
    size = rng.integers(4096, 10**8, count)
    code = within
    if shuffled:
        order = rng.permutation(count)
        back = np.empty(count, np.int64)
        back[order] = np.arange(count)
        node, code, size = node[order], code[order], size[order]
        parent = np.where(parent[order] < 0, -1, back[parent[order]])
    parents = np.where(parent < 0, PER_NODE, code[parent])
    keys = pa.array([f"sha256:{i:064x}" for i in range(PER_NODE)])
    table = pa.table(
        {
            "node": coded(node, [f"node-{i:05d}" for i in range(int(node.max()) + 1)]),
            "namespace": coded(np.zeros(count), ["default"]),
            "snapshotter": coded(np.zeros(count), ["overlayfs"]),
            "key": pa.DictionaryArray.from_arrays(pa.array(code.astype("int32")), keys),
            "parent": pa.DictionaryArray.from_arrays(
                pa.array(parents.astype("int32")), pa.concat_arrays([keys, pa.array([""])])
            ),
            "size": size,
            "inodes": np.full(count, 7),
        }
    )
    return table, parent, size


def coded(codes: np.ndarray, words: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype("int32")), pa.array(words))


def pandas_chains(parent: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Level by level: merge each level with its parents' sums."""
    total = pd.Series(size)
    frame = pd.DataFrame({"row": np.arange(len(parent)), "parent": parent})
    frame = frame[frame["parent"] >= 0]
    add = total.copy()
    while len(frame):
        above = frame.merge(
            pd.DataFrame({"parent": np.arange(len(parent)), "size": size, "up": parent}), on="parent"
        )
        total = total.add(above.groupby("row")["size"].sum(), fill_value=0)
        frame = pd.DataFrame({"row": above["row"], "parent": above["up"]})
        frame = frame[frame["parent"] >= 0]
    del add
    return total.to_numpy().astype(np.int64)


def snapshots() -> None:
    small, parent, size = snapshot_table(300_000, shuffled=False)
    naive, expected = best(lambda: pandas_chains(parent, size), 1)
    ours, made = best(lambda: chains_of(small))
    assert np.array_equal(made.size, expected)
    show("300,000 snapshots: parents found, size, inodes and depth", ours, None, naive)
    for shuffled, target in ((False, 500), (True, 3000)):
        table, parent, size = snapshot_table(10_000_000, shuffled=shuffled)
        order = "shuffled" if shuffled else "by node"
        whole, made = best(lambda table=table: chains_of(table), 2)
        if not shuffled:
            node = np.arange(len(size)) // PER_NODE
            known = (parent, np.zeros(len(size), bool), size, np.full(len(size), 7))
            climbed, _ = best(lambda node=node, known=known: climb_blocks(block_bounds(node), *known), 3)
            show(f"10 M snapshots, {order}: cumulative usage, parents known", climbed, target)
        show(
            f"10 M snapshots, {order}: parents found and cumulative usage",
            whole,
            target if shuffled else None,
        )
        table = made = None


# ---- fleets


def fleet(count: int) -> dict[str, pa.Table]:
    """The tables of ``count`` image records."""
    rng = np.random.default_rng(7)
    distinct = distinct_images(count)
    popular = np.minimum((rng.pareto(0.7, count) * 400).astype(np.int64), 10**9) % distinct
    node = np.arange(count) // PER_NODE
    words, labels, sizes = _catalogue(distinct)
    pairs = np.unique(node * distinct + popular)
    pair_node, pair_image = pairs // distinct, pairs % distinct
    parts = _parts(pair_image, distinct)
    width = len(words)
    keys = np.unique((pair_node[:, None] * width + parts).ravel())
    blob_node, blob = keys // width, keys % width
    chain_node, chain, parent, chains = _snapshots(pair_node, pair_image, distinct)
    nodes = [f"node-{i:05d}" for i in range(int(node.max()) + 1)]
    digest_words = pa.array(words)
    in_node = {"namespace": lambda n: coded(np.zeros(n), ["default"])}
    images = schema.table(
        "images",
        {
            "node": coded(node, nodes),
            "namespace": in_node["namespace"](count),
            "name": coded(
                np.arange(count) % PER_NODE, [f"registry.example/team/app-{i:04d}:1" for i in range(PER_NODE)]
            ),
            "digest": pa.DictionaryArray.from_arrays(
                pa.array(popular.astype("int32")), digest_words.slice(0, distinct)
            ),
            "media_type": coded(np.zeros(count), ["application/vnd.oci.image.manifest.v1+json"]),
            "record_labels": coded(np.zeros(count), ["{}"]),
        },
    )
    blobs = schema.table(
        "blobs",
        {
            "node": coded(blob_node, nodes),
            "namespace": in_node["namespace"](len(blob)),
            "digest": pa.DictionaryArray.from_arrays(pa.array(blob.astype("int32")), digest_words),
            "size": sizes[blob],
            "labels": pa.DictionaryArray.from_arrays(pa.array(blob.astype("int32")), pa.array(labels)),
        },
    )
    chain_words = pa.array([*(f"sha256:{i:064x}" for i in range(chains)), ""])
    snapshots_ = schema.table(
        "snapshots",
        {
            "node": coded(chain_node, nodes),
            "namespace": in_node["namespace"](len(chain)),
            "snapshotter": coded(np.zeros(len(chain)), ["overlayfs"]),
            "key": pa.DictionaryArray.from_arrays(pa.array(chain.astype("int32")), chain_words),
            "parent": pa.DictionaryArray.from_arrays(pa.array(parent.astype("int32")), chain_words),
            "kind": coded(np.zeros(len(chain)), ["committed"]),
            "size": (chain % 977 + 1) * 4096,
            "inodes": np.full(len(chain), 9),
            "labels": coded(np.zeros(len(chain)), ["{}"]),
        },
    )
    return {
        "nodes": schema.table(
            "nodes",
            {
                "node": nodes,
                "containerd_version": ["2.1.9"] * len(nodes),
                "snapshotter": ["overlayfs"] * len(nodes),
            },
        ),
        "images": images,
        "blobs": blobs,
        "snapshots": snapshots_,
        "containers": schema.empty("containers"),
        "leases": schema.empty("leases"),
        "ingests": schema.empty("ingests"),
        **_documents(words, distinct),
    }


def distinct_images(count: int) -> int:
    return max(count // 50, 200)


def _layer_words(distinct: int) -> int:
    return distinct // 100 * 4 + distinct // 10 * 3 + distinct * 3


def _layer_codes(image: np.ndarray, distinct: int) -> np.ndarray:
    """The ten layers of each image: base, middle, own."""
    bases, middles = distinct // 100, distinct // 10
    middle = image % middles
    base = middle % bases
    return np.concatenate(
        [
            base[:, None] * 4 + np.arange(4),
            bases * 4 + middle[:, None] * 3 + np.arange(3),
            bases * 4 + middles * 3 + image[:, None] * 3 + np.arange(3),
        ],
        axis=1,
    )


def _parts(image: np.ndarray, distinct: int) -> np.ndarray:
    """Manifest, config and layers as words."""
    layers = 2 * distinct + _layer_codes(image, distinct)
    return np.concatenate([image[:, None], distinct + image[:, None], layers], axis=1)


def _text(labels: dict[str, str]) -> str:
    return json.dumps(
        {**labels, "containerd.io/distribution.source.registry.example": "team/app"},
        separators=(",", ":"),
        sort_keys=True,
    )


def _catalogue(distinct: int) -> tuple[list[str], list[str], np.ndarray]:
    layers = _layer_words(distinct)
    words = [f"sha256:{i:064x}" for i in range(2 * distinct + layers)]
    labels = []
    for row in _parts(np.arange(distinct), distinct).tolist():
        refs = {"containerd.io/gc.ref.content.config": words[row[1]]}
        labels.append(
            _text(
                refs
                | {f"containerd.io/gc.ref.content.l.{i}": words[layer] for i, layer in enumerate(row[2:])}
            )
        )
    tops = _layer_codes(np.arange(distinct), distinct)[:, -1].tolist()
    labels += [_text({"containerd.io/gc.ref.snapshot.overlayfs": f"sha256:{top:064x}"}) for top in tops]
    labels += [_text({"containerd.io/uncompressed": f"sha256:{i:064x}"}) for i in range(layers)]
    sizes = np.random.default_rng(3).integers(10_000, 80_000_000, len(words))
    sizes[: 2 * distinct] = 2000
    return words, labels, sizes


def _snapshots(
    node: np.ndarray, image: np.ndarray, distinct: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    layers = _layer_codes(
        image, distinct
    )  # the chain up to a layer is named after it: generations make chains unique
    chains = _layer_words(distinct)
    above = np.concatenate([np.full((len(layers), 1), chains), layers[:, :-1]], axis=1)
    keys, first = np.unique((node[:, None] * (chains + 1) + layers).ravel(), return_index=True)
    return keys // (chains + 1), keys % (chains + 1), above.ravel()[first], chains


def _documents(words: list[str], distinct: int) -> dict[str, pa.Table]:
    layers = _layer_codes(np.arange(distinct), distinct)
    return {
        "manifests": schema.table(
            "manifests",
            {
                "node": ["node-00000"] * distinct,
                "namespace": ["default"] * distinct,
                "digest": words[:distinct],
                "config_digest": words[distinct : 2 * distinct],
                "chain_id": [f"sha256:{i:064x}" for i in layers[:, -1].tolist()],
            },
        ),
        "layers": schema.table(
            "layers",
            {
                "manifest_digest": coded(np.repeat(np.arange(distinct), LAYERS), words[:distinct]),
                "digest": pa.DictionaryArray.from_arrays(
                    pa.array((2 * distinct + layers).ravel().astype("int32")), pa.array(words)
                ),
            },
        ),
    }


def image_numbers(tables: dict[str, pa.Table]) -> np.ndarray:
    """The number of each record's image, which its digest spells."""
    digest = tables["images"]["digest"].combine_chunks()
    numbers = np.array([int(word[7:], 16) for word in digest.dictionary.to_pylist()])
    return numbers[digest.indices.to_numpy()]


def pandas_edges(tables: dict[str, pa.Table]) -> pd.DataFrame:
    """Image × blob with sizes, as a merge gives them: what the pandas way starts from."""
    images = pd.DataFrame(
        {"node": tables["images"]["node"].combine_chunks().indices.to_numpy(), "image": image_numbers(tables)}
    )
    distinct = distinct_images(len(images))
    layers = _parts(np.arange(distinct), distinct)
    out = pd.DataFrame(
        {
            "row": np.repeat(np.arange(len(images)), layers.shape[1]),
            "node": np.repeat(images["node"].to_numpy(), layers.shape[1]),
            "blob": layers[images["image"].to_numpy()].ravel(),
        }
    )
    sizes = _catalogue(distinct)[2]
    out["size"] = sizes[out["blob"].to_numpy()]
    return out


def pandas_reclaim(edges: pd.DataFrame, chosen: np.ndarray) -> int:
    """Bytes of the blobs all of whose images are chosen."""
    freed = (
        edges.assign(chosen=chosen[edges["row"].to_numpy()])
        .groupby(["node", "blob"], sort=False)
        .agg({"chosen": "all", "size": "first"})
    )
    return int(freed.loc[freed["chosen"], "size"].sum())


def pandas_unique(edges: pd.DataFrame, image: np.ndarray) -> pd.Series:
    """Bytes of the blobs that one digest of the node alone needs, per image row."""
    holders = (
        edges.assign(image=image[edges["row"].to_numpy()])
        .groupby(["node", "blob"], sort=False)["image"]
        .transform("nunique")
    )
    return edges["size"].where(holders == 1, 0).groupby(edges["row"]).sum()


def small_fleet() -> None:
    tables = fleet(10_000)
    chosen = np.flatnonzero(np.random.default_rng(1).random(10_000) < 0.3)
    ours, _ = best(lambda: reclaim_rows(build(tables), chosen).total_bytes, 7)
    edges = pandas_edges(tables)
    flags = np.zeros(10_000, bool)
    flags[chosen] = True
    naive, _ = best(lambda: pandas_reclaim(edges, flags))
    show("10,000 images: graph and reclaim of 30 %", ours, 20, naive, "(pandas: content only, edges ready)")


def large_fleet() -> None:
    count = 1_000_000
    tables = fleet(count)
    print(
        f"1 M images: {tables['blobs'].num_rows:,} blobs, {tables['snapshots'].num_rows:,} snapshots on {tables['nodes'].num_rows:,} nodes",
        flush=True,
    )
    built, graph = best(lambda: build(tables), 2)
    show("1 M images x 10 layers: the graph", built, 3000)
    flags = np.random.default_rng(1).random(count) < 0.3
    chosen = np.flatnonzero(flags)
    graph.kept(None)
    ours, made = best(lambda: reclaim_rows(graph, chosen), 5)
    edges = pandas_edges(tables)
    naive, content = best(lambda: pandas_reclaim(edges, flags), 1)
    assert content == made.content_bytes
    show(
        "1 M images: reclaim of 30 %, content and snapshots",
        ours,
        100,
        naive,
        "(pandas: content only, edges ready)",
    )
    few, _ = best(lambda: reclaim_rows(graph, chosen[:50]), 5)
    show("1 M images: reclaim of 50 images", few)
    inv = imf.Inventory(tables)
    graph_of(inv)
    frame = inv.images[flags]
    whole, _ = best(lambda: imf.reclaim(inv, frame).total_bytes)
    show("1 M images: imf.reclaim(inv, frame of 30 %)", whole)
    chains = chains_of(tables["snapshots"])  # a collection has resolved them for total_size
    composed, composition = best(lambda: compose(tables, chains), 2)
    show("1 M images: what images consist of (once per collection)", composed)
    ours, share = best(lambda: shares(composition), 5)
    naive, expected = best(lambda: pandas_unique(edges, image_numbers(tables)), 1)
    assert np.array_equal(share.content_unique[composition.target], expected.to_numpy())
    show(
        f"1 M images: unique and shared of {len(composition.blob):,} content and {len(composition.top):,} chain edges",
        ours,
        130,
        naive,
        "(pandas: content alone, edges ready)",
    )
    composition = edges = frame = inv = None
    huge_fleet(graph)


def tiled(graph: Graph, times: int) -> Graph:
    """The graph of ``times`` such fleets side by side."""
    counts = np.diff(graph.start)
    start = np.concatenate([[0], np.cumsum(counts * times)])

    def tile(numbers: np.ndarray) -> np.ndarray:
        kind = graph.kind_of(numbers[:1])[0] if len(numbers) else 0
        local = numbers - graph.start[kind] + start[kind]
        return (local[None, :] + (np.arange(times) * counts[kind])[:, None]).ravel()

    def edges(one: Edges) -> Edges:
        return Edges(tile(one.source), tile(one.target))

    def values(column: np.ndarray) -> np.ndarray:
        return np.concatenate([np.tile(column[graph.part(kind)], times) for kind in range(len(counts))])

    stores = len(graph.collected)
    store = np.concatenate(
        [
            (graph.store[graph.part(kind)][None, :] + (np.arange(times) * stores)[:, None]).ravel()
            for kind in range(len(counts))
        ]
    )
    blobs = int(counts[1])
    return Graph(
        tables=graph.tables,
        start=start,
        early=[],
        stages=[edges(stage) for stage in graph.stages],
        late=graph.late,
        flat=graph.flat,
        until=values(graph.until),
        lease_rows=graph.lease_rows,
        store=store,
        collected=np.tile(graph.collected, times),
        physical=np.arange(blobs * times),
        blob_size=np.tile(graph.blob_size, times),
        snapshot_size=np.tile(graph.snapshot_size, times),
        snapshot_size_known=np.tile(graph.snapshot_size_known, times),
        snapshot_inodes=np.tile(graph.snapshot_inodes, times),
        images_kept_by_objects=False,
    )


def huge_fleet(graph: Graph) -> None:
    large = tiled(graph, 10)
    chosen = np.flatnonzero(np.random.default_rng(1).random(10_000_000) < 0.3)
    large.kept(None)
    ours, _ = best(lambda: reclaim_rows(large, chosen), 3)
    print(f"10 M images: {sum(len(stage.source) for stage in large.stages):,} edges", flush=True)
    show("10 M images x 10 layers: reclaim of 30 %", ours, 1200)


def main() -> None:
    small_fleet()
    large_fleet()
    snapshots()


if __name__ == "__main__":
    main()
