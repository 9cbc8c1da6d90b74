"""When the kubelet collects and detects: its two loops, and what it reports of failures in a row.

Source: StartGarbageCollection in ``pkg/kubelet/kubelet.go``, Start in ``pkg/kubelet/images/image_gc_manager.go``.
"""

from __future__ import annotations

from imgframe.kubelet.image_gc import ImageGC, Run

PERIOD = 5 * 60 * 10**9
"""Nanoseconds from the end of a collection, or of a detection, to the next one."""


class Loops:
    """The loops of one kubelet from its start on; a restart is a new one.

    Args:
        gc: its image manager.
        start: nanoseconds; the first collection is due at once.
        detect_delay: nanoseconds until the first detection apart from a collection.
    """

    def __init__(self, gc: ImageGC, start: int, detect_delay: int) -> None:
        gc.start()
        self.gc = gc
        off = gc.high == 100 and gc.max_age == 0
        self._collection = None if off else start
        self._detection = start + detect_delay
        self._failed_before = False

    @property
    def due(self) -> int:
        """When the next run is due, in nanoseconds."""
        return self._detection if self._collection is None else min(self._collection, self._detection)

    def run(self) -> tuple[Run | None, str | None]:
        """Do what is due; the collection (None: it was a detection), and the message of an event ImageGCFailed, if any.

        The kubelet reports a failure only where the collection before failed too.
        """
        if self._collection is None or self._detection < self._collection:
            self.gc.detect()
            self._detection = self.gc.clock() + PERIOD
            return None, None
        run = self.gc.collect()
        self._collection = self.gc.clock() + PERIOD
        repeated = run.error is not None and self._failed_before
        self._failed_before = run.error is not None
        return run, self.gc.event_text(run.error) if repeated and run.error is not None else None
