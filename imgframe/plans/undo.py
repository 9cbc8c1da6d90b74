"""Plans that undo deletions: what the leases on the nodes hold, compared with what is there now. Nothing is written here."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from imgframe import _loop, schema
from imgframe.act.undo_leases import HeldRecord, UndoLease, held
from imgframe.errors import InputError, Missing, WireError
from imgframe.node import Node
from imgframe.wire import Client

if TYPE_CHECKING:
    from imgframe.plans.plan import Plan

_THERE, _NOT_HELD = "it is there", "no lease holds it for undo, or not any more"
_Key = tuple[str, str, str]
"""Namespace, name and digest of a record."""


@dataclass
class NodeLeases:
    """What one node holds for undo, and what it has now; ``problem``: why it could not be read."""

    problem: str = ""
    store: str = ""
    leases: list[UndoLease] = field(default_factory=list)
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    present: set[tuple[str, str]] = field(default_factory=set)

    @property
    def records(self) -> dict[_Key, HeldRecord]:
        """The records that the leases hold."""
        return {
            (lease.namespace, record.name, record.digest): record
            for lease in self.leases
            for record in lease.records
        }

    def objection(self, key: _Key) -> str:
        """Why a record is not created again; empty: it can be."""
        namespace, name, digest = key
        now = self.names.get((namespace, name))
        if now == digest:
            return _THERE
        if now is not None:
            return f"the name now has {now}; delete or rename that first"
        if key not in self.records:
            return _NOT_HELD
        return "" if (namespace, digest) in self.present else f"{digest} is no longer in the store"


async def _read(node: Node, plan: str | None, namespaces: Iterable[str], timeout: float) -> NodeLeases:
    found = NodeLeases()
    try:
        async with Client(node, timeout=timeout) as client:
            found.store = (await client.daemon.server()).uuid
            for namespace in [one.name for one in await client.daemon.namespaces()]:
                mine = await held(client, namespace, plan)
                if not mine and namespace not in namespaces:
                    continue
                found.leases += mine
                images = await client.images.list(namespace)
                found.names |= {(namespace, image.name): image.target.digest for image in images}
                wanted = {record.digest for lease in mine for record in lease.records}
                there = await asyncio.gather(*(_has(client, namespace, digest) for digest in wanted))
                found.present |= {(namespace, one) for one, has in zip(wanted, there, strict=True) if has}
    except WireError as error:
        found.problem = str(error)
    return found


async def _has(client: Client, namespace: str, digest: str) -> bool:
    try:
        await client.content.info(namespace, digest)
    except Missing:
        return False
    return True


def read_leases(
    nodes: Mapping[str, Node],
    plan: str | None,
    namespaces: Iterable[str] = (),
    *,
    timeout: float,
) -> dict[str, NodeLeases]:
    """What nodes hold for the undo of one plan, or of all; ``namespaces`` are read in any case."""

    async def together() -> dict[str, NodeLeases]:
        read = await asyncio.gather(*(_read(node, plan, namespaces, timeout) for node in nodes.values()))
        return dict(zip(nodes, read, strict=True))

    return _loop.run(together())


def undo_plan(plan: Plan, done: frozenset[int] = frozenset(), *, timeout: float = 60.0) -> Plan:
    """A plan of create steps for what applications of ``plan`` deleted and leases still hold, whatever became of the step.

    ``done``: steps that are known to have been taken; what is there again already stays a step, which is then ``gone``.

    Raises:
        InputError: the content was not held, nothing was deleted, or the time is over.
        WireError: no node could be reached.
    """
    if plan.undo_for is None:
        raise InputError(
            "this plan cannot be undone: it was made without undo_for (as in prune(..., undo_for='2h'))"
        )
    deletions = [row for row in plan.table.to_pylist() if row["action"] == "delete"]
    nodes = {row["node"]: plan.nodes[row["node"]] for row in deletions}
    seen = read_leases(nodes, plan.id, {row["namespace"] for row in deletions}, timeout=timeout)
    rows: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for row in deletions:
        node, key = seen[row["node"]], (row["namespace"], row["name"], row["digest"])
        if node.problem:
            why = f"the node could not be read: {node.problem}"
        elif plan.stores.get(row["node"], node.store) != node.store:
            why = f"{row['node']} now leads to another store ({node.store})"
        else:
            why = node.objection(key)
        if why and not (row["step"] in done and why == _THERE):
            kept.append({**row, "reason": why})
        else:
            rows.append(row)
    if not rows:
        _explain(plan, kept, seen)
    steps, left = creating(rows, kept, plan.id)
    return replace(
        plan,
        table=steps,
        kept_table=left,
        freed=None,
        undo_for=None,
        made_at=time.time_ns(),
        id="",
        shortfall_bytes=None,
        notes=(),
    )


def _explain(plan: Plan, kept: list[dict[str, Any]], seen: Mapping[str, NodeLeases]) -> None:
    """Raise why a plan cannot be undone at all."""
    reasons = {row["reason"] for row in kept}
    if reasons <= {_THERE}:
        raise InputError("nothing was deleted, so there is nothing to undo")
    unreadable = [node.problem for node in seen.values() if node.problem]
    if unreadable:
        raise InputError(f"plan {plan.id} cannot be undone now: {unreadable[0]}")
    broken = [lease.problem for node in seen.values() for lease in node.leases if lease.problem]
    if broken:
        raise InputError(f"plan {plan.id} cannot be undone: {broken[0]}")
    if reasons - {_THERE} == {_NOT_HELD}:
        raise InputError(
            f"the time to undo plan {plan.id} is over: no lease holds what it deleted; pull the images again"
        )
    raise InputError(f"plan {plan.id} cannot be undone: {min(reasons - {_THERE})}")


def creating(
    rows: list[dict[str, Any]], kept: list[dict[str, Any]], undone: str
) -> tuple[pa.Table, pa.Table]:
    """The tables of the plan that creates the records of ``rows`` again."""
    made = {
        "action": "create",
        "reason": f"undo of plan {undone}",
        "predicted_bytes": None,
        "options": json.dumps({"undo": undone}),
    }
    rows = [{**row, **made, "step": number} for number, row in enumerate(rows)]
    steps, left = (
        schema.plan_table(
            name, {column: [row.get(column) for row in some] for column in schema.PLANS[name].names}
        )
        for name, some in (("steps", rows), ("kept", kept))
    )
    return steps, left
