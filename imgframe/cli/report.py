"""``imgframe report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgframe.cli import terminal
from imgframe.errors import InputError

if TYPE_CHECKING:
    from imgframe.dataset import Dataset
    from imgframe.inventory import Inventory

OVER_BUDGET = 5
"""Exit code: a rule of the budget is broken."""


def report(
    saved: Annotated[
        Path, typer.Argument(metavar="INVENTORY|DATASET", help="A saved inventory, or a dataset of them.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of the report; replaces an older report."),
    ],
    budget: Annotated[
        Path | None,
        typer.Option("--budget", metavar="RULES", help="rules.toml; exit code 5 if a rule is broken."),
    ] = None,
    max_age: Annotated[
        str | None,
        typer.Option(
            "--max-age",
            metavar="DURATION",
            help="Of a dataset: omit nodes that were last read longer before its newest collection, such as 720h.",
        ),
    ] = None,
) -> None:
    """Write a page, charts, Parquet, CSV and totals into a folder; with a budget, check it."""
    from imgframe.report import open_budget, write

    rules = open_budget(budget) if budget is not None else None
    made = write(opened(saved), output, budget=rules, max_age=max_age)
    totals = made.totals
    print(
        f"{totals['nodes']:,} nodes, {totals['image_records']:,} image records, {terminal.rounded(totals['total_bytes'])} on disk, "
        f"{terminal.rounded(totals['reclaimable_bytes'])} reclaimable"
    )
    print(f"report in {output}: open {output / 'index.html'}")
    for one in made.violations:
        terminal.complain(f"budget: {one.rule}: {one.words}")
    if made.violations:
        raise typer.Exit(OVER_BUDGET)


def opened(path: Path) -> Inventory | Dataset:
    """The inventory or the dataset in a folder.

    Raises:
        InputError: the folder is neither.
    """
    from imgframe.dataset import open_dataset
    from imgframe.inventory import open_inventory

    if (path / "nodes.parquet").is_file():
        return open_inventory(path)
    if any(path.glob("date=*")):
        return open_dataset(path)
    raise InputError(
        f"{str(path)!r} is neither a saved inventory (imgframe collect -o) nor a dataset (imgframe.dataset.append)"
    )
