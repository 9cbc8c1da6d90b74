"""The test bed itself: the daemons are the releases they claim to be, and survive what tests do to them."""

import os
import re
import subprocess

import pytest
from testbed import ctr_stores, debian, golang_builds
from testbed.daemons import RELEASES


def test_tests_of_one_daemon_stay_on_one_worker(containerd, request):
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith(f"@containerd-{containerd.release}")


@pytest.mark.every_release
def test_each_release_is_what_it_claims(containerd):
    stays = (
        containerd.release
        if containerd.release in golang_builds.VERSION_OF
        else containerd.release.split(".")[0]
    )
    assert re.match(rf"v?{re.escape(stays)}\.", containerd.version), "only Debian's own move on"
    assert (
        f"Version:  {containerd.version}" in containerd.ctr("version", namespace=None).partition("Server:")[2]
    )
    assert len(str(containerd.socket)) < 108
    plugins = [line.split() for line in containerd.ctr("plugins", "ls", namespace=None).splitlines()[1:]]
    state = {(kind, name): status for kind, name, *_, status in plugins}
    assert state["io.containerd.snapshotter.v1", "overlayfs"] == "ok"
    assert state["io.containerd.snapshotter.v1", "native"] == "ok"
    assert "error" not in state.values(), containerd.log_text()


@pytest.mark.parametrize("release", RELEASES)
def test_a_killed_daemon_comes_back_with_its_store(fresh_daemon, release):
    daemon = fresh_daemon(release)
    daemon.ctr("namespaces", "create", "kept", namespace=None)
    pid = daemon.pid
    daemon.kill()
    assert daemon.ctr_process("namespaces", "ls", namespace=None).returncode
    daemon.start()
    assert daemon.pid != pid
    assert daemon.ctr("namespaces", "ls", "-q", namespace=None).split() == ["kept"]


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_is_left_of_a_stopped_daemon(fresh_daemon, release):
    daemon = fresh_daemon(release)
    daemon.ctr("snapshots", "prepare", "a", namespace="n")
    pid = daemon.pid
    daemon.stop()
    assert not daemon.folder.exists()
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("release", RELEASES)
def test_no_container_outlives_a_killed_daemon(fresh_daemon, registry, release):
    daemon = fresh_daemon(release)
    name = f"{registry.host}/library/tools:latest"
    daemon.ctr("images", "pull", "--plain-http", name)
    daemon.ctr("run", "-d", "--null-io", name, f"orphan-{daemon.tag}", "sleep", "100000")
    tasks = ctr_stores.rows(daemon.ctr("tasks", "ls"), *ctr_stores.TASK_COLUMNS)
    daemon.kill()
    assert os.path.exists(f"/proc/{tasks[0]['PID']}")
    daemon.stop()
    assert not os.path.exists(f"/proc/{tasks[0]['PID']}")
    assert not daemon.folder.exists()


def test_unpacked_programs_run():
    for name in ("skopeo", "runc", "umoci", "docker-registry"):
        try:
            assert os.access(debian.program(name), os.X_OK)
        except debian.Unavailable:
            assert debian.machine_lacks() is not None


def test_a_pulled_store_holds_every_kind_of_thing(pulled_store):
    daemon = pulled_store.daemon
    assert set(ctr_stores.NAMESPACES) < set(ctr_stores.namespaces(daemon))
    found = ctr_stores.rows(daemon.ctr("snapshots", "ls"), *ctr_stores.SNAPSHOT_COLUMNS)
    assert {row["KIND"] for row in found} == {"Active", "Committed", "View"}
    tasks = ctr_stores.rows(daemon.ctr("tasks", "ls"), *ctr_stores.TASK_COLUMNS)
    assert {row["TASK"].split("-")[0]: row["STATUS"] for row in tasks} == {
        "running": "RUNNING",
        "paused": "PAUSED",
    }
    checks = [
        daemon.ctr_process("images", "check", namespace=name).stdout for name in ctr_stores.namespaces(daemon)
    ]
    found = {
        row["STATUS"].split()[0]
        for text in checks
        for row in ctr_stores.rows(text, *ctr_stores.CHECK_COLUMNS)
    }
    assert found == {"complete", "incomplete", "unavailable"}
    assert "half" in daemon.ctr("content", "active")


def test_skopeo_reads_what_we_pushed(registry):
    image = ctr_stores.catalogue()["team/rich", "1.0"]
    command = [
        debian.program("skopeo"),
        "inspect",
        "--tls-verify=false",
        "--raw",
        f"docker://{registry.host}/team/rich:1.0",
    ]
    done = subprocess.run(command, env=debian.environment(), capture_output=True, check=True)
    assert done.stdout == image.blobs[image.digest]
