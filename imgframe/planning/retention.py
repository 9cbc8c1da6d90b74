"""What a prune keeps although it was asked for, and why: by imgframe's rules or those of ``nerdctl image prune``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgframe import schema
from imgframe.arrow.keys import Bools, combined, numbers, one_array, unify
from imgframe.errors import InputError
from imgframe.planning.requested import RequestedRecords

if TYPE_CHECKING:
    from imgframe.inventory import Inventory

DIALECTS = ("imgframe", "nerdctl")

Reasons = np.ndarray
"""Per record the reason to keep it, None if it may go (dtype object)."""


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """What is kept.

    Attributes:
        pinned: keep what is pinned under any name of its digest.
        used: keep what containers use: ``"digest"``, by name, by digest under any name, or by snapshots; ``"name"``, by exactly
            this name, as nerdctl does; None: do not keep it.
        known: keep records of which one of these columns is unknown.
        dangling: keep everything that is not dangling.
    """

    pinned: bool = True
    used: str | None = "digest"
    known: tuple[str, ...] = ("pinned", "used_by_digest", "containers")
    dangling: bool = False

    @classmethod
    def of(
        cls,
        dialect: str = "imgframe",
        *,
        all: bool | None = None,
        keep_pinned: bool | None = None,
        keep_used: bool | None = None,
        keep_unknown: bool = True,
    ) -> RetentionRules:
        """The rules of a dialect; None leaves a rule as it is in the dialect.

        Raises:
            InputError: there is no such dialect, or ``all`` is given to one without it.

        Example:
            >>> RetentionRules.of("nerdctl", all=True)
            RetentionRules(pinned=False, used='name', known=('containers',), dangling=False)
        """
        if dialect not in DIALECTS:
            raise InputError(f"dialect {dialect!r} is unknown; expected one of {', '.join(DIALECTS)}")
        nerdctl = dialect == "nerdctl"
        if all is not None and not nerdctl:
            raise InputError(
                f"all={all!r} needs dialect='nerdctl'; otherwise the frame says which images to delete"
            )
        usual = ("name" if all else None) if nerdctl else "digest"
        pinned = not nerdctl if keep_pinned is None else keep_pinned
        used = usual if keep_used is None else "digest" if keep_used else None
        wanted = {"pinned": pinned, "used_by_digest": used == "digest", "containers": True}
        known = tuple(name for name, needed in wanted.items() if needed or not nerdctl)
        return cls(pinned, used, known if keep_unknown else (), nerdctl and not all)

    def options(self) -> dict[str, Any]:
        """The rules as options of a step, so that the same rules hold when it is applied."""
        lifted = {"keep_pinned": self.pinned, "keep_used": self.used, "keep_unknown": self.known}
        told: dict[str, Any] = {name: False for name, kept in lifted.items() if not kept}
        return {**told, "used_by": "name"} if self.used == "name" else told

    def reasons(self, records: RequestedRecords, inventory: Inventory) -> Reasons:
        """Per record the first reason to keep it, None if it may go."""
        named = numbers(records.column("containers"))[0] > 0
        notes = [
            (records.column("digest").is_null(), "not in the inventory: nothing is known about it"),
            (records.moved(), "changed since: the inventory has another digest under this name"),
        ]
        if self.dangling:
            others = ~_dangling(records)
            notes.append((others, "not dangling: nerdctl image prune deletes it only with --all"))
        if self.pinned:
            notes.append((_pinned(records), "pinned"))
        if self.used == "digest":
            used = named | _true(records.column("used_by_digest"))
            notes.append((used, "in use by a container"))
        elif self.used == "name":
            notes.append((named, "in use: a container has exactly this name"))
        notes += [(records.column(name).is_null(), "its use is unknown") for name in self.known]
        if self.known:
            blind = _blind(records, inventory)
            notes.append((blind, "containers could not be read, so its use is unknown"))
        masks, words = zip(*notes, strict=True)
        reasons = [np.array(word, object) for word in words]
        return np.select([np.asarray(mask, np.bool_) for mask in masks], reasons, np.array(None))


def _true(column: pa.Array) -> Bools:
    """Where a boolean column is known to be true."""
    return column.fill_null(False).to_numpy(zero_copy_only=False)


def _pinned(records: RequestedRecords) -> Bools:
    """Whether a record of the same digest in the same namespace is pinned: the names of an image belong together."""
    images = records.images()
    flagged = np.unique(images[_true(one_array(records.own["pinned"]))])
    return np.isin(np.append(images, -1)[records.rows], flagged)


def _dangling(records: RequestedRecords) -> Bools:
    """Whether nerdctl takes the name for that of a dangling image."""
    from imgframe.filters import filter_dangling_images

    names = schema.to_frame(records.asked.select(["name"]))
    return filter_dangling_images()(names).to_numpy(np.bool_, na_value=False)


def _blind(records: RequestedRecords, inventory: Inventory) -> Bools:
    """Whether the containers of the record's namespace could not be listed."""
    errors = inventory.arrow("errors")
    stages = pa.array(["containers", "connect"])
    failed = errors.filter(pc.is_in(errors["stage"].cast(pa.string()), stages))
    (node, failed_node), nodes = unify([records.asked["node"], failed["node"]])
    (space, failed_space), spaces = unify([records.asked["namespace"], failed["namespace"]])
    sizes = (len(nodes), len(spaces))
    own, pairs = combined(node, space, sizes=sizes), combined(failed_node, failed_space, sizes=sizes)
    return np.isin(own, pairs) | np.isin(node, failed_node[failed_space < 0])


def free(reasons: Reasons) -> Bools:
    """Which records may go."""
    return np.array([reason is None for reason in reasons], np.bool_)


def nerdctl_says(records: RequestedRecords, inventory: Inventory, *, all: bool) -> np.ndarray:
    """Per record that nerdctl deletes it, and why imgframe would not."""
    ours = RetentionRules().reasons(records, inventory)
    says = f"nerdctl image prune{' --all' if all else ''} deletes it"
    return np.array(
        [says if reason is None else f"{says}; imgframe would keep it: {reason}" for reason in ours], object
    )


def kept_table(records: RequestedRecords, reasons: Reasons) -> pa.Table:
    """The kept records with their reasons, in the columns of ``Plan.kept``."""
    kept = ~free(reasons)
    return schema.plan_table(
        "kept", {**records.only(kept).columns(["digest"]), "reason": pa.array(reasons[kept], pa.string())}
    )
