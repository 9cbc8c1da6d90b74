"""Undo: create deleted image records again while a lease holds their content."""

from __future__ import annotations

import contextlib
import json

from imgframe.act.node_session import NodeSession
from imgframe.act.steps import Outcome, Step, done, failed, gone, refused
from imgframe.errors import Conflict, Missing
from imgframe.wire import Client
from imgframe.wire.records import BlobDescriptor


async def apply(node: NodeSession, steps: list[Step]) -> None:
    """Put the names back, and end the leases of those namespaces in which all are back."""
    outcomes = await node.each(steps, lambda step: _create(node.client, step))
    for namespace in {step["namespace"] for step in steps}:
        mine = [step for step in steps if step["namespace"] == namespace]
        if all(outcomes[step["step"]]["status"] in {"done", "gone"} for step in mine):
            for lease in {json.loads(step["options"] or "{}").get("lease") for step in mine} - {None}:
                with contextlib.suppress(Missing):  # expired, or ended before
                    await node.client.leases.delete(namespace, lease, sync=False)


async def _create(client: Client, step: Step) -> Outcome:
    namespace, name, digest = step["namespace"], step["name"], step["digest"]
    try:
        await client.content.info(namespace, digest)
    except Missing:
        return failed(
            f"{digest} is no longer in the store: it was not held, or not for long enough; pull it again"
        )
    target = BlobDescriptor(step["media_type"] or "", digest, step["target_size"] or 0)
    try:
        await client.images.create(namespace, name, target, json.loads(step["record_labels"] or "{}"))
    except Conflict:
        found = (await client.images.get(namespace, name)).target.digest
        if found == digest:
            return gone("it is there already", found)
        return refused(f"the name now has {found}; delete or rename that first", found)
    return done(None, digest)
