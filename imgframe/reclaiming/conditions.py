"""Conditional references: a blob or an image record keeps a snapshot that was used lately, or was not used for long.

Source: ``core/metadata/gc.go`` of containerd 2.3 and 2.4. The label ``containerd.io/gc.cond.snapshot.SNAPSHOTTER`` of the blob or
record is ``CONDITION[,CONDITION...]|KEY``; any one of the conditions suffices. ``usedat<DURATION`` and ``usedat>DURATION`` compare
the age of the time in the snapshot's label ``containerd.io/gc.cond.value-usedat`` when garbage is collected. Other conditions
never hold, and none holds for a snapshot without such a time.
"""

from __future__ import annotations

from typing import NamedTuple

from imgframe.errors import InputError
from imgframe.golang import time as gotime

SINCE = 203
"""The release from which containerd decides conditions; earlier ones ignore the labels."""
LABEL = "containerd.io/gc.cond.snapshot"
USED_AT = "containerd.io/gc.cond.value-usedat"


class Condition(NamedTuple):
    """One alternative of a label: the snapshot is kept while its age is below (or above) a number of nanoseconds.

    ``text`` is the number of the label text that it stands in.
    """

    text: int
    snapshotter: str
    key: str
    below: bool
    age: int


def read_condition(text: int, label: str, value: str) -> list[Condition]:
    """The alternatives that containerd knows in one label of the label text with the number ``text``.

    Example:
        >>> [(found.below, found.age) for found in read_condition(0, f"{LABEL}.overlayfs", "usedat<1s,other=5,usedat>2m|k")]
        [(True, 1000000000), (False, 120000000000)]
    """
    conditions, bar, key = value.partition("|")
    if not bar:
        return []
    snapshotter = label[len(LABEL) :].lstrip("./").partition("/")[0]
    found = []
    for condition in conditions.split(","):
        sign = condition[len("usedat") :][:1]
        if condition.startswith("usedat") and sign in {"<", ">"}:
            try:
                age = gotime.parse_duration(condition[len("usedat<") :])
            except InputError:
                continue
            found.append(Condition(text, snapshotter, key, sign == "<", age))
    return found


def read_used_at(value: str) -> int | None:
    """The time of a :data:`USED_AT` label in ns; None where containerd cannot read it."""
    try:
        return gotime.parse_rfc3339(value)
    except InputError:
        return None
