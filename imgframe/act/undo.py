"""Undo: create deleted image records again while leases hold their content."""

from __future__ import annotations

import json

from imgframe.act import leases, undo_leases
from imgframe.act.node_session import NodeSession
from imgframe.act.steps import Outcome, Step, done, failed, gone, refused
from imgframe.act.tasks import gather_or_cancel
from imgframe.errors import Conflict, Missing
from imgframe.wire import Client
from imgframe.wire.records import BlobDescriptor, Resource


async def apply(node: NodeSession, steps: list[Step]) -> None:
    """Put the names back, and end the leases of those namespaces in which all that they hold is back.

    A lease of its own keeps the content meanwhile: the one that holds it may expire at any moment.
    """
    client = node.client
    for namespace in dict.fromkeys(step["namespace"] for step in steps):
        mine = [step for step in steps if step["namespace"] == namespace]
        resources = {Resource("content", step["digest"]) for step in mine}
        async with leases.leased(client, namespace) as (lease, _):
            await gather_or_cancel([client.leases.add(namespace, lease, one) for one in resources])
            await node.each(mine, lambda step: _create(client, step))
        for plan in dict.fromkeys(json.loads(step["options"] or "{}").get("undo") for step in mine):
            if plan is not None:
                await undo_leases.end(client, namespace, plan)


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
