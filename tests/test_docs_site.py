"""The documentation site: a strict build without a network, every public name and every command in it."""

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import imgframe
from imgframe.cli.main import app

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.xdist_group("docs-site")  # built once
COMMANDS = list(typer.main.get_command(app).commands)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site; the build sees no network, for every proxy leads nowhere."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    nowhere = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https", "all")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "site.py"), str(folder)],
        env={"PATH": "/usr/bin:/bin", **nowhere}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def text_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_pages_that_follow_from_the_code_are_current():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "pages.py"), "--check"], capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_page_is_built_and_in_the_navigation(site):
    pages = [path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")]
    index = (site / "index.html").read_text()
    for page in pages:
        assert (site / f"{page}.html").exists()
        assert re.search(f'href="(./)?{page}.html"', index) or str(page) == "index"


def test_every_public_name_is_in_the_reference(site):
    anchors = {
        anchor
        for page in (site / "api").glob("*.html")
        for anchor in re.findall(r'id="imgframe\.([\w.]+)"', page.read_text())
    }
    assert set(imgframe.__all__) - {"__version__"} - anchors == set()


def test_every_room_has_a_page_and_the_first_names_come_first(site):
    assert {path.stem for path in (site / "api").glob("*.html")} >= {"index", *imgframe._ROOMS}
    first = (site / "api" / "index.html").read_text()
    links = re.findall(r'<a href="(\w+\.html)#(imgframe\.\w+)"><code>', first)
    assert len(links) == 15
    for page, anchor in links:
        assert f'id="{anchor}"' in (site / "api" / page).read_text()


def test_a_function_is_shown_and_not_the_module_of_its_name(site):
    page = site / "api" / "reclaiming.html"
    assert "imgframe.reclaim.Reclaim" not in page.read_text()
    assert re.search(r"reclaim\(\s*inventory", text_of(page))


def test_docstring_examples_are_shown_as_code(site):
    pages = [path.read_text() for path in (site / "api").glob("*.html")]
    assert sum(page.count("Examples:") for page in pages) > 80
    assert not any(":func:" in text_of(path) for path in (site / "api").glob("*.html"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(site, command):
    page = text_of(site / "cli.html")
    assert f"Usage: imgframe {command} " in page


def test_nothing_comes_from_the_network(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]+)"', text)
        loaded += re.findall(
            r'<link[^>]*rel="(?:stylesheet|preconnect|icon|preload)"[^>]*href="([^"]+)"', text
        )
        assert [one for one in loaded if "://" in one or one.startswith("//")] == []
        assert "fonts.googleapis" not in text


def test_links_between_pages_lead_somewhere(site):
    anchors: dict[Path, set[str]] = {}
    for page in set(site.rglob("*.html")) - {site / "404.html"}:
        for link, anchor in re.findall(r'href="([\w./-]+\.html)(?:#([^"]*))?"', page.read_text()):
            target = (page.parent / link).resolve()
            assert target.exists(), f"{page.name}: {link}"
            if target not in anchors:
                anchors[target] = set(re.findall(r'id="([^"]+)"', target.read_text()))
            assert not anchor or anchor in anchors[target], f"{page.name}: {link}#{anchor}"
