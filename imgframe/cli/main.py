"""The application: every command, and the one place where errors become a sentence and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from imgframe.cli import acting, inspect, listing
from imgframe.errors import ImgframeError

app = typer.Typer(
    help="pandas for the container images on your nodes.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _version(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        from imgframe import __version__

        typer.echo(f"imgframe {__version__}")
        raise typer.Exit


COMMANDS = (
    *(listing.images, listing.nodes, inspect.collect, inspect.show),
    *(acting.prune, acting.apply, acting.tag, acting.pull, acting.ensure, acting.push),
)
for command in COMMANDS:
    app.command()(command)


class _NotYet:
    """Says for a moment that pandas is not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:  # noqa: ARG002 -- the import system's
        if name == "pandas":
            raise ImportError("pandas is not wanted yet")


def _start_arrow_alone() -> None:
    """Let pyarrow make its first array without importing pandas, which takes longer than listing a thousand images.

    pyarrow looks for pandas at its first array, once; it looks again when something is converted to pandas.
    """
    finder = _NotYet()
    sys.meta_path.insert(0, finder)
    try:
        import pyarrow as pa

        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


def main() -> None:
    """Run the command line; errors of ours become one sentence on stderr and an exit code."""
    try:
        _start_arrow_alone()
        app()
    except ImgframeError as error:
        print(f"imgframe: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"imgframe: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("imgframe: interrupted", file=sys.stderr)
        sys.exit(130)
