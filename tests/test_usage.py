"""ResourceUsage and UnpackedImageSize as Go measured them, and the size columns against loops over dicts."""

import collections
import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from testbed import naive_store, oci_vectors

import imgframe as imf
from imgframe import schema, usage
from imgframe.errors import MissingColumn
from imgframe.usage import chains, composition, sizes

VECTORS = Path(__file__).parent / "data/vectors/usage.jsonl"
# what other tests compare: the text of the nerdctl command (test_listing, test_cli_images)
LEFT_OUT = {"nerdctl-images": "output of the binary, compared by the listing's tests"}
# snapshots that the recorder's own dump still holds and that had gone when they were measured
VANISHED = {"s00134", "s00194"}


def recorded(name):
    """A usage store as an inventory: its images, documents and snapshots, with their sums."""
    dump = oci_vectors.dump(name)
    inv = oci_vectors.inventory(name)
    kinds, rows = zip(*((kind, row) for kind, part in dump["snapshots"].items() for row in part), strict=True)
    snapshots = schema.table(
        "snapshots",
        {
            "node": ["n1"] * len(rows),
            "namespace": [dump["namespace"]] * len(rows),
            "snapshotter": list(kinds),
            **{
                column: [row[column] for row in rows]
                for column in ("key", "parent", "kind", "size", "inodes")
            },
        },
    )
    totals = usage.snapshot_totals(snapshots)
    for column in ("total_size", "total_inodes", "depth"):
        at = snapshots.column_names.index(column)
        snapshots = snapshots.set_column(at, snapshots.schema.field(at), getattr(totals, column))
    nodes = schema.table("nodes", {"node": ["n1"], "platform": [dump["platform"]], "snapshotter": [kinds[0]]})
    return inv.replace(snapshots=snapshots, nodes=nodes)


@pytest.fixture(scope="module")
def cases():
    return [json.loads(line) for line in VECTORS.read_text().splitlines()]


@pytest.fixture(scope="module")
def inventories(cases):
    return {name: recorded(name) for name in {case["store"] for case in cases}}


def test_the_vectors_are_all_there(cases):
    counts = collections.Counter(case["class"] for case in cases)
    assert counts == {"snapshot": 154, "image": 134, "rows": 67, "nerdctl-images": 14}
    print(
        f"usage.jsonl: {sum(counts.values()) - 14 - len(VANISHED)} of {len(cases)} lines compared; left out: {LEFT_OUT}"
    )


def only(inv, name):
    return inv.images[inv.images["name"] == name]


def test_unpacked_image_sizes_are_those_of_go(cases, inventories):
    for case in (case for case in cases if case["class"] == "image"):
        inv = inventories[case["store"]]
        platform = None if case["platform"] == "default" else case["platform"]
        found = imf.resource_usage(
            inv, only(inv, case["image"]), snapshotter=case["snapshotter"], platform=platform
        ).iloc[0]
        if case["error"] is None:
            assert found["total_size"] == case["unpacked_image_size"], case["id"]
            assert found.isna()["error"], case["id"]
        else:
            assert found.isna()["total_size"], case["id"]
            assert found["error"] == case["error"], case["id"]


def test_a_platform_of_no_manifest_is_not_zero(cases, inventories):
    inv = inventories["usage-1"]
    sizes = imf.unpacked_image_size(inv, inv.images, platform="windows/amd64")
    usable = {case["image"] for case in cases if case["class"] == "image" and case["store"] == "usage-1"}
    assert len(sizes) == len(usable)
    # direct manifests are never checked for their platform; indexes without it have no size
    assert sizes.isna().any() and sizes.notna().any()


def test_resource_usage_of_snapshots_is_that_of_go(cases, inventories):
    for case in (case for case in cases if case["class"] == "snapshot"):
        inv = inventories[case["store"]]
        if case["id"] in VANISHED:
            assert case["key"] in inv.snapshots["key"].tolist()
            continue
        namespace = inv.snapshots["namespace"].iloc[0]
        frame = schema.to_frame(
            schema.table(
                "snapshots",
                {
                    "node": ["n1"],
                    "namespace": [namespace],
                    "snapshotter": [case["snapshotter"]],
                    "key": [case["key"]],
                },
            )
        )
        found = imf.resource_usage(inv, frame).iloc[0]
        if case["error"] is not None:
            assert found["error"] == case["error"], case["id"]
            assert found[["size", "total_size", "total_inodes"]].isna().all(), case["id"]
            continue
        assert (found["size"], found["inodes"]) == (case["first"]["size"], case["first"]["inodes"]), case[
            "id"
        ]
        assert (found["total_size"], found["total_inodes"]) == (
            case["total"]["size"],
            case["total"]["inodes"],
        )


def test_rows_of_the_listing_are_sums_over_platforms(cases, inventories):
    for case in (case for case in cases if case["class"] == "rows"):
        inv = inventories[case["store"]]
        for platform, row in case["rows"].items():
            sizes = imf.unpacked_image_size(
                inv, only(inv, case["image"]), snapshotter=case["snapshotter"], platform=platform
            )
            assert sizes.fillna(0).tolist() == [row["size"]], case["id"]  # the listing shows 0 where Go fails


def test_a_frame_without_keys_is_refused(inventories):
    inv = inventories["usage-1"]
    with pytest.raises(MissingColumn, match="needs the column 'name'"):
        imf.resource_usage(inv, inv.images[["digest"]])


def test_rows_that_are_not_there_are_unknown(inventories):
    inv = inventories["usage-1"]
    frame = inv.images.head(1).assign(name="nowhere:1")
    found = imf.resource_usage(inv, frame)
    assert found["total_size"].isna().all()
    assert found["error"].tolist() == ["there is no such image record in the inventory"]


def snapshots(**columns):
    count = len(columns["key"])
    fixed = {"node": ["a"] * count, "namespace": ["n"] * count, "snapshotter": ["o"] * count}
    return schema.table("snapshots", {**fixed, **columns})


def test_cycles_and_missing_parents_are_unknown_and_reported():
    table = snapshots(
        key=["a", "b", "c", "d", "e"],
        parent=["b", "a", "a", "nowhere", ""],
        size=[1, 2, 4, 8, 16],
        inodes=[1] * 5,
    )
    totals = usage.snapshot_totals(table)
    assert totals.total_size.to_pylist() == [None, None, None, None, 16]
    assert totals.depth.to_pylist() == [None, None, None, None, 0]
    errors = totals.errors.select(["subject", "code", "message"]).to_pylist()
    assert errors == [
        {
            "subject": "o/d",
            "code": "broken_chain",
            "message": "snapshot nowhere does not exist: not found; it is the parent of d",
        },
        {"subject": "o/a", "code": "cycle", "message": "the parents of snapshot a form a cycle of 2"},
    ]


def test_an_unknown_size_makes_all_above_it_unknown():
    table = snapshots(key=["a", "b", "c"], parent=["", "a", "b"], size=[1, None, 4], inodes=[1, 1, 1])
    totals = usage.snapshot_totals(table)
    assert totals.total_size.to_pylist() == [1, None, None]
    assert totals.total_inodes.to_pylist() == [1, 2, 3]
    assert totals.depth.to_pylist() == [0, 1, 2]


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_sums_over_chains_are_those_of_a_loop(rng):
    count = rng.randint(1, 60)
    keys = [f"k{i}" for i in range(count)]
    rows = [
        {
            "node": rng.choice("ab"),
            "snapshotter": rng.choice("xy"),
            "key": key,
            "parent": rng.choice(["", *keys[:i], *keys[:i], "gone"]),
            "size": rng.randint(0, 1 << 50),
        }
        for i, key in enumerate(keys)
    ]
    rng.shuffle(rows)
    table = schema.table(
        "snapshots",
        {
            **{column: [row[column] for row in rows] for column in rows[0]},
            "namespace": ["n"] * count,
            "inodes": [1] * count,
        },
    )
    by_key = {(row["node"], row["snapshotter"], row["key"]): row for row in rows}

    def loop(row):
        total, depth = row["size"], 0
        while row["parent"]:
            row = by_key.get((row["node"], row["snapshotter"], row["parent"]))
            if row is None:
                return None, None
            total, depth = total + row["size"], depth + 1
        return total, depth

    totals = usage.snapshot_totals(table)
    assert list(zip(totals.total_size.to_pylist(), totals.depth.to_pylist(), strict=True)) == [
        loop(r) for r in rows
    ]


def naive_sizes(store, key):
    node, ns, _ = key
    target = store.images[key]["digest"]
    mine = naive_store.needs(store, node, ns, target)
    if mine is None:
        return None, None, None
    blobs, snapshots_, whole = mine
    present = sum(store.sizes[digest] for digest in blobs)
    if not whole:
        return present, None, None
    others = [
        naive_store.needs(store, n, s, image["digest"])
        for (n, s, _), image in store.images.items()
        if n == node and image["digest"] != target
    ]
    foreign = set().union(*(other[0] for other in others if other))
    foreign_snapshots = set().union(*(other[1] for other in others if other))
    total = present + sum(store.snapshots[k]["size"] for k in snapshots_)
    unique = sum(store.sizes[digest] for digest in blobs - foreign)
    unique += sum(store.snapshots[k]["size"] for k in snapshots_ - foreign_snapshots)
    return present, unique, total - unique


@settings(max_examples=120, deadline=None)
@given(st.randoms(use_true_random=False))
def test_unique_and_shared_sizes_are_those_of_loops(rng):
    store = naive_store.random_store(rng)
    rows = naive_store.tables(store)["images"].to_pylist()
    for row in rows:
        expected = naive_sizes(store, (row["node"], row["namespace"], row["name"]))
        assert (row["content_present_size"], row["unique_size"], row["shared_size"]) == expected
        if row["unique_size"] is not None:
            assert row["unique_size"] >= 0 and row["shared_size"] >= 0


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 9))
def test_sizes_do_not_depend_on_how_much_is_done_at_a_time(rng, some):
    tables = naive_store.tables(naive_store.random_store(rng, nodes=4))
    expected = {name: tables["images"][name].combine_chunks() for name in usage.image_sizes(tables)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chains, "_BLOCK", some)
        patch.setattr(composition, "CHUNK", some)
        patch.setattr(sizes, "CHUNK", some)
        assert usage.image_sizes(tables) == expected
        totals = usage.snapshot_totals(tables["snapshots"])
    assert totals.total_size == tables["snapshots"]["total_size"].combine_chunks()


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_never_matters(rng):
    tables = naive_store.tables(naive_store.random_store(rng))
    names = ("content_size", "content_present_size", "unpacked_size", "unique_size", "shared_size")

    def shuffled(name):
        order = random.Random(rng.random()).sample(range(tables[name].num_rows), tables[name].num_rows)
        return tables[name].take(pa.array(order, pa.int64()))

    mixed = {name: shuffled(name) for name in tables}
    found = usage.image_sizes(mixed)
    key = ("node", "namespace", "name")
    expected = {tuple(row[k] for k in key): [row[n] for n in names] for row in tables["images"].to_pylist()}
    for at, row in enumerate(mixed["images"].select(list(key)).to_pylist()):
        assert [found[name][at].as_py() for name in names] == expected[tuple(row.values())]


def test_usage_imports_no_pandas():
    import subprocess
    import sys

    code = "import imgframe.usage, imgframe.reclaiming, sys; assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
