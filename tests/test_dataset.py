"""Inventories over time: stored once, whole or not at all, read by others, and compared exactly."""

import datetime as dt
import random

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imgframe as imf
from imgframe import dataset, schema
from imgframe.dataset.diff import canonical
from imgframe.errors import InputError, SchemaError

DAY = 86_400 * 10**9
START = 1_700_000_000 * 10**9


def inventory(day, nodes=("a", "b"), seed=None, images=4):
    rng = random.Random(day if seed is None else seed)
    rows = {
        name: []
        for name in (
            "node",
            "namespace",
            "name",
            "digest",
            "config_digest",
            "manifest_digest",
            "content_present_size",
            "unpacked_size",
            "containers",
            "created_at",
            "unpacked",
        )
    }
    blobs = {"node": [], "namespace": [], "digest": [], "size": []}
    for node in nodes:
        for at in sorted(rng.sample(range(8), images)):
            version = rng.randrange(3)
            digest = f"sha256:{at}{version}"
            values = [
                node,
                "default",
                f"img{at}:1",
                digest,
                f"sha256:c{at}{version}",
                digest,
                100 * at + version,
                10 * at,
                rng.randrange(2),
                START + at,
                bool(rng.randrange(2)),
            ]
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
            for name, value in zip(blobs, (node, "default", digest, 7 + at), strict=True):
                blobs[name].append(value)
    configs = sorted(set(rows["config_digest"]))
    return imf.Inventory(
        {
            "nodes": schema.table(
                "nodes",
                {
                    "node": list(nodes),
                    "collected_at": [START + day * DAY] * len(nodes),
                    "status": ["ok"] * len(nodes),
                },
            ),
            "images": schema.table("images", rows),
            "blobs": schema.table("blobs", blobs),
            "configs": schema.table("configs", {"digest": configs, "os": ["linux"] * len(configs)}),
            "documents": schema.table("documents", {"digest": configs, "data": [b"{}"] * len(configs)}),
            "layers": schema.table(
                "layers",
                {
                    "manifest_digest": sorted({d for d in rows["digest"] for _ in "xy"} | set()),
                    "position": [0] * len(set(rows["digest"])),
                },
            ),
        }
    )


def same(left, right):
    for name in schema.TABLES:
        if name != "labels":
            assert canonical(name, left.arrow(name)).equals(canonical(name, right.arrow(name))), name


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    root = tmp_path_factory.mktemp("history") / "d"
    for day in range(10):
        dataset.append(root, inventory(day))
    return root


def test_at_gives_what_was_appended(history):
    opened = imf.open_dataset(history)
    assert len(opened.collections) == 10
    for day in (0, 4, 9):
        when = pd.Timestamp(START + day * DAY, unit="ns", tz="UTC")
        same(opened.at(when), inventory(day))
    same(opened.at(), inventory(9))


def test_at_takes_the_last_collection_of_each_node(tmp_path):
    dataset.append(tmp_path / "d", inventory(0, ("a",)))
    dataset.append(tmp_path / "d", inventory(1, ("b",)))
    whole = imf.open_dataset(tmp_path / "d").at()
    same(whole, imf.concat([inventory(0, ("a",)), inventory(1, ("b",))]))
    with pytest.raises(InputError, match="nothing was collected by 2001-01-01"):
        imf.open_dataset(tmp_path / "d").at("2001-01-01")


def test_dates_between_and_times(history):
    opened = imf.open_dataset(history)
    assert opened.dates == [(dt.date(2023, 11, 14) + dt.timedelta(days=day)).isoformat() for day in range(10)]
    assert opened.between("2023-11-15", "2023-11-17").dates == ["2023-11-15", "2023-11-16"]
    assert opened.between("2023-11-15T22:13:20Z").dates[0] == "2023-11-15"
    with pytest.raises(InputError, match="has no time zone"):
        opened.at(dt.datetime(2024, 1, 1))


def test_the_same_collection_is_stored_once(tmp_path):
    first = dataset.append(tmp_path / "d", inventory(0))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")}
    assert dataset.append(tmp_path / "d", inventory(0)) == first
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")} == before


def test_documents_are_stored_once_per_digest(history):
    for name in ("configs", "documents"):
        digests = [
            d for file in history.rglob(f"{name}.parquet") for d in pq.read_table(file)["digest"].to_pylist()
        ]
        assert len(digests) == len(set(digests)) > 8


def test_a_failed_append_leaves_nothing(tmp_path, monkeypatch):
    dataset.append(tmp_path / "d", inventory(0))
    files = sorted(tmp_path.rglob("*"))
    write = pq.ParquetWriter.write_table

    def fails_late(writer, table, *rest, **options):
        if "snapshotter" in table.column_names and "kind" in table.column_names:
            raise OSError(28, "No space left on device")
        write(writer, table, *rest, **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fails_late)
    with pytest.raises(OSError, match="No space"):
        dataset.append(tmp_path / "d", inventory(1))
    assert sorted(p for p in tmp_path.rglob("*") if "date=2023-11-15" not in str(p)) == files
    assert len(imf.open_dataset(tmp_path / "d").collections) == 1


def test_what_is_no_dataset_is_refused(tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(SchemaError, match="not a dataset"):
        imf.open_dataset(tmp_path)
    with pytest.raises(InputError, match="is not a dataset"):
        dataset.append(tmp_path, inventory(0))
    with pytest.raises(InputError, match="without nodes"):
        dataset.append(tmp_path / "d", imf.Inventory({}))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*inplace keyword.*")  # Dask 2026.8 on pandas 3.1
def test_duckdb_polars_and_dask_read_it_unchanged(history):
    import dask.dataframe as dd

    pattern = f"{history}/date=*/*/images.parquet"
    want = imf.open_dataset(history).table("images", ["node", "content_present_size"])
    total, rows = int(want["content_present_size"].sum()), len(want)
    assert duckdb.sql(
        f"select count(*), sum(content_present_size) from read_parquet('{pattern}', hive_partitioning=true)"
    ).fetchall() == [(rows, total)]
    by_day = duckdb.sql(
        f"select count(distinct date) from read_parquet('{pattern}', hive_partitioning=true)"
    ).fetchall()
    assert by_day == [(10,)]
    assert pl.scan_parquet(pattern, hive_partitioning=True).select(
        pl.len(), pl.col("content_present_size").sum()
    ).collect().row(0) == (rows, total)
    frame = dd.read_parquet(
        [str(p) for p in sorted(history.rglob("images.parquet"))], columns=["node", "content_present_size"]
    )
    assert int(frame["content_present_size"].sum().compute(scheduler="sync")) == total


def test_other_nodes_and_columns_are_not_read(history):
    opened = imf.open_dataset(history)
    frame = opened.between("2023-11-15", "2023-11-17").table("images", ["node", "name"], nodes=["b"])
    assert set(frame["node"]) == {"b"}
    assert list(frame.columns) == ["date", "collected_at", "node", "name"]
    assert set(frame["date"]) == {"2023-11-15", "2023-11-16"}
    with pytest.raises(InputError, match="no column 'nope'"):
        opened.table("images", ["nope"])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 8), st.integers(0, 8))
def test_a_diff_applied_to_the_old_gives_the_new(one, two, few, many):
    old, new = inventory(0, seed=one, images=few), inventory(1, seed=two, images=many)
    difference = imf.diff(old, new)
    same(dataset.apply_diff(old, difference), new)
    same(dataset.apply_diff(new, imf.diff(new, old)), old)
    assert imf.diff(old, old).changes.empty
    deltas = difference.totals.set_index("node")["content_delta"]
    want = {
        n: sum(new.blobs.query("node == @n")["size"]) - sum(old.blobs.query("node == @n")["size"])
        for n in ("a", "b")
    }
    assert {n: int(deltas.get(n, 0)) for n in ("a", "b")} == {n: int(v) for n, v in want.items()}


def one_image(**values):
    row = {
        "node": "a",
        "namespace": "d",
        "name": "x:1",
        "digest": "sha256:1",
        "created_at": 1,
        "updated_at": 1,
        "unpacked": False,
        "content_present_size": 10,
        "unpacked_size": 0,
        "containers": 0,
        "pinned": False,
    }
    return imf.Inventory({"images": schema.table("images", {k: [v] for k, v in (row | values).items()})})


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({"digest": "sha256:2", "updated_at": 2}, ["retagged"]),
        ({"updated_at": 2}, ["pulled again"]),
        ({"unpacked": True, "unpacked_size": 5}, ["unpacked"]),
        ({"content_present_size": 4}, ["content dropped"]),
        ({"containers": 2}, ["use began"]),
        ({"pinned": True}, ["pinned"]),
        ({"unique_size": 99}, []),
    ],
)
def test_changes_are_typed(change, kinds):
    assert imf.diff(one_image(), one_image(**change)).changes["change"].tolist() == kinds
    deltas = imf.diff(one_image(), one_image(**change)).changes
    if kinds == ["content dropped"]:
        assert deltas["content_delta"].tolist() == [-6]


def test_a_diff_of_something_else_is_refused():
    difference = imf.diff(one_image(), one_image(containers=1))
    with pytest.raises(InputError, match="does not fit"):
        dataset.apply_diff(one_image(name="y:1"), difference)


def test_last_used_survives_and_says_what_was_not_observed(tmp_path):
    def state(day, used, names):
        images = {
            "node": ["a"] * len(names),
            "namespace": ["d"] * len(names),
            "name": names,
            "digest": ["s"] * len(names),
            "containers": [int(n in used) for n in names],
        }
        nodes = {"node": ["a"], "collected_at": [START + day * DAY]}
        return imf.Inventory(
            {"nodes": schema.table("nodes", nodes), "images": schema.table("images", images)}
        )

    for day, used, names in ((0, "x", ["x", "y"]), (1, "", ["x", "y"]), (2, "z", ["y", "z"])):
        dataset.append(tmp_path / "d", state(day, used, names))
    frame = dataset.last_used(imf.open_dataset(tmp_path / "d")).set_index("name")
    day = lambda value: None if pd.isna(value) else (value.value - START) // DAY  # noqa: E731
    assert {
        name: [day(frame.loc[name, c]) for c in ("first_seen", "last_seen", "first_used", "last_used")]
        for name in "xyz"
    } == {
        "x": [0, 1, 0, 0],
        "y": [0, 2, None, None],
        "z": [2, 2, 2, 2],
    }
    assert frame["present"].to_dict() == {"x": False, "y": True, "z": True}
    assert {day(v) for v in frame["not_observed_before"]} == {0}


def test_appends_of_two_processes_do_not_disturb_each_other(tmp_path):
    import concurrent.futures
    import multiprocessing

    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        folders = list(pool.map(_append, [(str(tmp_path / "d"), day) for day in (0, 0, 1, 1)]))
    assert len(set(folders)) == 2
    same(imf.open_dataset(tmp_path / "d").at(), inventory(1))
    assert [p.name for p in (tmp_path / "d").iterdir() if p.name.startswith(".")] == [".lock"]


def _append(job):
    return str(dataset.append(job[0], inventory(job[1])))


def test_empty_tables_keep_their_types(tmp_path):
    dataset.append(
        tmp_path / "d",
        imf.Inventory({"nodes": schema.table("nodes", {"node": ["a"], "collected_at": [START]})}),
    )
    back = imf.open_dataset(tmp_path / "d").at()
    for name in schema.TABLES:
        assert back.arrow(name).schema.equals(schema.TABLES[name]), name
    assert isinstance(back.arrow("images"), pa.Table)


def unreached(day, nodes=("a", "b")):
    """A collection that read node a and could not reach the others."""
    whole = inventory(day, ("a",))
    away = [node for node in nodes if node != "a"]
    states = {
        "node": list(nodes),
        "collected_at": [START + day * DAY] * len(nodes),
        "status": ["failed" if node in away else "ok" for node in nodes],
    }
    errors = {"node": away, "stage": ["connect"] * len(away), "message": [f"day {day}"] * len(away)}
    return whole.replace(nodes=schema.table("nodes", states), errors=schema.table("errors", errors))


def test_a_node_that_could_not_be_read_is_not_empty(tmp_path):
    for made in (inventory(0), inventory(1), unreached(2), unreached(3)):
        dataset.append(tmp_path / "d", made)
    opened = imf.open_dataset(tmp_path / "d")
    now = opened.at()
    before = inventory(1).images.query("node == 'b'")["name"]
    assert sorted(now.images["name"][now.images["node"] == "b"]) == sorted(before)
    assert sorted(now.images["name"][now.images["node"] == "a"]) == sorted(
        inventory(3, ("a",)).images["name"]
    )
    collected = now.nodes.set_index("node")["collected_at"]
    assert (collected["a"] - collected["b"]).days == 2
    assert now.errors["message"].tolist() == ["day 3"], "the newest failure is told"
    assert now.nodes["status"].tolist() == ["ok", "ok"]

    growth = imf.capacity.growth(opened)
    assert growth.groupby("node", observed=True).size().to_dict() == {"a": 4, "b": 2}
    assert (growth["total_bytes"] > 0).all()
    by_name = imf.capacity.growth(opened, "namespace")
    assert by_name["images"].tolist() == [8, 8, 8, 8], "what it had last still counts"

    used = dataset.last_used(opened)
    there = used[(used["node"] == "b") & used["present"]]
    assert sorted(there["name"]) == sorted(before)

    dataset.append(tmp_path / "d", inventory(4))
    assert imf.open_dataset(tmp_path / "d").at().errors.empty, "it was read again"
    same(imf.open_dataset(tmp_path / "d").at(), inventory(4))


def test_a_node_that_was_never_read_keeps_its_row(tmp_path):
    for day in (0, 1):
        dataset.append(tmp_path / "d", unreached(day))
    now = imf.open_dataset(tmp_path / "d").at()
    assert now.nodes.set_index("node")["status"].to_dict() == {"a": "ok", "b": "failed"}
    assert now.errors["message"].tolist() == ["day 1"]


def test_nobody_says_removed_of_a_node_that_was_not_read():
    difference = imf.diff(inventory(0), unreached(1))
    assert set(difference.changes["node"]) == {"a"}
    assert difference.totals["node"].tolist() == ["a"]
    same(dataset.apply_diff(inventory(0), difference), unreached(1))


def test_use_that_nobody_saw_neither_begins_nor_ends():
    for old, new in ((1, None), (None, 1), (None, 0), (0, None)):
        changes = imf.diff(one_image(containers=old), one_image(containers=new)).changes
        assert not set(changes["change"]) & {"use ended"}, (old, new)
        assert "use began" not in set(changes["change"]), (old, new)


def test_layers_whose_config_came_later_get_their_chains(tmp_path):
    def state(day, chain):
        layers = {"manifest_digest": ["m"] * 2, "position": [0, 1], "digest": ["l0", "l1"], "chain_id": chain}
        images = {"node": ["a"], "name": ["x:1"], "digest": ["m"], "manifest_digest": ["m"]}
        nodes = {"node": ["a"], "collected_at": [START + day * DAY]}
        rows = {"nodes": nodes, "images": images, "layers": layers}
        return imf.Inventory({name: schema.table(name, columns) for name, columns in rows.items()})

    lacking, whole = [None, None], ["k0", "k1"]
    for day, chain in enumerate((lacking, lacking, whole, lacking, whole)):
        dataset.append(tmp_path / "d", state(day, chain))
    opened = imf.open_dataset(tmp_path / "d")
    assert opened.at().layers["chain_id"].tolist() == whole
    assert len(opened.table("layers")) == 4, "once without, once with them"
