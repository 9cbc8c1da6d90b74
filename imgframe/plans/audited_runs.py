"""Audits read back: which applications there were, also those whose process died, and what became of their steps."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from imgframe import schema
from imgframe.errors import SchemaError
from imgframe.plans.audit import ABOUT, VERSION
from imgframe.plans.plan import Plan
from imgframe.plans.saved_plan import restored

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class AuditedRun:
    """One application as its audit has it; ``finished``: its process lived to the end."""

    plan: Plan
    who: str
    outcomes: dict[int, dict[str, Any]]
    finished: bool


def audited_runs(path: str | os.PathLike[str]) -> list[AuditedRun]:
    """The applications in an audit: in a folder, or in one of its files; oldest first.

    A journal without a whole first line is left out: nothing had been done yet.

    Raises:
        SchemaError: it is not an audit, or was changed.
    """
    where = Path(path)
    files = (
        [where] if where.is_file() else sorted([*where.glob("*.parquet"), *where.glob("_*.jsonl")], key=_stem)
    )
    if not files:
        raise SchemaError(f"{str(path)!r} is neither a saved plan nor an audit")
    runs = [_read_journal(file) if file.suffix == ".jsonl" else _read_parquet(file) for file in files]
    return [run for run in runs if run is not None]


def _stem(file: Path) -> str:
    return file.stem.lstrip("_")


def _read_journal(file: Path) -> AuditedRun | None:
    lines = file.read_bytes().split(b"\n")[:-1]  # what follows the last line feed is torn, or reserved room
    if not lines:
        return None
    try:
        head, outcomes = json.loads(lines[0]), list(map(_outcome, lines[1:]))
        steps, who = head["steps"], head["who"]
        version = head["imgframe_audit"]
        rows = {row["step"]: row for row in outcomes if row is not None}
        if version != VERSION:
            raise SchemaError(
                f"{file} is an audit of version {version!r}; this imgframe reads version {VERSION}"
            )
        table = schema.plan_table("steps", {name: steps[name] for name in schema.PLANS["steps"].names})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, pa.ArrowException) as error:
        raise SchemaError(f"{file} is not the journal of an audit: {error}") from error
    return AuditedRun(restored(head, table, str(file)), str(who), rows, finished=False)


def _outcome(line: bytes) -> dict[str, Any] | None:
    """The outcome in a line of a journal; None if the system died before the line was on disk."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int else None


def _read_parquet(file: Path) -> AuditedRun:
    import pyarrow.parquet as pq

    try:
        read = pq.read_table(file)
        about = json.loads((read.schema.metadata or {})[ABOUT])
        table = schema.plan_table("steps", {name: read[name] for name in schema.PLANS["steps"].names})
        names = schema.PLANS["outcomes"].names
        rows = {row["step"]: row for row in read.select(names).to_pylist()}
        who = next(iter(read["who"].to_pylist()), "")
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException) as error:
        raise SchemaError(f"{file} is not an audit: {error}") from error
    return AuditedRun(restored(about, table, str(file)), who, rows, finished=True)


def open_audit(path: str | os.PathLike[str]) -> pd.DataFrame:
    """What an audit knows, one row per step and application: the columns of ``Result.steps`` with plan and who.

    ``path``: the folder given as ``audit=``, or one of its files. Where the process died before an outcome was recorded, the
    status is ``unknown``: the step may have been taken.

    Raises:
        SchemaError: it is not an audit, or was changed.
    """
    import pandas as pd

    lost = {"status": "unknown", "message": "the run ended before this outcome was recorded"}
    frames = []
    for run in audited_runs(path):
        rows = [{**run.outcomes.get(step, lost), "step": step} for step in run.plan.table["step"].to_pylist()]
        names = schema.PLANS["outcomes"].names
        outcomes = schema.plan_table("outcomes", {name: [row.get(name) for row in rows] for name in names})
        frame = run.plan.steps.merge(schema.to_frame(outcomes), on="step", how="left")
        frames.append(frame.assign(plan=run.plan.id, who=run.who))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
