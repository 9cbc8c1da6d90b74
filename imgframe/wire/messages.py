"""Conversions between protobuf messages and records."""

from __future__ import annotations

from typing import Any

from imgframe._proto import types_pb2
from imgframe.platforms import Platform
from imgframe.wire.records import BlobDescriptor, Mount, labels_of, labels_text

_ZERO = -62135596800  # seconds of Go's zero time, 0001-01-01


def nanoseconds(message: Any, field: str) -> int | None:
    """A timestamp field in nanoseconds since 1970; None if it is absent or Go's zero time."""
    stamp = getattr(message, field)
    seconds: int = stamp.seconds
    if seconds <= _ZERO or (seconds == 0 and not message.HasField(field)):
        return None
    return seconds * 1_000_000_000 + stamp.nanos


def descriptor(message: Any) -> BlobDescriptor:
    """The record of a descriptor message."""
    return BlobDescriptor(message.media_type, message.digest, message.size, labels_text(message.annotations))


def fill_descriptor(message: Any, value: BlobDescriptor) -> None:
    """Fills in a descriptor; the message is present even if all is empty, or containerd crashes on it."""
    message.SetInParent()
    message.media_type = value.media_type
    message.digest = value.digest
    message.size = value.size
    message.annotations.update(labels_of(value.annotations))


def platform(message: Any) -> Platform:
    """The record of a platform message."""
    return Platform(
        message.os, message.architecture, message.variant, message.os_version, tuple(message.os_features)
    )


def platform_message(value: Platform) -> Any:
    """The message of a platform."""
    return types_pb2.Platform(
        os=value.os,
        architecture=value.architecture,
        variant=value.variant,
        os_version=value.os_version,
        os_features=value.os_features,
    )


def mounts(messages: Any) -> tuple[Mount, ...]:
    """The records of mount messages."""
    return tuple(Mount(m.type, m.source, m.target, tuple(m.options)) for m in messages)


def mount_messages(values: tuple[Mount, ...]) -> list[Any]:
    """The messages of mounts."""
    return [types_pb2.Mount(type=m.type, source=m.source, target=m.target, options=m.options) for m in values]
