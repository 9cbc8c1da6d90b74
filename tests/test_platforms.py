"""Platforms: every vector by value and by error text, and the laws that hold for all of them."""

import functools

from oci_vectors import as_record, lines, matcher, platform

from imgframe import platforms
from imgframe.errors import PlatformError


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
