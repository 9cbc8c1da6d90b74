"""Image names: every measured case, one at a time and in columns, and the agreement of both ways."""

import subprocess
import sys
from collections import Counter

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st
from testbed.name_vectors import mutated, vectors

import imgframe as imf
from imgframe import reference
from imgframe.errors import InputError, ReferenceError_
from imgframe.golang.strings import to_lower
from imgframe.reference import cid, vectorised


def go_result(function, name):
    """What a Go function gave: the value, or its error text."""
    try:
        return {"value": function(name)}
    except ReferenceError_ as error:
        assert error.go in str(error)
        return {"error": error.go}


def parse_fields(name):
    try:
        ref = reference.parse(name)
    except ReferenceError_ as error:
        return {"error": error.go}
    fields = (
        "protocol",
        "domain",
        "path",
        "tag",
        "explicit_tag",
        "digest",
        "string",
        "name",
        "familiar_name",
    )
    return {field: getattr(ref, field) for field in fields}


def normalized_fields(name):
    try:
        named = reference.parse_normalized(name)
    except ReferenceError_ as error:
        return {"error": error.go}
    full = named.tag_name_only()
    found = {
        "string": str(named),
        "domain": named.domain,
        "path": named.path,
        "tag": named.tag,
        "digest": named.digest,
        "familiar_name": named.familiar_name,
        "familiar_string": named.familiar_string,
        "tag_name_only": str(full),
        "tag_name_only_familiar": full.familiar_string,
    }
    return {key: value for key, value in found.items() if value}


def test_every_reference_vector(record_property):
    cases = vectors("references")
    wrong = []
    for case in cases:
        name = case["input"]
        unread = {"nil_result", "suggest", "suggest_panic"}  # no part of a name: names of containers
        parsed = {key: value for key, value in case["parse"].items() if key not in unread}
        if "error" in parsed:
            parsed.pop("protocol", None)  # the column `protocol` of parse_names keeps it: below
        found = (
            parse_fields(name),
            normalized_fields(name),
            go_result(reference.parse_docker_ref, name),
            go_result(reference.parse_named, name),
            go_result(reference.parse_any, name),
        )
        if found != (parsed, case["normalized"], case["docker_ref"], case["parse_named"], case["parse_any"]):
            wrong.append((case["id"], name, found))
    record_property("cases", len(cases))
    print(f"references: {len(cases)} cases, {len(wrong)} wrong")
    assert not wrong, wrong[:5]
    assert len(cases) == 15_985


def test_every_repo_tag_vector():
    cases = vectors("repo_tags")
    wrong = []
    for case in cases:
        name = case["input"]
        repository, tag = imf.parse_repo_tag(name)
        found = (repository, tag, tag == "", reference.list_ref(name))
        if found != (case["repository"], case["tag"], case["dangling"], case["list_ref"]):
            wrong.append((case["id"], name, found))
    print(f"repo_tags: {len(cases)} cases, {len(wrong)} wrong")
    assert not wrong, wrong[:5]
    assert len(cases) == 15_985


def test_all_vectors_as_one_column():
    names = [case["input"] for case in vectors("references")]
    rows = reference.parse_names(pa.array(names)).to_pylist()
    for case, tags, row in zip(vectors("references"), vectors("repo_tags"), rows, strict=True):
        parsed = case["parse"]
        assert row["name"] == case["input"]
        assert row["error"] == parsed.get("error"), case["id"]
        for column in ("protocol", "domain", "path", "tag", "explicit_tag", "digest", "string"):
            assert row[column] == parsed.get(column, ""), (case["id"], column)
        assert row["repository"] == row["familiar"] == parsed.get("familiar_name", ""), case["id"]
        assert (row["repository"], row["tag"]) == (tags["repository"], tags["tag"]), case["id"]
        assert row["list_ref"] == tags["list_ref"], case["id"]


def assert_same_both_ways(names):
    fast = reference.parse_names(pa.array(names, pa.string()))
    slow = vectorised._one_by_one(pa.array(names, pa.string()))
    assert fast.schema.equals(reference.NAME_SCHEMA)
    if not fast.equals(slow):  # then the first name that differs, or how the columns do
        for name, one, other in zip(names, fast.to_pylist(), slow.to_pylist(), strict=True):
            assert one == other, name


def test_both_ways_agree_on_100_000_mutated_names():
    names = [case["input"] for case in vectors("references")]
    names = mutated(names, 60_000, seed=1) + mutated(list(filter(usual_looking, names)), 40_000, seed=2)
    assert_same_both_ways(names)
    errors = Counter(reference.parse_names(names)["error"].is_null().to_pylist())
    assert errors[True] > 20_000 and errors[False] > 20_000


def usual_looking(name):
    return len(name) < 120 and name.isascii() and name.isprintable()


PARTS = st.from_regex(r"[a-z0-9]{1,4}([._-]{1,3}[a-z0-9]{1,3}){0,2}", fullmatch=True)
HEADS = st.one_of(
    st.sampled_from(
        ["docker.io/", "index.docker.io/", "localhost/", "library/", "Foo/", "a_b.c/", "x:5000/", ""]
    ),
    st.sampled_from(["ipfs://", "sha256:", "b", "k", "z", "0", "f01", "docker.io", "localhost", "[::1]:80/"]),
)
TAILS = st.sampled_from(
    ["", ":1", ":V_1.2-x", ":", "@sha256:" + "0a" * 32, ":1@sha256:" + "b" * 64, "@sha256:1", ":a/b"]
)
NAMES = st.one_of(
    st.builds(
        lambda head, parts, tail: head + "/".join(parts) + tail,
        HEADS,
        st.lists(PARTS, min_size=1, max_size=4),
        TAILS,
    ),
    st.text(max_size=20).filter(lambda text: text.isprintable()),
    st.from_regex(r"[0bcfkmtuvzMUQ][a-z0-9A-Z+/_=-]{1,12}", fullmatch=True),
)


@given(st.lists(NAMES, min_size=1, max_size=30))
@example([""])
@example(["a" * 64, "0" * 64, "sha256:" + "0" * 64, "b" * 64, "f01" + "0" * 61, "0" + "1" * 63])
@example(
    [
        "x" * 249,
        "x" * 250,
        "x" * 251,
        "docker.io/" + "x" * 240,
        "docker.io/" + "x" * 247,
        "docker.io/" + "x" * 248,
    ]
)
@example(
    [
        "localhost",
        "localhost/a",
        "localhosts/a",
        "docker.io",
        "docker.io/a",
        "docker.io/library/a",
        "docker.io/library/a/b",
    ]
)
@example(
    ["library/a/b", "library/library", "a/library/b", "library", "quay.io/library/a", "quay.io/library/a:1"]
)
def test_both_ways_agree(names):
    assert_same_both_ways(names)


@given(NAMES)
def test_a_normalised_name_is_its_own_normal_form(name):
    try:
        named = reference.parse_normalized(name)
    except ReferenceError_:
        reject()
    again = reference.parse_normalized(str(named))
    assert again == named
    assert reference.parse_named(str(named)) == str(named)
    assert reference.parse_docker_ref(reference.parse_docker_ref(name)) == reference.parse_docker_ref(name)
    assert str(reference.parse_normalized(named.familiar_string)) == str(named)


@given(NAMES)
def test_the_string_of_a_reference_parses_to_the_same(name):
    try:
        ref = reference.parse(name)
    except ReferenceError_:
        reject()
    assume(ref.domain or not ref.protocol)  # Go loses tag and protocol there
    again = reference.parse(ref.string)
    assert (again.string, again.digest, again.tag) == (ref.string, ref.digest, ref.tag)


@given(st.text(alphabet=st.characters(max_codepoint=0x1FFFF), max_size=8))
def test_lower_case_is_one_code_point_for_one(text):
    assert len(to_lower(text)) == len(text)
    assert to_lower(to_lower(text)) == to_lower(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("bafkqaaa", "bafkqaaa"),
        ("BAFKQAAA", "bafkqaaa"),
        ("kdaznk", "bafkqaaa"),
        ("f01550000", "bafkqaaa"),
        ("f0155000", None),
        ("f01 5500 00", None),
        ("bafkqaalbaaa", "bafkqaalb"),  # Go drops a last group of 1, 3 or 6 characters
        ("bafkqaaaaaa", None),
        ("bafkqaaaa", None),
        ("z", None),
        ("k", None),
        ("k000", None),
        ("Qm", None),
        ("Qm" + "1" * 44, None),
    ],
)
def test_what_is_a_cid(text, canonical):
    assert cid.canonical_cid(text) == canonical


def test_a_dictionary_is_parsed_by_its_values():
    names = pa.array(["b:1", "a", None, "b:1"]).dictionary_encode()
    table = reference.parse_names(names)
    assert table["name"].to_pylist() == ["b:1", "a"]
    assert table["tag"].to_pylist() == ["1", "latest"]
    tags = reference.repo_tags(names)
    assert tags["repository"].to_pylist() == ["b", "a", None, "b"]
    assert tags["domain"].to_pylist() == ["docker.io", "docker.io", None, "docker.io"]
    assert pa.types.is_dictionary(tags["tag"].type)


def test_slices_nulls_chunks_and_large_strings():
    names = pa.array(["skip/me:1", "quay.io/a/b:2", None, "a@sha256:" + "0" * 64, "bafkqaaa", "a b", "end"])
    wanted = vectorised._one_by_one(names.slice(1, 5))
    assert reference.parse_names(names.slice(1, 5)).equals(wanted)
    assert reference.parse_names(pa.chunked_array([names.slice(1, 2), names.slice(3, 3)])).equals(wanted)
    assert reference.parse_names(names.cast(pa.large_string()).slice(1, 5)).equals(wanted)
    assert reference.parse_names(names.cast(pa.string_view()).slice(1, 5)).equals(wanted)
    assert reference.parse_names(names.slice(1, 5).to_pylist()).equals(wanted)
    assert reference.parse_names(pa.array([], pa.string())).num_rows == 0
    assert reference.parse_names(pa.array([], pa.string()).dictionary_encode()).num_rows == 0
    usual = pa.array([f"quay.io/a/b{n}:{n}" for n in range(300_000)])
    table = reference.parse_names(usual.slice(5))
    assert table.num_rows == 299_995
    assert table["tag"][299_994].as_py() == "299999"
    assert table["string"].combine_chunks().equals(usual.slice(5))


def test_text_is_demanded():
    with pytest.raises(InputError, match="must be text"):
        reference.parse_names(pa.array([1, 2]))
    with pytest.raises(InputError, match="must be text"):
        reference.parse_names([1, 2])


@pytest.mark.parametrize("dtype", ["str", "object", "category", pd.ArrowDtype(pa.string())])
def test_parse_repo_tag_of_a_series(dtype):
    names = pd.Series(
        ["alpine:3", None, "x y", "alpine:3", "a@sha256:" + "0" * 64], index=[3, 3, 1, 2, 0], dtype=dtype
    )
    before = names.copy()
    frame = imf.parse_repo_tag(names)
    assert list(frame.columns) == ["repository", "tag"]
    assert list(frame.index) == [3, 3, 1, 2, 0]
    assert frame["repository"].astype(object).where(frame["repository"].notna(), None).tolist() == [
        "alpine",
        None,
        "",
        "alpine",
        "a",
    ]
    assert frame["tag"].astype(object).where(frame["tag"].notna(), None).tolist() == ["3", None, "", "3", ""]
    assert frame["tag"].cat.categories.is_monotonic_increasing
    pd.testing.assert_series_equal(names, before)
    assert imf.parse_repo_tag(names.iloc[:0]).shape == (0, 2)
    with pytest.raises(InputError, match="must be text"):
        imf.parse_repo_tag(pd.Series([1, 2]))


def test_the_room_loads_no_pandas():
    code = "import sys; from imgframe import reference; reference.parse('alpine'); assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
