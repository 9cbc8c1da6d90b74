"""The container runtime as the kubelet's image collection sees it through the CRI."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol


class CriError(Exception):
    """A call to the container runtime failed; the text is the runtime's."""


class RuntimeImage(NamedTuple):
    """An image as the runtime lists it: ``size`` is the CRI's, compressed bytes; ``handler`` a runtime handler."""

    id: str
    size: int
    pinned: bool = False
    handler: str = ""


class RuntimeContainer(NamedTuple):
    """A container as the runtime lists it, in whatever state: the image that it runs, and its handler."""

    id: str
    image_id: str
    handler: str = ""


class Runtime(Protocol):
    """The calls that a run makes; each may raise :class:`CriError`."""

    def images(self) -> Sequence[RuntimeImage]:
        """All images, in the runtime's order."""

    def sandboxes(self) -> None:
        """List the pod sandboxes, which use no image by themselves."""

    def containers(self) -> Sequence[RuntimeContainer]:
        """All containers that have metadata and an image."""

    def mounted_images(self, container: str) -> Iterable[str]:
        """What the status of a container names as images of its mounts."""

    def remove(self, image: str) -> None:
        """Delete an image and all its names."""

    def file_system(self) -> tuple[int, int]:
        """Capacity and available bytes of the image file system; 0 for a number that is missing."""
