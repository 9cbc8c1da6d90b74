"""Delete image records: each right after a look at its namespace, many at a time, then the garbage collector runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from contextlib import AsyncExitStack
from typing import Any

from imgframe.act import leases, undo_leases
from imgframe.act.namespace_state import NamespaceWatch
from imgframe.act.node_session import NodeSession
from imgframe.act.steps import Outcome, Step, done, gone, refused, unknown
from imgframe.act.tasks import finished
from imgframe.errors import Conflict, ImgframeError, Missing, Refused, TimedOut, Unreachable, WireError
from imgframe.reclaiming import Reclaim
from imgframe.wire import Client, layout
from imgframe.wire.records import BlobDescriptor

CONDITIONAL_SINCE = (2, 0, 0)
"""From this version on containerd itself refuses to delete a record whose target moved."""

TRIES = 3
"""How often a delete is sent whose answer was lost."""

_LATE = "the answer was lost; the record is gone"


async def apply(node: NodeSession, steps: list[Step]) -> None:
    """Delete the records of the steps on one node, and observe what really disappears.

    Each delete is sent right after a look at what the node has, pins and uses. What is deleted is held by a lease until the
    end: where a container began to use an image while it was deleted, the record is put back. One application at a time
    deletes in a namespace, so that none claims bytes that another one freed.
    """
    deletes = _Deletes(node, steps)
    for namespace in _namespaces(steps):
        await leases.sweep(node.client, namespace)
    ready = await deletes.checked(steps)
    node.context.progress.delete(len(steps) - len(ready))
    before = await _StoreContent.read(node.client) if ready else None
    if before is None:
        node.observed[:] = [0]
        return
    try:
        async with AsyncExitStack() as stack:
            for namespace in _namespaces(ready):
                mine = [step for step in ready if step["namespace"] == namespace]
                digests = sorted({step["digest"] for step in mine})
                try:
                    await stack.enter_async_context(leases.deleting(node.client, namespace, digests))
                except Conflict as error:
                    node.outcomes |= {step["step"]: refused(str(error), step["digest"]) for step in mine}
                    ready = [step for step in ready if step["namespace"] != namespace]
            plan = node.context.plan
            if plan.undo_for is not None and ready:
                node.held_until = await undo_leases.hold(node.client, plan.id, plan.undo_for, ready)
            try:
                await node.each(ready, deletes.delete)
            finally:
                await finished(deletes.put_back(ready))
    except ImgframeError:
        before = None  # lost: what disappeared is unknown
        raise
    finally:
        if before is not None:
            node.observed[:] = [await finished(_observed(node, before)) if ready else 0]


def _namespaces(steps: list[Step]) -> list[str]:
    return sorted({step["namespace"] for step in steps})


class _Deletes:
    """The delete steps of one node, with the states of their namespaces."""

    def __init__(self, node: NodeSession, steps: list[Step]) -> None:
        self._node, self._client = node, node.client
        self._watches = {name: NamespaceWatch(node.client, name) for name in _namespaces(steps)}
        self._options = {step["step"]: json.loads(step["options"] or "{}") for step in steps}

    async def checked(self, steps: list[Step]) -> list[Step]:
        """The steps that may go on; the others have their outcome. Registries are asked before the node is looked at."""
        recheck = self._node.context.recheck
        objections = await asyncio.gather(*(recheck.objection(self._options[step["step"]]) for step in steps))
        ready = []
        for step, objection in zip(steps, objections, strict=True):
            outcome = await self._judge(step)
            if outcome is None and objection is not None:
                outcome = refused(objection, step["digest"])
            if outcome is None:
                ready.append(step)
            else:
                self._node.outcomes[step["step"]] = outcome
        return ready

    async def _judge(self, step: Step) -> Outcome | None:
        return await self._watches[step["namespace"]].judge(step, self._options[step["step"]])

    async def delete(self, step: Step) -> Outcome:
        """Delete one record; one whose answer was lost is settled, and deleted again if it is still there.

        A daemon that was stopped may carry a delete out after its client gave up: only a later answer tells.
        """
        lost: WireError | None = None
        for _ in range(TRIES):
            try:
                outcome = await self._objection(step)
            except (TimedOut, Unreachable):
                if lost is None:  # nothing was sent
                    raise
                break
            if outcome is None:
                try:
                    outcome = await self._send(step)
                except (TimedOut, Unreachable) as error:
                    lost = error
                    outcome = await self._watches[step["namespace"]].settle(step, error)
            if outcome is not None:
                self._node.context.progress.delete(1)
                late = lost is not None and outcome["status"] == "gone"
                return done(step["digest"], None, message=_LATE) if late else outcome
        return unknown(f"{step['name']}: it may still be deleted: {lost}; collect again")

    async def _objection(self, step: Step) -> Outcome | None:
        """Why a record must not be deleted now; before 2.0, where containerd cannot compare, it is compared here."""
        outcome = await self._judge(step)
        if outcome is not None or self._client.opened.numbers >= CONDITIONAL_SINCE:
            return outcome
        try:
            found = await self._client.images.get(step["namespace"], step["name"])
        except Missing:
            return gone("no such record any more")
        if found.target.digest != step["digest"]:
            return refused(f"it now has {found.target.digest}; collect again")
        return await self._judge(step)

    async def _send(self, step: Step) -> Outcome:
        conditional = self._client.opened.numbers >= CONDITIONAL_SINCE
        only_if = _target(step) if conditional else None
        try:
            await self._client.images.delete(step["namespace"], step["name"], sync=False, only_if=only_if)
        except Missing:
            return gone("no such record any more")
        except Conflict as error:
            return refused(f"moved since: {error}; collect again")
        return done(step["digest"], None)

    async def put_back(self, steps: list[Step]) -> None:
        """Create the records again that a container began to use between the look and the delete."""
        ended, outcomes = time.monotonic(), self._node.outcomes
        for step in steps:
            outcome = outcomes.get(step["step"], {})
            if outcome.get("status") != "done":
                continue
            user = await self._watches[step["namespace"]].user(step, self._options[step["step"]], ended)
            if user is None:
                continue
            labels = json.loads(step["record_labels"] or "{}")
            with contextlib.suppress(Conflict):  # somebody else did
                await self._client.images.create(step["namespace"], step["name"], _target(step), labels)
            words = f"container {user} began to use it while it was deleted; the record was put back"
            self._node.settle(step["step"], outcome | refused(words, step["digest"]))


def _target(step: Step) -> BlobDescriptor:
    return BlobDescriptor(step["media_type"] or "", step["digest"], step["target_size"] or 0)


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
