"""Runs the tests that need no daemon at random dates: ``make test-dates``.

    tools/test_dates.py [--seed SEED] [--dates COUNT] [-- PYTEST ARGUMENT ...]

tests/testbed/shifted_clock.c, preloaded, moves the wall clock of the tests and of the programs that they start; it keeps running.
Containerd and the registry ask the kernel, not the C library, for the time, so tests with them cannot be run at another date.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from testbed import groups  # noqa: E402 -- the test bed's

YEARS = (2021, 2037)


def library() -> Path:
    """The compiled clock."""
    source = ROOT / "tests/testbed/shifted_clock.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    made = ROOT / f".cache/shifted_clock/{digest}.so"
    if not made.exists():
        if (compiler := shutil.which("cc")) is None:
            sys.exit("no C compiler: apt-get install gcc libc6-dev")
        made.parent.mkdir(parents=True, exist_ok=True)
        part = made.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", part, source], check=True)
        part.replace(made)
    return made


def moments(seed: int, count: int) -> list[datetime]:
    """Random moments, from the first year to the end of the last."""
    rng = random.Random(seed)
    first, last = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (YEARS[0], YEARS[1] + 1))
    return [datetime.fromtimestamp(rng.randrange(first, last), UTC) for _ in range(count)]


def run(at: datetime, arguments: list[str]) -> bool:
    """Whether the tests pass when they start at a moment."""
    print(f"== {at:%Y-%m-%d %H:%M:%S} UTC", flush=True)
    clock = {"LD_PRELOAD": str(library()), "CLOCK_SHIFT": str(int(at.timestamp() - time.time()))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", groups.PURE, *arguments]
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
    failed = [at for at in moments(seed, given.dates) if not run(at, given.arguments)]
    print(
        f"== {given.dates - len(failed)} of {given.dates} dates passed; failed: {[f'{at}' for at in failed]}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
