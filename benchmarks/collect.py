"""Collecting a node beside ``ctr images ls`` on the same real daemon, one after the other in the same run.

Ours is ``imgframe nodes``, which reads every table of the inventory; ``ctr images ls`` gives one line per image. Three sizes of
store, made by ``ctr import`` and wholly unpacked; then 20,000 images of a simulated node. Each figure is the median of a few
runs of whole processes. "first" is the first call of ``collect`` in a process that has imported imgframe, "again" the call after
it, where nothing is imported, started or initialised any more: what a notebook waits for.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

SIZES = {100: 7, 1000: 5, 5000: 3}  # images: runs
PIECE = 1000  # images of one import: containerd takes 10,000 descriptors
COMMAND = "import sys; from imgframe.cli import main; sys.argv[0] = 'imgframe'; main()"
ALONE = """
import sys, time
import imgframe as imf
from imgframe.cli.pandas_later import postponed
imf.collect
seconds = []
with postponed():  # as the commands do: pandas is for those who want frames
    for _ in range(int(sys.argv[3])):
        start = time.perf_counter()
        inv = imf.collect(sys.argv[1], cache=sys.argv[2] == "cached")
        seconds.append(time.perf_counter() - start)
assert inv.arrow("nodes")["status"][0].as_py() in ("ok", "moved"), inv.errors
print(*(inv.arrow(name).num_rows for name in ("images", "blobs", "snapshots")), inv.arrow("nodes")["rpcs"][0], *seconds)
"""
SIMULATOR = """
import sys
from imgframe import simulator
with simulator.from_dump(simulator.dump(images=20_000, seed=1)) as node:
    print(node.address, flush=True)
    sys.stdin.read()
"""


class Run(NamedTuple):
    """One process: seconds of wall, of its CPU and of the daemon's, peak memory in MB, and what it said."""

    wall: float
    cpu: float
    daemon: float
    memory: float
    said: list[str]


def run(command: list[str], daemon: int, environment: dict[str, str] | None = None) -> Run:
    environment = {**(environment or os.environ)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its bytecode
    before, start = daemon_seconds(daemon), time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env=environment, cwd=ROOT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        out.seek(0)
        said = out.read().splitlines()
    if process.returncode:
        raise RuntimeError(f"{command[:3]} failed with {process.returncode}")
    cpu = used.ru_utime + used.ru_stime
    return Run(wall, cpu, daemon_seconds(daemon) - before, used.ru_maxrss / 1024, said)


def daemon_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def median(runs: list[Run]) -> Run:
    return Run(*(statistics.median(r[i] for r in runs) for i in range(4)), runs[-1].said)


def compare(daemon, runs: int) -> None:
    """Cold, warm, as files, and ctr, in turn."""
    listing = daemon.ctr_command("images", "ls")
    with tempfile.TemporaryDirectory() as folder:
        usual = os.environ | {"XDG_CACHE_HOME": folder}
        files = usual | {"IMGFRAME_READ_FILES": "1"}
        kinds = {"cold": ("", usual), "cold, files": ("", files), "warm": ("cached", usual)}

        def whole(cache: str, environment: dict[str, str]) -> Run:
            words = ["nodes", "--format", "json", "--address", daemon.address]
            words += [] if cache else ["--no-cache"]
            done = run([sys.executable, "-c", COMMAND, *words], daemon.pid, environment)
            assert json.loads("".join(done.said))[0]["status"] in ("ok", "moved")
            return done

        def alone(cache: str, environment: dict[str, str]) -> Run:
            return run([sys.executable, "-c", ALONE, daemon.address, cache, "2"], daemon.pid, environment)

        whole("cached", usual)
        found: dict[str, list[Run]] = {"ctr images ls": [], **{kind: [] for kind in kinds}}
        by_itself: dict[str, list[Run]] = {kind: [] for kind in kinds}
        for _ in range(runs):
            found["ctr images ls"].append(run(listing, daemon.pid, os.environ | daemon.environment))
            for kind, how in kinds.items():
                found[kind].append(whole(*how))
                by_itself[kind].append(alone(*how))
    report(found, by_itself)


def report(found: dict[str, list[Run]], by_itself: dict[str, list[Run]]) -> None:
    yardstick = median(found["ctr images ls"])
    rows = by_itself["warm"][-1].said[-1].split()
    print(f"\n{rows[0]} images, {rows[1]} blobs, {rows[2]} snapshots; ratios to ctr images ls in brackets")
    print(
        f"{'':14}{'wall s':>14}{'client CPU s':>14}{'daemon CPU s':>14}{'first s':>14}{'again s':>14}{'RPCs':>8}{'peak MB':>9}"
    )
    for name, several in found.items():
        mid = median(several)
        said = [one.said[-1].split() for one in by_itself.get(name, [])]
        calls = [statistics.median(float(words[at]) for words in said) for at in (4, 5) if said] or ["", ""]
        first, again = (each and f"{each:.2f} ({each / yardstick.wall:.2f})" for each in calls)
        wall = f"{mid.wall:.2f} ({mid.wall / yardstick.wall:.2f})"
        daemon = f"{mid.daemon:.2f} ({mid.daemon / max(yardstick.daemon, 0.01):.2f})"
        rpcs = said[-1][3] if said else ""
        print(
            f"{name:14}{wall:>14}{mid.cpu:>14.2f}{daemon:>14}{first:>14}{again:>14}{rpcs:>8}{mid.memory:>9.0f}"
        )


def small(daemon) -> None:
    """``imgframe images`` as a whole on ten images."""
    command = [sys.executable, "-c", COMMAND, "images", "--address", daemon.address]
    runs = [run(command, daemon.pid) for _ in range(5)]
    print(
        f"\nimgframe images, 10 images: {median(runs).wall:.2f} s whole process, {median(runs).cpu:.2f} s CPU"
    )


def fill(daemon, count: int) -> None:
    """Generated images imported by ``ctr`` and all unpacked."""
    from testbed import images
    from testbed.ctr_stores import collect_garbage

    made = list(images.generated(count))
    for start in range(0, count, PIECE):
        with tempfile.TemporaryDirectory(dir=daemon.folder) as folder:
            archive = Path(folder) / "archive.tar"
            images.write_archive(archive, made[start : start + PIECE])
            daemon.ctr("images", "import", archive, timeout=1200)
    collect_garbage(daemon)


def simulated() -> None:
    """20,000 images from the simulator, which is a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", SIMULATOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as node:
        address = node.stdout.readline().strip()
        done = run([sys.executable, "-c", ALONE, address, "", "1"], node.pid)
        node.stdin.close()
    images = int(done.said[-1].split()[0])
    print(
        f"\n{images:,} simulated images: {done.wall:.1f} s ({done.cpu:.1f} s CPU, the simulator {done.daemon:.1f} s), "
        f"peak {done.memory:.0f} MB"
    )


def main() -> None:
    try:
        from testbed import debian
        from testbed.daemons import Daemon

        debian.packages("sid")
    except Exception as lack:
        print(f"no real containerd here, so nothing to compare with: {lack}")
        simulated()
        return
    for count, runs in SIZES.items():
        with Daemon("2.1") as daemon:
            fill(daemon, count)
            compare(daemon, runs)
    with Daemon("2.1") as daemon:
        fill(daemon, 10)
        small(daemon)
    simulated()


if __name__ == "__main__":
    main()
