"""ensure and pull beside what nerdctl did with images of the same shape in the same states, on the same releases."""

import base64
import json
import re
import threading
from collections import Counter

import pytest
from testbed import ctr_stores, images
from testbed.clock import END
from testbed.filter_stores import DATA
from testbed.node_state import checked, state
from testbed.registries import SECRET, USER, write_hosts

import imgframe as imf
from imgframe import oci, platforms, simulator
from imgframe.errors import FilterError, NotFound, ReferenceError_
from imgframe.planning.local_image import LocalRecord, find_existing, lookup
from imgframe.planning.options import PullMode

VECTORS = [json.loads(line) for line in (DATA / "vectors" / "ensure.jsonl").read_text().splitlines()]
RELEASES = {"1.6.20": ["1.6"], "1.7.24": ["1.7"], "2.1.9": ["2.1", "2.3", "2.4"]}
BY_CLASS = {
    name: [row for row in VECTORS if row["class"] == name] for name in ("create", "pull", "get_existing")
}


def test_the_vectors_are_all_there():
    assert {name: len(rows) for name, rows in BY_CLASS.items()} == {
        "create": 114,
        "pull": 136,
        "get_existing": 234,
    }


@pytest.fixture(scope="module")
def served(registry):
    """Images of the measured shapes in the registry, by their names in the vectors."""

    def layer(text):
        return images.layer([images.folder("srv"), images.file(f"srv/{text}", text.encode() * 500)])

    def plain(text, count, **more):
        return images.image([layer(f"{text}-{n}") for n in range(count)], **more)

    arm = plain("arm", 1, platform="linux/arm64")
    shared = [layer("shared-0"), layer("shared-1")]
    amd64 = images.image([*shared, layer("amd-0"), layer("amd-1")])
    arm64 = images.image([*shared, layer("arm-0"), layer("arm-1")], platform="linux/arm64")
    built = {
        "one": plain("one", 2),
        "multi": images.index([plain("multi amd", 2), plain("multi arm", 2, platform="linux/arm64")]),
        "dk": images.index([plain("dk", 2, docker=True)], docker=True),
        "attest": images.index([amd64, arm64, images.attestation(amd64), images.attestation(arm64)]),
        "arm": images.index([arm]),
        "armdirect": arm,
    }
    for name, image in built.items():
        registry.push(f"ens/{name}", "1", image)
    return built


# get_existing: the decision alone, and the public function on inventories


def _store(name):
    dump = json.loads((DATA / "stores" / f"{name}.json").read_text())
    blobs = {blob["digest"]: blob.get("text", "").encode() for blob in dump["blobs"]}
    targets = [(one["name"], one["target"]) for one in dump["images"]]
    records = [LocalRecord(n, oci.Descriptor(t["mediaType"], t["digest"], t["size"])) for n, t in targets]
    return dump, records, oci.Documents(blobs.get)


def test_existing_images_are_found_as_nerdctl_finds_them():
    stores = {name: _store(name) for name in {row["store"] for row in BY_CLASS["get_existing"]}}
    wrong = []
    for row in BY_CLASS["get_existing"]:
        _, records, documents = stores[row["store"]]
        name = digest = error = None
        try:
            record, _ = find_existing(
                lookup(row["reference"]), records, platforms.strict(row["platform"]), documents
            )
            name, digest = record.name, record.target.digest
        except FilterError as problem:
            error = problem.go
        except NotFound as problem:
            error = "not found\n" + str(problem).rpartition(": ")[2]
        if (name, digest, error) != (row["found"], row["digest"], row["error"]):
            wrong.append((row["id"], row["reference"], name, digest, error))
    print(f"ensure.jsonl get_existing: {len(BY_CLASS['get_existing'])} of 234")
    assert not wrong


def test_existing_images_of_an_inventory():
    rows = [row for row in BY_CLASS["get_existing"] if row["store"] == "usage-1"][::5]
    dump, _, _ = _store("usage-1")
    with simulator.from_dump(dump) as node:
        inventory = imf.collect(node.address, usage="none", cache=False)
    for row in rows:
        if row["error"] and row["error"].startswith("filters:"):
            with pytest.raises(FilterError, match=re.escape(row["error"])):
                imf.get_existing_images(inventory, row["reference"], row["platform"])
            continue
        found = imf.get_existing_images(inventory, row["reference"], row["platform"])
        (one,) = found.astype(object).where(found.notna(), None).to_dict("records")
        assert (one["name"], one["digest"]) == (row["found"], row["digest"]), row["id"]
        assert (one["error"] is None) is (row["error"] is None)


# create: EnsureImage in thirteen states


def _prepare(daemon, namespace, situation, reference, image):
    """Brings a namespace into one of the measured states."""
    if situation in {"absent", "absent-from-registry", "arm-only-absent"}:
        return
    options = {
        "other-platform": {"platform": "linux/arm64"},
        "not-unpacked": {"unpack": False},
    }.get(situation, {})
    imf.pull(
        reference, daemon.address, namespace=namespace, via="client", **options
    ).apply().raise_for_errors()
    amd = image.children[0] if image.children else image
    gone = {
        "layer-missing": amd.layers[0].digest,
        "config-missing": amd.document["config"]["digest"],
        "manifest-missing": amd.digest,
    }
    if situation in gone:
        daemon.ctr("content", "rm", gone[situation], namespace=namespace)
    if situation == "top-snapshot-missing":
        daemon.ctr("snapshots", "rm", images.chain_ids(amd)[-1], namespace=namespace)


def test_ensure_ends_as_nerdctls(containerd, registry, served, tmp_path):
    hosts = write_hosts(tmp_path / "hosts", {"docker.io": registry.url})
    rows = [row for row in BY_CLASS["create"] if containerd.release in RELEASES[row["daemon"]]]
    for row in rows:
        name = row["argument"].partition("/ens/")[2].partition(":")[0].partition("@")[0] or "one"
        image = served.get(name)
        namespace = containerd.new_namespace("create")
        source = f"{registry.host}/ens/{name}"
        argument = row["argument"].replace("127.0.0.1:5051", registry.host)
        stored = f"{source}:1"
        if row["state"] == "under-digest-name":
            argument = stored = f"{source}@{image.digest}"
        elif row["state"] == "bare-id":
            argument = image.digest[7:19]
        if image is not None:
            _prepare(containerd, namespace, row["state"], stored, image)
        before = state(containerd, namespace)
        # an ID is asked for at Docker's hub, of which the registry here takes the place
        special = {"hosts_dirs": [hosts]} if row["state"] == "bare-id" else {}
        plan = imf.ensure(argument, containerd.address, mode=row["mode"], namespace=namespace, **special)
        result = plan.apply()
        (step,) = result.steps.to_dict("records")
        after = state(containerd, namespace)
        case = (row["id"], row["state"], row["mode"], step["message"])
        assert (step["status"] == "done") is (row["exit"] == 0), case
        if row["exit"]:
            assert not after.blobs.keys() - before.blobs.keys(), case
            assert after.images == before.images, case
            words = row["stderr"][-1]
            for common in ("image not available: ", "not found", "no match for platform in manifest"):
                if common in words and row["state"] != "bare-id":
                    assert common in step["message"], case
        else:
            (found,) = result.ensured.to_dict("records")
            assert found["name"] == stored, case
            assert found["digest"] == image.digest, case
            chain = {
                ("overlayfs", key) for key in images.chain_ids(image.children[0] if image.children else image)
            }
            assert chain <= after.snapshots.keys() <= chain | before.snapshots.keys(), case
            assert len(after.images) == len(row["images_after"]), case
            if row["requests"]:
                assert found["remote"], case
                assert "true" in checked(containerd, namespace)[stored], case
            elif row["state"] != "manifest-missing":
                assert not found["remote"], case
        assert not after.leases | after.ingests, case
    print(f"ensure.jsonl create {containerd.release}: {len(rows)}")
    assert len(rows) >= 36


# pull: what is left, blob by blob

LEFT_OUT = {
    "192.0.2.2": "an address that this machine does not have",
    "nosuch.invalid": "asks the machine's DNS",
    "--unpack=": "texts of a command line",
}


def _shape(blobs):
    """Kinds of blobs with the names of their labels, which do not depend on the digests."""
    return Counter((kind.replace("layer", "config"), *sorted(labels)) for kind, labels in blobs)


def _kind(digest, image):
    everything = [image, *image.children]
    return next((one.descriptor["mediaType"] for one in everything if one.digest == digest), "config")


def _options(arguments):
    options, words = {}, list(arguments)
    chosen = [words[at + 1] for at, word in enumerate(words) if word == "--platform"]
    if chosen:
        options["platform"] = ",".join(chosen)
    if "--all-platforms" in words:
        options["platform"] = "all"
    if "--snapshotter" in words:
        options["snapshotter"] = words[words.index("--snapshotter") + 1]
    unpack = [word.partition("=")[2] for word in words if word.startswith("--unpack=")]
    if unpack and unpack[0] != "auto":
        options["unpack"] = unpack[0] in {"true", "1"}
    return options


def _left_out(row):
    text = " ".join(row["arguments"])
    if any(f"--unpack={word}" in row["arguments"] for word in ("maybe", "")):
        return "--unpack="
    return next((part for part in ("192.0.2.2", "nosuch.invalid") if part in text), None)


@pytest.mark.parametrize("via", ["client", None])
def test_pulls_leave_what_nerdctls_left(containerd, registry, basic_registry, served, tmp_path, via):
    registry.push("usage/one", "1", served["one"])
    left, done = Counter(), 0
    for row in BY_CLASS["pull"]:
        if containerd.release not in RELEASES[row["daemon"]]:
            continue
        if (why := _left_out(row)) is not None:
            left[LEFT_OUT[why]] += 1
            continue
        _replay_pull(containerd, registry, basic_registry, served, row, tmp_path, via)
        done += 1
    print(f"ensure.jsonl pull {containerd.release} via {via}: {done}; left out: {dict(left)}")
    assert done >= 30


def _replay_pull(daemon, registry, basic_registry, served, row, tmp_path, via):
    namespace = daemon.new_namespace("pull")
    argument, options = row["arguments"][-1], _options(row["arguments"])
    port = registry.host.rpartition(":")[2]
    closed = "127.0.0.1:9"
    for old, new in (
        ("127.0.0.1:5051", registry.host),
        ("localhost:5051", f"localhost:{port}"),
        ("127.0.0.1:5154", basic_registry.host),
        ("127.0.0.1:5159", closed),
    ):
        argument = argument.replace(old, new)
    config = tmp_path / f"{row['credentials']}.json"
    secret = {"right": SECRET, "wrong": "wrong"}.get(row["credentials"], "")
    auths = (
        {basic_registry.host: {"auth": base64.b64encode(f"{USER}:{secret}".encode()).decode()}}
        if secret
        else {}
    )
    config.write_text(json.dumps({"auths": auths}))
    try:
        plan = imf.pull(
            argument, daemon.address, namespace=namespace, docker_config=config, via=via, **options
        )
    except (ReferenceError_, imf.InputError) as error:
        assert row["exit"] == 1, row["id"]
        words = row["stderr"][-1].partition('msg="')[2]
        assert (
            error.go in words or str(error).partition(" (")[0] in words or "names no repository" in error.go
        ), row["id"]
        return
    result = plan.apply()
    (step,) = result.steps.to_dict("records")
    case = (row["id"], row["arguments"], step["message"])
    if row["arguments"][:2] == ["--snapshotter", "native"]:  # 2.x cannot; we do it as a client
        assert step["status"] == "done", case
        return
    assert (step["status"] == "done") is (row["exit"] == 0), case
    after = state(daemon, namespace)
    assert not after.leases | after.ingests, case
    if row["exit"]:
        assert after.blobs == {}, case
        assert after.images == {}, case
        for words in (
            "connection refused",
            "401 Unauthorized",
            "no match for platform in manifest",
            ": not found",
        ):
            if words in row["stderr"][-1]:
                assert words in step["message"], case
        return
    name = argument.partition("/ens/")[2].partition(":")[0].partition("@")[0]
    image = served[name]
    if "localhost" in argument:  # a host of another name
        return
    assert list(after.images.values()) == [
        one["digest"] and image.digest for one in row["after"]["images"]
    ], case
    expected = _shape((one["media"], list(one["labels"])) for one in row["after"]["blobs"])
    found = _shape((_kind(digest, image), labels) for digest, labels in after.blobs.items())
    assert found == expected, case
    assert len(after.snapshots) == len(row["after"]["snapshots"]), case


# modes and many nodes


def test_modes_are_gos():
    assert [PullMode.of(mode) for mode in ("always", "missing", "never")] == list(PullMode)
    with pytest.raises(imf.InputError) as caught:
        imf.ensure("alpine", "/nowhere.sock", mode="Always")
    assert caught.value.go == 'unexpected pull mode: "Always"'


def test_fifty_nodes_get_what_they_lack_and_the_registry_is_asked_once(registry, faulty_registry):
    names = [f"{faulty_registry.host}/team/{name}:1" for name in ("base", "child")]
    built = [ctr_stores.catalogue()[f"team/{name}", "1"] for name in ("base", "child")]
    with simulator.fleet(10, days=1, seed=3, until=END) as fleet:
        result = imf.ensure(names, fleet.nodes, via="client", unpack=False, namespace="fresh").apply()
        result.raise_for_errors()
        assert len(result.ensured) == 20
        assert result.ensured["remote"].all()
        asked = Counter((one.method, one.path) for one in faulty_registry.requests if "manifests" in one.path)
        assert set(asked.values()) == {1}, "each document once for all nodes"
        faulty_registry.clear()
        again = imf.ensure(names, fleet.nodes, via="client", unpack=False, namespace="fresh").apply()
        assert not again.ensured["remote"].any()
        assert faulty_registry.requests == []
        assert set(again.ensured["digest"]) == {image.digest for image in built}


def test_an_image_that_two_steps_want_is_pulled_and_then_found(containerd, registry):
    namespace = containerd.new_namespace("both")
    name = f"{registry.host}/team/base:1"
    plan = imf.ensure([name, name.replace(":1", ":1")], containerd.address, namespace=namespace)
    assert len(plan.steps) == 1, "asked for twice, done once"
    results = []
    threads = [threading.Thread(target=lambda: results.append(plan.apply())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.ok for result in results] == [True, True]
    assert checked(containerd, namespace) == {name: "complete (3/3) true"}
