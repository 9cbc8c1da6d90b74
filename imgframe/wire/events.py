"""Events: what changes on a node, as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from imgframe._proto import event_types_pb2, events_pb2, images_pb2
from imgframe.wire.channel import Channel, methods
from imgframe.wire.messages import nanoseconds
from imgframe.wire.records import Event

_EVENTS = methods(events_pb2, "Events")
_IMAGE_EVENTS = (images_pb2.ImageCreate, images_pb2.ImageUpdate, images_pb2.ImageDelete)
_PAYLOADS: dict[str, Any] = {
    message.full_name: getattr(event_types_pb2, name)
    for name, message in event_types_pb2.DESCRIPTOR.message_types_by_name.items()
} | {message.DESCRIPTOR.full_name: message for message in _IMAGE_EVENTS}


def _subject(event: Any) -> str:
    """The subject of an event: field 1 of a known payload."""
    payload = _PAYLOADS.get(event.type_url.rsplit("/", 1)[-1])
    if payload is None:
        return ""
    message = payload.FromString(event.value)
    return str(getattr(message, message.DESCRIPTOR.fields_by_number[1].name))


class EventsClient:
    """containerd's events."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def subscribe(
        self, filters: Sequence[str] = (), *, seconds: float = 86_400
    ) -> AsyncIterator[Event]:
        """Events of all namespaces as they arrive; ends with :class:`~imgframe.errors.TimedOut` after ``seconds``.

        A subscription is not acknowledged and nothing is replayed: publish an event and wait for it before relying on
        the stream. The garbage collector publishes no content events on any version, and no snapshot events on 1.6.
        """
        request = events_pb2.SubscribeRequest(filters=filters)
        async for message in self._channel.stream(_EVENTS["Subscribe"], request, timeout=seconds):
            yield Event(
                nanoseconds(message, "timestamp"), message.namespace, message.topic, _subject(message.event)
            )

    async def publish(self, namespace: str, topic: str, subject: str) -> None:
        """Publishes an event."""
        payload = event_types_pb2.NamespaceUpdate(name=subject)
        request = events_pb2.PublishRequest(topic=topic)
        request.event.type_url = payload.DESCRIPTOR.full_name
        request.event.value = payload.SerializeToString()
        await self._channel.unary(_EVENTS["Publish"], request, namespace)
