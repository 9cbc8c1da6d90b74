"""Refusals of the simulated services: gRPC statuses with containerd's texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

import grpc

from imgframe.simulator.store import Labels

T = TypeVar("T")
_MAX_LABEL = 4096
_MAX_NAMESPACE = 76
_NAMESPACE_PATTERN = "^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"
_NAMESPACE = re.compile(_NAMESPACE_PATTERN)


class Refusal(Exception):  # noqa: N818 -- a reply, not an error of the simulator
    """Ends a call with a status and a text."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


def _ending(code: grpc.StatusCode, words: str) -> Callable[[str], Refusal]:
    return lambda text: Refusal(code, f"{text}: {words}")


not_found = _ending(grpc.StatusCode.NOT_FOUND, "not found")
exists = _ending(grpc.StatusCode.ALREADY_EXISTS, "already exists")
invalid = _ending(grpc.StatusCode.INVALID_ARGUMENT, "invalid argument")
precondition = _ending(grpc.StatusCode.FAILED_PRECONDITION, "failed precondition")


def found(records: Mapping[str, T], key: str, what: str) -> T:
    """The record with the key; ``what`` is in the refusal if there is none."""
    if key not in records:
        raise not_found(what)
    return records[key]


def check_labels(labels: Labels, owner: str = "") -> None:
    """Refuses a label of more than 4,096 bytes of key and value."""
    for key, value in labels.items():
        total = len(key.encode()) + len(value.encode())
        if total > _MAX_LABEL:
            raise invalid(
                f"{owner}label key and value length ({total} bytes) greater than maximum size "
                f"({_MAX_LABEL} bytes), key: {key[:64]}"
            )


def not_empty(labels: Labels) -> dict[str, str]:
    """Labels as they are stored: one with an empty value is none."""
    return {key: value for key, value in labels.items() if value}


def updated(old: Labels, new: Labels, paths: list[str]) -> Labels:
    """Labels after an update: ``labels`` replaces all, ``labels.<key>`` one; an empty value removes its key."""
    if not paths or "labels" in paths:
        return not_empty(new)
    changes = {key: new.get(key, "") for key in (path.removeprefix("labels.") for path in paths)}
    return {key: value for key, value in old.items() if key not in changes} | not_empty(changes)


def check_namespace(name: str) -> None:
    """Refuses a call without a valid namespace."""
    if not name:
        raise precondition("namespace is required")
    check_identifier(name, "namespace validation: ")


def check_identifier(name: str, owner: str = "") -> None:
    """Refuses an invalid name of a namespace."""
    if not name:
        raise invalid(f"{owner}identifier must not be empty")
    if len(name) > _MAX_NAMESPACE:
        raise invalid(f'{owner}identifier "{name}" greater than maximum length ({_MAX_NAMESPACE} characters)')
    if not _NAMESPACE.fullmatch(name):
        raise invalid(f'{owner}identifier "{name}" must match {_NAMESPACE_PATTERN}')
