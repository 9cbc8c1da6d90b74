"""How filters compose, what they accept, and what they never do."""

from __future__ import annotations

import datetime as dt
import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

import imgframe as imf
from imgframe.containerd_filters import parse
from imgframe.errors import FilterError, InputError, MissingColumn
from imgframe.filters import bounds, docker
from imgframe.nerdctl import selection
from imgframe.nerdctl.selection import prune_candidates, select_images

NAMES = (
    "docker.io/library/alpine:3.20",
    "docker.io/library/nginx:latest",
    "ghcr.io/org/api:v1.2.3",
    "registry.example.com:5000/team/web@sha256:" + "a" * 64,
    "sha256:" + "b" * 64,
    "Not A Name",
    ":",
)
LABELS = ("{}", '{"team":"web"}', '{"keep":"","team":"db"}', None)
NOW = pd.Timestamp("2024-06-01", tz="UTC")

rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(NAMES[:5]),
        st.sampled_from(LABELS),
        st.one_of(
            st.none(),
            st.integers(0, 60).map(lambda d: pd.Timestamp("2024-05-01", tz="UTC") + pd.Timedelta(days=d)),
        ),
    ),
    max_size=12,
)
simple = st.sampled_from(
    [
        lambda: imf.filter_by_label({"team": "web"}),
        lambda: imf.filter_by_label({"keep": ""}),
        lambda: imf.filter_by_label({}),
        lambda: imf.filter_until("240h", now=NOW),
        lambda: imf.filter_until("2024-05-10"),
        lambda: imf.filter_by_created_at(now=NOW),
        lambda: imf.filter_by_created_at(before=[""], since=['name~="alpine"', ""]),
        imf.filter_dangling_images,
        imf.filter_tagged_images,
        lambda: imf.filter_by_reference(["alpine"]),
        lambda: imf.filter_by_reference(["library", "nginx|alpine"]),
    ]
).map(lambda make: make())


def frame(data, *, categories=True, index=None):
    images = pd.DataFrame(
        {
            "node": [row[0] for row in data],
            "namespace": ["k8s.io"] * len(data),
            "name": [row[1] for row in data],
            "labels": [row[2] for row in data],
            "created_at": pd.Series([row[3] for row in data], dtype="datetime64[ns, UTC]"),
        }
    )
    text = ["node", "namespace", "name", "labels"]
    images[text] = images[text].astype("category" if categories else "str")
    if index is not None:
        images.index = index
    return images


def answers(each, images):
    """The mask, or Go's words: filters may refuse (a store without images to look up)."""
    try:
        return each(images).tolist()
    except FilterError as error:
        return error.go


def kleene_and(first, second):
    if first is False or second is False:
        return False
    return pd.NA if first is pd.NA or second is pd.NA else True


def kleene_or(first, second):
    if first is True or second is True:
        return True
    return pd.NA if first is pd.NA or second is pd.NA else False


def same(first, second):
    return len(first) == len(second) and all(
        a is b or (a is not pd.NA and b is not pd.NA and a == b) for a, b in zip(first, second, strict=True)
    )


@settings(max_examples=150, deadline=None)
@given(rows, simple, simple, simple)
def test_composition_is_three_valued_logic(data, f, g, h):
    images = frame(data)
    one, two = answers(f, images), answers(g, images)
    assume(not isinstance(one, str) and not isinstance(two, str))  # neither fails
    assert same((f & g)(images).tolist(), list(map(kleene_and, one, two)))
    assert same((f | g)(images).tolist(), list(map(kleene_or, one, two)))
    assert same((~~f)(images).tolist(), one)
    assert same((~f)(images).tolist(), [value if value is pd.NA else not value for value in one])
    assert same((~(f & g))(images).tolist(), (~f | ~g)(images).tolist())
    assert same((~(f | g))(images).tolist(), (~f & ~g)(images).tolist())
    if not isinstance(answers(h, images), str):
        assert same(((f & g) & h)(images).tolist(), (f & (g & h))(images).tolist())
        assert same((f & (g | h))(images).tolist(), ((f & g) | (f & h))(images).tolist())


@settings(max_examples=100, deadline=None)
@given(rows, simple, simple)
def test_rows_keep_their_order_and_the_input_its_content(data, f, g):
    index = [f"row-{place % 3}" for place in range(len(data))]  # duplicates
    images = frame(data, index=index)
    before = images.copy(deep=True)
    try:
        mask = (f & g)(images)
    except FilterError:
        reject()
    assert mask.index.equals(images.index)
    assert mask.dtype == "boolean"
    kept = images[f & g]
    positions = np.flatnonzero(mask.to_numpy(bool, na_value=False))
    pd.testing.assert_frame_equal(kept, images.iloc[positions])
    pd.testing.assert_frame_equal(imf.apply_filters(images, f, g), kept)
    pd.testing.assert_frame_equal(images, before)
    assert type(kept) is pd.DataFrame


@settings(max_examples=60, deadline=None)
@given(rows, simple)
def test_every_way_to_write_a_frame_gives_the_same(data, f):
    expected = answers(f, frame(data))
    images = frame(data, categories=False)
    variants = [
        images,
        images.astype({"name": object, "labels": object, "node": object}),
        images.assign(
            labels=pd.Series([None if x is None else json.loads(x) for _, _, x, _ in data], dtype=object)
        ),
        frame(data).assign(created_at=lambda d: d["created_at"].dt.tz_convert("Asia/Tokyo")),
        frame(data).assign(created_at=lambda d: d["created_at"].astype("datetime64[us, UTC]")),
        frame(data).assign(created_at=lambda d: d["created_at"].astype("datetime64[s, UTC]")),
        pa.Table.from_pandas(frame(data)).to_pandas(types_mapper=pd.ArrowDtype),
        images.assign(
            created_at=pd.Series([None if t is None else t.isoformat() for *_, t in data], dtype="str")
        ),
    ]
    for variant in variants:
        got = answers(f, variant)
        assert got == expected if isinstance(expected, str) else same(got, expected), variant.dtypes


@settings(max_examples=100, deadline=None)
@given(rows, simple, simple, simple)
def test_explain_decides_as_the_mask(data, f, g, h):
    images = frame(data)
    for each in (f, f & g, f & ~g & h, (f | g) & h, ~(f & g)):
        expected = answers(each, images)
        if isinstance(expected, str):
            continue
        table = each.explain(images)
        assert table.index.equals(images.index)
        conjunction = [True] * len(images)
        for column in table.columns[::2]:
            assert table[column].dtype == "boolean"
            conjunction = list(map(kleene_and, conjunction, table[column].tolist()))
        assert same(conjunction, expected)
        facts = table[table.columns[1::2]]
        assert not facts.isna().any(axis=None)
        assert all(isinstance(fact, str) and fact for fact in facts.to_numpy(object).ravel())


def test_explain_names_the_deciding_fact():
    images = frame(
        [
            ("a", NAMES[0], '{"team":"web"}', pd.Timestamp("2024-05-01", tz="UTC")),
            ("a", NAMES[1], '{"team":"db"}', pd.Timestamp("2024-05-03", tz="UTC")),
            ("a", NAMES[2], None, None),
        ]
    )
    f = (
        imf.filter_by_reference(["alpine:3.*"])
        & imf.filter_by_label({"team": "web"})
        & imf.filter_until("2024-05-02")
    )
    table = f.explain(images)
    assert table.columns.tolist() == [
        "reference=alpine:3.*",
        "reference=alpine:3.*: because",
        "label=team=web",
        "label=team=web: because",
        "until=2024-05-02",
        "until=2024-05-02: because",
    ]
    assert table.iloc[:, 1].tolist() == [
        "'alpine:3.*' matches alpine:3.20 as a glob",
        *["'alpine:3.*' does not match"] * 2,
    ]
    assert table.iloc[:, 3].tolist() == ["team is 'web'", "team is 'db'", "the config is not readable"]
    assert table.iloc[:, 5].tolist() == [
        "created_at is before 2024-05-02T00:00:00Z",
        "created_at is not before 2024-05-02T00:00:00Z",
        "created_at is missing",
    ]
    assert (f & f).explain(images).shape == (3, 12)


def test_an_error_of_a_row_arises_only_if_the_row_gets_there():
    images = frame([("a", NAMES[0], "{}", NOW), ("a", NAMES[5], '{"bad":"1"}', NOW)])
    broken = imf.filter_by_reference(["alpine"])
    with pytest.raises(FilterError, match="invalid reference format"):
        broken(images)
    clean = ~imf.filter_by_label({"bad": ""})
    assert (clean & broken)(images).tolist() == [True, False]
    assert imf.apply_filters(images, clean, broken).index.tolist() == [0]
    with pytest.raises(FilterError, match="invalid reference format"):
        (broken & clean)(images)
    with pytest.raises(FilterError, match="invalid reference format"):
        (clean | broken)(images)
    nothing = imf.filter_until("2000-01-01")
    assert imf.apply_filters(images, nothing, imf.filter_by_reference(["["])).empty
    with pytest.raises(FilterError, match="syntax error in pattern"):
        images[imf.filter_by_reference(["["])]
    with pytest.raises(FilterError, match="unable to parse until timestamp"):
        imf.apply_filters(images.head(0), imf.filter_until("garbage"))


def test_a_row_of_unknown_state_causes_no_error_and_stays_unknown():
    images = frame([("a", NAMES[5], None, NOW)])
    assert same((imf.filter_by_label({"a": ""}) & imf.filter_by_reference(["x"]))(images).tolist(), [pd.NA])


def test_a_record_called_colon_never_matches():
    images = frame([("a", ":", "{}", NOW)])
    assert imf.filter_by_reference([])(images).tolist() == [False]
    assert imf.filter_by_reference(["["])(images).tolist() == [False]
    assert imf.filter_dangling_images()(images).tolist() == [True]


def test_missing_values_are_unknown():
    images = pd.DataFrame({"name": pd.Series([None, NAMES[0]], dtype="category")})
    for each in (imf.filter_by_reference(["alpine"]), imf.filter_tagged_images()):
        assert same(each(images).tolist(), [pd.NA, True])
        assert same((~each)(images).tolist(), [pd.NA, False])
        assert images[each].index.tolist() == [1]


def test_before_is_looked_up_per_store_and_in_the_whole_frame():
    day = [pd.Timestamp(f"2024-05-0{d}", tz="UTC") for d in range(1, 6)]
    images = frame(
        [
            ("a", NAMES[0], "{}", day[2]),
            ("a", NAMES[1], "{}", day[0]),
            ("b", NAMES[0], "{}", day[0]),
            ("b", NAMES[1], "{}", day[1]),
            ("c", NAMES[1], "{}", day[1]),
        ]
    )
    before = imf.filter_by_created_at(before=["alpine:3.20"])
    assert same(before(images).tolist(), [False, True, False, False, pd.NA])
    no_alpine = ~imf.filter_by_reference(["alpine"])
    assert (no_alpine & before)(images).fillna(False).tolist() == [False, True, False, False, False]
    with pytest.raises(FilterError, match=r"no such image: alpine:3\.20"):
        before(images[no_alpine])
    stored = imf.filter_by_created_at(before=["alpine:3.20"], store=images)
    assert same(stored(images[no_alpine]).tolist(), [True, False, pd.NA])
    inv = imf.Inventory({"images": images})
    assert same(
        imf.filter_by_created_at(before=["alpine:3.20"], store=inv)(images[no_alpine]).tolist(),
        [True, False, pd.NA],
    )
    undated = images.assign(created_at=images["created_at"].mask([True, False, False, False, False]))
    assert same(before(undated).tolist(), [pd.NA, pd.NA, False, False, pd.NA])
    assert before(undated.iloc[:2]).isna().all()
    loose = images.drop(columns=["node", "namespace"])  # one store: the latest alpine of all
    assert before(loose).tolist() == [False, True, True, True, True]


def test_frames_without_node_names_are_one_store():
    images = pd.DataFrame({"name": [NAMES[0], NAMES[1]], "created_at": [NOW, NOW + pd.Timedelta(1, "h")]})
    inv = imf.Inventory({"images": images, "containers": pd.DataFrame({"image": [NAMES[1]]})})
    since = imf.filter_by_created_at(since=["alpine:3.20"], now=NOW + pd.Timedelta(1, "D"))
    for each in (images, inv.images, inv.images.assign(namespace=["x", "x"])):
        assert since(each).tolist() == [False, True]
    assert since(inv.images.assign(node=["a", None])).fillna(False).tolist() == [False, False]
    assert imf.get_unused_images(inv).index.tolist() == [0]


def test_bounds_are_strict_and_1970_is_one():
    images = pd.DataFrame(
        {"created_at": pd.to_datetime([0, 1, NOW.value - 1, NOW.value, NOW.value + 1], utc=True)}
    )
    assert imf.filter_by_created_at(now=NOW)(images).tolist() == [False, True, True, False, False]
    assert imf.filter_until("0", now=NOW)(images).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(
    "now", [NOW.value, NOW, NOW.to_pydatetime(), np.datetime64("2024-06-01"), NOW.tz_localize(None)]
)
def test_now_may_be_any_moment(now):
    images = pd.DataFrame({"created_at": [NOW - pd.Timedelta(1, "h"), NOW]})
    assert imf.filter_until("1h", now=now)(images).tolist() == [False, False]
    assert imf.filter_until("59m", now=now)(images).tolist() == [True, False]


def test_a_cut_off_beyond_64_bits_keeps_all_or_nothing():
    images = pd.DataFrame({"created_at": pd.to_datetime(["1900-01-01", "2200-01-01"], utc=True)})
    assert imf.filter_until("9999-12-31")(images).tolist() == [True, True]
    assert imf.filter_until("0001-01-01")(images).tolist() == [False, False]


@pytest.mark.parametrize(
    "each", [imf.filter_until("1h"), imf.filter_by_label({"a": ""}), imf.filter_dangling_images()]
)
def test_a_missing_column_is_named(each):
    with pytest.raises(MissingColumn) as caught:
        each(pd.DataFrame({"other": [1]}))
    assert repr(caught.value.column) in str(caught.value)
    assert "the frame has other" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: imf.filter_by_label({"a": 1}), "label 'a': 1 is not text"),
        (lambda: imf.filter_by_label(["a"]), "['a'] is not a mapping"),
        (lambda: imf.filter_by_reference([1]), "1 is not a reference pattern"),
        (lambda: imf.filter_by_created_at([1]), "1 is not an image name"),
        (lambda: imf.filter_by_created_at(store=3), "store is int"),
        (lambda: imf.parse_filters("label=a"), "'label=a' is one text"),
        (lambda: imf.parse_filters([1]), "1 is not a filter string"),
        (lambda: imf.parse_filters([], dialect="podman"), "'podman' is not a dialect"),
        (lambda: imf.parse_filters([]).clauses("rmi"), "'rmi' is not a command with filters"),
        (lambda: imf.lint_filters([], "rmi"), "'rmi' is not a command with filters"),
        (lambda: bool(imf.filter_dangling_images()), "neither true nor false"),
        (lambda: imf.filter_dangling_images()([1]), "not to list"),
        (lambda: imf.apply_filters(pd.DataFrame({"name": []}), "label=a"), "'label=a' is not a filter"),
        (
            lambda: imf.filter_until("1h")(pd.DataFrame({"created_at": [1]})),
            "column 'created_at' is of type int64",
        ),
        (
            lambda: imf.filter_until("1h")(pd.DataFrame({"created_at": ["soon"]})),
            "column 'created_at': 'soon' is not a time",
        ),
        (lambda: imf.filter_dangling_images()(pd.DataFrame({"name": [1]})), "column 'name' holds 1"),
        (lambda: imf.filter_by_label({})(pd.DataFrame({"labels": ["{"]})), "holds '{'"),
        (lambda: imf.filter_by_label({})(pd.DataFrame({"labels": ["[]"]})), "holds '[]'"),
        (lambda: prune_candidates(pd.DataFrame({"name": []}), all=True), "needs an Inventory"),
    ],
)
def test_what_cannot_be_used_is_refused(call, words):
    with pytest.raises(InputError, match=re.escape(words)):
        call()


def test_a_filter_combines_with_filters_only():
    with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for &"):
        imf.filter_dangling_images() & 1
    with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for \|"):
        imf.filter_dangling_images() | "x"


def test_an_empty_frame_has_an_empty_mask():
    images = frame([])
    f = (
        imf.filter_by_label({"a": ""})
        & imf.filter_by_reference(["["])
        & imf.filter_until("1h")
        & imf.filter_by_created_at()
    )
    assert f(images).dtype == "boolean"
    assert images[f].empty
    with pytest.raises(FilterError, match="no such image"):
        imf.filter_by_created_at(before=["alpine"])(images)


def test_a_small_part_of_a_large_frame_is_answered_like_the_whole():
    names = [f"docker.io/library/app-{i}:1" for i in range(3000)]
    images = pd.DataFrame(
        {
            "name": pd.Categorical([*names, None]),
            "labels": pd.Categorical([json.dumps({"n": str(i)}) for i in range(3001)]),
        }
    )
    part = images.iloc[[2999, 7, 3000, 7]]
    assert same(imf.filter_by_reference(["app-7"])(part).tolist(), [False, True, pd.NA, True])
    assert imf.filter_by_label({"n": "7"})(part).tolist() == [False, True, False, True]
    assert same(
        (imf.filter_by_reference(["app-7"])(images).iloc[[2999, 7, 3000, 7]]).tolist(),
        [False, True, pd.NA, True],
    )


def test_unused_is_by_name_per_store_and_unread_containers_free_nothing():
    images = pd.DataFrame(
        {
            "node": ["a", "b", "b", "c"],
            "namespace": "k8s.io",
            "name": [NAMES[0], NAMES[0], NAMES[1], NAMES[1]],
        }
    )
    containers = pd.DataFrame(
        {"node": ["a", "b"], "namespace": ["k8s.io", "other"], "image": [NAMES[0], NAMES[0]]}
    )
    errors = pd.DataFrame({"node": ["c"], "namespace": [None], "stage": ["containers"]})
    inv = imf.Inventory({"images": images, "containers": containers})
    assert imf.get_unused_images(inv).index.tolist() == [1, 2, 3]
    assert imf.get_unused_images(inv.replace(errors=errors)).index.tolist() == [1, 2]
    assert imf.get_unused_images(inv, imf.filter_by_reference(["nginx"])).index.tolist() == [2, 3]
    assert imf.get_unused_images(imf.Inventory({})).empty


def test_unused_by_search_agrees_with_the_bitmap(monkeypatch):
    random = np.random.default_rng(3)
    images = pd.DataFrame(
        {
            "node": random.choice(["a", "b", "c"], 500),
            "namespace": random.choice(["x", "y"], 500),
            "name": [f"n{i}" for i in random.integers(0, 40, 500)],
        }
    )
    containers = images.sample(60, random_state=1).rename(columns={"name": "image"})
    inv = imf.Inventory({"images": images, "containers": containers})
    used = set(zip(containers["node"], containers["namespace"], containers["image"], strict=True))
    expected = [row not in used for row in images.itertuples(index=False, name=None)]
    assert selection.unused(inv).tolist() == expected
    monkeypatch.setattr(selection, "_BITMAP", 0)
    assert selection.unused(inv).tolist() == expected


def test_names_as_typed_find_normalised_records_and_raw_ones():
    entries = bounds.entries(["alpine", "has space", "name==x", ""])
    assert entries[0].names == ("docker.io/library/alpine:latest", "alpine")
    assert entries[1].names == ("has space",)
    assert [each.expression for each in entries] == [None, None, "name==x", ""]


@pytest.mark.parametrize(
    ("expression", "selectors"),
    [
        ("name==a,labels.x~=^b", [(("name",), "==", "a"), (("labels", "x"), "~=", "^b")]),
        ("name == a", [(("name",), "==", "a")]),
        (r'labels."a\tb\x41\u00e9\101"!="q\"r"', [(("labels", "a\tbA\u00e9A"), "!=", 'q"r')]),
        ("name~=|a/b|", [(("name",), "~=", "a/b")]),
        ("name~=/a|b/", [(("name",), "~=", "a|b")]),
        ("labels.x", [(("labels", "x"), "", "")]),
        ("name==a=b", [(("name",), "==", "a=b")]),
        ('name=="\\U80000000"', [(("name",), "==", "\ufffd")]),  # a negative number to Go
        ("name==a\U0001fae8", [(("name",), "==", "a\U0001fae8")]),  # of Unicode 15
    ],
)
def test_expressions_are_read_as_containerd_does(expression, selectors):
    assert [tuple(each) for each in parse(expression)] == selectors


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("labels.", "[labels.]: expected field or quoted"),
        ("name==foo,", "[name==foo,]: expected field or quoted"),
        ("image~=,id?=?fbaq", "[image~= >|,|< id?=?fbaq]: expected value or quoted"),
        ("labels.ns/key==value", "[labels.ns >|/|< key==value]: quoted literal not terminated"),
        ("labels.key==/value", "[labels.key== >|/|< value]: quoted literal not terminated"),
        ('labels."a\\gb"==x', '[labels. >|"|< a\\gb"==x]: illegal escape sequence'),
        ('labels."\\xag"==x', '[labels. >|"|< \\xag"==x]: illegal numeric escape sequence'),
        ('labels."\\777"==x', '[labels. >|"|< \\777"==x]: unquoting failed: quote syntax error'),
        ("name==/a/", "[name== >|/|< a/]: invalid quote encountered"),
        ("name===x", '[name >|=|< ==x]: unsupported operator "==="'),
        ("name?x==y", '[name >|?|< x==y]: expected an operator ("=="|"!="|"~=")'),
        ("name==a b", "[name==a >| |< b]: unexpected input:  "),
        ("é==x", "[ >|\ufffd|< \ufffd==x]: expected field or quoted"),
        ("na\0me==x", "[na >|\0|< me==x]: unexpected null"),
    ],
)
def test_expressions_are_refused_with_containerds_words(expression, problem):
    with pytest.raises(FilterError) as caught:
        parse(expression)
    assert caught.value.go == f"filters: parse error: {problem}: invalid argument: invalid argument"


def test_expressions_ask_the_record():
    images = pd.DataFrame(
        {
            "name": [NAMES[0], NAMES[1]],
            "digest": ["sha256:1", "sha256:2"],
            "media_type": ["index", "manifest"],
            "record_labels": ['{"a/b":"c","e":""}', "{}"],
        }
    )
    asked = {
        "target.digest==sha256:1": [0],
        "target.mediatype~=^man": [1],
        'labels."a/b"==c': [0],
        'labels."a/b"!=c': [1],
        "labels.e": [0],
        "labels.nope~=^$": [0, 1],
        "target.size==1": [],
        "unknown!=x": [0, 1],
        "name~=(": [],
        "name": [0, 1],
        "": [0, 1],
        "name~=nginx,target.digest==sha256:1": [],
        r'name=="\xc3"': [],  # bytes that are not UTF-8
        r'name~="\xc3"': [],
        r'name!="\xc3"': [0, 1],
        'name==""': [],
    }
    for expression, rows_ in asked.items():
        assert bounds.any_of([bounds.verbatim(expression)], images).tolist() == rows_, expression
    with pytest.raises(MissingColumn, match="annotations"):
        bounds.any_of([bounds.verbatim("annotations.x==y")], images)


def test_docker_reads_filters_in_its_own_way():
    read = imf.parse_filters(
        ["Label = a=b=c", "label=k", "reference=a", "reference=b", "dangling=1"], dialect="docker"
    )
    assert (read.labels, read.reference, read.dangling) == (("a=b=c", "k"), ("a", "b"), True)
    images = frame(
        [
            ("a", NAMES[0], '{"v":"1=2"}', pd.Timestamp("2024-05-01T10:30:00", tz="UTC")),
            ("a", NAMES[1], '{"v":""}', pd.Timestamp("2024-05-02", tz="UTC")),
            ("a", NAMES[2], None, pd.Timestamp("2024-05-03", tz="UTC")),
            ("a", NAMES[5], "{}", None),
        ]
    )

    def kept(*strings, command="images", now=NOW):
        clauses = imf.parse_filters(strings, dialect="docker").clauses(command, now=now)
        return imf.apply_filters(images, *clauses).index.tolist()

    assert kept("reference=alpine", "reference=nginx") == [0, 1]
    assert kept("reference=*alpine*") == [0]
    assert kept("label=v=1=2") == [0]
    assert kept("label=v=") == [1]
    assert kept("label!=v", command="image prune") == [3]
    assert kept("label!=v=", command="image prune") == [0, 3]
    assert kept("until=2024-05-01T11") == [0]
    assert kept("until=1714521600") == []
    assert kept("until=1714559400.5") == [0]
    assert kept("until=2024-05-02+01:00") == [0]
    assert kept("until=719h") == [0, 1]
    assert kept("before=nginx") == [0]
    assert kept("since=nginx") == [2]
    assert kept("dangling=false") == [0, 1, 2]
    for bad, words in (
        (["x"], "bad format of filter"),
        (["nope=1"], "invalid filter 'nope'"),
        (["dangling=maybe"], "invalid filter 'dangling=[maybe]'"),
        (["until=1h", "until=2h"], "more than one until filter specified"),
        (["label!=a"], "invalid filter 'label!'"),
        (["until=soon"], "failed to parse value as time or duration"),
        (["reference=["], "syntax error in pattern"),
    ):
        with pytest.raises(FilterError, match=re.escape(words)):
            kept(*bad)
    with pytest.raises(FilterError, match="reference"):
        kept("reference=a", command="image prune")


def test_lint_warns_of_what_nerdctl_ignores():
    lint = imf.lint_filters
    assert lint(["label=a=b", "until=24h"]) == []
    assert lint(["reference=alpine"], "images") == []
    assert any("image prune ignores reference" in w for w in lint(["reference=alpine"]))
    assert any("image prune ignores before" in w for w in lint(["before=alpine"]))
    assert any("image prune ignores dangling" in w for w in lint(["dangling=true"]))
    assert any("empty until" in w for w in lint(["until="]))
    assert any("images ignores until" in w for w in lint(["until=garbage"], "images"))
    assert any("not valid as a regular expression" in w for w in lint(["reference=*:latest"], "images"))
    assert any("not valid as a glob" in w for w in lint(["reference=[-a]"], "images"))
    assert any("comma" in w for w in lint(["label=a,label=b"]))
    assert any("only the last" in w for w in lint(["label=a=1", "label=a=2"]))
    assert any("all of them" in w for w in lint(["reference=a", "reference=b"], "images"))
    assert any("matches any value" in w for w in lint(["label=a="]))
    assert lint(["label=a=b=c"]) == ['refused: invalid filter "label=a=b=c"']
    assert lint(['label=a"b'])[0].startswith("refused: invalid argument")


def test_commands_refuse_as_nerdctl_does():
    images = frame([("a", NAMES[0], "{}", NOW)])
    with pytest.raises(FilterError, match="must be lowercase"):
        select_images(images, [], "Bad Ref")
    assert prune_candidates(images, ["reference=["]).empty
    assert select_images(images, ["until=garbage"]).index.tolist() == [0]


def test_constants_have_gos_values():
    names = ("BEFORE", "SINCE", "UNTIL", "LABEL", "REFERENCE", "DANGLING")
    assert [getattr(imf, f"FILTER_{name}_TYPE") for name in names] == [name.lower() for name in names]


def test_filters_are_frozen():
    filters = imf.parse_filters([])
    assert filters == imf.Filters()
    with pytest.raises(AttributeError):
        filters.until = "1h"


def test_times_without_zone_are_utc():
    images = pd.DataFrame({"created_at": [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2)]})
    assert imf.filter_until("2024-01-01T12:00:00Z")(images).tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "cutoff"),
    [
        ("5.999999999999999999", 6_000_000_000),  # float64, as docker does
        ("1.+5", 1_050_000_000),
        ("1.00000000000000000001", 1_000_000_000),
        ("0000000000000000000009", 9_000_000_000),
        ("-9223372036854775808ns", -9_223_372_037_000_000_000),  # its own negation
        ("1.12345678901234567890", None),
        ("1.-5", None),
        ("1700000000000000000", None),
    ],
)
def test_until_in_dockers_spellings(text, cutoff):
    """Measured with docker 27.5.1's api/types/time; the last one docker takes."""
    if cutoff is None:
        with pytest.raises(InputError, match="failed to parse value as time or duration"):
            docker.parse_until(text, now_ns=0)
    else:
        assert docker.parse_until(text, now_ns=0) == cutoff
