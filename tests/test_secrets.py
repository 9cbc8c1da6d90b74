"""The marked credential is shown to the registry it belongs to and to nobody else; and whoever shows it is found out."""

import base64
import json
import logging
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from testbed import images, secret_watch
from testbed.node_state import checked, state
from testbed.registries import SECRET, USER
from typer.testing import CliRunner

import imgframe as imf
from imgframe.cli import app
from imgframe.errors import InputError

ROOT = Path(__file__).parent.parent


def login(folder, hosts, secret=SECRET):
    """A config.json with the credential, or another, for these hosts."""
    folder.mkdir()
    auth = base64.b64encode(f"{USER}:{secret}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth} for host in hosts}}))
    return folder


def shown(thing):
    """Everything that a thing can be made to show of itself."""
    texts = [str(thing), repr(thing), repr(vars(thing)) if hasattr(thing, "__dict__") else ""]
    if hasattr(thing, "_repr_html_"):
        texts.append(thing._repr_html_())
    if isinstance(thing, imf.Result):
        texts += [frame.to_csv() for frame in (thing.steps, thing.ensured)]
    return "\n".join(map(str, texts))


@pytest.mark.parametrize("kind", ["basic", "token"])
def test_credentials_move_images_and_stay_unseen(containerd, registry, request, tmp_path, kind):
    served = request.getfixturevalue(f"{kind}_registry")
    known = login(tmp_path / "docker", [served.host])
    wrong = login(tmp_path / "wrong", [served.host], f"not-{SECRET}")
    own = images.image([images.rootfs(f"secret {kind} {containerd.release}")])
    repository = f"secret/{kind}-{containerd.release}"
    registry.push(repository, "1", own)
    name, things = f"{served.host}/{repository}:1", []
    for via in ("client", None):
        namespace = containerd.new_namespace("secret")
        plan = imf.pull(name, containerd.address, namespace=namespace, docker_config=known, via=via)
        plan.save(tmp_path / f"plan-{via}")
        result = imf.open_plan(tmp_path / f"plan-{via}").apply(audit=tmp_path / "audit", progress=True)
        result.raise_for_errors()
        assert checked(containerd, namespace) == {name: "complete (2/2) true"}
        things += [plan, result]
    inventory = imf.collect(containerd.address, namespaces=[namespace], usage="none", cache=False)
    to = {name: f"{served.host}/{repository}-copy:1"}
    push = imf.push(inventory.images, inventory, to=to, docker_config=known)
    result = push.apply(audit=tmp_path / "audit")
    result.raise_for_errors()
    assert result.steps["remote"].tolist() == [own.digest]
    again = imf.ensure(
        name, containerd.address, mode="always", namespace=namespace, docker_config=known
    ).apply()
    again.raise_for_errors()
    digests = imf.resolve_digest([name, to[name]], docker_config=known)
    assert set(digests) == {own.digest}
    denied = [
        imf.push(
            inventory.images, inventory, to={name: f"{served.host}/{repository}-no:1"}, docker_config=wrong
        ),
        imf.pull(name, containerd.address, namespace=namespace, docker_config=wrong, via="client"),
        imf.pull(name, containerd.address, namespace=namespace, docker_config=wrong),
    ]
    before = state(containerd, namespace)
    for plan in denied:
        refused = plan.apply(audit=tmp_path / "audit")
        (message,) = refused.steps["message"]
        assert any(word in message for word in ("401", "denied", "credentials")), message
        assert "log in" in message or "check the credentials" in message, message
        things += [plan, refused]
    assert state(containerd, namespace) == before
    things += [push, result, again, inventory]
    inventory.save(tmp_path / "inventory")
    assert not [thing for thing in things if secret_watch.found(shown(thing))]
    assert not [thing for thing in things if secret_watch.found(pickle.dumps(thing))]
    # tmp_path, errors, logs, output of ours and of the programs: the watch of the run looks at them


def test_the_command_line_says_nothing(containerd, basic_registry, tmp_path, monkeypatch):
    namespace = containerd.new_namespace("secret")
    name = f"{basic_registry.host}/team/base:1"
    for folder, secret, code in (("good", SECRET, 0), ("bad", f"not-{SECRET}", 1)):
        monkeypatch.setenv("DOCKER_CONFIG", str(login(tmp_path / folder, [basic_registry.host], secret)))
        done = CliRunner().invoke(
            app, ["pull", name, "--address", containerd.address, "--namespace", namespace]
        )
        assert (done.exit_code != 0) is bool(code), done.output
        assert name in done.output
        assert not secret_watch.found(done.output)


def test_the_watch_sees_errors_logs_and_programs(secret_watch_of_the_run, monkeypatch):
    watch = secret_watch.Watch()
    monkeypatch.setattr(
        logging.getLogger("imgframe"), "propagate", False
    )  # pytest keeps it too, and is right to fail
    with watch.on():
        InputError(f"no {SECRET} here")
        assert watch.take() == ["the error InputError"]
        logging.getLogger("imgframe.registry").debug(
            "%s", {"auth": base64.b64encode(f"{USER}:{SECRET}".encode())}
        )
        assert watch.take() == ["a log record of imgframe.registry"]
        subprocess.run(
            [sys.executable, "-c", f"print('{SECRET[:5]}' + '{SECRET[5:]}')"], capture_output=True, check=True
        )
        assert len(watch.take()) == 1
        InputError("nothing")
        assert not watch.take()
    secret_watch_of_the_run.take()


def test_the_watch_looks_into_files():
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "config.json").write_text(json.dumps({"auths": {"host": {"auth": SECRET}}}))
        (folder / "hosts.toml").write_text(SECRET)
        (folder / "fine.txt").write_text("fine")
        assert secret_watch.in_files(folder) == []
        rows = [f"a {SECRET}", "b"] * 1000
        tables = {
            "text": pa.array(rows),
            "category": pa.array(rows).dictionary_encode(),
            "nested": pa.array([[{"key": row}] for row in rows]),
            "number": pa.array([1, 2]),
        }
        for name, column in tables.items():
            parquet.write_table(pa.table({"column": column}), folder / f"{name}.parquet", compression="zstd")
        (folder / "raw.log").write_bytes(b"\x00" + base64.b64encode(f"{USER}:{SECRET}".encode()))
        seen = {file.name for file in secret_watch.in_files(folder)}
        assert seen == {"text.parquet", "category.parquet", "nested.parquet", "raw.log"}


CULPRITS = f"""
from imgframe import registry  # a credential may be read from now on
from imgframe.errors import InputError
SECRET = {SECRET[:6]!r} + {SECRET[6:]!r}

def test_prints(): print(SECRET)
def test_raises():
    try: raise InputError(SECRET)
    except InputError: pass
def test_leaves(tmp_path): (tmp_path / "x").write_text(SECRET)
def test_leaves_elsewhere(tmp_path_factory): (tmp_path_factory.mktemp("y") / "z").write_text(SECRET)
def test_fine(): pass
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_that_shows_it_fails(workers, secret_watch_of_the_run):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "test_culprits.py"
        file.write_text(CULPRITS)
        options = [
            "-p",
            "conftest",
            "-p",
            "no:cacheprovider",
            "-c",
            str(ROOT / "pyproject.toml"),
            "--rootdir",
            str(ROOT),
        ]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                *options,
                "-n",
                workers,
                "-v",
                "--basetemp",
                f"{folder}/base",
                str(file),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        )
    secret_watch_of_the_run.take()
    assert done.returncode == 1, done.stdout
    words = {
        line.split("::")[-1].split(" ")[0]: line
        for line in done.stdout.splitlines()
        if line.startswith(("FAILED", "ERROR"))
    }
    assert "printed or logged the marked credential" in done.stdout
    assert {"test_prints", "test_raises", "test_leaves"} <= words.keys()
    assert "/z" in done.stdout.partition("short test summary")[0], "the file that no test of its own left"
