"""DataFrame.img: the same answers as the functions, and a sentence for a missing column."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imgframe as imf
from imgframe.errors import InputError, MissingColumn


@pytest.fixture(autouse=True, scope="module")
def accessor():
    """The tests' own modules import imgframe before pandas: then the first use of a public name registers ``img``."""
    assert imf.Inventory


def images():
    return pd.DataFrame(
        {
            "node": ["a", "a", "a", "b"],
            "namespace": "k8s.io",
            "name": [
                "docker.io/library/alpine:3.20",
                "docker.io/library/alpine:3.19",
                "sha256:" + "0" * 64,
                "ghcr.io/o/x:v1.2.3",
            ],
            "repository": ["alpine", "alpine", "", "ghcr.io/o/x"],
            "tag": pd.Categorical(["3.20", "3.19", None, "v1.2.3"]),
            "labels": ['{"team":"web","v":"1"}', '{"team":"db"}', None, "{}"],
            "created_at": pd.to_datetime(["2024-03-01", "2024-02-01", "2024-01-01", "2024-01-01"], utc=True),
        },
        index=[7, 7, 8, 9],
    )


def test_filters_give_the_frame_of_the_rows_kept():
    frame = images()
    cases = [
        (frame.img.reference("alpine:3.1*"), imf.filter_by_reference(["alpine:3.1*"])),
        (frame.img.reference(["alpine", "3.20"]), imf.filter_by_reference(["alpine", "3.20"])),
        (frame.img.label({"team": "web"}), imf.filter_by_label({"team": "web"})),
        (frame.img.label("team"), imf.filter_by_label({"team": ""})),
        (frame.img.label("team", "db"), imf.filter_by_label({"team": "db"})),
        (frame.img.until("2024-02-15"), imf.filter_until("2024-02-15")),
        (frame.img.before("alpine:3.20"), imf.filter_by_created_at(before=["alpine:3.20"])),
        (frame.img.since(["alpine:3.19"]), imf.filter_by_created_at(since=["alpine:3.19"])),
        (frame.img.dangling(), imf.filter_dangling_images()),
        (frame.img.tagged(), imf.filter_tagged_images()),
    ]
    for got, f in cases:
        pd.testing.assert_frame_equal(got, frame[f])
    assert frame.img.before("alpine:3.20")["name"].str[:6].tolist() == ["docker", "sha256"]


def test_one_label_is_a_column_of_categories():
    values = images().img.label_values("team")
    assert values.dtype == "category"
    assert values.name == "team"
    assert values.index.tolist() == [7, 7, 8, 9]
    assert values.isna().tolist() == [False, False, True, True]
    assert values.dropna().tolist() == ["web", "db"]


def test_all_labels_are_a_long_table():
    table = images().img.labels()
    assert table.columns.tolist() == ["node", "namespace", "name", "key", "value"]
    assert table[["key", "value"]].astype(str).to_numpy().tolist() == [
        ["team", "web"],
        ["v", "1"],
        ["team", "db"],
    ]
    assert table.index.tolist() == [7, 7, 7]
    assert images().iloc[:0].img.labels().empty


def test_keep_last_counts_per_store_and_keeps_the_unknown():
    frame = images()
    assert frame.img.keep_last(1).equals(frame.iloc[[0, 2, 3]])
    assert frame.img.keep_last(0).empty
    frame.loc[8, "created_at"] = pd.NaT
    assert frame.img.keep_last(0).index.tolist() == [8]
    assert frame.img.keep_last(1, by=["repository", "tag"]).equals(frame)
    with pytest.raises(InputError, match="-1 images"):
        frame.img.keep_last(-1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 5)), max_size=15),
    st.integers(0, 4),
)
def test_keep_last_is_what_sorting_each_group_gives(data, n):
    frame = pd.DataFrame(data, columns=["node", "repository", "day"])
    frame["created_at"] = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(frame["day"], unit="D")
    expected = []
    for _, group in frame.groupby(["node", "repository"]):
        order = np.argsort(-group["day"].to_numpy(), kind="stable")
        expected += group.index[order[:n]].tolist()
    assert frame.img.keep_last(n).index.tolist() == sorted(expected)


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("1.2.3", (1, 2, 3, "")),
        ("v1.2.3", (1, 2, 3, "")),
        ("1.2.3-rc.1", (1, 2, 3, "rc.1")),
        ("1.2.3-0a.b-c", (1, 2, 3, "0a.b-c")),
        ("0.0.0", (0, 0, 0, "")),
        ("1.2", None),
        ("01.2.3", None),
        ("1.2.3-01", None),
        ("1.2.3-", None),
        ("1.2.3.4", None),
        ("latest", None),
        ("V1.2.3", None),
        ("1.2.99999999999999999999", None),
        ("1.2.3\n", None),
        ("١.2.3", None),
        (None, None),
    ],
)
def test_semver_of_a_tag(tag, version):
    row = pd.DataFrame({"tag": pd.Series([tag], dtype="str")}).img.semver().iloc[0]
    if version is None:
        assert row.isna().all()
    else:
        assert tuple(row) == version


def test_semver_has_its_types_on_any_index():
    found = images().img.semver()
    assert found.dtypes.astype(str).tolist() == ["Int64", "Int64", "Int64", "category"]
    assert found["minor"].isna().tolist() == [True, True, True, False]
    assert found.index.tolist() == [7, 7, 8, 9]


@pytest.mark.parametrize(
    ("method", "arguments", "column"),
    [
        ("reference", ("x",), "name"),
        ("dangling", (), "name"),
        ("tagged", (), "name"),
        ("before", ("x",), "name"),
        ("since", ("x",), "name"),
        ("until", ("1h",), "created_at"),
        ("label", ({},), "labels"),
        ("label_values", ("k",), "labels"),
        ("labels", (), "labels"),
        ("keep_last", (1,), "created_at"),
        ("semver", (), "tag"),
    ],
)
def test_a_missing_column_is_named_at_once(method, arguments, column):
    with pytest.raises(
        MissingColumn, match=f"DataFrame.img.{method} needs the column '{column}'; the frame has x"
    ):
        getattr(pd.DataFrame({"x": [1]}).img, method)(*arguments)


def test_the_accessor_comes_with_pandas_and_once():
    code = (
        "import warnings; warnings.simplefilter('error'); import imgframe, sys; assert 'pandas' not in sys.modules; "
        "import pandas; imgframe.Filter; from imgframe import accessor; first = pandas.DataFrame.img; accessor.register(pandas); "
        "assert pandas.DataFrame.img is first is accessor.ImageAccessor"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
