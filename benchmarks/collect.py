"""Collecting a node beside ``ctr images ls`` on the same real daemon, one after the other in the same run.

Ours gives every table of the inventory; ``ctr images ls`` one line per image. Three sizes of store, made by ``ctr import``
and wholly unpacked; then 20,000 images of a simulated node. Each figure is the median of a few runs of whole processes;
"alone" is the call of ``collect`` without the interpreter's start and the imports.
"""

from __future__ import annotations

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
OURS = """
import sys, time
import imgframe as imf
from imgframe._pandas_later import postponed
imf.collect
start = time.perf_counter()
with postponed():  # as the commands do: pandas is for those who want frames
    inv = imf.collect(sys.argv[1], cache=sys.argv[2] or False)
alone = time.perf_counter() - start
assert inv.arrow("nodes")["status"][0].as_py() in ("ok", "moved"), inv.errors
print(alone, inv.arrow("nodes")["rpcs"][0], *(inv.arrow(name).num_rows for name in ("images", "blobs", "snapshots")))
"""
IMAGES = "import sys; from imgframe.cli import main; sys.argv = ['imgframe', 'images', '--address', sys.argv[1]]; main()"
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
        cache = f"{folder}/cache.sqlite"
        ours = [sys.executable, "-c", OURS, daemon.address]
        files = os.environ | {"IMGFRAME_READ_FILES": "1"}
        kinds = {
            "ctr images ls": lambda: run(listing, daemon.pid, os.environ | daemon.environment),
            "collect, cold": lambda: run([*ours, ""], daemon.pid),
            "collect, cold, files": lambda: run([*ours, ""], daemon.pid, files),
            "collect, warm": lambda: run([*ours, cache], daemon.pid),
        }
        run([*ours, cache], daemon.pid)
        found: dict[str, list[Run]] = {name: [] for name in kinds}
        for _ in range(runs):
            for name, call in kinds.items():
                found[name].append(call())
    report(found)


def report(found: dict[str, list[Run]]) -> None:
    yardstick = median(found["ctr images ls"])
    rows = found["collect, warm"][-1].said[-1].split()[2:]
    print(f"\n{rows[0]} images, {rows[1]} blobs, {rows[2]} snapshots; ratios to ctr images ls in brackets")
    print(
        f"{'':22}{'wall s':>16}{'client CPU s':>14}{'daemon CPU s':>16}{'alone s':>16}{'RPCs':>8}{'peak MB':>9}"
    )
    for name, several in found.items():
        mid = median(several)
        alone = rpcs = ""
        if name != "ctr images ls":
            seconds = statistics.median(float(r.said[-1].split()[0]) for r in several)
            alone, rpcs = f"{seconds:.2f} ({seconds / yardstick.wall:.2f})", mid.said[-1].split()[1]
        wall = f"{mid.wall:.2f} ({mid.wall / yardstick.wall:.2f})"
        daemon = f"{mid.daemon:.2f} ({mid.daemon / max(yardstick.daemon, 0.01):.2f})"
        print(f"{name:22}{wall:>16}{mid.cpu:>14.2f}{daemon:>16}{alone:>16}{rpcs:>8}{mid.memory:>9.0f}")


def small(daemon) -> None:
    """``imgframe images`` as a whole on ten images."""
    runs = [run([sys.executable, "-c", IMAGES, daemon.address], daemon.pid) for _ in range(5)]
    print(
        f"\nimgframe images, 10 images: {median(runs).wall:.2f} s whole process, {median(runs).cpu:.2f} s CPU"
    )


def fill(daemon, count: int) -> None:
    """Generated images imported by ``ctr`` and all unpacked."""
    import images
    from truth_stores import collect_garbage

    with tempfile.TemporaryDirectory(dir=daemon.folder) as folder:
        archive = Path(folder) / "archive.tar"
        images.write_archive(archive, list(images.generated(count)))
        daemon.ctr("images", "import", archive, timeout=1200)
    collect_garbage(daemon)


def simulated() -> None:
    """20,000 images from the simulator, which is a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", SIMULATOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as node:
        address = node.stdout.readline().strip()
        done = run([sys.executable, "-c", OURS, address, ""], node.pid)
        node.stdin.close()
    images = int(done.said[-1].split()[2])
    print(
        f"\n{images:,} simulated images: {done.wall:.1f} s ({done.cpu:.1f} s CPU, the simulator {done.daemon:.1f} s), "
        f"peak {done.memory:.0f} MB"
    )


def main() -> None:
    try:
        import debian
        from daemons import Daemon

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
