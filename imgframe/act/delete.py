"""Delete image records: compared first, many at a time, the last one waits for the garbage collector."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from imgframe.act import leases, undo_leases
from imgframe.act.node_session import NodeSession
from imgframe.act.steps import Outcome, Step, done, gone, refused
from imgframe.errors import Conflict, Missing, Refused, WireError
from imgframe.reclaiming import Reclaim
from imgframe.wire import Client, layout
from imgframe.wire.records import BlobDescriptor, Image, labels_of

CONDITIONAL_SINCE = (2, 0, 0)
"""From this version on containerd itself refuses to delete a record whose target moved."""

PINNED = "io.cri-containerd.pinned"
_NO_RECORD = "no such record any more"


async def apply(node: NodeSession, steps: list[Step]) -> None:
    """Delete the records of the steps on one node, and observe what really disappears."""
    ready = await _checked(node, steps)
    if not ready:
        node.observed.append(0)
        return
    client = node.client
    before = await _StoreContent.read(client)
    plan = node.context.plan
    if plan.undo_for is not None:
        node.held_until = await undo_leases.hold(client, plan.id, plan.undo_for, ready)
    conditional = client.opened.numbers >= CONDITIONAL_SINCE
    *first, last = ready
    try:
        await node.each(first, lambda step: _delete(client, step, conditional=conditional, sync=False))
        await node.each([last], lambda step: _delete(client, step, conditional=conditional, sync=True))
        if node.outcomes[last["step"]]["status"] != "done":
            await leases.collect_garbage(client, last["namespace"])
    finally:
        node.observed.append(await _observed(node, before))


async def _checked(node: NodeSession, steps: list[Step]) -> list[Step]:
    """The steps that may go on; the others have their outcome. Registries are asked before the node is looked at."""
    options = [json.loads(step["options"] or "{}") for step in steps]
    objections = await asyncio.gather(*map(node.context.recheck.objection, options))
    namespaces = {step["namespace"] for step in steps}
    states = {namespace: await _NamespaceState.read(node.client, namespace) for namespace in namespaces}
    ready = []
    for step, chosen, objection in zip(steps, options, objections, strict=True):
        outcome = states[step["namespace"]].judge(step, chosen)
        if outcome is None and objection is not None:
            outcome = refused(objection, step["digest"])
        if outcome is None:
            ready.append(step)
        else:
            node.outcomes[step["step"]] = outcome
    return ready


class _NamespaceState:
    """One namespace as it is now: its records, what is pinned, and what containers use."""

    def __init__(self, images: dict[str, Image], users: dict[str, str]) -> None:
        self._images, self._users = images, users
        self._digest_users = {
            images[name].target.digest: user for name, user in users.items() if name in images
        }
        self._pinned = {image.target.digest: name for name, image in images.items() if _is_pinned(image)}

    @classmethod
    async def read(cls, client: Client, namespace: str) -> _NamespaceState:
        images, containers = await asyncio.gather(
            client.images.list(namespace), client.daemon.containers(namespace)
        )
        return cls({one.name: one for one in images}, {one.image: one.id for one in containers})

    def judge(self, step: Step, options: dict[str, Any]) -> Outcome | None:
        """None where the step may go on, else its outcome; by the rules that the options of the step name."""
        image = self._images.get(step["name"])
        if image is None:
            return gone(_NO_RECORD)
        digest = image.target.digest
        if digest != step["digest"]:
            return refused(
                f"it now has {digest}, but the plan was made for {step['digest']}; collect again", digest
            )
        pinned = self._pinned.get(digest)
        if options.get("keep_pinned", True) and pinned is not None:
            return refused(f"now pinned ({pinned})", digest)
        user = self._users.get(step["name"])
        if user is None and options.get("used_by") != "name":
            user = self._digest_users.get(digest)
        if options.get("keep_used", True) and user is not None:
            return refused(f"container {user} now uses it", digest)
        return None


def _is_pinned(image: Image) -> bool:
    return PINNED in image.labels and labels_of(image.labels).get(PINNED) == "pinned"


async def _delete(client: Client, step: Step, *, conditional: bool, sync: bool) -> Outcome:
    """Delete one record; before 2.0, where containerd cannot compare, it is compared right before."""
    namespace, name, digest = step["namespace"], step["name"], step["digest"]
    target = BlobDescriptor(step["media_type"] or "", digest, step["target_size"] or 0)
    try:
        if not conditional:
            found = await client.images.get(namespace, name)
            if found.target.digest != digest:
                return refused(f"it now has {found.target.digest}; collect again")
        await client.images.delete(namespace, name, sync=sync, only_if=target if conditional else None)
    except Missing:
        return gone(_NO_RECORD)
    except Conflict as error:
        return refused(f"moved since: {error}; collect again")
    return done(digest, None)


class _StoreContent:
    """What a store holds: sizes of blobs, each once, and keys of snapshots."""

    def __init__(self, blobs: dict[str, int], snapshots: set[tuple[str, str, str]]) -> None:
        self.blobs, self.snapshots = blobs, snapshots

    @classmethod
    async def read(cls, client: Client) -> _StoreContent:
        namespaces = [one.name for one in await client.daemon.namespaces()]
        snapshotters = layout(await client.daemon.plugins()).snapshotters
        pairs = [(namespace, snapshotter) for namespace in namespaces for snapshotter in snapshotters]
        contents = await asyncio.gather(*(client.content.list(namespace) for namespace in namespaces))
        lists = await asyncio.gather(*(_snapshot_keys(client, *pair) for pair in pairs))
        blobs = {blob.digest: blob.size for content in contents for blob in content}
        return cls(blobs, {(*pair, key) for pair, keys in zip(pairs, lists, strict=True) for key in keys})


async def _snapshot_keys(client: Client, namespace: str, snapshotter: str) -> list[str]:
    try:
        return [one.key for one in await client.snapshots.list(namespace, snapshotter)]
    except Refused:
        return []  # a plugin that does not answer holds nothing that we could see before either


async def _observed(node: NodeSession, before: _StoreContent) -> int | None:
    """Bytes that disappeared; None where a snapshot went whose size is unknown, or the node does not answer."""
    try:
        after = await _StoreContent.read(node.client)
    except WireError:
        return None
    sizes = _snapshot_sizes(node.context.plan.freed, node.name)
    freed = [sizes.get(snapshot) for snapshot in before.snapshots - after.snapshots]
    freed += [size for digest, size in before.blobs.items() if digest not in after.blobs]
    known = [size for size in freed if size is not None]
    return sum(known) if len(known) == len(freed) else None


def _snapshot_sizes(freed: Reclaim | Any, node: str) -> dict[tuple[str, ...], int | None]:
    """Sizes of the snapshots that the plan frees on a node."""
    if freed is None:
        return {}
    table = freed.arrow("snapshots")
    columns = (table[name].to_pylist() for name in ("node", "namespace", "snapshotter", "key", "size"))
    return {tuple(key): size for at, *key, size in zip(*columns, strict=True) if at == node}
