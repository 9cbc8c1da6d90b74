"""Runs the tests that need no daemon at random dates: ``make test-dates``.

    tools/test_dates.py [--seed SEED] [--dates COUNT] [-- PYTEST ARGUMENT ...]

libfaketime moves the clock of the tests and of the programs that they start; it keeps running. Containerd and the registry ask
the kernel, not the C library, for the time, so tests with them cannot be run at another date.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from testbed import debian, groups  # noqa: E402 -- the test bed's

YEARS = (2021, 2037)

UNFIT = "not closed_full_or_cut"
"""libfaketime keeps a file of its own open: in its programs no stream is closed from the start."""


def library() -> Path:
    """libfaketime, downloaded and unpacked the first time."""
    root = debian.unpacked("faketime", "bookworm", ("libfaketime",))
    return next(root.glob("usr/lib/*/faketime/libfaketime.so.1"))


def moments(seed: int, count: int) -> list[datetime]:
    """Random moments, from the first year to the end of the last."""
    rng = random.Random(seed)
    first, last = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (YEARS[0], YEARS[1] + 1))
    return [datetime.fromtimestamp(rng.randrange(first, last), UTC) for _ in range(count)]


def run(at: datetime, arguments: list[str]) -> bool:
    """Whether the tests pass when they start at a moment."""
    print(f"== {at:%Y-%m-%d %H:%M:%S} UTC", flush=True)
    clock = {
        "LD_PRELOAD": str(library()),
        "FAKETIME": f"{int(at.timestamp() - time.time()):+d}",  # an offset: programs that are started later go on from it
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-m",
        groups.PURE,
        "-k",
        UNFIT,
        *arguments,
    ]
    return not subprocess.run(command, cwd=ROOT, env=os.environ | clock, check=False).returncode


def main() -> int:
    """Run at each date; all of them, even where one fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seed", type=int, default=None, help="the dates of an earlier run; random where omitted"
    )
    parser.add_argument("--dates", type=int, default=20, help="how many")
    parser.add_argument("arguments", nargs="*", help="for pytest")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"== seed {seed}", flush=True)
    try:
        failed = [at for at in moments(seed, given.dates) if not run(at, given.arguments)]
    except debian.Unavailable as lack:
        sys.exit(f"no libfaketime: {lack}")
    print(
        f"== {given.dates - len(failed)} of {given.dates} dates passed; failed: {[f'{at}' for at in failed]}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
