"""Pulling by containerd itself, through its Transfer service, where it can do the job."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from imgframe import oci, platforms
from imgframe.act.pulling import Choice, Pulled, Told
from imgframe.act.sites import DEFAULT_SNAPSHOTTER, Site
from imgframe.act.waiting import Silent, Watch
from imgframe.errors import DocumentError, InputError, Missing, Refused, RegistryDenied, RegistryError
from imgframe.wire import records as wire

if TYPE_CHECKING:
    from imgframe.act.remotes import RegistryImage

SINCE = (2, 0, 0)
"""From this version on containerd pulls over plain HTTP from this machine too, and unpacks any platform."""

FIRST = (1, 7, 0)
"""The first version that has the service at all."""

SECONDS = 6 * 3600.0
"""How long one image may take."""


def require(site: Site, options: dict[str, Any]) -> None:
    """That containerd can be asked to talk to registries in this way at all.

    Raises:
        InputError: it cannot.
    """
    if site.client.opened.numbers < FIRST:
        raise InputError(
            f"{site.client.node.address}: containerd {site.client.opened.version} has no Transfer service; "
            "it came with 1.7: leave via= out"
        )
    if options.get("hosts_dirs") or options.get("insecure"):
        raise InputError("via='transfer' knows neither hosts_dirs nor insecure; use via='client'")


async def serves(
    site: Site, namespace: str, remote: RegistryImage, choice: Choice, options: dict[str, Any]
) -> bool:
    """Whether containerd pulls: asked for by ``via="transfer"``, or it can do it and nothing special is wanted.

    containerd asks registries in its own way: it knows neither our folders of hosts.toml nor ``insecure``.

    Raises:
        InputError: it was asked for and is impossible.
    """
    if options.get("via") == "transfer":
        require(site, options)
        return True
    via, version = options.get("via"), site.client.opened.numbers
    special = bool(options.get("hosts_dirs") or options.get("insecure"))
    if via is not None or version < SINCE or special or len(choice.specifiers) > 1:
        return False
    if (
        choice.unpacks(site.host)
        and await site.snapshotter(namespace, choice.snapshotter) != DEFAULT_SNAPSHOTTER
    ):
        return False  # as a rule it is set up for overlayfs alone, and does not say
    login = await remote.login()
    return bool(login.username) or not login.secret  # containerd takes no identity tokens


async def pull(
    site: Site, namespace: str, remote: RegistryImage, choice: Choice, told: Told, *, only: bool = False
) -> Pulled | None:
    """Pulls an image; None: this containerd cannot, and ``only`` is not set: no record was made, the client may try.

    Raises:
        RegistryError: containerd could not get it from the registry.
        DocumentError: it has nothing for the platform; a record that was made for it is removed again.
        WireError: containerd refuses something else.
    """
    unpack = choice.unpacks(site.host)
    snapshotter = await site.snapshotter(namespace, choice.snapshotter) if unpack else ""
    before = await _target(site, namespace, remote.reference)
    counter = Counter(told)
    wanted = [] if choice.all_platforms else _platforms(site, choice)
    watch = Watch(site, namespace, counter.step)
    work = site.client.transfer.pull(
        namespace,
        remote.reference,
        name=remote.reference,
        platforms=wanted,
        unpack=[(wanted[0], snapshotter)] if unpack else [],
        labels={},
        credentials=remote.credentials,
        progress=watch.step,
        timeout=SECONDS,
    )
    try:
        await watch.over(remote, work)
    except (Silent, Refused, Missing) as error:
        if not only and _ours_may_do(error):
            return None
        said = _said_by_registry(error, remote)
        if said is None:
            raise
        raise said from error
    target = await _target(site, namespace, remote.reference)
    if target is None:
        raise Missing(
            f"{remote.reference}: another program deleted the record while it was pulled",
            address=site.client.node.address,
            call="Images/Get",
            code="NOT_FOUND",
        )
    await _check(site, namespace, remote.reference, target, before, choice)
    counter.present |= await _shared(site, namespace, counter.fetched)
    fetched, present = counter.bytes
    return Pulled(
        remote.reference,
        target.digest,
        snapshotter or None,
        fetched,
        present,
        None if before is None else before.digest,
    )


def _ours_may_do(error: Silent | Refused | Missing) -> bool:
    """Whether our own pull is worth trying: it has deadlines, needs no Transfer service, and says which blob is missing."""
    if isinstance(error, Refused):
        return error.code == "UNIMPLEMENTED" or "no unpack platforms defined" in str(error)
    return isinstance(error, Silent) or "resolve" not in str(error)


def _said_by_registry(error: Silent | Refused | Missing, remote: RegistryImage) -> RegistryError | None:
    """The registry's own refusal, which containerd passes on; None where it is containerd's."""
    if isinstance(error, Refused) and error.code == "UNKNOWN":
        return of_registry(error, remote)
    if isinstance(error, Missing) and "resolve" in str(error):
        return remote.not_found(str(error))
    return None


def of_registry(error: Refused, remote: RegistryImage) -> RegistryError:
    """What a registry said to containerd, which passes its words on."""
    words = f"{error} (containerd asked {remote.host} itself)"
    denied = any(
        status in words for status in ("401 Unauthorized", "403 Forbidden", "no basic auth credentials")
    )
    kind = RegistryDenied if denied else RegistryError
    return kind(words, reference=remote.reference, host=remote.host, go=str(error))


def _platforms(site: Site, choice: Choice) -> list[platforms.Platform]:
    return platforms.platform_slice(choice.specifiers, host=site.host) if choice.specifiers else [site.host]


async def _target(site: Site, namespace: str, name: str) -> wire.BlobDescriptor | None:
    with contextlib.suppress(Missing):
        return (await site.client.images.get(namespace, name)).target
    return None


async def _check(
    site: Site,
    namespace: str,
    name: str,
    target: wire.BlobDescriptor,
    before: wire.BlobDescriptor | None,
    choice: Choice,
) -> None:
    """A record is made by containerd even of an index that lacks the platform: that is undone.

    Raises:
        DocumentError: the platform is not in the index.
    """
    matcher = choice.matcher(site.host)
    if matcher is None or not oci.is_index_type(target.media_type):
        return
    index = oci.decode_index(await site.client.content.document(namespace, target.digest))
    if any(one.platform is None or matcher.match(one.platform) for one in index.manifests):
        return
    if before is None:
        with contextlib.suppress(Missing):
            await site.client.images.delete(namespace, name, sync=True, only_if=target)
    elif before.digest != target.digest:
        await site.client.images.update(namespace, name, before, {}, ["target"])
    raise DocumentError(f"no match for platform in manifest {target.digest}: not found", code="not_found")


async def _shared(site: Site, namespace: str, digests: set[str]) -> set[str]:
    """Blobs that did not travel: another namespace had them before this one, and containerd does not tell."""
    spaces = (
        [one.name for one in await site.client.daemon.namespaces() if one.name != namespace]
        if digests
        else []
    )

    async def made(space: str, digest: str) -> int | None:
        with contextlib.suppress(Missing):
            return (await site.client.content.info(space, digest)).created_at
        return None

    async def older(digest: str) -> bool:
        here, *there = await asyncio.gather(*(made(space, digest) for space in (namespace, *spaces)))
        return here is not None and any(one is not None and one < here for one in there)

    found = await asyncio.gather(*(older(digest) for digest in digests)) if spaces else []
    return {digest for digest, was_there in zip(digests, found, strict=False) if was_there}


class Counter:
    """Bytes of the blobs that containerd tells of.

    Attributes:
        present: digests of those that were there already.
    """

    def __init__(self, told: Told) -> None:
        self._told = told
        self._sizes: dict[str, int] = {}
        self.present: set[str] = set()

    def step(self, step: wire.TransferProgress) -> None:
        """One thing that containerd tells."""
        _, separator, digest = step.name.partition("-")
        if not separator or ":" not in digest:
            return
        if step.total:
            self._sizes[digest] = step.total
        if step.event == "already exists":
            self.present.add(digest)
        size = self._sizes.get(digest, 0)
        ended = step.event in {"complete", "already exists", "extracted"}
        self._told(digest, size if ended else min(step.progress, size), size)

    @property
    def fetched(self) -> set[str]:
        """Digests of those that were not there."""
        return self._sizes.keys() - self.present

    @property
    def bytes(self) -> tuple[int, int]:
        """What was fetched, and what was there."""
        present = sum(size for digest, size in self._sizes.items() if digest in self.present)
        return sum(self._sizes.values()) - present, present
