"""Work that waits until the user has stopped typing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Debounced:
    """Calls ``work`` once, ``seconds`` after the last :meth:`soon`; immediately if no event loop runs (a script, a test).

    Example:
        >>> calls = []
        >>> Debounced(lambda: calls.append("drawn"), 0.2).soon()
        >>> calls
        ['drawn']
    """

    def __init__(self, work: Callable[[], None], seconds: float) -> None:
        self._work, self._seconds = work, seconds
        self._waiting: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Request the work; a pending request is replaced."""
        self.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.now()
        else:
            self._waiting = loop.call_later(self._seconds, self.now)

    def now(self) -> None:
        """Do the work now."""
        self.cancel()
        self._work()

    def cancel(self) -> None:
        """Cancel a pending request."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
