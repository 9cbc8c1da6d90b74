"""``imgframe images`` prints what the real ``nerdctl images`` printed, on the recorded stores."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

import imgframe as imf
from imgframe import simulator
from imgframe.cli import app
from imgframe.errors import ImgframeError

DATA = Path(__file__).parent / "data"
SINCE = re.compile(r"(Less than a second|About an? \w+|\d+ \w+) ago")


def cases():
    with gzip.open(DATA / "vectors" / "store_filters.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    return [row for row in rows if row["kind"] == "cli_images"]


CASES = cases()
STORES = sorted({case["store"] for case in CASES})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folders = {}
    for store in STORES:
        dump = json.loads((DATA / "stores" / f"{store}.json").read_text())
        with simulator.from_dump(dump) as node:
            folders[store] = imf.collect(node.address, cache=False).save(
                tmp_path_factory.mktemp("stores") / store
            )
    return folders


def run(arguments, folder):
    """Exit code, lines of stdout and the error of one call of the command."""
    result = CliRunner().invoke(app, [*arguments, "--from", str(folder)])
    if result.exception is not None and not isinstance(result.exception, SystemExit | ImgframeError):
        raise result.exception
    error = str(result.exception) if isinstance(result.exception, ImgframeError) else result.stderr
    return result.exit_code, result.stdout.splitlines(), error


def comparable(line):
    """A line or JSON row without ages and without the width of their column."""
    if isinstance(line, dict):
        return tuple(sorted((key, value) for key, value in line.items() if key != "CreatedSince"))
    return re.sub(r" {2,}", "  ", SINCE.sub("<SINCE>", line)).rstrip()


def words_of(stderr):
    """The message of a log line of nerdctl."""
    text = " ".join(stderr)
    found = re.search(r'msg="((?:[^"\\]|\\.)*)"', text)
    return json.loads(f'"{found.group(1)}"') if found else text


@pytest.mark.parametrize("store", STORES)
def test_prints_what_nerdctl_prints(store, saved):
    done = Counter()
    for case in CASES:
        if case["store"] != store:
            continue
        if case["arguments"][0] == "--kube-hide-dupe":
            done[
                "left out: --kube-hide-dupe is an option of nerdctl's root command that changes other commands"
            ] += 1
            continue
        code, lines, error = run(case["arguments"], saved[store])
        assert code == case["exit"], case["id"]
        if case["exit"]:
            assert words_of(case["stderr"]) in error, case["id"]
            done["refused"] += 1
            continue
        want = [line for line in case["stdout"] if line != ""]
        if want and isinstance(want[0], dict):
            lines = [json.loads(line) for line in lines]
            if not case.get("ties"):
                assert [row["CreatedAt"] for row in lines] == [row["CreatedAt"] for row in want], case["id"]
        assert sorted(map(comparable, lines)) == sorted(map(comparable, want)), case["id"]
        if want and not isinstance(want[0], dict) and "IMAGE" in want[0]:
            assert comparable(lines[0]) == comparable(want[0]), case["id"]
        done["equal"] += 1
    print(f"\n{store}: {dict(done)}")
    assert done["equal"] > 20
