"""Every notebook runs from top to bottom, on the simulator and on real daemons, and is stored as its twin says."""

import importlib.util
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from testbed import images
from testbed.daemons import Daemon

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("[0-9]*.py"))
READERS = [name for name in NAMES if not name.startswith("06")]

spec = importlib.util.spec_from_file_location("notebook_runner", ROOT / "tools" / "notebooks.py")
runner = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runner)

# the kernel is another process; what it says of its transport is no matter of ours
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def stored(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def spoken(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """What each code cell printed, ids of plans left out."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        re.sub(
            r"\b[0-9a-f]{16}\b",
            "ID",
            "".join(one.text for one in cell.outputs if one.output_type == "stream"),
        ).split("\n")
        for cell in cells
    ]


def execute(name: str, monkeypatch, tmp_path, **environment: str) -> nbformat.NotebookNode:
    for variable in ("IMGFRAME_NODE", "IMGFRAME_RELEASE", "CONTAINERD_ADDRESS", "CONTAINERD_NAMESPACE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    return runner.run(runner.read(FOLDER / f"{name}.py"), timeout=240)


def fill(daemon: Daemon, folder: Path) -> None:
    """A few images that share layers, two names of one of them, and one of several platforms."""
    made = [image for _, image in images.generated(12, seed=3)]
    named = [(f"registry.example/team/app:1.{number}.0", image) for number, image in enumerate(made)]
    named.append(("registry.example/kept/again:1.0.0", named[0][1]))
    named.append(("registry.example/rich/app:2.0.0", images.rich_index("notebook")))
    images.write_archive(folder / "images.tar", named)
    daemon.ctr("images", "import", "--snapshotter", "overlayfs", folder / "images.tar")


def test_there_are_six_notebooks():
    assert [name[:2] for name in NAMES] == ["01", "02", "03", "04", "05", "06"]


@pytest.mark.parametrize("name", NAMES)
def test_twin_and_notebook_agree(name):
    twin, notebook = runner.read(FOLDER / f"{name}.py"), stored(name)
    assert [(cell.cell_type, cell.source) for cell in twin.cells] == [
        (cell.cell_type, cell.source) for cell in notebook.cells
    ]
    assert notebook.metadata["jupytext"]["formats"] == "ipynb,py:percent"


@pytest.mark.parametrize("name", NAMES)
def test_stored_with_outputs_and_without_traces_of_a_machine(name):
    notebook = stored(name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    assert all(cell.execution_count == place for place, cell in enumerate(code, 1))
    assert sum(bool(cell.outputs) for cell in code) >= len(code) / 2
    assert sum(len(cell.source.split()) for cell in prose) > 150
    outputs = "\n".join(str(cell.outputs) for cell in code)
    assert "Traceback" not in outputs
    assert not [one for cell in code for one in cell.outputs if one.get("name") == "stderr"]
    for trace in (
        "/tmp",
        "/home/",
        "/root",
        "/work",
        "/var/",
        "site-packages",
        socket.gethostname(),
        sys.prefix,
    ):
        assert trace not in re.sub(r"[A-Za-z0-9+/=]{200,}", "", outputs), trace


@pytest.mark.parametrize("name", NAMES)
def test_runs_on_the_simulator_and_says_what_is_stored(name, monkeypatch, tmp_path):
    executed = execute(name, monkeypatch, tmp_path)
    assert spoken(executed) == spoken(stored(name))


@pytest.mark.parametrize("name", READERS)
def test_runs_on_a_real_daemon(name, fresh_daemon, monkeypatch, tmp_path):
    daemon = fresh_daemon()
    fill(daemon, tmp_path)
    before = daemon.ctr("images", "ls", "-q")
    execute(name, monkeypatch, tmp_path, IMGFRAME_NODE=str(daemon.socket))
    after = daemon.ctr("images", "ls", "-q")
    assert after == before, "every notebook leaves the names as it found them"


def test_a_release_is_ensured_on_a_real_daemon(fresh_daemon, registry, monkeypatch, tmp_path):
    daemon = fresh_daemon()
    release = f"{registry.host}/team/rich:1.0 {registry.host}/team/child:1"
    executed = execute(
        NAMES[-1], monkeypatch, tmp_path, IMGFRAME_NODE=str(daemon.socket), IMGFRAME_RELEASE=release
    )
    told = [line for cell in spoken(executed) for line in cell]
    assert "2 steps, all done" in told
    assert "fetched by the second run: 0 bytes" in told
    assert daemon.ctr("images", "ls", "-q") == "", "it removes what it brought"


def test_jupytext_pairs_them(tmp_path):
    """The pairing of jupytext.toml is what the notebooks have: a sync changes nothing but times."""
    shutil.copytree(FOLDER, tmp_path / "notebooks")
    copy = tmp_path / "notebooks"
    subprocess.run(
        [sys.executable, "-m", "jupytext", "--sync", *sorted(map(str, copy.glob("*.ipynb")))],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    for name in NAMES:
        kept = (copy / f"{name}.py").read_text()
        assert runner.read(copy / f"{name}.py").cells == runner.read(FOLDER / f"{name}.py").cells
        assert (
            kept.partition("# %% [markdown]")[2]
            == (FOLDER / f"{name}.py").read_text().partition("# %% [markdown]")[2]
        )
