"""Readings that are too old to count: nodes that were taken out of service, and those that are only away."""

import datetime as dt
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from testbed.histories import HISTORIES, HOUR, State, appended, collected, stamp
from typer.testing import CliRunner

import imgframe as imf
from imgframe import dataset
from imgframe.cli.main import app
from imgframe.errors import InputError
from imgframe.golang import time as gotime
from imgframe.report.facts import gather


@pytest.fixture
def fleet(tmp_path):
    """a is read daily, b was taken out of service after day 2, c cannot be reached since day 3."""
    for day in range(10):
        seen = {"a": {1}} | ({"b": {2}, "c": {3}} if day < 3 else {})
        dataset.append(tmp_path / "d", collected(24 * day, seen, failed=("c",) if day >= 3 else ()))
    return imf.open_dataset(tmp_path / "d")


def test_a_node_out_of_service_is_left_out_and_named(fleet):
    assert sorted(fleet.at().nodes["node"]) == ["a", "b", "c"], "the default is as it was"
    now = fleet.at(max_age="72h")
    assert now.nodes.set_index("node")["status"].to_dict() == {"a": "ok", "c": "failed"}
    assert set(now.images["node"]) == {"a"}, "of c nobody knows any more"
    assert set(now.configs["digest"]) == {"sha256:c1"}
    errors = now.errors.set_index("node")
    old = errors[errors["code"] == "too_old"]
    assert old["message"].to_dict() == dict.fromkeys(
        "bc", "last read 2023-11-16T00:00:00Z, before 2023-11-20T00:00:00Z: too old to count"
    )
    assert set(old["stage"]) == {"history"}
    assert errors[errors["code"].isna()]["message"].tolist() == ["at 216"], "c has its failure, too"
    assert imf.reclaim(now, now.images).unread.empty, "that says nothing about the others' lists"


def test_the_age_is_that_at_the_moment_asked_for(fleet):
    assert sorted(fleet.at(stamp(100), max_age="72h").nodes["node"]) == ["a", "b", "c"]
    assert sorted(fleet.at(stamp(48 + 72), max_age="72h").images["node"]) == ["a", "b", "c"], (
        "just not too old"
    )
    assert fleet.at(stamp(48 + 73), max_age="72h").images["node"].tolist() == ["a"]
    with pytest.raises(
        InputError, match="no node was read after 2023-12-08T00:00:00Z, which max_age '1h' asks"
    ):
        fleet.at(stamp(24 * 24 + 1), max_age="1h")


@pytest.mark.parametrize(
    "length", ["72h", dt.timedelta(days=3), pd.Timedelta("3D"), np.timedelta64(3, "D"), "4320m"]
)
def test_lengths_of_time(fleet, length):
    assert gotime.to_duration(length) == 72 * HOUR
    assert fleet.at(max_age=length).nodes["node"].tolist() == ["a", "c"]


@pytest.mark.parametrize(
    ("length", "words"),
    [
        ("3 days", 'unknown unit " days" in duration "3 days"'),
        *((length, f"{length!r} is negative") for length in ("-1h", dt.timedelta(-1))),
        *((length, f"{length!r} is not a length of time") for length in (pd.NaT, 5, True, None)),
    ],
)
def test_what_is_no_length_of_time(length, words):
    with pytest.raises(InputError, match=re.escape(words)):
        gotime.to_duration(length)


def test_growth_and_forecast_leave_them_out(fleet):
    by = imf.capacity.growth(fleet, "repository")
    assert by["images"].tolist() == [3] * 10
    by = imf.capacity.growth(fleet, "repository", max_age="48h")
    assert by["images"].tolist() == [3] * 5 + [1] * 5
    nodes = imf.capacity.growth(fleet, max_age="48h")
    assert nodes.equals(imf.capacity.growth(fleet)), "rows of nodes are readings"
    assert imf.capacity.forecast(fleet)["node"].tolist() == ["a", "b", "c"]
    assert imf.capacity.forecast(fleet, max_age="48h")["node"].tolist() == ["a"]
    with pytest.raises(InputError, match="invalid duration"):
        imf.capacity.forecast(fleet, max_age="long")


def test_a_report_leaves_them_out(fleet, tmp_path):
    whole, young = gather(fleet), gather(fleet, "72h")
    assert [facts.totals["nodes"] for facts in (whole, young)] == [3, 2]
    assert young.totals["nodes_failed"] == 1, "c"
    assert young.totals["errors"] == 1, "c could not be reached; that b is out of service is no failure"
    assert young.tables["errors"]["code"].tolist().count("too_old") == 2, "but it is told"
    assert set(young.tables["forecast"]["node"]) == {"a"}
    assert set(young.tables["last_used"]["node"]) == {"a", "c"}
    with pytest.raises(InputError, match="max_age needs a history"):
        gather(fleet.at(), "72h")
    told = CliRunner().invoke(
        app, ["report", str(fleet.path), "-o", str(tmp_path / "r"), "--max-age", "3 days"]
    )
    assert told.exit_code != 0
    assert not (tmp_path / "r").exists()


@settings(max_examples=25, deadline=None)
@given(history=HISTORIES, when=st.integers(0, 80), age=st.integers(0, 80))
def test_each_node_has_its_state_or_its_failure_or_nothing(history, when, age):
    with tempfile.TemporaryDirectory() as folder:
        assume(appended(Path(folder) / "d", history))
        opened = imf.open_dataset(Path(folder) / "d")
        read, tried = {}, {}
        for one in opened.collections:
            if one.collected_at <= stamp(when).value:
                read |= dict.fromkeys(one.read, one.collected_at)
                tried |= dict.fromkeys(one.nodes, one.collected_at)
        oldest = stamp(when - age).value
        known = {node for node, at in read.items() if at >= oldest}
        away = {node for node, at in tried.items() if at >= oldest} - known
        if not known | away:
            with pytest.raises(InputError, match=r"nothing was collected by|no node was read after"):
                opened.at(stamp(when), max_age=dt.timedelta(hours=age))
            return
        whole, young = opened.at(stamp(when)), opened.at(stamp(when), max_age=dt.timedelta(hours=age))
        states = young.nodes.set_index("node")["status"].astype(str).to_dict()
        assert states == dict.fromkeys(known, "ok") | dict.fromkeys(away, "failed")
        for name in ("images", "manifests"):
            frame = getattr(whole, name)
            want = frame[frame["node"].isin(known)]
            assert State(imf.Inventory({name: want})) == State(imf.Inventory({name: getattr(young, name)}))
        old = young.errors[young.errors["code"] == "too_old"]
        assert set(old["node"]) == tried.keys() - known - (away - read.keys())
        assert set(young.configs["digest"]) <= set(whole.configs["digest"])
