"""What `collect` reads from real daemons equals, row for row, what containerd's own `ctr` prints of the same store."""

import json
import math
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
import testbed.images as built
from testbed import ctr_stores
from testbed.ctr_stores import rows

import imgframe as imf
from imgframe.schema import TABLES


class Collected:
    """A filled daemon and what we collected from it, once."""

    _kept: ClassVar[dict] = {}

    @classmethod
    def of(cls, filled):
        if filled.daemon not in cls._kept:
            cls._kept[filled.daemon] = cls(*filled)
        return cls._kept[filled.daemon]

    def __init__(self, daemon, catalogue):
        self.daemon = daemon
        self.catalogue = catalogue
        self.inventory = imf.collect(daemon.address, usage="all", cache=False)
        self.namespaces = ctr_stores.namespaces(daemon)
        self._layers = defaultdict(list)

    def ctr(self, namespace, columns, *arguments):
        """Rows of a table of `ctr`, whatever it complained about beside."""
        return rows(self.daemon.ctr_process(*arguments, namespace=namespace).stdout, *columns)

    def missing_documents(self):
        """Digests of the manifest and the config that were removed from namespace team.a."""
        if f"{ctr_stores.HOST}/team/rich:1.0" not in self.catalogue:
            return set()
        rich = self.catalogue[f"{ctr_stores.HOST}/team/rich:1.0"].children[0]
        return {rich.document["config"]["digest"], self.catalogue[f"{ctr_stores.HOST}/team/base:1"].digest}

    def layers_of(self, manifest):
        """(digest, size) of its layers, in order."""
        if not self._layers:
            for row in self.ours("layers"):
                self._layers[row["manifest_digest"]].append((row["digest"], row["size"]))
        return self._layers[manifest]

    def ours(self, table):
        return self.inventory.arrow(table).to_pylist()


@pytest.fixture
def store(filled_store):
    return Collected.of(filled_store)


@pytest.fixture
def pulled(pulled_store):
    return Collected.of(pulled_store)


def label_pieces(text):
    """Labels as ctr prints them, cut at commas: it gives them in no order and quotes nothing."""
    return Counter([] if text in {"", "-"} else text.split(","))


def printed(labels):
    return label_pieces(",".join(f"{key}={value}" for key, value in json.loads(labels).items()))


def binary_size(size):
    """A size as `ctr images` prints it."""
    power = 0 if size < 1024 else int(math.log2(size) // 10)
    return f"{size / 1024**power:.1f} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def decimal_size(size):
    """A size as `ctr content` prints it: four significant digits."""
    power = 0
    value = float(size)
    while value >= 1000:
        value, power = value / 1000, power + 1
    return f"{value:.4g}{('B', 'kB', 'MB', 'GB')[power]}"


def by(rows_, *keys):
    found = {tuple(row[key] for key in keys): row for row in rows_}
    assert len(found) == len(rows_), f"two rows of one {keys}"
    return found


def test_the_node_and_its_namespaces(store):
    (node,) = store.ours("nodes")
    failures = {(row["namespace"], row["subject"], row["code"]) for row in store.ours("errors")}
    assert failures == {("team.a", digest, "not_found") for digest in store.missing_documents()}
    assert node["status"] == ("partial" if failures else "ok")
    assert node["containerd_version"] == store.daemon.version
    assert node["root"] == str(store.daemon.root)
    printed_by_ctr = rows(store.daemon.ctr("namespaces", "ls", namespace=None), *ctr_stores.NAMESPACE_COLUMNS)
    ours = by(store.ours("namespaces"), "namespace")
    assert {name for (name,) in ours} == {row["NAME"] for row in printed_by_ctr}
    for row in printed_by_ctr:
        assert printed(ours[row["NAME"],]["labels"]) == label_pieces(row["LABELS"])


def test_every_image(store):
    ours = by(store.ours("images"), "namespace", "name")
    theirs = {
        (n, row["REF"]): row
        for n in store.namespaces
        for row in store.ctr(n, ctr_stores.IMAGE_COLUMNS, "images", "ls")
    }
    assert ours.keys() == theirs.keys()
    assert len(ours) >= 15
    for key, row in theirs.items():
        assert (ours[key]["media_type"], ours[key]["digest"]) == (row["TYPE"], row["DIGEST"]), key
        assert printed(ours[key]["record_labels"]) == label_pieces(row["LABELS"]), key


def indexes_above(store, image):
    """The bytes of the indexes between an image record and the manifest that it resolves to."""
    if image["manifest_digest"] == image["digest"]:
        return 0
    parents = {
        row["digest"]: (row["parent_digest"], row["size"])
        for row in store.ours("manifests")
        if row["namespace"] == image["namespace"]
    }
    total, digest = image["target_size"], parents[image["manifest_digest"]][0]
    while digest != image["digest"]:
        total, digest = total + parents[digest][1], parents[digest][0]
    return total


def test_the_size_that_ctr_shows_is_index_manifest_config_and_layers(pulled):
    theirs = {
        (n, row["REF"]): row["SIZE"]
        for n in pulled.namespaces
        for row in pulled.ctr(n, ctr_stores.IMAGE_COLUMNS, "images", "ls")
    }
    compared = 0
    for image in pulled.ours("images"):
        if image["content_size"] is not None:
            size = image["content_size"] + indexes_above(pulled, image)
            assert theirs[image["namespace"], image["name"]] == binary_size(size), image["name"]
            compared += 1
    assert compared >= 14


def test_complete_and_unpacked_as_ctr_checks_them(store):
    ours = by(store.ours("images"), "namespace", "name")
    sizes = {(row["namespace"], row["digest"]): row for row in store.ours("manifests")}
    outcomes = Counter()
    for namespace in store.namespaces:
        check = store.daemon.ctr_process("images", "check", namespace=namespace)
        for row in rows(check.stdout, *ctr_stores.CHECK_COLUMNS):
            image = ours[namespace, row["REF"]]
            state, _, count = row["STATUS"].partition(" ")
            outcomes[state, row["UNPACKED"]] += 1
            if state == "unavailable":
                assert image["manifest_digest"] is None or image["layer_count"] is None
                assert image["complete"] is not True
                assert image["unpacked"] is not True
                continue
            assert image["complete"] == (state == "complete"), row
            assert image["layer_count"] + 1 == int(count.strip("()").split("/")[1]), row
            manifest = sizes[namespace, image["manifest_digest"]]
            present, _, required = row["SIZE"].partition("/")
            assert required == binary_size(image["content_size"] - manifest["size"]), row
            digests = store.layers_of(image["manifest_digest"])
            again = sum(size for n, (digest, size) in enumerate(digests) if digest in dict(digests[:n]))
            # ctr counts a blob each time it is named, we each blob once
            assert present == binary_size(manifest["present_size"] - manifest["size"] + again), row
            if f'unable to check unpack for {row["REF"]}"' in check.stderr:
                assert image["unpacked"] is None, row
            else:
                assert image["unpacked"] == (row["UNPACKED"] == "true"), row
    assert len(outcomes) >= 2, outcomes


def test_every_blob(store):
    ours = by(store.ours("blobs"), "namespace", "digest")
    seen = set()
    folder = store.daemon.root / "io.containerd.content.v1.content/blobs/sha256"
    for namespace in store.namespaces:
        for row in ctr_stores.content_rows(store.daemon.ctr("content", "ls", namespace=namespace)):
            blob = ours[namespace, row["DIGEST"]]
            seen.add((namespace, row["DIGEST"]))
            assert blob["size"] == (folder / row["DIGEST"][7:]).stat().st_size
            assert decimal_size(blob["size"]) == row["SIZE"]
            assert printed(blob["labels"]) == label_pieces(row["LABELS"])
    assert seen == ours.keys()
    assert {digest[7:] for _, digest in seen} == {path.name for path in folder.iterdir()}


def test_every_snapshot_and_its_usage(store):
    ours = by(store.ours("snapshots"), "namespace", "snapshotter", "key")
    seen = set()
    for namespace in store.namespaces:
        for snapshotter in ("overlayfs", "native"):
            command = ("snapshots", "--snapshotter", snapshotter)
            usage = {
                row["KEY"]: row
                for row in store.ctr(namespace, ctr_stores.USAGE_COLUMNS, *command, "usage", "-b")
            }
            listed = store.ctr(namespace, ctr_stores.SNAPSHOT_COLUMNS, *command, "ls")
            parents = {row["KEY"]: row["PARENT"] for row in listed}
            assert usage.keys() == parents.keys()
            for row in listed:
                key = row["KEY"]
                seen.add((namespace, snapshotter, key))
                snapshot = ours[namespace, snapshotter, key]
                assert (snapshot["parent"], snapshot["kind"]) == (row["PARENT"], row["KIND"].lower()), key
                assert (snapshot["size"], snapshot["inodes"]) == (
                    int(usage[key]["SIZE"]),
                    int(usage[key]["INODES"]),
                ), key
                chain = [key]
                while parents[chain[-1]]:
                    chain.append(parents[chain[-1]])
                assert snapshot["depth"] == len(chain) - 1
                assert snapshot["total_size"] == sum(int(usage[one]["SIZE"]) for one in chain)
                assert snapshot["total_inodes"] == sum(int(usage[one]["INODES"]) for one in chain)
    assert seen == ours.keys()


def nanoseconds(text):
    """An RFC 3339 time of a JSON that Go wrote, as nanoseconds since the epoch."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    moment = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)


def column_ns(store, table, *keys, column):
    table = store.inventory.arrow(table)
    values = table[column].cast("int64").to_pylist()
    names = [table[key].to_pylist() for key in keys]
    return dict(zip(zip(*names, strict=True), values, strict=True))


def test_labels_and_times_of_every_snapshot(pulled):
    ours = by(pulled.ours("snapshots"), "namespace", "snapshotter", "key")
    keys = ("namespace", "snapshotter", "key")
    created = column_ns(pulled, "snapshots", *keys, column="created_at")
    updated = column_ns(pulled, "snapshots", *keys, column="updated_at")
    for (namespace, snapshotter, key), row in ours.items():
        info = json.loads(
            pulled.daemon.ctr("snapshots", "--snapshotter", snapshotter, "info", key, namespace=namespace)
        )
        assert json.loads(row["labels"]) == info.get("Labels", {})
        assert created[namespace, snapshotter, key] == nanoseconds(info["Created"])
        assert updated[namespace, snapshotter, key] == nanoseconds(info["Updated"])


def test_every_lease(store):
    ours = by([row for row in store.ours("leases") if row["resource"] is None], "namespace", "id")
    expires = column_ns(store, "leases", "namespace", "id", column="expires_at")
    seen = set()
    for namespace in store.namespaces:
        for row in store.ctr(namespace, ctr_stores.LEASE_COLUMNS, "leases", "ls"):
            lease = ours[namespace, row["ID"]]
            seen.add((namespace, row["ID"]))
            assert printed(lease["labels"]) == label_pieces(row["LABELS"])
            assert lease["created_at"].strftime("%Y-%m-%dT%H:%M:%SZ") == row["CREATED AT"]
            labels = json.loads(lease["labels"])
            assert expires[namespace, row["ID"]] == nanoseconds(labels["containerd.io/gc.expire"])
    assert seen == ours.keys()
    assert len(seen) == (2 if store.inventory.arrow("containers").num_rows else 0)


def test_every_container_and_its_task(pulled):
    ours = by(pulled.ours("containers"), "namespace", "id")
    digests = {(row["namespace"], row["name"]): row["digest"] for row in pulled.ours("images")}
    created = column_ns(pulled, "containers", "namespace", "id", column="created_at")
    seen = set()
    for namespace in pulled.namespaces:
        tasks = {
            row["TASK"]: row["STATUS"]
            for row in pulled.ctr(namespace, ctr_stores.TASK_COLUMNS, "tasks", "ls")
        }
        for row in pulled.ctr(namespace, ctr_stores.CONTAINER_COLUMNS, "containers", "ls"):
            key = (namespace, row["CONTAINER"])
            seen.add(key)
            info = json.loads(pulled.daemon.ctr("containers", "info", row["CONTAINER"], namespace=namespace))
            container = ours[key]
            assert (container["image"], container["runtime"]) == (row["IMAGE"], row["RUNTIME"])
            assert (container["snapshotter"], container["snapshot_key"]) == (
                info["Snapshotter"],
                info["SnapshotKey"],
            )
            assert json.loads(container["labels"]) == info["Labels"]
            assert created[key] == nanoseconds(info["CreatedAt"])
            assert container["status"] == tasks.get(row["CONTAINER"], "none").lower()
            assert container["image_digest"] == digests[namespace, row["IMAGE"]]
    assert seen == ours.keys()
    assert sorted(row["status"] for row in ours.values()) == ["none", "paused", "running"]


def test_every_ingest(store):
    ours = by(store.ours("ingests"), "namespace", "ref")
    seen = set()
    for namespace in store.namespaces:
        for line in store.daemon.ctr("content", "active", namespace=namespace).splitlines()[1:]:
            ref, size, *_ = [cell for cell in line.split("\t") if cell]
            seen.add((namespace, ref))
            assert decimal_size(ours[namespace, ref]["offset"]) == size
    assert seen == ours.keys()


def test_documents_are_the_very_bytes(store):
    bytes_of = {}
    for image in store.catalogue.values():
        bytes_of |= image.blobs
    documents = {row["digest"]: row["data"] for row in store.ours("documents")}
    assert {digest: bytes_of[digest] for digest in documents} == documents
    present = {row["digest"] for row in store.ours("blobs")}
    wanted = set()
    for image in store.catalogue.values():
        for one in every_image(image):
            wanted.add(one.digest)
            if not one.children:
                wanted.add(one.document["config"]["digest"])
    assert documents.keys() == wanted & present


def every_image(image):
    yield image
    for child in image.children:
        yield from every_image(child)


def test_manifests_layers_and_chain_ids_equal_the_documents(store):
    ours = {}
    for row in store.ours("layers"):
        ours.setdefault(row["manifest_digest"], []).append(row)
    configs = by(store.ours("configs"), "digest")
    manifests = {}
    for row in store.ours("manifests"):
        manifests.setdefault(row["digest"], []).append(row)
    documents = {row["digest"] for row in store.ours("documents")}
    present = {(row["namespace"], row["digest"]) for row in store.ours("blobs")}
    compared = 0
    for image in {one.digest: one for root in store.catalogue.values() for one in every_image(root)}.values():
        if image.children or image.digest not in documents or image.digest not in manifests:
            continue
        document, compared = image.document, compared + 1
        chain = [None] * len(document["layers"])
        diffs = list(chain)
        if (config_digest := document["config"]["digest"]) in documents:
            chain, diffs = built.chain_ids(image), image.config["rootfs"]["diff_ids"]
            compare_config(configs[config_digest,], image.config)
        rows_ = sorted(ours.get(image.digest, []), key=lambda row: row["position"])
        assert [row["position"] for row in rows_] == list(range(len(document["layers"])))
        assert [(row["digest"], row["media_type"], row["size"]) for row in rows_] == [
            (layer["digest"], layer["mediaType"], layer["size"]) for layer in document["layers"]
        ]
        assert [row["diff_id"] for row in rows_] == diffs
        assert [row["chain_id"] for row in rows_] == chain
        for row in manifests[image.digest]:
            if (row["namespace"], image.digest) not in present:
                assert (row["present"], row["content_size"], row["config_digest"], row["chain_id"]) == (
                    False,
                    *[None] * 3,
                )
                continue
            parts = (document["config"], *document["layers"])
            assert row["content_size"] == len(image.blobs[image.digest]) + sum(part["size"] for part in parts)
            assert row["config_digest"] == config_digest
            readable = (row["namespace"], config_digest) in present
            assert row["chain_id"] == (chain[-1] if readable else None)
            assert json.loads(row["annotations"]) == image.descriptor.get("annotations", {})
    assert compared >= 9


def compare_config(row, config):
    for column, key in (("os", "os"), ("architecture", "architecture"), ("variant", "variant")):
        assert (row[column] or None) == config.get(key), column
    assert json.loads(row["env"] or "[]") == config["config"].get("Env", [])
    assert json.loads(row["cmd"] or "[]") == config["config"].get("Cmd", [])
    assert json.loads(row["labels"]).items() >= config["config"].get("Labels", {}).items()
    if config.get("created") is None:
        assert row["created"] is None
    else:
        assert row["created"].isoformat()[:19] == config["created"][:19]


def test_times_of_images_and_blobs_lie_within_the_filling(store):
    """ctr prints no times of images; the daemon's own folder says when it began, the collection when it ended."""
    started = datetime.fromtimestamp((store.daemon.folder / "config.toml").stat().st_mtime, UTC)
    ended = store.ours("nodes")[0]["collected_at"]
    for table in ("images", "blobs"):
        for row in store.ours(table):
            assert started - timedelta(seconds=1) <= row["created_at"] <= ended
            if table == "blobs" and store.daemon.release.startswith("1."):
                assert row["updated_at"] is None  # their Content.List leaves it out
            else:
                assert row["created_at"] <= row["updated_at"] <= ended


def test_a_cache_and_files_change_nothing(store, tmp_path, monkeypatch):
    def again(cache):
        return imf.collect(store.daemon.address, usage="all", cache=cache)

    cold, warm = again(tmp_path / "cache.db"), again(tmp_path / "cache.db")
    monkeypatch.setenv("IMGFRAME_READ_FILES", "1")
    files = again(cache=False)
    asked = store.ours("nodes")[0]["rpcs"]
    for other in (warm, files):
        assert other.arrow("nodes").to_pylist()[0]["rpcs"] < asked - len(store.ours("documents")) / 2
    for name in TABLES:
        if name != "nodes":  # seconds and calls
            first = store.inventory.arrow(name)
            assert all(other.arrow(name).equals(first) for other in (cold, warm, files)), name
