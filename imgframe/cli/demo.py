"""``imgframe demo``: the main job from end to end on a simulated fleet, on one page."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgframe.cli import terminal
from imgframe.errors import ImgframeError

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory
    from imgframe.plans import Plan
    from imgframe.simulator import Simulator

SEED = 20
AGE = "720h"


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for all files.")
    ] = Path("demo-report"),
    nodes: Annotated[int, typer.Option(min=1, help="Simulated nodes.")] = 12,
    days: Annotated[int, typer.Option(min=1, help="Days that the fleet runs.")] = 90,
    every: Annotated[int, typer.Option(min=1, help="Days from one collection to the next.")] = 9,
) -> None:
    """Simulate a fleet, collect it over months, filter, plan, prune and report; needs neither containerd nor root."""
    from imgframe import dataset, report
    from imgframe.folders import replaced

    clock = time.perf_counter()
    print(
        f"A simulated fleet of {nodes} nodes over {days} days, read like a real one: gRPC over unix sockets.\n"
    )
    with replaced(output, "report/report.json", "a folder of the demo") as folder:
        _live(folder, nodes, days, every)
        made = report.write(dataset.open_dataset(folder / "history"), folder / "report")
    totals = made.totals
    print(
        f"5. Report: {totals['image_records']:,} records on {totals['nodes']} nodes, {_size(totals['total_bytes'])} on disk now"
    )
    if totals["soonest_full_days"] is not None:
        print(f"   the first disk is full in {totals['soonest_full_days']:.0f} days if nothing is pruned")
    print(f"\nOpen {output}/report/index.html (charts, tables, report.json beside it).")
    print(
        f"Parquet: {output}/history (all collections), {output}/inventory (the last one), {output}/plan, {output}/audit."
    )
    print(f"This took {time.perf_counter() - clock:.0f} s.")


def _live(folder: Path, nodes: int, days: int, every: int) -> None:
    """Collect the fleet as it ages; on the last day filter, plan, prune, and collect again."""
    import imgframe as imf
    from imgframe import simulator

    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    clock, count = time.perf_counter(), 0
    with tempfile.TemporaryDirectory(prefix="imgframe-demo-") as scratch:
        cache = Path(scratch) / "cache.sqlite"
        for at, fleet in simulator.relive(days=days, nodes=nodes, seed=SEED, until=end, every=every):
            inventory = simulator.dated(imf.collect(fleet.nodes, cache=cache, progress=False), at)
            imf.dataset.append(folder / "history", inventory)
            count += 1
            if at == end:
                print(
                    f"1. Collect: {count} collections, the last of {_words(inventory)} ({time.perf_counter() - clock:.0f} s)"
                )
                _print(_nodes(inventory))
                inventory.save(folder / "inventory")
                after = _prune(inventory, fleet, folder, cache)
                imf.dataset.append(folder / "history", after)


def _words(inventory: Inventory) -> str:
    return repr(inventory)[len("<Inventory: ") : -1].partition(", collected")[0]


def _size(value: Any) -> str:
    return terminal.rounded(int(value))


def _print(rows: list[list[str]], most: int = 12) -> None:
    """The first rows of a table, indented, and an empty line."""
    cells = [[terminal.printable(cell) for cell in row] for row in rows[: most + 1]]
    terminal.print_table(cells, gap=3, indent="     ")
    print()


def _nodes(inventory: Inventory) -> list[list[str]]:
    from imgframe.capacity import by_node

    taken = by_node(inventory).dropna(subset=["node"]).set_index("node")
    rows = [["NODE", "CONTAINERD", "PLATFORM", "IMAGES", "ON DISK", "OF", "RECLAIMABLE"]]
    for row in inventory.nodes.itertuples():
        sums = taken.loc[row.node]
        sizes = [
            _size(value) for value in (sums["physical_bytes"], row.disk_total, sums["reclaimable_bytes"])
        ]
        rows.append([row.node, row.containerd_version, row.platform, str(sums["images"]), *sizes])
    return rows


def _prune(inventory: Inventory, fleet: Simulator, folder: Path, cache: Path) -> Inventory:
    """Filter, plan, apply; gives the inventory of the fleet afterwards."""
    import imgframe as imf

    old = imf.get_unused_images(inventory, imf.filter_until(AGE))
    print(
        f'2. Filter: imf.get_unused_images(inv, imf.filter_until("{AGE}")) leaves {len(old):,} of {len(inventory.images):,} records\n'
    )
    plan = imf.prune(old, inventory)
    plan.save(folder / "plan")
    print("3. Plan: imf.prune(old, inv); nothing has happened yet")
    _print_plan(plan)
    result = plan.apply(progress=False, audit=folder / "audit")
    after = imf.collect(fleet.nodes, cache=cache, progress=False)
    _compare(plan, result, inventory, after)
    return after


def _print_plan(plan: Plan) -> None:
    for line in plan.summary():
        print(f"   {line}")
    kept = plan.kept["reason"].astype("object").value_counts()
    print(f"   kept: {', '.join(f'{count:,} {reason}' for reason, count in kept.items()) or 'none'}")
    rows = [[node, namespace, name, _size(size)] for (node, namespace, name), size in _largest(plan.steps)]
    _print([["NODE", "NAMESPACE", "IMAGE", "FREES"], *rows])


def _largest(steps: pd.DataFrame, most: int = 5) -> list[tuple[Any, int]]:
    """What frees the most: the names of a digest together, under the most readable one."""
    names = steps["name"].astype("object")
    plain = steps[["predicted_bytes"]].assign(
        **{column: steps[column].astype("object") for column in ("node", "namespace", "digest", "name")},
        odd=names.str.startswith("sha256:") * 2 + names.str.contains("@", regex=False),
    )
    grouped = plain.sort_values(["odd", "name"]).groupby(["node", "namespace", "digest"])
    sums = grouped.agg(name=("name", "first"), size=("predicted_bytes", "sum")).reset_index()
    best = sums.sort_values(["size", "node", "name"], ascending=[False, True, True]).head(most)
    return [((row.node, row.namespace, row.name), int(row.size)) for row in best.itertuples(index=False)]


def _compare(plan: Plan, result: Any, before: Inventory, after: Inventory) -> None:
    """Print the bytes freed as predicted, as observed while deleting, and as the difference of two collections.

    Raises:
        ImgframeError: they differ.
    """
    result.raise_for_errors()
    predicted = plan.freed.total_bytes if plan.freed is not None else 0
    ways = {
        "predicted by the plan": predicted,
        "observed by apply": int(result.observed_bytes),
        "collected before - after": _held(before) - _held(after),
    }
    print(f"4. Apply: plan.apply() deleted {len(plan.steps):,} records; bytes freed, three ways:")
    _print([["BY", "BYTES"], *([name, f"{value:,}"] for name, value in ways.items())])
    if len(set(ways.values())) > 1:
        raise ImgframeError(f"the bytes differ: {ways}; please report this with the output above")


def _held(inventory: Inventory) -> int:
    from imgframe.reclaiming import breakdown

    parts = breakdown(inventory)
    return int(parts.loc[parts["part"] == "total", "size"].sum())
