"""Pushing by containerd itself, through its Transfer service, where ``via="transfer"`` asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgframe.act import pushing
from imgframe.act.pulling import Choice, Told
from imgframe.act.sites import Site
from imgframe.act.transferring import SECONDS, Counter, of_registry, require
from imgframe.act.waiting import Watch
from imgframe.errors import Refused, RegistryError

if TYPE_CHECKING:
    from imgframe.act.remotes import RegistryImage


async def push(
    site: Site, step: dict[str, Any], remote: RegistryImage, options: dict[str, Any], told: Told
) -> dict[str, Any]:
    """Has containerd push the whole image of a step; its outcome. Refused as in :func:`imgframe.act.pushing.push`.

    containerd reads the record by its name; that the registry got the digest of the plan is asked for afterwards.

    Raises:
        InputError: this containerd cannot.
        RegistryError: the registry refuses, or got something else.
        DocumentError: the image cannot be used.
        WireError: containerd refuses something else.
    """
    require(site, options)
    parcel = await pushing.packed(site, step, Choice(all_platforms=True))
    if not isinstance(parcel, pushing.Parcel):
        return parcel
    counter = Counter(told)
    watch = Watch(site, step["namespace"], counter.step)
    work = site.client.transfer.push(
        step["namespace"],
        step["name"],
        remote.reference,
        platforms=[],
        credentials=remote.credentials,
        progress=watch.step,
        timeout=SECONDS,
    )
    try:
        await watch.over(remote, work)
    except Refused as error:
        if error.code == "UNKNOWN":
            raise of_registry(error, remote) from error
        raise
    arrived = await remote.resolve()
    if arrived.digest != step["digest"]:
        raise RegistryError(
            f"{remote.reference} is {arrived.digest} in the registry, not {step['digest']}: the record moved while it was pushed"
        )
    sizes = {one.digest: one.size for one in parcel.blobs.values()}
    sizes |= {wanted.digest: wanted.size for wanted, _ in parcel.documents.values()}
    present = sum(size for digest, size in sizes.items() if digest in counter.present)
    return pushing.outcome(step, parcel, sum(sizes.values()) - present, present, "transfer")
