"""Tag: another name for the same target."""

from __future__ import annotations

import json

from imgframe.act.node_session import NodeSession
from imgframe.act.steps import Outcome, Step, done, gone, refused
from imgframe.errors import Conflict, Missing
from imgframe.wire import Client
from imgframe.wire.records import BlobDescriptor


async def apply(node: NodeSession, steps: list[Step]) -> None:
    """Give the records their further names."""
    await node.each(steps, lambda step: _tag(node.client, step))


async def _tag(client: Client, step: Step) -> Outcome:
    namespace, name = step["namespace"], step["name"]
    try:
        target = (await client.images.get(namespace, name)).target
    except Missing:
        return refused(f"{name} is not there any more; collect again")
    if target.digest != step["digest"]:
        return refused(
            f"{name} now has {target.digest}, but the plan was made for {step['digest']}; collect again"
        )
    try:
        await client.images.create(namespace, step["to"], target, {})
    except Conflict:
        return await _move(client, step, target)
    return done(None, target.digest)


async def _move(client: Client, step: Step, target: BlobDescriptor) -> Outcome:
    """The name exists: nothing to do, or it moves if the plan knew its old target."""
    found = (await client.images.get(step["namespace"], step["to"])).target.digest
    if found == target.digest:
        return gone("it is there already", found)
    if found != json.loads(step["options"] or "{}").get("replaces"):
        return refused(f"{step['to']} has {found}, which the plan did not know; collect again", found)
    await client.images.update(step["namespace"], step["to"], target, {}, ["target"])
    return done(found, target.digest)
