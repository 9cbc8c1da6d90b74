"""Every example in the README, in docs/ and in docstrings is run."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import imgframe

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(imgframe.__path__, "imgframe.")
    if "._proto" not in info.name and not info.name.endswith("__main__")
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_examples(page, tmp_path, monkeypatch):
    """The ``python`` blocks of a page run in order in one namespace; ``>>>`` lines must print what stands there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGFRAME_DOCS", "1")
    names = {"__name__": "__docs__"}
    text = page.read_text()
    for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        code, line = match.group(1), text[: match.start()].count("\n") + 1
        if ">>>" in code:
            example = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
            runner = doctest.DocTestRunner(optionflags=FLAGS)
            runner.run(example, clear_globs=False)
            names.update(example.globs)
            assert runner.failures == 0, f"{page.name}:{line}"
        else:
            exec(compile("\n" * line + code, str(page), "exec"), names)


@pytest.mark.parametrize("page", sorted({*PAGES, *ROOT.glob("*.md")}), ids=lambda page: page.name)
def test_the_files_that_a_page_names_are_there(page):
    named = re.findall(
        r"`((?:imgframe|tests|tools|docs|protos|notebooks|benchmarks)/[\w./*-]*)`", page.read_text()
    )
    assert [path for path in named if not any(ROOT.glob(path.rstrip("/")))] == []
    rooms = (
        re.findall(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \|", page.read_text(), re.MULTILINE)
        if page.stem == "architecture"
        else []
    )
    rooms = re.findall(r"`(\w+)`", " ".join(rooms))
    assert [room for room in rooms if f"imgframe.{room}" not in MODULES] == []


def test_every_room_is_in_the_architecture():
    page = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {name.split(".")[1] for name in MODULES if not name.startswith("imgframe._")} - {
        "accessor",
        "errors",
        "folders",
        "node",
    }
    assert [room for room in sorted(rooms) if f"`{room}`" not in page] == []
