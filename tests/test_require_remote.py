"""What no registry could give back is not deleted: when a plan is made, and again when it is applied; and the commands."""

import csv
import io
import json

import pandas as pd
import pytest
from testbed import ctr_stores
from testbed.clock import END
from testbed.registries import SECRET, USER
from typer.testing import CliRunner

import imgframe as imf
from imgframe import simulator
from imgframe.cli import app
from imgframe.errors import InputError

LIFTED = {"keep_pinned": False, "keep_used": False, "keep_unknown": False}


@pytest.fixture
def node(registry):
    """A simulated node with two images of the registry, one of them under a further name, and three of its own."""
    with simulator.node(images=3, until=END) as running:
        names = [f"{registry.host}/team/base:1", f"{registry.host}/team/rich:1.0"]
        imf.pull(names, running.address, namespace="default", via="client").apply(
            progress=False
        ).raise_for_errors()
        yield running.address, names


def read(address):
    return imf.collect(address, cache=False, progress=False)


def pulled(inventory, names):
    return inventory.images[inventory.images["name"].isin(names)]


def statuses(result):
    return dict(zip(result.steps["name"].astype(str), result.steps["status"], strict=True))


def test_what_vanished_from_the_registry_since_the_plan_is_refused(node, faulty_registry, tmp_path):
    address, names = node
    through = [name.replace(name.partition("/")[0], faulty_registry.host) for name in names]
    imf.pull(through, address, namespace="default", via="client").apply(progress=False).raise_for_errors()
    inventory = read(address)
    plan = imf.prune(pulled(inventory, through), inventory, require_remote=True)
    assert sorted(plan.steps["name"]) == sorted(through)
    base = ctr_stores.catalogue()["team/base", "1"].digest
    options = {row["name"]: json.loads(row["options"]) for row in plan.steps.to_dict("records")}
    proof = options[through[0]]["require_remote"]["reference"]
    assert proof.endswith(f"/team/base@{base}")
    plan.save(tmp_path / "plan")
    # the name that was found first is the registry's own: its store is asked, the proxy is not
    alone = imf.prune(
        pulled(inventory, through),
        inventory.replace(images=pulled(inventory, through)),
        require_remote=True,
    )
    assert faulty_registry.host in alone.steps["options"].iloc[0]
    alone.save(tmp_path / "alone")
    faulty_registry.clear()
    faulty_registry.add("(HEAD|GET) .*team/base/", status=404)
    faulty_registry.add("(HEAD|GET) .*team/rich/", status=403)
    result = imf.open_plan(tmp_path / "alone").apply(progress=False)
    messages = dict(zip(result.steps["name"], result.steps["message"], strict=True))
    assert set(result.steps["status"]) == {"refused"}
    assert messages[through[0]].startswith("no registry has it any more: ")
    assert messages[through[1]].startswith("whether a registry has it could not be learnt: ")
    assert all("plan again" in message for message in messages.values())
    assert len(pulled(read(address), through)) == 2
    assert result.observed_bytes == 0
    faulty_registry.clear()
    assert set(statuses(imf.open_plan(tmp_path / "alone").apply(progress=False)).values()) == {"done"}
    asked = [f"{one.method} {one.path}" for one in faulty_registry.requests]
    assert len(asked) == len(set(asked)) == 2, "each once"
    assert pulled(read(address), through).empty


def test_each_image_is_asked_for_once_for_all_nodes(faulty_registry):
    name = f"{faulty_registry.host}/team/base:1"
    with simulator.fleet(nodes=4, days=1, until=END) as fleet:
        imf.pull(name, fleet.nodes, namespace="default", via="client").apply(
            progress=False
        ).raise_for_errors()
        inventory = imf.collect(fleet.nodes, cache=False, progress=False)
        faulty_registry.clear()
        plan = imf.prune(pulled(inventory, [name]), inventory, require_remote=True)
        assert len(plan.steps) == 4
        plan.apply(progress=False).raise_for_errors()
    assert [one.method for one in faulty_registry.requests] == ["HEAD", "HEAD"]


def test_prune_to_reaches_its_target_with_what_can_be_pulled_again(node):
    address, names = node
    inventory = read(address)
    mine = pulled(inventory, names)
    freed = imf.reclaim(inventory, mine)
    target = freed.total_bytes - freed.garbage_bytes
    plan = imf.prune_to(inventory, target, require_remote=True, **LIFTED)
    assert sorted(plan.steps["name"]) == sorted(names)
    assert plan.steps["predicted_bytes"].sum() == target
    others = set(inventory.images["name"]) - set(names)
    assert set(plan.kept["name"]) == others
    assert plan.kept["reason"].str.match("in no registry: |not known to be in a registry: ").all()
    assert all("require_remote" in options for options in plan.steps["options"])
    anything = imf.prune_to(inventory, target, **LIFTED)
    assert not any("require_remote" in options for options in anything.steps["options"])
    plan.apply(progress=False).raise_for_errors()
    assert set(read(address).images["name"]) == others


def test_a_plan_holds_no_credentials(node, basic_registry, tmp_path):
    address, _ = node
    login = tmp_path / "config.json"
    login.write_text(json.dumps({"auths": {basic_registry.host: {"username": USER, "password": SECRET}}}))
    name = f"{basic_registry.host}/team/base:1"
    imf.pull(name, address, namespace="default", docker_config=login, via="client").apply(
        progress=False
    ).raise_for_errors()
    inventory = read(address)
    only = inventory.replace(images=pulled(inventory, [name]))
    blind = imf.prune(only.images, only, require_remote=True)
    assert blind.kept["reason"].str.startswith("not known to be in a registry: ").all()
    plan = imf.prune(only.images, only, require_remote={"docker_config": login, "hosts_dirs": [tmp_path]})
    plan.save(tmp_path / "plan")
    told = json.loads(plan.steps["options"].iloc[0])["require_remote"]
    assert told == {
        "hosts_dirs": [str(tmp_path)],
        "docker_config": str(login),
        "reference": f"{basic_registry.host}/team/base@{ctr_stores.catalogue()['team/base', '1'].digest}",
    }
    for file in (tmp_path / "plan").iterdir():
        assert SECRET.encode() not in file.read_bytes()
    with pytest.raises(InputError, match="a plan holds no credentials"):
        imf.prune(only.images, only, require_remote={"docker_config": {"auths": {}}})
    with pytest.raises(InputError, match="'insecur' is not a registry option"):
        imf.prune(only.images, only, require_remote={"insecur": True})
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{")
    refused = imf.open_plan(tmp_path / "plan").apply(progress=False, docker_config=wrong)
    assert refused.steps["message"].str.startswith("whether a registry has it could not be learnt: ").all()
    login.unlink()
    gone = imf.open_plan(tmp_path / "plan").apply(progress=False)
    assert set(gone.steps["status"]) == {"refused"}
    assert len(pulled(read(address), [name])) == 1


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_stale_as_a_command(node, registry, faulty_registry, tmp_path):
    address, names = node
    inventory = read(address)
    moved = pulled(inventory, names).copy()
    moved["digest"] = moved["digest"].astype(str)
    moved.loc[moved["name"] == names[1], "digest"] = "sha256:" + "0" * 64
    inventory.replace(images=moved).save(tmp_path / "saved")
    table = invoke("stale", "--from", tmp_path / "saved")
    assert table.exit_code == 0, table.stderr
    head, *rows = table.stdout.splitlines()
    assert head.split() == ["NAME", "LOCAL", "REMOTE", "STATUS", "WHY"]
    by_name = {row.split()[0]: row.split() for row in rows}
    base = ctr_stores.catalogue()["team/base", "1"].digest[7:19]
    assert by_name[names[0]][1:] == [base, base, "same"]
    assert by_name[names[1]][1:4] == [
        "0" * 12,
        ctr_stores.catalogue()["team/rich", "1.0"].digest[7:19],
        "cosmetic",
    ]
    found = json.loads(invoke("stale", "--from", tmp_path / "saved", "--format", "json").stdout)
    frame = imf.stale(inventory.replace(images=moved))
    assert [row["remote_digest"] for row in found] == frame["remote_digest"].tolist()
    rows = list(
        csv.DictReader(io.StringIO(invoke("stale", "--from", tmp_path / "saved", "--format", "csv").stdout))
    )
    assert [row["status"] for row in rows] == [row["status"] for row in found] == frame["status"].tolist()
    assert invoke("stale", "--from", tmp_path / "saved", "-n", "elsewhere").stdout.splitlines() == [
        "NAME    LOCAL    REMOTE    STATUS    WHY"
    ]
    words = ["stale", "--from", str(tmp_path / "saved")]
    told = CliRunner().invoke(app, words, env={"CONTAINERD_NAMESPACE": "elsewhere"})
    assert told.stdout.count("\n") == 1, "as the other commands, which honour it with --from too"
    live = invoke("stale", "-H", address, "-n", "default", "--format", "json")
    assert {row["name"]: row["status"] for row in json.loads(live.stdout)}[names[0]] == "same"


def test_a_registry_without_an_answer_is_exit_code_3(node, faulty_registry, tmp_path):
    address, names = node
    inventory = read(address)
    mine = pulled(inventory, names[:1])
    silent = mine.assign(name=f"{faulty_registry.host}/team/base:1")
    bare = mine.assign(name="sha256:" + "1" * 64)
    faulty_registry.add("team/base", status=403)
    inventory.replace(images=silent).save(tmp_path / "silent")
    inventory.replace(images=bare).save(tmp_path / "bare")
    told = invoke("stale", "--from", tmp_path / "silent")
    assert told.exit_code == 3
    assert " unknown " in told.stdout
    assert invoke("stale", "--from", tmp_path / "bare").exit_code == 0, (
        "no registry can know it: none was asked"
    )
    told = invoke("irreplaceable", "--from", tmp_path / "silent")
    assert told.exit_code == 3
    assert told.stdout.splitlines()[1].split()[3] == "?"
    told = invoke("irreplaceable", "--from", tmp_path / "bare", "--format", "json")
    assert told.exit_code == 0
    (row,) = json.loads(told.stdout)
    assert (row["in_registry"], row["copies"], row["reason"]) == (False, 1, "it has no name in a registry")


def test_irreplaceable_as_a_command(node, tmp_path):
    address, names = node
    inventory = read(address)
    images = pulled(inventory, names)
    lost = images.head(1).assign(
        name=images["name"].iloc[0].replace("team/base", "team/none"), digest="sha256:" + "2" * 64
    )
    both = pd.concat([images.astype({"name": str, "digest": str}), lost.astype({"name": str, "digest": str})])
    inventory.replace(images=both).save(tmp_path / "saved")
    told = invoke("irreplaceable", "--from", tmp_path / "saved")
    assert told.exit_code == 0, told.output
    head, row = told.stdout.splitlines()
    assert head.split()[:4] == ["NAME", "DIGEST", "COPIES", "IN"]
    assert row.split()[:4] == [lost["name"].iloc[0], "2" * 12, "1", "no"]
    assert invoke("irreplaceable", "--from", tmp_path / "saved", "-k", "0").stdout.count("\n") == 1
    assert "expected table, json or csv" in str(
        invoke("stale", "--from", tmp_path / "saved", "--format", "xml").exception
    )


def test_prune_with_these_options_as_a_command(node, tmp_path):
    address, names = node
    words = ["prune", "--all", "-H", address, "-A"]
    made = invoke(*words, "--require-remote", "--no-keep-pinned", "--plan", tmp_path / "plan")
    assert made.exit_code == 0, made.output
    plan = imf.open_plan(tmp_path / "plan")
    assert set(plan.steps["name"]) <= set(names)
    assert all("require_remote" in one for one in plan.steps["options"])
    assert "kept:" in made.stdout
    assert invoke(*words, "--to", "1", "--require-remote", "--plan", tmp_path / "to").exit_code == 0
    assert set(imf.open_plan(tmp_path / "to").steps["name"]) <= set(names)
    theirs = invoke(*words, "--dialect", "nerdctl", "--plan", tmp_path / "nerdctl")
    assert theirs.exit_code == 0, theirs.output
    inventory = read(address)
    from imgframe.nerdctl.selection import prune_candidates

    candidates = prune_candidates(inventory, all=True)
    assert imf.open_plan(tmp_path / "nerdctl").steps["name"].tolist() == candidates["name"].tolist()
    refused = invoke(*words, "--dialect", "nerdctl", "--to", "80%")
    assert "--to chooses by imgframe's rules" in str(refused.exception)
    assert "--insecure-registry need --require-remote" in str(invoke(*words, "--insecure-registry").exception)
