"""Undo by whoever finds a saved plan, an audit, or only the node."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgframe.errors import InputError
from imgframe.node import nodes_of
from imgframe.plans.audited_runs import audited_runs
from imgframe.plans.plan import Plan
from imgframe.plans.saved_plan import open_plan
from imgframe.plans.undo import creating, read_leases, undo_plan

if TYPE_CHECKING:
    import pandas as pd


def undo(what: str | os.PathLike[str], nodes: Any = None, *, timeout: float = 60.0) -> Plan:
    """A Plan that puts back what the applications of a plan deleted, in any process and on any machine that reaches the nodes.

    ``what``: the folder of a saved plan, an audit (its folder, or one of its files); or, with ``nodes``, the id of a plan as
    :func:`undoable` lists it, for which the nodes themselves hold all that is needed. Only what a lease still holds and is not
    there now becomes a step.

    Raises:
        InputError: nothing was deleted, nothing is held for undo, or the time is over.
        SchemaError: the folder is neither a saved plan nor an audit.
        NodeError: no node is found.
    """
    if nodes is not None:
        return undo_on_nodes(os.fspath(what), nodes, timeout=timeout)
    if (Path(what) / "plan.json").exists():
        return undo_plan(open_plan(what), timeout=timeout)
    runs = [run for run in audited_runs(what) if "delete" in run.plan.table["action"].to_pylist()]
    plans = {run.plan.id: run.plan for run in runs}
    if not plans:
        raise InputError(f"{str(what)!r} records no deletion, so there is nothing to undo")
    if len(plans) > 1:
        raise InputError(
            f"{str(what)!r} records deletions of {len(plans)} plans ({', '.join(plans)}); give the file of one of them"
        )
    return undo_plan(next(iter(plans.values())), timeout=timeout)


def undo_on_nodes(plan: str, nodes: Any = None, *, timeout: float = 60.0) -> Plan:
    """A Plan that undoes the plan with this id on nodes, from what the nodes themselves hold.

    Raises:
        InputError: no node holds anything of such a plan.
        NodeError: no node is found.
    """
    given = {node.name: node for node in nodes_of(nodes)}
    seen = read_leases(given, plan, timeout=timeout)
    rows: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for name, node in seen.items():
        for key, record in node.records.items():
            why = node.objection(key)
            row = {
                "node": name,
                "namespace": key[0],
                "name": record.name,
                "digest": record.digest,
                "media_type": record.media_type,
                "target_size": record.size,
                "record_labels": record.labels,
            }
            (kept if why else rows).append({**row, "reason": why})
    if not any(node.leases for node in seen.values()):
        unreadable = [node.problem for node in seen.values() if node.problem]
        raise InputError(
            unreadable[0]
            if unreadable
            else f"no lease holds anything of a plan {plan!r}: there is none, it was undone, or its time is over"
        )
    broken = [lease.problem for node in seen.values() for lease in node.leases if lease.problem]
    if broken and not rows and not kept:
        raise InputError(f"plan {plan} cannot be undone: {broken[0]}")
    stores = {name: node.store for name, node in seen.items() if node.store}
    steps, left = creating(rows, kept, plan)
    return Plan(steps, left, given, stores=stores)


def undoable(nodes: Any = None, *, timeout: float = 60.0) -> pd.DataFrame:
    """What nodes hold for undo, one row per lease.

    Columns: node, namespace, plan (id for :func:`undo`), lease, expires_at (by the node's clock), names (records that it holds;
    NA where they cannot be read), missing (how many of them are not there now) and problem (NA: none).

    Raises:
        NodeError: no node is found.
        InputError: no node could be read.

    Example:
        >>> import imgframe as imf
        >>> with imf.simulator.node(images=3) as node:
        ...     imf.undoable(node.address).empty
        True
    """
    import pandas as pd

    seen = read_leases({node.name: node for node in nodes_of(nodes)}, None, timeout=timeout)
    rows: list[dict[str, Any]] = []
    for name, node in seen.items():
        if node.problem and len(seen) == 1:
            raise InputError(node.problem)
        if node.problem:
            rows.append({"node": name, "problem": node.problem})
        for lease in node.leases:
            away = sum(
                node.names.get((lease.namespace, record.name)) != record.digest for record in lease.records
            )
            rows.append(
                {
                    "node": name,
                    "namespace": lease.namespace,
                    "plan": lease.plan,
                    "lease": lease.id,
                    "expires_at": lease.expires_at,
                    "names": None if lease.problem else len(lease.records),
                    "missing": None if lease.problem else away,
                    "problem": lease.problem or None,
                }
            )
    columns = ["node", "namespace", "plan", "lease", "expires_at", "names", "missing", "problem"]
    frame = pd.DataFrame(rows, columns=columns).astype(
        dict.fromkeys(("node", "namespace", "plan", "lease", "problem"), "string")
        | {"names": "Int64", "missing": "Int64"}
    )
    return frame.assign(expires_at=pd.to_datetime(frame["expires_at"].astype("Int64"), utc=True))
