"""Debian's Chromium, installed by apt where it is missing and this machine lets us."""

import fcntl
import os
import shutil
import subprocess

from testbed import debian

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"),
)
"""No network of the browser's own, and none through a proxy: pages come from this machine."""

_PACKAGES = ("chromium", "fonts-dejavu-core")


def program() -> str:
    """The path of the program; installs it the first time.

    Raises:
        Unavailable: not on Debian, not root, or apt says no.
    """
    folder = debian.cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = shutil.which("chromium")
        if found is None:
            _install()
            found = shutil.which("chromium")
    if found is None:
        raise debian.Unavailable("the package chromium has no program chromium")
    return found


def _install() -> None:
    if (lack := debian.machine_lacks()) is not None:
        raise debian.Unavailable(
            f"no Chromium, and it cannot be installed: {lack.replace('containerd', 'apt-get')}"
        )
    wait = ("-o", "DPkg::Lock::Timeout=240", "-o", "Acquire::Retries=3", "-qq")
    for command in (
        ["apt-get", *wait, "update"],
        ["apt-get", *wait, "install", "-y", "--no-install-recommends", *_PACKAGES],
    ):
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        )
        if done.returncode:
            raise debian.Unavailable(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
