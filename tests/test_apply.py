"""How plans are applied where nodes change, fail or vanish meanwhile: what is used stays, and each row says what is true."""

import asyncio
import random
import signal
import threading
import time
from dataclasses import replace

import pyarrow as pa
import pytest
from test_prune import fill, mine, names_in, read
from testbed.clock import END
from testbed.daemons import DEFAULT_RELEASES

import imgframe as imf
from imgframe import digests
from imgframe.act import delete, namespace_state
from imgframe.act.node_session import NodeSession
from imgframe.errors import TimedOut
from imgframe.wire import Client
from imgframe.wire.images import ImagesClient

PATIENCE = 120.0


@pytest.fixture
def filled(containerd):
    """A namespace with 12 unpacked images that share bases."""
    namespace = containerd.new_namespace("apply")
    fill(containerd, namespace)
    return containerd, namespace


@pytest.fixture
def at_delete(monkeypatch):
    """Calls a function with the number of each delete, on the loop's thread, right before it is sent."""
    wanted = []
    own = ImagesClient.delete
    count = iter(range(10**6))

    async def watched(self, namespace, name, **options):
        for do in wanted:
            do(next(count), name)
        await own(self, namespace, name, **options)

    monkeypatch.setattr(ImagesClient, "delete", watched)
    return wanted.append


def statuses(result):
    return dict(zip(result.steps["name"].astype(str), result.steps["status"].astype(str), strict=True))


def create_container(daemon, namespace, name, key):
    return daemon.ctr_process("containers", "create", name, key, namespace=namespace).returncode == 0


def test_a_container_created_during_the_deletes_keeps_its_image(filled, at_delete):
    daemon, namespace = filled
    inventory = read(daemon)
    plan = imf.prune(mine(inventory, namespace), inventory)
    last, first = plan.steps["name"].iloc[-1], plan.steps["name"].iloc[0]

    def create(number, name):
        if number == 0:
            assert create_container(daemon, namespace, last, f"late-{namespace}")
            assert create_container(daemon, namespace, name, f"now-{namespace}")

    at_delete(create)
    result = plan.apply(max_parallel=1)
    found = result.steps.set_index("name")[["status", "message"]]
    assert found.loc[last].tolist() == ["refused", f"container late-{namespace} now uses it"]
    assert found.loc[first, "status"] == "refused"
    assert "began to use it while it was deleted; the record was put back" in found.loc[first, "message"]
    same = mine(inventory, namespace).set_index("name")["digest"]
    kept = {name for name in same.index if same[name] in {same[first], same[last]}}
    assert names_in(daemon, namespace) == kept
    assert set(found.drop(index=kept)["status"]) == {"done"}
    again = mine(read(daemon), namespace).set_index("name")
    assert again["digest"].to_dict() == same[list(again.index)].to_dict()
    assert again["complete"].all()


def test_an_image_that_is_now_used_by_its_snapshots_alone_is_kept(filled):
    daemon, namespace = filled
    name = min(names_in(daemon, namespace))
    inventory = read(daemon)
    digests = mine(inventory, namespace).set_index("name")["digest"]
    plan = imf.prune(mine(inventory, namespace), inventory)
    daemon.ctr("images", "tag", name, "other.example/x:1", namespace=namespace)
    assert create_container(daemon, namespace, "other.example/x:1", f"c-{namespace}")
    daemon.ctr("images", "rm", "other.example/x:1", namespace=namespace)
    found = plan.apply().steps.set_index("name")
    assert found.loc[name, ["status", "message"]].tolist() == [
        "refused",
        f"container c-{namespace} now uses it",
    ]
    fresh = read(daemon)
    kept = imf.prune(mine(fresh, namespace), fresh).kept
    assert set(kept["name"]) == names_in(daemon, namespace) >= set(digests[digests == digests[name]].index)


@pytest.mark.parametrize(
    "rounds", [pytest.param(3, id="some"), pytest.param(100, marks=pytest.mark.soak, id="many")]
)
def test_containers_created_at_random_moments_keep_their_images(containerd, rounds):
    rng = random.Random(f"{containerd.release} {rounds}")
    for number in range(rounds):
        namespace = containerd.new_namespace("random")
        fill(containerd, namespace, count=24, seed=number)
        inventory = read(containerd)
        plan = imf.prune(mine(inventory, namespace), inventory)
        wanted = rng.sample(plan.steps["name"].tolist(), 4)

        def create(names, namespace=namespace):
            for name in names:
                create_container(
                    containerd, namespace, name, f"{name.rpartition('/')[2]}-{namespace}".replace(":", "-")
                )

        threads = [threading.Thread(target=create, args=[wanted[start::2]]) for start in range(2)]
        begin = rng.choice([0, 1, 5, 12])
        started = threading.Event()
        own = delete._Deletes.delete
        count = iter(range(1000))

        async def counted(self, step, begin=begin, started=started, own=own, count=count):
            if next(count) == begin:
                started.set()
            return await own(self, step)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(delete._Deletes, "delete", counted)
            starter = threading.Thread(
                target=lambda t=threads, s=started: (s.wait(PATIENCE), [x.start() for x in t])
            )
            starter.start()
            result = plan.apply(max_parallel=rng.choice([1, 4]))
        starter.join()
        for thread in threads:
            thread.join()
        after = read(containerd)
        left = set(mine(after, namespace)["name"])
        ended = {
            row.name_: row.started_at.value + row.seconds * 10**9
            for row in result.steps.rename(columns={"name": "name_"}).itertuples()
            if row.status == "done"
        }
        containers = after.containers[after.containers["namespace"] == namespace]
        for row in containers.itertuples():
            assert row.image in left or row.created_at.value > ended[row.image], (number, row.image)
        assert not left & set(ended)
        assert not [
            x for x in containerd.ctr("leases", "ls", "-q", namespace=namespace).split() if "imgframe" in x
        ]


@pytest.mark.parametrize("release", DEFAULT_RELEASES)
def test_a_daemon_that_dies_and_comes_back_loses_no_row(fresh_daemon, release, at_delete):
    daemon = fresh_daemon(release)
    fill(daemon, "default", count=40)
    inventory = read(daemon)
    plan = imf.prune(inventory.images, inventory)
    died = threading.Event()

    def die(number, _):
        if number == 10:
            daemon.kill()
            died.set()

    at_delete(die)
    results = []
    thread = threading.Thread(target=lambda: results.append(plan.apply(max_parallel=4)))
    thread.start()
    assert died.wait(PATIENCE)
    daemon.start()  # in this thread, with which it ends
    thread.join(PATIENCE)
    result = results[0]
    left = names_in(daemon, "default")
    found = statuses(result)
    assert set(found.values()) == {"done"}
    assert {name for name, status in found.items() if status == "done"} == set(found) - left
    plan.apply().raise_for_errors()
    assert not names_in(daemon, "default")


def test_a_daemon_that_does_not_come_back_leaves_what_is_unknown_unknown(
    fresh_daemon, at_delete, monkeypatch
):
    monkeypatch.setattr(namespace_state, "RECONNECT_SECONDS", 1.0)
    daemon = fresh_daemon()
    fill(daemon, "default", count=20)
    inventory = read(daemon)
    plan = imf.prune(inventory.images, inventory)
    at_delete(lambda number, _: daemon.kill() if number == 5 else None)
    result = plan.apply(max_parallel=1)
    assert result.steps["status"].value_counts().to_dict() == {
        "failed": len(plan.steps) - 6,
        "done": 5,
        "unknown": 1,
    }
    unknown = result.steps[result.steps["status"] == "unknown"]["message"].iloc[0]
    assert "whether it was deleted is unknown" in unknown
    assert str(result.observed_bytes) == "<NA>"
    assert "freed unknown" in repr(result)
    assert not result.ok


def test_a_frozen_daemon_is_waited_for_and_its_rows_are_settled(fresh_daemon, at_delete):
    daemon = fresh_daemon()
    fill(daemon, "default", count=20)
    inventory = read(daemon)
    plan = imf.prune(inventory.images, inventory)
    frozen = threading.Event()

    def freeze(number, _):
        if number == 5:
            daemon.process.send_signal(signal.SIGSTOP)
            frozen.set()

    at_delete(freeze)
    results = []
    thread = threading.Thread(target=lambda: results.append(plan.apply(max_parallel=4, timeout=1.0)))
    thread.start()
    assert frozen.wait(PATIENCE)
    thread.join(3.0)  # several deadlines pass
    daemon.process.send_signal(signal.SIGCONT)
    thread.join(PATIENCE)
    found = statuses(results[0])
    assert {name for name, status in found.items() if status == "done"} == set(found) - names_in(
        daemon, "default"
    )
    assert set(found.values()) == {"done"}


def test_two_applications_of_one_plan_claim_no_byte_twice(filled):
    daemon, namespace = filled
    inventory = read(daemon)
    plan = imf.prune(mine(inventory, namespace), inventory)
    reached, release = threading.Event(), threading.Event()
    own = NodeSession.each

    async def held(self, steps, do):
        if steps:
            reached.set()
            await asyncio.to_thread(release.wait, PATIENCE)
        return await own(self, steps, do)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NodeSession, "each", held)
        first = []
        thread = threading.Thread(target=lambda: first.append(plan.apply()))
        thread.start()
        assert reached.wait(PATIENCE)
        other = plan.apply()
        release.set()
        thread.join(PATIENCE)
    assert set(statuses(other).values()) == {"refused"}
    assert "another application of a plan is deleting in namespace" in other.steps["message"].iloc[0]
    assert other.observed_bytes == 0
    assert first[0].observed_bytes == plan.freed.total_bytes > 0
    assert set(plan.apply().steps["status"]) == {"gone"}


def test_a_plan_that_was_spoilt_costs_no_other_node_its_result():
    with imf.simulator.fleet(nodes=2, seed=4, until=END) as fleet:
        inventory = imf.collect(fleet.nodes, cache=False)
        plan = imf.prune(imf.get_unused_images(inventory), inventory)
        bad, good = sorted(plan.nodes)
        rows = plan.table.to_pylist()
        odd = next(row for row in rows if row["node"] == good)
        odd["options"] = "no JSON"
        nodes = {good: plan.nodes[good]}
        result = replace(plan, nodes=nodes).apply()
        by_node = result.steps.groupby("node", observed=True)["status"].unique().apply(set)
        assert by_node.to_dict() == {bad: {"failed"}, good: {"done"}}
        message = result.steps[result.steps["node"] == bad]["message"].iloc[0]
        assert message == f"the plan does not know the address of the node {bad!r}; collect again"
        assert result.observed[bad] is None
        spoilt = replace(plan, table=pa.Table.from_pylist(rows, plan.table.schema), id="")
        result = spoilt.apply()
        by_node = result.steps.groupby("node", observed=True)["status"].unique().apply(set)
        assert by_node.to_dict() == {bad: {"done"}, good: {"failed"}}
        assert "JSONDecodeError" in result.steps[result.steps["node"] == good]["message"].iloc[0]


def test_a_cancelled_aapply_has_its_result_and_leaves_nothing_behind(tmp_path, at_delete):
    with imf.simulator.node(images=60, until=END) as node:
        inventory = imf.collect(node.address, cache=False)
        plan = imf.prune(imf.get_unused_images(inventory), inventory)

        async def run():
            begun = asyncio.Event()
            here = asyncio.get_running_loop()
            at_delete(lambda number, _: here.call_soon_threadsafe(begun.set) if number == 3 else None)
            task = asyncio.create_task(plan.aapply(max_parallel=1, audit=tmp_path / "audit"))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            return caught.value.result

        result = asyncio.run(run())
        left = set(imf.collect(node.address, cache=False).images["name"])
        found = statuses(result)
        assert result.interrupted
        assert {name for name, status in found.items() if status == "done"} == set(found) - left
        assert list(found.values()).count("stopped") > 0
        assert len(list((tmp_path / "audit").iterdir())) == 1


def test_no_delete_is_sent_on_an_old_look(monkeypatch):
    """Many deletes share a look, and a slow one is not kept for longer than a second."""
    looks, deletes = [], []
    read_, own = namespace_state.NamespaceWatch._read, ImagesClient.delete

    async def slow_read(self):
        state = await read_(self)
        looks.append(time.monotonic())
        return state

    async def timed(self, namespace, name, **options):
        deletes.append(time.monotonic() - looks[-1])
        await own(self, namespace, name, **options)

    monkeypatch.setattr(namespace_state.NamespaceWatch, "_read", slow_read)
    monkeypatch.setattr(ImagesClient, "delete", timed)
    with imf.simulator.node(images=400, until=END) as node:
        inventory = imf.collect(node.address, cache=False)
        plan = imf.prune(imf.get_unused_images(inventory), inventory)
        plan.apply().raise_for_errors()
    assert len(deletes) == len(plan.steps) > 100
    assert max(deletes) < namespace_state.LONGEST + 0.2
    assert len(looks) < len(deletes)


def test_a_write_to_a_frozen_daemon_ends_after_the_timeout(fresh_daemon):
    daemon = fresh_daemon()
    data = bytes(4 << 20)

    async def frozen(offset):
        yield data[: 1 << 20]
        daemon.process.send_signal(signal.SIGSTOP)
        yield data[1 << 20 :]

    async def run():
        async with Client(daemon.address, timeout=1.0) as client:
            await client.leases.create("default", "held", {})
            begun = time.monotonic()
            with pytest.raises(TimedOut, match="no answer within 1 s; does containerd hang"):
                await client.content.write_stream(
                    "default", "r", digests.sha256(data), len(data), frozen, {}, lease="held", timeout=3600
                )
            return time.monotonic() - begun

    try:
        assert asyncio.run(run()) < 20
    finally:
        daemon.process.send_signal(signal.SIGCONT)
