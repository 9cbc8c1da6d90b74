"""Writes the pages of the documentation that follow from the code: the command line, the API reference, the picture.

``make docs`` runs it; ``--check`` only says whether docs/cli.md and docs/api/ are what it would write.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from docstrings import ROLE
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

FIRST = (
    "collect", "Inventory", "open_inventory", "filter_by_reference", "filter_by_label", "filter_until", "get_unused_images", "reclaim",
    "prune", "prune_to", "ensure", "Plan", "Result", "open_dataset", "explore",
)  # fmt: skip
"""The names that a newcomer needs."""

API = """# API reference

What `import imgframe as imf` offers. `dir(imf)` lists all of it, type checkers know it, and it loads on first use: importing
imgframe brings in neither pandas nor grpc nor matplotlib.

## The first fifteen names
"""

SUBJECTS = {
    "inventory": (
        "Nodes and inventories",
        ("Node", "load_nodes", "collect", "acollect", "Inventory", "open_inventory", "concat"),
    ),
    "plans": (
        "Plans and results",
        ("prune", "prune_to", "ensure", "pull", "push", "tag", "Plan", "open_plan", "undo", "undoable", "Result", "open_audit", "PullMode", "EnsuredImage",
         "get_existing_images", "resolve_digest", "stale", "irreplaceable"),
    ),
    "explorer": ("The explorer", ("explore",)),
}  # fmt: skip
"""Pages of names that no room of its own holds: file, title, names."""

MORE = {
    "filters": ("get_dangling_images", "get_unused_images", "select_images", "prune_candidates", "accessor.ImageAccessor"),
    "oci": ("read_index", "read_manifest", "read_image_config"),
    "reclaiming": ("resource_usage", "unpacked_image_size"),
}  # fmt: skip
"""Names from elsewhere on the page of a room."""


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


def reference() -> dict[str, str]:
    """docs/api/: file and text of the first page, of a page per room, and of the pages of names that belong to no room."""
    pages, names, rooms = {}, dict(imgframe._HOME), imgframe._ROOMS  # noqa: SLF001 -- the tables of names
    lines = {"Names": [], "Rooms": []}
    for file, (title, listed) in SUBJECTS.items():
        pages[file] = _page(f"# {title}", [f"imgframe.{name}" for name in listed])
        lines["Names"].append(f"| [{title}]({file}.md) | {', '.join(f'`{name}`' for name in listed)} |")
    for room, path in sorted(rooms.items()):
        module = importlib.import_module(path)
        exported = [name for name, home in names.items() if home == path]
        own = [
            name for name in getattr(module, "__all__", None) or _defined(module) if _documented(module, name)
        ]
        entries = [f"imgframe.{name}" for name in (*exported, *MORE.get(room, ()))]
        entries += [f"{path}.{name}" for name in own if name not in exported]
        about = f"# imf.{room} {{ #imgframe.{room} }}\n\n{_entry(path, 'show_root_heading: false', 'members: false')}"
        pages[room] = _page(about, entries)
        lines["Rooms"].append(f"| [`imf.{room}`]({room}.md) | {_first_line(module)} |")
    where = {name: file for file, text in pages.items() for name in names if f"::: imgframe.{name}\n" in text}
    if missing := sorted(set(names) - set(where)):
        raise SystemExit(f"tools/pages.py has no page for {', '.join(missing)}")
    first = [
        f"| [`{name}`]({where[name]}.md#imgframe.{name}) | {_first_line(getattr(imgframe, name))} |"
        for name in FIRST
    ]
    tables = [_table("name", "what it is", first)]
    tables += [f"## {title}\n\n{_table('page', 'what is on it', rows)}" for title, rows in lines.items()]
    return {"index": "\n".join([API, *tables]), **pages}


def _page(head: str, entries: list[str]) -> str:
    return "\n".join([head.rstrip() + "\n", *map(_entry, entries)])


def _table(left: str, right: str, rows: list[str]) -> str:
    return "\n".join([f"| {left} | {right} |", "|---|---|", *rows]) + "\n"


def _first_line(value: Any) -> str:
    """The first line of a docstring, its roles as code."""
    words = (inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " ")
    return ROLE.sub(r"`\1`", words).replace("``", "`").replace("|", "\\|")


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
    pages = {DOCS / "cli.md": command_line()}
    pages |= {DOCS / "api" / f"{name}.md": text for name, text in reference().items()}
    extra = set((DOCS / "api").glob("*.md")) - set(pages)
    if "--check" in words:
        stale = [path for path, text in pages.items() if not path.exists() or path.read_text() != text]
        names = ", ".join(str(path.relative_to(DOCS.parent)) for path in sorted({*stale, *extra}))
        print(f"out of date: {names}; make docs writes them" if names else "pages are current")
        return len(stale) + len(extra)
    (DOCS / "api").mkdir(exist_ok=True)
    for path in extra:
        path.unlink()
    for path, text in pages.items():
        path.write_text(text)
    picture(DOCS / "img" / "repositories.png")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
