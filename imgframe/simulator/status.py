"""Refusals of the simulated services: gRPC statuses with containerd's texts."""

from __future__ import annotations

import re

import grpc

from imgframe.simulator.store import Labels

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


def not_found(text: str) -> Refusal:
    """NOT_FOUND."""
    return Refusal(grpc.StatusCode.NOT_FOUND, f"{text}: not found")


def exists(text: str) -> Refusal:
    """ALREADY_EXISTS."""
    return Refusal(grpc.StatusCode.ALREADY_EXISTS, f"{text}: already exists")


def invalid(text: str) -> Refusal:
    """INVALID_ARGUMENT."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"{text}: invalid argument")


def precondition(text: str) -> Refusal:
    """FAILED_PRECONDITION."""
    return Refusal(grpc.StatusCode.FAILED_PRECONDITION, f"{text}: failed precondition")


def check_labels(labels: Labels, owner: str = "") -> None:
    """Refuses a label of more than 4,096 bytes of key and value."""
    for key, value in labels.items():
        total = len(key.encode()) + len(value.encode())
        if total > _MAX_LABEL:
            shown = key if len(key) <= 64 else key[:64]
            raise invalid(
                f"{owner}label key and value length ({total} bytes) greater than maximum size "
                f"({_MAX_LABEL} bytes), key: {shown}"
            )


def updated(old: Labels, new: Labels, paths: list[str]) -> Labels:
    """Labels after an update: ``labels`` replaces all, ``labels.<key>`` one; an empty value removes its key."""
    if not paths or "labels" in paths:
        return {key: value for key, value in new.items() if value}
    result = dict(old)
    for path in paths:
        key = path.removeprefix("labels.")
        if new.get(key):
            result[key] = new[key]
        else:
            result.pop(key, None)
    return result


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
