"""Pull and push by containerd itself, through its Transfer service, and watch it: its registry client has no deadline."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Mapping
from typing import Any

import tenacity

from imgframe import oci
from imgframe.act.leases import collect_garbage
from imgframe.act.node_session import DEFAULT_SNAPSHOTTER, NodeSession
from imgframe.act.progress import BlobProgress
from imgframe.act.steps import Outcome, Step, StepOptions, done, no_match
from imgframe.act.tasks import cancel, finished
from imgframe.errors import (
    InputError,
    Missing,
    Refused,
    RegistryDenied,
    RegistryError,
    RegistryNotFound,
    WireError,
)
from imgframe.upstream.sessions import UpstreamImage
from imgframe.wire import records as wire

SINCE = (2, 0, 0)
"""From this version on containerd pulls over plain HTTP from this machine too, and unpacks any platform."""

FIRST = (1, 7, 0)
"""The first version that has the service at all."""

SECONDS = 6 * 3600.0
"""Deadline of one image."""

_ENDS = frozenset(["complete", "already exists", "extracted"])
_SWEEPS = 6
"""How often the garbage collector is run after a failed transfer until its unfinished writes are gone; 3 s in all."""


class RegistrySilent(RegistryError):  # noqa: N818 -- caught by name where it matters
    """containerd waits for a registry that sends nothing, and would wait for ever."""


def require(node: NodeSession, options: StepOptions) -> None:
    """Refuse what containerd's Transfer service cannot do at all.

    Raises:
        InputError: it has no such service, or does not support an option.
    """
    if node.client.opened.numbers < FIRST:
        raise InputError(
            f"{node.client.node.address}: containerd {node.client.opened.version} has no Transfer service; "
            "it came with 1.7: omit via="
        )
    if options.custom_registry:
        raise InputError("via='transfer' supports neither hosts_dirs nor insecure; use via='client'")


async def serves(node: NodeSession, namespace: str, image: UpstreamImage, options: StepOptions) -> bool:
    """Whether containerd pulls: asked for by ``via="transfer"``, or it can do it and nothing special is wanted.

    containerd finds registries in its own way: it knows neither our folders of hosts.toml nor ``insecure``.

    Raises:
        InputError: it was asked for and is impossible.
    """
    if options.via == "transfer":
        require(node, options)
        return True
    if options.via is not None or node.client.opened.numbers < SINCE:
        return False
    if options.custom_registry or len(options.platforms) > 1:
        return False
    if options.unpacks(node.host):
        snapshotter = await node.snapshotter(namespace, options.snapshotter)
        if snapshotter != DEFAULT_SNAPSHOTTER:
            return False  # as a rule the service is set up for overlayfs alone, and does not say
    login = await image.login()
    return bool(login.username) or not login.secret  # containerd takes no identity tokens


async def pull(
    node: NodeSession, namespace: str, image: UpstreamImage, options: StepOptions, progress: BlobProgress
) -> Outcome | None:
    """Pull an image; None: this containerd cannot, and ``via`` leaves the choice: no record was made, the client may try.

    Raises:
        RegistryError: containerd could not get it from the registry.
        DocumentError: it has nothing for the platform; a record that was made for it is removed again.
        WireError: containerd refuses something else.
    """
    name = image.reference
    unpack = options.unpacks(node.host)
    snapshotter = await node.snapshotter(namespace, options.snapshotter) if unpack else ""
    before = await _target(node, namespace, name)
    wanted = options.wanted(node.host)
    watch = TransferWatch(node, namespace, progress)
    work = node.client.transfer.pull(
        namespace,
        name,
        name=name,
        platforms=wanted,
        unpack=[(wanted[0], snapshotter)] if unpack else [],
        labels={},
        credentials=image.credentials,
        progress=watch.step,
        timeout=SECONDS,
    )
    try:
        await watch.completed(image, work)
    except (RegistrySilent, Refused, Missing) as error:
        if options.via != "transfer" and _client_may_try(error):
            return None
        refusal = _registry_error(error, image)
        if refusal is None:
            raise
        raise refusal from error
    target = await _target(node, namespace, name)
    if target is None:
        raise Missing(
            f"{name}: another program deleted the record while it was pulled",
            address=node.client.node.address,
            call="Images/Get",
            code="NOT_FOUND",
        )
    await _check_platform(node, namespace, name, target, before, options)
    watch.present |= await _shared(node, namespace, watch.sizes.keys() - watch.present)
    present = sum(size for digest, size in watch.sizes.items() if digest in watch.present)
    return done(
        None if before is None else before.digest,
        target.digest,
        record=name,
        remote=target.digest,
        snapshotter=snapshotter or None,
        fetched_bytes=sum(watch.sizes.values()) - present,
        present_bytes=present,
        via="transfer",
    )


async def push(
    node: NodeSession, step: Step, image: UpstreamImage, sizes: Mapping[str, int], progress: BlobProgress
) -> tuple[int, int]:
    """Push the whole image of a step; bytes that were sent, and bytes that the registry had.

    containerd reads the record by its name; the registry is asked afterwards whether it got the digest of the plan.

    Raises:
        RegistryError: the registry refuses, or got something else.
        WireError: containerd refuses something else.
    """
    watch = TransferWatch(node, step["namespace"], progress)
    work = node.client.transfer.push(
        step["namespace"],
        step["name"],
        image.reference,
        platforms=[],
        credentials=image.credentials,
        progress=watch.step,
        timeout=SECONDS,
    )
    try:
        await watch.completed(image, work)
    except Refused as error:
        if error.code != "UNKNOWN":
            raise
        raise _refused_by_registry(error, image) from error
    arrived = await image.resolve()
    if arrived.digest != step["digest"]:
        raise RegistryError(
            f"{image.reference} is {arrived.digest} in the registry, not {step['digest']}: the record moved while it was pushed"
        )
    present = sum(size for digest, size in sizes.items() if digest in watch.present)
    return sum(sizes.values()) - present, present


def _client_may_try(error: RegistrySilent | Refused | Missing) -> bool:
    """Whether our own pull is worth trying: it has deadlines, needs no Transfer service, and says which blob is missing."""
    if isinstance(error, Refused):
        return error.code == "UNIMPLEMENTED" or "no unpack platforms defined" in str(error)
    return isinstance(error, RegistrySilent) or "resolve" not in str(error)


def _registry_error(error: RegistrySilent | Refused | Missing, image: UpstreamImage) -> RegistryError | None:
    """The registry's own refusal, which containerd passes on; None where it is containerd's."""
    if isinstance(error, Refused) and error.code == "UNKNOWN":
        return _refused_by_registry(error, image)
    if isinstance(error, Missing) and "resolve" in str(error):
        words = str(error)
        return RegistryNotFound(words, reference=image.reference, host=image.host, go=words)
    return None


def _refused_by_registry(error: Refused, image: UpstreamImage) -> RegistryError:
    """What a registry said to containerd, which passes its words on."""
    words = f"{error} (containerd asked {image.host} itself)"
    denials = ("401 Unauthorized", "403 Forbidden", "no basic auth credentials")
    kind = RegistryDenied if any(status in words for status in denials) else RegistryError
    return kind(words, reference=image.reference, host=image.host, go=str(error))


async def _target(node: NodeSession, namespace: str, name: str) -> wire.BlobDescriptor | None:
    with contextlib.suppress(Missing):
        return (await node.client.images.get(namespace, name)).target
    return None


async def _check_platform(
    node: NodeSession,
    namespace: str,
    name: str,
    target: wire.BlobDescriptor,
    before: wire.BlobDescriptor | None,
    options: StepOptions,
) -> None:
    """A record is made by containerd even of an index that lacks the platform: that is undone.

    Raises:
        DocumentError: the platform is not in the index.
    """
    matcher = options.matcher(node.host)
    if matcher is None or not oci.is_index_type(target.media_type):
        return
    index = oci.decode_index(await node.client.content.document(namespace, target.digest))
    if any(one.platform is None or matcher.match(one.platform) for one in index.manifests):
        return
    if before is None:
        with contextlib.suppress(Missing):
            await node.client.images.delete(namespace, name, sync=True, only_if=target)
    elif before.digest != target.digest:
        await node.client.images.update(namespace, name, before, {}, ["target"])
    raise no_match(target.digest)


async def _shared(node: NodeSession, namespace: str, digests: set[str]) -> set[str]:
    """Blobs that were not transferred: another namespace had them before this one, and containerd does not say so."""
    if not digests:
        return set()
    others = [one.name for one in await node.client.daemon.namespaces() if one.name != namespace]

    async def created(space: str, digest: str) -> int | None:
        with contextlib.suppress(Missing):
            return (await node.client.content.info(space, digest)).created_at
        return None

    async def older(digest: str) -> bool:
        here, *there = await asyncio.gather(*(created(space, digest) for space in (namespace, *others)))
        return here is not None and any(one is not None and one < here for one in there)

    ordered = list(digests)
    found = await asyncio.gather(*map(older, ordered))
    return {digest for digest, was_there in zip(ordered, found, strict=True) if was_there}


class TransferWatch:
    """Watches one pull or push that containerd does by itself: its bytes, its silence, and what it leaves.

    Attributes:
        sizes: of the blobs that containerd has reported.
        present: digests of those that were there already.
    """

    def __init__(self, node: NodeSession, namespace: str, progress: BlobProgress) -> None:
        self._node, self._namespace, self._progress = node, namespace, progress
        self.sizes: dict[str, int] = {}
        self.present: set[str] = set()
        self._ended: dict[str, bool] = {}
        self._last_step = node.last_progress = time.monotonic()

    def step(self, step: wire.TransferProgress) -> None:
        """One step that containerd reports."""
        self._last_step = self._node.last_progress = time.monotonic()
        digest = step.name.partition("-")[2]
        if ":" not in digest:  # not a blob, by the name of its write
            return
        ended = step.event in _ENDS
        self._ended[step.name] = ended or self._ended.get(step.name, False)
        if step.total:
            self.sizes[digest] = step.total
        if step.event == "already exists":
            self.present.add(digest)
        size = self.sizes.get(digest, 0)
        self._progress(digest, size if ended else min(step.progress, size), size)

    @property
    def _unfinished(self) -> set[str]:
        return {name for name, ended in self._ended.items() if not ended}

    @property
    def _silence(self) -> float:
        """Seconds for which containerd has waited for its registry; 0 while it unpacks, which it does not report.

        containerd fetches a few blobs of all its pulls at a time: while any of ours moves on, the others wait for their turn.
        """
        if self._ended and not self._unfinished:
            return 0.0
        return time.monotonic() - (self._node.last_progress if self._ended else self._last_step)

    async def completed(self, image: UpstreamImage, work: Coroutine[Any, Any, None]) -> None:
        """Wait for the pull or push; after a failure nothing is left of it.

        Raises:
            RegistrySilent: the registry sent nothing for ``image.timeout`` seconds.
        """
        try:
            await self._unless_silent(image, work)
        except BaseException:
            with contextlib.suppress(WireError):  # the failure itself is what counts
                await finished(self._sweep())
            raise

    async def _unless_silent(self, image: UpstreamImage, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait([task], timeout=image.timeout / 4))[0]:
                if self._silence >= image.timeout:
                    raise RegistrySilent(
                        f"{image.host} exchanged no data with containerd for {image.timeout:g} s; see whether the registry is up, "
                        "and try again, with a longer registry_timeout= if it is slow",
                        reference=image.reference,
                        host=image.host,
                    )
            await task
        finally:
            await cancel([task])

    async def _sweep(self) -> None:
        """Run the garbage collector until the unfinished writes are gone; what another program writes stays.

        containerd deletes its own lease when it notices that its client is gone, which takes a moment.
        """
        patiently = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_result(bool),
            wait=tenacity.wait_exponential(multiplier=0.05),
            stop=tenacity.stop_after_attempt(_SWEEPS),
            retry_error_callback=lambda _: None,
        )
        await patiently(self._left)

    async def _left(self) -> set[str]:
        """Our unfinished writes that a garbage collection leaves."""
        await collect_garbage(self._node.client, self._namespace)
        return self._unfinished & {
            one.ref for one in await self._node.client.content.ingests(self._namespace)
        }
