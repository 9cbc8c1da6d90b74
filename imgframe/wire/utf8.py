"""Repair of protobuf messages with text that is not UTF-8.

containerd 1.6 does not check text (an image's labels, for instance) and sends it as it is; protobuf for Python then rejects
the whole reply: thousands of records for one bad byte. Later versions refuse to send it.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class Malformed(ValueError):  # noqa: N818 -- a state, not an action
    """The bytes are not a protobuf message."""


def repair(data: bytes, message: Descriptor) -> tuple[bytes, list[str]]:
    """The message with U+FFFD for what is not UTF-8, and the names of the repaired records.

    A record's name is its first text: the name of an image, the digest of a blob, the key of a snapshot.

    Args:
        data: the message's bytes.
        message: its descriptor.

    Raises:
        Malformed: the bytes are not a protobuf message.
    """
    places: list[str] = []
    return _repair(data, message, places), places


def _repair(data: bytes, message: Descriptor, places: list[str]) -> bytes:
    out = bytearray()
    position = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind != _LENGTH:
            position = _skip(data, position, kind)
            out += data[start:position]
            continue
        length, position = _varint(data, position)
        value = data[position : position + length]
        position += length
        if len(value) < length:
            raise Malformed("ends inside a field")
        out += varint(tag) + _value(value, message.fields_by_number.get(tag >> 3), places)
    return bytes(out)


def _value(value: bytes, field: Any, places: list[str]) -> bytes:
    """A length-delimited value with its length in front, repaired."""
    if field is not None and field.type == FieldDescriptor.TYPE_STRING:
        text = value.decode("utf-8", "replace").encode()
        if text != value:
            places.append("")
        value = text
    elif field is not None and field.type == FieldDescriptor.TYPE_MESSAGE:
        before = len(places)
        value = _repair(value, field.message_type, places)
        if len(places) > before and not field.message_type.GetOptions().map_entry:
            places[before:] = [_first_text(value, field.message_type) or places[before]]
    return varint(len(value)) + value


def _first_text(data: bytes, message: Descriptor) -> str:
    """Field 1 of a repaired message, if it is text."""
    field = message.fields_by_number.get(1)
    if field is None or field.type != FieldDescriptor.TYPE_STRING or data[:1] != b"\x0a":
        return ""
    length, position = _varint(data, 1)
    return data[position : position + length].decode()


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise Malformed("ends inside a number")


def varint(value: int) -> bytes:
    """A number as protobuf encodes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _skip(data: bytes, position: int, kind: int) -> int:
    if kind == _VARINT:
        return _varint(data, position)[1]
    width = {_FIXED64: 8, _FIXED32: 4}.get(kind)
    if width is None or position + width > len(data):
        raise Malformed("a field of an unknown kind")
    return position + width
