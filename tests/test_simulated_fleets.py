"""Generated stores, fleets and their history; faults; what from_dump serves."""

import json
import random
import time
from datetime import datetime

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from testbed import recorded_stores
from testbed.clock import END
from testbed.raw_calls import Asker

import imgframe as imf
from imgframe import containerd_filters, oci, simulator
from imgframe.errors import FilterError, InputError
from imgframe.simulator.layer_archive import unpack
from imgframe.simulator.record_filters import select

NS = "default"


def listed(ask, call, field, **fields):
    return [each for reply in ask(call, **fields) for each in getattr(reply, field)]


def moment(stamp):
    return stamp.seconds * 10**9 + stamp.nanos


def answer(address, call, namespace=NS, timeout=120, **fields):
    with Asker(address, namespace) as ask:
        return ask.answer(call, timeout=timeout, **fields)


@pytest.mark.parametrize("name", ["store-1", "store-2", "store-3", "store-4"])
def test_from_dump_serves_what_the_dump_says(name):
    dump = recorded_stores.recorded(name)
    with simulator.from_dump(dump) as simulated, Asker(simulated.address, dump["namespace"]) as ask:
        images = listed(ask, "Images/List", "images")
        assert [
            (each.name, dict(each.labels), moment(each.created_at), moment(each.updated_at))
            for each in images
        ] == [
            (each["name"], each["labels"], each["created_at_ns"], each["updated_at_ns"])
            for each in dump["images"]
        ]
        assert [(each.target.digest, each.target.media_type, each.target.size) for each in images] == [
            (each["target"]["digest"], each["target"]["mediaType"], each["target"]["size"])
            for each in dump["images"]
        ]
        blobs = listed(ask, "Content/List", "info")
        assert {(each.digest, each.size, moment(each.created_at)) for each in blobs} == {
            (each["digest"], each["size"], each["created_at_ns"]) for each in dump["blobs"]
        }
        for blob in dump["blobs"]:
            data = b"".join(each.data for each in ask("Content/Read", digest=blob["digest"]))
            assert data == recorded_stores.blob_bytes(blob)
        containers = [each.container for each in ask("Containers/ListStream")]
        assert [(each.id, each.image, each.snapshot_key) for each in containers] == [
            (each["id"], each["image"], each["snapshot_key"]) for each in dump["containers"]
        ]
        assert ask("Version/Version")[0].version == dump["daemon"]


def test_a_store_written_as_a_dump_is_the_same_store():
    dump = simulator.dump(images=60, namespace="k8s.io", until=END)
    once = simulator.Store(dump).dump()
    assert simulator.Store(json.loads(json.dumps(once))).dump() == once
    assert once["namespaces"]["k8s.io"]["images"]


def test_several_namespaces_and_snapshotters_share_the_bytes():
    snapshot = {"key": "a", "size": 1, "inodes": 2}
    blob = {"digest": stores_digest(b"{}"), "text": "{}"}
    part = {"blobs": [blob], "snapshots": {"stargz": [snapshot], "overlayfs": []}}
    with simulator.from_dump(
        {"namespaces": {"a": part, "b": {"blobs": [{"digest": blob["digest"]}]}}}
    ) as simulated:
        assert answer(simulated.address, "Namespaces/List") == [
            {"namespaces": [{"name": "a"}, {"name": "b"}]}
        ]
        assert answer(simulated.address, "Snapshots/Usage", "a", snapshotter="stargz", key="a") == [
            {"size": "1", "inodes": "2"}
        ]
        assert answer(simulated.address, "Snapshots/List", "b", snapshotter="stargz") == []
        assert answer(simulated.address, "Content/Read", "b", digest=blob["digest"]) == [{"data": "e30="}]


def stores_digest(data):
    from testbed.compared_calls import digest

    return digest(data)


def test_a_reply_over_16_mib_is_refused_and_slices_pass():
    target = {"mediaType": "m", "digest": "sha256:" + "a" * 64, "size": 1}
    images = [{"name": f"i{n:04}", "labels": {"k": "v" * 16000}, "target": target} for n in range(1100)]
    with simulator.from_dump({"images": images}) as simulated:
        code, text = answer(simulated.address, "Images/List")
        assert code == "RESOURCE_EXHAUSTED"
        assert "trying to send message larger than max" in text
        with Asker(simulated.address, NS) as ask:
            halves = [len(ask("Images/List", filters=[f"name~=^i{n}"])[0].images) for n in "01"]
        assert halves == [1000, 100]


def test_a_layer_known_by_its_size_cannot_be_read():
    blob = {"digest": "sha256:" + "b" * 64, "size": 12345}
    with simulator.from_dump({"blobs": [blob]}) as simulated:
        assert answer(simulated.address, "Content/Read", digest=blob["digest"])[0] == "UNIMPLEMENTED"
        assert answer(simulated.address, "Content/Info", digest=blob["digest"])[0]["info"]["size"] == "12345"


def test_services_that_are_not_there():
    with simulator.from_dump({}) as simulated, grpc.insecure_channel(simulated.address) as channel:
        for path, text in (
            (
                "/containerd.services.transfer.v1.Transfer/Transfer",
                "unknown service containerd.services.transfer.v1.Transfer",
            ),
            (
                "/containerd.services.images.v1.Images/Nope",
                "unknown method Nope for service containerd.services.images.v1.Images",
            ),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(path)(b"", timeout=120)
            assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, text)


def test_faults_strike_what_fits_and_as_often_as_said():
    digest = stores_digest(b"{}")
    dump = {"blobs": [{"digest": digest, "text": "{}"}], "images": []}
    fault = simulator.Fault(
        call="Content/Read", subject=digest, code="UNAVAILABLE", details="d", after=1, times=2
    )
    with simulator.from_dump(dump, faults=[fault]) as simulated:
        answers = [answer(simulated.address, "Content/Read", digest=digest) for _ in range(4)]
        good = [{"data": "e30="}]
        assert answers == [good, ("UNAVAILABLE", "d"), ("UNAVAILABLE", "d"), good]
        assert answer(simulated.address, "Images/List") == [{}]
        assert simulated.daemons["node"].calls == {"Content/Read": 4, "Images/List": 1}


def test_a_stream_is_cut_after_so_many_messages():
    blobs = [{"digest": f"sha256:{n:064x}", "size": n} for n in range(350)]
    fault = simulator.Fault(call="Content/List", messages=2)
    with (
        simulator.from_dump({"blobs": blobs}, faults=[fault]) as simulated,
        Asker(simulated.address, NS) as ask,
    ):
        described = []
        with pytest.raises(grpc.RpcError) as caught:
            described.extend(ask("Content/List"))
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAVAILABLE, "Socket closed")


def test_hanging_dying_delaying_and_coming_back():
    faults = [
        simulator.Fault(call="Images/List", hang=True, times=1),
        simulator.Fault(call="Leases/List", die=True, times=1),
        simulator.Fault(call="Tasks/List", delay=0.2),
    ]
    with simulator.from_dump({}, faults=faults) as simulated:
        arrived = simulated.daemons["node"].calls
        while not arrived["Images/List"]:  # a question may be given up before
            assert answer(simulated.address, "Images/List", timeout=0.3)[0] == "DEADLINE_EXCEEDED"
        began = time.monotonic()
        assert answer(simulated.address, "Tasks/List") == [{}]
        assert time.monotonic() - began >= 0.2
        assert answer(simulated.address, "Leases/List")[0] == "UNAVAILABLE"
        assert answer(simulated.address, "Images/List")[0] == "UNAVAILABLE"
        simulated.revive()
        assert answer(simulated.address, "Images/List") == [{}]
        simulated.kill()
        assert answer(simulated.address, "Images/List")[0] == "UNAVAILABLE"


def test_a_store_changes_between_list_and_read():
    digest = stores_digest(b"{}")
    fault = simulator.Fault(
        call="Content/Read", change=lambda store: store.namespaces[NS].content.pop(digest, None)
    )
    with simulator.from_dump({"blobs": [{"digest": digest, "text": "{}"}]}, faults=[fault]) as simulated:
        assert len(answer(simulated.address, "Content/List")[0]["info"]) == 1
        assert answer(simulated.address, "Content/Read", digest=digest)[0] == "NOT_FOUND"
        assert simulated.change(lambda store: len(store.namespaces[NS].content)) == 0


def test_faults_belong_to_their_node():
    with simulator.fleet(
        nodes=2, days=1, until=END, faults=[simulator.Fault(node="edge-00", code="INTERNAL")]
    ) as fleet:
        codes = [answer(address, "Namespaces/List")[0] for address in fleet.addresses.values()]
        assert codes[0][0] == "I"
        assert codes[1] == {"namespaces": [{"name": "k8s.io"}]}


def test_bad_arguments_say_what_was_expected():
    with pytest.raises(InputError, match="'NOPE' is not a gRPC status"):
        simulator.Fault(code="NOPE")
    with pytest.raises(InputError, match="at least 1"):
        simulator.fleet(nodes=0)
    with pytest.raises(InputError, match="time zone"):
        next(simulator.history(until=datetime(2026, 1, 1)))
    with pytest.raises(InputError, match="a dict, not list"):
        simulator.from_dump([])
    running = simulator.from_dump({})
    with running, pytest.raises(InputError, match="already running"):
        running.__enter__()


def spaces(dump):
    return next(iter(dump["namespaces"].values()))


def test_the_same_seed_makes_the_same_fleet_and_another_seed_another():
    one, same = (
        json.dumps([row.dump for row in simulator.history(days=9, nodes=4, until=END, every=4)]) for _ in "ab"
    )
    other = json.dumps([row.dump for row in simulator.history(days=9, nodes=4, until=END, every=4, seed=1)])
    assert one == same != other


def test_the_last_day_of_history_is_what_the_fleet_serves():
    last = {row.node: row.dump for row in simulator.history(days=12, nodes=5, until=END, every=12)}
    with simulator.fleet(nodes=5, days=12, until=END) as fleet:
        for name, daemon in fleet.daemons.items():
            assert daemon.store.dump() == simulator.Store(last[name]).dump()
        assert [node.name for node in fleet.nodes] == list(last)
        assert {node.disk_total for node in fleet.nodes} == {dump["disk_total"] for dump in last.values()}


def test_a_relived_fleet_is_collected_day_by_day_as_its_history_says(tmp_path):
    told = {(row.at, row.node): row.dump for row in simulator.history(days=5, nodes=3, until=END, every=2)}
    seen = 0
    for at, fleet in simulator.relive(days=5, nodes=3, until=END, every=2):
        inv = simulator.dated(imf.collect(fleet.nodes, cache=tmp_path / "cache"), at)
        assert inv.nodes.collected_at.tolist() == [at] * 3
        assert inv.nodes.status.tolist() == ["ok"] * 3
        assert inv.errors.empty
        for node, images in inv.images.groupby("node", observed=True):
            part = spaces(told[at, node])
            assert sorted(zip(images.name, images.digest, strict=True)) == sorted(
                (image["name"], image["target"]["digest"]) for image in part["images"]
            )
            seen += 1
    assert seen == len(told) == 9


def test_usage_runs_like_a_saw_and_never_over_the_threshold():
    drops, used = 0, {}
    for row in simulator.history(days=90, nodes=6, until=END):
        part = spaces(row.dump)
        total = sum(blob["size"] for blob in part["blobs"])
        total += sum(each["size"] for each in part["snapshots"]["overlayfs"] if each["kind"] == "committed")
        assert total <= 0.85 * row.dump["disk_total"]
        drops += total < 0.85 * used.get(row.node, 0)
        used[row.node] = total
    assert drops >= 10


def test_generated_documents_are_what_their_digests_and_labels_say():
    part = spaces(simulator.dump(images=120, until=END))
    blobs = {blob["digest"]: blob for blob in part["blobs"]}
    snapshots = {each["key"]: each for each in part["snapshots"]["overlayfs"]}
    kinds = {"index": 0, "manifest": 0, "attestation": 0, "absent child": 0}
    for image in part["images"]:
        text = blobs[image["target"]["digest"]]["text"].encode()
        assert len(text) == image["target"]["size"]
        if "index" in image["target"]["mediaType"] or "list" in image["target"]["mediaType"]:
            kinds["index"] += 1
            for child in oci.decode_index(text).manifests:
                kinds["absent child"] += child.digest not in blobs
                kinds["attestation"] += bool(child.annotations)
        else:
            kinds["manifest"] += 1
    assert min(kinds.values()) > 0, kinds
    for digest, blob in blobs.items():
        if "text" in blob:
            assert stores_digest(blob["text"].encode()) == digest
            assert len(blob["text"]) == blob["size"]
        for key, target in blob["labels"].items():
            if key.startswith("containerd.io/gc.ref.snapshot"):
                config = oci.decode_config(blob["text"].encode())
                assert oci.chain_ids(config.rootfs.diff_ids)[-1] == target
                assert target in snapshots
    assert all(each["parent"] in {"", *snapshots} for each in snapshots.values())


def test_kubernetes_nodes_have_three_records_per_image_and_a_pinned_one():
    part = spaces(simulator.dump(images=90, namespace="k8s.io", until=END))
    targets = {}
    for image in part["images"]:
        targets.setdefault(image["target"]["digest"], []).append(image)
    for digest, images in targets.items():
        names = sorted(image["name"] for image in images)
        assert any(name.startswith("sha256:") for name in names)
        assert any(name.endswith(f"@{digest}") for name in names)
        assert len(names) == 3
    pinned = [
        image for image in part["images"] if image["labels"].get("io.cri-containerd.pinned") == "pinned"
    ]
    assert len(pinned) == 3
    assert all("base/pause" in image["name"] or image["name"].startswith("sha256:") for image in pinned)


def test_a_collection_of_a_generated_store_frees_only_what_is_held_by_nothing():
    dump = simulator.dump(images=80, until=END)
    store = simulator.Store(dump)
    store.clock = lambda: int(END.timestamp()) * 10**9
    kinds = {kind for _, kind, _ in simulator.collect_garbage(store)}
    assert kinds == {"lease"}  # the expired one
    space = store.namespaces["default"]
    idle = min(space.images)
    target = space.images[idle].digest
    names = [name for name, image in space.images.items() if image.digest == target]
    for name in names:
        del space.images[name]
    removed = simulator.collect_garbage(store)
    assert ("default", "content", target) in removed
    assert simulator.collect_garbage(store) == []


@pytest.mark.parametrize("namespace", ["default", "k8s.io"])
def test_reclaim_predicts_what_the_simulated_daemon_collects(namespace):
    with simulator.node(images=150, namespace=namespace, until=END) as node:
        inv = imf.collect(node.nodes, cache=False, usage="all")
        names = random.Random(3).sample(sorted(inv.images.name), 60)
        predicted = imf.reclaim(inv, inv.images[inv.images.name.isin(names)])

        def delete(store):
            space = store.namespaces[namespace]
            sizes = {("content", digest): blob.size for digest, blob in space.content.items()}
            for snapshotter, rows in space.snapshots.items():
                sizes |= {("snapshot", f"{snapshotter}/{key}"): each.size for key, each in rows.items()}
            for name in names:
                del space.images[name]
            removed = [(kind, sizes.get((kind, key), 0)) for _, kind, key in simulator.collect_garbage(store)]
            return [sum(size for each, size in removed if each == kind) for kind in ("content", "snapshot")]

        assert node.change(delete) == [predicted.content_bytes, predicted.snapshot_bytes]
        assert predicted.content_bytes > 0


def test_a_thousand_nodes_listen_and_answer():
    with simulator.fleet(nodes=1000, days=2, until=END) as fleet:
        assert len(fleet.addresses) == 1000
        for name in ("edge-00", "worker-501", "worker-999"):
            images = answer(fleet.addresses[name], "Images/List", "default" if name[0] == "e" else "k8s.io")
            assert len(images[0]["images"]) > 5


@given(st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_filter_is_parsed_or_refused(text):
    try:
        clauses = containerd_filters.parse(text)
    except FilterError as error:
        assert str(error).startswith("filters: parse error: [")
    else:
        assert bool(clauses) == bool(text)
        select([text], ["a"], lambda record, path: record)


@pytest.mark.parametrize("data", [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd\x00", b"not a tar" * 100])
def test_damaged_layers_are_refused(data):
    with pytest.raises(ValueError, match=r"damaged|not a tar"):
        unpack(data)
