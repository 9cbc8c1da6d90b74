"""Why containerd cannot be built here, in one sentence each; the builds themselves are what the daemons of 2.3 and 2.4 run on."""

import shutil

import pytest
from testbed import golang_builds
from testbed.debian import Unavailable


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IMGFRAME_TEST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(golang_builds, "_failed", {})


def test_a_machine_without_go(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match=r"Go is missing \(containerd v2.4.2 is built from its module\)"):
        golang_builds.programs("2.4")


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")
def test_an_older_go(monkeypatch):
    monkeypatch.setattr(golang_builds, "NEEDS_GO", (1, 99, 0))
    with pytest.raises(
        Unavailable, match=r"go1\.[\d.]+ is too old to build containerd v2.3.7, which needs go1.99.0"
    ):
        golang_builds.programs("2.3")


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")
def test_a_machine_without_network_is_asked_once(tmp_path, monkeypatch):
    monkeypatch.setattr(golang_builds, "NEEDS_GO", (1, 0, 0))
    monkeypatch.setenv("GOPROXY", "off")
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    with pytest.raises(Unavailable, match=r"go install .* failed: .*module lookup disabled by GOPROXY=off"):
        golang_builds.programs("2.4")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match="disabled by GOPROXY=off"):
        golang_builds.programs("2.4")
