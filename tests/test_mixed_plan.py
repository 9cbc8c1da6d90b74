"""Plans that mix actions, on real daemons: each node takes the actions in the order in which they first appear."""

import dataclasses

import pyarrow as pa
import pytest
from testbed.node_state import EMPTY, state

import imgframe as imf
from imgframe import schema


def joined(*plans):
    """One plan with the steps of several, in this order."""
    table = pa.concat_tables([plan.table for plan in plans])
    columns = {name: table[name].to_pylist() for name in table.column_names}
    columns["step"] = list(range(table.num_rows))
    nodes = {name: node for plan in plans for name, node in plan.nodes.items()}
    return dataclasses.replace(plans[0], table=schema.plan_table("steps", columns), nodes=nodes, id="")


@pytest.fixture
def base(containerd, registry):
    """An image in a namespace of its own: the namespace, its name, and what was collected."""
    namespace, name = containerd.new_namespace("mixed"), f"{registry.host}/team/base:1"
    imf.pull(name, containerd.address, namespace=namespace, platform="all").apply().raise_for_errors()
    return namespace, name, imf.collect(containerd.address, namespaces=[namespace])


def test_all_actions_in_one_plan(containerd, registry, base, tmp_path):
    namespace, name, inventory = base
    tools, deep = f"{registry.host}/library/tools:latest", f"{registry.host}/team/deep:1"
    copy = f"{registry.host}/mixed/{containerd.release}:1"
    plan = joined(
        imf.push(inventory.images, inventory, to={name: copy}),
        imf.ensure([tools], containerd.address, namespace=namespace),
        imf.tag(inventory.images, inventory, {name: f"{name}-old"}),
        imf.prune(inventory.images, inventory, undo_for="1h"),
        imf.pull(deep, containerd.address, namespace=namespace),
        imf.ensure([deep], containerd.address, namespace=namespace, mode="never"),
    )
    plan = dataclasses.replace(plan, undo_for=3600, id="")
    plan.save(tmp_path / "plan")
    result = imf.open_plan(tmp_path / "plan").apply(audit=tmp_path / "audit")
    steps = result.steps
    assert steps["action"].tolist() == ["push", "ensure", "tag", "delete", "pull", "ensure"]
    message = "no such image yet: the steps of an action run together, before those of the next"
    assert steps["status"].tolist() == ["done"] * 5 + ["failed"], message
    begun = steps.sort_values("started_at")["action"].tolist()
    assert begun == ["push", "ensure", "ensure", "tag", "delete", "pull"]
    assert set(state(containerd, namespace).images) == {tools, deep, f"{name}-old"}
    assert result.observed_bytes == 0, "the other name and the lease still hold the content"
    assert imf.resolve_digest([copy]).tolist() == inventory.images["digest"].tolist()
    assert len(list((tmp_path / "audit").iterdir())) == 1
    undone = result.undo()
    assert undone.steps["name"].tolist() == [name]
    undone.apply().raise_for_errors()
    assert set(state(containerd, namespace).images) == {name, tools, deep, f"{name}-old"}


def test_what_is_deleted_first_cannot_be_pushed(containerd, registry, base):
    namespace, name, inventory = base
    result = joined(
        imf.prune(inventory.images, inventory),
        imf.push(inventory.images, inventory, to={name: f"{registry.host}/mixed/gone:1"}),
    ).apply()
    assert result.steps["status"].tolist() == ["done", "refused"]
    assert "the record is gone" in result.steps["message"].iloc[1]
    assert state(containerd, namespace) == EMPTY


def test_an_unknown_action_fails_alone(base):
    _, name, inventory = base
    plan = joined(
        imf.prune(inventory.images, inventory), imf.tag(inventory.images, inventory, {name: f"{name}-2"})
    )
    columns = {column: plan.table[column].to_pylist() for column in plan.table.column_names}
    columns["action"][0] = "destroy"
    result = dataclasses.replace(plan, table=schema.plan_table("steps", columns), id="").apply()
    assert result.steps["status"].tolist() == ["failed", "done"]
    assert (
        result.steps["message"].iloc[0].startswith("unknown action 'destroy'; expected one of create, delete")
    )
