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
    pages = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
    index = (site / "index.html").read_text()
    for page in pages:
        assert (site / f"{page}.html").exists()
        assert f'href="{page}.html"' in index or page == "index"


def test_every_public_name_is_in_the_reference(site):
    page = (site / "api.html").read_text()
    anchors = set(re.findall(r'id="imgframe\.([\w.]+)"', page))
    named = {anchor.rpartition(".")[2] for anchor in anchors}
    assert set(imgframe.__all__) - {"__version__"} - named == set()


def test_docstring_examples_are_shown_as_code(site):
    page = (site / "api.html").read_text()
    assert page.count("Examples:") > 80
    assert ":func:" not in text_of(site / "api.html")


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
    for page in set(site.glob("*.html")) - {site / "404.html"}:
        for link in re.findall(r'href="([\w./-]+\.html)(?:#[^"]*)?"', page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
