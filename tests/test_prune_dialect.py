"""prune with nerdctl's rules: what the real ``nerdctl image prune`` took of recorded stores, and what daemons lose."""

import functools
from collections import Counter

import pandas as pd
import pytest
from test_filter_vectors import quoted
from test_prune import fill, mine, names_in, read
from testbed.clock import END
from testbed.filter_stores import STORES, lines
from testbed.filter_stores import inventory as recorded_inventory
from testbed.recorded_stores import recorded

import imgframe as imf
from imgframe import simulator
from imgframe.errors import FilterError, InputError
from imgframe.filters import split_flags
from imgframe.nerdctl.selection import prune_candidates

NAMED = "in use: a container has exactly this name"
TAGGED = "not dangling: nerdctl image prune deletes it only with --all"


def pruned(inventory, filters, everything, now=None):
    """The plan of `nerdctl image prune [--all] --filter …`, or Go's words."""
    try:
        clauses = imf.parse_filters(split_flags(filters)).clauses("image prune", now=now)
        rows = imf.apply_filters(inventory.images, *clauses)
    except FilterError as error:
        return error.go
    return imf.prune(rows, inventory, dialect="nerdctl", all=everything)


EXPECTED = {
    "store-1": {"prune": 107, "cli_prune": 7},
    "store-2": {"prune": 94},
    "store-3": {"prune": 100, "cli_prune": 7},
    "store-4": {"prune": 100, "cli_prune": 7},
}


@functools.cache
def as_recorded(store):
    """The store as it was recorded, times too, with the number of containers of each name."""
    inventory = recorded_inventory(store)
    users = Counter(inventory.containers["image"])
    images = inventory.images
    return inventory.replace(images=images.assign(containers=[users[name] for name in images["name"]]))


@pytest.mark.parametrize("store", STORES)
def test_the_steps_are_what_the_real_program_took(store):
    dump, counted = recorded(store), Counter()
    with simulator.from_dump(dump) as served:
        inventory = imf.collect(served.address, usage="none", cache=False)
    names = [image["name"] for image in dump["images"]]
    assert inventory.images["name"].tolist() == names
    for case in lines("store_filters.jsonl.gz"):
        if case["store"] != store or case["kind"] not in {"prune", "cli_prune"}:
            continue
        if case["kind"] == "prune":
            filters, everything, now = quoted(case["filters"]), case["all"], case["now_ns"]
            wanted = case["error"] or [names[at] for at in case["kept"]]
        else:
            words = case["arguments"]
            filters = [words[at + 1] for at, word in enumerate(words) if word in {"--filter", "-f"}]
            everything, now = "--all" in words or "-a" in words, None
            wanted = [names[at] for at in sorted(case["removed"])]
        # one record of store-4 was created at Go's zero time, which a collection takes for no time
        asked = as_recorded(store) if any("until=" in each for each in filters) else inventory
        plan = pruned(asked, filters, everything, now)
        if case["kind"] == "cli_prune" and case["exit"]:
            assert isinstance(plan, str), case
            assert plan in case["stderr"][0], case
        else:
            assert (plan if isinstance(plan, str) else plan.steps["name"].tolist()) == wanted, case
        if not isinstance(plan, str):
            assert set(plan.kept["reason"]) <= {NAMED if everything else TAGGED}, case
            assert plan.freed.arrow("missing").num_rows == 0
        counted[case["kind"]] += 1
    print(f"store_filters.jsonl.gz, {store}: {dict(counted)}")
    assert counted == EXPECTED[store]


def test_its_rules_are_not_ours_and_each_can_be_chosen():
    with simulator.node(images=12, until=END) as node:
        inventory = imf.collect(node.address, cache=False)
    images = inventory.images
    images["containers"] = pd.array([3, 0, 0, *[0] * (len(images) - 3)], dtype="Int64")
    images["used_by_digest"] = pd.array([True, True, *[False] * (len(images) - 2)], dtype="boolean")
    images["pinned"] = pd.array([False, False, True, *[False] * (len(images) - 3)], dtype="boolean")
    images["digest"] = [f"sha256:{at:064d}" for at in range(len(images))]
    inventory = inventory.replace(images=images)
    named, by_digest, pinned = images["name"].astype(str)[:3]

    def kept(**options):
        plan = imf.prune(images, inventory, dialect="nerdctl", all=True, **options)
        return dict(zip(plan.kept["name"].astype(str), plan.kept["reason"], strict=True))

    assert kept() == {named: NAMED}
    assert kept(keep_pinned=True) == {named: NAMED, pinned: "pinned"}
    assert kept(keep_used=True) == dict.fromkeys([named, by_digest], "in use by a container")
    assert kept(keep_used=False) == {}
    reasons = imf.prune(images, inventory, dialect="nerdctl", all=True).steps.set_index("name")["reason"]
    says = "nerdctl image prune --all deletes it"
    assert reasons[by_digest] == f"{says}; imgframe would keep it: in use by a container"
    assert reasons[pinned] == f"{says}; imgframe would keep it: pinned"
    assert set(reasons.drop([by_digest, pinned])) == {says}
    ours = imf.prune(images, inventory)
    assert set(ours.kept["name"]) == {named, by_digest, pinned}
    unknown = images.assign(containers=pd.array([pd.NA, *[0] * (len(images) - 1)], dtype="Int64"))
    inventory = inventory.replace(images=unknown)
    assert kept() == {named: "its use is unknown"}
    assert kept(keep_unknown=False) == {}
    unread = {"node": [images["node"][0]], "stage": ["containers"], "message": ["refused"]}
    inventory = inventory.replace(errors=pd.DataFrame(unread))
    reasons = Counter(kept().values())
    assert reasons == {
        "its use is unknown": 1,
        "containers could not be read, so its use is unknown": len(images) - 1,
    }


def test_a_dialect_that_does_not_exist_and_a_flag_without_one():
    empty = imf.Inventory({})
    with pytest.raises(InputError, match="dialect 'docker' is unknown; expected one of imgframe, nerdctl"):
        imf.prune(empty.images, empty, dialect="docker")
    with pytest.raises(InputError, match="all=True needs dialect='nerdctl'"):
        imf.prune(empty.images, empty, all=True)


def test_daemons_lose_what_nerdctl_would_take(containerd):
    namespace = containerd.new_namespace("theirs")
    fill(containerd, namespace)
    named, other, late, *rest = sorted(names_in(containerd, namespace))
    digests = mine(read(containerd), namespace).set_index("name")["digest"].astype(str)
    bare = f"sha256:{'0' * 63}1"
    containerd.ctr("images", "tag", other, bare, namespace=namespace)
    containerd.ctr("images", "tag", named, "registry.example/alias:1", namespace=namespace)
    containerd.ctr("containers", "create", named, f"one-{namespace}", namespace=namespace)
    containerd.ctr("containers", "create", bare, f"two-{namespace}", namespace=namespace)
    containerd.ctr("images", "label", rest[0], "io.cri-containerd.pinned=pinned", namespace=namespace)
    inventory = read(containerd)
    rows = mine(inventory, namespace)

    dangling = imf.prune(rows, inventory, dialect="nerdctl")
    assert dangling.steps["name"].tolist() == [bare], "used, and taken all the same"
    assert set(dangling.kept["reason"]) == {TAGGED}
    dangling.apply().raise_for_errors()
    assert bare not in names_in(containerd, namespace)

    inventory = read(containerd)
    rows = mine(inventory, namespace)
    assert rows["name"].tolist() == prune_candidates(inventory, all=True).pipe(
        lambda found: sorted({*found.loc[found["namespace"] == namespace, "name"], named})
    )
    plan = imf.prune(rows, inventory, dialect="nerdctl", all=True)
    assert plan.kept["name"].tolist() == [named]
    # by now a container has the name of one, and another name of the image of a second
    containerd.ctr("images", "tag", rest[1], "registry.example/second:1", namespace=namespace)
    containerd.ctr("containers", "create", late, f"three-{namespace}", namespace=namespace)
    containerd.ctr(
        "containers", "create", "registry.example/second:1", f"four-{namespace}", namespace=namespace
    )
    result = plan.apply()
    refused = result.failed.set_index("name")["message"]
    twins = {name for name in rest if digests[name] == digests[late]}  # other names of one image are nobody's
    assert refused.to_dict() == {late: f"container three-{namespace} now uses it"}
    assert names_in(containerd, namespace) == {named, late, "registry.example/second:1"}
    assert twins <= set(result.steps.loc[result.steps["status"] == "done", "name"])
