"""Reports: the numbers are those of the public functions, the page is harmless and whole, budgets are kept or not."""

import base64
import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pandas as pd
import pyarrow.parquet as pq
import pytest
from testbed.clock import END

import imgframe as imf
from imgframe import report, schema, simulator
from imgframe.errors import InputError
from imgframe.report.budget import check
from imgframe.report.facts import gather

DAY = 86_400 * 10**9
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "%s%n%(x)s{0}",
    "\x1b[31mred\x00\r\n",
    "../../etc/passwd",
    '=HYPERLINK("http://evil.example")',
    "</style></script><svg onload=alert(1)>",
    "\u202egnp.exe",
    "$\\frac{1}{0$ 名前",
    "' onmouseover='alert(1)",
    "file:///etc/passwd",
    "a" * 600,
]


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A dataset of six collections of three simulated nodes, read over gRPC."""
    root = tmp_path_factory.mktemp("history")
    for at, fleet in simulator.relive(days=30, nodes=3, every=6, until=END):
        inventory = imf.collect(fleet.nodes, cache=root / "cache.sqlite", progress=False)
        imf.dataset.append(root / "dataset", simulator.dated(inventory, at))
    return imf.open_dataset(root / "dataset")


@pytest.fixture(scope="module")
def inventory(history):
    return history.at()


@pytest.fixture(scope="module")
def written(history, tmp_path_factory):
    """The report of the dataset, and its report.json."""
    made = report.write(history, tmp_path_factory.mktemp("out") / "report")
    return made, json.loads((made.path / "report.json").read_text())


class Page(HTMLParser):
    """Every element with its attributes, and the text of scripts."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.scripts, self.text, self._in = [], [], [], None
        self.feed((path / "index.html").read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        (self.scripts if self._in == "script" else self.text).append(data)

    def values(self, *names):
        return [attrs[name] for _, attrs in self.elements for name in names if attrs.get(name)]


def files(path):
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())


def table(made, name):
    return pq.read_table(made.path / "tables" / f"{name}.parquet").to_pandas()


def test_totals_equal_what_the_public_functions_say(written, inventory, history):
    made, told = written
    totals = told["totals"]
    assert totals == made.totals
    unused = imf.get_unused_images(inventory)
    plan = imf.prune(unused, inventory)
    assert totals["reclaimable_bytes"] == plan.freed.total_bytes > 0
    assert totals["reclaimable_content_bytes"] == plan.freed.content_bytes
    assert totals["reclaimable_snapshot_bytes"] == plan.freed.snapshot_bytes
    assert totals["reclaimable_images"] == len(plan.steps)
    assert totals["kept_images"] == len(plan.kept) > 0
    assert totals["unused_images"] == len(unused)
    assert totals["unused_bytes"] == imf.reclaim(inventory, unused).total_bytes
    assert totals["held_bytes"] == plan.freed.held["size"].sum()
    assert totals["duplicate_bytes"] == imf.capacity.duplicates(inventory)["duplicate_bytes"].sum() > 0
    parts = imf.reclaiming.breakdown(inventory).groupby("part", observed=True)["size"].sum()
    assert totals["total_bytes"] == parts["total"]
    assert totals["orphan_bytes"] == parts["orphans"] == imf.orphans(inventory)["size"].sum()
    assert totals["image_bytes"] + totals["container_bytes"] + totals["orphan_bytes"] == totals["total_bytes"]
    blobs = inventory.blobs.drop_duplicates(["node", "digest"])["size"].sum()
    assert totals["content_bytes"] == blobs
    assert totals["snapshot_bytes"] == inventory.snapshots["size"].sum()
    assert (totals["nodes"], totals["image_records"]) == (3, len(inventory.images))
    assert totals["image_digests"] == inventory.images["digest"].nunique()
    assert totals["collections"] == len(history.collections) == 5
    soonest = imf.capacity.forecast(history)["days_to_full"].min()
    assert totals["soonest_full_days"] == (None if pd.isna(soonest) else round(soonest, 2))


def test_tables_equal_what_the_public_functions_say(written, inventory, history):
    made, _ = written

    def same(name, wanted, **how):
        found = table(made, name)
        assert list(found.columns) == list(wanted.columns)
        plain = [
            frame.astype("object").where(frame.notna(), None).to_numpy().tolist() for frame in (found, wanted)
        ]
        assert plain[0] == plain[1]

    same("growth", imf.capacity.growth(history))
    same("forecast", imf.capacity.forecast(history))
    same("duplicates", imf.capacity.duplicates(inventory))
    same("orphans", imf.orphans(inventory))
    same("errors", inventory.errors)
    assert len(table(made, "images")) == len(inventory.images)
    repositories = table(made, "repositories")
    assert repositories["share_bytes"].sum() == made.totals["total_bytes"]
    nodes = table(made, "nodes").set_index("node")
    taken = imf.capacity.by_node(inventory).dropna(subset=["node"]).set_index("node")
    assert nodes["reclaimable_bytes"].to_dict() == taken["reclaimable_bytes"].to_dict()
    assert nodes["content_bytes"].sum() == made.totals["content_bytes"]


def test_waterfall_goes_from_before_to_after(written):
    made, _ = written
    steps = table(made, "waterfall")
    freed = -steps.loc[steps["kind"] == "freed", "bytes"].sum()
    assert freed == made.totals["reclaimable_content_bytes"] + made.totals["reclaimable_snapshot_bytes"]
    assert steps["bytes"].iloc[0] - freed == steps["bytes"].iloc[-1]


def test_changes_are_the_diffs_of_consecutive_collections(written, history):
    made, _ = written
    states = [history.at(pd.Timestamp(one.collected_at, unit="ns", tz="UTC")) for one in history.collections]
    wanted = Counter()
    for old, new in itertools.pairwise(states):
        wanted.update(imf.diff(old, new).changes["change"].astype(str))
    assert Counter(table(made, "changes")["change"]) == wanted
    assert wanted["added"] > 0


def test_every_link_leads_to_a_file_and_nothing_to_a_network(written):
    made, told = written
    page = Page(made.path)
    ids = set(page.values("id"))
    for link in page.values("href"):
        assert link[1:] in ids if link.startswith("#") else (made.path / link).is_file(), link
    assert page.values("src", "srcset")
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.values("src", "srcset"))
    for figure in told["figures"].values():
        assert (made.path / figure["png"]).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert b"<svg" in (made.path / figure["svg"]).read_bytes()
        assert figure["table"] in told["tables"]
    for name, about in told["tables"].items():
        lines = pd.read_csv(made.path / about["csv"], dtype=str)
        assert pq.read_metadata(made.path / about["parquet"]).num_rows == about["rows"] == len(lines), name
    listed = {about[kind] for about in told["tables"].values() for kind in ("csv", "parquet")}
    listed |= {about[kind] for about in told["figures"].values() for kind in ("png", "svg")}
    assert set(files(made.path)) == listed | {"index.html", "report.json"}


def test_the_numbers_behind_every_figure_are_beside_it_and_tables_can_be_reached_by_keyboard(written):
    made, told = written
    page = Page(made.path)
    links = page.values("href")
    for figure in told["figures"].values():
        for file in (
            figure["png"],
            figure["svg"],
            *(f"tables/{figure['table']}.{kind}" for kind in ("csv", "parquet")),
        ):
            assert file in links
    regions = [attrs for tag, attrs in page.elements if attrs.get("role") == "region"]
    grids = [tag for tag, attrs in page.elements if tag == "table" and attrs.get("class") != "rules"]
    assert len(regions) == len(grids) > 5
    assert all(one["tabindex"] == "0" and one["aria-label"] for one in regions)
    assert all(attrs.get("scope") in {"col", "row"} for tag, attrs in page.elements if tag == "th")
    alts = [attrs["alt"] for tag, attrs in page.elements if tag == "img"]
    assert len(alts) == len(told["figures"]) == len(set(alts))
    largest = table(made, "repositories").sort_values("share_bytes", ascending=False).iloc[0]
    words = f"{largest['repository']} {imf.inventory.human_bytes(largest['share_bytes'], 3)}"
    assert sum(words in alt for alt in alts) == 2, "the bars and the rectangles are told in words too"
    steps = table(made, "waterfall")["step"]
    assert any(all(step in alt for step in steps) for alt in alts)


def test_a_store_that_could_not_be_read_whole_makes_an_upper_bound(inventory, written, tmp_path):
    made, told = written
    assert told["totals"]["reclaimable_is_upper_bound"] is False
    assert "exact to the byte" in " ".join(Page(made.path).text)
    node = inventory.nodes["node"].iloc[0]
    lost = {"node": [node], "namespace": ["default"], "stage": ["leases"], "code": ["UNAVAILABLE"]}
    less = report.write(inventory.replace(errors=schema.table("errors", lost)), tmp_path / "less")
    text = " ".join(Page(less.path).text)
    assert less.totals["reclaimable_is_upper_bound"] is True
    assert "at most: not all stores could be read" in text
    assert f"at most {less.totals['reclaimable_bytes']:,} bytes" in text


def test_the_policy_allows_our_script_alone(written):
    page = Page(written[0].path)
    (policy,) = [attrs["content"] for tag, attrs in page.elements if "http-equiv" in attrs]
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_the_page_shows_the_numbers(written):
    made, _ = written
    text = " ".join(Page(made.path).text)
    for name in ("reclaimable_bytes", "image_bytes", "orphan_bytes"):
        assert f"{made.totals[name]:,} bytes" in text
    assert "more in" in text


def strange(words):
    """An inventory in which ``words`` stand wherever a stranger's text can."""
    count = len(words)
    digests = [f"sha256:{at:064x}" for at in range(count)]
    here = {"node": words, "namespace": words}
    return imf.Inventory(
        {
            "nodes": schema.table("nodes", {"node": words, "collected_at": [10**18] * count, "platform": words}),
            "images": schema.table(
                "images",
                {
                    **here,
                    **dict.fromkeys(("name", "domain", "repository", "tag", "media_type", "platform"), words),
                    "digest": digests, "created_at": [10**18 - DAY] * count, "unique_size": range(count),
                    "shared_size": [1] * count, "containers": [0] * count, "used_by_digest": [False] * count,
                    "pinned": [False] * count, "content_present_size": [7] * count,
                },
            ),
            "blobs": schema.table("blobs", {**here, "digest": digests, "size": [9] * count, "created_at": [1] * count}),
            "snapshots": schema.table("snapshots", {**here, "snapshotter": words, "key": words, "parent": [""] * count}),
            "ingests": schema.table("ingests", {**here, "ref": words, "offset": [5] * count, "started_at": [1] * count}),
            "errors": schema.table("errors", {**here, **dict.fromkeys(("stage", "subject", "code", "message"), words)}),
        }
    )  # fmt: skip


def test_hostile_names_are_text_and_nothing_else(tmp_path):
    evil = report.write(strange(HOSTILE), tmp_path / "evil").path
    good = report.write(strange([f"word-{at}" for at in range(len(HOSTILE))]), tmp_path / "good").path
    pages = Page(evil), Page(good)
    shapes = [
        Counter((tag, tuple(sorted(set(attrs) - {"title"}))) for tag, attrs in page.elements)
        for page in pages
    ]
    assert shapes[0] == shapes[1]
    assert pages[0].scripts == pages[1].scripts
    links = [sorted(page.values("href")) for page in pages]
    assert links[0] == links[1]
    assert files(evil) == files(good)
    text = "".join(pages[0].text)
    assert f"{len(HOSTILE)} snapshots of unknown size not counted" in text
    assert "<script>alert(1)</script>" in text
    assert "{{ 7 * 7 }}{% raw %}" in text
    assert not set(text) & {"\x1b", "\x00", "\u202e"}
    for file in evil.glob("tables/*.csv"):
        cells = pd.read_csv(file, dtype=str, keep_default_na=False).to_numpy().ravel()
        assert not [cell for cell in cells if cell[:1] in "=+-@" and not cell.lstrip("-").isdigit() and cell]
    exact = pq.read_table(evil / "tables" / "images.parquet")["name"].to_pylist()
    assert sorted(exact) == sorted(HOSTILE)
    for file in evil.glob("charts/*.svg"):
        elements = list(ET.parse(file).iter())
        assert not [
            each for each in elements if each.tag.rpartition("}")[2] in {"script", "a", "foreignObject"}
        ]
        assert not [key for each in elements for key in each.attrib if key.lower().startswith("on")]


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return report.write(imf.Inventory({}), tmp_path_factory.mktemp("empty") / "report")


def test_an_empty_inventory_gives_a_whole_report(empty):
    assert {value for name, value in empty.totals.items() if name.endswith("_bytes")} == {0}
    text = " ".join(Page(empty.path).text)
    assert "Container images on 0 nodes" in text
    assert "Nothing was collected." in text
    assert len(list((empty.path / "charts").glob("*.png"))) == 7


def test_six_hundred_repositories_fit_on_the_page(tmp_path):
    count = 600
    names = [f"registry.example/team-{at % 9}/service-{at}" for at in range(count)]
    digests = [f"sha256:{at:064x}" for at in range(count)]
    here = {"node": ["a"] * count, "namespace": ["default"] * count}
    sizes = [1000 + at for at in range(count)]
    inventory = imf.Inventory(
        {
            "nodes": schema.table("nodes", {"node": ["a"], "collected_at": [10**18]}),
            "images": schema.table("images", {**here, "name": names, "repository": names, "digest": digests}),
            "blobs": schema.table("blobs", {**here, "digest": digests, "size": sizes}),
        }
    )
    made = report.write(inventory, tmp_path / "report")
    assert len(table(made, "repositories").dropna(subset=["repository"])) == count
    assert made.totals["total_bytes"] == sum(sizes)
    rows = [attrs for tag, attrs in Page(made.path).elements if tag == "tr"]
    assert len(rows) < 200
    assert "581 more in" in " ".join(Page(made.path).text)


def test_a_full_disk_leaves_the_older_report_as_it_was(empty, tmp_path):
    shutil.copytree(empty.path, tmp_path / "report")
    before = {name: (tmp_path / "report" / name).read_bytes() for name in files(tmp_path / "report")}
    program = (
        "import resource, sys, imgframe as imf\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "try:\n    imf.report.write(imf.Inventory({}), sys.argv[1])\n"
        "except OSError as error:\n    print('OSError', error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "report")], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("OSError 27"), done
    assert {name: (tmp_path / "report" / name).read_bytes() for name in files(tmp_path / "report")} == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["report"]


def test_the_same_facts_give_the_same_bytes_in_the_place_of_the_older_report(empty, tmp_path):
    shutil.copytree(empty.path, tmp_path / "report")
    (tmp_path / "report" / "charts" / "old.png").write_text("from before")
    again = report.write(imf.Inventory({}), tmp_path / "report").path
    assert files(again) == files(empty.path)
    for name in files(again):
        assert (again / name).read_bytes() == (empty.path / name).read_bytes(), name


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(InputError, match="is not a report of imgframe"):
        report.write(imf.Inventory({}), tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["precious"]


def rules(tmp_path, text):
    (tmp_path / "rules.toml").write_text("[budget]\n" + text)
    return tmp_path / "rules.toml"


def verdicts(source, tmp_path, text):
    """The rules by name as kept or not, and those that are not."""
    checks = check(report.open_budget(rules(tmp_path, text)), gather(source))
    return {one.rule: one.kept for one in checks}, [one for one in checks if not one.kept]


def test_each_rule_is_kept_up_to_its_limit_and_broken_beyond(history, inventory, written, tmp_path):
    totals = written[0].totals
    images = inventory.images
    now = inventory.nodes["collected_at"].max()
    oldest = int((now - images["created_at"].min()).total_seconds())
    (tmp_path / "names.txt").write_text(f"# a comment\n{images['name'].iloc[0]}\n")
    named = int((images["name"] == images["name"].iloc[0]).sum())
    base = f"""orphans = {totals["orphan_bytes"]}
image_age = "{oldest + 1}s"
irreplaceable = {named}
irreplaceable_list = "names.txt"
errors = {totals["errors"]}
"""
    kept, _ = verdicts(history, tmp_path, base + f"waste = {totals['reclaimable_bytes']}\n")
    assert kept == dict.fromkeys(("waste", "orphans", "image_age", "irreplaceable", "errors"), True)
    tight = base.replace(f"{oldest + 1}s", f"{oldest - 3600}s").replace(
        f"irreplaceable = {named}", f"irreplaceable = {named - 1}"
    )
    kept, broken = verdicts(history, tmp_path, tight + f"waste = {totals['reclaimable_bytes'] - 1}\n")
    assert [one.rule for one in broken] == ["waste", "image_age", "irreplaceable"]
    assert kept["errors"]
    assert [example.endswith(images["name"].iloc[0]) for example in broken[2].examples] == [True] * named


def test_days_until_full_needs_a_history_and_does_not_pass_what_nobody_knows(tmp_path):
    nodes = {
        "growing": (10**11, [9 * 10**10 - day * 10**9 for day in range(10)]),
        "blind": (None, [None] * 10),
    }
    root = tmp_path / "dataset"
    for day in range(10):
        table_ = schema.table(
            "nodes",
            {
                "node": list(nodes),
                "collected_at": [10**18 + day * DAY] * 2,
                "disk_total": [total for total, _ in nodes.values()],
                "disk_free": [free[day] for _, free in nodes.values()],
            },
        )
        imf.dataset.append(root, imf.Inventory({"nodes": table_}))
    history = imf.open_dataset(root)
    left = imf.capacity.forecast(history).set_index("node")["days_to_full"]["growing"]
    assert left == pytest.approx(81, abs=0.1)
    _, broken = verdicts(history, tmp_path, "days_until_full = 80")
    assert broken[0].examples == ("blind",)
    _, broken = verdicts(history, tmp_path, "days_until_full = 82")
    assert set(broken[0].examples) == {"growing", "blind"}
    with pytest.raises(InputError, match="days_until_full needs a history"):
        verdicts(history.at(), tmp_path, "days_until_full = 80")


def test_a_disk_that_is_full_and_a_node_that_was_never_read_keep_no_rule(tmp_path):
    for day in range(6):
        rows = {
            "node": ["full", "gone"],
            "collected_at": [10**18 + day * DAY] * 2,
            "status": ["ok", "failed"],
        }
        rows |= {"disk_total": [10**9, None], "disk_free": [0, None]}
        imf.dataset.append(tmp_path / "dataset", imf.Inventory({"nodes": schema.table("nodes", rows)}))
    _, broken = verdicts(imf.open_dataset(tmp_path / "dataset"), tmp_path, "days_until_full = 1")
    assert broken[0].examples == ("full", "gone")
    assert broken[0].words.startswith("1 node is full in less than 1 day; unknown for 1")
    rows |= {"collected_at": [10**18 + 9 * DAY] * 2, "status": ["failed"] * 2, "disk_free": [None] * 2}
    imf.dataset.append(tmp_path / "dataset", imf.Inventory({"nodes": schema.table("nodes", rows)}))
    facts = gather(imf.open_dataset(tmp_path / "dataset"))
    assert facts.totals["nodes_failed"] == 2, "what stands of the full one is older"
    states = facts.tables["nodes"].set_index("node")["status"].to_dict()
    assert states == {"full": "ok", "gone": "failed"}


def test_an_unknown_age_is_not_young(tmp_path):
    nodes = schema.table("nodes", {"node": ["a"], "collected_at": [10**18]})
    images = schema.table("images", {"node": ["a"], "name": ["x"], "built_at": [None]})
    kept, broken = verdicts(imf.Inventory({"nodes": nodes, "images": images}), tmp_path, 'build_age = "1h"')
    assert kept == {"build_age": False}
    assert "the age of 1 more is unknown" in broken[0].words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("waste = -1", "expected bytes"),
        ("waste = true", "expected bytes"),
        ('waste = "5 apples"', "expected bytes"),
        ('image_age = "3 fortnights"', "image_age"),
        ("image_age = 3", "Go duration"),
        ("wast = 1", "unknown rule 'wast'"),
        ("irreplaceable = 0", "go together"),
        ("errors = 1.5", "whole number"),
        ('irreplaceable = 0\nirreplaceable_list = "nowhere"', "cannot be read"),
        ("[other]", "one table"),
        ("waste =", "cannot be read"),
    ],
)
def test_a_budget_that_cannot_be_read_says_why(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        report.open_budget(rules(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "size"),
    [("50GB", 50 * 10**9), ("1.5 GiB", 1_610_612_736), ("0B", 0), ("7kb", 7000), ("0.1TB", 10**11), (12, 12)],
)
def test_bytes_are_read_with_their_units(text, size):
    assert report.budget.read_bytes(text) == size


def command(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "imgframe.cli", "report", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_writes_the_report_and_tells_the_budget_by_its_exit_code(inventory, tmp_path):
    saved = inventory.save(tmp_path / "saved")
    code, out, err = command(saved, "-o", tmp_path / "out", "--budget", rules(tmp_path, "waste = 0"))
    assert (code, "report in" in out) == (5, True)
    assert "budget: waste: unused images take" in err
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (told["source"], told["kept"], told["budget"][0]["rule"]) == ("inventory", False, "waste")
    text = " ".join(Page(tmp_path / "out").text)
    assert "violated" in text
    assert told["budget"][0]["words"] in text
    code, _, err = command(tmp_path, "-o", tmp_path / "out2")
    assert code == 1
    assert "neither a saved inventory" in err
    assert not (tmp_path / "out2").exists()
