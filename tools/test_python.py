"""Runs the tests that need no daemon, and the demo, on newer Pythons as Debian ships them: ``make test-python``.

    tools/test_python.py [VERSION ...] [-- PYTEST ARGUMENT ...]

The Pythons are unpacked beside this machine's own, their environments are below .cache/python.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from testbed import debian, debian_pythons, groups  # noqa: E402 -- the test bed's


def environment(version: str) -> Path:
    """The version's Python with what pyproject.toml says now."""
    folder = ROOT / ".cache/python" / version
    stamp, now = folder / "pyproject", hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    python = folder / "bin/python"
    if not stamp.exists() or stamp.read_text() != now:
        pip = [sys.executable, "-m", "pip"]
        python = debian_pythons.environment(version, folder, ["-e", f"{ROOT}[dev]"], pip)
        stamp.write_text(now)
    return python


def run(version: str, arguments: list[str]) -> bool:
    """Whether the tests and the demo pass."""
    python = environment(version)
    said = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"== {said}", flush=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    clean["PATH"] = f"{python.parent}:{clean.get('PATH', '/usr/bin:/bin')}"
    tests = subprocess.run(
        [python, "-m", "pytest", "-m", groups.PURE, *arguments], cwd=ROOT, env=clean, check=False
    )
    with tempfile.TemporaryDirectory() as folder:
        demo = subprocess.run(
            [python, "-m", "imgframe.cli", "demo"],
            cwd=folder,
            env=clean,
            check=False,
            stdout=subprocess.DEVNULL,
        )
    print(f"== {version}: tests {tests.returncode}, demo {demo.returncode}", flush=True)
    return not tests.returncode and not demo.returncode


def main(arguments: list[str]) -> int:
    """Run each version; all of them, even where one fails."""
    versions = arguments[: arguments.index("--")] if "--" in arguments else arguments
    further = arguments[len(versions) + 1 :]
    try:
        failed = [version for version in versions or debian_pythons.SUITES if not run(version, further)]
    except debian.Unavailable as lack:
        sys.exit(f"no newer Python: {lack}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
