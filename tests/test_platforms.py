"""Platforms: every vector by value and by error text, and the laws that hold for all of them."""

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from testbed.oci_vectors import as_record, lines, matcher, platform

from imgframe import platforms
from imgframe.errors import PlatformError
from imgframe.platforms import Platform


def outcome(function, *args, **kwargs):
    try:
        return function(*args, **kwargs), None
    except PlatformError as error:
        return None, str(error)


def test_every_specifier_and_platform_value():
    records = lines("platforms.jsonl")
    for record in records:
        host = record["host"]
        if record["class"] == "list":
            check_list(record, host)
            continue
        if "specifier" in record:
            value, error = outcome(platforms.parse, record["specifier"], host)
            assert error == record.get("error"), record["id"]
            text, problem = outcome(platforms.normalize_string, record["specifier"], host)
            assert {"value": text} == record["normalize_string"] or {"error": problem} == record[
                "normalize_string"
            ], record["id"]
            if error is not None:
                continue
            assert as_record(value) == record["parsed"], record["id"]
        else:
            value = platform(record["platform"])
        normal = platforms.normalize(value, host)
        assert as_record(normal) == record["normalized"], record["id"]
        assert platforms.format(value) == record["format"], record["id"]
        assert platforms.format_all(value) == record["format_all"], record["id"]
        assert platforms.format(normal) == record["normalized_format"], record["id"]
        assert platforms.format_all(normal) == record["normalized_format_all"], record["id"]
    print(f"platforms.jsonl: {len(records)} of {len(records)} vectors checked")
    assert len(records) == 1099


def check_list(record, host):
    found, error = outcome(platforms.platform_slice, record["specifiers"], all=record["all"], host=host)
    assert error == record.get("slice_error"), record["id"]
    assert error or [as_record(one) for one in found] == record["slice"], record["id"]
    found, error = outcome(platforms.parse_all, record["specifiers"], host)
    if "parse_all" in record or "parse_all_error" in record:
        assert error == record.get("parse_all_error"), record["id"]
        assert error or [as_record(one) for one in found] == record["parse_all"], record["id"]
    else:
        assert error is not None, record["id"]


def test_every_matcher_on_every_pair_of_candidates():
    table, *records = lines("platform_match.jsonl.gz")
    candidates = [platform(one) for one in table["platforms"]]
    for record in records:
        made, error = outcome(matcher, record["matcher"])
        assert error == record.get("error"), record["id"]
        if error:
            continue
        found = "".join("01"[made.match(one)] for one in candidates)
        assert found == record["match"], record["id"]
        if "less" not in record:
            continue
        for place, row in enumerate(record["less"]):
            ours = "".join("01"[made.less(candidates[place], other)] for other in candidates)
            assert ours == row, (record["id"], place)
        order = functools.cmp_to_key(
            lambda a, b, m=made: (
                -1 if m.less(candidates[a], candidates[b]) else int(m.less(candidates[b], candidates[a]))
            )
        )
        ranked = sorted((place for place, hit in enumerate(found) if hit == "1"), key=order)
        assert ranked == record["ranked"], record["id"]
    print(
        f"platform_match.jsonl.gz: {len(records)} matchers, {len(records) * len(candidates)} matches checked"
    )
    assert len(records) == 309


words = st.sampled_from(
    [
        "",
        "linux",
        "LINUX",
        "macos",
        "windows",
        "unknown",
        "amd64",
        "x86_64",
        "aarch64",
        "arm",
        "armhf",
        "armel",
        "i386",
        "K",
    ]
)
variants = st.sampled_from(["", "v1", "V2", "v3", "5", "v7", "8", "v8.0", "8.0", "v8.5", "9.0", "v9.2", "x"])
versions = st.sampled_from(["", "10.0.17763.1", "10.0.20348", "10.0.26100.1", "bad", "10.0"])
features = st.lists(st.sampled_from(["erofs", "win32k", "a", "b", ""]), max_size=3).map(tuple)
values = st.builds(Platform, words, words | st.text(max_size=4), variants, versions, features)


@given(values)
def test_normalising_twice_changes_nothing(value):
    once = platforms.normalize(value)
    assert platforms.normalize(once) == once


@given(values)
def test_a_normalised_platform_matches_itself(value):
    value = platforms.normalize(value)
    assert platforms.strict(value).match(value)
    # an image's exact platform: only() leaves out what containerd's table of arm64 variants does not have
    assert platforms.only(value).match(value) or value.architecture == "arm64"


@given(
    values,
    st.lists(values, min_size=3, max_size=3),
    st.sampled_from([platforms.only, platforms.strict, platforms.only_os]),
)
def test_less_is_an_order_among_what_matches(wanted, candidates, make):
    made = make(wanted)
    a, b, c = candidates
    assert not made.less(a, a)
    assert not (made.less(a, b) and made.less(b, a))
    if all(map(made.match, candidates)) and made.less(a, b) and made.less(b, c):
        assert made.less(a, c)


@given(st.text(max_size=30) | st.lists(words | variants, min_size=1, max_size=4).map("/".join))
def test_any_text_parses_or_is_refused_in_one_sentence(text):
    try:
        parsed = platforms.parse(text)
    except PlatformError as error:
        assert str(error)
    else:
        assert platforms.normalize_string(text) == platforms.format(platforms.normalize(parsed)) or not text


def test_hosts_fill_in_what_is_left_open():
    arm = Platform("linux", "arm", "v6")
    assert str(platforms.parse("linux", arm)) == "linux/arm/v6"
    assert str(platforms.parse("arm64", "darwin/arm64")) == "darwin/arm64"
    assert platforms.default(arm).match(Platform("linux", "arm", "v5"))
    assert not platforms.default(arm).match(Platform("linux", "arm", "v7"))


def test_huge_variants_cost_nothing():
    assert platforms.only(Platform("linux", "amd64", "v99999999999999999")).match(Platform("linux", "amd64"))
    assert (
        platforms.strict("windows(10.0.20348)/amd64").match(
            Platform("windows", "amd64", os_version="10.0." + "9" * 10_000)
        )
        is False
    )


@pytest.mark.parametrize("text", ["linux/amd64", "arm64", "windows(10.0.20348+win32k)/amd64", "linux/arm/v7"])
def test_what_format_all_writes_parses_back(text):
    value = platforms.normalize(platforms.parse(text))
    assert platforms.normalize(platforms.parse(platforms.format_all(value))) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("linux(1+%zz)/a", 'has invalid OS features: invalid os feature "%zz": invalid URL escape "%zz"'),
        ("linux(+x%)/a", 'has invalid OS features: invalid os feature "x%": invalid URL escape "%"'),
        ("linux(%4)/a", 'has an invalid OS version "%4": invalid URL escape "%4"'),
    ],
)
def test_bad_versions_and_features_in_the_words_of_go(text, problem):
    """Measured with containerd/platforms v1.0.0-rc.5, as all cases below."""
    assert outcome(platforms.parse, text) == (None, f'"{text}" {problem}')


def test_each_byte_that_is_not_utf_8_is_one_replacement_character():
    assert platforms.parse("linux(%E2%82+%ff)/a") == Platform(
        "linux", "a", os_version="\ufffd\ufffd", os_features=("\ufffd",)
    )


@pytest.mark.parametrize(
    ("wanted", "features", "matches"),
    [
        ((), ["win32k"], True),
        ((), ["win32k", "win32k"], False),  # one of them is overlooked
        (("win32k",), ["win32k", "win32k"], True),
        (("a",), ["win32k", "a", "a"], True),
    ],
)
def test_windows_overlooks_one_win32k(wanted, features, matches):
    offered = Platform("windows", "amd64", os_features=wanted)
    candidate = Platform("windows", "amd64", os_features=tuple(features))
    assert platforms.ordered(offered).match(candidate) is matches
