"""Pushes from real daemons: what arrives equals what was there, and nothing is sent where something is missing."""

import json
import subprocess

import pytest
from testbed import debian, images
from testbed.node_state import state
from testbed.registries import write_hosts

import imgframe as imf
from imgframe import schema
from imgframe.planning.registry_steps import registry_name


@pytest.fixture
def rich(containerd, registry):
    """A namespace with all platforms of an image of its own, its name, the image, and its inventory."""
    own = images.rich_index(f"push {containerd.release}")
    registry.push(f"push/{containerd.release}", "1", own)
    namespace = containerd.new_namespace("push")
    name = f"{registry.host}/push/{containerd.release}:1"
    imf.pull(name, containerd.address, namespace=namespace, platform="all").apply().raise_for_errors()
    return namespace, name, own, imf.collect(containerd.address, namespaces=[namespace], usage="none")


def pushed(images_frame, inventory, **options):
    """The rows of a push that is to succeed."""
    result = imf.push(images_frame, inventory, **options).apply()
    result.raise_for_errors()
    return result.steps.to_dict("records")


def skopeo_digests(host, name, tmp_path):
    """Digests of everything that skopeo copies of an image, all platforms."""
    folder = tmp_path / "copied"
    tmp_path.mkdir(exist_ok=True)
    command = [
        debian.program("skopeo"),
        "--insecure-policy",
        "copy",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
    ]
    subprocess.run(
        [*command, f"docker://{host}/{name}", f"oci:{folder}:x"],
        check=True,
        capture_output=True,
        env=debian.environment(),
    )
    (root,) = json.loads((folder / "index.json").read_text())["manifests"]
    blobs = {f"sha256:{one.name}" for one in (folder / "blobs" / "sha256").iterdir()}
    return root["digest"], blobs


def test_a_pushed_index_is_copied_with_equal_digests(containerd, registry, rich, tmp_path):
    _, name, own, inventory = rich
    target = f"{registry.host}/copies/{containerd.release}:2"
    (row,) = pushed(inventory.images, inventory, to={name: target})
    assert (row["remote"], row["via"], row["to"]) == (own.digest, "client", target)
    documents = sum(len(own.blobs[one]) for one in (own.digest, *(child.digest for child in own.children)))
    assert row["fetched_bytes"] == documents, "blobs are mounted from the repository that they came from"
    assert row["present_bytes"] == sum(map(len, own.blobs.values())) - documents
    digest, blobs = skopeo_digests(registry.host, f"copies/{containerd.release}:2", tmp_path)
    assert digest == own.digest
    assert own.blobs.keys() <= blobs
    (again,) = pushed(inventory.images, inventory, to={name: target})
    assert again["fetched_bytes"] == 0


def test_to_another_registry_everything_is_sent(containerd, rich, other_registry, tmp_path):
    _, _, own, inventory = rich
    (row,) = pushed(inventory.images, inventory, to=f"{other_registry.host}/mirror")
    assert row["to"] == f"{other_registry.host}/mirror/push/{containerd.release}:1"
    assert (row["fetched_bytes"], row["present_bytes"]) == (sum(map(len, own.blobs.values())), 0)
    digest, blobs = skopeo_digests(other_registry.host, f"mirror/push/{containerd.release}:1", tmp_path)
    assert digest == own.digest
    assert own.blobs.keys() <= blobs


@pytest.fixture(scope="module")
def other_registry(registry):
    """A second registry, with nothing in it."""
    from testbed.registries import Registry

    with Registry() as other:
        yield other


def test_chosen_platforms_alone(containerd, registry, rich, tmp_path):
    _, name, own, inventory = rich
    amd, arm, *_ = own.children
    (row,) = pushed(
        inventory.images,
        inventory,
        to={name: f"{registry.host}/one/{containerd.release}:1"},
        platform="arm64",
    )
    assert row["remote"] == arm.digest
    assert skopeo_digests(registry.host, f"one/{containerd.release}:1", tmp_path)[0] == arm.digest
    (row,) = pushed(
        inventory.images,
        inventory,
        to={name: f"{registry.host}/two/{containerd.release}:1"},
        platform=["amd64", "arm64"],
    )
    assert row["remote"] not in {own.digest, amd.digest, arm.digest}
    digest, blobs = skopeo_digests(registry.host, f"two/{containerd.release}:1", tmp_path / "two")
    assert digest == row["remote"]
    assert blobs == {row["remote"], *amd.blobs, *arm.blobs}
    result = imf.push(inventory.images, inventory, platform="windows/amd64").apply()
    assert "no match for platform" in result.steps["message"].iloc[0]


def test_what_is_missing_is_refused_before_anything_is_sent(containerd, registry, faulty_registry):
    own = images.rich_index(f"partial {containerd.release}")
    registry.push(f"partial/{containerd.release}", "1", own)
    namespace = containerd.new_namespace("partial")
    name = f"{registry.host}/partial/{containerd.release}:1"
    imf.pull(name, containerd.address, namespace=namespace).apply().raise_for_errors()
    inventory = imf.collect(containerd.address, namespaces=[namespace], usage="none")
    to = {name: f"{faulty_registry.host}/fresh/partial:1"}
    result = imf.push(inventory.images, inventory, to=to).apply()
    (row,) = result.steps.to_dict("records")
    assert row["status"] == "refused"
    assert f"{own.children[1].digest} (manifest for linux/arm64/v8)" in row["message"]
    assert "nothing was sent" in row["message"]
    assert "platform='linux/amd64'" in row["message"]
    assert faulty_registry.requests == []
    (row,) = pushed(inventory.images, inventory, to=to, platform="linux/amd64")
    assert row["remote"] == own.children[0].digest
    layer = own.children[0].layers[1].digest
    containerd.ctr("content", "rm", layer, namespace=namespace)
    faulty_registry.clear()
    result = imf.push(inventory.images, inventory, to=to, platform="linux/amd64").apply()
    assert layer in result.steps["message"].iloc[0]
    assert faulty_registry.requests == []


def test_a_record_that_moved_or_went_is_refused(containerd, registry, rich):
    namespace, name, _, inventory = rich
    plan = imf.push(inventory.images, inventory)
    containerd.ctr("images", "pull", "--plain-http", f"{registry.host}/team/base:1", namespace=namespace)
    containerd.ctr("images", "tag", "--force", f"{registry.host}/team/base:1", name, namespace=namespace)
    result = plan.apply()
    assert result.steps["status"].tolist() == ["refused"]
    assert "moved" in result.steps["message"].iloc[0]
    containerd.ctr("images", "rm", name, namespace=namespace)
    assert "gone" in plan.apply().steps["message"].iloc[0]


@pytest.mark.parametrize(
    ("match", "fault", "words"),
    [
        (
            r"PUT .*manifests",
            {"status": 400, "body": b'{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}'},
            "400",
        ),
        (r"POST .*uploads", {"status": 403}, "403"),
    ],
)
def test_a_failed_push_names_image_host_and_next_step(containerd, rich, faulty_registry, match, fault, words):
    namespace, name, _, inventory = rich
    before = state(containerd, namespace)
    faulty_registry.add(match, **fault)
    target = f"{faulty_registry.host}/failed/{words}/{containerd.release}:1"
    result = imf.push(inventory.images, inventory, to={name: target}).apply()
    (message,) = result.steps["message"]
    assert message.startswith(f"{target}: ")
    assert words in message
    assert ";" in message
    assert state(containerd, namespace) == before


def test_through_a_hosts_directory(containerd, rich, registry, tmp_path):
    _, name, own, inventory = rich
    hosts = write_hosts(tmp_path / "hosts", {"mirror.example": registry.url})
    (row,) = pushed(
        inventory.images,
        inventory,
        to=lambda _: f"mirror.example/by/hosts:{containerd.release}",
        hosts_dirs=[hosts],
    )
    assert row["remote"] == own.digest
    assert name == row["name"]


def test_names_that_no_registry_knows_are_kept():
    digest = "sha256:" + "0" * 64
    nodes = schema.table("nodes", {"node": ["n"], "address": ["unix:///run/c.sock"]})
    where = {"node": ["n", "n"], "namespace": ["k8s.io", "k8s.io"]}
    rows = schema.table("images", {**where, "name": [digest, "reg.example/a:1"], "digest": [digest, digest]})
    inventory = imf.Inventory({"images": rows, "nodes": nodes})
    plan = imf.push(inventory.images, inventory)
    assert plan.steps["to"].tolist() == ["reg.example/a:1"]
    assert plan.kept["reason"].tolist() == [f"{digest} is not a name in a registry"]
    names = ["a.example/x:1", "b.example/x:1"]
    rows = schema.table("images", {**where, "name": names, "digest": [digest, "sha256:" + "1" * 64]})
    inventory = imf.Inventory({"images": rows, "nodes": nodes})
    with pytest.raises(imf.InputError, match=r"would both be pushed as c\.example/x:1"):
        imf.push(inventory.images, inventory, to="c.example")


def test_registry_names():
    assert registry_name("alpine") == "docker.io/library/alpine:latest"
    assert [registry_name(one) for one in ("sha256:" + "0" * 64, "0" * 64, "ipfs://bafkqaaa", "A B")] == [
        None
    ] * 4
