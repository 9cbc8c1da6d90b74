"""Builds the documentation site into a folder: ``make docs``. It needs no network.

zensical owns the ``.cache`` folder of the project that it builds, and this clone keeps other things there, so it builds a copy.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def build(target: Path) -> None:
    """Put the site into ``target``, in place of what is there; a warning of the build is an error."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        shutil.copy(ROOT / "zensical.toml", copy)
        for part in ("docs", "tools", "imgframe"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=copy, check=True)
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(copy / "site", target)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
