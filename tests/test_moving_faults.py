"""Whatever a registry or a daemon does while images are moved: its rows fail with a sentence, the others go on, nothing is left."""

import asyncio
import json
import random
import threading
import time

import pytest
from testbed import images
from testbed.daemons import OWN_TRANSFER, RELEASES
from testbed.node_state import EMPTY, checked, collect_garbage, state
from testbed.web_servers import FaultyProxy

import imgframe as imf
from imgframe import oci, simulator
from imgframe.errors import RegistryError
from imgframe.registry import Registry
from imgframe.registry import remote_image as remote_module

SECONDS = 3.0  # a registry's; long enough for a busy machine
PATIENCE = 60.0  # before a test says that something hangs


ROUTES = pytest.mark.parametrize(
    ("containerd", "via"),
    [*((release, "client") for release in RELEASES), *((release, None) for release in OWN_TRANSFER)],
    indirect=["containerd"],
)
"""The ways that a pull takes; left to choose, only that of 2.x goes through containerd's own transfer."""


@pytest.fixture
def hasty(monkeypatch):
    """Two tries with short pauses, for tests that use up all of them."""
    monkeypatch.setattr(remote_module, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(remote_module, "ATTEMPTS", 2)


def built(seed, size=300_000):
    """An image of two layers that no other test has."""
    rng = random.Random(seed)
    noise = [images.layer([images.file("noise", rng.randbytes(size))]) for _ in range(2)]
    return images.image(noise, labels={"seed": seed})


def within(image):
    """Digests of an image by the names that the tables of faults use."""
    config = image.document["config"]["digest"]
    return {"MANIFEST": image.digest, "CONFIG": config, "LAYER": image.layers[1].digest}


class Cases:
    """Images that each meet a fault of their own, one that meets none, each for a namespace of its own."""

    def __init__(self, daemon, registry, proxy, stem):
        self.daemon, self.registry, self.proxy, self.stem = (
            daemon,
            registry,
            proxy,
            f"{stem}/{daemon.release}",
        )
        self.names: list[str] = []
        self.namespaces: list[str] = []

    def add(self, stage, image=None, match="", proxy=None, **fault):
        """Another image, its fault and its namespace."""
        proxy = proxy or self.proxy
        repository = f"{self.stem}/{stage.replace(' ', '-')}"
        image = image or built(repository)
        self.registry.push(repository, "1", image)
        for word, digest in within(image).items() if image.layers else ():
            match = match.replace(word, digest)
        if match:
            proxy.add(match.replace("NAME", repository), **fault)
        self.names.append(f"{proxy.host}/{repository}:1")
        self.namespaces.append(self.daemon.new_namespace("fault"))

    def rows(self, **options):
        """A frame of them all; the last is the good one."""
        self.add("good")
        frame = imf.Inventory({}).images.reindex(range(len(self.names)))
        return imf.pull(
            frame.assign(name=self.names, namespace=self.namespaces), self.daemon.address, **options
        )

    def judge(self, result, words):
        """Every row with words failed with them, named image and host, and left nothing; the others are done."""
        steps = result.steps.set_index("name")
        for name, namespace, word in zip(self.names, self.namespaces, [*words, None], strict=True):
            message = steps.loc[name, "message"]
            if word is None:
                assert steps.loc[name, "status"] == "done", message
                assert checked(self.daemon, namespace) == {name: "complete (3/3) true"}
                continue
            assert steps.loc[name, "status"] == "failed", (name, message)
            assert message.startswith(f"{name}: "), message
            assert word in message, (name, message)
            assert next_step(message), message
            assert state(self.daemon, namespace) == EMPTY, (name, message)


ADVICE = (
    "try again",
    "apply the plan again",
    "check ",
    "log in",
    "wait",
    "pull from another mirror",
    "do not run it",
    "have the image built and pushed again",
)


def next_step(message):
    """What the last part of a message tells the reader to do."""
    return [
        advice
        for advice in ADVICE
        if advice in message.rpartition(";")[2] or advice in message.rpartition(": ")[2]
    ]


HANGS = [
    ("resolve", "HEAD .*NAME/", {"hang": True}),
    ("manifest", "GET .*MANIFEST", {"hang": True}),
    ("config", "GET .*CONFIG", {"hang": True}),
    ("layer", "GET .*LAYER", {"hang": True}),
    ("layer without a body", "GET .*LAYER", {"stall": 0}),
    ("layer that stops", "GET .*LAYER", {"stall": 200_000}),
]


@pytest.mark.usefixtures("hasty")
@ROUTES
def test_a_registry_that_hangs_is_given_up(containerd, registry, via):
    with FaultyProxy(registry.host) as proxy:
        cases = Cases(containerd, registry, proxy, f"hang-{via}".lower())
        for stage, match, fault in HANGS:
            cases.add(stage, match=match, **fault)
        result = cases.rows(via=via).apply(registry_timeout=SECONDS)
        cases.judge(result, ["within"] * 5 + [None])  # what stops in the middle is asked for the rest
    if via is None:
        with FaultyProxy(registry.host) as proxy:
            cases = Cases(containerd, registry, proxy, "hang-transfer")
            cases.add("layer", match="GET .*LAYER", hang=True)
            result = cases.rows(via="transfer").apply(registry_timeout=SECONDS)
            cases.judge(result, ["exchanged no data with containerd for 3 s"])


STAGES = [
    ("resolve", {"match": "HEAD .*NAME/", "status": 500}, "500 Internal Server Error"),
    ("no digest", {"match": "HEAD .*NAME/", "digest": "sha256:zz"}, "not a valid digest"),
    ("lying digest", {"match": "HEAD .*NAME/", "digest": f"sha256:{'0' * 64}"}, "not in the registry"),
    ("token", {"match": ".*NAME/", "status": 401}, "500 Internal Server Error"),
    ("manifest", {"match": "GET .*MANIFEST", "status": 500}, "500 Internal Server Error"),
    ("forged manifest", {"match": "GET .*MANIFEST", "corrupt": True}, "gave other bytes than"),
    ("child", {"match": "GET .*CHILD", "status": 404}, "not in the registry"),
    ("forged child", {"match": "GET .*CHILD", "corrupt": True}, "gave other bytes than"),
    ("config", {"match": "GET .*CONFIG", "status": 503}, "503 Service Unavailable"),
    ("forged config", {"match": "GET .*CONFIG", "corrupt": True}, "gave other bytes than"),
    ("layer", {"match": "GET .*LAYER", "status": 500}, "500 Internal Server Error"),
    ("forged layer", {"match": "GET .*LAYER", "corrupt": True}, "gave other bytes for"),
    ("moved layer", {"match": "GET .*LAYER", "redirect": "http://127.0.0.1:1"}, "connection refused"),
    ("busy", {"match": "GET .*LAYER", "status": 429}, "429 Too Many Requests"),
]


@pytest.mark.usefixtures("hasty")
@ROUTES
def test_a_fault_at_every_stage_of_a_pull(containerd, registry, via):
    with FaultyProxy(registry.host) as proxy, FaultyProxy(registry.host) as locked:
        cases, words = Cases(containerd, registry, proxy, f"stage-{via}".lower()), []
        locked.add("GET /token", status=500)
        for stage, fault, word in STAGES:
            fault, image = dict(fault), None
            if stage == "token":
                fault["headers"] = {"WWW-Authenticate": f'Bearer realm="{locked.url}/token",service="x"'}
                fault["proxy"] = locked
            if "CHILD" in fault["match"]:
                child = built(f"{via} {stage} {containerd.release}")
                image = images.index([child])
                fault["match"] = fault["match"].replace("CHILD", child.digest)
            cases.add(stage, image, **fault)
            words.append(word if via else "")
        result = cases.rows(via=via).apply(registry_timeout=PATIENCE)
        cases.judge(result, words)


PASSING = [
    ("busy manifest", {"match": "GET .*MANIFEST", "status": 429, "headers": {"Retry-After": "1"}}),
    ("broken manifest", {"match": "GET .*MANIFEST", "status": 500}),
    ("busy config", {"match": "GET .*CONFIG", "status": 503}),
    ("busy layer", {"match": "GET .*LAYER", "status": 429}),
    ("cut layer", {"match": "GET .*LAYER", "cut": 100_000}),
    ("layer elsewhere", {"match": "GET .*LAYER", "redirect": "OTHER"}),
    ("config elsewhere", {"match": "GET .*CONFIG", "redirect": "OTHER"}),
]


@ROUTES
def test_faults_that_pass_are_outlasted(containerd, registry, other_host, via):
    with FaultyProxy(registry.host) as proxy:
        cases = Cases(containerd, registry, proxy, f"passing-{via}".lower())
        for stage, fault in PASSING:
            given = {**fault, "redirect": other_host.url} if "redirect" in fault else {**fault, "times": 1}
            cases.add(stage, **given)
        result = cases.rows(via=via).apply()
        cases.judge(result, [None] * len(PASSING))
        assert all(fault.hits for fault in proxy.faults)
    elsewhere = {request.path.rpartition("/")[2] for request in other_host.requests}
    assert len(elsewhere) == 2, "one layer and one config"


def with_sizes(image, config=0, layer=0):
    """The same image, whose manifest lies about the sizes of its config and second layer."""
    manifest = image.document
    manifest["config"]["size"] += config
    manifest["layers"][1]["size"] += layer
    text = json.dumps(manifest).encode()
    descriptor = image.descriptor | {"digest": images.digest_of(text), "size": len(text)}
    return images.Image(descriptor, {**image.blobs, images.digest_of(text): text}, image.layers)


def with_layer(seed, data, diff_id):
    """An image whose second layer is these bytes."""
    first = built(seed).layers[0]
    return images.image([first, images.Layer(data, diff_id, "gzip")], labels={"seed": seed})


LIES = [
    ("config is longer", lambda seed: with_sizes(built(seed), config=1), "its descriptor says"),
    ("layer is longer", lambda seed: with_sizes(built(seed), layer=-1), "longer than its descriptor says"),
    ("layer is shorter", lambda seed: with_sizes(built(seed), layer=1), "its descriptor says"),
    (
        "layer is no archive",
        lambda seed: with_layer(seed, b"no tar" * 500, images.digest_of(b"no tar" * 500)),
        "tar",
    ),
    (
        "layer is cut off",
        lambda seed: with_layer(seed, built(seed).layers[1].data[:5000], built(seed).layers[1].diff_id),
        "unexpected EOF",
    ),
]


@pytest.mark.usefixtures("hasty")
@ROUTES
def test_images_that_lie_about_themselves(containerd, registry, via):
    with FaultyProxy(registry.host) as proxy:
        cases = Cases(containerd, registry, proxy, f"lie-{via}".lower())
        for stage, make, _ in LIES:
            cases.add(stage, make(f"{via} {stage} {containerd.release}"))
        cases.judge(cases.rows(via=via).apply(), [word if via else "" for _, _, word in LIES])


def test_a_record_that_cannot_be_made(registry):
    own = built("record")
    registry.push("record/app", "1", own)
    name = f"{registry.host}/record/app:1"
    refused = simulator.Fault(
        call="Images/Create", code="INTERNAL", details="the database is read-only", times=1
    )
    with simulator.from_dump({"namespace": "default", "images": []}, faults=[refused]) as node:
        plan = imf.pull(name, node.address, via="client", unpack=False)
        (message,) = plan.apply().steps["message"]
        assert message.startswith(f"{name}: Images/Create at {node.address}: the database is read-only")
        assert next_step(message)
        assert state(node, "default") == EMPTY
        plan.apply().raise_for_errors()
        assert state(node, "default").images == {name: own.digest}


PUSHES = [
    ("look", {"match": "HEAD .*NAME/blobs", "status": 500}, "500 Internal Server Error"),
    ("mount", {"match": "POST .*NAME/.*mount=", "status": 500}, "500 Internal Server Error"),
    ("begin", {"match": "POST .*NAME/blobs/uploads/$", "status": 503}, "503 Service Unavailable"),
    ("send", {"match": "PUT .*NAME/blobs/uploads", "status": 500}, "500 Internal Server Error"),
    ("commit", {"match": "PUT .*NAME/blobs/uploads", "status": 400}, "400 Bad Request"),
    ("nowhere", {"match": "POST .*NAME/blobs/uploads/$", "status": 202}, "names no place for the upload"),
    ("manifest", {"match": "PUT .*NAME/manifests", "status": 500}, "500 Internal Server Error"),
    ("forbidden", {"match": "PUT .*NAME/manifests", "status": 403}, "403 Forbidden"),
    ("busy", {"match": "PUT .*NAME/manifests", "status": 429}, "429 Too Many Requests"),
    ("silent look", {"match": "HEAD .*NAME/blobs", "hang": True}, "no answer within 3 s"),
    ("silent begin", {"match": "POST .*NAME/blobs/uploads/$", "hang": True}, "no answer within 3 s"),
    ("silent commit", {"match": "PUT .*NAME/blobs/uploads", "hang": True}, "no answer within 3 s"),
    ("silent manifest", {"match": "PUT .*NAME/manifests", "hang": True}, "no answer within 3 s"),
]


@pytest.mark.usefixtures("hasty")
def test_a_fault_at_every_stage_of_a_push(containerd, registry):
    own, namespace = built(f"push faults {containerd.release}"), containerd.new_namespace("push")
    registry.push(f"pushfaults/{containerd.release}", "1", own)
    source = (
        f"{registry.host}/pushfaults/{containerd.release}:1"  # 127.0.0.1: blobs can be mounted from there
    )
    imf.pull(source, containerd.address, namespace=namespace).apply().raise_for_errors()
    with FaultyProxy(registry.host) as proxy, FaultyProxy(registry.host, address="127.0.0.2") as other:
        targets, copies = {}, []
        for stage, fault, _ in [*PUSHES, ("good", {"match": "", "times": 0}, "")]:
            repository = f"pushed/{containerd.release}/{stage.replace(' ', '-')}"
            copies.append(f"copy.example/{repository}:1")
            place = proxy if stage == "mount" else other  # to a host of another name everything is sent
            targets[copies[-1]] = f"{place.host}/{repository}:1"
            place.add(**{**fault, "match": fault["match"].replace("NAME", repository)})
        containerd.ctr("images", "tag", source, *copies, namespace=namespace)
        before = state(containerd, namespace)
        inventory = imf.collect(containerd.address, namespaces=[namespace], usage="none", cache=False)
        rows = inventory.images[inventory.images["name"].isin(copies)]
        result = imf.push(rows, inventory, to=targets).apply(registry_timeout=SECONDS)
        steps = result.steps.set_index("to")
        for (stage, _, word), target in zip(PUSHES, targets.values(), strict=False):
            message = steps.loc[target, "message"]
            assert steps.loc[target, "status"] == "failed", (stage, message)
            assert message.startswith(f"{target}: "), message
            assert word in message, (stage, message)
            assert next_step(message), message
        last = list(targets.values())[-1]
        assert steps.loc[last, "status"] == "done", steps.loc[last, "message"]
    assert state(containerd, namespace) == before


@pytest.mark.parametrize(
    "fault", [{"match": "POST .*uploads", "hang": True}, {"match": "PUT .*uploads", "deaf": True}]
)
@pytest.mark.parametrize("release", OWN_TRANSFER)
def test_containerds_own_push_is_given_up_too(fresh_daemon, registry, fault, release):
    daemon, own = fresh_daemon(release), built("transfer push")
    registry.push("own/push", "1", own)
    imf.pull(f"{registry.host}/own/push:1", daemon.address).apply().raise_for_errors()
    before = state(daemon, "default")
    inventory = imf.collect(daemon.address, usage="none", cache=False)
    with FaultyProxy(registry.host, address="127.0.0.2") as proxy:
        proxy.add(**fault)
        plan = imf.push(inventory.images, inventory, to=lambda _: f"{proxy.host}/own/copy:1", via="transfer")
        (message,) = plan.apply(registry_timeout=SECONDS).steps["message"]
        assert message.startswith(
            f"{proxy.host}/own/copy:1: {proxy.host} exchanged no data with containerd for 3 s;"
        )
        assert next_step(message)
    assert state(daemon, "default") == before


def test_a_registry_that_stops_taking_an_upload(registry):
    wanted = oci.Descriptor("application/octet-stream", f"sha256:{'0' * 64}", 1 << 40)

    async def endless():
        while True:
            yield bytes(1 << 20)

    async def upload(proxy):
        async with Registry(timeout=0.5) as session:
            await session.image(f"{proxy.host}/deaf/app:1").upload(wanted, endless)

    with FaultyProxy(registry.host) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote_module, "ATTEMPTS", 1)
        deaf = proxy.add("PUT .*deaf/app/blobs/uploads", deaf=True)
        with pytest.raises(RegistryError, match=r"no answer within 0\.5 s; try again") as caught:
            asyncio.run(asyncio.wait_for(upload(proxy), PATIENCE))
        assert deaf.hits == 1
    assert proxy.host in str(caught.value)


def until(fact, what):
    """Waits for a fact."""
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.01)


@pytest.mark.parametrize("release", RELEASES)
def test_a_daemon_killed_while_it_pulls(fresh_daemon, registry, release):
    own = built(f"killed {release}", 1_000_000)
    registry.push(f"daemon/{release}", "1", own)
    dying, well = fresh_daemon(release), fresh_daemon(release)
    nodes = [{"name": "dying", "address": dying.address}, {"name": "well", "address": well.address}]
    results = []
    with FaultyProxy(registry.host) as proxy:
        name = f"{proxy.host}/daemon/{release}:1"
        held = proxy.add(f"GET .*{own.layers[1].digest}", hang=True, late=True)
        plan = imf.pull(name, nodes, via="client")
        thread = threading.Thread(target=lambda: results.append(plan.apply(progress=False)))
        thread.start()
        chain = images.chain_ids(own)
        until(lambda: held.hits == 2, "both nodes ask for the second layer")
        until(
            lambda: ("overlayfs", chain[0]) in state(dying, "default").snapshots,
            "the first layer is unpacked",
        )
        dying.kill()
        held.release.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        proxy.faults.clear()
        steps = results[0].steps.set_index("node")
        assert steps["status"].to_dict() == {"dying": "failed", "well": "done"}
        message = steps.loc["dying", "message"]
        assert message.startswith(f"{name}: ")
        assert dying.address in message
        assert "start containerd and apply the plan again" in message
        assert checked(well, "default") == {name: "complete (3/3) true"}
        dying.start()
        plan.apply(progress=False).raise_for_errors()
        assert checked(dying, "default") == {name: "complete (3/3) true"}
        collect_garbage(dying, "default")
        found = state(dying, "default")
        assert set(found.blobs) == set(own.blobs)
        assert {key for _, key in found.snapshots} == set(chain)
        assert not found.leases | found.ingests
        dying.ctr("images", "rm", "--sync", name)
        assert state(dying, "default") == EMPTY
