"""The audit: a journal while a plan is applied, and one Parquet file with a row per step when it has been.

The journal is on disk before the first write to a node: a first line with the plan, and one line for each outcome. After a crash
it stays, and its last line may be torn; a step without an outcome may have been taken.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import socket
import tempfile
import time
import warnings
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from imgframe.errors import InputError

if TYPE_CHECKING:
    from imgframe.plans.plan import Plan
    from imgframe.plans.result import Result

VERSION = 1

ABOUT = b"imgframe_audit"
"""Key in the metadata of an audit's Parquet file: all of the plan but its tables, as JSON."""

_LINE_BYTES = 512
"""Room that is reserved for each outcome."""


class Journal:
    """The journal of one application; :meth:`finish` turns it into a Parquet file."""

    def __init__(self, folder: Path, stem: str, file: int) -> None:
        self._folder, self._stem, self._file = folder, stem, file
        self._problem: OSError | None = None
        self._close = weakref.finalize(self, os.close, file)

    @classmethod
    def begin(cls, path: str | os.PathLike[str], plan: Plan) -> Self:
        """A journal in the folder ``path`` that says on disk what is about to be done.

        Raises:
            InputError: ``path`` is not a folder, or cannot be written; nothing was done yet.
        """
        folder = Path(path)
        begun = time.time_ns()
        stem = f"{begun}-{plan.id}-{secrets.token_hex(4)}"
        columns = {name: plan.table[name].to_pylist() for name in plan.table.column_names}
        head = {"imgframe_audit": VERSION, "who": _who(), "begun": begun, **plan.about(), "steps": columns}
        line = json.dumps(head).encode() + b"\n"
        journal = folder / f"_{stem}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = os.open(journal, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise InputError(
                f"{str(path)!r} cannot hold an audit: {error.strerror}; nothing was done"
            ) from error
        made = cls(folder, stem, file)
        try:
            os.posix_fallocate(file, 0, len(line) + _LINE_BYTES * plan.table.num_rows)
            made._write(line)
            os.fsync(file)
            _sync_folder(folder)
        except OSError as error:
            made._close()
            journal.unlink(missing_ok=True)
            raise InputError(
                f"{str(path)!r} cannot hold an audit: {error.strerror}; nothing was done"
            ) from error
        return made

    def record(self, step: int, outcome: Mapping[str, Any]) -> None:
        """Write down the outcome of a step. A disk that is full by now costs the line, never the application."""
        if self._problem is None:
            try:
                self._write(json.dumps({**outcome, "step": step}).encode() + b"\n")
            except OSError as error:
                self._problem = error

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file, data) :]

    def finish(self, result: Result) -> None:
        """Replace the journal by a Parquet file; if that cannot be written, the journal stays and a warning says so."""
        final = self._folder / f"{self._stem}.parquet"
        journal = self._folder / f"_{self._stem}.jsonl"
        try:
            os.fsync(self._file)
            _write_parquet(final, _table(result))
            journal.unlink()
            _sync_folder(self._folder)
        except OSError as error:
            why = (self._problem or error).strerror
            warnings.warn(f"the audit is incomplete: {journal}: {why}", stacklevel=4)
        finally:
            self._close()


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a user id without a name, as in containers
        return f"uid {os.getuid()}@{socket.gethostname()}"


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _table(result: Result) -> pa.Table:
    """Columns: those of ``Result.steps``, with plan, who and observed_bytes (of the step's node)."""
    steps, outcomes, who = result.plan.table, result.outcomes, _who()
    table = steps.append_column("plan", pa.array([result.plan.id] * steps.num_rows, pa.string()))
    table = table.append_column("who", pa.array([who] * steps.num_rows, pa.string()))
    for name in outcomes.column_names[1:]:
        table = table.append_column(outcomes.schema.field(name), outcomes[name])
    observed = [result.observed.get(node) for node in steps["node"].to_pylist()]
    table = table.append_column("observed_bytes", pa.array(observed, pa.int64()))
    return table.replace_schema_metadata({ABOUT: json.dumps(result.plan.about())})


def _write_parquet(final: Path, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    handle, temporary = tempfile.mkstemp(prefix=".audit.", dir=final.parent)
    try:
        try:
            pq.write_table(table, temporary, compression="zstd")
            os.fsync(handle)
        finally:
            os.close(handle)
        Path(temporary).rename(final)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
