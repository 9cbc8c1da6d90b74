"""prune, prune_to, tag: a filtered frame goes in, a Plan comes out. Nothing is written here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from imgframe import gotime, planning, reference, schema
from imgframe.act.plan import Plan
from imgframe.act.resolving import remote_presence
from imgframe.errors import InputError, ReferenceError_
from imgframe.node import Node
from imgframe.planning.keeping import kept_frame, records_of

if TYPE_CHECKING:
    import pandas as pd

    from imgframe.inventory import Inventory


def prune(
    images: pd.DataFrame,
    inventory: Inventory,
    *,
    keep_pinned: bool = True,
    keep_used: bool = True,
    keep_unknown: bool = True,
    undo_for: str | int | None = None,
    require_remote: bool | Mapping[str, Any] = False,
) -> Plan:
    """A Plan that deletes the records of a frame, with the exact bytes that this frees.

    ``images``: any frame with node, namespace, name and digest (what a filter leaves). Kept, with the reason in ``Plan.kept``:
    what is pinned (under any name of the digest), used by a container (by name, by digest under any name, or by its snapshots),
    unknown, or changed since the inventory; each rule can be lifted. ``undo_for``: a Go duration (``"2h"``) or seconds for
    which a lease holds the content, so that ``result.undo()`` can put the names back; the bytes return only afterwards.
    ``require_remote``: what no registry has under any of its names, or where that cannot be learnt, is kept too; options of
    :func:`resolve_digest` instead of True say how registries are asked.

    Raises:
        MissingColumn: the frame does not say which records are meant.

    Example:
        >>> import imgframe as imf
        >>> inv = imf.Inventory({})
        >>> imf.prune(inv.images, inv).steps.empty
        True
    """
    keep = {"keep_pinned": keep_pinned, "keep_used": keep_used, "keep_unknown": keep_unknown}
    decided = planning.decide(images, inventory, keep)
    if require_remote is not False:
        options = {} if require_remote is True else dict(require_remote)
        decided = _only_replaceable(decided, inventory, keep, options)
    return _deletion(decided, inventory, keep, undo_for)


def _only_replaceable(
    decided: planning.Decided, inventory: Inventory, keep: dict[str, bool], options: dict[str, Any]
) -> planning.Decided:
    """The same without the steps whose image could not be pulled again; those are kept, with what the registry said."""
    import pandas as pd

    going = records_of(decided.steps, inventory, "prune")
    presence = remote_presence(inventory, set(going["digest"]), **options)
    reasons = np.full(len(going), None, dtype=object)
    for place, digest in enumerate(going["digest"]):
        there, why = presence[digest]
        if not there:
            what = "not known to be in a registry" if there is None else "in no registry"
            reasons[place] = f"{what}: {why}"
    stays = np.array([one is not None for one in reasons], dtype=bool)
    again = planning.decide(going[~stays], inventory, keep)
    kept = [one for one in (decided.kept, kept_frame(going, reasons)) if len(one)]
    return again._replace(kept=pd.concat(kept, ignore_index=True) if kept else decided.kept)


def prune_to(
    inventory: Inventory,
    target: int | str,
    *,
    candidates: pd.DataFrame | None = None,
    order: Any = "harm",
    keep_pinned: bool = True,
    keep_used: bool = True,
    keep_unknown: bool = True,
    undo_for: str | int | None = None,
) -> Plan:
    """A Plan that frees ``target`` by giving up what does the least harm, taking shared layers into account.

    ``target``: bytes to free on each node, or ``"80%"``: until the disk of each node is that full. ``candidates``: a frame of
    what may go, by default every image. ``order``: ``"harm"`` (bytes to pull again, halved for each 30 days untouched), a column
    or list of costs, or ``"oldest"``/``"largest"`` (one after the other, as simple tools do). What :func:`prune` keeps is kept.

    Raises:
        InputError: a target that is neither bytes nor a share, or a share of a disk whose size is unknown.

    Example:
        >>> import imgframe as imf
        >>> imf.prune_to(imf.Inventory({}), 10**9).steps.empty
        True
    """
    keep = {"keep_pinned": keep_pinned, "keep_used": keep_used, "keep_unknown": keep_unknown}
    return _deletion(
        planning.decide_to(inventory, target, candidates, order, keep), inventory, keep, undo_for
    )


def _deletion(
    decided: planning.Decided, inventory: Inventory, keep: dict[str, bool], undo_for: str | int | None
) -> Plan:
    steps = schema.plan_table("steps", {name: decided.steps[name] for name in decided.steps.columns})
    lifted = {name: value for name, value in keep.items() if not value}
    options = schema.plan_table("steps", {"options": [json.dumps(lifted)] * steps.num_rows})["options"]
    steps = steps.set_column(steps.column_names.index("options"), steps.schema.field("options"), options)
    kept = schema.plan_table("kept", {name: decided.kept[name] for name in decided.kept.columns})
    return Plan(steps, kept, nodes_of(inventory), decided.freed, seconds_of(undo_for))


def nodes_of(inventory: Inventory) -> dict[str, Node]:
    """The nodes of an inventory, by name, as their addresses say."""
    rows = inventory.arrow("nodes").select(["node", "address"]).to_pylist()
    return {
        row["node"]: Node.of({"name": row["node"], "address": row["address"]})
        for row in rows
        if row["address"]
    }


def seconds_of(undo_for: str | int | None) -> int | None:
    """Seconds of a Go duration or a number; None stays None."""
    if undo_for is None:
        return None
    seconds = undo_for if isinstance(undo_for, int) else gotime.parse_duration(undo_for) // 10**9
    if seconds <= 0:
        raise InputError(f"undo_for {undo_for!r} is not a time ahead; expected a duration such as '2h'")
    return seconds


def tag(
    images: pd.DataFrame, inventory: Inventory, to: Callable[[str], str] | Mapping[str, str] | str
) -> Plan:
    """A Plan that gives the records of a frame a further name each.

    ``to``: a function from the name to the new one, a mapping (names that it lacks are kept untouched), or a prefix such as
    ``registry.example/mirror`` that takes the place of the registry. New names are normalised; one that another record of the
    namespace has is moved, and the step's reason says so.

    Raises:
        InputError: a new name is not an image name, or two records would get the same.

    Example:
        >>> import imgframe as imf
        >>> inv = imf.Inventory({})
        >>> imf.tag(inv.images, inv, "registry.example/mirror").steps.empty
        True
    """
    records = records_of(images, inventory, "tag")
    known = {
        (r["node"], r["namespace"], r["name"]): r["digest"]
        for r in inventory.arrow("images").select(["node", "namespace", "name", "digest"]).to_pylist()
    }
    rows, reasons = [], []
    for row in records.to_dict("records"):
        new = new_name(str(row["name"]), to)
        bad = (
            "not in the inventory: nothing is known about it" if not isinstance(row["digest"], str) else None
        )
        reasons.append(bad or ("no new name is given for it" if new is None else None))
        if reasons[-1] is None:
            rows.append((row, new, known.get((row["node"], row["namespace"], new))))
    taken = [(row["node"], row["namespace"], new) for row, new, _ in rows]
    twice = next((one for at, one in enumerate(taken) if one in taken[:at]), None)
    if twice is not None:
        raise InputError(
            f"two records would be called {twice[2]!r} in namespace {twice[1]!r} of node {twice[0]!r}"
        )
    columns = {
        "step": list(range(len(rows))),
        "action": ["tag"] * len(rows),
        **{
            name: [row[name] for row, _, _ in rows]
            for name in ("node", "namespace", "name", "digest", "media_type", "target_size", "record_labels")
        },
        "to": [new for _, new, _ in rows],
        "reason": [
            f"a further name{'' if old in {None, row['digest']} else f'; moves it from {old}'}"
            for row, _, old in rows
        ],
        "predicted_bytes": [0] * len(rows),
        "options": [json.dumps({} if old is None else {"replaces": old}) for _, _, old in rows],
    }
    import numpy as np

    kept = kept_frame(records, np.array(reasons, dtype=object))
    return Plan(
        schema.plan_table("steps", columns),
        schema.plan_table("kept", {n: kept[n] for n in kept.columns}),
        nodes_of(inventory),
    )


def new_name(name: str, to: Callable[[str], str] | Mapping[str, str] | str) -> str | None:
    """The normalised new name; None where a mapping has none.

    Raises:
        InputError: it is not an image name.
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
                f"{name!r} is not an image name, so {to!r} cannot take the place of its registry; give a mapping"
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
