"""The plan that undoes what was deleted, while leases hold the content."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from imgframe import schema
from imgframe.errors import InputError

if TYPE_CHECKING:
    from imgframe.plans.plan import Plan


def undo_plan(plan: Plan, outcomes: pa.Table) -> Plan:
    """A plan of create steps for the records that an application of ``plan`` deleted.

    Raises:
        InputError: nothing was deleted, or the content was not held.
    """
    from imgframe.act.leases import undo_lease

    if plan.undo_for is None:
        raise InputError(
            "this plan cannot be undone: it was made without undo_for (as in prune(..., undo_for='2h'))"
        )
    statuses = dict(zip(outcomes["step"].to_pylist(), outcomes["status"].to_pylist(), strict=True))
    deleted = [
        row for row in plan.table.to_pylist() if row["action"] == "delete" and statuses[row["step"]] == "done"
    ]
    if not deleted:
        raise InputError("nothing was deleted, so there is nothing to undo")
    made = {
        "action": "create",
        "reason": f"undo of plan {plan.id}",
        "predicted_bytes": None,
        "options": json.dumps({"lease": undo_lease(plan.id)}),
    }
    rows = [{**row, **made, "step": number} for number, row in enumerate(deleted)]
    steps = schema.plan_table(
        "steps", {name: [row[name] for row in rows] for name in schema.PLANS["steps"].names}
    )
    kept = schema.plan_table("kept", {})
    return replace(
        plan, table=steps, kept_table=kept, freed=None, undo_for=None, made_at=time.time_ns(), id=""
    )
