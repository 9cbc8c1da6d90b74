"""What `imgframe collect`, `images`, `nodes` and `show` print, where, and with which exit code."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings

import pytest
from testbed.spoilt_stores import CONFIG, Spoilt

import imgframe as imf
from imgframe import simulator
from imgframe.cli import main

HEAD = ["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"]


def store():
    """Two namespaces with two images each, one of them in both; one config says something else than its digest."""
    spaces = {}
    for space, name in (("default", "here:1"), ("k8s.io", "there:1")):
        spoilt = Spoilt(space)
        spoilt.image("docker.io/library/both:1", spoilt.manifest())
        spoilt.image(name, spoilt.manifest(annotations={"is": name}))
        spaces[space] = spoilt.dump
    return {"namespaces": spaces}


@pytest.fixture(scope="module")
def address():
    with simulator.from_dump(store()) as node:
        yield node.address


@pytest.fixture
def imgframe(monkeypatch, capsys, tmp_path):
    """`imgframe(*words)` gives exit code, stdout and stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("CONTAINERD_ADDRESS", "CONTAINERD_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["imgframe", *map(str, words)])
        with pytest.raises(SystemExit) as done:
            main()
        return done.value.code or 0, *capsys.readouterr()

    return run


def cells(text):
    """The cells of a table, a list per line."""
    return [[cell.strip() for cell in line.split("    ") if cell.strip()] for line in text.splitlines()]


# --- which nodes and namespaces ---------------------------------------------------------------------------------------------


def test_the_environment_says_what_the_options_do_not(imgframe, address, monkeypatch):
    monkeypatch.setenv("CONTAINERD_ADDRESS", address)
    code, out, err = imgframe("images")
    assert (code, err) == (0, "")
    assert [row[0] for row in cells(out)] == ["IMAGE", "both:1", "here:1"]
    monkeypatch.setenv("CONTAINERD_NAMESPACE", "k8s.io")
    assert [row[0] for row in cells(imgframe("images")[1])] == ["IMAGE", "both:1", "there:1"]
    assert [row[0] for row in cells(imgframe("images", "-n", "default")[1])] == ["IMAGE", "both:1", "here:1"]
    assert len(cells(imgframe("images", "-A")[1])) == 5
    code, _, err = imgframe("show", "here:1")
    assert code == 1
    assert "no image 'here:1' in namespace k8s.io of" in err
    assert imgframe("show", "here:1", "-A")[1].startswith("here:1\n")
    monkeypatch.setenv("CONTAINERD_ADDRESS", "/nowhere.sock")
    assert imgframe("images")[0] == 4
    assert imgframe("images", "-H", address)[0] == 0


def test_a_collection_of_one_namespace_by_the_environment_says_so(imgframe, address, monkeypatch, tmp_path):
    monkeypatch.setenv("CONTAINERD_NAMESPACE", "k8s.io")
    code, out, err = imgframe("collect", address, "-o", tmp_path / "one")
    assert (code, err) == (
        0,
        "imgframe: only namespace k8s.io is read (CONTAINERD_NAMESPACE); --all-namespaces reads every one\n",
    )
    assert out.splitlines()[1] == f"saved in {tmp_path / 'one'}"
    assert set(imf.open_inventory(tmp_path / "one").images.namespace) == {"k8s.io"}
    assert imgframe("collect", address, "-A", "-o", tmp_path / "all")[2] == ""
    assert set(imf.open_inventory(tmp_path / "all").images.namespace) == {"default", "k8s.io"}


def test_several_namespaces_and_nodes_come_as_columns_in_front(imgframe, address, tmp_path):
    names = ("--names", "--digests")
    out = imgframe("images", "-H", address, "-A")[1]
    assert cells(out)[0] == ["NAMESPACE", *HEAD]
    assert sorted(row[:2] for row in cells(out)[1:]) == [
        ["default", "both:1"],
        ["default", "here:1"],
        ["k8s.io", "both:1"],
        ["k8s.io", "there:1"],
    ]
    assert cells(imgframe("images", "-H", address, "-A", *names)[1])[0][:3] == ["NAMESPACE", "NAME", "DIGEST"]
    # one of two nodes is dead: its rows are missing, the columns are not
    code, out, err = imgframe("images", "-H", address, "-H", tmp_path / "none.sock")
    assert code == 3
    assert cells(out)[0] == ["NODE", *HEAD]
    assert len(cells(out)) == 3
    assert err.startswith(f"imgframe: {tmp_path / 'none.sock'}: no such socket; is containerd running")
    assert len(err.splitlines()) == 1


def test_every_namespace_and_one_contradict_each_other(imgframe, address):
    code, out, err = imgframe("images", "-H", address, "-A", "-n", "default")
    assert (code, out) == (1, "")
    assert "give either it or --namespace" in err


def test_a_saved_inventory_is_read_as_nodes_are(imgframe, address, monkeypatch, tmp_path):
    assert imgframe("collect", "-H", address, "-o", tmp_path / "x")[0] == 0
    for command in (["images", "-A"], ["images", "-n", "k8s.io", "-q"], ["show", "both:1"], ["nodes"]):
        live = imgframe(*command, "-H", address)
        saved = imgframe(*command, "--from", tmp_path / "x")
        if command == ["nodes"]:  # how long it took differs
            live, saved = ([cells(text)[1][:6] for text in said[1:2]] for said in (live, saved))
        assert saved == live
    code, out, err = imgframe("images", "--from", tmp_path / "x", "-n", "gone")
    assert (code, len(cells(out))) == (0, 1)
    assert err == f"imgframe: '{tmp_path / 'x'}' has no namespace 'gone'; it has default, k8s.io\n"
    monkeypatch.setenv("CONTAINERD_NAMESPACE", "k8s.io")
    assert [row[0] for row in cells(imgframe("images", "--from", tmp_path / "x")[1])[1:]] == [
        "both:1",
        "there:1",
    ]
    code, _, err = imgframe("images", "--from", tmp_path / "x", "-H", address)
    assert (code, "not both" in err) == (1, True)
    code, _, err = imgframe("images", "--from", tmp_path)
    assert (code, "is not a saved inventory" in err) == (1, True)


# --- for machines ------------------------------------------------------------------------------------------------------------


def test_json_and_csv_are_one_array_of_raw_values(imgframe, address):
    rows = json.loads(imgframe("images", "-H", address, "-A", "--format", "json")[1])
    table = list(csv.DictReader(imgframe("images", "-H", address, "-A", "--format", "csv")[1].splitlines()))
    want = imf.collect(address, cache=False).images
    assert [row["name"] for row in rows] == [row["name"] for row in table] == want.name.tolist()
    assert [row["content_size"] for row in rows] == want.content_size.tolist()
    assert {row["created_at"] for row in rows} == {"2026-11-23T00:00:00Z"}
    assert [row["labels"] for row in rows] == [{}] * 4
    assert [int(row["content_size"]) for row in table] == want.content_size.tolist()
    assert {row["pinned"] for row in table} == {"false"}
    assert [json.loads(row["record_labels"]) for row in table] == [row["record_labels"] for row in rows]
    assert {row["labels"] for row in table} == {"{}"}
    assert list(rows[0]) == list(table[0])
    (node,) = json.loads(imgframe("nodes", "-H", address, "--format", "json")[1])
    (line,) = csv.DictReader(imgframe("nodes", "-H", address, "--format", "csv")[1].splitlines())
    assert node["address"] == line["address"] == address
    assert isinstance(node["rpcs"], int)
    assert list(node) == list(line)


@pytest.mark.parametrize("nothing", [("nowhere",), ("--namespace", "gone"), ("--filter", "dangling=true")])
def test_nothing_to_list_is_an_empty_array_and_a_head(imgframe, address, nothing):
    given = ("images", *nothing, "-H", address, "--format")
    code, out, _ = imgframe(*given, "json")
    assert (code, json.loads(out)) == (0, [])
    code, out, _ = imgframe(*given, "csv")
    assert (code, out.count("\n"), out.split(",")[:2]) == (0, 1, ["node", "namespace"])


def test_the_version_needs_no_command(imgframe):
    assert imgframe("--version") == (0, f"imgframe {imf.__version__}\n", "")


def test_unknown_values_are_null_and_empty(imgframe):
    spoilt = Spoilt()
    config = spoilt.add(b"not JSON", CONFIG)
    spoilt.image("bad:1", spoilt.add({"schemaVersion": 2, "config": config, "layers": []}))
    with simulator.from_dump(spoilt.dump) as node:
        code, out, err = imgframe("images", "-H", node.address, "--format", "json")
        (line,) = csv.DictReader(imgframe("images", "-H", node.address, "--format", "csv")[1].splitlines())
        shown = imgframe("show", "bad:1", "-H", node.address)
    (row,) = json.loads(out)
    assert code == 0
    assert config["digest"] in err
    assert (row["labels"], row["built_at"], row["unpacked_size"]) == (None, None, None)
    assert (line["labels"], line["built_at"], line["unpacked_size"]) == ("", "", "")
    assert "built unknown" in shown[1]
    assert "None" not in shown[1]


def test_show_has_manifests_layers_history_and_users(imgframe):
    spoilt = Spoilt()
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}
    history = [{"created_by": "COPY \x1b[2J", "empty_layer": True}, {"comment": "second"}]
    config = spoilt.add({**config, "history": history}, CONFIG)
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + "a" * 64, "size": 7}
    target = spoilt.add({"schemaVersion": 2, "config": config, "layers": [layer]})
    spoilt.image("docker.io/library/it:1", target, at=253402300799 * 10**9)
    holder = {
        "id": "web",
        "image": "docker.io/library/it:1",
        "snapshotter": "overlayfs",
        "snapshot_key": "web",
    }
    spoilt.dump["containers"] = [{**holder, "labels": {}, "runtime": "r", "created_at_ns": 1}]
    held = [{"type": "content", "id": target["digest"]}]
    spoilt.dump["leases"] = [
        {"id": "hold", "labels": {}, "created_at_ns": 1, "resources": held},
        {
            "id": "other",
            "labels": {},
            "created_at_ns": 1,
            "resources": [{"type": "content", "id": layer["digest"]}],
        },
    ]
    with simulator.from_dump(spoilt.dump) as node:
        lines = [line.strip() for line in imgframe("show", "it:1", "-H", node.address)[1].splitlines()]
        (row,) = json.loads(imgframe("show", target["digest"], "-H", node.address, "--format", "json")[1])
        refused = imgframe("show", "it:1", "-H", node.address, "--format", "yaml")
    assert lines[0] == "docker.io/library/it:1"
    assert "created unknown, built unknown" in lines  # the year 9999 is beyond what a time can hold here
    assert lines[5:7] == ["containers web", "leases hold"]
    assert (
        f"manifest {target['digest']} linux/amd64, {target['size'] + config['size'] + 7}B, present" in lines
    )
    assert f"layer {layer['digest']} 7B {layer['mediaType']}" in lines
    assert lines[-2:] == ["history COPY \\x1b[2J", "history second"]
    assert (row["used_by"], row["leases"]) == (["web"], ["hold"])
    assert [step["created_by"] for step in row["history"]] == ["COPY \x1b[2J", ""]
    assert [part["digest"] for part in row["manifests"][0]["layers"]] == [layer["digest"]]
    assert (refused[0], "unsupported format: 'yaml'; expected text or json" in refused[2]) == (1, True)


# --- refusals ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["images", "-n", "a b"], 1, "'a b' is not a namespace; expected"),
        (["images", "-q", "--format", "json"], 1, "format and quiet must not be specified together"),
        (["images", "--format", "yaml"], 1, 'unsupported format: "yaml"; expected table, wide, json, csv'),
        (["images", "--format", "{{.Name"], 1, "'{{.Name' has {{ without }}"),
        (["images", "--format", "{{.Nope}}"], 1, "template field '.Nope' is unknown; expected"),
        (["images", "--filter", "colour=red"], 1, "invalid filter"),
        (["nodes", "--format", "yaml"], 1, "unsupported format: 'yaml'; expected table, json or csv"),
        (["images", "--dialect", "podman"], 1, "'podman' is not a dialect; expected 'nerdctl' or 'docker'"),
        (["show", "nope"], 1, "no image 'nope' in "),
        (["images", "--nope"], 2, "No such option"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(imgframe, address, words, code, sentence):
    got, out, err = imgframe(*words, "-H", address)
    assert (got, out) == (code, "")
    assert sentence in err
    assert "Traceback" not in err


def test_a_wrong_format_is_refused_before_the_nodes_are_read(imgframe):
    for command in ("images", "nodes"):
        code, out, err = imgframe(command, "--format", "yaml", "-H", "/nonexistent.sock")
        assert (code, out) == (1, "") and "unsupported format" in err and "nonexistent" not in err


def test_a_folder_of_something_else_is_refused_before_the_nodes_are_read(imgframe, tmp_path):
    (tmp_path / "precious").write_text("mine")
    code, out, err = imgframe("collect", "/nowhere.sock", "-o", tmp_path)
    assert (code, out) == (1, "")
    assert err == f"imgframe: '{tmp_path}' exists and is not a saved inventory; give a new or empty folder\n"


def test_hostile_text_does_not_reach_the_terminal(imgframe):
    spoilt = Spoilt()
    spoilt.image("x\x1b[31m\nred", spoilt.manifest())
    spoilt.image("gone\x1b]0;t\x07:1", {**spoilt.manifest(), "digest": "sha256:" + "0" * 64})
    with simulator.from_dump(spoilt.dump) as node:
        for words in (["images"], ["images", "--names"], ["images", "--format", "{{.Name}}"], ["nodes"]):
            _, out, err = imgframe(*words, "-H", node.address)
            assert all(char.isprintable() or char == "\n" for char in out + err), words
        assert "x\\x1b[31m\\nred" in imgframe("images", "--names", "-H", node.address)[1]


# --- streams, as other processes see them -----------------------------------------------------------------------------------


def process(*words, **options):
    environment = {**os.environ, "XDG_CACHE_HOME": "/nonexistent/cache", **options.pop("env", {})}
    return subprocess.Popen([sys.executable, "-m", "imgframe.cli", *words], env=environment, **options)


def test_names_are_utf8_whatever_the_locale_says():
    spoilt = Spoilt()
    spoilt.image("ünï:1", spoilt.manifest())
    with simulator.from_dump(spoilt.dump) as node:
        told = {"env": {"PYTHONIOENCODING": "ascii"}, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        run = process("images", "-H", node.address, "--format", "json", "--no-cache", **told)
        out, err = run.communicate(timeout=240)
    assert (run.returncode, err) == (0, b"")
    assert json.loads(out.decode())[0]["name"] == "ünï:1"


@pytest.mark.parametrize(
    ("redirection", "code", "sentence"),
    [
        (">&-", 1, "standard output is closed"),
        (">/dev/full", 1, "No space left on device"),
        ("2>&-", 0, ""),
        ("| head -1 >/dev/null", 0, ""),
    ],
)
def test_streams_that_are_closed_full_or_cut(address, redirection, code, sentence):
    command = (
        f'"{sys.executable}" -m imgframe.cli images -A --no-cache --format json -H {address} {redirection}'
    )
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    if redirection == "2>&-":
        assert len(json.loads(done.stdout)) == 4


def test_a_cache_that_cannot_be_written_is_a_sentence(address):
    """Nobody can make a folder in /proc, not even root."""
    run = process("nodes", "-H", address, stderr=subprocess.PIPE, env={"XDG_CACHE_HOME": "/proc/none"})
    err = run.communicate(timeout=240)[1].decode()
    assert run.returncode == 0
    (line,) = err.splitlines()
    assert line.startswith(
        "imgframe: the cache '/proc/none/imgframe/collector.sqlite' cannot be used, collecting"
    )


def test_an_interrupt_ends_a_command_that_waits(tmp_path, interrupts):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "c.sock"))
        silent.listen()
        run = process("images", "-H", str(tmp_path / "c.sock"), stderr=subprocess.PIPE)
        silent.accept()  # it is connected, and will have no answer
        run.send_signal(signal.SIGINT)
        err = run.communicate(timeout=240)[1].decode()
    assert (run.returncode, err) == (130, "")


# --- real daemons ------------------------------------------------------------------------------------------------------------


@pytest.mark.daemon
def test_what_is_wrong_with_a_real_daemons_socket(imgframe, fresh_daemon, tmp_path):
    daemon = fresh_daemon("1.7")
    code, out, err = imgframe("images", "-n", "gone", "-H", daemon.socket)
    assert (code, cells(out)) == (0, [HEAD])
    assert err == f"imgframe: {daemon.socket} has no namespace 'gone'; it has none\n"
    started = time.monotonic()
    code, out, err = imgframe("images", "-H", f"{daemon.socket}.ttrpc")
    assert (code, out) == (4, "")
    assert err.startswith(
        f"imgframe: {daemon.socket}.ttrpc: this is not a containerd gRPC socket: no answer within"
    )
    assert err.endswith(f"use {daemon.socket}\n")
    assert time.monotonic() - started < 60
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            code, out, err = imgframe("images", "-H", daemon.socket)
        finally:
            os.seteuid(0)
        assert (code, out) == (4, "")
        assert f"{daemon.socket}: permission denied; run as root or join the group" in err
    daemon.kill()
    code, out, err = imgframe("collect", daemon.socket, "-o", tmp_path / "x")
    assert (code, out) == (4, "")
    assert "nobody listens on this socket" in err
    assert not (tmp_path / "x").exists()
