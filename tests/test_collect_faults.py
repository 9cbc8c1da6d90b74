"""Whatever a node holds or does, `collect` ends, keeps what it could read, and says what it could not."""

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import pytest
from testbed import recorded_stores
from testbed.daemons import RELEASES
from testbed.spoilt_stores import CONFIG, INDEX, MANIFEST, NOW, Spoilt, digest_of

import imgframe as imf
from imgframe import simulator
from imgframe.collector.cache import Cache
from imgframe.wire import channel

DATA = Path(__file__).parent / "data/stores"
STORE = json.loads((DATA / "store-1.json").read_text())


def collected(dump, *faults, **arguments):
    with simulator.from_dump(dump, faults=faults) as node:
        return imf.collect({"name": "n", "address": node.address}, **({"cache": False} | arguments))


def errors(inv):
    return [(row.stage, row.subject, row.code) for row in inv.errors.itertuples()]


# --- nodes that are not there, or go away -----------------------------------------------------------------------------


def test_dead_nodes_cost_their_own_rows_only(tmp_path):
    (tmp_path / "file").write_text("")
    with simulator.from_dump(STORE) as node:
        nodes = {"gone": tmp_path / "none", "alive": node.address, "file": tmp_path / "file"}
        inv = imf.collect([{"name": n, "address": str(a)} for n, a in nodes.items()], cache=False)
    assert dict(zip(inv.nodes.node, inv.nodes.status, strict=True)) == {
        "gone": "failed",
        "alive": inv.nodes.status[1],
        "file": "failed",
    }
    assert len(inv.images) == len(STORE["images"])
    assert set(inv.images.node) == {"alive"}
    dead = inv.errors[inv.errors.node.isin(["gone", "file"])]
    assert dead.stage.tolist() == ["connect", "connect"]
    assert "no such socket" in dead.message.iloc[0]
    assert "is not a socket" in dead.message.iloc[1]


def test_a_daemon_that_dies_while_it_is_read_leaves_its_lists(monkeypatch):
    monkeypatch.setattr(channel, "RETRY_SECONDS", 0.3)
    inv = collected(STORE, simulator.Fault(call="Content/Read", after=20, times=1, die=True))
    assert len(inv.images) == len(STORE["images"])
    assert len(inv.blobs) == len(STORE["blobs"])
    assert inv.nodes.status[0] == "partial"
    assert "UNAVAILABLE" in set(inv.errors.code)


def test_a_daemon_that_comes_back_is_read_to_the_end(monkeypatch):
    monkeypatch.setattr(channel, "RETRY_SECONDS", 120.0)  # a busy machine starts slowly
    whole = collected(STORE)
    down = threading.Event()
    fault = simulator.Fault(call="Content/Read", after=20, times=1, change=lambda _: down.set())
    with simulator.from_dump(STORE, faults=[fault]) as node:

        def restart():
            down.wait()
            node.kill()
            node.revive()

        helper = threading.Thread(target=restart)
        helper.start()
        inv = imf.collect({"name": "n", "address": node.address}, cache=False)
        helper.join()
    assert errors(inv) == errors(whole)
    assert inv.arrow("images").equals(whole.arrow("images"))
    assert inv.arrow("documents").equals(whole.arrow("documents"))


def test_calls_that_fail_cost_their_table_only():
    for call, stage, table in (
        ("Images/List", "images", "images"),
        ("Content/List", "content", "blobs"),
        ("Containers/ListStream", "containers", "containers"),
        ("Store/List", "sandboxes", "sandboxes"),
        ("Leases/List", "leases", "leases"),
        ("Content/ListStatuses", "ingests", "ingests"),
        ("Introspection/Plugins", "connect", "snapshots"),
    ):
        inv = collected(STORE, simulator.Fault(call=call, code="INTERNAL"))
        assert (stage, "INTERNAL") in {(row.stage, row.code) for row in inv.errors.itertuples()}, call
        assert len(getattr(inv, table)) == 0, call
        assert inv.nodes.status[0] == "partial", call
        if table != "images":
            assert len(inv.images) == len(STORE["images"])
    assert (
        collected(STORE, simulator.Fault(call="Namespaces/List", code="INTERNAL")).nodes.status[0] == "failed"
    )


def test_what_is_unknown_is_na_not_false():
    blind = collected(STORE, simulator.Fault(call="Content/List", code="INTERNAL")).images
    assert blind.complete.isna().all()
    assert blind.labels.isna().all()
    assert blind.content_present_size.isna().all()
    unused = collected(STORE, simulator.Fault(call="Containers/ListStream", code="INTERNAL")).images
    assert unused.containers.isna().all()
    assert unused.used_by_digest.isna().all()
    unmounted = collected(STORE, simulator.Fault(call="Snapshots/List", code="INTERNAL")).images
    assert unmounted.unpacked.isna().all()
    calm = collected(STORE).images
    assert not calm.complete.isna().all()
    assert calm.containers.notna().all()


# --- stores that move -----------------------------------------------------------------------------------------------------


def test_an_image_deleted_between_list_and_read_is_not_there_in_the_end():
    name = STORE["images"][0]["name"]
    target = STORE["images"][0]["target"]["digest"]
    seen = []

    def delete(store):
        (space,) = store.namespaces.values()
        seen.append(sorted(space.images))
        del space.images[name]
        space.content.pop(target, None)

    fault = simulator.Fault(call="Content/Read", times=1, change=delete)
    inv = collected(STORE, fault)
    assert name in seen[0]
    assert name not in set(inv.images.name)
    assert len(inv.images) == len(STORE["images"]) - 1
    assert target not in set(inv.blobs.digest)
    assert inv.nodes.status[0] in {"moved", "partial"}
    calm = collected(
        {
            **STORE,
            "images": STORE["images"][1:],
            "blobs": [b for b in STORE["blobs"] if b["digest"] != target],
        }
    )
    for table in ("images", "manifests", "configs", "history", "layers", "documents", "blobs"):
        assert inv.arrow(table).equals(calm.arrow(table)), table
    assert errors(inv) == errors(calm)


def test_a_store_that_moves_without_end_is_read_three_times_and_says_so():
    count = 0

    def tag(store):
        nonlocal count
        (space,) = store.namespaces.values()
        name, image = next(iter(space.images.items()))
        count += 1
        space.images[f"{name}-{count}"] = image

    dump = Spoilt()
    dump.image("a:1", dump.manifest())
    inv = collected(dump.dump, simulator.Fault(call="Images/List", change=tag))
    assert inv.nodes.status[0] == "moved"
    assert count == 6
    assert len(inv.images) == count


# --- documents that cannot be used -----------------------------------------------------------------------------------------


MALFORMED = {
    "not an object": b"[1]",
    "a number": b"7",
    "empty": b"",
    "cut": b'{"schemaVersion":2,"config":{"dig',
    "NaN": b'{"schemaVersion":NaN}',
    "layers of the wrong type": b'{"schemaVersion":2,"layers":{}}',
    "size of the wrong type": b'{"config":{"size":"7"}}',
    "not UTF-16": b"\xfe\xff\x00{",
    "twice": b"{}{}",
    "schema 1": b'{"schemaVersion":1,"fsLayers":[]}',
    "an index": b'{"schemaVersion":2,"manifests":[]}',
}


def test_malformed_manifests_are_rows_of_errors():
    spoilt = Spoilt()
    targets = {}
    for name, data in MALFORMED.items():
        if name != "not UTF-16":
            targets[name] = spoilt.add(data)
            spoilt.image(f"x/{len(targets)}:1", targets[name] | {"size": 1})
    good = spoilt.manifest()
    spoilt.image("good:1", good)
    inv = collected(spoilt.dump)
    assert {e[1:] for e in errors(inv)} == {(t["digest"], "malformed") for t in targets.values()}
    images = inv.images.set_index("name")
    assert images.loc["good:1", "manifest_digest"] == good["digest"]
    assert images.drop("good:1").manifest_digest.isna().all()
    assert images.drop("good:1").complete.isna().all()
    assert len(inv.documents) == len({t["digest"] for t in targets.values()}) + 2


def test_keys_that_come_twice_are_read_as_go_reads_them():
    spoilt = Spoilt()
    config = spoilt.add(
        b'{"os":"linux","os":"linux","architecture":"arm","architecture":"amd64","config":{"Labels":{"a":"1"}}}',
        CONFIG,
    )
    spoilt.image("twice:1", spoilt.add({"schemaVersion": 2, "config": config, "layers": []}))
    row = collected(spoilt.dump).images.iloc[0]
    assert (row.platform, row.labels) == ("linux/amd64", '{"a":"1"}')


def test_malformed_configs_leave_the_image_without_labels():
    spoilt = Spoilt()
    config = spoilt.add(b'{"os":"linux","architecture":"amd64","config":{"Env":"text"}}', CONFIG)
    spoilt.image("bad:1", spoilt.add({"schemaVersion": 2, "config": config, "layers": []}))
    inv = collected(spoilt.dump)
    assert errors(inv) == [("documents", config["digest"], "malformed")]
    row = inv.images.iloc[0]
    assert row[["labels", "built_at", "platform", "chain_id", "config_digest"]].isna().all()
    assert row.layer_count == 0


def test_missing_blobs():
    spoilt = Spoilt()
    whole = spoilt.manifest()
    gone = {"mediaType": MANIFEST, "digest": digest_of(b"gone"), "size": 4}
    lost = spoilt.add(
        {
            "schemaVersion": 2,
            "config": {"mediaType": CONFIG, "digest": digest_of(b"c"), "size": 1},
            "layers": [],
        }
    )
    spoilt.image("whole:1", whole)
    spoilt.image("gone:1", gone)
    spoilt.image("lost:1", lost)
    other = {**gone, "digest": digest_of(b"other"), "platform": {"os": "linux", "architecture": "arm64"}}
    spoilt.image(
        "both:1", spoilt.index({**whole, "platform": {"os": "linux", "architecture": "amd64"}}, other)
    )
    inv = collected(spoilt.dump)
    assert sorted(errors(inv)) == sorted(
        [("documents", gone["digest"], "not_found"), ("documents", digest_of(b"c"), "not_found")]
    )
    images = inv.images.set_index("name")
    assert images.complete.to_dict() == {"both:1": False, "gone:1": False, "lost:1": False, "whole:1": False}
    assert images.manifest_digest.notna().to_dict() == {
        "both:1": True,
        "gone:1": False,
        "lost:1": True,
        "whole:1": True,
    }
    absent = inv.manifests[inv.manifests.digest == other["digest"]]
    assert absent.present.tolist() == [False]
    assert absent.platform.tolist() == ["linux/arm64"]


def test_wrong_digest_and_size():
    spoilt = Spoilt()
    target = spoilt.add(b'{"schemaVersion":2}', digest=digest_of(b"something else"))
    spoilt.image("wrong:1", target)
    inv = collected(spoilt.dump)
    assert errors(inv) == [("documents", target["digest"], "wrong_digest")]
    assert len(inv.documents) == 0
    assert inv.images.manifest_digest.isna().all()


def test_a_document_over_8_mib_is_refused_without_reading_it():
    spoilt = Spoilt()
    spoilt.image("big:1", spoilt.add(b'{"a":"' + b"x" * (100 << 20) + b'"}'))
    inv = collected(spoilt.dump)
    assert [e[2] for e in errors(inv)] == ["too_large"]
    assert "Content/Read" not in inv.errors.message[0]


def test_a_blob_that_says_it_is_small_and_is_not():
    spoilt = Spoilt()
    spoilt.image("big:1", spoilt.add(b'{"a":"' + b"x" * (9 << 20) + b'"}'))
    spoilt.dump["blobs"][0]["size"] = 7
    ((_, _, code),) = errors(collected(spoilt.dump))
    assert code in {"too_large", "wrong_digest"}


def test_an_index_that_contains_itself_ends():
    """Only a store that lies can hold one: its digest cannot be right."""
    spoilt = Spoilt()
    own = digest_of(b"myself")
    entry = {"mediaType": INDEX, "digest": own, "size": 5}
    spoilt.image("ring:1", spoilt.add({"schemaVersion": 2, "manifests": [entry, entry]}, INDEX, digest=own))
    inv = collected(spoilt.dump)
    assert errors(inv) == [("documents", own, "wrong_digest")]


def test_depth_100():
    spoilt = Spoilt()
    target = spoilt.manifest()
    for _ in range(100):
        target = spoilt.index({**target, "platform": {"os": "linux", "architecture": "amd64"}})
    spoilt.image("deep:1", target)
    inv = collected(spoilt.dump)
    assert errors(inv) == []
    assert len(inv.manifests) == 100
    assert inv.images.layer_count.tolist() == [1]
    assert inv.images.platform.tolist() == ["linux/amd64"]


def test_an_index_named_twice_and_nested_has_its_rows_once():
    spoilt = Spoilt()
    inner = spoilt.index(spoilt.manifest())
    outer = spoilt.index(inner, inner)
    for name, target in (("a:1", inner), ("b:1", outer), ("c:1", outer)):
        spoilt.image(name, target)
    inv = collected(spoilt.dump)
    assert sorted(inv.manifests.parent_digest) == sorted([inner["digest"], outer["digest"], outer["digest"]])
    assert inv.images.chain_id.nunique() == 1


def test_ten_thousand_layers_and_a_hundred_thousand_labels():
    spoilt = Spoilt()
    labels = {f"label.{n}": str(n) for n in range(100_000)}
    spoilt.image("wide:1", spoilt.manifest(layers=10_000, labels=labels))
    inv = collected(spoilt.dump)
    assert errors(inv) == []
    assert len(inv.layers) == 10_000
    assert inv.layers.chain_id.notna().all()
    assert json.loads(inv.images.labels[0]) == labels


# --- odd records -----------------------------------------------------------------------------------------------------------


HOSTILE = [
    "<script>alert(1)</script>",
    "a\nb",
    "q\"'`;$(rm)",
    "\x1b[31mred",
    "x" * 4000,
    "ünï/ø:1",
    "--help",
    "\u202etxt",
    "𝔘:1",
]


def test_hostile_names_and_odd_times():
    spoilt = Spoilt()
    target = spoilt.manifest()
    for name in HOSTILE:
        spoilt.image(name, target, {"k": name})
    year_9999 = 253402300799 * 10**9
    spoilt.image("late:1", target, at=year_9999)
    spoilt.image("zero:1", target, at=-62135596800 * 10**9)
    spoilt.image("epoch:1", target, at=1)
    inv = collected(spoilt.dump)
    assert set(inv.images.name) == {*HOSTILE, "late:1", "zero:1", "epoch:1"}
    for row in inv.images[inv.images.name.isin(HOSTILE)].itertuples():
        assert json.loads(row.record_labels) == {"k": row.name}
    times = inv.images.set_index("name").created_at
    assert times[["late:1", "zero:1"]].isna().all()
    assert times["epoch:1"].value == 1


@pytest.mark.daemon
@pytest.mark.every_release
def test_hostile_names_and_labels_that_are_not_utf8_on_a_real_daemon(containerd):
    space = containerd.new_namespace("hostile")
    spoilt = Spoilt(space)
    target = spoilt.manifest()
    plain = [name for name in HOSTILE if len(name) < 1000]
    for name in plain:
        spoilt.image(name, target, {"k": name})
    if containerd.release == "1.6":
        for image in spoilt.dump["images"]:
            image["created_at_ns"] = image["updated_at_ns"] = NOW
    recorded_stores.load_into(containerd, spoilt.dump)
    inv = imf.collect(containerd.address, namespaces=space, cache=False)
    assert set(inv.images.name) == set(plain)
    assert errors(inv) == []
    with recorded_stores.Wire(containerd, space) as wire:
        descriptor = recorded_stores.message(
            (1, target["mediaType"]), (2, target["digest"]), (3, target["size"])
        )
        bad = recorded_stores.message((1, b"key"), (2, b"\xff\xfe"))
        record = recorded_stores.message((1, "bytes:1"), (2, bad), (3, descriptor))
        unchecked = containerd.release == "1.6"  # later ones check what they are sent
        with contextlib.nullcontext() if unchecked else pytest.raises(grpc.RpcError, match="UTF-8"):
            wire.call("images.v1.Images", "Create", (1, record))
    inv = imf.collect(containerd.address, namespaces=space, cache=False)
    assert set(inv.images.name) == ({*plain, "bytes:1"} if unchecked else set(plain))
    assert [code for _, _, code in errors(inv)] == (["malformed"] if unchecked else [])
    if unchecked:
        assert "\ufffd" in inv.images.set_index("name").record_labels["bytes:1"]


@pytest.mark.daemon
@pytest.mark.parametrize("release", RELEASES)
def test_blobs_spoilt_behind_a_real_daemons_back(fresh_daemon, release):
    daemon = fresh_daemon(release)
    spoilt = Spoilt()
    targets = {name: spoilt.manifest(annotations={"is": name}) for name in ("whole", "gone", "cut", "other")}
    for name, target in targets.items():
        spoilt.image(f"{name}:1", target)
    recorded_stores.load_into(daemon, spoilt.dump)
    blobs = daemon.root / "io.containerd.content.v1.content/blobs/sha256"
    for name, content in (("gone", None), ("cut", b'{"schemaVersion":2'), ("other", b"{}")):
        path = blobs / targets[name]["digest"][7:]
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    inv = imf.collect(daemon.address, cache=False)
    assert {subject: code for _, subject, code in errors(inv)} == {
        targets["gone"]["digest"]: "not_found",
        targets["cut"]["digest"]: "wrong_digest",
        targets["other"]["digest"]: "wrong_digest",
    }
    assert inv.images.set_index("name").manifest_digest.notna().to_dict() == {
        "cut:1": False,
        "gone:1": False,
        "other:1": False,
        "whole:1": True,
    }


@pytest.mark.daemon
@pytest.mark.parametrize("name", ["store-1", "store-2"])
@pytest.mark.parametrize("release", RELEASES)
def test_a_real_daemon_and_the_simulator_give_the_same_tables(fresh_daemon, name, monkeypatch, release):
    dump = {**recorded_stores.recorded(name), "snapshots": {"overlayfs": []}}
    daemon = fresh_daemon(release)
    recorded_stores.load_into(daemon, dump)
    real = imf.collect({"name": "n", "address": daemon.address}, cache=False)
    monkeypatch.setenv("IMGFRAME_READ_FILES", "1")
    files = imf.collect({"name": "n", "address": daemon.address}, cache=False)
    simulated = collected(dump)
    if release == "1.6":  # which takes no times from us
        real, files, simulated = (
            inv.replace(images=inv.images.assign(created_at=None, updated_at=None))
            for inv in (real, files, simulated)
        )
    for table in ("images", "manifests", "configs", "history", "layers", "documents", "errors"):
        assert real.arrow(table).equals(files.arrow(table)), table
        if table != "errors":
            assert real.arrow(table).equals(simulated.arrow(table)), table
    assert errors(real) == errors(simulated)
    assert files.nodes.rpcs[0] < real.nodes.rpcs[0] - len(real.documents) // 2
    usage = shutil.disk_usage(daemon.root)
    assert real.nodes.disk_total[0] == usage.total
    assert real.nodes.root[0] == str(daemon.root)


# --- the cache -------------------------------------------------------------------------------------------------------------


def spoil(path, how):
    match how:
        case "not SQLite":
            path.write_bytes(b"hello" * 1000)
        case "cut":
            path.write_bytes(path.read_bytes()[:5000])
        case "overwritten":
            data = bytearray(path.read_bytes())
            data[8192:60000] = b"\xa5" * (60000 - 8192)
            path.write_bytes(data)
        case "not UTF-8":
            path.write_bytes(
                path.read_bytes().replace(b"sqlite_autoindex_usages", b"sqlite_autoindex_u\xa5ages")
            )
        case "unknown format":
            data = bytearray(path.read_bytes())
            data[47] = 9  # the number of the schema's format
            path.write_bytes(data)
        case "another version":
            with sqlite3.connect(path) as db:
                db.execute("PRAGMA application_id = 7")
            db.close()
        case "empty":
            path.write_bytes(b"")
        case "no tables":
            with sqlite3.connect(path) as db:
                for table in ("bundles", "members", "namespace_bundles", "usages"):
                    db.execute(f"DROP TABLE {table}")
            db.close()
        case "wrong bytes":
            with sqlite3.connect(path) as db:
                db.execute("UPDATE bundles SET data = zeroblob(length(data))")
                db.execute("UPDATE usages SET data = zeroblob(length(data))")
            db.close()


@pytest.mark.parametrize(
    "how",
    [
        *("not SQLite", "cut", "overwritten", "not UTF-8", "unknown format", "another version", "empty"),
        *("no tables", "wrong bytes"),
    ],
)
def test_a_damaged_cache_is_rebuilt(tmp_path, how):
    dump = json.loads((DATA / "usage-1.json").read_text())
    path = tmp_path / "cache.sqlite"
    cold = collected(dump, cache=path)
    for end in ("-wal", "-shm"):
        assert not Path(f"{path}{end}").exists()
    spoil(path, how)
    again = collected(dump, cache=path)
    warm = collected(dump, cache=path)
    for table in ("images", "documents", "snapshots", "layers", "configs"):
        assert again.arrow(table).equals(cold.arrow(table))
        assert warm.arrow(table).equals(cold.arrow(table))
    assert warm.nodes.rpcs[0] < cold.nodes.rpcs[0]


@pytest.mark.filterwarnings("default")
def test_a_cache_that_cannot_be_written_is_said_once(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.warns(RuntimeWarning, match="collecting without it") as said:
        inv = collected(STORE, cache=blocked / "cache.sqlite")
    assert len(said) == 1
    assert len(inv.images) == len(STORE["images"])


FILL = """
import json, sys
import imgframe as imf
from imgframe import simulator
with simulator.from_dump(json.load(open(sys.argv[1]))) as node:
    for _ in range(4):
        inv = imf.collect({"name": "n", "address": node.address}, cache=sys.argv[2])
    print(len(inv.documents), inv.nodes.rpcs[0])
"""


def test_two_processes_on_one_cache(tmp_path):
    path = tmp_path / "cache.sqlite"
    names = ("store-1", "store-2", "usage-1")
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", FILL, DATA / f"{name}.json", path],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    said = [process.communicate(timeout=240)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    for name, (documents, _) in zip(names, said, strict=True):
        dump = json.loads((DATA / f"{name}.json").read_text())
        warm, cold = collected(dump, cache=path), collected(dump)
        assert len(cold.documents) == int(documents)
        assert warm.nodes.rpcs[0] < cold.nodes.rpcs[0]
        for table in ("images", "documents", "layers", "configs", "history"):
            assert warm.arrow(table).equals(cold.arrow(table)), (name, table)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_a_snapshot_made_anew_under_the_same_key_is_measured_anew(tmp_path):
    dump = json.loads((DATA / "usage-1.json").read_text())
    path = tmp_path / "cache.sqlite"
    before = collected(dump, cache=path)
    changed = next(s for s in dump["snapshots"]["overlayfs"] if s["kind"] == "committed")
    changed |= {"size": changed["size"] + 4096, "created_at_ns": changed["created_at_ns"] + 1}
    after = collected(dump, cache=path)
    sizes = [dict(zip(i.snapshots.key, i.snapshots["size"], strict=True)) for i in (before, after)]
    assert sizes[1][changed["key"]] == sizes[0][changed["key"]] + 4096


def test_what_is_gone_is_forgotten(tmp_path):
    dump = json.loads((DATA / "usage-1.json").read_text())
    path = tmp_path / "cache.sqlite"
    inv = collected(dump, cache=path)
    key = dump["snapshots"]["overlayfs"].pop()["key"]
    kept = next(s for s in dump["snapshots"]["overlayfs"] if s["kind"] == "committed")
    kept["created_at_ns"] += 1
    collected(dump, cache=path)
    known = Cache(path).usages(inv.nodes.store_uuid[0], dump["namespace"], "overlayfs")
    assert key not in known
    assert known[kept["key"]][0] == kept["created_at_ns"]


# --- saving ----------------------------------------------------------------------------------------------------------------

SAVE = """
import json, resource, sys
import imgframe as imf
from imgframe import simulator
with simulator.from_dump(json.load(open(sys.argv[1]))) as node:
    inv = imf.collect(node.address, cache=False)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    inv.save(sys.argv[2])
except OSError as error:
    print(error.errno)
"""


def test_a_full_disk_leaves_the_old_report(tmp_path):
    """A limit on the size of files stands for the disk."""
    target = collected(STORE).save(tmp_path / "report")
    old = {path.name: path.read_bytes() for path in target.iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", SAVE, DATA / "store-2.json", target],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["27"]
    assert {path.name: path.read_bytes() for path in target.iterdir()} == old
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
