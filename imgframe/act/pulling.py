"""Pulling an image into one namespace of one node, as a client of containerd: resolve, fetch, unpack, record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from imgframe import oci, platforms
from imgframe.act.fetching import Fetcher, Remote, Tree, no_match
from imgframe.act.leasing import leased
from imgframe.act.lines import Lines
from imgframe.act.sites import Site
from imgframe.act.unpacking import Unpacker
from imgframe.errors import Conflict, Missing
from imgframe.planning.options import resolve_unpack
from imgframe.wire import records as wire

Told = Callable[[str, int, int], None]
"""Is told the digest of a blob, the bytes of it that are there, and its size."""

_TRIES = 3


@dataclass(frozen=True)
class Choice:
    """What of an image is wanted, and where.

    Attributes:
        specifiers: of platforms; none: the node's own.
        all_platforms: everything that the index names.
        unpack: None: if there is just one platform.
        snapshotter: to unpack into; empty: the namespace's default.
    """

    specifiers: tuple[str, ...] = ()
    all_platforms: bool = False
    unpack: bool | None = None
    snapshotter: str = ""

    def matcher(self, host: platforms.Platform) -> platforms.Matcher | None:
        """Which entries of an index are wanted; None: all."""
        return None if self.all_platforms else platforms.nerdctl(self.specifiers, host=host)

    def count(self, host: platforms.Platform) -> int:
        """How many platforms are named; 0: all."""
        if self.all_platforms:
            return 0
        return len(platforms.platform_slice(self.specifiers, host=host)) if self.specifiers else 1

    def unpacks(self, host: platforms.Platform) -> bool:
        """Whether it is unpacked (nerdctl's ``--unpack``)."""
        return resolve_unpack(self.count(host), self.unpack)


@dataclass
class Pulled:
    """What became of a pull; ``before`` is the digest that the record had."""

    name: str
    digest: str
    snapshotter: str | None
    fetched: int
    present: int
    before: str | None = None


async def pull(
    site: Site, namespace: str, remote: Remote, choice: Choice, lines: Lines, told: Told
) -> Pulled:
    """Pulls an image; whatever fails, nothing is left: no lease, unfinished write or snapshot.

    Raises:
        RegistryError: the registry does not give it.
        DocumentError: it cannot be used, or has nothing for the platform.
        WireError: containerd refuses something.
        InputError: unpacking more than one platform.
    """
    unpack = choice.unpacks(site.host)
    snapshotter = await site.snapshotter(namespace, choice.snapshotter) if unpack else ""
    matcher = choice.matcher(site.host)
    async with leased(site.client, namespace) as (lease, clean_ups):
        fetcher = Fetcher(site.client, namespace, lease, remote, lines, told)
        clean_ups.append(lambda: _abort(fetcher))
        target = await remote.resolve()
        one = unpack and choice.count(site.host) == 1
        tree = await fetcher.tree(target, matcher, one=one)
        try:
            if unpack:
                unpacker = Unpacker(site.client, namespace, lease, snapshotter, lines)
                clean_ups.insert(0, lambda: drop_unpacked(unpacker))
                await _unpack(tree, unpacker)
            await tree.settle()
        except BaseException:
            await tree.cancel()
            raise
        before = await record(site, namespace, remote.reference, target, lease)
    return Pulled(
        remote.reference, target.digest, snapshotter or None, fetcher.fetched, fetcher.present, before
    )


async def _unpack(tree: Tree, unpacker: Unpacker) -> None:
    """Unpacks the one manifest while its layers arrive."""
    if not tree.manifests:
        raise no_match(tree.target.digest)
    _, manifest, data = tree.manifests[0]
    config = oci.decode_config(data)

    async def ready(layer: oci.Descriptor) -> None:
        waiting: Sequence[asyncio.Task[None]] = list(tree.layers.values())
        mine = tree.layers[layer.digest]
        while not mine.done():  # another layer's failure ends the waiting too
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            waiting = [task for task in waiting if not task.done()]
        mine.result()

    await unpacker.unpack(manifest, config, ready)


async def record(site: Site, namespace: str, name: str, target: oci.Descriptor, lease: str) -> str | None:
    """Makes the record, or moves the one that is there; the digest that it had before."""
    wanted = wire.BlobDescriptor(target.media_type, target.digest, target.size)
    images = site.client.images
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
        except Missing:  # deleted meanwhile: make it
            continue
        return known.target.digest
    raise Conflict(
        f"{name}: another program makes and deletes this record again and again; stop it and try again",
        address=site.client.node.address,
        call="Images/Create",
        code="ABORTED",
    )


async def _abort(fetcher: Fetcher) -> None:
    for ref in sorted(fetcher.begun):
        await fetcher.abort(ref)


async def drop_unpacked(unpacker: Unpacker) -> None:
    """Removes what an unpacker has begun and not finished."""
    for key in sorted(unpacker.begun):
        await unpacker.remove(key)


def outcome(pulled: Pulled, via: str) -> dict[str, Any]:
    """The row of a Result."""
    return {
        "status": "done",
        "before": pulled.before,
        "after": pulled.digest,
        "record": pulled.name,
        "remote": pulled.digest,
        "snapshotter": pulled.snapshotter,
        "fetched_bytes": pulled.fetched,
        "present_bytes": pulled.present,
        "via": via,
    }
