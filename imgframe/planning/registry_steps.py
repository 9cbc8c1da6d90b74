"""The steps of pull, ensure and push: which references go where, and what cannot be moved, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from imgframe import reference, schema
from imgframe.errors import InputError, MissingColumn, ReferenceError_
from imgframe.planning.decision import Decision
from imgframe.planning.requested import KEY

if TYPE_CHECKING:
    import pyarrow as pa


class RequestedName(NamedTuple):
    """A reference and the namespace for it; None: the default."""

    name: str
    namespace: str | None


def wanted_of(images: Any, needed_by: str) -> tuple[list[RequestedName], bool]:
    """The references of a frame or a list, each once and in order; whether it was a frame.

    Raises:
        MissingColumn: the frame has no name.
        InputError: it contains something other than text.
    """
    if hasattr(images, "columns"):
        if "name" not in images.columns:
            raise MissingColumn("name", needed_by, images.columns)
        names = images["name"].tolist()
        spaces = images["namespace"].tolist() if "namespace" in images.columns else [None] * len(names)
        rows = zip(names, spaces, strict=True)
        return list(dict.fromkeys(RequestedName(str(name), space) for name, space in rows)), True
    given = [images] if isinstance(images, str) else list(images)
    for one in given:
        if not isinstance(one, str):
            raise InputError(f"{one!r} is not an image name; expected text, a list of texts or a frame")
    return [RequestedName(one, None) for one in dict.fromkeys(given)], False


def fetch_steps(
    action: str,
    images: Any,
    nodes: Sequence[str],
    namespace: str | None,
    options: str,
) -> Decision:
    """One step per reference and node for pull and ensure.

    A pull needs names that a registry can have: other names in a frame are kept, with the reason; in a list they are an error.
    Ensure accepts whatever can be found on the node, such as the beginning of a digest.

    Raises:
        ReferenceError_: a list for a pull contains something else.
    """
    wanted, is_frame = wanted_of(images, action)
    steps: list[tuple[str, str, str]] = []
    kept: list[tuple[str, str, str, str]] = []
    for one in wanted:
        space = namespace or one.namespace or "default"
        try:
            name = _pulled_name(one.name) if action == "pull" else one.name
        except ReferenceError_ as error:
            if not is_frame:
                raise
            kept += [(node, space, one.name, f"not a name in a registry: {error.go}") for node in nodes]
            continue
        steps += [(node, space, name) for node in nodes]
    steps = list(dict.fromkeys(steps))
    left = {name: [row[at] for row in kept] for at, name in enumerate((*KEY, "reason"))}
    return Decision(_steps(action, steps, options, {}), schema.plan_table("kept", left))


def _steps(
    action: str, rows: Sequence[tuple[str, str, str]], options: str, more: Mapping[str, Sequence[Any]]
) -> pa.Table:
    """The steps for these nodes, namespaces and names."""
    reason = "asked for" + ("; TLS is not verified" if '"insecure":true' in options else "")
    count = len(rows)
    same = {"action": [action] * count, "reason": [reason] * count, "options": [options] * count}
    key = {name: [row[at] for row in rows] for at, name in enumerate(KEY)}
    return schema.plan_table("steps", {"step": list(range(count)), **same, **key, **more})


def _pulled_name(text: str) -> str:
    """The normalised name of a reference that a registry can have.

    Raises:
        ReferenceError_: it is a bare digest, a CID, or no name at all.
    """
    parsed = reference.parse(text)
    if parsed.bare or parsed.protocol:
        raise ReferenceError_(
            f"image name {text!r} names no repository of a registry, so it cannot be pulled or pushed",
            go="it names no repository",
        )
    return parsed.string


def registry_name(text: str) -> str | None:
    """The normalised name if a registry can have it, else None.

    Example:
        >>> registry_name("alpine"), registry_name("sha256:" + "0" * 64)
        ('docker.io/library/alpine:latest', None)
    """
    try:
        return _pulled_name(text)
    except ReferenceError_:
        return None


def push_steps(records: Sequence[Mapping[str, Any]], names: Sequence[str | None], options: str) -> Decision:
    """One step per record, to the name at the same place; records without a name or not in the inventory are kept.

    Raises:
        InputError: two different images would go to one name.
    """
    going: list[tuple[Mapping[str, Any], str]] = []
    kept: list[tuple[Any, str]] = []
    for record, name in zip(records, names, strict=True):
        if not isinstance(record["digest"], str):
            kept.append((record, "not in the inventory: nothing is known about it"))
        elif name is None:
            kept.append((record, "no name in a registry is given for it"))
        elif (destination := registry_name(name)) is None:
            kept.append((record, f"{name} is not a name in a registry"))
        else:
            going.append((record, destination))
    _refuse_clashes(going)
    rows = [(str(record["node"]), str(record["namespace"]), str(record["name"])) for record, _ in going]
    copied = ("digest", "media_type", "target_size", "record_labels")
    more = {column: [record[column] for record, _ in going] for column in copied}
    steps = _steps("push", rows, options, {**more, "to": [name for _, name in going]})
    left = {column: [record[column] for record, _ in kept] for column in (*KEY, "digest")}
    return Decision(steps, schema.plan_table("kept", {**left, "reason": [why for _, why in kept]}))


def _refuse_clashes(going: Sequence[tuple[Mapping[str, Any], str]]) -> None:
    by_name: dict[str, Mapping[str, Any]] = {}
    for record, name in going:
        other = by_name.setdefault(name, record)
        if other["digest"] != record["digest"]:
            raise InputError(
                f"{other['name']} of {other['node']} ({other['digest']}) and {record['name']} of {record['node']} "
                f"({record['digest']}) would both be pushed as {name}; give each its own name"
            )
