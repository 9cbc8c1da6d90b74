"""The replay of the collector against loops over dicts, and what must hold of any prediction."""

import datetime as dt
import json
import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from testbed import naive_store

import imgframe as imf
from imgframe import schema
from imgframe.errors import MissingColumn, NotFound
from imgframe.reclaiming.gc_labels import read_references

KEY = ["node", "namespace", "name"]
stores = st.randoms(use_true_random=False)


def chosen_from(rng, store, inv, share=0.5):
    """Some records of a store: their keys, and their rows."""
    names = list(store.images)
    picked = [at for at in range(len(names)) if rng.random() < share]
    return [names[at] for at in picked], inv.images.iloc[picked]


def found(frame, *columns):
    return set(frame[list(columns)].astype(str).itertuples(index=False, name=None))


@settings(max_examples=50)
@given(stores)
def test_what_disappears_is_what_loops_find(rng):
    store = naive_store.random_store(rng)
    inv = naive_store.inventory(store)
    records, frame = chosen_from(rng, store, inv)
    touched = {record[0] for record in records}
    blobs, snapshots, ingests = (
        {key for key in part if key[0] in touched} for part in naive_store.swept(store, records)
    )
    made = imf.reclaim(inv, frame)
    assert found(made.blobs, "node", "digest") == blobs
    assert found(made.snapshots, "node", "namespace", "snapshotter", "key") == snapshots
    assert found(made.ingests, "node", "namespace", "ref") == ingests
    assert made.content_bytes == sum(store.sizes[digest] for _, digest in blobs)
    assert made.snapshot_bytes == sum(store.snapshots[key]["size"] or 0 for key in snapshots)
    assert made.inodes == sum(store.snapshots[key]["inodes"] or 0 for key in snapshots)
    assert made.ingest_bytes == sum(store.ingests[key]["offset"] for key in ingests)
    assert found(made.unknown, "key") == {
        (key[3],) for key in snapshots if store.snapshots[key]["size"] is None
    }
    before = naive_store.swept(store, ())
    garbage = made.blobs[made.blobs["reason"] == "garbage"]
    assert found(garbage, "node", "digest") == {key for key in before[0] if key[0] in touched}


@settings(max_examples=20)
@given(stores)
def test_each_alone_and_one_after_the_other(rng):
    store = naive_store.random_store(rng)
    inv = naive_store.inventory(store)
    names = list(store.images)
    first = naive_store.swept(store, ())

    def freed(records):
        blobs, snapshots, _ = naive_store.swept(store, records)
        return (
            sum(store.sizes[digest] for _, digest in blobs - first[0]),
            sum(store.snapshots[key]["size"] or 0 for key in snapshots - first[1]),
        )

    each = imf.reclaiming.reclaim_each(inv, inv.images)
    assert list(zip(each["content_bytes"], each["snapshot_bytes"], strict=True)) == [
        freed([name]) for name in names
    ]
    order = rng.sample(range(len(names)), len(names))
    marginal = imf.reclaiming.reclaim_marginal(inv, inv.images.iloc[order])
    assert marginal.index.tolist() == order
    running = np.cumsum(marginal[["content_bytes", "snapshot_bytes"]].to_numpy(dtype=np.int64), axis=0)
    for at in range(len(order)):
        assert tuple(running[at]) == freed([names[i] for i in order[: at + 1]])
    whole = imf.reclaim(inv, inv.images.iloc[order])
    assert marginal["total_bytes"].sum() == whole.total_bytes - whole.garbage_bytes


def net(made):
    return made.total_bytes - made.garbage_bytes


@settings(max_examples=20)
@given(stores)
def test_more_deletions_free_at_least_the_sum(rng):
    store = naive_store.random_store(rng)
    inv = naive_store.inventory(store)
    images = inv.images
    side = pd.Series([rng.choice("abn") for _ in range(len(images))], index=images.index, dtype="str")
    apart = net(imf.reclaim(inv, images[side == "a"])) + net(imf.reclaim(inv, images[side == "b"]))
    assert net(imf.reclaim(inv, images[side != "n"])) >= apart


@settings(max_examples=20)
@given(stores)
def test_order_of_rows_never_matters(rng):
    store = naive_store.random_store(rng)
    tables = naive_store.tables(store)
    mixed = imf.Inventory(
        {
            name: table.take(
                pa.array(
                    random.Random(rng.random()).sample(range(table.num_rows), table.num_rows), pa.int64()
                )
            )
            for name, table in tables.items()
        }
    )
    inv = imf.Inventory(tables)
    _, frame = chosen_from(rng, store, inv)
    one, other = imf.reclaim(inv, frame), imf.reclaim(mixed, frame.sample(frac=1, random_state=1))
    assert (one.total_bytes, one.garbage_bytes, one.inodes) == (
        other.total_bytes,
        other.garbage_bytes,
        other.inodes,
    )
    for name in ("blobs", "snapshots", "held"):
        rows = [made.arrow(name).to_pylist() for made in (one, other)]
        assert sorted(map(str, rows[0])) == sorted(map(str, rows[1]))


@settings(max_examples=20)
@given(stores)
def test_a_namespace_split_in_two_keeps_the_physical_totals(rng):
    """Records of one namespace put into a copy of it: content is still one, each blob held once more."""
    store = naive_store.random_store(rng, nodes=1, odd=False)
    split = naive_store.Store(**{name: dict(getattr(store, name)) for name in store.__dataclass_fields__})
    for part in (split.blobs, split.images):
        for key in [key for key in part if key[1] == "default"]:
            part[key[0], "copy", *key[2:]] = part[key]
    inv, both = naive_store.inventory(store), naive_store.inventory(split)
    total, total_both = (imf.capacity.by_node(one)["physical_bytes"].sum() for one in (inv, both))
    assert total == total_both
    _, frame = chosen_from(rng, store, inv, share=1)
    everywhere = both.images
    assert imf.reclaim(both, everywhere).content_bytes == imf.reclaim(inv, frame).content_bytes


@settings(max_examples=20)
@given(stores)
def test_what_stays_is_held_by_someone_named(rng):
    store = naive_store.random_store(rng)
    inv = naive_store.inventory(store)
    records, frame = chosen_from(rng, store, inv)
    kept = naive_store.collect_garbage(store, records)
    held = imf.reclaim(inv, frame).held
    assert held["holder"].notna().all()
    for row in held.to_dict("records"):
        if row["holder_kind"] == "image":
            assert (row["node"], row["namespace"], row["holder"]) not in set(records)
        if row["holder_kind"] == "namespace":
            assert ("content", row["node"], row["holder"], row["key"]) in kept
            assert ("content", row["node"], row["namespace"], row["key"]) not in kept
        elif row["kind"] == "content":
            assert ("content", row["node"], row["namespace"], row["key"]) in kept
        else:
            assert ("snapshot", row["node"], row["namespace"], row["snapshotter"], row["key"]) in kept


@settings(max_examples=20)
@given(stores)
def test_holders_are_the_roots_whose_loss_lets_go(rng):
    store = naive_store.random_store(rng)
    inv = naive_store.inventory(store)
    kept = naive_store.collect_garbage(store, ())
    for node, namespace, digest in random.Random(1).sample(list(store.blobs), min(4, len(store.blobs))):
        rows = imf.holders(inv, digest)
        mine = rows[(rows["node"] == node) & (rows["namespace"] == namespace) & (rows["kind"] == "content")]
        assert mine["holder"].notna().any() == (("content", node, namespace, digest) in kept)
        images = [(node, namespace, name) for name in mine.loc[mine["holder_kind"] == "image", "holder"]]
        others = set(mine["holder_kind"].dropna()) - {"image"}
        if images and not others:
            assert ("content", node, namespace, digest) not in naive_store.collect_garbage(store, images)


@settings(max_examples=20)
@given(stores)
def test_an_image_is_explained_by_what_goes_with_it_and_who_keeps_the_rest(rng):
    store = naive_store.random_store(rng)
    inv = naive_store.inventory(store)
    garbage = naive_store.swept(store, ())
    for node, namespace, name in list(store.images)[:3]:
        record = (node, namespace, name)
        rows = imf.explain_image(inv, name, node=node, namespace=namespace)
        kept = naive_store.collect_garbage(store, [record])
        swept = naive_store.swept(store, [record])
        goes = rows[rows["frees"]]
        blobs = found(goes[goes["kind"] == "content"], "node", "key")
        snapshots = found(goes[goes["kind"] == "snapshot"], "node", "namespace", "snapshotter", "key")
        # what went anyway may be among them (an expired record), nothing else, and nothing is left out
        assert swept[0] - garbage[0] <= blobs <= swept[0]
        assert swept[1] - garbage[1] <= snapshots <= swept[1]
        assert goes["holder"].isna().all()
        stays = rows[~rows["frees"]]
        assert stays["holder"].notna().all()
        for row in stays[stays["kind"] == "snapshot"].to_dict("records"):
            assert ("snapshot", row["node"], row["namespace"], row["snapshotter"], row["key"]) in kept
        for row in stays[stays["kind"] == "content"].to_dict("records"):
            assert any(
                item[0] == "content" and (item[1], item[3]) == (row["node"], row["key"]) for item in kept
            )


SWEPT = {"goes at the next collection"}


@settings(max_examples=40)
@given(stores)
def test_orphans_say_why_they_are_here_and_what_becomes_of_them(rng):
    store = naive_store.random_store(rng)
    inv = naive_store.inventory(store)
    kept = naive_store.collect_garbage(store, ())
    swept = naive_store.swept(store, ())
    rows = imf.orphans(inv)
    assert (rows["action"] == rows["reason"].map(imf.reclaiming.ACTIONS)).all()
    sweeping = rows[rows["action"].isin(SWEPT)]
    assert found(sweeping[sweeping["kind"] == "content"], "node", "key") == swept[0]
    snapshot = ["node", "namespace", "snapshotter", "key"]
    assert found(sweeping[sweeping["kind"] == "snapshot"], *snapshot) == swept[1]
    assert found(sweeping[sweeping["kind"] == "ingest"], "node", "namespace", "key") == swept[2]
    for row in rows.to_dict("records"):
        place = (row["node"], row["namespace"])
        if row["reason"] in {"live lease", "expired lease"}:
            expires = store.leases[*place, row["holder"]]["labels"].get("containerd.io/gc.expire")
            live = expires is None or dt.datetime.fromisoformat(expires) >= naive_store.NOW
            assert live == (row["reason"] == "live lease")
        if row["reason"] == "gc.root label":
            assert ("content", *place, row["key"]) in kept or row["kind"] == "snapshot"
        if row["kind"] == "ingest":
            started = store.ingests[*place, row["key"]]["started_at"]
            assert row["age"] == (naive_store.NOW - started).total_seconds()
        else:
            assert pd.isna(row["age"])  # these stores do not say when


def test_what_could_not_be_listed_makes_it_an_upper_bound(tmp_path):
    tables = {
        "images": {"name": ["app:1"], "digest": ["sha256:a"]},
        "blobs": {"digest": ["sha256:a"], "size": [5]},
    }
    said = ["a: leases: deadline exceeded", "the parents run in a circle", "no namespace 'x'", "unreadable"]
    errors = {
        "stage": ["leases", "snapshots", "connect", "documents"],
        "code": ["DEADLINE_EXCEEDED", "cycle", "not_found", "malformed"],
        "message": said,
    }
    inv = one_store(**tables, errors=errors)
    made = imf.reclaim(inv, inv.images)
    assert made.unread[["node", "namespace", "stage", "message"]].to_numpy().tolist() == [
        ["a", "n", "leases", said[0]]
    ]
    assert "at most" in repr(made)
    plan = imf.prune(inv.images, inv, keep_unknown=False)
    plan.save(tmp_path / "plan")
    for one in (plan, imf.open_plan(tmp_path / "plan")):
        assert "at most" in one.summary()[1] and "exactly" not in repr(one)
        assert one.summary()[-1].startswith("at most, because lists of these stores")
    whole = imf.reclaim(one_store(**tables), inv.images)
    assert not len(whole.unread) and "at most" not in repr(whole)
    elsewhere = one_store(**tables, errors={**errors, "node": ["b"] * 4})
    assert not len(imf.reclaim(elsewhere, inv.images).unread)


ODD_KEYS = [
    *(
        "containerd.io/gc.ref.content.l.0",
        "containerd.io/gc.ref.content",
        "containerd.io/gc.ref.content.",
        "a",
        "é",
        "",
    ),
    *(
        "containerd.io/gc.ref.snapshot.overlayfs",
        "containerd.io/gc.ref.snapshot.native/x",
        "containerd.io/gc.root",
    ),
    *(
        "containerd.io/gc.rootx",
        "containerd.io/gc.expire",
        'x"y',
        'c":"d',
        "\\",
        "containerd.io/gc.bref.content.z",
    ),
    "containerd.io/gc.cond.snapshot.overlayfs",
    "containerd.io/gc.cond.value-usedat",
]
ODD_VALUES = [
    "sha256:a",
    "",
    'a"b',
    'containerd.io/gc.root":"y',
    "\\",
    "q|r",
    "usedat<1h,usedat>2s|k",
    "2026-11-23T12:00:00Z",
    "containerd.io/gc.x",
    "é",
    '","',
]


@settings(max_examples=100)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(ODD_KEYS), st.sampled_from(ODD_VALUES), max_size=4),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([(",", ":"), (", ", ": ")]),
)
def test_labels_are_read_alike_however_they_are_written(labels, separators):
    texts = [json.dumps(one, ensure_ascii=False, separators=separators) for one in labels]
    fast = read_references(pa.array(texts).dictionary_encode())
    slow = read_references(pa.array([json.dumps(one, indent=1) for one in labels]).dictionary_encode())
    rows = [
        sorted(
            zip(
                *(one.text.tolist(), one.kind.tolist(), one.back.tolist(), one.since.tolist()),
                *(one.snapshotter.to_pylist(), one.target.to_pylist()),
                strict=True,
            )
        )
        for one in (fast, slow)
    ]
    assert rows[0] == rows[1]
    assert (fast.root, fast.expire) == (slow.root, slow.expire)
    assert sorted(fast.conditions) == sorted(slow.conditions)
    assert sorted(fast.used_at) == sorted(slow.used_at)


def one_store(**tables):
    def here(name, columns):
        count = len(next(iter(columns.values())))
        place = {} if "node" in columns else {"node": ["a"] * count}
        if "namespace" in schema.TABLES[name].names and "namespace" not in columns:
            place["namespace"] = ["n"] * count
        return schema.table(name, {**place, **columns})

    nodes = {"node": ["a"], "containerd_version": ["2.1.9"], "collected_at": [naive_store.NOW]}
    return imf.Inventory({name: here(name, columns) for name, columns in {"nodes": nodes, **tables}.items()})


def test_a_lease_that_expires_later_lets_go_later():
    inv = one_store(
        images={"name": ["app:1"], "digest": ["sha256:a"]},
        blobs={"digest": ["sha256:a"], "size": [10]},
        leases={
            "id": ["l"],
            "expires_at": [naive_store.NOW + dt.timedelta(hours=1)],
            "resource_kind": ["content"],
            "resource": ["sha256:a"],
        },
    )
    made = imf.reclaim(inv, inv.images)
    assert made.total_bytes == 0
    assert made.held[["holder_kind", "holder"]].to_numpy().tolist() == [["lease", "l"]]
    later = imf.reclaim(inv, inv.images, now=naive_store.NOW + dt.timedelta(hours=2))
    assert later.total_bytes == 10


def test_a_release_that_is_not_known_keeps_what_any_keeps():
    labels = '{"containerd.io/gc.ref.image.x":"app:2"}'
    tables = {
        "images": {"name": ["app:1", "app:2"], "digest": ["sha256:a", "sha256:b"]},
        "blobs": {"digest": ["sha256:a", "sha256:b"], "size": [1, 2], "labels": [labels, "{}"]},
    }
    inv = one_store(**tables, nodes={"node": ["a"], "containerd_version": [None]})
    assert imf.reclaim(inv, inv.images).total_bytes == 3
    expired = '{"containerd.io/gc.expire":"2001-01-01T00:00:00Z"}'
    tables["images"]["record_labels"] = ["{}", expired]
    for version, size in ((None, 1), ("1.7.24", 1), ("2.1.9", 3)):
        inv = one_store(**tables, nodes={"node": ["a"], "containerd_version": [version]})
        inv = inv.replace(blobs=inv.blobs.assign(labels="{}"))
        made = imf.reclaim(inv, inv.images.head(1))
        assert made.total_bytes == size, version  # 2.x sweeps the expired record, too


def used_ago(hours):
    return f'{{"containerd.io/gc.cond.value-usedat":"{naive_store.stamp(-hours)}"}}'


@pytest.mark.parametrize(
    ("version", "said", "ago", "held"),
    [
        ("2.4.2", "usedat<24h", 2, True),
        ("2.4.2", "usedat<24h", 48, False),
        ("v2.3.7", "usedat>24h", 48, True),
        ("v2.3.7", "usedat>24h,usedat<3h", 2, True),
        ("2.4.2", "usedat<=24h,usedat=2h,other<24h", 2, False),
        ("2.2.9", "usedat<24h", 2, False),
        (None, "usedat<24h", 2, True),
        (None, "usedat<24h", 48, False),
    ],
)
def test_a_condition_is_decided_by_the_last_use_at_the_time_of_the_collection(version, said, ago, held):
    label = f'{{"containerd.io/gc.cond.snapshot.overlayfs/x":"{said}|top"}}'
    inv = one_store(
        nodes={"node": ["a"], "containerd_version": [version], "collected_at": [naive_store.NOW]},
        images={"name": ["app:1", "app:2"], "digest": ["sha256:a", "sha256:b"]},
        blobs={"digest": ["sha256:a", "sha256:b"], "size": [1, 2], "labels": ["{}", label]},
        snapshots={
            "snapshotter": ["overlayfs"],
            "key": ["top"],
            "parent": [""],
            "kind": ["committed"],
            "size": [40],
            "labels": [used_ago(ago)],
        },
    )
    assert imf.reclaim(inv, inv.images.head(1)).total_bytes == (1 if held else 41)
    assert imf.holders(inv, "top")["holder"].dropna().tolist() == (["app:2"] if held else [])
    assert imf.reclaim(inv, inv.images).total_bytes == 43
    if said == "usedat<24h" and held:
        later = naive_store.NOW + dt.timedelta(hours=30)
        assert imf.reclaim(inv, inv.images.head(1), now=later).total_bytes == 41


@pytest.mark.parametrize(
    ("version", "held"), [("1.7.24", False), ("2.1.9", True), ("2.4.2", True), (None, True)]
)
def test_a_sandbox_holds_what_its_labels_name_where_containerd_looks_at_it(version, held):
    inv = one_store(
        nodes={"node": ["a"], "containerd_version": [version], "collected_at": [naive_store.NOW]},
        images={"name": ["app:1"], "digest": ["sha256:a"]},
        blobs={"digest": ["sha256:a"], "size": [7]},
        sandboxes={"id": ["pod"], "labels": ['{"containerd.io/gc.ref.content.x":"sha256:a"}']},
    )
    made = imf.reclaim(inv, inv.images)
    assert made.total_bytes == (0 if held else 7)
    assert made.held[["holder_kind", "holder"]].to_numpy().tolist() == ([["sandbox", "pod"]] if held else [])
    alone = inv.replace(images=inv.images.head(0))
    assert imf.orphans(alone)[["reason", "holder"]].astype(object).fillna("").to_numpy().tolist() == [
        ["sandbox", "pod"] if held else ["blob without reference", ""]
    ]


def test_sandboxes_that_could_not_be_listed_make_it_an_upper_bound():
    inv = one_store(
        images={"name": ["app:1"], "digest": ["sha256:a"]},
        blobs={"digest": ["sha256:a"], "size": [7]},
        errors={"stage": ["sandboxes"], "subject": ["n"], "code": ["UNIMPLEMENTED"], "message": ["no"]},
    )
    made = imf.reclaim(inv, inv.images)
    assert made.unread["stage"].tolist() == ["sandboxes"]
    assert "at most" in repr(made)


def test_rows_are_found_by_node_namespace_and_name():
    inv = one_store(
        images={"name": ["app:1"], "digest": ["sha256:a"]}, blobs={"digest": ["sha256:a"], "size": [5]}
    )
    assert imf.reclaim(inv, inv.images[["name"]]).total_bytes == 5
    assert imf.reclaim(inv, inv.arrow("images")).total_bytes == 5
    strange = inv.images.assign(name="other:1")
    made = imf.reclaim(inv, strange)
    assert made.total_bytes == 0 and made.missing["name"].tolist() == ["other:1"]
    with pytest.raises(MissingColumn, match="'name'"):
        imf.reclaim(inv, inv.images[["digest"]])
    two = imf.concat([inv, one_store(nodes={"node": ["b"]}, images={"node": ["b"], "name": ["app:1"]})])
    with pytest.raises(MissingColumn, match="'node'"):
        imf.reclaim(two, inv.images[["name"]])


def test_a_deletion_on_one_node_sweeps_no_other():
    inv = one_store(
        images={"name": ["app:1"], "digest": ["sha256:a"]}, blobs={"digest": ["sha256:x"], "size": [5]}
    )
    other = one_store(nodes={"node": ["b"]}, blobs={"node": ["b"], "digest": ["sha256:x"], "size": [7]})
    made = imf.reclaim(imf.concat([inv, other]), inv.images)
    assert made.blobs[["node", "size", "reason"]].to_numpy().tolist() == [["a", 5, "garbage"]]
    assert (made.total_bytes, made.garbage_bytes) == (5, 5)


def test_unknown_names_are_not_found():
    inv = one_store()
    with pytest.raises(NotFound, match="no blob or snapshot 'sha256:0'"):
        imf.holders(inv, "sha256:0")
    with pytest.raises(NotFound, match="no image record 'x'"):
        imf.explain_image(inv, "x")


@settings(max_examples=20)
@given(stores)
def test_images_containers_and_orphans_are_the_store(rng):
    store = naive_store.random_store(rng)
    inv = naive_store.inventory(store)
    parts = imf.reclaiming.breakdown(inv)
    for node in store.nodes:
        mine = parts[parts["node"] == node].set_index("part")["size"]
        total = sum(store.sizes[digest] for digest in {key[2] for key in store.blobs if key[0] == node})
        total += sum(value["size"] or 0 for key, value in store.snapshots.items() if key[0] == node)
        total += sum(value["offset"] for key, value in store.ingests.items() if key[0] == node)
        assert mine["total"] == total
        assert mine["images"] + mine["containers"] + mine["orphans"] + mine["unaccounted"] == mine["total"]
    loose = imf.orphans(inv)
    assert loose["size"].sum() == parts.loc[parts["part"] == "orphans", "size"].sum()


@settings(max_examples=20)
@given(stores)
def test_freed_of_everything_is_before_minus_after(rng):
    store = naive_store.random_store(rng)
    inv = naive_store.inventory(store)
    made = imf.reclaim(inv, inv.images)
    touched = {key[0] for key in store.images}
    blobs, snapshots, ingests = naive_store.swept(store, list(store.images))

    def total(blobs_, snapshots_, ingests_):
        return (
            sum(store.sizes[digest] for node, digest in blobs_ if node in touched)
            + sum(store.snapshots[key]["size"] or 0 for key in snapshots_ if key[0] in touched)
            + sum(store.ingests[key]["offset"] for key in ingests_ if key[0] in touched)
        )

    whole = {(key[0], key[2]) for key in store.blobs}, set(store.snapshots), set(store.ingests)
    after = whole[0] - blobs, whole[1] - snapshots, whole[2] - ingests
    assert made.total_bytes == total(*whole) - total(*after)
