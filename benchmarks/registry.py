"""How fast registries answer: 500 different references of one loopback registry, resolved to digests.

The registry is Debian's docker-registry, filled by the tests' own harness; the best of some runs counts.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from testbed import images
from testbed.registries import Registry

import imgframe as imf

REFERENCES = 500
TARGET_SECONDS = 2.0
REPOSITORIES = 25


def main() -> None:
    """Prints seconds for all references, and the rate."""
    image = images.image([images.layer([images.file("etc/one", b"1")])])
    with Registry() as served:
        names = []
        for number in range(REFERENCES):
            repository, tag = f"bench/app{number % REPOSITORIES}", f"v{number}"
            served.push(repository, tag, image)
            names.append(f"{served.host}/{repository}:{tag}")
        runs = []
        for _ in range(4):
            start = time.perf_counter()
            found = imf.resolve_digest(names)
            runs.append(time.perf_counter() - start)
            assert (found == image.digest).all()
        first, best = runs[0], min(runs[1:])
        print(
            f"{REFERENCES} references resolved: {best:.2f} s (with imports {first:.2f} s), "
            f"{REFERENCES / best:,.0f} a second, target {TARGET_SECONDS:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
