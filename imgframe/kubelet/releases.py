"""What differs between releases of Kubernetes in the kubelet's image garbage collection.

Source: ``pkg/kubelet/images/image_gc_manager.go`` and ``pkg/features`` of the releases 1.33, 1.35 and 1.37. The decisions are
the same in all of them, given the same feature gates; gates' defaults, error texts and events are not.
"""

from __future__ import annotations

from dataclasses import dataclass

from imgframe.errors import InputError


@dataclass(frozen=True, slots=True)
class KubernetesRelease:
    """One minor release of Kubernetes.

    Attributes:
        name: such as ``1.35``.
        image_volume: default of the gate ImageVolume.
        refuses_negative_age: the configuration refuses a negative minimum age.
        events_are_formats: an error's text is the format of its event, so that a ``%`` in it is read as a verb.
        names_wanted_bytes: an event of a shortfall says how many bytes were wanted, not how full the file system is.
        invalid_id: reason and message of the event for an image without ID under RuntimeClassInImageCriApi; ``{key}`` is
            the key of its record.
    """

    name: str
    image_volume: bool
    refuses_negative_age: bool
    events_are_formats: bool
    names_wanted_bytes: bool
    invalid_id: tuple[str, str]


_OLD_INVALID_ID = ("ImageID is not valid, skipping, ImageID: %v", "")

_RELEASES = (
    KubernetesRelease("1.33", False, False, True, True, _OLD_INVALID_ID),
    KubernetesRelease("1.35", True, False, False, False, _OLD_INVALID_ID),
    KubernetesRelease(
        "1.37", True, True, False, False, ("InvalidImageID", "ImageID is not valid, skipping, image: {key}")
    ),
)
NEWEST = _RELEASES[-1]


def release(version: str) -> KubernetesRelease:
    """The release that a version of the kubelet follows: the newest known one that is not newer.

    Args:
        version: such as ``1.36``, ``v1.36.2`` or ``v1.36.2-gke.100``.

    Raises:
        InputError: it is not a version of Kubernetes, or older than 1.33, the oldest whose rules are known.

    Example:
        >>> release("v1.36.2").name
        '1.35'
    """
    try:
        major, minor = (int(part) for part in version.removeprefix("v").split(".")[:2])
    except ValueError:
        raise InputError(f"{version!r} is not a version of Kubernetes; expected one such as '1.37'") from None
    known = [one for one in _RELEASES if tuple(map(int, one.name.split("."))) <= (major, minor)]
    if not known:
        raise InputError(
            f"Kubernetes {version} is older than {_RELEASES[0].name}, the oldest whose image collection is known"
        )
    return known[-1]
