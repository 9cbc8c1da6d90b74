"""Plans and their application on real daemons: what was predicted happens, and nothing that the plan did not say."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from testbed import ctr_stores, images
from testbed.clock import END
from typer.testing import CliRunner

import imgframe as imf
from imgframe import _loop
from imgframe.errors import ActionError, InputError, MissingColumn, SchemaError
from imgframe.wire import Client


@pytest.fixture
def filled(containerd):
    """A namespace of the shared daemon with 12 unpacked images that share bases."""
    namespace = containerd.new_namespace("prune")
    fill(containerd, namespace)
    return containerd, namespace


def fill(daemon, namespace, count=12, seed=3):
    with tempfile.TemporaryDirectory(dir=daemon.folder) as folder:
        images.write_archive(Path(folder) / "a.tar", images.generated(count, seed))
        daemon.ctr("images", "import", f"{folder}/a.tar", namespace=namespace)
    ctr_stores.collect_garbage(daemon)  # the index of the archive itself


def read(daemon):
    return imf.collect(daemon.address, cache=False)


def mine(inventory, namespace):
    return inventory.images[inventory.images["namespace"] == namespace]


def names_in(daemon, namespace):
    return set(daemon.ctr("images", "ls", "-q", namespace=namespace).split())


def keys(inventory):
    blobs = set(inventory.blobs["digest"])
    snapshots = set(
        zip(*(inventory.snapshots[c].astype(str) for c in ("namespace", "snapshotter", "key")), strict=True)
    )
    return blobs, snapshots


def test_what_disappears_is_what_was_predicted(filled):
    daemon, namespace = filled
    before = read(daemon)
    plan = imf.prune(mine(before, namespace).iloc[::2], before)
    assert len(plan.steps) >= 5
    assert plan.steps["predicted_bytes"].sum() <= plan.freed.total_bytes
    assert names_in(daemon, namespace) == set(mine(before, namespace)["name"]), "a plan changes nothing"
    result = plan.apply()
    result.raise_for_errors()
    after = read(daemon)
    blobs, snapshots = (old - new for old, new in zip(keys(before), keys(after), strict=True))
    assert blobs == set(plan.freed.blobs["digest"])
    assert snapshots == set(
        zip(*(plan.freed.snapshots[c].astype(str) for c in ("namespace", "snapshotter", "key")), strict=True)
    )
    assert result.observed_bytes == plan.freed.total_bytes > 0
    assert names_in(daemon, namespace) == set(mine(before, namespace)["name"]) - set(plan.steps["name"])


def test_what_moved_since_the_plan_is_refused_and_the_rest_goes_on(filled):
    daemon, namespace = filled
    inventory = read(daemon)
    rows = mine(inventory, namespace)
    moved, used, pinned, gone, *rest = rows.drop_duplicates("digest")["name"].astype(str).tolist()
    plan = imf.prune(rows[rows["name"].isin([moved, used, pinned, gone, *rest])], inventory)
    daemon.ctr("images", "tag", "--force", rest[-1], moved, namespace=namespace)
    daemon.ctr("containers", "create", used, f"user-{namespace}", namespace=namespace)
    daemon.ctr("images", "label", pinned, "io.cri-containerd.pinned=pinned", namespace=namespace)
    daemon.ctr("images", "rm", gone, namespace=namespace)
    result = plan.apply()
    status = result.steps.drop_duplicates("name").set_index("name")[["status", "message"]]
    assert (
        status.loc[moved, "status"] == status.loc[used, "status"] == status.loc[pinned, "status"] == "refused"
    )
    assert "collect again" in status.loc[moved, "message"]
    assert f"container user-{namespace} now uses it" in status.loc[used, "message"]
    assert "now pinned" in status.loc[pinned, "message"]
    assert status.loc[gone, "status"] == "gone"
    assert set(status.loc[rest[:-1], "status"]) == {"done"}
    assert {moved, used, pinned} <= names_in(daemon, namespace)
    assert not names_in(daemon, namespace) & {gone, *rest[:-1]}
    with pytest.raises(ActionError, match="steps were not done"):
        result.raise_for_errors()


def test_a_plan_applied_twice_does_nothing_the_second_time(filled, tmp_path):
    daemon, namespace = filled
    inventory = read(daemon)
    imf.prune(mine(inventory, namespace).head(4), inventory).save(tmp_path / "plan")
    plan = imf.open_plan(tmp_path / "plan")
    assert set(plan.apply().steps["status"]) == {"done"}
    kept = keys(read(daemon))
    again = plan.apply()
    assert set(again.steps["status"]) == {"gone"}
    assert again.observed_bytes == 0
    assert keys(read(daemon)) == kept


def test_used_by_another_name_and_pinned_are_kept(filled):
    daemon, namespace = filled
    name = min(names_in(daemon, namespace))
    daemon.ctr("images", "tag", name, "registry.example/other:1", namespace=namespace)
    daemon.ctr("containers", "create", "registry.example/other:1", f"c-{namespace}", namespace=namespace)
    pinned = sorted(names_in(daemon, namespace))[1]
    daemon.ctr("images", "label", pinned, "io.cri-containerd.pinned=pinned", namespace=namespace)
    inventory = read(daemon)
    plan = imf.prune(mine(inventory, namespace), inventory)
    kept = plan.kept.set_index("name")["reason"]
    assert kept.loc[name] == kept.loc["registry.example/other:1"] == "in use by a container"
    assert kept.loc[pinned] == "pinned"
    assert not set(plan.steps["name"]) & {name, pinned, "registry.example/other:1"}
    lifted = imf.prune(mine(inventory, namespace), inventory, keep_used=False, keep_pinned=False)
    assert lifted.kept.empty
    assert set(lifted.apply().steps["status"]) == {"done"}


def test_undo_puts_the_names_back(filled):
    daemon, namespace = filled
    inventory = read(daemon)
    rows = mine(inventory, namespace).head(3)
    plan = imf.prune(rows, inventory, undo_for="1h")
    result = plan.apply()
    assert result.observed_bytes == 0, "the content is held"
    assert not names_in(daemon, namespace) & set(rows["name"])
    undone = result.undo().apply()
    undone.raise_for_errors()
    after = read(daemon)
    back = mine(after, namespace).set_index("name").loc[rows["name"].astype(str)]
    assert back["digest"].tolist() == rows["digest"].tolist()
    assert back["record_labels"].tolist() == rows["record_labels"].tolist()
    assert back["unpacked_size"].tolist() == rows["unpacked_size"].tolist()
    assert not [lease for lease in after.leases["id"] if str(lease).startswith("imgframe-undo")]
    assert set(result.undo().apply().steps["status"]) == {"gone"}
    with pytest.raises(InputError, match="made without undo_for"):
        imf.prune(rows.iloc[:0], after).apply().undo()


def test_a_killed_run_can_be_finished(filled, tmp_path):
    daemon, namespace = filled
    fill(daemon, namespace, count=150, seed=9)
    inventory = read(daemon)
    plan = imf.prune(mine(inventory, namespace), inventory)
    plan.save(tmp_path / "plan")
    before = names_in(daemon, namespace)
    code = f"import imgframe as imf; p = imf.open_plan({str(tmp_path / 'plan')!r}); print('go', flush=True); p.apply(max_parallel=1)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "go\n"
    while names_in(daemon, namespace) == before and process.poll() is None:
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    rest = imf.open_plan(tmp_path / "plan").apply()
    assert set(rest.steps["status"]) <= {"done", "gone"}
    assert not names_in(daemon, namespace)
    assert not [key for key in keys(read(daemon))[1] if key[0] == namespace]


def test_an_interrupt_stops_and_the_result_says_what_was_done(filled, tmp_path, interrupts):
    daemon, namespace = filled
    fill(daemon, namespace, count=200, seed=5)
    inventory = read(daemon)
    imf.prune(mine(inventory, namespace), inventory).save(tmp_path / "plan")
    before = names_in(daemon, namespace)
    code = f"""
import signal
import imgframe as imf
plan = imf.open_plan({str(tmp_path / "plan")!r})
print("go", flush=True)
result = plan.apply(max_parallel=1)
signal.signal(signal.SIGINT, signal.SIG_IGN)  # one that comes after the end
print(result.interrupted, result.steps["status"].value_counts().to_dict())
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "go\n"

    async def first_delete():  # faster than starting ctr, which may see only the last one
        async with Client(daemon.address) as client:
            while process.poll() is None and len(await client.images.list(namespace)) == len(before):
                pass

    _loop.run(first_delete())
    process.send_signal(signal.SIGINT)
    said = process.stdout.read()
    process.stdout.close()
    assert process.wait() == 0
    interrupted, counts = said.split(" ", 1)
    if interrupted == "True":
        assert "'stopped'" in counts
        assert len(names_in(daemon, namespace)) > 0
    else:
        assert "'stopped'" not in counts  # the machine was faster than the signal


def test_k8s_names_of_one_image_go_together_or_the_plan_says_so(containerd):
    namespace = containerd.new_namespace("cri")
    fill(containerd, namespace, count=2)
    name = min(names_in(containerd, namespace))
    config = mine(read(containerd), namespace).set_index("name").loc[name, "config_digest"]
    containerd.ctr("images", "tag", name, str(config), namespace=namespace)
    inventory = read(containerd)
    rows = mine(inventory, namespace)
    alone = imf.prune(rows[rows["name"] == name], inventory)
    assert alone.freed.total_bytes - alone.freed.garbage_bytes == 0
    assert f"frees nothing while {config} also refers to it" in alone.steps["reason"].iloc[0]
    both = imf.prune(rows[rows["name"].isin([name, str(config)])], inventory)
    assert both.steps["predicted_bytes"].sum() > 0
    assert both.steps["reason"].unique().tolist() == ["asked for"]
    assert both.apply().observed_bytes == both.freed.total_bytes


def test_prune_to_frees_enough_and_not_needlessly(filled):
    daemon, namespace = filled
    inventory = read(daemon)
    rows = mine(inventory, namespace)
    most = imf.reclaim(inventory, rows)
    target = (most.total_bytes - most.garbage_bytes) // 3
    plan = imf.prune_to(inventory, target, candidates=rows)
    assert plan.steps["predicted_bytes"].sum() >= target
    for name in plan.steps["name"]:
        fewer = rows[rows["name"].isin(set(plan.steps["name"]) - {name})]
        freed = imf.reclaim(inventory, fewer)
        assert freed.total_bytes - freed.garbage_bytes < target or len(plan.steps) == 1
    for order in ("oldest", "largest"):
        other = imf.prune_to(inventory, target, candidates=rows, order=order)
        assert other.steps["predicted_bytes"].sum() >= target
    with pytest.raises(InputError, match="target 'lots' is neither bytes"):
        imf.prune_to(inventory, "lots")
    with pytest.raises(InputError, match="order 'newest' is unknown"):
        imf.prune_to(inventory, target, candidates=rows, order="newest")


def test_a_tag_is_another_name(filled):
    daemon, namespace = filled
    inventory = read(daemon)
    rows = mine(inventory, namespace).drop_duplicates("digest").head(2)
    plan = imf.tag(rows, inventory, to="mirror.example:5000/copies")
    plan.apply().raise_for_errors()
    after = mine(read(daemon), namespace).set_index("name")
    for name, digest, to in zip(rows["name"], rows["digest"], plan.steps["to"], strict=True):
        assert (
            to
            == "mirror.example:5000/copies/"
            + str(name).partition("/")[2].removeprefix("library/").replace("", "")
            or "mirror.example" in to
        )
        assert after.loc[to, "digest"] == digest
    moved = imf.tag(rows.head(1), read(daemon), {str(rows["name"].iloc[0]): str(plan.steps["to"].iloc[1])})
    assert "moves it from" in moved.steps["reason"].iloc[0]
    moved.apply().raise_for_errors()
    assert (
        mine(read(daemon), namespace).set_index("name").loc[str(plan.steps["to"].iloc[1]), "digest"]
        == rows["digest"].iloc[0]
    )
    with pytest.raises(InputError, match="is not an image name"):
        imf.tag(rows, inventory, lambda _: "Not A Name")
    with pytest.raises(InputError, match="two records would be named"):
        imf.tag(rows, inventory, lambda _: "same:1")


def test_the_audit_log_has_a_row_per_step(filled, tmp_path):
    daemon, namespace = filled
    inventory = read(daemon)
    plan = imf.prune(mine(inventory, namespace).head(3), inventory)
    plan.apply(audit=tmp_path / "log")
    (file,) = (tmp_path / "log").glob("*.parquet")
    rows = pq.read_table(file).to_pylist()
    assert [row["plan"] for row in rows] == [plan.id] * 3
    assert {row["status"] for row in rows} == {"done"}
    assert all(
        "@" in row["who"] and row["before"].startswith("sha256:") and row["after"] is None for row in rows
    )
    assert {row["observed_bytes"] for row in rows} == {plan.freed.total_bytes}


def test_two_nodes_and_one_of_them_dead():
    with imf.simulator.fleet(nodes=2, seed=4, until=END) as fleet:
        inventory = imf.collect(fleet.nodes, cache=False)
        unused = imf.get_unused_images(inventory)
        plan = imf.prune(unused, inventory)
        dead, alive = sorted(set(plan.steps["node"].astype(str)))
        fleet.kill(dead)
        result = plan.apply()
        by_node = result.steps.groupby("node", observed=True)["status"].unique().apply(set)
        assert by_node[dead] == {"failed"}
        assert by_node[alive] == {"done"}
        assert result.failed["message"].str.contains("socket").all()
        deleted = plan.steps[
            plan.steps["node"] == alive
        ]  # once its lease has expired, keeping some frees less
        assert result.observed[alive] == imf.reclaim(inventory, deleted).total_bytes


def test_a_target_that_cannot_be_reached_is_said(tmp_path):
    with imf.simulator.fleet(nodes=2, seed=4, until=END) as fleet:
        inventory = imf.collect(fleet.nodes, cache=False)
        plan = imf.prune_to(inventory, "500 GB")
        freed = plan.steps.groupby("node", observed=True)["predicted_bytes"].sum()
        assert plan.shortfall_bytes == 2 * 500 * 10**9 - freed.sum() > 0
        assert len(plan.notes) == 2
        assert all("not enough to free 500 GB" in note and "are missing" in note for note in plan.notes)
        for note in plan.notes:
            assert note in plan.summary()
            assert note in repr(plan)
        assert (
            plan.steps["reason"].str.startswith("all that may go, which is not enough to free 500 GB").all()
        )
        plan.save(tmp_path / "plan")
        again = imf.open_plan(tmp_path / "plan")
        assert (again.shortfall_bytes, again.notes) == (plan.shortfall_bytes, plan.notes)
        small = imf.prune_to(inventory, "1MiB")
        assert (small.shortfall_bytes, small.notes) == (0, ())
        assert small.steps["reason"].str.startswith("to free 1MiB").all()
        nothing = imf.prune_to(inventory, 0)
        assert nothing.steps.empty
        assert nothing.notes == tuple(
            f"{name}: nothing needs to go to free 0 bytes" for name in sorted(plan.nodes)
        )
        assert imf.prune(inventory.images, inventory).shortfall_bytes is None
        for wrong in ("10 apples", "120%", "-5GB", "GB", -1, True, 1.5):
            with pytest.raises(InputError):
                imf.prune_to(inventory, wrong)


def test_prune_to_a_share_of_the_disk():
    with imf.simulator.node(images=30, until=END) as node:
        read_ = imf.collect(node.address, cache=False)
        used = imf.reclaim(read_, read_.images).total_bytes
        nodes = read_.nodes.assign(disk_total=used * 2, disk_free=used // 2)
        inventory = read_.replace(nodes=nodes.astype({"disk_total": "Int64", "disk_free": "Int64"}))
        plan = imf.prune_to(inventory, "70%")
        goal = 2 * used - used // 2 - 2 * used * 7 // 10
        assert plan.steps["predicted_bytes"].sum() >= goal - 1
        with pytest.raises(InputError, match="the disk size of node"):
            imf.prune_to(read_, "70%")


def test_what_the_inventory_does_not_know_is_kept():
    with imf.simulator.node(images=5, until=END) as node:
        inventory = imf.collect(node.address, cache=False)
        rows = inventory.images
        strange = pd.DataFrame(
            {
                "node": [rows["node"][0]] * 2,
                "namespace": [rows["namespace"][0]] * 2,
                "name": [rows["name"][0], "no:such"],
                "digest": ["sha256:old", "sha256:x"],
            }
        )
        plan = imf.prune(strange, inventory)
        assert plan.steps.empty
        assert plan.kept["reason"].tolist() == [
            "changed since: the inventory has another digest under this name",
            "not in the inventory: nothing is known about it",
        ]
        with pytest.raises(MissingColumn, match="prune needs the column 'name'"):
            imf.prune(rows[["node"]], inventory)
        blind = inventory.replace(
            images=rows.assign(used_by_digest=pd.array([None] * len(rows), dtype="boolean"))
        )
        assert set(imf.prune(rows, blind).kept["reason"]) >= {"its use is unknown"}
        assert imf.prune(rows, blind, keep_unknown=False, keep_used=False, keep_pinned=False).kept.empty


def test_a_saved_plan_is_read_back_and_others_are_refused(tmp_path):
    with imf.simulator.node(images=8, until=END) as node:
        inventory = imf.collect(node.address, cache=False)
        plan = imf.prune(inventory.images, inventory, undo_for=60)
        plan.save(tmp_path / "p")
        back = imf.open_plan(tmp_path / "p")
        pd.testing.assert_frame_equal(back.steps, plan.steps)
        pd.testing.assert_frame_equal(back.kept, plan.kept)
        pd.testing.assert_frame_equal(back.freed.blobs, plan.freed.blobs)
        assert (back.id, back.undo_for, back.freed.total_bytes) == (plan.id, 60, plan.freed.total_bytes)
        assert back.nodes == dict(plan.nodes)
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "plan.json").write_text("[]")
    with pytest.raises(SchemaError, match="is not a saved plan"):
        imf.open_plan(tmp_path / "junk")
    for spoil in (lambda file: file.write_bytes(b"PAR1"), Path.unlink):
        spoil(tmp_path / "p" / "freed_held.parquet")
        with pytest.raises(SchemaError, match="is an incomplete saved plan, make it again"):
            imf.open_plan(tmp_path / "p")
    with pytest.raises(InputError, match="undo_for '-1h' is not positive"):
        imf.prune(inventory.images, inventory, undo_for="-1h")


def test_names_are_shown_as_text():
    with imf.simulator.node(images=3, until=END) as node:
        inventory = imf.collect(node.address, cache=False)
        row = inventory.images.head(1)
        evil = row.assign(name=pd.Categorical(["<script>alert(1)</script>"]))
        plan = imf.prune(
            evil, inventory.replace(images=evil), keep_unknown=False, keep_used=False, keep_pinned=False
        )
        assert "<script>" not in plan._repr_html_()
        assert "&lt;script&gt;" in plan._repr_html_()


def test_the_help_of_the_command_lists_what_acts():
    from imgframe.cli import app

    said = CliRunner().invoke(app, ["--help"]).stdout
    assert all(verb in said for verb in ("prune", "apply", "tag", "df", "reclaim", "why"))
