"""The application: every command, and the one place where errors become a sentence and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from imgframe.cli import accounting, acting, demo, inspect, listing, remote, reporting
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
    *(accounting.df, accounting.reclaim, accounting.why),
    *(acting.prune, acting.apply, acting.tag, acting.pull, acting.ensure, acting.push),
    *(remote.stale, remote.irreplaceable),
    *(reporting.report, demo.demo),
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line; errors of ours become one sentence on stderr and an exit code."""
    try:
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
