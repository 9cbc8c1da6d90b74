"""The steps of a tag: the additional name of each record, and the digest from which an existing name is moved."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from imgframe import reference, schema
from imgframe.arrow.image_rows import rows_of
from imgframe.errors import InputError, ReferenceError_
from imgframe.planning.decision import Decision
from imgframe.planning.requested import KEY, RequestedRecords
from imgframe.planning.retention import free, kept_table

if TYPE_CHECKING:
    from imgframe.inventory import Inventory

Names = Callable[[str], str] | Mapping[str, str] | str


def tag_steps(records: RequestedRecords, inventory: Inventory, to: Names) -> Decision:
    """One step per record that gets an additional name; the others are kept, with the reason.

    Raises:
        InputError: a new name is not an image name, or two records of a namespace would get the same.
    """
    unknown = np.asarray(records.column("digest").is_null())
    old = records.asked["name"].to_pylist()
    known = dict.fromkeys(name for name, lost in zip(old, unknown.tolist(), strict=True) if not lost)
    given = {name: new_name(name, to) for name in known}  # each name once, however many nodes have it
    names = [None if lost else given[name] for name, lost in zip(old, unknown.tolist(), strict=True)]
    reasons = np.array(["no new name is given for it" if name is None else None for name in names], object)
    reasons[unknown] = "not in the inventory: nothing is known about it"
    going = records.only(free(reasons))
    new = pa.array([name for name in names if name is not None], pa.string())
    keys = going.keys().set_column(KEY.index("name"), "name", new.dictionary_encode())
    _refuse_clashes(keys)
    own = inventory.arrow("images")
    rows = rows_of(own, keys, "tag")
    moved = (
        own["digest"].take(pa.array(rows, mask=rows < 0)).to_pylist()
    )  # from which digest, if the name exists
    pairs = list(zip(moved, going.column("digest").to_pylist(), strict=True))
    steps = schema.plan_table(
        "steps",
        {
            "step": pa.array(np.arange(len(going))),
            "action": ["tag"] * len(going),
            **going.columns(["digest", "media_type", "target_size", "record_labels"]),
            "to": new,
            "reason": [
                f"an additional name{'' if old in {None, digest} else f'; moves it from {old}'}"
                for old, digest in pairs
            ],
            "predicted_bytes": pa.array(np.zeros(len(going), np.int64)),
            "options": [json.dumps({} if old is None else {"replaces": old}) for old in moved],
        },
    )
    return Decision(steps, kept_table(records, reasons))


def _refuse_clashes(keys: pa.Table) -> None:
    taken = Counter(zip(*(keys[name].to_pylist() for name in KEY), strict=True))
    for (node, namespace, name), count in taken.most_common(1):
        if count > 1:
            words = "two" if count == 2 else str(count)
            raise InputError(
                f"{words} records would be named {name!r} in namespace {namespace!r} of node {node!r}"
            )


def new_name(name: str, to: Names) -> str | None:
    """The normalised new name; None if a mapping has none.

    Raises:
        InputError: it is not an image name.

    Example:
        >>> new_name("docker.io/library/alpine:3.20", "mirror.example/copy/")
        'mirror.example/copy/library/alpine:3.20'
    """
    if callable(to):
        wanted: str | None = to(name)
    elif isinstance(to, Mapping):
        wanted = to.get(name)
    else:
        try:
            parsed = reference.parse(name)
        except ReferenceError_ as error:
            raise InputError(
                f"{name!r} is not an image name, so its registry cannot be replaced by {to!r}; give a mapping"
            ) from error
        wanted = (
            f"{to.rstrip('/')}/{parsed.path}"
            + (f":{parsed.tag}" if parsed.tag else "")
            + (f"@{parsed.digest}" if parsed.digest and not parsed.tag else "")
        )
    if wanted is None:
        return None
    try:
        return reference.parse(wanted).string
    except ReferenceError_ as error:
        raise InputError(f"the new name {wanted!r} for {name!r} is not an image name: {error}") from error
