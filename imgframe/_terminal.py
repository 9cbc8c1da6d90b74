"""Whether progress bars are drawn: on a terminal and in a notebook only."""

from __future__ import annotations

import sys


def is_interactive() -> bool:
    """Whether standard error is a terminal, or this process is the kernel of a notebook."""
    if "ipykernel" in sys.modules:
        shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
        if shell is not None and type(shell).__name__ == "ZMQInteractiveShell":
            return True
    return sys.stderr is not None and sys.stderr.isatty()
