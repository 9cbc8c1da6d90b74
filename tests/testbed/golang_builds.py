"""containerd releases that no Debian suite has, built from their Go module with the machine's Go, in the cache folder."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from testbed import debian
from testbed.debian import Unavailable

VERSION_OF = {"2.3": "v2.3.7", "2.4": "v2.4.2"}
NEEDS_GO = (1, 26, 6)  # the newest that a go.mod of these asks for

MODULE = "github.com/containerd/containerd/v2"
PROGRAMS = ("containerd", "ctr", "containerd-shim-runc-v2")
BUILD_SECONDS = 1800  # a build takes minutes even on a busy machine; a proxy that does not answer hangs

_failed: dict[str, str] = {}


def programs(release: str) -> Path:
    """The folder with containerd, ctr and the shim of a release; builds them the first time (minutes)."""
    version = VERSION_OF[release]
    folder = debian.cache_folder() / "golang" / version
    if release in _failed:
        raise Unavailable(_failed[release])
    try:
        with debian.locked(folder.with_name(f"{version}.lock")):
            if not folder.exists():
                _build(version, folder)
    except Unavailable as lack:
        _failed[release] = str(lack)
        raise
    return folder


def environment(release: str) -> dict[str, str]:
    """The environment in which the programs of a release find each other, and Debian's runc."""
    tools = debian.environment()
    return tools | {"PATH": f"{programs(release)}:{tools['PATH']}"}


def _build(version: str, folder: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise Unavailable(f"Go is missing (containerd {version} is built from its module)")
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", _run([go, "env", "GOVERSION"]).strip())
    if found is None or tuple(int(part or 0) for part in found.groups()) < NEEDS_GO:
        raise Unavailable(
            f"{found[0] if found else 'this Go'} is too old to build containerd {version}, "
            f"which needs go{'.'.join(map(str, NEEDS_GO))}"
        )
    part = folder.with_name(f"{version}.part")
    shutil.rmtree(part, ignore_errors=True)
    names = [f"{MODULE}/cmd/{name}@{version}" for name in PROGRAMS]
    _run([go, "install", "-trimpath", "-tags", "no_btrfs", *names], GOBIN=str(part))
    part.rename(folder)


def _run(command: list[str], **more: str) -> str:
    """Runs the machine's Go with its own caches and proxy, and never another toolchain or a C compiler."""
    chosen = {"GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off", "CGO_ENABLED": "0"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            timeout=BUILD_SECONDS,
            env=os.environ | chosen | more,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(command)} did not end within {BUILD_SECONDS} s") from None
    if done.returncode:
        raise Unavailable(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
