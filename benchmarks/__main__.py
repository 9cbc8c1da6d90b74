"""``make bench``: every benchmark in turn, or those named: ``python -m benchmarks filters bytes``."""

import importlib
import pkgutil
import sys
from pathlib import Path


def main() -> None:
    here = Path(__file__).parent
    known = sorted(info.name for info in pkgutil.iter_modules([str(here)]) if not info.name.startswith("_"))
    for name in sys.argv[1:] or known:
        if name not in known:
            sys.exit(f"no benchmark {name!r}; there are {', '.join(known)}")
        print(f"\n# {name}\n", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
