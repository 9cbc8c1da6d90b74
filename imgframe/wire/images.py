"""Image records: reads, and writes that cannot crash containerd.

containerd 1.7 and later crash on an image without a target, even in an update of labels only: every method that writes an
image takes its whole target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imgframe._proto import images_pb2 as pb
from imgframe.wire.channel import Channel, methods
from imgframe.wire.messages import descriptor, fill_descriptor, nanoseconds
from imgframe.wire.records import BlobDescriptor, Image, labels_text

_IMAGES = methods(pb, "Images")


def image(message: Any) -> Image:
    """The record of an image message."""
    return Image(
        message.name,
        descriptor(message.target),
        labels_text(message.labels),
        nanoseconds(message, "created_at"),
        nanoseconds(message, "updated_at"),
    )


def _message(name: str, target: BlobDescriptor, labels: Mapping[str, str]) -> Any:
    message = pb.Image(name=name, labels=labels)
    fill_descriptor(message.target, target)
    return message


class ImagesClient:
    """containerd's image records."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._last: dict[str, tuple[tuple[str, ...], Any, list[Image]]] = {}

    async def list(self, namespace: str, filters: Sequence[str] = ()) -> list[Image]:
        """Images of a namespace: all, or those that match any of the filters.

        A list of more than 16 MiB is fetched in slices; a namespace that does not exist has no images. A reply equal to the
        previous one returns the same records, so checking for changes costs little more than the call.
        """

        async def fetch(some: tuple[str, ...]) -> list[Image]:
            reply = await self._channel.read(_IMAGES["List"], pb.ListImagesRequest(filters=some), namespace)
            last = self._last.get(namespace)
            if last is not None and last[:2] == (some, reply):
                return last[2]
            records = [image(message) for message in reply.images]
            self._last[namespace] = some, reply, records
            return records

        return await self._channel.sliced(fetch, "name", filters, namespace, "Images/List")

    async def get(self, namespace: str, name: str) -> Image:
        """One image; :class:`~imgframe.errors.Missing` if there is none."""
        reply = await self._channel.read(_IMAGES["Get"], pb.GetImageRequest(name=name), namespace)
        return image(reply.image)

    async def create(
        self, namespace: str, name: str, target: BlobDescriptor, labels: Mapping[str, str], *, lease: str = ""
    ) -> Image:
        """Creates an image; :class:`~imgframe.errors.Conflict` if the name is taken."""
        request = pb.CreateImageRequest(image=_message(name, target, labels))
        return image((await self._channel.unary(_IMAGES["Create"], request, namespace, lease=lease)).image)

    async def update(
        self,
        namespace: str,
        name: str,
        target: BlobDescriptor,
        labels: Mapping[str, str],
        fields: Sequence[str],
        *,
        lease: str = "",
    ) -> Image:
        """Changes fields of an image.

        Args:
            namespace: of the image.
            name: of the image.
            target: its target, even if only labels change: copy it from :meth:`get`.
            labels: values of the labels in ``fields``; an empty value deletes one.
            fields: ``target``, ``labels`` (all of them) or ``labels.<key>``; at least one, because without any
                containerd replaces the target and clears the labels.
            lease: keeps what is written.
        """
        if not fields:
            raise ValueError("an update names at least one field: target, labels or labels.<key>")
        request = pb.UpdateImageRequest(image=_message(name, target, labels))
        request.update_mask.paths.extend(fields)
        return image((await self._channel.unary(_IMAGES["Update"], request, namespace, lease=lease)).image)

    async def delete(
        self, namespace: str, name: str, *, sync: bool, only_if: BlobDescriptor | None = None
    ) -> None:
        """Deletes an image.

        Args:
            namespace: of the image.
            name: of the image.
            sync: wait until the garbage collector has run.
            only_if: delete it only with this target, or raise :class:`~imgframe.errors.Conflict`. containerd before 2.0
                ignores this: the caller compares first.
        """
        request = pb.DeleteImageRequest(name=name, sync=sync)
        if only_if is not None:
            fill_descriptor(request.target, only_if)
        await self._channel.unary(_IMAGES["Delete"], request, namespace)
