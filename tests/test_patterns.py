"""Reference patterns: every measured case, the limits, and the agreement of columns with single names.

The measured lists of patterns, and which image meets which error first, are tested where the filter is: test_filter_vectors.
"""

import random
import time
from collections import defaultdict

import pyarrow as pa
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from testbed.name_vectors import mutated, vectors

from imgframe import reference
from imgframe.errors import FilterError
from imgframe.filters.reference_pattern import compile_reference
from imgframe.golang.path import GlobSyntaxError, parse_glob
from imgframe.golang.regexp import compile_regexp, unicode_names
from imgframe.golang.regexp.cursor import GoSyntaxError
from imgframe.golang.regexp.syntax import parse_go_regexp

NEEDED = ["name", "error", "bare", "familiar", "familiar_string"]


@pytest.fixture(scope="module")
def measured():
    """The table of every name in the vectors, and the row of each."""
    names = sorted({name for case in vectors("reference_patterns") for name in case.get("names", ())})
    table = reference.parse_names(names).select(NEEDED).combine_chunks()
    return table, {name: row for row, name in enumerate(names)}


def test_every_vector_of_one_pattern_and_one_name(measured):
    table, rows = measured
    by_pattern = defaultdict(list)
    for case in vectors("reference_patterns"):
        if "regex" in case:
            by_pattern[case["patterns"][0]].append(case)
    wrong = []
    count = 0
    for text, cases in by_pattern.items():
        pattern = compile_reference(text)
        names = table.take([rows[case["names"][0]] for case in cases])
        decisions = zip(
            cases,
            names["error"].to_pylist(),
            names["bare"].to_pylist(),
            pattern.glob(names).tolist(),
            pattern.regex(names).tolist(),
            strict=True,
        )
        for case, error, bare, glob, regex in decisions:
            count += 1
            wanted = {key: case[key] for key in ("glob", "regex", "error", "kept") if key in case}
            found = {"regex": pattern.regex_error or regex, "kept": [0] * (glob or regex)}
            if error is None:
                found["glob"] = (not bare and pattern.glob_error) or glob
                error = (not bare and pattern.glob_error) or pattern.regex_error
            if case["names"] == [":"]:
                found["kept"] = []  # dropped unread
            elif error is not None:
                found |= {"error": error, "kept": []}
            if found != wanted:
                wrong.append((case["id"], text, found))
    print(f"reference_patterns, one pattern and one name: {count} cases, {len(wrong)} wrong")
    assert not wrong, wrong[:5]
    assert count == 14_383


def go_match(pattern, name):
    try:
        return parse_glob(pattern).match(name)
    except GlobSyntaxError as error:
        return str(error)


def test_every_glob_vector():
    cases = [case for case in vectors("reference_patterns") if case["kind"] == "glob"]
    wrong = [case["id"] for case in cases if go_match(case["pattern"], case["name"]) != case["result"]]
    print(f"reference_patterns, globs: {len(cases)} cases, {len(wrong)} wrong")
    assert not wrong, wrong[:5]
    assert len(cases) == 2496


def patterns_from(name, rng):
    """A pattern that may match `name` as a glob: some of its characters made wild."""
    wild = ["*", "?", "[^a]", "[!-~]", "[.-9]", "[a-z]*", "\\-", "*[^q]*"]
    return "".join(rng.choice(wild) if rng.random() < 0.08 else char for char in name)


def test_columns_and_single_names_agree_on_100_000_further_decisions():
    rng = random.Random(4)
    names = [case["input"] for case in vectors("references") if len(case["input"]) < 100]
    parsed = (
        reference.parse_names(mutated(rng.sample(names, 3000), 6000, seed=5)).select(NEEDED).combine_chunks()
    )
    texts = [case["patterns"][0] for case in vectors("reference_patterns") if case.get("patterns")]
    decided = globs = regexes = 0
    for text in mutated([text for text in texts if len(text) < 80], 1000, seed=6) + [None] * 1000:
        some = parsed.take(rng.sample(range(parsed.num_rows), 50))
        if text is None:
            text = patterns_from(some["familiar_string"][0].as_py() or "a/b:c", rng)
        pattern = compile_reference(text)
        glob, regex = pattern.glob(some), pattern.regex(some)
        decided += 50
        globs += glob.sum()
        regexes += regex.sum()
        for row, found in zip(some.to_pylist(), glob.tolist(), strict=True):
            wanted = False
            if pattern.glob_error is None and row["error"] is None and not row["bare"]:
                wanted = go_match(text, row["familiar_string"]) or go_match(text, row["familiar"])
            assert found == wanted, (text, row)
        if pattern.regex_error is None:
            at = rng.randrange(50)
            assert pattern.regex(some.slice(at, 1))[0] == regex[at], (text, some["name"][at])
    assert decided == 100_000
    assert globs > 50
    assert regexes > 500


@given(
    st.lists(
        st.sampled_from(["a", "b", "/", "*", "?", "[a-b]", "[^a]", "[.-9]", "\\*", "é", "[^", "]"]),
        max_size=9,
    )
)
def test_a_translated_glob_decides_as_the_matcher(pieces):
    text = "".join(pieces)
    try:
        glob = parse_glob(text)
    except GlobSyntaxError:
        reject()
    names = ["", "a", "b", "/", "ab", "a/b", "ba/", "//", "abab", "a*", "bé", "a/a/b", "aab/ba", ".", "0/1"]
    found = compile_reference(text)._glob_on(glob, pa.array(names))
    assert found.tolist() == [glob.match(name) for name in names]


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"\p{letter}", "é", True),
        (r"\pl{2}", "ab", True),
        (r"(?i)^\p{lu}+$", "aé", True),
        (r"^\p{Lu}+$", "aé", False),
        (r"^[\p{LATIN}-]+$", "a-b", True),
        (r"^[^\p{L}\d]$", "-", True),
        (r"\p{Any}\p{ASCII}", "éa", True),
        (r"^\p{C}$", "\u0378", True),
        (r"^\p{Cn}$", "\U0002ebf0", True),
        (r"^\pL$", "\U0002ebf0", False),
        (r"^\p{Assigned}$", "\U0002ebf0", False),
        (r"^[\p{Cn}]$", "a", False),
        (r"^[^\p{Any}]$", "a", False),
        (r"\pL{1000}", "a" * 1000, True),
        (r"\pL{1000}", "a" * 999, False),
        (r"(\pL{30}){33}", "é" * 990, True),
        ("(?P<x>a)(?P<x>b)", "ab", True),
        ("a\x00b", "a\x00b", True),
        (r"\B", "1-a\ue000a", False),
        (r"é\BE*\Q-\\"[:-1], "aé-\\", True),
        (r"(?i)\BE|x", "1\ue000aé-ae", True),
        ("(" * 999 + "a" + ")" * 999, "a", True),
    ],
)
def test_what_re2_is_told_in_other_words(pattern, text, found):
    assert compile_regexp(pattern).search([text, None]).tolist() == [found, False]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"\C", r"invalid escape sequence: `\C`"),
        ("(?P<é>a)", "invalid named capture: `(?P<é>`"),
        (r"\p{Nag_Mundari}", r"invalid character class range: `\p{Nag_Mundari}`"),
        (r"\p{Old Italic}", r"invalid character class range: `\p{Old Italic}`"),
        (r"\p{SignWriting}", r"invalid character class range: `\p{SignWriting}`"),
        ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
        ("(?:(?:a{2}){1}){501}", "invalid repeat count: `{501}`"),
        ("(" * 1000 + "a" + ")" * 1000, f"expression nests too deeply: `{'(' * 1000}a{')' * 1000}`"),
        (
            "(?:" * 2000 + "a{1}" + "){1}" * 2000,
            f"expression nests too deeply: `{'(?:' * 2000}a{{1}}{'){1}' * 2000}`",
        ),
        ("a(*", "missing argument to repetition operator: `*`"),
        ("a*??", "invalid nested repetition operator: `*??`"),
        ("(?", "invalid or unsupported Perl syntax: `(?`"),
        ("(?<", "invalid or unsupported Perl syntax: `(?<`"),
        ("x|)", "unexpected ): `x|)`"),
    ],
)
def test_words_of_refused_patterns(pattern, words):
    with pytest.raises(FilterError) as refused:
        compile_regexp(pattern)
    assert refused.value.go == f"error parsing regexp: {words}"
    assert refused.value.go in str(refused.value)
    assert compile_reference(pattern).regex_error == refused.value.go


def test_null_names_match_nothing():
    names = reference.parse_names([None, "alpine"])
    assert compile_reference(".*").matches(names).tolist() == [False, True]
    assert compile_reference("alp*").glob(names).tolist() == [False, True]
    assert compile_reference("a").matches(names.slice(0, 0)).tolist() == []
    assert compile_reference("a{101}").matches(names.slice(0, 0)).tolist() == []


@pytest.fixture(scope="module")
def fifty_thousand():
    rng = random.Random(5)
    return reference.parse_names(
        [f"ghcr.io/org{n % 997}/service_{n}/part-{rng.getrandbits(64):x}:v1.{n % 20}" for n in range(50_000)]
    )


@pytest.mark.parametrize(
    "pattern",
    [
        "(?i)(?:.{0,60}a){15}Z",
        "(?:a|e|i|o).{250}.{250}Z",
        "[ab].{60}Z",
        r"(\pL{1,20}){1,20}",
        "(a?){28}a{28}",
        "(x+x+)+y",
        r"\w{0,10}a" * 450,
        ".{1000}" * 500,
        "[^a]{0,30}" * 400,
        "a?" * 2000,
        "*a" * 2000,
        "*[^a]" * 800,
        "ghcr.io/*" + "[/-z]*" * 7,
        "(" * 900 + "a" + ")" * 900,
    ],
)
def test_a_hostile_pattern_is_refused_or_done_in_two_seconds(fifty_thousand, pattern):
    started = time.thread_time()
    try:
        compile_reference(pattern).matches(fifty_thousand)
    except FilterError as error:
        assert error.go == ""
        assert "use a shorter pattern" in str(error)
    assert time.thread_time() - started < 2


def test_large_but_harmless_patterns_are_not_refused(fifty_thousand):
    for pattern in ("a" * 4096, "|".join(f"{n:04}" for n in range(800)), "^.{0,500}$", "org[0-9]{1,1000}/"):
        assert compile_reference(pattern).matches(fifty_thousand).shape == (50_000,)
    with pytest.raises(FilterError, match="65537 characters"):
        compile_reference("a" * 65_537)


def test_the_tables_of_re2_are_those_that_are_corrected_for():
    """A newer RE2 may know more characters than Go; then unicode_names._YOUNGER must name them."""
    chars = tuple(chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF)
    assigned = unicode_names.members("Assigned", False, chars).sum()
    assert assigned == 1_114_112 - 2048 - 825_345
    assert unicode_names.members("Han", False, chars).sum() == 98_408


LARGE = "error parsing regexp: expression too large: `{}`"


@pytest.mark.parametrize(
    ("pattern", "go"),
    [
        ("(?:(?:(ab)){1000}){1000}", LARGE),
        ("(([a-z]+){1000}){1000}", LARGE),
        ("((a|b){1000}){1000}", "error parsing regexp: invalid repeat count: `{1000}`"),
        (f"(?:{'a' * 3356}){{1000}}", LARGE),
        (f"(?:{'a' * 3355}){{1000}}", None),
        (f"(?:{'a' * 3600}){{1000}}b", None),  # Go looks at sizes late, if at all
        (f"({'(a)' * 1200}b){{1000}}", LARGE),
        (f"{'(a)' * 1200}{{1000}}b", None),
    ],
)
def test_patterns_that_go_finds_too_large(pattern, go):
    """Measured with Go 1.26."""
    try:
        parse_go_regexp(pattern)
    except GoSyntaxError as error:
        assert str(error) == (go or "valid").replace("{}", pattern)
    else:
        assert go is None
