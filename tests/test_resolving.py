"""resolve_digest, stale and irreplaceable against a real registry."""

import asyncio
import collections
import json

import pandas as pd
import pytest
from testbed import ctr_stores
from testbed.registries import SECRET, USER

import imgframe as imf
from imgframe import schema
from imgframe.errors import InsecureWarning, MissingColumn

NOWHERE = "sha256:" + "0" * 64


def inventory(*rows, platform="linux/amd64", stores=None):
    """Image records (node, name, digest, manifest digest, complete), all of one platform."""
    columns = {
        "node": [row[0] for row in rows],
        "namespace": ["default"] * len(rows),
        "name": [row[1] for row in rows],
        "digest": [row[2] for row in rows],
        "manifest_digest": [row[3] if len(row) > 3 else None for row in rows],
        "complete": [row[4] if len(row) > 4 else True for row in rows],
    }
    nodes = sorted({row[0] for row in rows})
    table = {
        "node": nodes,
        "platform": [platform] * len(nodes),
        "store_uuid": [(stores or {}).get(n) for n in nodes],
    }
    return imf.Inventory({"images": schema.table("images", columns), "nodes": schema.table("nodes", table)})


def digest_of(repository, tag):
    return ctr_stores.catalogue()[repository, tag].digest


def amd64_manifest():
    """What linux/amd64 finds in team/rich:1.0."""
    for entry in ctr_stores.catalogue()["team/rich", "1.0"].document["manifests"]:
        if entry.get("platform", {}).get("architecture") == "amd64":
            return entry["digest"]
    raise AssertionError("no such entry")


def test_digests_of_a_series_keep_its_index(registry):
    names = pd.Series(
        [f"{registry.host}/team/base:1", "Not A Name", f"{registry.host}/team/none:1"], index=[7, 8, 9]
    )
    found = imf.resolve_digest(names)
    assert found.dtype == "string"
    assert list(found.index) == [7, 8, 9]
    assert found[7] == digest_of("team/base", "1")
    assert found[[8, 9]].isna().all()
    whole = imf.resolve_digest(names, frame=True)
    assert list(whole.columns) == ["reference", "digest", "media_type", "size", "errors"]
    assert pd.isna(whole.errors[7])
    assert whole["size"].dtype == "Int64"
    assert whole["size"][7] == len(ctr_stores.catalogue()["team/base", "1"].blobs[found[7]])
    assert "must be lowercase" in whole.errors[8]
    assert whole.errors[9].endswith("not found")


def test_digests_of_a_list_a_frame_and_one_name(registry):
    name = f"{registry.host}/team/base:1"
    for references in (name, [name], pd.DataFrame({"name": [name]}), pd.Series([name], dtype="category")):
        assert list(imf.resolve_digest(references)) == [digest_of("team/base", "1")]
    assert list(imf.resolve_digest([name]).index) == [name]
    assert imf.resolve_digest([]).empty
    with pytest.raises(MissingColumn, match="'name'"):
        imf.resolve_digest(pd.DataFrame({"image": [name]}))


def test_each_name_is_asked_for_once(faulty_registry):
    faulty_registry.clear()
    names = [f"{faulty_registry.host}/team/base:1", f"{faulty_registry.host}/team/rich:1.0"] * 5
    assert imf.resolve_digest(names).notna().all()
    asked = collections.Counter(f"{one.method} {one.path}" for one in faulty_registry.requests)
    assert asked == {"HEAD /v2/team/base/manifests/1": 1, "HEAD /v2/team/rich/manifests/1.0": 1}


def test_within_a_running_loop(registry):
    async def inside():
        return imf.resolve_digest(f"{registry.host}/team/base:1").iloc[0]

    assert asyncio.run(inside()) == digest_of("team/base", "1")


def test_insecure_is_loud(registry):
    with pytest.warns(InsecureWarning):
        imf.resolve_digest(f"{registry.host}/team/base:1", insecure=True)


def test_stale(registry, basic_registry):
    host, private = registry.host, basic_registry.host
    inv = inventory(
        ("n1", f"{host}/team/rich:1.0", digest_of("team/rich", "1.0"), amd64_manifest()),
        ("n2", f"{host}/team/rich:1.0", NOWHERE, amd64_manifest()),
        ("n3", f"{host}/team/rich:1.0", NOWHERE, NOWHERE),
        ("n4", f"{host}/team/rich:1.0", NOWHERE, None),
        ("n1", f"{host}/team/none:1", NOWHERE),
        ("n1", f"{private}/team/rich:1.0", digest_of("team/rich", "1.0")),
        ("n1", NOWHERE, NOWHERE),
        ("n1", f"{host}/team/base@{digest_of('team/base', '1')}", digest_of("team/base", "1")),
        ("n1", f"{host}/team/arm:1.0", NOWHERE, amd64_manifest()),
    )
    found = imf.stale(inv)
    assert list(found.columns) == [
        "node",
        "namespace",
        "name",
        "local_digest",
        "remote_digest",
        "status",
        "reason",
    ]
    key = ["node", "name"]
    assert found[key].astype(str).equals(inv.images[key].reset_index(drop=True).astype(str))
    status = {
        (node, name): (state, reason)
        for node, name, state, reason in zip(
            found["node"], found["name"], found["status"], found["reason"], strict=True
        )
    }
    rich = f"{host}/team/rich:1.0"
    assert status["n1", rich][0] == "same"
    assert status["n2", rich] == ("cosmetic", "the manifest for linux/amd64 is the same")
    assert status["n3", rich][0] == "different"
    assert status["n4", rich][0] == "different"
    assert "the node's manifest is unknown" in status["n4", rich][1]
    assert status["n1", f"{host}/team/none:1"][0] == "missing"
    assert status["n1", f"{private}/team/rich:1.0"][0] == "unknown"
    assert "no basic auth credentials" in status["n1", f"{private}/team/rich:1.0"][1]
    assert status["n1", NOWHERE][0] == "unknown"
    assert status["n1", f"{host}/team/base@{digest_of('team/base', '1')}"][0] == "same"
    assert status["n1", f"{host}/team/arm:1.0"] == (
        "different",
        "the registry's index has nothing for linux/amd64",
    )
    rich_rows = found[found["name"] == rich]
    assert (rich_rows["remote_digest"] == digest_of("team/rich", "1.0")).all()


def test_stale_asks_once_for_the_whole_fleet(faulty_registry):
    faulty_registry.clear()
    name = f"{faulty_registry.host}/team/rich:1.0"
    inv = inventory(*((f"n{n}", name, NOWHERE, amd64_manifest()) for n in range(20)))
    assert set(imf.stale(inv)["status"]) == {"cosmetic"}
    assert sorted(one.method for one in faulty_registry.requests) == ["GET", "HEAD"]


def test_stale_with_an_index_that_cannot_be_read(faulty_registry):
    faulty_registry.clear()
    faulty_registry.add("GET .*/manifests/", status=404)
    inv = inventory(("n1", f"{faulty_registry.host}/team/rich:1.0", NOWHERE, amd64_manifest()))
    (row,) = imf.stale(inv).to_dict("records")
    assert row["status"] == "different"
    assert row["reason"].startswith("platforms were not compared: ")


def test_irreplaceable(registry, basic_registry):
    host, private = registry.host, basic_registry.host
    served, lost, twice, secret = (digest_of("team/base", "1"), *(f"sha256:{n}" + "0" * 63 for n in "123"))
    inv = inventory(
        ("n1", f"{host}/team/base:renamed", served),
        ("n1", f"{host}/team/base:lost", lost),
        ("n1", lost, lost),
        ("n1", f"{host}/team/base:twice", twice),
        ("n2", f"{host}/team/base:twice", twice),
        ("n3", f"{host}/team/base:twice", twice, None, False),
        ("n1", f"{private}/team/base:1", secret),
    )
    found = imf.irreplaceable(inv)
    assert list(found.columns) == ["node", "namespace", "name", "digest", "copies", "in_registry", "reason"]
    states = dict(zip(found["name"], found["in_registry"], strict=True))
    assert set(states) == {f"{host}/team/base:lost", lost, f"{private}/team/base:1"}
    assert states[lost] is False or not states[lost]
    assert pd.isna(states[f"{private}/team/base:1"])
    assert set(found["copies"]) == {1}
    more = imf.irreplaceable(inv, copies=2)
    assert sorted(more["node"][more["digest"] == twice]) == ["n1", "n2", "n3"]
    assert set(more["copies"][more["digest"] == twice]) == {2}
    assert served not in set(more["digest"])


def test_prune_keeps_what_cannot_be_pulled_again(registry):
    host, served = registry.host, digest_of("team/base", "1")
    inv = inventory(
        ("n1", f"{host}/team/base:1", served),
        ("n1", f"{host}/team/base:lost", NOWHERE),
        ("n1", "127.0.0.1:1/team/base:2", "sha256:1" + "0" * 63),
    )
    lifted = {"keep_pinned": False, "keep_used": False, "keep_unknown": False}
    assert len(imf.prune(inv.images, inv, **lifted).steps) == 3
    plan = imf.prune(inv.images, inv, require_remote=True, **lifted)
    assert list(plan.steps["name"]) == [f"{host}/team/base:1"]
    reasons = dict(zip(plan.kept["name"], plan.kept["reason"], strict=True))
    assert reasons[f"{host}/team/base:lost"].startswith("in no registry: ")
    assert reasons["127.0.0.1:1/team/base:2"].startswith("not known to be in a registry: ")
    assert "connection refused" in reasons["127.0.0.1:1/team/base:2"]
    told = imf.prune(inv.images, inv, require_remote={"timeout": 60.0}, **lifted)
    assert list(told.steps["name"]) == [f"{host}/team/base:1"]


def test_two_names_of_one_store_are_one_copy(registry):
    rows = [(node, f"{registry.host}/team/base:lost", NOWHERE) for node in ("a", "b")]
    assert imf.irreplaceable(inventory(*rows)).empty
    assert len(imf.irreplaceable(inventory(*rows, stores={"a": "one", "b": "one"}))) == 2


def login(folder, host, password):
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"username": USER, "password": password}
    (folder / "config.json").write_text(json.dumps({"auths": {host: entry}}))
    return folder


def test_credentials_are_used_and_not_shown(basic_registry, tmp_path, capfd):
    known = login(tmp_path, basic_registry.host, SECRET)
    name = f"{basic_registry.host}/team/base:1"
    whole = imf.resolve_digest([name, f"{basic_registry.host}/team/none:1"], docker_config=known, frame=True)
    assert whole["digest"].iloc[0] == digest_of("team/base", "1")
    wrong = login(tmp_path / "wrong", basic_registry.host, f"not-{SECRET}")
    refused = imf.resolve_digest(name, docker_config=wrong, frame=True)
    assert "401 Unauthorized" in refused.errors.iloc[0]
    printed = "".join([whole.to_string(), refused.to_string(), *capfd.readouterr()])
    assert SECRET not in printed
