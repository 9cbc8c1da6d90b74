"""Tagging: another name for the same target."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imgframe.errors import Conflict, Missing

if TYPE_CHECKING:
    from imgframe.act.applying import Run, Step
    from imgframe.wire import Client


async def apply(run: Run, client: Client, node: str, steps: list[Step]) -> None:  # noqa: ARG001 -- as all actions
    """Give the records their further names."""
    await run.each(steps, lambda step: _tag(client, step))


async def _tag(client: Client, step: Step) -> dict[str, Any]:
    namespace = step["namespace"]
    try:
        source = await client.images.get(namespace, step["name"])
    except Missing:
        return {"status": "refused", "message": f"{step['name']} is not there any more; collect again"}
    if source.target.digest != step["digest"]:
        words = f"{step['name']} has {source.target.digest} now, the plan was made for {step['digest']}; collect again"
        return {"status": "refused", "message": words}
    try:
        await client.images.create(namespace, step["to"], source.target, {})
    except Conflict:
        return await _move(client, step, source.target)
    return {"status": "done", "before": None, "after": source.target.digest}


async def _move(client: Client, step: Step, target: Any) -> dict[str, Any]:
    """The name exists: nothing to do, or it moves if the plan knew its old target."""
    found = await client.images.get(step["namespace"], step["to"])
    known = json.loads(step["options"] or "{}").get("replaces")
    if found.target.digest == target.digest:
        return {
            "status": "gone",
            "message": "it is there already",
            "before": target.digest,
            "after": target.digest,
        }
    if found.target.digest != known:
        words = f"{step['to']} has {found.target.digest}, which the plan did not know; collect again"
        return {
            "status": "refused",
            "message": words,
            "before": found.target.digest,
            "after": found.target.digest,
        }
    await client.images.update(step["namespace"], step["to"], target, {}, ["target"])
    return {"status": "done", "before": known, "after": target.digest}
