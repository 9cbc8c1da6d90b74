"""What a simulated service raises to refuse a call: a gRPC status, its text ending as containerd's errors do."""

from __future__ import annotations

import re

import grpc

from imgframe.simulator.store import Labels

_MAX_LABEL = 4096
_MAX_NAMESPACE = 76
_NAMESPACE_PATTERN = "^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"
_NAMESPACE = re.compile(_NAMESPACE_PATTERN)
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


class Refusal(Exception):  # noqa: N818 -- an answer, not a failure of the simulator
    """The call ends with this code and text."""

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


def digest_problem(text: str) -> str:
    """Why a digest is none, in Go's words; empty where it is one."""
    algorithm, colon, encoded = text.partition(":")
    if not colon or not encoded or not _DIGEST.fullmatch(text):
        return "invalid checksum digest format"
    if algorithm not in _LENGTHS:
        return "unsupported digest algorithm"
    if len(encoded) != _LENGTHS[algorithm]:
        return "invalid checksum digest length"
    return "" if re.fullmatch("[a-f0-9]+", encoded) else "invalid checksum digest format"


def check_labels(labels: Labels, owner: str = "") -> None:
    """Refuse a label whose key and value together are over 4,096 bytes."""
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
    """Refuse a call without a namespace, or with one that cannot be."""
    if not name:
        raise precondition("namespace is required")
    check_identifier(name, "namespace validation: ")


def check_identifier(name: str, owner: str = "") -> None:
    """Refuse a name that no namespace can have."""
    if not name:
        raise invalid(f"{owner}identifier must not be empty")
    if len(name) > _MAX_NAMESPACE:
        raise invalid(f'{owner}identifier "{name}" greater than maximum length ({_MAX_NAMESPACE} characters)')
    if not _NAMESPACE.fullmatch(name):
        raise invalid(f'{owner}identifier "{name}" must match {_NAMESPACE_PATTERN}')
