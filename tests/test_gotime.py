"""Go's durations and times: every measured case, and properties against exact arithmetic."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgframe.errors import InputError
from imgframe.golang import time as gotime

DATA = Path(__file__).parent / "data" / "vectors"


def lines(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def refusal(call, *arguments):
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert caught.value.go in str(caught.value)
    return caught.value.go


def test_every_measured_duration_is_read_to_the_nanosecond():
    cases = lines("durations.jsonl")
    for case in cases:
        if case["error"] is None:
            assert gotime.parse_duration(case["text"]) == case["ns"], case
        else:
            assert refusal(gotime.parse_duration, case["text"]) == case["error"], case
    print(f"durations.jsonl: {len(cases)} of {len(cases)} cases pass, none left out")
    assert len(cases) == 510


def test_every_measured_until_gives_its_cut_off():
    cases = lines("until.jsonl")
    now = 1_795_430_530_906_866_775
    forms = {"rfc3339": gotime.parse_rfc3339, "date": gotime.parse_date}
    for case in cases:
        text = case["text"]
        if case["error"] is not None:
            assert refusal(gotime.parse_until, text, now) == case["error"], case
        elif case["form"] == "duration":
            back = case["duration_ns"]
            assert gotime.parse_until(text, now) == now - (back if back != -(2**63) else 2**63), case
        else:
            cutoff = case["cutoff_s"] * gotime.SECOND + case["cutoff_ns"]
            assert gotime.parse_until(text, now) == cutoff, case
            assert forms[case["form"]](text) == cutoff, case
            assert gotime.format_time(cutoff) == case["cutoff"], case
    print(f"until.jsonl: {len(cases)} of {len(cases)} cases pass, none left out")
    assert len(cases) == 605


@given(st.integers(-(2**62), 2**62))
def test_a_duration_of_whole_nanoseconds_reads_back(ns):
    assert gotime.parse_duration(f"{ns}ns") == ns
    hours, rest = divmod(abs(ns), 3600 * gotime.SECOND)
    assert gotime.parse_duration(f"{hours}h{rest}ns") == abs(ns)


@given(st.text("0123456789.hmsnuµμ+-d ", max_size=30))
def test_any_text_is_a_64_bit_duration_or_a_named_refusal(text):
    try:
        value = gotime.parse_duration(text)
    except InputError as error:
        assert error.go.startswith("time: ")
    else:
        assert -(2**63) <= value < 2**63


@given(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)), st.integers(0, 999))
def test_calendar_agrees_with_python_where_python_has_one(moment, nanoseconds):
    text = moment.strftime("%Y").rjust(4, "0") + moment.strftime("-%m-%dT%H:%M:%S.%f") + f"{nanoseconds:03d}Z"
    expected = gotime.to_nanoseconds(moment) + nanoseconds
    assert gotime.parse_rfc3339(text) == expected
    assert gotime.parse_rfc3339(gotime.format_time(expected)) == expected


def test_year_zero_and_leap_days():
    assert gotime.parse_date("0000-02-29") == gotime.parse_date("0000-03-01") - 86_400 * gotime.SECOND
    with pytest.raises(InputError, match="'1900-02-29' is not a date"):
        gotime.parse_date("1900-02-29")


def test_two_terms_of_2_to_the_63_wrap_to_zero_as_in_go():
    assert gotime.parse_duration("9223372036854775808ns" * 2) == 0


@pytest.mark.parametrize(
    "moment",
    [
        1_500_000_000,
        np.int64(1_500_000_000),
        pd.Timestamp("1970-01-01T00:00:01.5Z"),
        pd.Timestamp("1970-01-01T00:00:01.5"),
        pd.Timestamp("1970-01-01T01:00:01.5+01:00"),
        np.datetime64("1970-01-01T00:00:01.500"),
        dt.datetime(1970, 1, 1, 0, 0, 1, 500_000),
        dt.datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=dt.UTC),
    ],
)
def test_every_kind_of_now_is_the_same_moment(moment):
    assert gotime.to_nanoseconds(moment) == 1_500_000_000


@pytest.mark.parametrize("moment", [True, "2024-01-01", 1.5, None, pd.NaT, float("nan")])
def test_what_is_no_moment_is_refused(moment):
    with pytest.raises(InputError, match="not a moment"):
        gotime.to_nanoseconds(moment)


def test_saturate_keeps_order_at_the_ends():
    assert gotime.saturate(-(10**30)) == gotime.EARLIEST == -(2**63) + 1
    assert gotime.saturate(10**30) == gotime.LATEST
    assert gotime.saturate(5) == 5
