"""Forecasts of histories whose truth is known, growth that counts shared bytes once, and what would fit."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imgframe as imf
from imgframe import capacity, dataset, schema
from imgframe.capacity.forecast import days_until, fit_trend
from imgframe.errors import InputError, NotFound

DAY = 86_400 * 10**9


def record(root, used, total=1000, step=1.0):
    for at, value in enumerate(used):
        nodes = {
            "node": ["a"],
            "collected_at": [int(at * step * DAY) + DAY],
            "disk_total": [total],
            "disk_free": [total - value],
        }
        dataset.append(root, imf.Inventory({"nodes": schema.table("nodes", nodes)}))
    return imf.open_dataset(root)


def test_a_saw_is_fitted_between_its_drops(tmp_path):
    used = [100 + 10 * (day % 20) for day in range(60)]
    row = capacity.forecast(record(tmp_path / "d", used), threshold=0.85).iloc[0]
    assert row["prunes"] == 2
    assert row["trend"] == "growing"
    assert row["bytes_per_day"] == pytest.approx(10)
    assert row["threshold_bytes"] == 850
    assert row["days_to_threshold"] == pytest.approx((850 - 290) / 10)
    assert row["days_to_full"] == pytest.approx((1000 - 290) / 10)
    assert row["method"] == "growth between prunes of the file system"


def test_noise_is_no_trend_and_few_are_too_few(tmp_path):
    rng = np.random.default_rng(1)
    noise = (500 + rng.integers(-5, 6, 60)).tolist()
    row = capacity.forecast(record(tmp_path / "noise", noise)).iloc[0]
    assert row["trend"] == "no trend"
    assert row[["days_to_full", "days_to_threshold_low"]].isna().all()
    assert capacity.forecast(record(tmp_path / "few", [1, 2, 3])).iloc[0]["trend"] == "too few"
    assert capacity.forecast(record(tmp_path / "one", [1])).iloc[0]["trend"] == "too few"


@pytest.mark.parametrize(("level", "words"), [(1000, (0.0, 0.0)), (900, (0.0, None)), (800, (None, None))])
def test_what_is_reached_already_is_said_without_a_trend(level, words, tmp_path):
    row = capacity.forecast(record(tmp_path / "d", [level] * 8)).iloc[0]
    assert row["trend"] == "no trend"
    for name, days in zip(("days_to_threshold", "days_to_full"), words, strict=True):
        for end in ("", "_low", "_high"):
            found = row[name + end]
            assert (days is None and found is pd.NA) or found == days, (name, end)


def test_a_collection_that_could_not_read_the_node_is_no_prune(tmp_path):
    for day in range(12):
        here = {"node": ["a"], "collected_at": [day * DAY + DAY], "disk_total": [None if day == 6 else 1000]}
        tables = {"nodes": here | {"status": ["failed" if day == 6 else "ok"]}}
        if day not in {6, 8}:
            tables["blobs"] = {"node": ["a"], "namespace": ["d"], "digest": ["x"], "size": [100 + 10 * day]}
        if day == 8:
            tables["errors"] = {"node": ["a"], "stage": ["content"], "code": ["UNAVAILABLE"]}
        inventory = imf.Inventory({name: schema.table(name, rows) for name, rows in tables.items()})
        dataset.append(tmp_path / "d", inventory)
    opened = imf.open_dataset(tmp_path / "d")
    growth = capacity.growth(opened)
    assert len(growth) == 11
    assert growth["total_bytes"].isna().sum() == 1
    row = capacity.forecast(opened).iloc[0]
    assert row[["trend", "prunes", "used_bytes", "observations"]].tolist() == ["growing", 0, 210, 10]
    assert row["bytes_per_day"] == pytest.approx(10)
    assert capacity.lines(growth, "node", 3)["bytes"].min() == 100


def test_an_unknown_disk_gives_a_rate_but_no_date(tmp_path):
    for day in range(8):
        nodes = schema.table("nodes", {"node": ["a"], "collected_at": [day * DAY + 1]})
        blobs = schema.table(
            "blobs", {"node": ["a"], "namespace": ["d"], "digest": ["x"], "size": [100 + day]}
        )
        dataset.append(tmp_path / "d", imf.Inventory({"nodes": nodes, "blobs": blobs}))
    opened = imf.open_dataset(tmp_path / "d")
    row = capacity.forecast(opened).iloc[0]
    assert (row["trend"], row["bytes_per_day"], row["days_to_full"] is None) == (
        "growing",
        pytest.approx(1),
        False,
    )
    assert capacity.forecast(opened)["days_to_full"].isna().all()
    assert capacity.forecast(opened, disk_total={"a": 207}).iloc[0]["days_to_full"] == pytest.approx(100)


@settings(max_examples=100, deadline=None)
@given(st.floats(1, 1e9), st.integers(5, 90), st.floats(1, 4e5))
def test_steady_growth_is_found_exactly(rate, days, need):
    need *= rate
    trend = fit_trend(np.arange(days, dtype=float), rate * np.arange(days))
    assert trend.rate == pytest.approx(rate)
    assert days_until(need, trend) == pytest.approx(need / rate, rel=1e-6)
    assert days_until(0, trend) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=6, max_size=40), st.floats(1, 1000))
def test_the_interval_holds_the_estimate(growth, need):
    trend = fit_trend(np.arange(len(growth) + 1, dtype=float), np.concatenate([[0], np.cumsum(growth)]))
    early, middle, late = (days_until(need, trend, z) for z in (1.6, 0, -1.6))
    assert early <= middle <= late or math.isinf(late)


def test_bad_shares_are_named(tmp_path):
    opened = record(tmp_path / "d", [1, 2])
    with pytest.raises(InputError, match=r"threshold 85 is not a share of the disk"):
        capacity.forecast(opened, threshold=85)
    with pytest.raises(InputError, match=r"confidence 1\.5"):
        capacity.forecast(opened, confidence=1.5)


def images_of(rows):
    names = ("node", "namespace", "repository", "digest", "labels", "content_present_size", "unpacked_size")
    return schema.table("images", dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def test_growth_counts_a_digest_once_per_store(tmp_path):
    rows = [
        ("a", "x", "web", "d1", '{"team":"one"}', 10, 5),
        ("a", "y", "web", "d1", '{"team":"one"}', 10, 5),
        ("b", "x", "web", "d1", '{"team":"one"}', 10, 5),
        ("a", "x", "db", "d2", "{}", 7, None),
    ]
    nodes = schema.table("nodes", {"node": ["a", "b"], "collected_at": [DAY, DAY]})
    blobs = schema.table(
        "blobs",
        {
            "node": ["a", "a", "b"],
            "namespace": ["x", "y", "x"],
            "digest": ["d1", "d1", "d1"],
            "size": [10, 10, 10],
        },
    )
    dataset.append(tmp_path / "d", imf.Inventory({"nodes": nodes, "images": images_of(rows), "blobs": blobs}))
    opened = imf.open_dataset(tmp_path / "d")
    assert capacity.growth(opened)[["node", "images", "content_bytes"]].values.tolist() == [
        ["a", 3, 10],
        ["b", 1, 10],
    ]
    by = capacity.growth(opened, "repository").set_index("repository")
    assert by.loc["web", ["images", "content_bytes", "snapshot_bytes"]].tolist() == [3, 20, 15]
    assert by.loc["db", ["content_bytes", "snapshot_bytes"]].tolist() == [7, 0]
    team = capacity.growth(opened, "team")
    assert team[["team", "total_bytes"]].values.tolist() == [["one", 35]]
    with pytest.raises(InputError, match="no image has the label 'owner'"):
        capacity.growth(opened, "owner")


def fleet():
    return imf.Inventory(
        {
            "nodes": schema.table(
                "nodes",
                {
                    "node": ["a", "b", "c"],
                    "disk_free": [10_000, 1000, None],
                    "snapshotter": ["overlayfs"] * 3,
                },
            ),
            "images": schema.table(
                "images",
                {
                    "node": ["a", "a"],
                    "name": ["x:1", "y:1"],
                    "digest": ["i1", "m2"],
                    "manifest_digest": ["m1", "m2"],
                    "config_digest": ["c1", "c2"],
                },
            ),
            "layers": schema.table(
                "layers",
                {
                    "manifest_digest": ["m1", "m1", "m2", "m2"],
                    "position": [0, 1, 0, 1],
                    "digest": ["base", "l1", "base", "l2"],
                    "media_type": ["gz"] * 4,
                    "size": [100, 50, 100, 40],
                    "chain_id": ["kb", "k1", "kb", "k2"],
                },
            ),
            "blobs": schema.table(
                "blobs",
                {
                    "node": ["a"] * 4 + ["b"],
                    "namespace": ["default"] * 5,
                    "digest": ["i1", "m1", "c1", "m2", "base"],
                    "size": [1, 2, 3, 4, 100],
                },
            ),
            "snapshots": schema.table(
                "snapshots",
                {
                    "node": ["a"] * 2,
                    "namespace": ["default"] * 2,
                    "snapshotter": ["overlayfs"] * 2,
                    "key": ["kb", "k1"],
                    "size": [300, 100],
                },
            ),
        }
    )


def test_what_fits_is_exact_where_a_node_has_the_chain():
    fit = capacity.will_it_fit(["x:1", "y:1"], fleet(), ["b"]).set_index("name")
    assert fit.loc[
        "x:1", ["missing_bytes", "unpacked_bytes", "exact", "peak_bytes", "free_after", "fits"]
    ].tolist() == [56, 400, True, 456, 544, True]
    other = fit.loc["y:1"]
    assert not other["exact"]
    assert other["unpacked_low"] <= other["unpacked_bytes"] <= other["unpacked_high"]
    together = fit.loc[capacity.fit.TOGETHER]
    assert together["missing_bytes"] == 1 + 2 + 3 + 4 + 50 + 40
    assert together["unpacked_bytes"] == 400 + other["unpacked_bytes"] - 300


def test_unknown_free_space_is_unknown_and_unknown_images_are_named():
    row = capacity.will_it_fit("x:1", fleet(), ["c"]).iloc[0]
    assert row["missing_bytes"] == 156
    assert row[["free_after", "fits"]].isna().all()
    with pytest.raises(NotFound, match="no node of the inventory has 'z:1'"):
        capacity.will_it_fit("z:1", fleet())
    with pytest.raises(InputError, match="no node 'q'"):
        capacity.will_it_fit("x:1", fleet(), ["q"])


def test_names_are_taken_as_one_types_them():
    whole = fleet()
    renamed = whole.images.assign(name=["docker.io/library/x:1", "docker.io/library/y:latest"])
    inv = whole.replace(images=schema.from_frame("images", renamed))
    assert capacity.will_it_fit(["x:1", "y"], inv, ["b"])["missing_bytes"].tolist()[:2] == [56, 44]


def test_a_name_of_two_images_is_refused_and_its_rows_are_told_apart():
    whole = fleet()
    both = whole.replace(images=schema.from_frame("images", whole.images.assign(name=["x:1", "x:1"])))
    with pytest.raises(InputError, match=r"'x:1' stands for 2 different images on the nodes \(i1, m2\)"):
        capacity.will_it_fit("x:1", both)
    fit = capacity.will_it_fit(both.images, both, ["b"]).set_index("name")
    assert fit["missing_bytes"].to_dict() == {"x:1@i1": 56, "x:1@m2": 44, capacity.fit.TOGETHER: 100}


def test_each_node_takes_the_manifest_of_its_platform():
    whole = fleet()
    nodes = whole.nodes.assign(platform=["linux/amd64", "linux/amd64", "linux/arm64"])
    images = whole.images.assign(platform=["linux/amd64", "linux/amd64"])
    children = {
        "node": ["a"] * 3,
        "parent_digest": ["i1"] * 3,
        "digest": ["m1", "m2", "m3"],
        "platform": ["linux/amd64", "linux/arm64", "<no platform>"],
        "config_digest": ["c1", "c2", "c3"],
    }
    tables = {"nodes": schema.from_frame("nodes", nodes), "images": schema.from_frame("images", images)}
    fits = [
        capacity.will_it_fit("x:1", whole.replace(**tables, manifests=schema.table("manifests", rows)))
        for rows in (children, {name: values[:1] for name, values in children.items()})
    ]
    found, lost = (fit.set_index("node")["missing_bytes"] for fit in fits)
    assert found[["b", "c"]].tolist() == [1 + 2 + 3 + 50, 1 + 4 + 100 + 40]
    assert lost["b"] == 56
    assert pd.isna(lost["c"])
    assert fits[1].set_index("node").loc["c", ["unpacked_bytes", "fits"]].isna().all()
