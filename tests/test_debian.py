"""How the machine's own apt configuration becomes that of another suite."""

import pytest
from testbed.debian import Unavailable, source_for

DEB822 = """# comment
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


def test_a_deb822_source_keeps_its_place_and_key(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    assert source_for("sid", "bookworm", tmp_path) == (
        "Types: deb\nSuites: sid\nComponents: main\nURIs: http://mirror.example/debian\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def test_an_embedded_key_is_kept(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n"
    text = f"Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\n{key}"
    (tmp_path / "sources.list.d/debian.sources").write_text(text)
    assert source_for("sid", "trixie", tmp_path).endswith(
        "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n"
    )


def test_a_classic_line_with_options(tmp_path):
    lines = [
        "# deb http://off.example/debian bookworm main",
        "deb-src http://mirror.example/debian bookworm main",
        "deb http://other.example/apt cloud-bookworm main",
        "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main non-free # all",
    ]
    (tmp_path / "sources.list").write_text("\n".join(lines))
    assert source_for("trixie", "bookworm", tmp_path) == (
        "Types: deb\nSuites: trixie\nComponents: main\nURIs: http://mirror.example/debian/\nSigned-By: /k.gpg\n"
    )


def test_disabled_and_foreign_sources_are_no_sources(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(
        DEB822.replace("Types: deb\n", "Types: deb\nEnabled: no\n")
    )
    with pytest.raises(Unavailable, match="no apt source of this machine serves bookworm main"):
        source_for("sid", "bookworm", tmp_path)
