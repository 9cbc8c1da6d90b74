"""Debian's newer Pythons beside this machine's own: unpacked, not installed, each with the C library it was built for."""

import os
import shutil
import subprocess
from pathlib import Path

from testbed import debian

SUITES = {"3.13": "trixie", "3.14": "forky"}
"""The first suite of Debian that has each version."""


def interpreter(version: str) -> Path:
    """The program of a version, downloaded and unpacked the first time.

    It is linked against a newer C library than this machine may have, so it names the loader and the libraries it was unpacked
    with; programs that it starts use this machine's own.
    """
    root = debian.unpacked(f"python{version}", SUITES[version], (f"python{version}-venv",), depended=True)
    program = root / f"usr/bin/python{version}"
    relocated = root.parent / "relocated"
    if not relocated.exists() or relocated.read_text() != str(root):
        _relocate(program, root)
        relocated.write_text(str(root))
    return program


def _relocate(program: Path, root: Path) -> None:
    patchelf = debian.unpacked("patchelf", "bookworm", ("patchelf",)) / "usr/bin/patchelf"
    (loader,) = (root / "usr").glob("lib*/ld-linux-*.so.*")
    libraries = sorted({str(library.parent) for library in root.glob("usr/lib/*-linux-gnu/*.so.*")})
    copy = program.with_name(f"{program.name}.part")  # a program that runs cannot be written to
    shutil.copy2(program, copy)
    options = ["--set-interpreter", str(loader), "--force-rpath", "--set-rpath", ":".join(libraries)]
    subprocess.run([patchelf, *options, copy], check=True)
    copy.replace(program)


def environment(version: str, folder: Path, requirements: list[str], pip: list[str]) -> Path:
    """A virtual environment of a version with these requirements; gives its Python."""
    python = folder / "bin/python"
    if not python.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([interpreter(version), "-m", "venv", "--without-pip", folder], check=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run([*pip, "--python", python, "install", "--quiet", *requirements], check=True, env=clean)
    return python
