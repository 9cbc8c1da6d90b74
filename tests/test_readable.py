"""What charts draw: grouping loses no byte, no line, no change."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgframe import capacity, charts

BYTES = st.lists(st.one_of(st.none(), st.integers(0, 2**40)), max_size=30)


@settings(max_examples=25)
@given(BYTES, st.integers(1, 12))
def test_the_rest_is_added_up(sizes, most):
    frame = pd.DataFrame(
        {"repository": [f"r{n}" for n in range(len(sizes))], "a": pd.array(sizes, dtype="Int64"), "b": 1}
    )
    found = capacity.largest(frame, "repository", ["a", "b"], most)
    assert len(found) == min(len(sizes), most)
    assert found[["a", "b"]].sum().tolist() == [sum(filter(None, sizes)), len(sizes)]
    shown = len(sizes) if len(sizes) <= most else most - 1
    assert found["is_rest"].tolist() == [False] * shown + [True] * (len(found) - shown)
    whole = found.loc[~found["is_rest"], "a"]
    assert whole.is_monotonic_decreasing
    if found["is_rest"].any():
        assert found["repository"].iloc[-1] == f"{len(sizes) - most + 1} others"


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(0, 10**12), min_size=3, max_size=3), max_size=9), st.integers(1, 5))
def test_lines_add_up_to_the_whole_at_every_time(series, most):
    times = pd.to_datetime(["2026-01-03", "2026-01-01", "2026-01-02"], utc=True)
    parts = [
        pd.DataFrame({"collected_at": times, "node": f"n{n}", "total_bytes": row})
        for n, row in enumerate(series)
    ]
    growth = pd.concat([pd.DataFrame({"collected_at": times, "node": "n", "total_bytes": 0}), *parts])
    drawn = capacity.lines(growth, "node", most)
    assert drawn["node"].nunique() == min(len(series) + 1, most)
    summed = drawn.groupby("collected_at")["bytes"].sum()
    assert summed.tolist() == growth.groupby("collected_at")["total_bytes"].sum().tolist()
    assert all(line["collected_at"].is_monotonic_increasing for _, line in drawn.groupby("node"))


def test_the_disk_is_drawn_where_it_is_known_throughout():
    growth = pd.DataFrame(
        {
            "collected_at": pd.to_datetime(["2026-01-01"] * 2, utc=True),
            "node": ["a", "b"],
            "total_bytes": [1, 2],
            "disk_used": pd.array([10, None], dtype="Int64"),
        }
    )
    assert capacity.lines(growth, "node", 6)["bytes"].tolist() == [2, 1]
    assert capacity.lines(growth.fillna({"disk_used": 20}), "node", 6)["bytes"].tolist() == [20, 10]


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(1, 28), st.sampled_from(["added", "removed", "use ended"])),
        min_size=1,
        max_size=40,
    )
)
def test_every_change_is_counted_on_its_day(changes):
    frame = pd.DataFrame(changes, columns=["date", "change"])
    frame["date"] = [f"2026-02-{day:02d}" for day in frame["date"]]
    counted = capacity.changes_by_day(frame)
    found = {
        (row.date.day, row.change): count
        for row, count in zip(counted.itertuples(), counted["count"], strict=True)
    }
    assert {key: count for key, count in found.items() if count} == {
        key: changes.count(key) for key in set(changes)
    }
    assert counted["falls"].tolist() == [kind != "added" for kind in counted["change"]]


def test_an_age_axis_has_no_tick_without_a_name():
    frame = pd.DataFrame(
        {
            "created_at": pd.to_datetime(["2026-01-01"], utc=True),
            "unique_size": [5],
            "containers": [0],
            "used_by_digest": [False],
        }
    )
    ax = charts.age_against_size(frame, now=pd.Timestamp("2026-02-01", tz="UTC"))
    assert list(ax.yaxis.get_minorticklocs()) == []
    assert ax.collections[0].get_offsets().tolist() == [[pytest.approx(31), 5]]
