"""Whose bytes they are: groups against loops over dicts, shares that sum exactly, and the sharing matrix."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from testbed import naive_store

import imgframe as imf
from imgframe import schema
from imgframe.errors import InputError

stores = st.randoms(use_true_random=False)


def grouped(store, key_of):
    """Group → the (kind, …) things its images need, and the sum over records."""
    things, logical = {}, {}
    for key, image in store.images.items():
        group = key_of(key)
        things.setdefault(group, set())
        logical.setdefault(group, 0)
        found = naive_store.needs(store, key[0], key[1], image["digest"])
        if found is None:
            continue
        mine = {("blob", key[0], digest) for digest in found[0]} | {
            ("snapshot", *snapshot) for snapshot in found[1]
        }
        things[group] |= mine
        logical[group] += sum(size_of(store, thing) for thing in mine)
    return things, logical


def size_of(store, thing):
    return store.sizes[thing[2]] if thing[0] == "blob" else store.snapshots[thing[1:]]["size"]


def regroup(rng, store):
    """Records under names of a few repositories of two registries."""
    names = {}
    for node, ns, name in list(store.images):
        image = store.images.pop((node, ns, name))
        names[node, ns, f"{rng.choice(['quay.io/', ''])}{rng.choice('abc')}:{name[-1]}"] = image
    store.images.update(names)


@settings(max_examples=60)
@given(stores)
def test_groups_are_those_of_loops(rng):
    store = naive_store.random_store(rng, odd=False)
    regroup(rng, store)
    inv = naive_store.inventory(store)
    for frame, key_of in (
        (imf.capacity.by_repository(inv), lambda key: key[2].split(":")[0]),
        (imf.capacity.by_namespace(inv), lambda key: key[1]),
        (imf.capacity.by_node(inv), lambda key: key[0]),
    ):
        things, logical = grouped(store, key_of)
        rows = frame[frame.iloc[:, 0].notna()].set_index(frame.columns[0])
        assert sorted(rows.index) == sorted(things)
        order = sorted(things)
        shares = dict.fromkeys(order, 0)
        for thing in set().union(*things.values()):
            holders = [group for group in order if thing in things[group]]
            part, rest = divmod(size_of(store, thing), len(holders))
            for at, group in enumerate(holders):
                shares[group] += part + (at < rest)
        for group in order:
            others = set().union(*(things[other] for other in order if other != group))
            row = rows.loc[group]
            assert row["logical_bytes"] == logical[group]
            assert row["physical_bytes"] == sum(size_of(store, thing) for thing in things[group])
            assert row["unique_bytes"] == sum(size_of(store, thing) for thing in things[group] - others)
            assert row["shared_bytes"] == row["physical_bytes"] - row["unique_bytes"]
            assert row["share_bytes"] == shares[group]


@settings(max_examples=60)
@given(stores)
def test_shares_sum_to_the_store_exactly(rng):
    store = naive_store.random_store(rng)
    inv = naive_store.inventory(store)
    parts = imf.reclaiming.breakdown(inv)
    total = parts.loc[parts["part"] == "total", "size"].sum()
    for frame in (
        imf.capacity.by_repository(inv),
        imf.capacity.by_registry(inv),
        imf.capacity.by_label(inv, "team"),
        imf.capacity.by_node(inv),
    ):
        assert frame["share_bytes"].sum() == total
        assert (frame["unique_bytes"] <= frame["physical_bytes"]).all()


@settings(max_examples=30)
@given(stores)
def test_reclaimable_is_what_deleting_the_unused_frees(rng):
    store = naive_store.random_store(rng)
    inv = naive_store.inventory(store)
    images = inv.images
    unused = images[(images["containers"] == 0) & ~images["used_by_digest"]]
    frame = imf.capacity.by_namespace(inv).set_index("namespace")
    for namespace in set(images["namespace"]):
        made = imf.reclaim(inv, unused[unused["namespace"] == namespace])
        assert frame.loc[namespace, "reclaimable_bytes"] == made.total_bytes - made.garbage_bytes


@settings(max_examples=30)
@given(stores)
def test_the_sharing_matrix(rng):
    store = naive_store.random_store(rng, nodes=1, odd=False)
    inv = naive_store.inventory(store)
    images = inv.images[inv.images["namespace"] == "default"]
    matrix = imf.capacity.layer_sharing(inv, images)
    things = {
        key[2]: grouped(store, lambda one, key=key: one == key)[0][True]
        for key in store.images
        if key[1] == "default"
    }
    for one in things:
        for other in things:
            shared = sum(size_of(store, thing) for thing in things[one] & things[other])
            assert matrix.loc[one, other] == shared


def test_names_of_several_namespaces_cannot_be_compared():
    place = {"node": ["a"] * 2, "namespace": ["x", "y"], "name": ["app:1"] * 2}
    inv = imf.Inventory({"images": schema.table("images", place)})
    with pytest.raises(InputError, match="these are of 2"):
        imf.capacity.layer_sharing(inv)


def test_labels_without_a_value_are_a_group_of_their_own():
    labels = ['{"team":"a"}', '{"other":"x"}', None]
    place = {"node": ["n"] * 3, "namespace": ["d"] * 3, "name": ["x:1", "x:2", "x:3"], "labels": labels}
    inv = imf.Inventory({"images": schema.table("images", place)})
    frame = imf.capacity.by_label(inv, "team")
    assert frame["team"].tolist()[:2] == ["", "a"] and frame["team"].isna().tolist() == [False, False, True]
    assert frame["images"].tolist() == [2, 1, 0]
    with pytest.raises(InputError, match="needs the name of a label"):
        imf.capacity.by_label(inv, "")
