"""The audit log: one Parquet file per applied plan, one row per step."""

from __future__ import annotations

import getpass
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from imgframe.plans.result import Result


def write_audit(path: str | os.PathLike[str], result: Result) -> Path:
    """Add a file to the folder ``path``: plan, who (user@host), and the steps with their outcomes, and give the file.

    Columns: plan, who, those of ``Result.steps`` and observed_bytes (of the step's node).
    """
    import pyarrow.parquet as pq

    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    steps, outcomes = result.plan.table, result.outcomes
    try:
        who = f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a user id without a name, as in containers
        who = f"uid {os.getuid()}@{socket.gethostname()}"
    table = steps.append_column("plan", pa.array([result.plan.id] * steps.num_rows, pa.string()))
    table = table.append_column("who", pa.array([who] * steps.num_rows, pa.string()))
    for name in outcomes.column_names[1:]:
        table = table.append_column(outcomes.schema.field(name), outcomes[name])
    observed = [result.observed.get(node) for node in steps["node"].to_pylist()]
    table = table.append_column("observed_bytes", pa.array(observed, pa.int64()))
    handle, temporary = tempfile.mkstemp(prefix=".audit.", dir=folder)
    os.close(handle)
    try:
        pq.write_table(table, temporary, compression="zstd")
        begun = min(
            (value for value in outcomes["started_at"].cast("int64").to_pylist() if value is not None),
            default=0,
        )
        final = folder / f"{begun}-{result.plan.id}.parquet"
        Path(temporary).rename(final)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return final
