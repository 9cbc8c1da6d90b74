"""Writes the pages of the documentation that follow from the code: the command line, the API reference, the picture.

``make docs`` runs it; ``--check`` only says whether docs/cli.md and docs/api.md are what it would write.
"""

from __future__ import annotations

import importlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

import imgframe
from imgframe.cli.main import app

DOCS = Path(__file__).parent.parent / "docs"

COMMANDS = """# Command line

Every command reads real nodes (`--address`, repeatable, or `CONTAINERD_ADDRESS`, or the usual sockets) and, where it only reads,
saved inventories (`--from DIR`). Errors go to stderr as one sentence. Exit codes: 0 done; 1 the request cannot be
carried out, or was declined; 2 a wrong command line; 3 some nodes, registries or steps failed, and the rest is shown or done;
4 no node could be read; 5 a budget is exceeded; 130 interrupted.
"""

API = """# API reference

What `import imgframe as imf` offers. Names load on first use: importing imgframe brings in neither pandas nor grpc nor
matplotlib. Rooms are modules of the same name (`imf.capacity`, `imf.charts`, ...).
"""


def command_line() -> str:
    """docs/cli.md: the help of every command as it prints it."""
    runner = CliRunner()
    parts = [COMMANDS]
    for name in ("", *typer.main.get_command(app).commands):  # type: ignore[attr-defined]
        words = [*([name] if name else []), "--help"]
        told = runner.invoke(
            app, words, prog_name="imgframe", env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"}
        )
        text = "\n".join(line.rstrip() for line in told.stdout.strip().splitlines())
        parts.append(f"## imgframe{f' {name}' if name else ''}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def reference() -> str:
    """docs/api.md: every public name, room by room, for mkdocstrings."""
    parts = [API]
    for room, exported in imgframe._ROOMS.items():  # noqa: SLF001 -- the one table of names
        parts.append(f"## imf.{room} {{ #imgframe.{room} }}\n")
        module = importlib.import_module(f"imgframe.{room}")
        parts.append(_entry(f"imgframe.{room}", "show_root_heading: false", "members: false"))
        own = [name for name in getattr(module, "__all__", ()) if _documented(module, name)]
        names = list(dict.fromkeys([*exported, *own])) or _defined(module)
        parts += [_entry(f"imgframe.{room}.{name}") for name in names]
    return "\n".join(parts)


def _entry(path: str, *options: str) -> str:
    lines = [f"::: {path}"]
    if options:
        lines += ["    options:", *(f"      {option}" for option in options)]
    return "\n".join(lines) + "\n"


def _documented(module: Any, name: str) -> bool:
    value = getattr(module, name)
    return callable(value) and bool(getattr(value, "__doc__", None))


def _defined(module: Any) -> list[str]:
    """Public functions and classes that a room without ``__all__`` defines itself."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
        and _documented(module, name)
    ]


def picture(path: Path) -> None:
    """The picture of the README: what fills the disk of a simulated node."""
    from imgframe import capacity, charts, collect, simulator

    end = datetime(2026, 3, 1, 6, tzinfo=UTC)
    with simulator.fleet(nodes=1, until=end) as fleet:
        inventory = collect(fleet.nodes, cache=False, progress=False)
    axes = charts.usage_by_repository(capacity.by_repository(inventory), most=10)
    axes.figure.set_size_inches(9, 4.2)
    path.parent.mkdir(exist_ok=True)
    axes.figure.savefig(path, dpi=110, metadata={"Software": None})


def main(words: list[str]) -> int:
    """Write the pages, or compare them."""
    pages = {DOCS / "cli.md": command_line(), DOCS / "api.md": reference()}
    if "--check" in words:
        stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text() != text]
        print(
            f"docs/{', docs/'.join(stale)} must be written again: make docs" if stale else "pages are current"
        )
        return len(stale)
    for path, text in pages.items():
        path.write_text(text)
    picture(DOCS / "img" / "repositories.png")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
