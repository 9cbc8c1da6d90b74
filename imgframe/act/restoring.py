"""Undo: names that a plan deleted are put back while a lease holds their content."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from imgframe import schema
from imgframe.act.deleting import undo_lease
from imgframe.errors import Conflict, InputError, Missing
from imgframe.wire.records import BlobDescriptor

if TYPE_CHECKING:
    from imgframe.act.applying import Run, Step
    from imgframe.act.plan import Plan
    from imgframe.act.result import Result
    from imgframe.wire import Client


def undo_plan(result: Result) -> Plan:
    """A plan of create steps for what ``result`` deleted.

    Raises:
        InputError: nothing was deleted, or the content was not held.
    """
    from imgframe.act.plan import Plan

    if result.plan.undo_for is None:
        raise InputError(
            "this plan cannot be undone: it was made without undo_for (as in prune(..., undo_for='2h'))"
        )
    statuses = dict(
        zip(result.outcomes["step"].to_pylist(), result.outcomes["status"].to_pylist(), strict=True)
    )
    rows = [
        row
        for row in result.plan.table.to_pylist()
        if row["action"] == "delete" and statuses[row["step"]] == "done"
    ]
    if not rows:
        raise InputError("nothing was deleted, so there is nothing to undo")
    made = [
        {**row, "step": at, "action": "create", "reason": f"undo of plan {result.plan.id}", "predicted_bytes": None,
         "options": json.dumps({"lease": undo_lease(result.plan.id)})}
        for at, row in enumerate(rows)
    ]  # fmt: skip
    columns = {name: [row[name] for row in made] for name in schema.PLANS["steps"].names}
    return Plan(schema.plan_table("steps", columns), schema.plan_table("kept", {}), result.plan.nodes)


async def apply(run: Run, client: Client, node: str, steps: list[Step]) -> None:  # noqa: ARG001 -- as all actions
    """Put the names back, and end the leases of those namespaces in which all are back."""
    await run.each(steps, lambda step: _create(client, step))
    for namespace in {step["namespace"] for step in steps}:
        mine = [step for step in steps if step["namespace"] == namespace]
        if all(run.outcomes[step["step"]]["status"] in {"done", "gone"} for step in mine):
            for lease in {json.loads(step["options"] or "{}").get("lease") for step in mine} - {None}:
                with contextlib.suppress(Missing):  # expired, or ended before
                    await client.leases.delete(namespace, lease, sync=False)


async def _create(client: Client, step: Step) -> dict[str, Any]:
    namespace, name, digest = step["namespace"], step["name"], step["digest"]
    try:
        await client.content.info(namespace, digest)
    except Missing:
        return {
            "status": "failed",
            "message": f"{digest} is no longer in the store: it was not held, or not for long enough; pull it again",
        }
    target = BlobDescriptor(step["media_type"] or "", digest, step["target_size"] or 0)
    try:
        await client.images.create(namespace, name, target, json.loads(step["record_labels"] or "{}"))
    except Conflict:
        found = await client.images.get(namespace, name)
        if found.target.digest == digest:
            return {"status": "gone", "message": "it is there already", "before": digest, "after": digest}
        words = f"the name has {found.target.digest} by now; delete or rename that first"
        return {
            "status": "refused",
            "message": words,
            "before": found.target.digest,
            "after": found.target.digest,
        }
    return {"status": "done", "before": None, "after": digest}
