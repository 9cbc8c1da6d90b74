"""The ``imgframe`` command.

Exit codes: 0 all done; 1 the request cannot be carried out (bad input, nothing there; one sentence on stderr); 2 wrong usage;
3 some nodes, registries or steps failed, the rest is shown or done; 4 no node could be read; 5 a budget of ``report`` is exceeded;
130 interrupted.
"""

from imgframe.cli.main import app, main

__all__ = ["app", "main"]
