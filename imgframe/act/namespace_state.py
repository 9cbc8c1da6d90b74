"""What a namespace has, pins and uses at this moment: read again while records are deleted, by the rules of the plan."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from imgframe import oci
from imgframe.act.steps import Outcome, Step, gone, refused, unknown
from imgframe.digests import matches
from imgframe.errors import DocumentError, Missing, Refused, TimedOut, Unreachable, WireError
from imgframe.wire import Client
from imgframe.wire.records import Container, Image, labels_of

LONGEST = 1.0
"""No delete is sent on a state that was read longer ago [s]."""

SHARE = 4.0
"""A state is used for so many times as long as it took to read, at most :data:`LONGEST`."""

RECONNECT_SECONDS = 30.0
"""How long a node that was lost may take to answer again."""

PAUSE = 0.2
"""Between two attempts to reach it [s]."""

PINNED = "io.cri-containerd.pinned"


@dataclass(frozen=True, slots=True)
class NamespaceState:
    """One namespace at one moment.

    Attributes:
        images: its records by name.
        pinned: the name of a pinned record by digest.
        names: a container that uses it, by the name of an image.
        digests: likewise by digest.
        chains: likewise by the key of a snapshot below the container's own.
        blind: why the snapshots of a container are unknown; empty: they are known.
    """

    images: dict[str, Image]
    pinned: dict[str, str]
    names: dict[str, str]
    digests: dict[str, str]
    chains: dict[str, str]
    blind: str

    def judge(
        self, step: Step, options: dict[str, Any], chains: frozenset[str] | None = frozenset()
    ) -> Outcome | None:
        """None where the step may go on, else its outcome; by the rules that the options of the step name."""
        image = self.images.get(step["name"])
        if image is None:
            return gone("no such record any more")
        digest = image.target.digest
        if digest != step["digest"]:
            return refused(
                f"it now has {digest}, but the plan was made for {step['digest']}; collect again", digest
            )
        pinned = self.pinned.get(digest)
        if options.get("keep_pinned", True) and pinned is not None:
            return refused(f"now pinned ({pinned})", digest)
        user = self.user(step, options, chains)
        if user is not None:
            return refused(f"container {user} now uses it", digest)
        if checks_snapshots(options) and options.get("keep_unknown", True) and self.names:
            if self.blind:
                return refused(f"its use is now unknown: {self.blind}", digest)
            if chains is None:
                return refused("its use is now unknown: its manifests could not be read", digest)
        return None

    def user(self, step: Step, options: dict[str, Any], chains: frozenset[str] | None) -> str | None:
        """A container that keeps the image of a step, by its name, its digest or its snapshots."""
        if not options.get("keep_used", True):
            return None
        user = self.names.get(step["name"])
        if user is not None or not checks_snapshots(options):
            return user
        used = (self.chains[chain] for chain in chains or () if chain in self.chains)
        return self.digests.get(step["digest"]) or next(used, None)


def checks_snapshots(options: dict[str, Any]) -> bool:
    """Whether the rules of a step look at digests and snapshots too, not only at names."""
    return bool(options.get("keep_used", True)) and options.get("used_by") != "name"


class NamespaceWatch:
    """Reads the state of a namespace as often as deletes need it; all steps share what was read."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self._lock = asyncio.Lock()
        self._state: NamespaceState | None = None
        self._begun = self._expires = 0.0
        self._lost: WireError | None = None
        self._targets: dict[str, str] = {}
        self._parents: dict[tuple[str, str], str] = {}
        self._chains: dict[str, frozenset[str] | None] = {}

    async def judge(self, step: Step, options: dict[str, Any]) -> Outcome | None:
        """None where the step may be taken now, without waiting for anything else; else its outcome.

        Raises:
            WireError: the node does not answer.
        """
        while True:
            state = await self._current()
            if not checks_snapshots(options) or not state.names or step["digest"] in self._chains:
                return state.judge(step, options, self._chains.get(step["digest"], frozenset()))
            await self._read_chains(step)

    async def user(self, step: Step, options: dict[str, Any], since: float) -> str | None:
        """A container that uses what the step has deleted, as read after ``since`` on the monotonic clock."""
        state = await self._current(since=since)
        if state.names and checks_snapshots(options) and step["digest"] not in self._chains:
            await self._read_chains(step)
        return state.user(step, options, self._chains.get(step["digest"], frozenset()))

    async def settle(self, step: Step, error: WireError) -> Outcome | None:
        """What became of a delete whose answer was lost; None: the record is still there. The node may take a while to answer."""
        try:
            state = await self._current(since=time.monotonic())
        except WireError as second:
            return unknown(
                f"{step['name']}: whether it was deleted is unknown: {error}, and then {second}; collect again"
            )
        return None if step["name"] in state.images else gone("no such record any more")

    async def _read_chains(self, step: Step) -> None:
        target = oci.Descriptor(step["media_type"] or "", step["digest"], step["target_size"] or 0)
        self._chains[step["digest"]] = await _chain_ids_below(self._client, self._namespace, target)

    async def _current(self, since: float | None = None) -> NamespaceState:
        """The state: read after ``since``, or not too long ago. A node that is lost is waited for once, for all steps."""
        async with self._lock:
            fresh = self._begun >= since if since is not None else time.monotonic() < self._expires
            if self._state is None or not fresh:
                if self._lost is not None:
                    raise self._lost
                self._begun = time.monotonic()
                self._state = await self._patiently()
                read = time.monotonic()
                self._expires = read + min(SHARE * (read - self._begun), LONGEST)
            return self._state

    async def _patiently(self) -> NamespaceState:
        while True:
            try:
                return await self._read()
            except (TimedOut, Unreachable) as error:
                if time.monotonic() - self._begun >= RECONNECT_SECONDS:
                    self._lost = error
                    raise
            await asyncio.sleep(PAUSE)

    async def _read(self) -> NamespaceState:
        images = {one.name: one for one in await self._client.images.list(self._namespace)}
        containers = await self._client.daemon.containers(self._namespace)
        self._targets |= {name: image.target.digest for name, image in images.items()}
        chains: dict[str, str] = {}
        blind = ""
        keys = await asyncio.gather(*map(self._snapshots_of, containers), return_exceptions=True)
        for container, mine in zip(containers, keys, strict=True):
            if isinstance(mine, Refused):
                blind = f"the snapshots of container {container.id} could not be read ({mine})"
            elif isinstance(mine, BaseException):
                raise mine
            else:
                chains |= dict.fromkeys(mine, container.id)
        names = {one.image: one.id for one in containers}
        return NamespaceState(
            images,
            {image.target.digest: name for name, image in images.items() if _is_pinned(image)},
            names,
            {self._targets[name]: user for name, user in names.items() if name in self._targets},
            chains,
            blind,
        )

    async def _snapshots_of(self, container: Container) -> list[str]:
        """The snapshot of a container and those below it; what is committed keeps its parent."""
        snapshotter, key, found = container.snapshotter, container.snapshot_key, list[str]()
        while key and key not in found:
            found.append(key)
            parent = self._parents.get((snapshotter, key))
            if parent is None:
                try:
                    snapshot = await self._client.snapshots.stat(self._namespace, snapshotter, key)
                except Missing:
                    break
                parent = snapshot.parent
                if snapshot.kind == "committed":
                    self._parents[snapshotter, key] = parent
            key = parent
        return found


def _is_pinned(image: Image) -> bool:
    return PINNED in image.labels and labels_of(image.labels).get(PINNED) == "pinned"


async def _chain_ids_below(client: Client, namespace: str, target: oci.Descriptor) -> frozenset[str] | None:
    """Chain IDs of the manifests below a target that are in the namespace; None: a document could not be read."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [target]
    while waiting:
        here = waiting.pop()
        if here.digest in seen:
            continue
        seen.add(here.digest)
        try:
            if oci.is_index_type(here.media_type):
                data = await _document(client, namespace, here.digest)
                if data is not None:
                    waiting += oci.checked_index(data, here.media_type, here.digest).manifests
                elif here is target:
                    return None
            elif oci.is_manifest_type(here.media_type):
                data = await _document(client, namespace, here.digest)
                if data is None:
                    continue
                manifest = oci.checked_manifest(data, here.media_type, here.digest)
                config = await _document(client, namespace, manifest.config.digest)
                if config is None:
                    return None
                found.update(oci.chain_ids(oci.decode_config(config).rootfs.diff_ids)[-1:])
        except DocumentError:
            return None
    return frozenset(found)


async def _document(client: Client, namespace: str, digest: str) -> bytes | None:
    """A document of the namespace; None: it is not there.

    Raises:
        DocumentError: it is too large, or does not have its digest.
    """
    try:
        data = await client.content.document(namespace, digest)
    except Missing:
        return None
    if not matches(data, digest):
        raise DocumentError(f"{digest}: the content has another digest", code="wrong_digest")
    return data
