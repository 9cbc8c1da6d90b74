"""Pull an image into one namespace of one node: by containerd's Transfer service, or resolve, fetch, unpack and record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from imgframe import oci
from imgframe.act import transfer
from imgframe.act.fetch import FetchedImage, Fetcher
from imgframe.act.leases import leased
from imgframe.act.node_session import NodeSession
from imgframe.act.progress import BlobProgress
from imgframe.act.steps import Outcome, Step, StepOptions, done, no_match
from imgframe.act.tasks import cancel, gather_or_cancel
from imgframe.act.unpack import Unpacker
from imgframe.errors import Conflict, Missing
from imgframe.upstream.sessions import UpstreamImage
from imgframe.wire import records as wire

_TRIES = 3


async def apply(node: NodeSession, steps: list[Step]) -> None:
    """Pull the images of the steps."""
    await node.open()
    await node.each(steps, lambda step: pull(node, step, StepOptions.of(step)))


async def pull(node: NodeSession, step: Step, options: StepOptions) -> Outcome:
    """Pull the image of a step; by the Transfer service where that serves, else as a client of containerd.

    Raises:
        RegistryError: the registry does not give it.
        DocumentError: it cannot be used, or has nothing for the platform.
        WireError: containerd refuses something.
        InputError: unpacking more than one platform, or an impossible ``via``.
    """
    namespace = step["namespace"]
    image = node.context.registries.image(step["name"], options.registry)
    with node.context.progress.image(step["name"]) as progress:
        if await transfer.serves(node, namespace, image, options):
            outcome = await transfer.pull(node, namespace, image, options, progress)
            if outcome is not None:
                return outcome
        return await _pull_as_client(node, namespace, image, options, progress)


async def _pull_as_client(
    node: NodeSession, namespace: str, image: UpstreamImage, options: StepOptions, progress: BlobProgress
) -> Outcome:
    """Pull an image; whatever fails, no lease, unfinished write or snapshot is left."""
    unpack = options.unpacks(node.host)
    snapshotter = await node.snapshotter(namespace, options.snapshotter) if unpack else ""
    matcher = options.matcher(node.host)
    async with leased(node.client, namespace) as (lease, clean_ups):
        fetcher = Fetcher(node, namespace, lease, image, progress)
        clean_ups.append(fetcher.abort_all)
        target = await image.resolve()
        one = unpack and len(options.wanted(node.host)) == 1
        fetched = await fetcher.fetch(target, matcher, one=one)
        try:
            if unpack:
                unpacker = Unpacker(node, namespace, lease, snapshotter)
                clean_ups.insert(0, unpacker.remove_all)
                await _unpack(fetched, unpacker)
            await gather_or_cancel(fetched.layers.values())
        except BaseException:
            await cancel(fetched.layers.values())
            raise
        before = await _record(node, namespace, image.reference, target, lease)
    return done(
        before,
        target.digest,
        record=image.reference,
        remote=target.digest,
        snapshotter=snapshotter or None,
        fetched_bytes=fetcher.fetched,
        present_bytes=fetcher.present,
        via="client",
    )


async def _unpack(image: FetchedImage, unpacker: Unpacker) -> None:
    """Unpack the one manifest while its layers arrive."""
    if not image.manifests:
        raise no_match(image.target.digest)
    _, manifest, data = image.manifests[0]
    config = oci.decode_config(data)

    async def ready(layer: oci.Descriptor) -> None:
        waiting: Sequence[asyncio.Task[None]] = list(image.layers.values())
        mine = image.layers[layer.digest]
        while not mine.done():  # another layer's failure ends the waiting too
            finished, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                task.result()
            waiting = [task for task in waiting if not task.done()]
        mine.result()

    await unpacker.unpack(manifest, config, ready)


async def _record(
    node: NodeSession, namespace: str, name: str, target: oci.Descriptor, lease: str
) -> str | None:
    """Create the record, or move the one that is there; the digest that it had before."""
    wanted = wire.BlobDescriptor(target.media_type, target.digest, target.size)
    images = node.client.images
    for _ in range(_TRIES):
        try:
            await images.create(namespace, name, wanted, {}, lease=lease)
        except Conflict as error:
            if error.code != "ALREADY_EXISTS":
                raise
        else:
            return None
        try:
            known = await images.get(namespace, name)
            await images.update(namespace, name, wanted, {}, ["target"], lease=lease)
        except Missing:  # deleted meanwhile: create it
            continue
        return known.target.digest
    raise Conflict(
        f"{name}: another program keeps creating and deleting this record; stop it and try again",
        address=node.client.node.address,
        call="Images/Create",
        code="ABORTED",
    )
