"""Plan: what would be done, as data. Nothing has happened until :meth:`Plan.apply`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from imgframe import _loop, schema
from imgframe.errors import SchemaError
from imgframe.folders import replaced
from imgframe.inventory import human_bytes
from imgframe.node import Node
from imgframe.plans.result import Result

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.act.apply import Application
    from imgframe.plans.audit import Journal
    from imgframe.plans.saved_plan import SavedReclaim
    from imgframe.reclaiming import Reclaim

FREED = ("blobs", "snapshots", "ingests", "held", "unknown", "missing", "unread")
NUMBERS = ("content_bytes", "snapshot_bytes", "ingest_bytes", "garbage_bytes", "inodes", "total_bytes")


@dataclass(frozen=True, eq=False)
class Plan:
    """What would be done to images on nodes, and what is kept and why.

    ``steps``: a frame of the steps in order: step, action (delete, create, tag, pull, ensure, push), node, namespace, name,
    digest (on which the step was decided), to, media_type, target_size, record_labels, reason, predicted_bytes, options (JSON).
    ``kept``: node, namespace, name, digest, reason. ``freed``: a :class:`~imgframe.Reclaim`, or None where nothing is deleted.
    ``shortfall_bytes``: what the plan frees less than the target of :func:`~imgframe.prune_to`; None: it has no target.
    ``notes``: sentences about that. ``nodes``: the nodes by name; ``stores``: the uuids of their stores, and steps on another
    store are refused. ``id``: the hash of the steps, compared when the plan is opened and when it is applied. ``undo_for``:
    seconds for which deleted content is held so that it can be restored; None: not.

    A Plan can be saved, reviewed and applied tomorrow: :meth:`apply` compares every step with its node at that moment.
    """

    table: pa.Table = field(repr=False)
    kept_table: pa.Table = field(repr=False)
    nodes: Mapping[str, Node] = field(repr=False)
    freed: Reclaim | SavedReclaim | None = field(default=None, repr=False)
    undo_for: int | None = None
    made_at: int = field(default_factory=time.time_ns)
    id: str = ""
    stores: Mapping[str, str] = field(default_factory=dict, repr=False)
    shortfall_bytes: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", self._hash())

    def _hash(self) -> str:
        """The hash of the steps, and of all else by which they are applied."""
        text = hashlib.sha256(json.dumps([self.made_at, self.undo_for, sorted(self.stores.items())]).encode())
        for column in self.table.itercolumns():
            values = column.cast(pa.string()).to_numpy()  # to_pylist takes a hundred times as long
            text.update(json.dumps(values.tolist()).encode())
        return text.hexdigest()[:16]

    def check(self) -> None:
        """Compare the id with the hash of the steps.

        Raises:
            SchemaError: the plan was changed since it was made.
        """
        if self.id != self._hash():
            raise SchemaError(f"plan {self.id} was changed after it was made; make it again")

    @property
    def steps(self) -> pd.DataFrame:
        """The steps in order."""
        return schema.to_frame(self.table)

    @property
    def kept(self) -> pd.DataFrame:
        """What was asked for and is kept, and why."""
        return schema.to_frame(self.kept_table)

    def waterfall(self, before: int | None = None) -> pd.DataFrame:
        """The bytes of the plan as steps for :func:`imgframe.charts.waterfall`: before, freed by reason, held, after.

        ``before``: bytes of the store; by default what the plan frees and what its images leave behind.
        """
        import pandas as pd

        steps = self.steps
        freed = (
            steps.assign(short=[str(reason).partition(";")[0] for reason in steps["reason"]])
            .groupby("short")["predicted_bytes"]
            .sum()
        )
        sizes = [] if self.freed is None else self.freed.arrow("held")["size"].to_pylist()
        held = sum(size or 0 for size in sizes)
        total = int(freed.sum())
        start = total + held if before is None else before
        rows = [("before", start, "total")]
        rows += [
            (str(reason), -int(value), "freed")
            for reason, value in freed.sort_values(ascending=False).items()
            if value
        ]
        rows += [("held", -held, "held")] if held else []
        rows.append(("after", start - total, "total"))
        return pd.DataFrame(rows, columns=["step", "bytes", "kind"])

    def about(self) -> dict[str, Any]:
        """All but the tables, as JSON types."""
        return {
            "id": self.id,
            "made_at": self.made_at,
            "undo_for": self.undo_for,
            "stores": dict(self.stores),
            "shortfall_bytes": self.shortfall_bytes,
            "notes": list(self.notes),
            "nodes": {
                name: {
                    "address": node.address,
                    "labels": dict(node.labels),
                    "namespaces": list(node.namespaces),
                }
                for name, node in self.nodes.items()
            },
            "freed": None if self.freed is None else {name: getattr(self.freed, name) for name in NUMBERS},
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the plan into the folder ``path``: ``steps.parquet``, ``kept.parquet``, ``plan.json`` and what it frees.

        The folder is written whole or not at all; credentials are never in a plan.

        Raises:
            InputError: ``path`` exists and is not a saved plan.
        """
        import pyarrow.parquet as pq

        about = {"imgframe_plan": schema.VERSION, **self.about()}
        with replaced(path, "plan.json", "a saved plan") as folder:
            pq.write_table(self.table, folder / "steps.parquet", compression="zstd")
            pq.write_table(self.kept_table, folder / "kept.parquet", compression="zstd")
            if self.freed is not None:
                for name in FREED:
                    pq.write_table(
                        self.freed.arrow(name), folder / f"freed_{name}.parquet", compression="zstd"
                    )
            (folder / "plan.json").write_text(
                json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8"
            )
        return Path(path)

    def apply(
        self,
        *,
        progress: bool | None = None,
        max_parallel: int = 16,
        audit: str | os.PathLike[str] | None = None,
        docker_config: Any = None,
        timeout: float = 600.0,
        registry_timeout: float = 60.0,
    ) -> Result:
        """Apply the plan: the only write in imgframe. Gives a :class:`~imgframe.Result`, whatever happened to each step.

        Every step is compared with its node first and refused if the record moved, is now used or pinned; what is gone
        already counts as done. No delete is sent more than a second after the node was looked at. A node that is lost is waited
        for, up to 30 seconds; a delete whose outcome cannot be learnt is ``unknown``. On a node whose store is not the one for
        which the plan was made, every step is refused.

        All nodes are worked on at the same time. A plan may mix actions: on each node the steps are grouped by action, in the
        order in which the actions first appear in the plan, and a group begins when the one before it has ended. An interrupt
        stops after the steps in flight; the Result says what was done and has ``interrupted`` set.

        Args:
            progress: bars; by default on a terminal or in a notebook.
            max_parallel: steps at a time on each node.
            audit: a folder to which one Parquet file with a row per step is added. A journal there says what is about to be
                done before the first write, and stays if the process dies (:func:`open_audit`).
            docker_config: takes the place of the one in the steps, as in :func:`imgframe.resolve_digest`.
            timeout: deadline of each call to a node, in seconds.
            registry_timeout: seconds in which a registry must send or accept something, else the request has failed.

        Raises:
            SchemaError: the steps were changed after the plan was made.
            InputError: the audit cannot be written; nothing was done.
        """
        application, journal = self._begin(
            audit, max_parallel, timeout, registry_timeout, progress=progress, docker_config=docker_config
        )
        interrupted = False
        try:
            _loop.run(application.run())
        except KeyboardInterrupt:
            interrupted = True
        return self._result(application, journal, interrupted=interrupted)

    async def aapply(
        self,
        *,
        progress: bool | None = None,
        max_parallel: int = 16,
        audit: str | os.PathLike[str] | None = None,
        docker_config: Any = None,
        timeout: float = 600.0,
        registry_timeout: float = 60.0,
    ) -> Result:
        """The awaitable twin of :meth:`apply`.

        When cancelled, it ends after the steps in flight, and ``result`` of the CancelledError is the Result.
        """
        application, journal = self._begin(
            audit, max_parallel, timeout, registry_timeout, progress=progress, docker_config=docker_config
        )
        try:
            await _loop.arun(application.run())
        except asyncio.CancelledError as error:
            error.result = self._result(application, journal, interrupted=True)  # type: ignore[attr-defined]
            raise
        return self._result(application, journal, interrupted=False)

    def _begin(
        self, audit: str | os.PathLike[str] | None, *limits: Any, **options: Any
    ) -> tuple[Application, Journal | None]:
        """An application and its journal, once the plan is known to be what it was."""
        from imgframe.act.apply import Application
        from imgframe.plans.audit import Journal

        self.check()
        journal = None if audit is None else Journal.begin(audit, self)
        record = None if journal is None else journal.record
        return Application(self, *limits, record=record, **options), journal

    def _result(self, application: Application, journal: Journal | None, *, interrupted: bool) -> Result:
        known, not_begun = application.outcomes, {"status": "stopped", "message": "not begun"}
        rows = [{"step": step, **known.get(step, not_begun)} for step in self.table["step"].to_pylist()]
        columns = {name: [row.get(name) for row in rows] for name in schema.PLANS["outcomes"].names}
        outcomes = schema.plan_table("outcomes", columns)
        result = Result(
            self,
            outcomes,
            application.observed,
            interrupted,
            application.held_until,
            application.clock_offsets,
        )
        if journal is not None:
            journal.finish(result)
        return result

    def undo(self) -> Plan:
        """A Plan that puts back what applications of this plan deleted, in whichever process they ran; as :meth:`Result.undo`.

        Only what the leases on the nodes still hold (``prune(..., undo_for="2h")``) and is not there now becomes a step; ``kept``
        says why not for the others.

        Raises:
            InputError: the plan was made without ``undo_for``, nothing was deleted, or the time is over.
        """
        from imgframe.plans.undo import undo_plan

        return undo_plan(self)

    def summary(self) -> list[str]:
        """What the plan does, in a few lines of text."""
        actions = [word for word in self.table["action"].to_pylist() if word is not None]
        words = [f"{actions.count(action):,} to {action}" for action in dict.fromkeys(actions)] or [
            "no steps"
        ]
        lines = [f"Plan {self.id}: {', '.join(words)}, {self.kept_table.num_rows:,} kept"]
        if self.freed is not None:
            unknown, unread = (self.freed.arrow(name).num_rows for name in ("unknown", "unread"))
            how = " at most" if unread else "" if unknown else " exactly"
            lines.append(
                f"frees {human_bytes(self.freed.total_bytes)}{how}: {human_bytes(self.freed.content_bytes)} of content, "
                f"{human_bytes(self.freed.snapshot_bytes)} of snapshots, {self.freed.inodes:,} inodes"
            )
            if unknown:
                lines.append(f"and {unknown} snapshots whose size was not collected (counted as 0)")
            if unread:
                lines.append(
                    f"at most, because lists of these stores could not be read ({unread}) and may hold some of it"
                )
            if self.undo_for is not None:
                lines.append(
                    f"the bytes are freed only after {self.undo_for} s; until then undo restores the names"
                )
        lines += self.notes
        return lines

    def __repr__(self) -> str:
        reasons: dict[str, int] = {}
        for reason in self.kept_table["reason"].to_pylist():
            reasons[reason] = reasons.get(reason, 0) + 1
        lines = self.summary() + [f"kept: {count:,} {reason}" for reason, count in reasons.items()]
        shown = self.steps[["action", "node", "namespace", "name", "predicted_bytes", "reason"]].head(10)
        return "\n".join([*lines, *([shown.to_string(index=False, max_colwidth=60)] if len(shown) else [])])

    def _repr_html_(self) -> str:
        from html import escape

        lines = "<br>".join(escape(line) for line in self.summary())
        tables = [self.steps.drop(columns=["options", "record_labels", "media_type", "target_size"])]
        tables += [self.kept] if self.kept_table.num_rows else []
        return f"<p><b>{lines}</b></p>" + "".join(
            frame.to_html(max_rows=20, index=False, escape=True) for frame in tables
        )
