"""What `collect` makes of recorded stores, served by the simulator: every row, every document, every resolution."""

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from testbed.clock import END

import imgframe as imf
from imgframe import oci, platforms, schema, simulator
from imgframe.collector import progress
from imgframe.collector.cache import open_cache
from imgframe.collector.namespace_lists import expiry
from imgframe.errors import DocumentError, InputError

STORES = sorted((Path(__file__).parent / "data/stores").glob("*.json"))
KEPT = tuple(name for name in schema.TABLES if name not in {"nodes", "errors", "labels"})


def dump_of(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module", params=STORES, ids=lambda path: path.stem)
def recorded(request):
    """A recorded store and the inventory that we collect from it."""
    dump = dump_of(request.param)
    with simulator.from_dump(dump) as node:
        yield dump, imf.collect(node.address, usage="all", cache=False)


def text(labels):
    return json.dumps(labels, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def moments(rows, *columns):
    return [
        {**row, **{name: None if row[name] is None else row[name].value for name in columns}} for row in rows
    ]


def test_every_image_record_as_recorded(recorded):
    dump, inv = recorded
    ours = moments(inv.arrow("images").to_pylist(), "created_at", "updated_at")
    assert len(ours) == len(dump["images"])
    named = {row["name"]: row for row in ours}
    for image in dump["images"]:
        row, target = named[image["name"]], image["target"]
        assert row["namespace"] == dump["namespace"]
        assert (row["digest"], row["media_type"], row["target_size"]) == (
            target["digest"],
            target["mediaType"],
            target["size"],
        )
        assert row["record_labels"] == text(image["labels"])
        for name in ("created_at", "updated_at"):
            assert row[name] == storable(image[f"{name}_ns"]), image["name"]
        assert row["pinned"] == (image["labels"].get("io.cri-containerd.pinned") == "pinned")
        assert (row["repository"], row["tag"]) == imf.parse_repo_tag(image["name"])
        assert row["containers"] == sum(c["image"] == image["name"] for c in dump["containers"])


def storable(nanoseconds):
    """Times that 64 bits of nanoseconds hold; Go's zero time is none."""
    return nanoseconds if -(1 << 63) < nanoseconds < 1 << 63 and nanoseconds > -62135596800 * 10**9 else None


def test_every_blob_snapshot_container_and_lease_as_recorded(recorded):
    dump, inv = recorded
    blobs = {
        row["digest"]: row for row in moments(inv.arrow("blobs").to_pylist(), "created_at", "updated_at")
    }
    assert {d: (r["size"], r["labels"], r["created_at"]) for d, r in blobs.items()} == {
        b["digest"]: (b["size"], text(b["labels"]), b["created_at_ns"]) for b in dump["blobs"]
    }
    snapshots = moments(inv.arrow("snapshots").to_pylist(), "created_at")
    columns = ("snapshotter", "key", "parent", "kind", "size", "inodes", "created_at", "labels")
    assert sorted(tuple(row[name] for name in columns) for row in snapshots) == sorted(
        (
            name,
            s["key"],
            s["parent"],
            s["kind"],
            s["size"],
            s["inodes"],
            s["created_at_ns"],
            text(s["labels"]),
        )
        for name, several in dump.get("snapshots", {}).items()
        for s in several
    )
    containers = moments(inv.arrow("containers").to_pylist(), "created_at")
    targets = {image["name"]: image["target"]["digest"] for image in dump["images"]}
    assert {row["id"]: row for row in containers}.keys() == {c["id"] for c in dump["containers"]}
    for container in dump["containers"]:
        (row,) = (row for row in containers if row["id"] == container["id"])
        for name in ("image", "snapshotter", "snapshot_key"):
            assert row[name] == container[name]
        assert row["image_digest"] == targets.get(container["image"])
    assert set(inv.arrow("leases")["id"].to_pylist()) == {lease["id"] for lease in dump["leases"]}


def test_documents_are_the_very_bytes(recorded):
    dump, inv = recorded
    there = {b["digest"] for b in dump["blobs"]}
    documents = inv.arrow("documents").to_pylist()
    assert documents or not there
    for row in documents:
        assert row["digest"] in there
        assert f"sha256:{hashlib.sha256(row['data']).hexdigest()}" == row["digest"]
    digests = [row["digest"] for row in documents]
    assert digests == sorted(set(digests))


def readers(inv, dump):
    documents = {row["digest"]: row["data"] for row in inv.arrow("documents").to_pylist()}
    there = {b["digest"] for b in dump["blobs"]}
    return documents, there


HOSTS = ("linux/amd64", "linux/arm64", "linux/arm/v7", "windows/amd64", "linux/s390x")


@pytest.mark.parametrize("host", HOSTS)
def test_images_resolve_as_oci_resolve_does(recorded, host):
    """Our resolution on summaries is that of the pure room on bytes, for hosts of several platforms."""
    dump, _ = recorded
    with simulator.from_dump({**dump, "platform": host}) as node:
        inv = imf.collect(node.address, cache=False)
    assert inv.nodes.platform[0] == host
    matcher = platforms.default(inv.nodes.platform[0])
    documents, _ = readers(inv, dump)
    found = 0
    for row in inv.arrow("images").to_pylist():
        target = oci.Descriptor(row["media_type"], row["digest"], row["target_size"])
        try:
            theirs = oci.resolve(target, matcher, documents.get)
        except DocumentError:
            assert row["manifest_digest"] is None, row["name"]
            assert row["labels"] is None
            continue
        found += 1
        assert row["manifest_digest"] == theirs.manifest_descriptor.digest, row["name"]
        assert row["layer_count"] == len(theirs.manifest.layers)
        if theirs.config is None:
            assert (row["config_digest"], row["labels"], row["chain_id"]) == (None, None, None), row["name"]
            continue
        assert row["config_digest"] == theirs.config_descriptor.digest
        assert row["labels"] == text(theirs.config.config.labels)
        assert row["chain_id"] == oci.chain_id(theirs.config.rootfs.diff_ids)
    assert found or host != "linux/amd64"


def test_manifests_name_every_entry_of_every_index(recorded):
    dump, inv = recorded
    documents, there = readers(inv, dump)
    rows = inv.arrow("manifests").to_pylist()
    assert len({(row["parent_digest"], row["position"], row["digest"]) for row in rows}) == len(rows)
    seen = {(row["parent_digest"], row["position"]): row for row in rows if row["parent_digest"]}
    walked, left = set(), [i["target"] for i in dump["images"]]
    while left:
        target = left.pop()
        digest = target["digest"]
        if not oci.is_index_type(target["mediaType"]) or digest not in documents or digest in walked:
            continue
        walked.add(digest)
        try:
            index = oci.checked_index(documents[digest], target["mediaType"], "")
        except DocumentError:
            continue
        for position, child in enumerate(index.manifests):
            row = seen.pop((digest, position))
            assert (row["digest"], row["media_type"], row["size"]) == (
                child.digest,
                child.media_type,
                child.size,
            )
            assert row["annotations"] == text(child.annotations or {})
            assert row["present"] in {child.digest in there, False}
            left.append({"digest": child.digest, "mediaType": child.media_type})
    assert not seen
    direct = {row["digest"] for row in rows if row["parent_digest"] is None}
    assert direct == {
        i["target"]["digest"] for i in dump["images"] if oci.is_manifest_type(i["target"]["mediaType"])
    }


def test_layers_and_configs_equal_the_documents(recorded):
    _, inv = recorded
    documents = {row["digest"]: row["data"] for row in inv.arrow("documents").to_pylist()}
    configs = {row["digest"]: row for row in inv.arrow("configs").to_pylist()}
    config_of = {row["digest"]: row["config_digest"] for row in inv.arrow("manifests").to_pylist()}
    layers = {}
    for row in inv.arrow("layers").to_pylist():
        layers.setdefault(row["manifest_digest"], []).append(row)
    for digest, rows in layers.items():
        manifest = oci.decode_manifest(documents[digest])
        assert [(r["position"], r["digest"], r["media_type"], r["size"]) for r in rows] == [
            (place, d.digest, d.media_type, d.size) for place, d in enumerate(manifest.layers)
        ]
        if config_of.get(digest) in configs:  # a manifest under a refused index has no row of manifests
            diff_ids = oci.decode_config(documents[config_of[digest]]).rootfs.diff_ids
            padding = [None] * (len(rows) - len(diff_ids))
            assert [r["diff_id"] for r in rows] == [*diff_ids[: len(rows)], *padding]
            assert [r["chain_id"] for r in rows] == [*oci.chain_ids(diff_ids)[: len(rows)], *padding]
    for digest, row in configs.items():
        config = oci.decode_config(documents[digest])
        assert (row["os"], row["architecture"], row["variant"]) == (
            config.os,
            config.architecture,
            config.variant,
        )
        assert row["labels"] == text(config.config.labels)
        assert json.loads(row["env"]) == list(config.config.env)


def tables_of(inv, kept=KEPT):
    return {name: inv.arrow(name) for name in kept}


def assert_same(one, other):
    for name, table in one.items():
        assert table.equals(other[name]), name


def test_cold_warm_and_half_known_collections_are_the_same(recorded, tmp_path):
    dump, inv = recorded
    cache = tmp_path / "cache.sqlite"
    half = {**dump, "images": dump["images"][::2]}
    with simulator.from_dump(half) as node:
        imf.collect({"name": "half", "address": node.address}, cache=cache)
    with simulator.from_dump(dump) as node:
        runs = [
            imf.collect({"name": "n", "address": node.address}, usage="all", cache=cache) for _ in range(3)
        ]
        cold = imf.collect({"name": "n", "address": node.address}, usage="all", cache=False)
    for run in runs:
        assert_same(tables_of(cold), tables_of(run))
    calls = [run.nodes.rpcs[0] for run in (cold, *runs)]
    assert calls[0] >= calls[1] >= calls[2] == calls[3]
    assert calls[3] < calls[0] or not len(cold.documents)
    assert len(inv.images) == len(cold.images)


def test_many_small_bundles_become_one(tmp_path):
    dump = dump_of(STORES[0])
    cache = tmp_path / "cache.sqlite"
    for count in range(4, len(dump["images"]) + 4, 4):
        cold_and_warm({**dump, "images": dump["images"][:count]}, cache)


def cold_and_warm(dump, cache):
    with simulator.from_dump(dump) as node:
        warm = imf.collect({"name": "n", "address": node.address}, cache=cache)
        cold = imf.collect({"name": "n", "address": node.address}, cache=False)
    assert_same(tables_of(cold), tables_of(warm))
    return cold, warm


INJURIES = {
    "bundles of others": "UPDATE OR REPLACE namespace_bundles SET bundle = (SELECT min(id) FROM bundles)",
    "all bundles in each namespace": "INSERT OR IGNORE INTO namespace_bundles SELECT store, namespace, id FROM namespace_bundles, bundles",
    "bundles that are gone": "UPDATE OR REPLACE namespace_bundles SET bundle = bundle + 100",
    "no bundles of namespaces": "DELETE FROM namespace_bundles",
    "wrong bytes": "UPDATE bundles SET data = zeroblob(length(data)) WHERE id = (SELECT max(id) FROM bundles)",
    "a bundle less": "DELETE FROM bundles WHERE id = (SELECT min(id) FROM bundles)",
}


@pytest.mark.parametrize("injury", INJURIES)
def test_what_the_cache_expects_of_a_store_changes_no_row(tmp_path, injury):
    """Bundles are loaded for what the namespace held last time; meanwhile it may hold anything."""
    dump = dump_of(STORES[0])
    chance = random.Random(injury)
    cache = tmp_path / "cache.sqlite"
    for _ in range(8):
        images = chance.sample(dump["images"], chance.randint(0, 30))
        gone = chance.sample(dump["blobs"], 20)
        blobs = [blob for blob in dump["blobs"] if blob not in gone]
        cold_and_warm({**dump, "images": images, "blobs": blobs}, cache)
        with contextlib.closing(sqlite3.connect(cache)) as db, db:
            db.execute(INJURIES[injury])


def test_an_unchanged_store_is_found_where_it_was(tmp_path):
    dump = dump_of(STORES[1])
    cache = tmp_path / "cache.sqlite"
    for images in (dump["images"][:60], dump["images"][60:], dump["images"][:60]):
        cold_and_warm({**dump, "images": images}, cache)
    with contextlib.closing(sqlite3.connect(cache)) as db:
        bundles = {row[0] for row in db.execute("SELECT id FROM bundles")}
        homes = db.execute("SELECT bundle FROM namespace_bundles ORDER BY bundle").fetchall()
    assert len(bundles) == 2
    assert {row[0] for row in homes} <= bundles
    assert (min(bundles),) in homes  # of the state that was read last


def test_a_new_manifest_of_a_remembered_config_has_its_diff_ids(tmp_path):
    """The cache keeps lean summaries; rows of a new manifest need all that its config says."""
    dump = dump_of(STORES[0])
    cache = tmp_path / "cache.sqlite"
    cold, _ = cold_and_warm(dump, cache)
    rows = cold.arrow("layers").to_pylist()
    old = next(r["manifest_digest"] for r in rows if r["diff_id"] and r["position"] == 1)
    blob = next(blob for blob in dump["blobs"] if blob["digest"] == old)
    content = json.dumps({**json.loads(blob["text"]), "annotations": {"again": "1"}})
    digest = f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
    dump["blobs"].append({**blob, "digest": digest, "text": content, "size": len(content)})
    media_type = "application/vnd.oci.image.manifest.v1+json"
    target = {"mediaType": media_type, "digest": digest, "size": len(content), "annotations": {}}
    dump["images"].append({**dump["images"][0], "name": "docker.io/library/again:1", "target": target})
    _, warm = cold_and_warm(dump, cache)
    of = {d: [] for d in (old, digest)}
    for row in warm.arrow("layers").to_pylist():
        of.get(row["manifest_digest"], []).append((row["digest"], row["diff_id"], row["chain_id"]))
    assert of[digest] == of[old] != []


OCI = "application/vnd.oci.image"


def stored(document):
    """A document as a blob of a dump, and its descriptor."""
    text = json.dumps(document)
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    blob = {"digest": digest, "text": text, "size": len(text), "labels": {}}
    return blob, {"mediaType": document.get("mediaType", ""), "digest": digest, "size": len(text)}


def an_image(layer_count=2):
    """Blobs of a manifest and its config, the descriptor of the manifest, and its layers' digests."""
    layers = [f"sha256:{n:064x}" for n in range(layer_count)]
    config, of_config = stored({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": layers}})
    media_type = f"{OCI}.layer.v1.tar+gzip"
    manifest, target = stored(
        {
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": of_config | {"mediaType": f"{OCI}.config.v1+json"},
            "layers": [{"mediaType": media_type, "digest": digest, "size": 9} for digest in layers],
        }
    )
    return [manifest, config], target, layers


def records(*targets):
    return [
        {"name": f"docker.io/library/i{n}:1", "target": {"annotations": {}} | target, "labels": {}}
        for n, target in enumerate(targets)
    ]


def test_a_document_that_was_a_config_elsewhere_has_the_rows_of_what_it_is_here(tmp_path):
    """Anybody may name a manifest as a config, or record it as an index; the cache knows it as both ever after."""
    blobs, target, layers = an_image()
    of_config = {"mediaType": f"{OCI}.config.v1+json", "digest": target["digest"], "size": target["size"]}
    odd, of_odd = stored({"mediaType": f"{OCI}.manifest.v1+json", "config": of_config, "layers": []})
    blobs += [{"digest": digest, "size": 9, "labels": {}} for digest in layers]
    index = target | {"mediaType": f"{OCI}.index.v1+json"}
    cache = tmp_path / "cache.sqlite"
    for images, configs, rows in (
        (records(target, of_odd), 2, 2),
        (records(of_odd), 1, 0),
        (records(target), 1, 2),
        (records(index), 0, 0),
    ):
        cold, _ = cold_and_warm({"images": images, "blobs": [*blobs, odd]}, cache)
        assert (cold.arrow("configs").num_rows, cold.arrow("layers").num_rows) == (configs, rows)


def test_what_a_descriptor_of_one_node_carries_is_not_in_another(tmp_path):
    """Descriptors may carry the document itself; other stores that only name it do not have it."""
    (manifest, config), target, _ = an_image()
    carried = target | {"data": base64.b64encode(manifest["text"].encode()).decode()}
    parts = []
    for child in (carried, target):
        index, of_index = stored({"mediaType": f"{OCI}.index.v1+json", "manifests": [child]})
        parts.append({"images": records(of_index), "blobs": [index, config]})
    with contextlib.ExitStack() as stack:
        nodes = [
            {"name": name, "address": stack.enter_context(simulator.from_dump(part)).address}
            for name, part in zip("ab", parts, strict=True)
        ]
        for given in (nodes, nodes[::-1], nodes[1:]):
            for cache in (False, tmp_path / "cache.sqlite", tmp_path / "cache.sqlite"):
                images = imf.collect(given, cache=cache).arrow("images").to_pylist()
                assert {row["node"]: row["manifest_digest"] for row in images} == {
                    node["name"]: target["digest"] if node["name"] == "a" else None for node in given
                }


def test_an_absent_config_is_told_of_the_first_manifest_that_wants_it(tmp_path):
    (manifest, _), target, _ = an_image()
    other, of_other = stored(json.loads(manifest["text"]) | {"annotations": {"again": "1"}})
    blobs = [manifest, other]
    for images in (records(target, of_other), records(of_other, target)):
        with simulator.from_dump({"images": images, "blobs": blobs}) as node:
            errors = imf.collect(node.address, cache=tmp_path / "cache.sqlite").arrow("errors")
        (message,) = errors["message"].to_pylist()
        assert f"the config of manifest {min(target['digest'], of_other['digest'])}," in message


def test_a_bundle_that_is_gone_never_lends_its_number_to_another(tmp_path):
    """Another process may merge the bundles that this one has loaded; what it made of them is not what was loaded."""
    cache = open_cache(tmp_path / "cache.sqlite")
    numbers = [cache.add_bundle([f"sha256:{n}"], b"x") for n in range(3)]
    merged = cache.add_bundle(["sha256:9"], b"y", instead_of=numbers)
    cache.add_bundle(["sha256:8"], b"z", instead_of=numbers)
    assert merged not in numbers
    assert cache.bundle_at(merged) == b"y"
    cache.close()


def test_several_nodes_read_each_document_once_and_stand_in_order():
    dumps = [dump_of(path) for path in (STORES[0], STORES[0], STORES[2])]
    with (
        simulator.from_dump(dumps[0]) as a,
        simulator.from_dump(dumps[1]) as b,
        simulator.from_dump(dumps[2]) as c,
    ):
        nodes = [{"name": n, "address": s.address} for n, s in (("z", a), ("a", b), ("m", c))]
        inv = imf.collect(nodes, cache=False)
        alone = imf.concat([imf.collect(node, cache=False) for node in nodes])
        single = imf.collect(nodes[0], cache=False).nodes.rpcs[0]
    assert list(inv.nodes.node) == ["z", "a", "m"]
    assert list(inv.images.node.drop_duplicates()) == ["z", "a", "m"]
    shared = ("documents", "configs", "history", "layers")
    assert_same(*(tables_of(i, [name for name in KEPT if name not in shared]) for i in (alone, inv)))
    for name in shared:
        by = [(column, "ascending") for column in ("digest", "manifest_digest", "position")]
        by = [pair for pair in by if pair[0] in inv.arrow(name).column_names]
        plain = [
            pa.table({c: t[c].cast(pa.string()) if c.endswith("digest") else t[c] for c in t.column_names})
            for t in (alone.arrow(name), inv.arrow(name))
        ]
        assert plain[0].sort_by(by[-2:] if name != "layers" else by[1:]).equals(plain[1]), name
    assert inv.nodes.rpcs[0] + inv.nodes.rpcs[1] < 2 * single - len(inv.documents) // 3


def test_a_fleet_reads_each_document_once(monkeypatch, tmp_path):
    monkeypatch.setattr("imgframe.collector.document_reader._STALL_SECONDS", 60.0)  # however slow the machine
    with simulator.fleet(nodes=8, days=10, until=END) as fleet:
        cold, warm = (imf.collect(fleet.nodes, usage="none", cache=tmp_path / "c.sqlite") for _ in range(2))
    assert len(cold.documents) > 300
    assert cold.nodes.rpcs.sum() - warm.nodes.rpcs.sum() == len(cold.documents)


def test_a_node_that_hangs_on_a_document_keeps_the_others_waiting_for_that_one_alone():
    dump = dump_of(STORES[2])
    digest = next(i["target"]["digest"] for i in dump["images"] if "manifest.v1" in i["target"]["mediaType"])
    hang = simulator.Fault(call="Content/Read", subject=digest, times=1, hang=True)
    later = simulator.Fault(call="Images/List", times=1, delay=0.5)
    with (
        simulator.from_dump(dump, faults=[hang]) as slow,
        simulator.from_dump(dump, faults=[later]) as sound,
    ):
        nodes = [{"name": name, "address": one.address} for name, one in (("a", slow), ("b", sound))]
        inv = imf.collect(nodes, usage="none", cache=False, timeout=4)
        alone = imf.collect(nodes[1], usage="none", cache=False)
    mine, theirs = (one.images[one.images.node == "b"].reset_index(drop=True) for one in (inv, alone))
    assert mine.astype(str).equals(theirs.astype(str))
    assert len(inv.errors[inv.errors.node == "b"]) == len(alone.errors)
    read = len(alone.documents)
    lists = alone.nodes.rpcs[0] - read
    more = inv.nodes.rpcs.sum() - 2 * lists - read
    assert (
        more < read // 4
    )  # the one again after the deadline and by the other node, not all that were awaited


def test_namespaces_are_chosen_and_a_missing_one_says_so():
    parts = {name: dump_of(STORES[0]) | {"namespace": name} for name in ("a", "b.c")}
    with simulator.from_dump({"namespaces": parts}) as node:
        whole = imf.collect(node.address, cache=False)
        one = imf.collect(node.address, namespaces="b.c", cache=False)
        none = imf.collect(node.address, namespaces=["a", "gone"], cache=False)
        own = imf.collect(imf.Node(node.address, namespaces=("a",)), cache=False)
    assert list(whole.namespaces.namespace) == ["a", "b.c"]
    assert set(one.images.namespace) == {"b.c"}
    assert set(own.images.namespace) == {"a"}
    row = none.errors.iloc[-1]
    (missing,) = none.errors[none.errors.subject == "gone"].itertuples()
    assert (missing.stage, missing.code, missing.namespace) == ("connect", "not_found", "gone")
    assert "has no namespace 'gone'; it has a, b.c" in missing.message
    assert row.node == none.nodes.node[0]
    assert none.nodes.status[0] == "partial"


@pytest.mark.parametrize("name", ["", "-a", "a/b", "a..b", "ä", "a b", "a\n"])
def test_malformed_namespaces_are_refused(name):
    with pytest.raises(InputError, match="is not a namespace"):
        imf.collect("/nonexistent.sock", namespaces=[name])


@pytest.mark.parametrize(
    ("argument", "value"), [("usage", "some"), ("timeout", 0), ("timeout", -1), ("namespaces", [])]
)
def test_other_bad_arguments_are_refused(argument, value):
    with pytest.raises(InputError, match=argument):
        imf.collect("/nonexistent.sock", **{argument: value})


def test_usage_none_committed_all():
    path = next(path for path in STORES if path.stem.startswith("usage"))
    with simulator.from_dump(dump_of(path)) as node:
        known = {
            usage: imf.collect(node.address, usage=usage, cache=False)
            .snapshots.groupby("kind", observed=True)["size"]
            .count()
            for usage in ("none", "committed", "all")
        }
    assert known["none"].sum() == 0
    assert known["committed"].drop("committed").sum() == 0
    assert known["committed"]["committed"] == known["all"]["committed"] > 0
    assert known["all"]["active"] > 0


def test_snapshotters_are_chosen():
    path = next(path for path in STORES if path.stem == "usage-6")
    with simulator.from_dump(dump_of(path)) as node:
        native = imf.collect(node.address, snapshotters="native", cache=False)
        wrong = imf.collect(node.address, snapshotters=["nope"], cache=False)
    assert set(native.snapshots.snapshotter) == {"native"}
    assert len(wrong.snapshots) == 0
    (row,) = wrong.errors[wrong.errors.stage == "snapshots"].itertuples()
    assert (row.subject, row.code) == ("nope", "INVALID_ARGUMENT")


def test_use_by_digest_follows_names_and_snapshot_chains():
    """A re-tagged image keeps its chain under another name; what stands under a container is used."""
    path = next(path for path in STORES if path.stem == "usage-1")
    dump = dump_of(path)
    chains = {}
    with simulator.from_dump(dump) as node:
        for row in imf.collect(node.address, cache=False).arrow("images").to_pylist():
            chains[row["name"]] = row["chain_id"], row["used_by_digest"]
    assert not any(used for _, used in chains.values())
    name, (chain, _) = next((n, c) for n, c in chains.items() if c[0] and n.endswith("twelve:1"))
    top = {
        "key": "run",
        "parent": chain,
        "kind": "active",
        "labels": {},
        "created_at_ns": 1,
        "size": 1,
        "inodes": 1,
    }
    dump["snapshots"]["overlayfs"].append(top)
    running = {"id": "c", "image": "gone:1", "snapshotter": "overlayfs", "snapshot_key": "run", "labels": {}}
    dump["containers"] = [{**running, "runtime": "r", "created_at_ns": 1}]
    with simulator.from_dump(dump) as node:
        used = imf.collect(node.address, cache=False).images.set_index("name")
    assert used.loc[name, ["containers", "used_by_digest"]].tolist() == [0, True]
    parents = {s["key"]: s["parent"] for s in dump["snapshots"]["overlayfs"]}
    below = set()
    while chain:
        below.add(chain)
        chain = parents[chain]
    expected = used.chain_id.isin(below)
    assert used.used_by_digest.tolist() == expected.tolist()


def test_lease_expiry_as_go_reads_it():
    assert expiry('{"containerd.io/gc.expire":"2026-11-23T10:00:00.000000001+02:00"}') == 1795420800000000001
    assert expiry('{"containerd.io/gc.expire":"tomorrow"}') is None
    assert expiry('{"a":"containerd.io/gc.expire"}') is None


def test_collect_inside_a_running_loop():
    with simulator.from_dump(dump_of(STORES[2])) as node:

        async def notebook():
            return imf.collect(node.address, cache=False), await imf.acollect(node.address, cache=False)

        blocking, awaited = asyncio.run(notebook())
    assert_same(tables_of(blocking), tables_of(awaited))


INTERRUPTED = """
import json, sys, threading
import imgframe as imf
from imgframe import _loop, simulator

def ready(store):
    print("reading", flush=True)

faults = [simulator.Fault(call="Content/Read", times=1, **what) for what in ({"change": ready}, {"hang": True})]
with simulator.from_dump(json.load(open(sys.argv[1])), faults=faults) as node:
    try:
        imf.collect(node.address, cache=False)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(len(imf.collect(node.address, cache=False).images), flush=True)
"""


def test_an_interrupt_stops_a_hanging_collection_and_another_may_follow(interrupts):
    store = STORES[2]
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, store], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=240)
    assert out.split() == ["interrupted", str(len(dump_of(store)["images"]))]


def test_progress_is_silent_unless_interactive(capsys):
    with simulator.from_dump(dump_of(STORES[2])) as node:
        imf.collect(node.address, cache=False)
        assert capsys.readouterr().err == ""
        imf.collect(node.address, cache=False, progress=True)
        drawn = capsys.readouterr().err
        imf.collect(node.address, cache=False, progress=False)
    assert capsys.readouterr().err == ""
    assert "nodes" in drawn
    assert "documents" in drawn
    assert not progress.is_interactive()


def test_default_snapshotter_of_a_namespace():
    dump = dump_of(next(path for path in STORES if path.stem == "usage-6"))
    with simulator.from_dump(dump) as node:
        plain = imf.collect(node.address, cache=False)
    with simulator.from_dump({**dump, "labels": {"containerd.io/defaults/snapshotter": "native"}}) as node:
        labelled = imf.collect(node.address, cache=False)
    assert set(labelled.images.snapshotter) == {"native"}
    assert set(plain.nodes.snapshotter) == set(plain.images.snapshotter)


def test_the_vectors_are_there():
    vectors = Path(__file__).parent / "data/store_filters.jsonl.gz"
    if vectors.exists():
        with gzip.open(vectors) as lines:
            assert sum(1 for _ in lines) > 0
    assert len(STORES) >= 4
