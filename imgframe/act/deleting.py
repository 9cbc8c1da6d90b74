"""Deleting records: compared first, many at once, the last one waits for the garbage collector."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imgframe.errors import Conflict, Missing, Refused
from imgframe.wire.records import BlobDescriptor, Image, Resource, labels_of

if TYPE_CHECKING:
    from imgframe.act.applying import Run, Step
    from imgframe.wire import Client

CONDITIONAL_SINCE = (2, 0, 0)
"""From this version on containerd itself refuses to delete a record whose target moved."""

PINNED = "io.cri-containerd.pinned"
EXPIRE = "containerd.io/gc.expire"
UNDO = "imgframe.io/undo"


async def apply(run: Run, client: Client, node: str, steps: list[Step]) -> None:
    """Delete the records of the steps on one node, and note what really disappeared."""
    ready = await _still_right(run, client, steps)
    if not ready:
        run.observed[node] = 0
        return
    before = await _Store.read(client)
    if run.plan.undo_for is not None:
        await _hold(run, client, ready)
    conditional = client.opened.numbers >= CONDITIONAL_SINCE
    try:
        await run.each(ready[:-1], lambda step: _delete(client, step, conditional=conditional, sync=False))
        await run.each(ready[-1:], lambda step: _delete(client, step, conditional=conditional, sync=True))
        if run.outcomes[ready[-1]["step"]]["status"] != "done":
            await collect_garbage(client, ready[-1]["namespace"])
    finally:
        run.observed[node] = await _observed(run, client, node, before)


async def _still_right(run: Run, client: Client, steps: list[Step]) -> list[Step]:
    """The steps that may go on; the others get their outcome. Registries are asked before the node is looked at."""
    options = [json.loads(step["options"] or "{}") for step in steps]
    objections = await asyncio.gather(*map(run.proofs.objection, options))
    states = {
        namespace: await _State.read(client, namespace) for namespace in {step["namespace"] for step in steps}
    }
    ready = []
    for step, chosen, objection in zip(steps, options, objections, strict=True):
        outcome = states[step["namespace"]].judge(step, chosen)
        if outcome is None and objection is not None:
            outcome = {"status": "refused", "message": objection, **_unchanged(step["digest"])}
        if outcome is None:
            ready.append(step)
        else:
            run.outcomes[step["step"]] = outcome
    return ready


class _State:
    """One namespace as it is now."""

    def __init__(self, images: dict[str, Image], users: dict[str, str], named: dict[str, str]) -> None:
        self.images = images
        self.users = users
        self.named = named
        self.pinned = {image.target.digest: name for name, image in images.items() if _pinned(image)}

    @classmethod
    async def read(cls, client: Client, namespace: str) -> _State:
        listed, containers = await asyncio.gather(
            client.images.list(namespace), client.daemon.containers(namespace)
        )
        images = {image.name: image for image in listed}
        named = {container.image: container.id for container in containers}
        users = {images[name].target.digest: user for name, user in named.items() if name in images}
        return cls(images, users, named)

    def judge(self, step: Step, options: dict[str, Any]) -> dict[str, Any] | None:
        """None where the step may go on, else its outcome; by the rules that the options of the step name."""
        image = self.images.get(step["name"])
        if image is None:
            return {"status": "gone", "message": "no such record any more"}
        here = _unchanged(image.target.digest)
        if image.target.digest != step["digest"]:
            words = f"it has {image.target.digest} now, the plan was made for {step['digest']}; collect again"
            return {"status": "refused", "message": words, **here}
        pinned = self.pinned.get(image.target.digest)
        if options.get("keep_pinned", True) and pinned is not None:
            return {"status": "refused", "message": f"pinned by now ({pinned})", **here}
        user = self.named.get(step["name"])
        if user is None and options.get("used_by") != "name":
            user = self.users.get(image.target.digest)
        if options.get("keep_used", True) and user is not None:
            return {"status": "refused", "message": f"container {user} uses it by now", **here}
        return None


def _unchanged(digest: str) -> dict[str, Any]:
    return {"before": digest, "after": digest}


def _pinned(image: Image) -> bool:
    return PINNED in image.labels and labels_of(image.labels).get(PINNED) == "pinned"


async def _delete(client: Client, step: Step, *, conditional: bool, sync: bool) -> dict[str, Any]:
    """One record; before 2.0, where containerd cannot compare, it is compared right before."""
    namespace, name, digest = step["namespace"], step["name"], step["digest"]
    target = BlobDescriptor(step["media_type"] or "", digest, step["target_size"] or 0)
    try:
        if not conditional:
            found = await client.images.get(namespace, name)
            if found.target.digest != digest:
                return {"status": "refused", "message": f"it has {found.target.digest} by now; collect again"}
        await client.images.delete(namespace, name, sync=sync, only_if=target if conditional else None)
    except Missing:
        return {"status": "gone", "message": "no such record any more", "before": None}
    except Conflict as error:
        return {"status": "refused", "message": f"moved since: {error}; collect again"}
    return {"status": "done", "before": digest, "after": None}


async def collect_garbage(client: Client, namespace: str) -> None:
    """Make the garbage collector run, and wait for it: a lease that holds nothing is made and ended."""
    lease = f"imgframe-{secrets.token_hex(6)}"
    soon = datetime.fromtimestamp(time.time() + 60, UTC).isoformat().replace("+00:00", "Z")
    await client.leases.create(namespace, lease, {EXPIRE: soon})
    await client.leases.delete(namespace, lease, sync=True)


async def _hold(run: Run, client: Client, steps: list[Step]) -> None:
    """Leases over the targets, one per namespace, so that the names can be put back for a while."""
    end = datetime.fromtimestamp(time.time() + float(run.plan.undo_for or 0), UTC)
    for namespace in {step["namespace"] for step in steps}:
        lease = undo_lease(run.plan.id)
        labels = {EXPIRE: end.isoformat(timespec="seconds").replace("+00:00", "Z"), UNDO: run.plan.id}
        with contextlib.suppress(Conflict):  # the same plan, applied again after it was interrupted
            await client.leases.create(namespace, lease, labels)
        digests = {step["digest"] for step in steps if step["namespace"] == namespace}
        await asyncio.gather(
            *(client.leases.add(namespace, lease, Resource("content", digest)) for digest in sorted(digests))
        )


def undo_lease(plan_id: str) -> str:
    """The lease that holds what a plan deleted."""
    return f"imgframe-undo-{plan_id}"


class _Store:
    """What a store holds: sizes of blobs, each once, and keys of snapshots."""

    def __init__(self, blobs: dict[str, int], snapshots: set[tuple[str, str, str]]) -> None:
        self.blobs = blobs
        self.snapshots = snapshots

    @classmethod
    async def read(cls, client: Client) -> _Store:
        from imgframe.wire.daemon import layout

        namespaces = [one.name for one in await client.daemon.namespaces()]
        snapshotters = layout(await client.daemon.plugins()).snapshotters
        pairs = [(namespace, snapshotter) for namespace in namespaces for snapshotter in snapshotters]
        contents = await asyncio.gather(*(client.content.list(namespace) for namespace in namespaces))
        lists = await asyncio.gather(*(_snapshots(client, *pair) for pair in pairs))
        blobs = {blob.digest: blob.size for content in contents for blob in content}
        return cls(blobs, {(*pair, key) for pair, keys in zip(pairs, lists, strict=True) for key in keys})


async def _snapshots(client: Client, namespace: str, snapshotter: str) -> list[str]:
    try:
        return [one.key for one in await client.snapshots.list(namespace, snapshotter)]
    except Refused:
        return []  # a plugin that does not answer holds nothing that we could see before either


async def _observed(run: Run, client: Client, node: str, before: _Store) -> int | None:
    """Bytes that disappeared; None where a snapshot went whose size nobody knows, or the node does not answer."""
    after = await _Store.read(client)
    total = sum(size for digest, size in before.blobs.items() if digest not in after.blobs)
    freed = run.plan.freed
    sizes = {}
    if freed is not None:
        table = freed.arrow("snapshots")
        columns = (table[name].to_pylist() for name in ("node", "namespace", "snapshotter", "key", "size"))
        sizes = {tuple(key): size for at, *key, size in zip(*columns, strict=True) if at == node}
    for gone in before.snapshots - after.snapshots:
        size = sizes.get(gone)
        if size is None:
            return None
        total += size
    return total
