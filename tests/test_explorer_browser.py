"""The explorer in Debian's Chromium, against a real JupyterLab and a real kernel."""

import json
import os
import re

import nbformat
import pytest
from playwright.sync_api import Page, expect, sync_playwright
from testbed import chromium, debian
from testbed.notebook_server import Lab

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.timeout(1200),  # the first run installs Chromium
]
WAIT = 60_000
MAKE = """\
from datetime import UTC, datetime

import imgframe as imf
from imgframe import schema, simulator

with simulator.node(images=120, seed=11, until=datetime(2026, 11, 23, 6, tzinfo=UTC)) as node:
    inv = imf.collect(node.address, cache=False, progress=False)
evil = {"node": [inv.images.node[0]], "namespace": ["default"], "name": ["<img src=x onerror=alert(1)>:<b>1</b>"]}
inv = inv.replace(images=schema.concat("images", [inv.arrow("images"), schema.table("images", evil)]))
explorer = imf.explore(inv)
explorer"""
PLAN = """\
frame = inv.images.iloc[list(explorer.selected)]
print("selected", len(frame), "bytes", f"{imf.reclaim(inv, frame).total_bytes:,}")
print("plan", type(explorer.plan).__name__, explorer.plan.steps["name"].tolist() == imf.prune(frame, inv).steps["name"].tolist())
print("steps", len(explorer.plan.steps), "kept", len(explorer.plan.kept))"""

FITS = """\
beside => {
  const [whole, tree, table] = ["explorer", "tree", "table"].map(name => document.querySelector(`.imgframe-${name}`));
  const [left, right] = [tree, table].map(part => part.getBoundingClientRect());
  return whole.scrollWidth <= whole.clientWidth + 1 && (right.top < left.bottom) === beside;
}"""


@pytest.fixture(scope="module")
def browser():
    try:
        path = chromium.program()
    except debian.Unavailable as lack:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the explorer was not tested in a browser: {lack}", pytrace=False)
        pytest.skip(f"NOT TESTED in a browser: {lack}")
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=path, args=list(chromium.FLAGS), timeout=WAIT)
        yield started
        started.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Lab(tmp_path_factory.mktemp("lab"), theme="JupyterLab Dark") as running:
        yield running


@pytest.fixture(scope="module")
def notebook(browser, lab):
    """A page with a notebook whose first cell shows an explorer, and what went wrong or left this machine in it."""
    context = browser.new_context(viewport={"width": 1400, "height": 1300})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    expect.set_options(timeout=WAIT)
    page.wrongs = []
    page.on("dialog", lambda dialog: (page.wrongs.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: page.wrongs.append(f"error {error}"))
    page.on("request", lambda request: page.wrongs.append(request.url) if _leaves(request.url) else None)
    lab.write("explorer.ipynb", MAKE, PLAN)
    page.goto(lab.url("explorer.ipynb"))
    page.get_by_text("(ipykernel) | Idle").wait_for()
    run_cell(page, 0)
    page.locator(".imgframe-table tbody tr").first.wait_for()
    yield page
    context.close()


@pytest.fixture
def opened(notebook):
    """The page with nothing filtered and nothing selected."""
    notebook.get_by_placeholder("--filter").fill("")
    notebook.get_by_role("button", name="all repositories").click()
    table = notebook.locator(".imgframe-table")
    expect(table).to_contain_text("121 images, ")
    if "121 images, 0 selected" not in table.inner_text():
        notebook.get_by_role("button", name="Clear selection").click()
    expect(table).to_contain_text("121 images, 0 selected")
    return notebook


def _leaves(url):
    return not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))


def run_cell(page: Page, place: int) -> None:
    editor = page.locator(".jp-CodeCell .jp-InputArea .cm-content").nth(place)
    editor.click()
    expect(editor).to_be_focused()
    page.keyboard.press("Shift+Enter")


def names(page: Page) -> list[str]:
    return page.locator(".imgframe-table td.name").all_inner_texts()


def test_filter_select_see_bytes_make_a_plan(opened):
    page = opened
    table, box = page.locator(".imgframe-table"), page.get_by_placeholder("--filter")
    everything = 121
    box.fill("label=com.example.team=web")  # rows change
    expect(table.locator("td.name").first).to_contain_text("/web/")
    expect(table).not_to_contain_text(f"{everything} images")
    assert all("/web/" in name for name in names(page))
    filtered = len(names(page))
    expect(page.locator(".imgframe-tree .count").first).to_have_text(re.compile(r"^\d+$"))

    box.fill("label=a=b=c")  # the error stands beside it, the rows stay
    expect(page.locator(".imgframe-error")).to_contain_text('invalid filter "label=a=b=c"')
    assert len(names(page)) == filtered
    box.fill("label=com.example.team=web")
    expect(page.locator(".imgframe-error")).to_have_count(0)

    table.locator("tbody input").nth(0).check()
    expect(table).to_contain_text("1 selected")
    table.locator("tbody input").nth(3).click(modifiers=["Shift"])
    expect(table).to_contain_text("4 selected")
    line = page.locator(".imgframe-freed")
    expect(line).to_contain_text(re.compile(r"This selection of 4 images frees exactly .* \([\d,]+ bytes\)"))
    said = re.search(r"\(([\d,]+) bytes\)", line.inner_text()).group(1)

    box.fill("")  # the selection is kept
    expect(table).to_contain_text(f"{everything} images, 4 selected")
    table.get_by_role("button", name="next page").click()
    expect(table).to_contain_text(f"51 – 100 of {everything}")
    expect(table).to_contain_text("4 selected")
    expect(line).to_contain_text(said)

    page.get_by_role("button", name="Make a plan").click()
    expect(page.get_by_text("explorer.plan deletes")).to_be_visible()
    run_cell(page, 1)
    output = page.locator(".jp-CodeCell").nth(1).locator(".jp-OutputArea-output")
    expect(output).to_contain_text(f"selected 4 bytes {said}")
    expect(output).to_contain_text("plan Plan True")
    assert page.wrongs == []


def test_names_are_text_and_headings_sort_and_branches_filter(opened):
    page = opened
    table = page.locator(".imgframe-table")
    table.get_by_role("button", name="name", exact=True).click()
    expect(table.locator("td.name").first).to_have_text("<img src=x onerror=alert(1)>:<b>1</b>")
    table.locator("tbody input").first.check()
    page.get_by_placeholder("--filter").fill("before=<img src=x onerror=alert(1)>:<b>1</b>")
    expect(page.locator(".imgframe-error")).to_contain_text("<img src=x")
    assert page.locator(".imgframe-explorer").locator("img[src=x], td b, .imgframe-error b").count() == 0

    page.get_by_placeholder("--filter").fill("")
    branch = page.locator(".imgframe-tree .node").filter(has_text="web")
    number = int(branch.locator(".count").inner_text())
    branch.locator(".name").click()
    expect(table).to_contain_text(re.compile(rf"\b{number} images"))
    assert all("/web/" in name for name in names(page))
    table.get_by_role("button", name="unique").click()
    table.get_by_role("button", name="unique ▾").wait_for()
    assert page.wrongs == []


@pytest.mark.parametrize("width", [700, 1400])
def test_it_fits_its_place_in_the_dark(opened, width):
    page = opened
    page.set_viewport_size({"width": width, "height": 1300})
    pictures = page.locator(".imgframe-explorer img")
    expect(pictures).to_have_count(2)
    page.wait_for_function(
        FITS, arg=width == 1400
    )  # JupyterLab lays out anew a while after the window has changed
    expect(page.locator(".imgframe-table td.unique_size").first).to_be_visible()
    expect(page.locator("td.content_size").first).to_be_visible(visible=width == 1400)
    dark = (
        "e => { const c = document.createElement('canvas'); c.width = c.height = 1; const x = c.getContext('2d');\
        x.drawImage(e, 0, 0, 2, 2, 0, 0, 1, 1); return [...x.getImageData(0, 0, 1, 1).data] }"
    )
    page.wait_for_function(
        f"() => [...document.querySelectorAll('.imgframe-explorer img')].every(e => e.naturalWidth && ({dark})(e)[0] < 60)"
    )
    assert page.wrongs == []


def test_a_saved_notebook_holds_a_plain_table(opened, lab):
    """Without a kernel and its widgets the output says why, and shows rows all the same."""
    page = opened
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Control+s")
    # The server rewrites the file in place, so that it is missing for a moment: what it serves is what it saved.
    saved = page.evaluate(
        "async ([url, token]) => { for (;;) { \
           const r = await fetch(url, {headers: {Authorization: `token ${token}`}}); \
           const text = await r.text(); \
           if (r.ok && text.includes('shows no Jupyter widgets')) return text; \
           await new Promise(done => setTimeout(done, 100)) } }",
        [f"http://127.0.0.1:{lab.port}/api/contents/explorer.ipynb", lab.token],
    )
    book = nbformat.from_dict(json.loads(saved)["content"])

    data = book.cells[0].outputs[-1].data
    assert "shows no Jupyter widgets" in data["text/html"]
    assert "<td>registry.example/" in data["text/html"]
    assert "<img" not in data["text/html"]
