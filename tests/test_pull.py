"""Pulls on real daemons: the same labels as containerd's own pull, nothing left after failures, nothing twice."""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from testbed import ctr_stores, images
from testbed.daemons import OWN_TRANSFER, Daemon
from testbed.node_state import EMPTY, checked, collect_garbage, state
from testbed.registries import SECRET, USER, write_hosts

import imgframe as imf
from imgframe.act.labels import children_labels, source_label
from imgframe.oci import Descriptor
from imgframe.wire import Client

CATALOGUE = [
    ("team/rich:1.0", "complete (5/5) true"),
    ("team/docker:1.0", "complete (5/5) true"),
    ("library/tools:latest", "complete (2/2) true"),
    ("team/deep:1", "complete (13/13) true"),
    ("team/twice:1", "complete (4/4) true"),
    ("team/nested:1", "complete (3/3) true"),
]


def pulled(reference, daemon, namespace, **options):
    """The only row of a pull that is to succeed."""
    result = imf.pull(reference, daemon.address, namespace=namespace, **options).apply()
    result.raise_for_errors()
    (row,) = result.steps.to_dict("records")
    return row


@pytest.mark.parametrize("via", ["client", None])
@pytest.mark.parametrize(("name", "said"), CATALOGUE)
def test_a_pull_leaves_what_ctr_leaves(containerd, registry, name, said, via):
    ours, theirs = containerd.new_namespace("ours"), containerd.new_namespace("theirs")
    reference = f"{registry.host}/{name}"
    row = pulled(reference, containerd, ours, via=via)
    assert row["via"] == ("transfer" if via is None and containerd.numbers >= (2, 0) else "client")
    containerd.ctr("images", "pull", "--plain-http", reference, namespace=theirs)
    found, expected = state(containerd, ours), state(containerd, theirs)
    assert found.images == expected.images == {reference: row["after"]}
    assert found.blobs.keys() <= expected.blobs.keys()
    assert found.blobs == {digest: expected.blobs[digest] for digest in found.blobs}
    assert found.snapshots.items() <= expected.snapshots.items()
    if (name, containerd.numbers >= (2, 0), via) != ("team/nested:1", True, "client"):
        assert (
            found.snapshots == expected.snapshots
        )  # else: 2.x unpacks every manifest that fits, not just the best
    assert not found.leases | found.ingests
    assert checked(containerd, ours) == {reference: said}
    collect_garbage(containerd, ours)
    assert state(containerd, ours) == found


def test_a_container_runs_from_what_was_pulled(containerd, registry):
    namespace = containerd.new_namespace("run")
    reference = f"{registry.host}/library/tools:latest"
    pulled(reference, containerd, namespace, via="client")
    said = containerd.ctr(
        "run", "--rm", reference, f"pulled-{containerd.tag}", "cat", "/bin/busybox", namespace=namespace
    )
    assert said.startswith("\x7fELF")


def test_platforms_and_snapshotters(containerd, registry):
    reference = f"{registry.host}/team/rich:1.0"
    rich = ctr_stores.catalogue()["team/rich", "1.0"]
    amd, arm, *attestations = rich.children
    index = {rich.digest}

    def blobs(*parts):
        return index.union(*(part.blobs for part in parts))

    cases = [
        ({}, blobs(amd), images.chain_ids(amd)),
        ({"platform": "linux/arm64"}, blobs(arm), images.chain_ids(arm)),
        ({"platform": ["amd64", "arm64"]}, blobs(amd, arm), []),
        ({"platform": "all"}, blobs(amd, arm, *attestations), []),
        ({"unpack": False}, blobs(amd), []),
        ({"snapshotter": "native"}, blobs(amd), images.chain_ids(amd)),
    ]
    for options, expected, chain in cases:
        namespace = containerd.new_namespace("choice")
        row = pulled(reference, containerd, namespace, via="client", **options)
        snapshotter = options.get("snapshotter", "overlayfs")
        found = state(containerd, namespace)
        assert set(found.blobs) == expected, options
        assert set(found.snapshots) == {(snapshotter, key) for key in chain}, options
        assert row["fetched_bytes"] + row["present_bytes"] == sum(len(rich.blobs[one]) for one in expected)
        assert (row["snapshotter"] == snapshotter) is bool(chain)
        if chain:
            config = next(one for one in (arm, amd) if images.chain_ids(one) == chain).document["config"][
                "digest"
            ]
            assert found.blobs[config][f"containerd.io/gc.ref.snapshot.{snapshotter}"] == chain[-1]
        collect_garbage(containerd, namespace)
        assert state(containerd, namespace) == found


def test_what_is_there_does_not_travel_again(containerd, registry, faulty_registry):
    first, second = containerd.new_namespace("first"), containerd.new_namespace("second")
    layers = [images.rootfs(f"shared {containerd.release} {n}") for n in range(5)]
    built = [images.image(layers[: n + 2]) for n in range(4)]
    names = [f"{faulty_registry.host}/shared/{containerd.release}-{n}:1" for n in range(4)]
    for name, one in zip(names, built, strict=True):
        registry.push(name.partition("/")[2].partition(":")[0], "1", one)
    result = imf.pull(names, containerd.address, namespace=first, via="client").apply()
    result.raise_for_errors()
    asked = [one.path.rpartition("/")[2] for one in faulty_registry.requests if one.method == "GET"]
    everything = {digest: data for one in built for digest, data in one.blobs.items()}
    assert sorted(asked) == sorted(everything), "a blob or document that images share travels once"
    assert result.steps["fetched_bytes"].sum() == sum(map(len, everything.values()))
    faulty_registry.clear()
    again = pulled(names[3], containerd, first, via="client")
    assert [one.method for one in faulty_registry.requests] == ["HEAD"]
    assert (again["fetched_bytes"], again["before"]) == (0, again["after"])
    faulty_registry.clear()
    elsewhere = pulled(names[3], containerd, second, via="client")
    asked = {one.path.rpartition("/")[2] for one in faulty_registry.requests if one.method == "GET"}
    assert asked == built[3].blobs.keys() - {layer.digest for layer in layers}, "only the documents"
    assert elsewhere["present_bytes"] == sum(len(layer.data) for layer in layers)
    assert checked(containerd, second) == {names[3]: "complete (6/6) true"}
    if containerd.numbers >= (2, 0):
        faulty_registry.clear()
        row = pulled(names[3], containerd, containerd.new_namespace("third"), via="transfer")
        assert [one.method for one in faulty_registry.requests] == ["HEAD"], (
            "all of it was in other namespaces"
        )
        assert row["fetched_bytes"] == 0
        assert row["present_bytes"] == sum(map(len, built[3].blobs.values()))


def test_a_second_repository_is_remembered(containerd, registry):
    namespace = containerd.new_namespace("merge")
    registry.push("other/base", "1", ctr_stores.catalogue()["team/base", "1"])
    for repository in ("team/base", "other/base"):
        pulled(f"{registry.host}/{repository}:1", containerd, namespace, via="client")
    labels = state(containerd, namespace).blobs.values()
    key = "containerd.io/distribution.source.127.0.0.1"
    assert {one[key] for one in labels} == {"other/base,team/base"}


STAGES = [
    ("the name is not there", r"HEAD .*manifests/1", {"status": 404}, "not found"),
    ("the manifest is gone", r"GET .*bad/app/manifests/sha256", {"status": 404}, "not in the registry"),
    ("the config is gone", r"GET .*blobs/CONFIG", {"status": 404}, "not in the registry"),
    ("a layer is gone", r"GET .*blobs/LAYER", {"status": 404}, "not in the registry"),
    ("a layer is forged", r"GET .*blobs/LAYER", {"corrupt": True}, "gave other bytes"),
    ("a layer is forbidden", r"GET .*blobs/LAYER", {"status": 403}, "403"),
]


@pytest.mark.parametrize(("stage", "match", "fault", "words"), STAGES, ids=[one[0] for one in STAGES])
def test_a_failed_pull_leaves_nothing_and_the_others_go_on(
    containerd, registry, faulty_registry, stage, match, fault, words
):
    own = images.image(
        [images.rootfs(f"{stage} {containerd.release}"), images.layer([images.file("x", stage.encode())])]
    )
    registry.push("bad/app", "1", own)
    bad, good = containerd.new_namespace("bad"), containerd.new_namespace("good")
    match = match.replace("CONFIG", own.document["config"]["digest"]).replace("LAYER", own.layers[1].digest)
    faulty_registry.add(match.replace("HEAD .*", "HEAD .*bad/app/"), **fault)
    host = faulty_registry.host
    plan = imf.pull(
        imf.Inventory({})
        .images.assign(name=[], namespace=[])
        .reindex(range(2))
        .assign(name=[f"{host}/bad/app:1", f"{host}/team/base:1"], namespace=[bad, good]),
        containerd.address,
        via="client",
    )
    result = plan.apply()
    assert result.steps["status"].tolist() == ["failed", "done"]
    message = result.steps["message"].iloc[0]
    assert message.startswith(f"{host}/bad/app:1: ")
    assert words in message
    assert ";" in message, "says what to do next"
    assert state(containerd, bad) == EMPTY
    assert checked(containerd, good) == {f"{host}/team/base:1": "complete (3/3) true"}
    faulty_registry.clear()
    assert pulled(f"{host}/bad/app:1", containerd, bad, via="client")["status"] == "done"
    assert checked(containerd, bad) == {f"{host}/bad/app:1": "complete (3/3) true"}


def test_a_layer_that_is_not_what_its_config_says_is_refused(containerd, registry):
    good = images.image([images.rootfs("true"), images.layer([images.file("y", b"y")])])
    forged = images.image(
        [good.layers[0], images.Layer(good.layers[1].data, images.digest_of(b"another"), "gzip")]
    )
    short = images.image(good.layers)
    document = short.config | {"rootfs": {"type": "layers", "diff_ids": [good.layers[0].diff_id]}}
    registry.push("bad/forged", "1", forged)
    registry.push("bad/short", "1", _with_config(short, document))
    for name, words in (("forged", "wrong diff id"), ("short", "mismatched image rootfs")):
        namespace = containerd.new_namespace("forged")
        result = imf.pull(
            f"{registry.host}/bad/{name}:1", containerd.address, namespace=namespace, via="client"
        ).apply()
        assert words in result.steps["message"].iloc[0]
        assert state(containerd, namespace) == EMPTY


def _with_config(image, config):
    data = json.dumps(config).encode()
    manifest = image.document
    manifest["config"] |= {"digest": images.digest_of(data), "size": len(data)}
    text = json.dumps(manifest).encode()
    blobs = {**image.blobs, images.digest_of(data): data, images.digest_of(text): text}
    descriptor = image.descriptor | {"digest": images.digest_of(text), "size": len(text)}
    return images.Image(descriptor, blobs, image.layers)


@pytest.mark.every_release
def test_wishes_that_a_node_cannot_fulfil(containerd, registry):
    namespace = containerd.new_namespace("wish")
    rich = f"{registry.host}/team/rich:1.0"

    def message(**options):
        result = imf.pull(rich, containerd.address, namespace=namespace, **options).apply()
        assert result.steps["status"].tolist() == ["failed"]
        return result.steps["message"].iloc[0]

    assert "has no snapshotter 'zfs'; it has native, overlayfs" in message(snapshotter="zfs")
    for via in ("client", None):
        assert "no match for platform in manifest sha256:" in message(platform="windows/amd64", via=via)
    if containerd.release == "1.6":
        assert "has no Transfer service" in message(via="transfer")
    assert state(containerd, namespace) == EMPTY
    with pytest.raises(imf.InputError, match="unpacking requires a single platform"):
        imf.pull(rich, containerd.address, platform="all", unpack=True)


def test_an_interrupted_download_is_taken_up_where_it_ended(containerd, registry, faulty_registry):
    namespace = containerd.new_namespace("resume")
    data = random.Random(containerd.release).randbytes(3_000_000)
    own = images.image([images.layer([images.file("noise", data)])])
    registry.push("big/app", containerd.release, own)
    layer = own.layers[0]

    async def leave(kept: bytes) -> None:
        async def source(offset: int):
            yield kept[offset:]
            raise asyncio.CancelledError

        async with Client(containerd.address) as client:
            with pytest.raises(asyncio.CancelledError):
                await client.content.write_stream(
                    namespace,
                    f"layer-{layer.digest}",
                    layer.digest,
                    len(layer.data),
                    source,
                    {},
                    lease="",
                    timeout=60,
                )

    asyncio.run(leave(layer.data[:2_000_000]))
    reference = f"{faulty_registry.host}/big/app:{containerd.release}"
    row = pulled(reference, containerd, namespace, via="client")
    documents = sum(len(data) for digest, data in own.blobs.items() if digest != layer.digest)
    assert row["fetched_bytes"] == documents + len(layer.data) - 2_000_000
    assert checked(containerd, namespace) == {reference: "complete (2/2) true"}

    other = containerd.new_namespace("spoilt")
    changed = images.image([images.layer([images.file("noise", data[::-1])])])
    registry.push("big/app", f"changed-{containerd.release}", changed)
    layer = changed.layers[0]
    namespace = other
    asyncio.run(leave(b"x" * 1_000_000))  # not the layer's own bytes
    reference = f"{faulty_registry.host}/big/app:changed-{containerd.release}"
    pulled(reference, containerd, other, via="client")
    assert checked(containerd, other) == {reference: "complete (2/2) true"}
    assert not state(containerd, other).ingests


def test_a_cut_connection_goes_on(containerd, registry, faulty_registry):
    namespace = containerd.new_namespace("cut")
    own = images.image([images.layer([images.file("noise", random.Random(5).randbytes(400_000))])])
    registry.push("cut/app", containerd.release, own)
    faulty_registry.add(rf"GET .*blobs/{own.layers[0].digest}", cut=100_000, times=2)
    reference = f"{faulty_registry.host}/cut/app:{containerd.release}"
    pulled(reference, containerd, namespace, via="client")
    assert checked(containerd, namespace) == {reference: "complete (2/2) true"}


def test_two_pulls_of_one_image_at_once(containerd, registry):
    namespace = containerd.new_namespace("twice")
    own = images.image(
        [images.layer([images.file(f"noise{n}", random.Random(n).randbytes(2_000_000))]) for n in range(3)],
        labels={"release": containerd.release},
    )
    registry.push("twice/app", containerd.release, own)
    reference = f"{registry.host}/twice/app:{containerd.release}"
    rows = []
    threads = [
        threading.Thread(target=lambda: rows.append(pulled(reference, containerd, namespace, via="client")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    containerd.ctr("images", "pull", "--plain-http", reference, namespace=namespace)
    for thread in threads:
        thread.join()
    assert [row["status"] for row in rows] == ["done", "done"]
    assert checked(containerd, namespace) == {reference: "complete (4/4) true"}
    found = state(containerd, namespace)
    assert not found.leases | found.ingests
    assert {kind for kind, _, _ in found.snapshots.values()} == {"committed"}


PULL = """
import sys
import imgframe as imf
import imgframe.act.apply
reference, address, namespace, via = sys.argv[1:]
plan = imf.pull(reference, address, namespace=namespace, via=via)
print("pulling", flush=True)
plan.apply().raise_for_errors()
"""


def kill_pulls(daemon: Daemon, registry, times: int, seed: int, via: str = "client") -> None:
    """Kills a pulling process again and again; what it left goes when the next one has come."""
    rng = random.Random(seed)
    layers = [images.layer([images.file(f"noise{n}", rng.randbytes(1_500_000))]) for n in range(4)]
    own = images.image(layers, labels={"seed": f"{seed} {daemon.release}"})
    registry.push("killed/app", f"{daemon.release}-{seed}", own)
    reference = f"{registry.host}/killed/app:{daemon.release}-{seed}"
    for number in range(times):
        namespace = daemon.new_namespace("killed")
        process = subprocess.Popen(
            [sys.executable, "-c", PULL, reference, daemon.address, namespace, via],
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout.readline() == "pulling\n"
            try:
                process.wait(rng.uniform(0.02, 0.5))
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
        row = pulled(reference, daemon, namespace, via=via)
        assert row["status"] == "done", number
        # containerd ends its own lease when it sees that nobody waits for its pull any more
        deadline = time.monotonic() + 30
        while state(daemon, namespace).leases and via == "transfer" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert checked(daemon, namespace) == {reference: "complete (5/5) true"}
        collect_garbage(daemon, namespace)
        found = state(daemon, namespace)
        assert set(found.blobs) == set(own.blobs)
        assert {key for _, key in found.snapshots} == set(images.chain_ids(own))
        assert not found.leases | found.ingests
        daemon.ctr("images", "rm", "--sync", reference, namespace=namespace)
        assert state(daemon, namespace) == EMPTY


def test_killed_pulls(containerd, registry):
    kill_pulls(containerd, registry, 2, seed=1)
    if containerd.numbers >= (2, 0):
        kill_pulls(containerd, registry, 2, seed=3, via="transfer")


@pytest.mark.soak
def test_soak_killed_pulls(containerd, registry):
    kill_pulls(containerd, registry, 20, seed=2)
    if containerd.numbers >= (2, 0):
        kill_pulls(containerd, registry, 20, seed=4, via="transfer")


def test_a_living_process_keeps_its_lease(containerd, registry):
    namespace = containerd.new_namespace("living")
    with subprocess.Popen(["sleep", "600"]) as other:
        asyncio.run(_leases(containerd, namespace, other.pid))
        pulled(f"{registry.host}/team/base:1", containerd, namespace, via="client")
        other.kill()
    assert state(containerd, namespace).leases == {"imgframe-alive", "imgframe-elsewhere", "another"}


async def _leases(daemon: Daemon, namespace: str, other: int) -> None:
    from imgframe.act import leases

    dead = f"{leases._here()}/1/0"
    owners = {
        "imgframe-alive": f"{leases._here()}/{other}/{leases._started(other)}",
        "imgframe-ours-but-nobody-works-under-it": leases._owner(),
        "imgframe-dead": dead,
        "imgframe-elsewhere": "boot/pid:[1]/1/0",
        "another": dead,
    }
    async with Client(daemon.address) as client:
        for name, owner in owners.items():
            await client.leases.create(namespace, name, {leases.OWNER: owner})


def test_registries_with_certificates_and_credentials(
    containerd, tls_registry, basic_registry, authority, tmp_path
):
    hosts = write_hosts(tmp_path / "hosts", {"secure.example": tls_registry.url}, ca=str(authority.ca))
    namespace = containerd.new_namespace("secure")
    row = pulled("secure.example/team/base:1", containerd, namespace, hosts_dirs=[hosts])
    assert row["via"] == "client"
    (tmp_path / "docker").mkdir()
    import base64

    auth = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
    config = tmp_path / "docker" / "config.json"
    config.write_text(json.dumps({"auths": {basic_registry.host: {"auth": auth}}}))
    reference = f"{basic_registry.host}/team/base:1"
    for via in ("client", None):
        where = containerd.new_namespace("basic")
        plan = imf.pull(reference, containerd.address, namespace=where, docker_config=config, via=via)
        plan.save(tmp_path / f"plan-{via}")
        result = imf.open_plan(tmp_path / f"plan-{via}").apply()
        result.raise_for_errors()
        assert SECRET not in repr(result) + repr(plan) + result.steps.to_string()
        denied = imf.pull(
            reference, containerd.address, namespace=where, docker_config=tmp_path, via=via
        ).apply()
        assert denied.steps["status"].tolist() == ["failed"]
        assert re.search(r"401|denied|credentials", denied.steps["message"].iloc[0])


def test_progress_is_drawn_in_bytes(containerd, registry, capsys):
    namespace = containerd.new_namespace("bars")
    reference = f"{registry.host}/team/deep:1"
    imf.pull(reference, containerd.address, namespace=namespace, via="client").apply()
    assert capsys.readouterr().err == ""
    imf.pull(reference, containerd.address, namespace=containerd.new_namespace("bars"), via="client").apply(
        progress=True
    )
    drawn = capsys.readouterr().err
    assert "1 images" in drawn
    assert "B/s" in drawn


def test_a_daemon_that_is_not_there_fails_its_rows_only(containerd, registry):
    namespace = containerd.new_namespace("dead")
    nodes = [
        {"name": "dead", "address": "/nonexistent.sock"},
        {"name": "well", "address": containerd.address},
    ]
    result = imf.pull(f"{registry.host}/team/base:1", nodes, namespace=namespace).apply()
    by_node = result.steps.set_index("node")
    assert by_node["status"].to_dict() == {"dead": "failed", "well": "done"}
    assert "start containerd and apply the plan again" in by_node.loc["dead", "message"]


def test_labels_are_numbered_by_kind():
    layer = "application/vnd.oci.image.layer.v1.tar+gzip"
    config = "application/vnd.oci.image.config.v1+json"
    kinds = [config, layer, "application/vnd.in-toto+json", layer, config]
    labels = children_labels(Descriptor(kind, f"sha256:{n}") for n, kind in enumerate(kinds))
    prefix = "containerd.io/gc.ref.content."
    assert labels == {
        f"{prefix}config": "sha256:0",
        f"{prefix}l.0": "sha256:1",
        f"{prefix}0": "sha256:2",
        f"{prefix}l.1": "sha256:3",
        f"{prefix}config1": "sha256:4",
    }


def test_sources_are_merged_in_order_and_bounded():
    key = "containerd.io/distribution.source.reg.example"
    assert source_label({}, "reg.example:5000", "b") == {key: "b"}
    assert source_label({key: "b"}, "reg.example", "b") == {}
    assert source_label({key: "b"}, "reg.example", "a") == {key: "a,b"}
    assert source_label({key: "b" * 4050}, "reg.example", "a") == {}
    assert source_label({}, "[::1]:5000", "a") == {"containerd.io/distribution.source.::1": "a"}


@pytest.mark.parametrize("release", OWN_TRANSFER)
def test_a_daemon_without_its_transfer_service(fresh_daemon, registry, release):
    """Somebody switched it off: our own pull does the work, unless it was asked for by name."""
    off = ("io.containerd.transfer.v1.local", "io.containerd.grpc.v1.transfer")
    daemon = fresh_daemon(release, without=off)
    reference = f"{registry.host}/team/base:1"
    row = pulled(reference, daemon, "default")
    assert row["via"] == "client"
    assert checked(daemon, "default") == {reference: "complete (3/3) true"}
    result = imf.pull(reference, daemon.address, namespace="other", via="transfer").apply()
    assert result.steps["status"].tolist() == ["failed"]
    assert "transfer" in result.steps["message"].iloc[0].lower()
    assert state(daemon, "other") == EMPTY
