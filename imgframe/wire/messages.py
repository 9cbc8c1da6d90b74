"""Protobuf to records, and back where containerd wants a message filled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imgframe._proto import types_pb2
from imgframe.platforms import Platform
from imgframe.wire.records import BlobDescriptor, Mount, labels_of, labels_text

_ZERO = -62135596800  # seconds of Go's zero time, 0001-01-01


def nanoseconds(message: Any, field: str) -> int | None:
    """A timestamp field as nanoseconds since 1970; None where it is absent or Go's zero time."""
    stamp = getattr(message, field)
    seconds: int = stamp.seconds
    if seconds <= _ZERO or (seconds == 0 and not message.HasField(field)):
        return None
    return seconds * 1_000_000_000 + stamp.nanos


def descriptor(message: Any) -> BlobDescriptor:
    """A descriptor of containerd's."""
    return BlobDescriptor(message.media_type, message.digest, message.size, labels_text(message.annotations))


def fill_descriptor(message: Any, value: BlobDescriptor) -> None:
    """Writes a descriptor into a message; always present afterwards, which is what keeps containerd alive."""
    message.SetInParent()
    message.media_type = value.media_type
    message.digest = value.digest
    message.size = value.size
    message.annotations.update(labels_of(value.annotations))


def platform(message: Any) -> Platform:
    """A platform of containerd's."""
    return Platform(
        message.os, message.architecture, message.variant, message.os_version, tuple(message.os_features)
    )


def platform_message(value: Platform) -> Any:
    """A platform for containerd."""
    return types_pb2.Platform(
        os=value.os,
        architecture=value.architecture,
        variant=value.variant,
        os_version=value.os_version,
        os_features=value.os_features,
    )


def mounts(messages: Any) -> tuple[Mount, ...]:
    """Mounts of containerd's."""
    return tuple(Mount(m.type, m.source, m.target, tuple(m.options)) for m in messages)


def mount_messages(values: tuple[Mount, ...]) -> list[Any]:
    """Mounts for containerd."""
    return [types_pb2.Mount(type=m.type, source=m.source, target=m.target, options=m.options) for m in values]


def fill_labels(message: Any, labels: Mapping[str, str]) -> None:
    """Writes labels into a message's map."""
    message.labels.update(labels)
