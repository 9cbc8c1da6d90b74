"""The kubelet's image collection against runs of the real code, and the few rules that no run can show."""

import gzip
import json
import re
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import pytest
from testbed.kubelet_node import Replay, expected

import imgframe as imf
from imgframe import kubelet
from imgframe.errors import InputError

VERSIONS = ("1.33", "1.35", "1.37")


@pytest.fixture(scope="module")
def cases(request):
    """The cases of --kubelet-vectors, else those of the project."""
    given = request.config.getoption("--kubelet-vectors")
    file = Path(given or Path(__file__).parent / "data/vectors/kubelet_gc.jsonl.gz")
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def without_alternatives(run):
    """A run as recorded, its events in one order; must and may are derived from many runs."""
    told = {key: value for key, value in run.items() if key not in ("must", "may")}
    return told | ({"events": sorted(told["events"])} if "events" in told else {})


@pytest.mark.parametrize("version", VERSIONS)
def test_every_field_of_every_run_is_that_of_the_real_code(cases, version):
    compared, different = Counter(), []
    for case in cases:
        replay, wanted = Replay(case, version), expected(case, version)
        pairs = zip_longest(replay.runs, map(without_alternatives, wanted.get("runs") or ()))
        compared.update(run["run"] for run in replay.runs)
        same = (
            all(got == real for got, real in pairs)
            and replay.construct_error == wanted.get("construct_error")
            and replay.kubelet_events == (wanted.get("kubelet_events") or [])
            and replay.state() == (wanted.get("state") or [])
        )
        if not same:
            different.append(case["id"])
    assert different == []
    assert compared.total() > len(cases)


def test_what_every_order_deletes_is_deleted_and_nothing_that_none_does(cases):
    compared = 0
    for case in filter(lambda one: one["ties"], cases):
        recorded = expected(case, "1.37").get("runs") or ()
        for run, real in zip(Replay(case, "1.37").runs, recorded, strict=True):
            if "must" in real:
                removed = {image for image, _ in run.get("removed", ())}
                by_disk_pass = {image for image, which in run.get("removed", ()) if which == "space"}
                assert set(real["must"]) <= removed
                assert by_disk_pass <= {*real["must"], *real["may"]}
                compared += 1
    assert compared > 0 or not any(case["ties"] for case in cases)


@pytest.mark.parametrize(
    ("version", "name"),
    [("1.33", "1.33"), ("v1.34.9", "1.33"), ("1.36.0-gke.1", "1.35"), ("1.37", "1.37"), ("v2.0", "1.37")],
)
def test_a_version_follows_the_newest_release_that_is_not_newer(version, name):
    assert kubelet.release(version).name == name


@pytest.mark.parametrize("version", ["1.32", "", "latest", "1"])
def test_a_version_whose_rules_are_unknown_is_refused(version):
    with pytest.raises(InputError, match="Kubernetes"):
        kubelet.release(version)


def test_the_room_is_reached_from_the_package():
    assert imf.kubelet.wanted_bytes(10_000, 1_599, 80) == 401


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"high": 101}, "high 101 is not a percentage"),
        ({"low": True}, "low True is not a percentage"),
        ({"high": 80, "low": 80}, "low 80 is not less than high 80"),
        ({"min_age": "-1s"}, "must not be negative"),
        ({"max_age": "2m"}, "max_age '2m' is not greater than min_age '2m'"),
        ({"max_age": "soon"}, "invalid duration"),
    ],
)
def test_a_policy_that_the_kubelet_refuses_is_refused(values, words):
    with pytest.raises(InputError, match=re.escape(words)):
        kubelet.Policy(**values)


def test_a_policy_is_read_from_yaml_json_and_a_mapping_alike(tmp_path):
    fields = {"kind": "KubeletConfiguration", "imageGCLowThresholdPercent": 60, "imageMaximumGCAge": "24h"}
    (tmp_path / "kubelet.json").write_text(json.dumps(fields))
    (tmp_path / "kubelet.yaml").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    wanted = kubelet.Policy(low=60, max_age="24h")
    for source in (fields, tmp_path / "kubelet.json", str(tmp_path / "kubelet.yaml")):
        assert kubelet.Policy.of(source) == wanted
    assert wanted.max_age_ns == 24 * 3600 * 10**9
    assert kubelet.Policy(min_age=0).min_age_ns == kubelet.Policy().min_age_ns == 120 * 10**9


@pytest.mark.parametrize("text", ["", "- a", "{", "a: [", "kind: Pod"])
def test_what_is_no_kubelet_configuration_is_refused(tmp_path, text):
    (tmp_path / "kubelet.yaml").write_text(text)
    with pytest.raises(InputError, match="KubeletConfiguration"):
        kubelet.Policy.of(tmp_path / "kubelet.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        kubelet.Policy.of(tmp_path / "none.yaml")
