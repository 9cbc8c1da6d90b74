"""The application: every command, and the one place where an error becomes a sentence and an exit code."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from imgframe.cli import demo, disk_usage, images, inventory, plans, registries, report, terminal, undo
from imgframe.errors import ImgframeError

app = typer.Typer(
    help="pandas for the container images on your nodes.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from imgframe import __version__

        typer.echo(f"imgframe {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Options without a command."""


COMMANDS = (
    *(images.images, images.nodes, inventory.collect, inventory.show),
    *(disk_usage.df, disk_usage.reclaim, disk_usage.why),
    *(plans.prune, plans.apply, undo.undo, plans.tag, plans.pull, plans.ensure, plans.push),
    *(registries.stale, registries.irreplaceable),
    *(report.report, demo.demo),
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line; imgframe's errors become one sentence on stderr and an exit code."""
    _prepare_streams()
    _save_time()
    try:
        app()
    except (ImgframeError, OSError) as error:
        message = str(error)
        if isinstance(error, OSError) and error.filename and error.strerror:
            message = f"{error.filename}: {error.strerror}"
        terminal.complain(message, lines=True)
        sys.exit(1)


def _save_time() -> None:
    """Omit what a process of a second does not need; each of these takes up to 0.1 s."""
    gc.set_threshold(100_000)  # imported modules are not garbage
    atexit.register(gc.freeze)  # nor are they at exit
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's threads spin while they wait for work


def _prepare_streams() -> None:
    """Write UTF-8 in every locale, as Go's tools do; cope with streams that are closed from the start."""
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 -- for as long as the process
    if sys.stdout is None:
        terminal.complain("standard output is closed; redirect it to a file, a pipe or /dev/null")
        sys.exit(1)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    warnings.showwarning = lambda message, *_: terminal.complain(str(message))
