"""What plans decide, on simulated stores: columns of costs, fleets as their nodes, the reasons, further names."""

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from testbed.clock import END

import imgframe as imf
from imgframe import simulator
from imgframe.errors import InputError
from imgframe.planning.knapsack import merge

LIFTED = {"keep_pinned": False, "keep_used": False, "keep_unknown": False}


def read(address):
    return imf.collect(address, cache=False, progress=False)


@pytest.fixture(scope="module")
def fleet():
    with simulator.fleet(nodes=5, days=30, seed=11, until=END) as running:
        return read(running.nodes)


def alone(inventory, node):
    """The inventory of one of several nodes."""
    tables = {name: frame for name, frame in inventory.to_dict().items() if name != "labels"}
    return imf.Inventory(
        {name: frame[frame["node"] == node] if "node" in frame else frame for name, frame in tables.items()}
    )


def test_a_fleet_is_pruned_as_each_of_its_nodes(fleet):
    target = 3 * 10**9
    for options in ({}, {"order": "oldest"}, {"order": "content_size"}, LIFTED):
        together = imf.prune_to(fleet, target, **options)
        steps = together.steps.astype({"node": str, "name": str, "namespace": str})
        for node in fleet.nodes["node"].astype(str):
            single = imf.prune_to(alone(fleet, node), target, **options)
            mine = steps[steps["node"] == node]
            assert mine["name"].tolist() == single.steps["name"].tolist()
            assert mine["predicted_bytes"].tolist() == single.steps["predicted_bytes"].tolist()
            assert mine["reason"].tolist() == single.steps["reason"].tolist()
        assert (
            together.freed.total_bytes
            == together.steps["predicted_bytes"].sum() + together.freed.garbage_bytes
        )


def test_reasons_and_rows_are_those_of_a_plain_loop(fleet):
    """The rules said again, record by record, on a frame with repeats, other digests and strangers."""
    rng = np.random.default_rng(3)
    images = fleet.images
    images["pinned"] = images["pinned"].mask(rng.random(len(images)) < 0.05)
    images["containers"] = images["containers"].mask(rng.random(len(images)) < 0.05)
    nodes = sorted(images["node"].astype(str).unique())
    failed = pd.DataFrame(
        {"node": nodes[:2], "namespace": ["k8s.io", None], "stage": ["containers", "connect"]}
    )
    inventory = fleet.replace(images=images, errors=failed)
    asked = images.sample(frac=0.8, random_state=4).astype({"node": str, "namespace": str, "name": str})
    asked = pd.concat([asked, asked.head(20), asked.head(5).assign(name=[f"no:{at}" for at in range(5)])])
    asked["digest"] = asked["digest"].astype(object).where(rng.random(len(asked)) > 0.1, "sha256:other")
    plan = imf.prune(asked, inventory)
    own = {(row["node"], row["namespace"], row["name"]): row for row in images.to_dict("records")}
    pinned = {(r["node"], r["namespace"], r["digest"]) for r in own.values() if r["pinned"] is True}
    going, kept, seen = [], [], set()
    for row in asked.to_dict("records"):
        key = (row["node"], row["namespace"], row["name"])
        if key not in seen:
            seen.add(key)
            reason = why(row, own.get(key), pinned, nodes)
            (kept if reason else going).append((*key, reason) if reason else key)
    columns = ["node", "namespace", "name"]
    assert list(plan.steps[columns].astype(str).itertuples(index=False, name=None)) == going
    assert list(plan.kept[[*columns, "reason"]].astype(str).itertuples(index=False, name=None)) == kept
    assert len({reason for *_, reason in kept}) == 6
    left = defaultdict(list)
    for key in sorted(own.keys() - set(going), key=list(own).index):
        left[*key[:2], own[key]["digest"]].append(key[2])
    for step in plan.steps.to_dict("records"):
        names = left[step["node"], step["namespace"], step["digest"]]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        wanted = (
            f"asked for; frees nothing while {', '.join(names[:3])}{more} also refer{'s' if len(names) == 1 else ''} to it"
            if names
            else "asked for"
        )
        assert step["reason"] == wanted


def why(row, own, pinned, nodes):
    if own is None:
        return "not in the inventory: nothing is known about it"
    if row["digest"] != own["digest"]:
        return "changed since: the inventory has another digest under this name"
    if (own["node"], own["namespace"], own["digest"]) in pinned:
        return "pinned"
    if own["used_by_digest"] is True or (not pd.isna(own["containers"]) and own["containers"] > 0):
        return "in use by a container"
    if any(pd.isna(own[name]) for name in ("pinned", "used_by_digest", "containers")):
        return "its use is unknown"
    if own["node"] == nodes[1] or (own["node"], own["namespace"]) == (nodes[0], "k8s.io"):
        return "containers could not be read, so its use is unknown"
    return None


def test_an_order_is_a_column_or_a_cost_for_each_candidate():
    with simulator.node(images=20, until=END) as running:
        inventory = read(running.address)
    images = inventory.images
    target = imf.reclaim(inventory, images).total_bytes // 3
    sizes = imf.prune_to(inventory, target, order="content_size", **LIFTED)
    given = imf.prune_to(inventory, target, order=images["content_size"].astype("float").tolist(), **LIFTED)
    assert sizes.steps["name"].tolist() == given.steps["name"].tolist()
    cost = images["content_size"].astype("float").fillna(0)
    largest = imf.prune_to(inventory, target, order="largest", **LIFTED)
    per_digest = {d: cost[images["digest"] == d].max() for d in images["digest"]}

    def price(plan):
        return sum(per_digest[digest] for digest in set(plan.steps["digest"]))

    assert price(sizes) <= price(largest)
    # shuffled candidates, some of them asked for twice and some kept: costs stay with their rows
    rng = np.random.default_rng(7)
    shuffled = images.iloc[rng.permutation(len(images))].assign(price=lambda f: f["content_size"])
    again = pd.concat([shuffled, shuffled.head(4)])
    named = imf.prune_to(inventory, target, candidates=again, order="price", **LIFTED)
    listed = imf.prune_to(
        inventory, target, candidates=again, order=again["price"].astype("float").tolist(), **LIFTED
    )
    assert set(named.steps["name"]) == set(listed.steps["name"]) == set(sizes.steps["name"])
    with pytest.raises(InputError, match="order has 3 costs for 20 candidates"):
        imf.prune_to(inventory, target, order=[1, 2, 3])
    with pytest.raises(InputError, match="a cost that is not a number"):
        imf.prune_to(inventory, target, order=[np.nan] * 20)
    with pytest.raises(InputError, match=r"order 'digest' is a column of type .*; expected numbers"):
        imf.prune_to(inventory, target, order="digest", **LIFTED)


def test_what_a_tag_keeps_and_how_many_names_clash():
    with simulator.node(images=12, until=END) as running:
        inventory = read(running.address)
    images = inventory.images
    plan = imf.tag(images, inventory, {str(images["name"][0]): "other.example/x:1"})
    assert plan.steps["to"].tolist() == ["other.example/x:1"]
    assert set(plan.kept["reason"]) == {"no new name is given for it"}
    assert len(plan.kept) == len(images) - 1
    lost = pd.DataFrame({"node": images["node"][0], "namespace": images["namespace"][0], "name": ["no:such"]})
    assert imf.tag(lost, inventory, "mirror.example").kept["reason"].tolist() == [
        "not in the inventory: nothing is known about it"
    ]
    with pytest.raises(InputError, match=f"{len(images)} records would be named 'docker.io/library/same:1'"):
        imf.tag(images, inventory, lambda _: "same:1")


@given(st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(0, 5), max_size=4)), max_size=30))
def test_things_of_the_same_holders_are_one(things):
    size = np.array([size for size, _ in things], np.int64)
    start = np.concatenate([[0], np.cumsum([len(holders) for _, holders in things])]).astype(np.int64)
    unit = np.array([one for _, holders in things for one in holders], np.int64)
    made = merge(size, start, unit, 6)
    groups = defaultdict(int)
    for bytes_, holders in things:
        if holders:
            groups[tuple(sorted(set(holders)))] += bytes_
    found = [tuple(made.unit[a:b].tolist()) for a, b in zip(made.start, made.start[1:], strict=False)]
    assert dict(zip(found, made.size.tolist(), strict=True)) == groups
    assert list(groups) == found
