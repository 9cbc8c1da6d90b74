"""Debian's own containerd, registry and tools, unpacked side by side in the cache folder without being installed.

The packages come through the machine's own apt configuration: the archive entry that serves this machine's release is
read, and written again for another suite into a private apt state, so that proxies, keyrings and mirrors stay the user's.
"""

import contextlib
import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SUITES = {
    "bookworm": (
        *("containerd", "docker-registry", "skopeo", "runc", "umoci", "busybox-static"),
        # what skopeo and runc link against, where a small machine lacks it
        *("libgpgme11", "libassuan0", "libgpg-error0", "libdevmapper1.02.1", "libseccomp2"),
    ),
    "trixie": ("containerd",),
    "sid": ("containerd",),
}
"""What the tests on real daemons need of each suite."""


class Unavailable(Exception):
    """The packages cannot be had on this machine; the text says why."""


def cache_folder() -> Path:
    """Where unpacked packages stay between runs: IMGFRAME_TEST_CACHE, else the clone's ignored .cache."""
    return Path(os.environ.get("IMGFRAME_TEST_CACHE") or ROOT / ".cache").resolve()


def machine_lacks() -> str | None:
    """Why real daemons cannot run here, or None."""
    if os.geteuid() != 0:
        return "containerd needs root"
    if shutil.which("setpriv") is None:
        return "setpriv is missing"
    return packages_lack()


def packages_lack() -> str | None:
    """Why Debian's packages cannot be had here, or None."""
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            return f"{program} is missing (the packages are Debian's)"
    if _os_release().get("ID") != "debian":
        return f"this machine is {_os_release().get('ID', 'unknown')}, the packages are Debian's"
    return None


def packages(suite: str) -> Path:
    """The folder into which the suite's packages are unpacked; downloads them the first time."""
    if (lack := machine_lacks()) is not None:
        raise Unavailable(lack)
    return unpacked(suite, suite, SUITES[suite])


def unpacked(name: str, suite: str, packages: tuple[str, ...], *, depended: bool = False) -> Path:
    """The folder `name` of the cache with these packages of a suite, and with what they depend on where `depended`."""
    if (lack := packages_lack()) is not None:
        raise Unavailable(lack)
    folder = cache_folder() / "debian" / name
    with locked(folder.with_name(f"{name}.lock")):
        if not set(packages) <= _recorded(folder):
            _fetch(folder, suite, packages, depended=depended)
    return folder / "root"


def program(name: str, suite: str = "bookworm") -> str:
    """The absolute path of an unpacked program."""
    root = packages(suite)
    for folder in ("usr/bin", "usr/sbin", "bin"):
        if (path := root / folder / name).exists():
            return str(path)
    raise Unavailable(f"{name} is in none of {suite}'s packages {', '.join(SUITES[suite])}")


def environment(suite: str = "bookworm") -> dict[str, str]:
    """The environment in which unpacked programs find each other and their libraries."""
    tools = packages("bookworm")
    own = packages(suite)
    bins = [own / "usr/bin", own / "usr/sbin", tools / "usr/sbin", tools / "usr/bin"]
    triplet = f"{platform.machine()}-linux-gnu"
    libs = [tools / "usr/lib" / triplet, tools / "lib" / triplet]
    secretless = {
        k: v for k, v in os.environ.items() if not k.startswith(("CONTAINERD", "CONTAINER", "REGISTRY"))
    }
    return secretless | {
        "PATH": ":".join([*map(str, bins), os.environ.get("PATH", "/usr/bin:/bin")]),
        "LD_LIBRARY_PATH": ":".join(map(str, libs)),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def _recorded(folder: Path) -> set[str]:
    try:
        return set(json.loads((folder / "packages.json").read_text()))
    except (OSError, ValueError):
        return set()


def _fetch(folder: Path, suite: str, packages: tuple[str, ...], *, depended: bool) -> None:
    work = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    for sub in ("sources.d", "state/lists/partial", "cache/archives/partial", "debs", "root"):
        (work / sub).mkdir(parents=True)
    (work / "state/status").touch()
    (work / "sources.d/suite.sources").write_text(_source_for(suite))
    options = [
        *("-o", "Dir::Etc::sourcelist=/dev/null", "-o", f"Dir::Etc::sourceparts={work}/sources.d"),
        *("-o", "Dir::Etc::preferencesparts=/dev/null", "-o", "Dir::Etc::preferences=/dev/null"),
        *("-o", f"Dir::State={work}/state", "-o", f"Dir::State::status={work}/state/status"),
        *("-o", f"Dir::Cache={work}/cache", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"),
        *("-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false", "-o", "Acquire::Retries=3"),
        *("-o", "APT::Update::Post-Invoke::=true", "-o", "APT::Get::Assume-Yes=true", "-qq"),
    ]
    _run(["apt-get", *options, "update"], work)
    if depended:  # as if they were installed into an empty root
        _run(["apt-get", *options, "--download-only", "--no-install-recommends", "install", *packages], work)
        (work / "debs").rmdir()
        (work / "cache/archives").rename(work / "debs")
    else:
        _run(["apt-get", *options, "download", *packages], work / "debs")
    versions = {}
    for deb in sorted((work / "debs").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(deb), str(work / "root")], work)
        name, version = _run(["dpkg-deb", "-W", "--showformat=${Package} ${Version}", str(deb)], work).split()
        versions[name] = version
    for sub in ("state", "cache", "debs"):
        shutil.rmtree(work / sub)
    (work / "packages.json").write_text(json.dumps(versions, indent=1, sort_keys=True))
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"}
    )
    if done.returncode:
        raise Unavailable(f"{' '.join(command[:1] + command[-3:])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def _source_for(suite: str) -> str:
    """The machine's own main archive entry as deb822 text, for another suite."""
    codename = _os_release().get("VERSION_CODENAME", "")
    return source_for(suite, codename, Path("/etc/apt"))


def source_for(suite: str, codename: str, apt: Path) -> str:
    """The entry below an apt folder that serves this release's main, as deb822 text for another suite."""
    for entry in _configured_sources(apt):
        suites = entry.get("Suites", "").split()
        if (
            "deb" in entry.get("Types", "deb").split()
            and codename in suites
            and "main" in entry["Components"].split()
        ):
            kept = {k: v for k, v in entry.items() if k not in {"Types", "Suites", "Components", "Enabled"}}
            lines = {"Types": "deb", "Suites": suite, "Components": "main"} | kept
            return "".join(f"{key}: {value}\n" for key, value in lines.items())
    raise Unavailable(f"no apt source of this machine serves {codename or 'its release'} main")


def _configured_sources(folder: Path) -> Iterator[dict[str, str]]:
    for file in sorted(folder.glob("sources.list.d/*.sources")):
        for block in re.split(r"\n\s*\n", file.read_text()):
            entry = _deb822(block)
            if "URIs" in entry and entry.get("Enabled", "yes").lower() != "no":
                yield {"Components": "", **entry}
    for file in (folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))):
        if file.exists():
            yield from filter(None, map(_one_line, file.read_text().splitlines()))


def _deb822(block: str) -> dict[str, str]:
    entry: dict[str, str] = {}
    last = ""
    for line in block.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line[0] in " \t":
            entry[last] += "\n" + line
        else:
            last, _, value = line.partition(":")
            entry[last] = value.strip()
    return entry


def _one_line(line: str) -> dict[str, str] | None:
    match = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line.strip())
    if match is None:
        return None
    options, uri, suite, components = match.groups()
    entry = {"URIs": uri, "Suites": suite, "Components": components.strip()}
    for option in (options or "").split():
        key, _, value = option.partition("=")
        if key in {"signed-by", "trusted"}:
            entry[key.title()] = value.replace(",", " ")
    return entry


def _os_release() -> dict[str, str]:
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value.strip('"') for key, _, value in pairs}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock file of the cache, so that one process fetches and the others wait for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
