"""The explorer without a browser: what its traits say equals what the functions beneath it say."""

import asyncio
import html.parser
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from testbed.clock import END

import imgframe as imf
from imgframe import schema, simulator
from imgframe.explorer import chart_images, table_rows
from imgframe.explorer.debounce import Debounced
from imgframe.explorer.repository_paths import NAMELESS, RepositoryPaths
from imgframe.explorer.selection_summary import held_by, kept_because, summarize
from imgframe.nerdctl.selection import prune_candidates, select_images

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a&lt;b&amp;c:$\\frac{1}{0}$",
    "registry.example/\u202eevil:1\n\x00",
    "</style><b>",
    "{{7*7}}%s{0}",
)


@pytest.fixture(scope="module")
def inventory():
    with simulator.fleet(nodes=3, days=12, until=END) as fleet:
        return imf.collect(fleet.nodes, cache=False)


@pytest.fixture(scope="module")
def shared(inventory):
    return imf.explore(inventory)


@pytest.fixture
def explorer(shared):
    """As if new."""
    table = shared._table
    shared.filter, shared.command, shared.repository, shared.selected, shared.theme = (
        "",
        "images",
        "",
        (),
        "light",
    )
    table.sort, table.descending, table.page = "created_at", True, 0
    shared._plan_line.value = ""
    return shared


def made(names, **columns):
    """An inventory of records of these names, all on one node."""
    count = len(names)
    given = {
        "node": ["n"] * count,
        "namespace": ["default"] * count,
        "name": names,
        "digest": [f"sha256:{at:064x}" for at in range(count)],
        **columns,
    }
    return imf.Inventory({"images": schema.table("images", given)})


def text_of(markup):
    """The text of markup, and the tags in it."""
    tags, parts = [], []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append(tag)

        def handle_data(self, data):
            parts.append(data)

    Reader(convert_charrefs=True).feed(markup)
    return "".join(parts), tags


@pytest.mark.parametrize(
    "text", ["", "dangling=true", "dangling=false", "reference=.*/web/.*", "label=nope,dangling=false"]
)
@pytest.mark.parametrize("command", table_rows.COMMANDS)
def test_the_rows_are_those_that_nerdctl_lists(explorer, inventory, text, command):
    explorer.filter, explorer.command = text, command
    given = [text] if text else []
    if command == "images":
        wanted = select_images(inventory, given)
    else:
        wanted = prune_candidates(inventory, given, all=command.endswith("--all"))
    assert explorer.error == ""
    assert set(explorer.images.index) == set(wanted.index)
    assert explorer._table.total == len(wanted)
    assert [row["position"] for row in explorer._table.rows] == explorer.images.index[:50].tolist()


def test_a_refused_filter_says_go_s_words_and_leaves_the_rows(explorer):
    explorer.filter = "dangling=false"
    before = explorer.images.index.tolist()
    explorer.filter = 'label=<b>"x"=b=c'
    assert explorer.error.startswith("invalid argument ") or explorer.error.startswith("invalid filter ")
    assert explorer.images.index.tolist() == before
    said, tags = text_of(explorer._message.value)
    assert explorer.error in said
    assert tags == ["div"]
    explorer.filter = ""
    assert (explorer.error, explorer._message.value) == ("", "")


def test_a_filter_that_does_nothing_is_said(explorer):
    explorer.filter = "until=24h"
    assert explorer.notes == tuple(imf.lint_filters(["until=24h"], "images"))
    assert "images ignores until" in explorer._message.value


def test_the_selection_is_kept_across_filters_pages_orders_and_branches(explorer):
    chosen = tuple(explorer.images.index[[0, 3, 60]])
    explorer.selected = chosen[::-1]
    kept = tuple(sorted(chosen))
    explorer.filter = "reference=nothing-has-this-name"
    assert (explorer._table.total, explorer._table.selected, explorer._table.elsewhere) == (0, 3, 3)
    explorer.filter = ""
    explorer._table.page = 1
    explorer._table.sort = "unique_size"
    explorer.repository = explorer._tree.paths[-1]
    assert explorer.selected == kept
    assert explorer.selection.index.tolist() == list(kept)
    explorer.repository = ""
    assert explorer._table.elsewhere == 0


def test_another_order_starts_on_its_first_page(explorer):
    explorer._table.page = 2
    explorer._table.sort = "name"
    explorer._table.descending = False
    assert explorer._table.page == 0
    shown = [row["cells"][0] for row in explorer._table.rows]
    assert shown == sorted(explorer.inventory.images["name"])[: len(shown)]


def test_check_boxes_change_the_selection(explorer):
    table = explorer._table
    here = [row["position"] for row in table.rows]
    table._receive(table, {"kind": "check", "positions": here[:3]}, [])
    assert (explorer.selected, sorted(table.checked)) == (tuple(sorted(here[:3])), sorted(here[:3]))
    table._receive(table, {"kind": "uncheck", "positions": here[1:2]}, [])
    assert set(explorer.selected) == {here[0], here[2]}
    explorer.repository = explorer._tree.paths[1]
    table._receive(table, {"kind": "all"}, [])
    assert set(explorer.selected) == {*explorer.images.index, here[0], here[2]}
    table._receive(table, {"kind": "none"}, [])
    assert explorer.selected == ()


@pytest.mark.parametrize(
    "message",
    [
        None,
        "check",
        {"kind": "delete"},
        {"kind": "check", "positions": ["0"]},
        {"kind": "check", "positions": 1},
    ],
)
def test_other_messages_are_dropped(explorer, message):
    explorer._table._receive(explorer._table, message, [])
    assert explorer.selected == ()


@pytest.mark.parametrize("value", [[-1], [10**9], ["a"], 5, [1.5], [[0]], None])
def test_a_selection_outside_of_the_table_is_refused(explorer, value):
    with pytest.raises(traitlets.TraitError):
        explorer.selected = value
    assert explorer.selected == ()


def test_other_traits_are_validated(explorer):
    for name, value in (("command", "rm"), ("repository", "nowhere"), ("theme", "pink"), ("filter", 5)):
        with pytest.raises(traitlets.TraitError):
            setattr(explorer, name, value)
    for name in ("error", "notes", "plan"):
        with pytest.raises(traitlets.TraitError):
            setattr(explorer, name, None)
    with pytest.raises(traitlets.TraitError):
        explorer._table.sort = "digest"
    explorer._table.page = 10**6
    assert explorer._table.page == explorer._table.pages - 1
    explorer._table.page = -3
    assert explorer._table.page == 0


def some(inventory, seed, count):
    total = len(inventory.images)
    return np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))


@pytest.mark.parametrize(("seed", "count"), [(1, 1), (2, 5), (3, 40), (4, 10**6)])
def test_the_live_line_says_the_bytes_of_reclaim_and_of_prune(explorer, inventory, seed, count):
    positions = some(inventory, seed, count)
    explorer.selected = positions
    frame = inventory.images.iloc[positions]
    whole, plan = imf.reclaim(inventory, frame), imf.prune(frame, inventory)
    said, tags = text_of(explorer._line.value)
    assert (
        f"frees exactly {imf.inventory.human_bytes(whole.total_bytes)} ({whole.total_bytes:,} bytes)" in said
    )
    assert explorer.freed.total_bytes == whole.total_bytes
    assert explorer.summary.planned.total_bytes == plan.freed.total_bytes
    assert explorer.summary.kept == plan.kept["reason"].value_counts().to_dict()
    assert sum(explorer.summary.kept.values()) + len(plan.steps) == len(positions)
    assert tags == ["div", "strong"]


def test_a_list_that_could_not_be_read_makes_the_line_an_upper_bound(inventory):
    image = inventory.images.iloc[0]
    lost = {
        "node": [image["node"]],
        "namespace": [image["namespace"]],
        "stage": ["leases"],
        "code": ["UNAVAILABLE"],
    }
    explorer = imf.explore(inventory.replace(errors=schema.table("errors", lost)))
    explorer.selected = [0]
    said, _ = text_of(explorer._line.value)
    assert "This image frees at most" in said
    assert "as 1 list of these stores could not be read (freed.unread)" in said
    assert "exactly" not in said
    explorer.make_plan()
    assert "exactly" not in text_of(explorer._plan_line.value)[0]


def test_what_stays_counts_each_blob_once(inventory):
    for seed in range(5):
        freed = summarize(inventory, some(inventory, seed, 30)).whole
        held = freed.held
        content = held[held["kind"] == "content"].drop_duplicates(["node", "key"])
        wanted = content["size"].sum() + held.loc[held["kind"] == "snapshot", "size"].sum()
        found = held_by(freed.arrow("held"))
        assert sum(size for size, _ in found.values()) == wanted
        assert set(found) == set(held["holder_kind"])
        for kind, (_, names) in found.items():
            assert set(names) <= set(held.loc[held["holder_kind"] == kind, "holder"])


def test_reasons_of_all_records_are_those_of_a_plan(inventory):
    plan = imf.prune(inventory.images, inventory)
    kept = plan.kept.set_index(["node", "namespace", "name"])["reason"].to_dict()
    keys = inventory.images[["node", "namespace", "name"]].itertuples(index=False, name=None)
    assert kept
    assert [kept.get(key) for key in keys] == kept_because(inventory).tolist()


def test_the_button_makes_the_plan_that_prune_makes(explorer, inventory):
    assert explorer._button.disabled
    explorer.selected = some(inventory, 7, 12)
    assert not explorer._button.disabled
    explorer._button.click()
    wanted = imf.prune(explorer.selection, inventory)
    assert explorer.plan.steps.equals(wanted.steps)
    assert explorer.plan.kept.equals(wanted.kept)
    assert explorer.plan.freed.total_bytes == wanted.freed.total_bytes
    assert f"({wanted.freed.total_bytes:,} bytes)" in explorer._plan_line.value
    explorer.filter = "dangling=false"
    assert explorer.plan is not None, "looking at other rows voids nothing"
    explorer.selected = explorer.selected[1:]
    assert explorer.plan is None
    assert "None again" in explorer._plan_line.value


@pytest.mark.parametrize("column", [column.name for column in table_rows.COLUMNS])
@pytest.mark.parametrize("descending", [False, True])
def test_order_is_that_of_pandas_and_unknown_comes_last(inventory, column, descending):
    order = table_rows.ordered(inventory, np.arange(len(inventory.images)), column, descending=descending)
    images = inventory.images
    if column == "use":
        key = (
            images["containers"] * 4
            + images["used_by_digest"].astype("Int64") * 2
            + images["pinned"].astype("Int64")
        )
    else:
        key = images[column]
    wanted = key.sort_values(ascending=not descending, kind="stable", na_position="last")
    if descending:  # pandas turns equal ones around nowhere: a stable sort keeps them
        assert key.iloc[order].tolist() == wanted.tolist()
    else:
        assert order.tolist() == wanted.index.tolist()


def test_unknown_values_are_said_to_be_unknown():
    inv = made(["a:1", "b:1"], unique_size=[None, 5], containers=[None, 2], used_by_digest=[None, True])
    cells = table_rows.cells(inv, np.array([0, 1]), table_rows.columns_of(inv))
    headings = [column.name for column in table_rows.columns_of(inv)]
    first, second = (dict(zip(headings, row["cells"], strict=True)) for row in cells)
    assert (first["unique_size"], first["use"], first["created_at"]) == ("unknown", "unknown", "unknown")
    assert (second["unique_size"], second["use"]) == ("5B", "2 containers")
    for descending in (False, True):
        assert table_rows.ordered(inv, np.array([0, 1]), "unique_size", descending=descending).tolist() == [
            1,
            0,
        ]


PART = st.sampled_from(["a", "b", "c"])


@given(
    st.lists(
        st.tuples(st.sampled_from(["docker.io", "r.example", None]), st.lists(PART, min_size=1, max_size=4))
    ),
    st.randoms(),
)
def test_tree_counts_are_what_its_branches_hold(records, random):
    domains = [domain for domain, _ in records]
    paths = [
        "/".join(parts) if domain in {None, "docker.io"} else f"{domain}/{'/'.join(parts)}"
        for domain, parts in records
    ]
    inv = made([f"x{at}:1" for at in range(len(records))], domain=domains, repository=paths)
    tree = RepositoryPaths(inv)
    positions = np.array(
        sorted(random.sample(range(len(records)), random.randint(0, len(records)))), np.int64
    )
    counts = tree.counts(positions)
    for node, path in enumerate(tree.paths):
        under = tree.below(positions, node)
        assert len(under) == counts[node]
        for at in under.tolist():
            domain, parts = records[at]
            whole = "/".join([domain, *parts]) if domain else NAMELESS
            assert path == "" or whole == path or whole.startswith(f"{path}/")
        assert tree.parents[node] < node
    assert counts[0] == len(positions)


def test_hostile_names_are_text_everywhere():
    names = [*HOSTILE]
    inv = made(
        names, domain=["registry.example"] * 6, repository=[f"registry.example/{name}" for name in names]
    )
    explorer = imf.explore(inv)
    explorer.selected = range(3)
    explorer.make_plan()
    explorer.filter = f"before={names[0]}"
    assert explorer.error
    for widget in (explorer._line, explorer._message, explorer._plan_line):
        assert set(text_of(widget.value)[1]) <= {"div", "strong"}
    bundle = explorer._repr_mimebundle_()
    assert set(text_of(bundle["text/html"])[1]) <= {"p", "table", "thead", "tbody", "tr", "th", "td"}
    for name in names:
        assert "<script" not in bundle["text/html"]
        assert name in {row["cells"][0] for row in explorer._table.rows}
    assert json.dumps(explorer._table.rows)
    assert not any(
        name in line for name in ("innerHTML", "insertAdjacentHTML", "eval(", "http") for line in scripts()
    )


def scripts():
    from imgframe.explorer.image_table import _HERE

    return [path.read_text() for path in (*_HERE.glob("*.js"), *_HERE.glob("*.css"))]


def test_holders_with_hostile_names_are_text():
    shared = {"digest": ["sha256:" + "a" * 64] * 2}
    inv = made([HOSTILE[0], "<i>other</i>:1"], **shared).replace(
        blobs=schema.table(
            "blobs",
            {
                "node": ["n"],
                "namespace": ["default"],
                "digest": shared["digest"][:1],
                "size": [9],
                "labels": ["{}"],
            },
        )
    )
    explorer = imf.explore(inv)
    explorer.selected = [0]
    said, tags = text_of(explorer._line.value)
    assert "9B stays, held by other images (<i>other</i>:1)" in said
    assert tags == ["div", "strong"]


def test_without_a_front_end_a_plain_table_says_why(explorer):
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"}
    assert bundle["text/html"] == explorer._repr_html_()
    assert "shows no Jupyter widgets" in bundle["text/html"]
    assert "shows no Jupyter widgets" in bundle["text/plain"]
    name = explorer.images["name"].iloc[0]
    assert name in bundle["text/html"]
    assert name in bundle["text/plain"]


def test_without_anywidget_the_error_gives_the_pip_line(monkeypatch, inventory):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(imf.MissingExtra, match=r"pip install 'imgframe\[explorer\]'"):
        imf.explore(inventory)


def test_only_inventories_can_be_explored():
    with pytest.raises(imf.InputError, match=r"explore needs an Inventory.*got list"):
        imf.explore([])


def test_an_empty_inventory_is_explored():
    explorer = imf.explore(imf.Inventory({}))
    assert (explorer._table.total, explorer._table.rows, explorer._branches.counts) == (0, [], [0])
    assert "Nothing is selected." in explorer._line.value
    assert explorer.make_plan().steps.empty


def test_charts_follow_the_rows_and_the_theme_once_somebody_looks(inventory):
    explorer = imf.explore(inventory)

    def drawn():
        return [bytes(picture.value) for picture in explorer._pictures]

    assert drawn() == [b"", b""]
    explorer._table.shown = True
    seen = [drawn()]
    for name, value in (("filter", "reference=nothing-has-this-name"), ("theme", "dark")):
        setattr(explorer, name, value)
        seen.append(drawn())
    for three in zip(*seen, strict=True):
        assert all(picture.startswith(b"\x89PNG") for picture in three)
        assert len(set(three)) == 3


def test_the_treemap_adds_up_whatever_it_groups(inventory):
    frame = chart_images.unique_by_repository(inventory.images)
    once = inventory.images.drop_duplicates(["node", "namespace", "digest"])
    for most in (1, 3, 8, 1000):
        groups = chart_images.by_branch(frame, most)
        assert groups["unique_bytes"].sum() == once["unique_size"].sum()
        assert groups["branch"].is_unique
    assert len(chart_images.by_branch(frame, 1000)) == frame["repository"].nunique()


@given(
    st.lists(st.lists(PART, min_size=1, max_size=4).map("/".join), unique=True, max_size=12),
    st.integers(1, 12),
)
def test_branches_are_never_mixed_up(repositories, most):
    frame = pd.DataFrame(
        {"repository": repositories, "unique_bytes": [2**at for at in range(len(repositories))]}
    )
    groups = chart_images.by_branch(frame, most)
    assert groups["unique_bytes"].sum() == 2 ** len(repositories) - 1
    if most >= len(repositories):
        assert sorted(groups["unique_bytes"]) == frame["unique_bytes"].tolist()


def test_in_a_loop_charts_wait_for_the_last_key_press():
    done = []

    async def type_fast():
        drawn = asyncio.Event()
        later = Debounced(lambda: (done.append(len(done)), drawn.set()), 0.01)
        for _ in range(20):
            later.soon()
        assert done == []
        await drawn.wait()

    asyncio.run(type_fast())
    assert done == [0]


def test_nothing_of_it_is_imported_before_it_is_used():
    code = "import sys, imgframe as imf; imf.explore; print(*{'ipywidgets', 'anywidget', 'matplotlib', 'pandas'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_exploring_needs_no_network(inventory, monkeypatch):
    import socket

    def refuse(*_):
        raise AssertionError("the explorer opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    explorer = imf.explore(inventory)
    explorer.filter = "dangling=false"
    explorer.selected = [0, 1]
    assert explorer.make_plan() is explorer.plan
