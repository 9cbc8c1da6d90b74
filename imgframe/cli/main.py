"""The application: every command, and the one place where errors become a sentence and an exit code."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from imgframe.cli import demo, disk_usage, images, inventory, plans, registries, report, terminal
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
    *(plans.prune, plans.apply, plans.tag, plans.pull, plans.ensure, plans.push),
    *(registries.stale, registries.irreplaceable),
    *(report.report, demo.demo),
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line; errors of ours become one sentence on stderr and an exit code."""
    _streams()
    _short_life()
    try:
        app()
    except ImgframeError as error:
        print(f"imgframe: {terminal.printable_lines(str(error))}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        words = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        print(f"imgframe: {terminal.printable_lines(words)}", file=sys.stderr)
        sys.exit(1)


def _short_life() -> None:
    """What a process of a second need not do: each of these takes up to 0.1 s of it."""
    gc.set_threshold(100_000)  # what is imported is no garbage
    atexit.register(gc.freeze)  # nor is it at the end
    os.environ.setdefault(
        "OPENBLAS_NUM_THREADS", "1"
    )  # numpy's threads wait for work by spinning; there is none


def _streams() -> None:
    """Names are UTF-8 whatever the locale says, as Go's tools print them; a stream may be closed from the start."""
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 -- for as long as the process
    if sys.stdout is None:
        print("imgframe: standard output is closed; send it to a file, a pipe or /dev/null", file=sys.stderr)
        sys.exit(1)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    warnings.showwarning = lambda message, *_: print(f"imgframe: {message}", file=sys.stderr)
