"""Result: what became of each step of a Plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from imgframe import schema
from imgframe.errors import ActionError
from imgframe.inventory import human_bytes

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.plans.plan import Plan

_MINUTE = 60
GOOD = ("done", "gone")
"""Statuses after which the state is the wanted one."""


@dataclass(frozen=True, eq=False)
class Result:
    """The steps of a plan with what became of each.

    ``steps``: the plan's steps with status (done; gone: nothing was left to do; refused: the node changed since the plan;
    failed; unknown: the node was lost before it said; stopped: not begun), message, seconds, started_at, before and after (digests on the node), and for pull, ensure and
    push remote, snapshotter, fetched_bytes, present_bytes, via. ``observed_bytes``: bytes that really disappeared from the
    nodes (<NA> where the node was lost). ``interrupted``: the user stopped it.
    ``held_until``: by node, when what was deleted is no longer held for undo [s since the epoch, by the node's clock].
    ``clock_offsets``: by node, how far its clock is ahead of this machine's [s].
    """

    plan: Plan = field(repr=False)
    outcomes: pa.Table = field(repr=False)
    observed: dict[str, int | None] = field(default_factory=dict, repr=False)
    interrupted: bool = False
    held_until: dict[str, int] = field(default_factory=dict, repr=False)
    clock_offsets: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def steps(self) -> pd.DataFrame:
        """The plan's steps, each with its outcome."""
        steps, outcomes = self.plan.steps, schema.to_frame(self.outcomes)
        return steps.merge(outcomes, on="step", how="left", validate="one_to_one")

    @property
    def ensured(self) -> pd.DataFrame:
        """The images that an ensure or a pull provided, as rows of :class:`~imgframe.EnsuredImage`.

        Columns: node, namespace, ref (what was asked for), name (of the record), digest, snapshotter (NA: not unpacked) and
        remote (whether a registry was asked).
        """
        steps = self.steps
        rows = steps[steps["action"].isin(["ensure", "pull"]) & (steps["status"] == "done")]
        rows = rows.assign(
            ref=rows["name"], name=rows["record"], digest=rows["after"], remote=rows["remote"].notna()
        )
        columns = ["node", "namespace", "ref", "name", "digest", "snapshotter", "remote"]
        return rows[columns].reset_index(drop=True)

    @property
    def failed(self) -> pd.DataFrame:
        """Steps that were refused, failed, not begun, or whose outcome is unknown."""
        steps = self.steps
        return steps[~steps["status"].isin(GOOD)]

    @property
    def observed_bytes(self) -> Any:
        """Bytes that disappeared from all nodes together; ``pandas.NA`` if one of them was lost."""
        import pandas as pd

        known = [value for value in self.observed.values() if value is not None]
        return sum(known) if len(known) == len(self.observed) else pd.NA

    @property
    def ok(self) -> bool:
        """Whether every step is done or had nothing to do."""
        return all(status in GOOD for status in self.outcomes["status"].to_pylist())

    def raise_for_errors(self) -> None:
        """Raise :class:`~imgframe.errors.ActionError` if a step was refused, failed or not begun."""
        words = self.outcomes.select(["step", "status", "message"])
        bad = [row for row in words.to_pylist() if row["status"] not in GOOD]
        if bad:
            names = self.plan.table["name"].to_pylist()
            first = bad[0]
            what = f"{names[first['step']]!r} {first['status']}: {first['message']}"
            raise ActionError(f"{len(bad)} of {self.outcomes.num_rows} steps were not done; {what}", self)

    def undo(self) -> Plan:
        """A Plan that puts the deleted names back; possible while the content is held (``prune(..., undo_for="2h")``).

        It is made of what the nodes hold and what is there now: every record of the plan that is gone and held comes back,
        whatever the status of its step says.

        Raises:
            InputError: the plan was made without ``undo_for``, nothing was deleted, or the time is over.
        """
        from imgframe.plans.undo import undo_plan

        rows = self.outcomes.select(["step", "status"]).to_pylist()
        return undo_plan(self.plan, frozenset(row["step"] for row in rows if row["status"] == "done"))

    def time_notes(self) -> list[str]:
        """Until when an undo is possible, and which nodes have another time than this machine, in a few lines of text."""
        lines = []
        if self.held_until:
            until = datetime.fromtimestamp(min(self.held_until.values()), UTC)
            lines.append(
                f"held for undo until {until:%Y-%m-%d %H:%M:%S} UTC by the node's clock (plan {self.plan.id})"
            )
        for node, offset in self.clock_offsets.items():
            if abs(offset) > _MINUTE:
                way = "ahead of" if offset > 0 else "behind"
                lines.append(f"the clock of {node} is {abs(offset):,.0f} s {way} this machine's")
        return lines

    def __repr__(self) -> str:
        statuses = self.outcomes["status"].to_pylist()
        counts = (
            ", ".join(f"{statuses.count(word):,} {word}" for word in dict.fromkeys(statuses))
            or "nothing to do"
        )
        lines = [f"Result of plan {self.plan.id}: {counts}{' (interrupted)' if self.interrupted else ''}"]
        if self.plan.freed is not None:
            seen = self.observed_bytes
            freed = human_bytes(seen) if isinstance(seen, int) else "unknown"
            lines.append(f"freed {freed}, predicted {human_bytes(self.plan.freed.total_bytes)}")
        lines += self.time_notes()
        bad = self.failed[["node", "name", "status", "message"]].head(10)
        return "\n".join([*lines, *([bad.to_string(index=False, max_colwidth=80)] if len(bad) else [])])

    def _repr_html_(self) -> str:
        from html import escape

        lines = "<br>".join(map(escape, [*repr(self).splitlines()[:2], *self.time_notes()]))
        frame = self.steps[["step", "action", "node", "namespace", "name", "status", "message", "seconds"]]
        return f"<p><b>{lines}</b></p>{frame.to_html(max_rows=20, index=False, escape=True)}"
