"""Undo on real daemons: after killed and repeated applications, in other processes, with clocks that differ, and from the node alone."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
from test_prune import fill, mine, names_in, read
from testbed.clock import END

import imgframe as imf
from imgframe import _loop, digests, schema, simulator
from imgframe.act import leases, undo_leases
from imgframe.errors import InputError, SchemaError
from imgframe.wire import Client
from imgframe.wire.records import Resource

COUNT = 60


@pytest.fixture
def filled(containerd):
    """A namespace of the shared daemon with 60 images."""
    namespace = containerd.new_namespace("undo")
    fill(containerd, namespace, count=COUNT, seed=7)
    return containerd, namespace


def planned(daemon, namespace, undo_for="1h"):
    inventory = read(daemon)
    plan = imf.prune(mine(inventory, namespace), inventory, undo_for=undo_for)
    assert len(plan.steps) == len(names_in(daemon, namespace))
    return plan


def undo_leases_of(daemon, namespace):
    return [row for row in daemon.ctr("leases", "ls", "-q", namespace=namespace).split() if "undo" in row]


KILLED = """
import os, signal, sys
import imgframe as imf
from imgframe.act import delete
count = 0
real = delete._Deletes._send
async def counted(*args, **kwargs):
    global count
    count += 1
    if count > {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return await real(*args, **kwargs)
delete._Deletes._send = counted
imf.open_plan({plan!r}).apply(max_parallel=1, audit={audit!r}, progress=False)
"""


def kill_after(deletes, folder):
    """Apply the plan saved in `folder` in a process that is killed when it begins the delete after so many."""
    code = KILLED.format(after=deletes, plan=str(folder / "plan"), audit=str(folder / "audit"))
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == -signal.SIGKILL


def test_all_comes_back_after_a_killed_and_a_second_application(filled, tmp_path):
    daemon, namespace = filled
    before = names_in(daemon, namespace)
    planned(daemon, namespace).save(tmp_path / "plan")
    kill_after(53, tmp_path)
    assert len(names_in(daemon, namespace)) == COUNT - 53
    result = imf.open_plan(tmp_path / "plan").apply(audit=tmp_path / "audit")
    assert result.steps["status"].value_counts().to_dict() == {"gone": 53, "done": COUNT - 53}
    assert not names_in(daemon, namespace)
    undone = result.undo()
    assert len(undone.steps) == COUNT
    undone.apply().raise_for_errors()
    assert names_in(daemon, namespace) == before
    assert not undo_leases_of(daemon, namespace)


RENEWAL_KILLED = """
import os, signal
import imgframe as imf
from imgframe.wire import leases, blob_writer
count = 0
real = {target}
async def counted(*args, **kwargs):
    global count
    count += 1
    if count == {place}:
        os.kill(os.getpid(), signal.SIGKILL)
    return await real(*args, **kwargs)
{target} = counted
imf.open_plan({plan!r}).apply(progress=False)
"""


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("leases.LeasesClient.create", 1),
        ("leases.LeasesClient.add", 1),
        ("leases.LeasesClient.add", 40),
        ("blob_writer.BlobWriter.write", 1),
        ("leases.LeasesClient.delete", 1),
    ],
)
def test_a_renewal_that_is_killed_loses_nothing(filled, tmp_path, target, place):
    daemon, namespace = filled
    before = names_in(daemon, namespace)
    planned(daemon, namespace).save(tmp_path / "plan")
    kill_after(30, tmp_path)
    code = RENEWAL_KILLED.format(target=target, place=place, plan=str(tmp_path / "plan"))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert len(names_in(daemon, namespace)) == COUNT - 30, "nothing is deleted before all is held"
    plan = imf.open_plan(tmp_path / "plan")
    assert len(plan.undo().steps) == 30
    plan.apply().raise_for_errors()
    assert len(plan.undo().steps) == COUNT
    plan.undo().apply().raise_for_errors()
    assert names_in(daemon, namespace) == before


@pytest.mark.parametrize("hours", [-30, 30])
def test_the_lease_of_a_pull_lasts_by_the_clock_of_the_node(containerd, monkeypatch, hours):
    namespace = containerd.new_namespace("undo")
    ours = leases._now
    monkeypatch.setattr(leases, "_now", lambda: ours() + hours * 3600)

    async def work():
        async with Client(containerd.address) as client:
            async with leases.leased(client, namespace) as (lease, _):
                await leases.collect_garbage(client, namespace)
                await client.leases.add(namespace, lease, Resource("content", "sha256:" + "0" * 64))
                (found,) = await client.leases.list(namespace)
            return lease, found

    lease, found = _loop.run(work())
    assert found.id == lease
    ends = pd.Timestamp(json.loads(found.labels)["containerd.io/gc.expire"]).timestamp()
    assert abs(ends - ours() - 24 * 3600) < 120


@pytest.mark.parametrize("after", [0, 20])
def test_an_audit_of_a_killed_run_is_enough_to_undo(filled, tmp_path, after):
    daemon, namespace = filled
    before = names_in(daemon, namespace)
    planned(daemon, namespace).save(tmp_path / "plan")
    kill_after(after, tmp_path)
    (journal,) = (tmp_path / "audit").iterdir()
    with journal.open("r+b") as file:  # a last line that is torn
        file.seek(len(file.read().rstrip(b"\0")))
        file.write(b'{"status": "do')
    audit = imf.open_audit(tmp_path / "audit")
    assert audit["status"].value_counts().to_dict() == {"unknown": COUNT - after} | (
        {"done": after} if after else {}
    )
    if after:
        undone = imf.undo(tmp_path / "audit")
        assert len(undone.steps) == after
        undone.apply(audit=tmp_path / "audit").raise_for_errors()
        assert len(imf.open_audit(tmp_path / "audit")) == COUNT + after
    with pytest.raises(InputError, match="nothing was deleted"):
        imf.undo(journal)
    assert names_in(daemon, namespace) == before


def test_somebody_else_undoes_from_the_node_alone(filled):
    daemon, namespace = filled
    rows = mine(read(daemon), namespace)
    daemon.ctr("images", "label", str(rows["name"].iloc[0]), "team=a b", namespace=namespace)
    rows = mine(read(daemon), namespace).set_index("name")[
        ["digest", "media_type", "target_size", "record_labels"]
    ]
    plan = planned(daemon, namespace)
    plan.apply().raise_for_errors()
    listed = imf.undoable(daemon.address)
    listed = listed[listed["plan"] == plan.id]
    assert listed[["namespace", "names", "missing"]].values.tolist() == [[namespace, COUNT, COUNT]]
    undone = imf.undo(plan.id, daemon.address)
    undone.apply().raise_for_errors()
    back = mine(read(daemon), namespace).set_index("name")[list(rows.columns)]
    pd.testing.assert_frame_equal(back.sort_index().astype(str), rows.sort_index().astype(str))
    with pytest.raises(InputError, match="no lease holds anything of a plan"):
        imf.undo(plan.id, daemon.address)


def test_a_lease_stays_until_all_that_it_holds_is_back(filled):
    daemon, namespace = filled
    plan = planned(daemon, namespace)
    plan.apply().raise_for_errors()
    some = plan.undo()
    half = dataclasses.replace(some, table=some.table.slice(0, COUNT // 2), id="")
    half.apply().raise_for_errors()
    assert undo_leases_of(daemon, namespace)
    rest = plan.undo()
    assert len(rest.steps) == COUNT - COUNT // 2
    assert set(rest.kept["reason"]) == {"it is there"}
    rest.apply().raise_for_errors()
    assert not undo_leases_of(daemon, namespace)


def test_each_application_renews_the_time_of_all(filled):
    daemon, namespace = filled
    plan = planned(daemon, namespace, undo_for="1h")
    first = dataclasses.replace(plan, table=plan.table)
    names = plan.steps["name"].astype(str).tolist()
    daemon.ctr("images", "tag", names[0], "kept.example/for-later:1", namespace=namespace)
    daemon.ctr("containers", "create", names[0], f"user-{namespace}", namespace=namespace)
    earlier = first.apply()
    assert earlier.failed["status"].unique().tolist() == ["refused"]
    (lease,) = undo_leases_of(daemon, namespace)
    daemon.ctr("containers", "delete", f"user-{namespace}", namespace=namespace)
    later = plan.apply()
    assert set(later.steps["status"]) == {"done", "gone"}
    (renewed,) = undo_leases_of(daemon, namespace)
    assert renewed != lease, "containerd cannot extend a lease"
    node = plan.steps["node"].iloc[0]
    assert later.held_until[node] >= earlier.held_until[node]
    assert plan.apply().held_until == {}, "nothing was deleted"
    assert undo_leases_of(daemon, namespace) == [renewed]
    assert len(plan.undo().steps) == len(names)


@pytest.mark.parametrize("hours", [-30, -2, 2])
def test_time_is_that_of_the_node(filled, monkeypatch, hours):
    daemon, namespace = filled
    plan = planned(daemon, namespace, undo_for="1h")
    ours = leases._now
    monkeypatch.setattr(leases, "_now", lambda: ours() + hours * 3600)
    result = plan.apply()
    result.raise_for_errors()
    node = plan.steps["node"].iloc[0]
    assert abs(result.held_until[node] - ours() - 3600) < 120
    assert abs(result.clock_offsets[node] + hours * 3600) < 120
    assert f"s {'behind' if hours > 0 else 'ahead of'} this machine's" in repr(result)
    daemon.ctr("content", "prune", "references", namespace=namespace)  # the garbage collector runs
    plan.undo().apply().raise_for_errors()
    assert len(names_in(daemon, namespace)) == COUNT


def test_when_the_time_is_over_undo_says_so_first(filled):
    daemon, namespace = filled
    plan = planned(daemon, namespace)
    result = plan.apply()
    (lease,) = undo_leases_of(daemon, namespace)
    daemon.ctr("leases", "delete", "--sync", lease, namespace=namespace)
    for undo in (plan.undo, result.undo):
        with pytest.raises(InputError, match=f"the time to undo plan {plan.id} is over"):
            undo()


@pytest.mark.parametrize("call", ["Leases/AddResource", "Content/Write", "Leases/Create"])
def test_a_hold_that_fails_leaves_no_lease_and_deletes_nothing(call):
    fault = simulator.Fault(
        call=call, code="UNAVAILABLE", after=3 if call == "Leases/AddResource" else 0, times=1
    )
    with simulator.node(images=30, until=END, faults=[fault]) as node:
        inventory = imf.collect(node.address, cache=False)
        plan = imf.prune(imf.get_unused_images(inventory), inventory, undo_for="1h")
        result = plan.apply(progress=False)
        assert set(result.steps["status"]) == {"failed"}
        after = imf.collect(node.address, cache=False)
        assert len(after.images) == len(inventory.images)
        assert not after.leases["id"].astype(str).str.startswith("imgframe-").any()
        plan.apply(progress=False).raise_for_errors()


def test_text_in_a_document_is_data():
    evil = "registry.example/\x1b[2Jteam:1"
    record = undo_leases.HeldRecord(evil, "sha256:" + "0" * 64, "", 3, json.dumps({"a": '"}\x1b'}))
    ((digest, data),) = undo_leases._documents("p", "n", {record}).items()
    assert digest.startswith("sha256:")
    assert undo_leases._record(json.loads(data)["records"][0]) == dataclasses.replace(
        record, labels=json.dumps({"a": '"}\x1b'}, ensure_ascii=False)
    )


@pytest.mark.parametrize("documents", [None, "", "abc", "sha256:abc"])
def test_a_lease_that_names_no_document_hides_no_other(documents, containerd):
    namespace = containerd.new_namespace("undo")
    named = {} if documents is None else {undo_leases.DOCUMENTS: documents}

    async def found():
        async with Client(containerd.address) as client:
            await leases.create(client, namespace, "l", 60, {undo_leases.PLAN: "p", **named})
            return await undo_leases.held(client, namespace)

    (lease,) = _loop.run(found())
    assert "names no undo document" in lease.problem
    assert not lease.records


@pytest.mark.parametrize("bad", [b"[]", b"{}", b"[" * 100_000, b'{"imgframe_undo": 2, "namespace": "n"}'])
def test_a_document_that_is_none_is_a_problem_of_its_lease(bad, containerd):
    namespace = containerd.new_namespace("undo")

    async def spoil():
        async with Client(containerd.address) as client:
            digest = digests.sha256(bad)
            await leases.create(
                client, namespace, "l", 60, {undo_leases.PLAN: "p", undo_leases.DOCUMENTS: digest}
            )
            await client.content.write(namespace, "r", digest, bad, {}, lease="l")
            return await undo_leases.held(client, namespace)

    (lease,) = _loop.run(spoil())
    assert lease.problem
    assert not lease.records
    with pytest.raises(InputError, match="cannot be undone"):
        imf.undo("p", containerd.address)


def test_a_plan_is_refused_on_another_store():
    with simulator.fleet(nodes=2, seed=4, until=END) as fleet:
        first, second = fleet.nodes
        inventory = imf.collect(first, cache=False)
        plan = imf.prune(imf.get_unused_images(inventory), inventory, undo_for="1h")
        led = {name: dataclasses.replace(node, address=second.address) for name, node in plan.nodes.items()}
        other = dataclasses.replace(plan, nodes=led)
        there = imf.collect(second, cache=False).images
        result = other.apply(progress=False)
        assert set(result.steps["status"]) == {"refused"}
        assert result.steps["message"].str.contains("now leads to another store").all()
        assert len(imf.collect(second, cache=False).images) == len(there)
        nowhere = dataclasses.replace(plan, stores={}, id="")
        assert nowhere.apply(progress=False).steps["message"].str.contains("does not know the store").all()
        plan.apply(progress=False).raise_for_errors()
        with pytest.raises(InputError, match="now leads to another store"):
            other.undo()


@pytest.fixture
def saved(tmp_path):
    with simulator.node(images=8, until=END) as node:
        inventory = imf.collect(node.address, cache=False)
        plan = imf.prune(inventory.images, inventory, undo_for="1h")
        plan.save(tmp_path / "p")
        yield tmp_path / "p"


def spoilt(folder, change):
    file = folder / "plan.json"
    about = json.loads(file.read_text())
    change(about)
    file.write_text(json.dumps(about))


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.update(id="../../evil"),
        lambda about: about.update(id=7),
        lambda about: about.update(id="0" * 16),
        lambda about: about.update(undo_for="1h"),
        lambda about: about.update(undo_for=7200),
        lambda about: about.update(undo_for=True),
        lambda about: about.update(made_at=None),
        lambda about: about.update(nodes=[]),
        lambda about: about.update(nodes={"a": 3}),
        lambda about: about.update(nodes={}),
        lambda about: about.update(freed=[]),
        lambda about: about["freed"].update(more=1),
        lambda about: about.update(stores={"a": 1}),
        lambda about: about.update(stores={}),
        lambda about: about.pop("stores"),
        lambda about: about.pop("undo_for"),
        lambda about: about.pop("nodes"),
        lambda about: about.update(imgframe_plan=[[]]),
    ],
)
def test_an_odd_plan_json_is_refused(saved, change):
    spoilt(saved, change)
    with pytest.raises(SchemaError):
        imf.open_plan(saved)


def test_a_nested_plan_json_or_nodes_toml_is_refused(saved, tmp_path):
    (saved / "plan.json").write_text('{"imgframe_plan": ' + "[" * 200_000)
    with pytest.raises(SchemaError, match="is not a saved plan"):
        imf.open_plan(saved)
    (tmp_path / "nodes.toml").write_text("node = " + "[" * 200_000)
    with pytest.raises(imf.NodeError, match="is not TOML"):
        imf.load_nodes(tmp_path / "nodes.toml")


def steps_with(folder, change):
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "steps.parquet")
    rows = table.to_pylist()
    change(rows)
    columns = {name: [row[name] for row in rows] for name in table.column_names}
    pq.write_table(schema.plan_table("steps", columns), folder / "steps.parquet")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda rows: rows.append({**rows[0], "step": len(rows), "name": "other:1"}),
            "was changed after it was made",
        ),
        (lambda rows: rows[0].update(digest="sha256:" + "1" * 64), "was changed after it was made"),
        (lambda rows: rows.append({**rows[0], "step": len(rows)}), "is in the plan twice"),
        (lambda rows: rows.append(rows[0]), "not numbered"),
        (lambda rows: rows[0].update(step=None), "not numbered"),
        (lambda rows: rows[0].update(options="["), "not JSON"),
        (lambda rows: rows[0].update(options="[]"), "expected a JSON object"),
        (lambda rows: rows[0].update(record_labels='{"a": 1}'), "is not text"),
        (lambda rows: rows[0].update(node="elsewhere"), "which the plan does not have"),
        (lambda rows: rows[0].update(name=None), "has no name"),
        (lambda rows: rows[0].update(digest=None), "has no digest"),
    ],
)
def test_odd_steps_are_refused(saved, change, words):
    steps_with(saved, change)
    with pytest.raises(SchemaError, match=words):
        imf.open_plan(saved)


def test_columns_that_lack_are_refused(saved):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pq.read_table(saved / "freed_snapshots.parquet").drop(["key"]), saved / "freed_snapshots.parquet"
    )
    with pytest.raises(SchemaError, match="has no column 'key'"):
        imf.open_plan(saved)
    table = pq.read_table(saved / "steps.parquet")
    place = table.column_names.index("step")
    pq.write_table(table.set_column(place, "step", pa.array(["x"] * table.num_rows)), saved / "steps.parquet")
    with pytest.raises(SchemaError, match="has values of other types"):
        imf.open_plan(saved)
    pq.write_table(table.drop(["digest"]), saved / "steps.parquet")
    with pytest.raises(SchemaError, match="has other columns"):
        imf.open_plan(saved)


def test_a_plan_changed_in_memory_is_not_applied(saved):
    plan = imf.open_plan(saved)
    with pytest.raises(SchemaError, match="was changed after it was made"):
        dataclasses.replace(plan, table=plan.table.slice(1)).apply(progress=False)


def test_an_audit_that_cannot_be_written_is_refused_before_anything_is_done(tmp_path):
    with simulator.node(images=8, until=END) as node:
        inventory = imf.collect(node.address, cache=False)
        plan = imf.prune(imf.get_unused_images(inventory), inventory, undo_for="1h")
        (tmp_path / "file").write_text("in its place")
        with pytest.raises(InputError, match="cannot hold an audit: File exists; nothing was done"):
            plan.apply(audit=tmp_path / "file", progress=False)
        with pytest.raises(InputError, match="cannot hold an audit"):
            plan.apply(audit="/proc/audit", progress=False)
        assert len(imf.collect(node.address, cache=False).images) == len(inventory.images)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_full_disk_is_found_before_anything_is_done(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", tmp_path], check=True)
    try:
        with simulator.node(images=200, until=END) as node:
            inventory = imf.collect(node.address, cache=False)
            plan = imf.prune(imf.get_unused_images(inventory), inventory, undo_for="1h")
            with pytest.raises(InputError, match="No space left on device; nothing was done"):
                plan.apply(audit=tmp_path / "audit", progress=False)
            assert not list((tmp_path / "audit").iterdir())
            assert len(imf.collect(node.address, cache=False).images) == len(inventory.images)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_audits_never_collide_and_a_disk_that_fills_up_costs_no_result(tmp_path, monkeypatch):
    from imgframe.plans import audit

    with simulator.node(images=8, until=END) as node:
        inventory = imf.collect(node.address, cache=False)
        plan = imf.prune(imf.get_unused_images(inventory), inventory, undo_for="1h")
        monkeypatch.setattr(audit.time, "time_ns", lambda: 5)
        for _ in range(3):
            plan.apply(audit=tmp_path / "audit", progress=False)
        assert len(list((tmp_path / "audit").iterdir())) == 3
        plan.undo().apply(progress=False)

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(audit, "_write_parquet", full)
        with pytest.warns(UserWarning, match="the audit is incomplete"):
            result = plan.apply(audit=tmp_path / "other", progress=False)
        assert set(result.steps["status"]) == {"done"}
        assert set(imf.open_audit(tmp_path / "other")["status"]) == {"done"}
        assert len(imf.undo(tmp_path / "other").steps) == len(plan.steps)


def test_what_is_neither_plan_nor_audit(tmp_path):
    with pytest.raises(SchemaError, match="neither a saved plan nor an audit"):
        imf.undo(tmp_path)
    for name, text in (("_1.jsonl", "[]\n"), ("_1.jsonl", "[" * 100_000 + "\n"), ("x.parquet", "PAR1")):
        (tmp_path / name).write_text(text)
        with pytest.raises(SchemaError):
            imf.undo(tmp_path / name)
        (tmp_path / name).unlink()


@pytest.fixture
def command(monkeypatch, capsys):
    """`command(*words)` gives exit code, stdout and stderr of imgframe."""
    from imgframe.cli import main

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["imgframe", *map(str, words)])
        with pytest.raises(SystemExit) as done:
            main()
        return done.value.code or 0, *capsys.readouterr()

    return run


def test_the_command_undoes_from_a_plan_an_audit_and_the_node(command, tmp_path):
    with simulator.node(images=20, until=END) as node:
        everything = set(imf.collect(node.address, cache=False).images["name"])

        def names():
            return set(imf.collect(node.address, cache=False).images["name"])

        audit, saved = tmp_path / "audit", tmp_path / "plan"
        prune = ("prune", "--all", "--undo-for", "1h", "--address", node.address)
        assert command(*prune, "--plan", saved)[0] == 0
        code, out, _ = command("apply", saved, "--yes", "--audit", audit)
        assert code == 0
        assert "held for undo until" in out
        (plan,) = imf.undoable(node.address)["plan"]
        assert f"imgframe undo {plan} puts the names back" in out
        for words in ([plan, "--address", node.address], [saved], [audit]):
            assert names() < everything
            code, out, _ = command("undo", "--list", "--address", node.address)
            (row,) = out.splitlines()[1:]
            held = len(everything) - len(names())
            assert (code, row.split()[0], row.split()[3:5]) == (0, plan, [str(held), str(held)])
            code, out, err = command("undo", *words)
            assert (code, err) == (1, "imgframe: stdin is not a terminal; pass --yes or --plan DIR\n")
            assert f"{held} to create" in out
            code, out, err = command("undo", *words, "--yes")
            assert (code, err) == (0, "")
            assert names() == everything
            assert command("undo", "--list", "--address", node.address)[1].count("\n") == 1
            command("apply", saved, "--yes")
        code, _, err = command("undo", "0" * 16, "--address", node.address)
        assert (code, "there is none, it was undone, or its time is over" in err) == (1, True)
        assert command("undo")[0] == command("undo", plan, "--list")[0] == 1
