"""Pushing by containerd itself: the same image arrives, with our credentials; what it cannot do is refused in a sentence."""

import json

import pytest
from test_push import skopeo_digests
from testbed import images
from testbed.daemons import OWN_TRANSFER
from testbed.registries import SECRET, USER

import imgframe as imf
from imgframe.errors import InputError


@pytest.fixture
def rich(containerd, registry):
    """A namespace with all platforms of an image of its own, and its inventory."""
    own = images.rich_index(f"handed {containerd.release}")
    registry.push(f"handed/{containerd.release}", "1", own)
    namespace = containerd.new_namespace("handed")
    name = f"{registry.host}/handed/{containerd.release}:1"
    imf.pull(name, containerd.address, namespace=namespace, platform="all").apply().raise_for_errors()
    return namespace, own, imf.collect(containerd.address, namespaces=[namespace], usage="none")


def one(plan, **options):
    """The only row of what becomes of a plan."""
    (row,) = plan.apply(progress=False, **options).steps.to_dict("records")
    return row


@pytest.mark.every_release
@pytest.mark.parametrize(
    ("containerd", "words"),
    [
        ("1.6", "has no Transfer service; it came with 1.7: omit via="),
        ("1.7", "(containerd asked"),  # it speaks no plain HTTP, and has no way to be told so
    ],
    indirect=["containerd"],
)
def test_a_containerd_that_cannot_push_says_why(containerd, registry, rich, words):
    _, _, inventory = rich
    target = f"{registry.host}/given/{containerd.release}:2"
    row = one(imf.push(inventory.images, inventory, to=lambda _: target, via="transfer"))
    assert row["status"] == "failed"
    assert words in row["message"]


@pytest.mark.parametrize("containerd", OWN_TRANSFER, indirect=True)
def test_containerd_pushes_what_the_plan_says(containerd, registry, rich, basic_registry, tmp_path):
    namespace, own, inventory = rich
    target = f"{registry.host}/given/{containerd.release}:2"
    row = one(imf.push(inventory.images, inventory, to=lambda _: target, via="transfer"))
    total = sum(map(len, own.blobs.values()))
    documents = sum(len(own.blobs[each]) for each in (own.digest, *(child.digest for child in own.children)))
    assert (row["status"], row["remote"], row["via"]) == ("done", own.digest, "transfer")
    assert (row["fetched_bytes"], row["present_bytes"]) == (documents, total - documents), "blobs are mounted"
    digest, blobs = skopeo_digests(registry.host, f"given/{containerd.release}:2", tmp_path)
    assert digest == own.digest
    assert own.blobs.keys() <= blobs
    # credentials are given to containerd when it asks for them, and to nobody else
    to = f"{basic_registry.host}/given/{containerd.release}:3"
    plan = imf.push(inventory.images, inventory, to=lambda _: to, via="transfer")
    assert one(plan)["status"] == "failed"
    login = tmp_path / "config.json"
    login.write_text(json.dumps({"auths": {basic_registry.host: {"username": USER, "password": SECRET}}}))
    assert one(plan, docker_config=login)["remote"] == own.digest
    found = imf.resolve_digest(to, docker_config=login)
    assert found.tolist() == [own.digest]
    # the record moved, or a blob is missing: nothing is sent
    containerd.ctr("content", "rm", own.children[0].layers[1].digest, namespace=namespace)
    row = one(imf.push(inventory.images, inventory, to=lambda _: f"{target}4", via="transfer"))
    assert row["status"] == "refused"
    assert "nothing was sent" in row["message"]
    assert imf.resolve_digest(f"{target}4").isna().all()


def test_what_containerd_cannot_push_is_refused_when_it_is_planned():
    empty = imf.Inventory({})

    def push(**options):
        return imf.push(empty.images, empty, via="transfer", **options)

    assert push(platform="all").steps.empty
    with pytest.raises(InputError, match="sends whole images, not linux/arm64; use via='client'"):
        push(platform="linux/arm64")
    with pytest.raises(
        InputError, match=r"does not support hosts_dirs=\['/etc/hosts.d'\]: containerd configures registries"
    ):
        push(hosts_dirs=["/etc/hosts.d"])
    with pytest.raises(InputError, match="does not support insecure=True"):
        push(insecure=True)
