"""The kubelet's image garbage collection: what it knows, in which order it deletes, when it stops, and what it reports.

Times are integer nanoseconds, sizes integer bytes; arithmetic is that of Go's int64, which wraps around and truncates towards
zero. Source: ``pkg/kubelet/images/image_gc_manager.go``; checked against runs of the real code of 1.33, 1.35 and 1.37.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from imgframe.errors import InputError
from imgframe.golang.fmt import sprintf_without_arguments
from imgframe.golang.time import format_duration
from imgframe.kubelet.releases import NEWEST, KubernetesRelease
from imgframe.kubelet.runtime import CriError, Runtime

EVERYTHING = (1 << 63) - 1
"""Bytes that eviction asks for, and the age in nanoseconds of an image that was never used."""


@dataclass(slots=True)
class ImageRecord:
    """What the kubelet remembers of an image; ``last_used`` is None where no run has seen it in use."""

    first_detected: int
    last_used: int | None
    size: int
    pinned: bool


class Candidate(NamedTuple):
    """An image that may be deleted in a run: its record as it was when the candidates were gathered."""

    key: str
    last_used: int | None
    first_detected: int
    size: int


@dataclass(slots=True)
class Run:
    """One run, as far as it came.

    Attributes:
        error: why it failed; None: it did not.
        candidates: in no order; ``used`` and ``pinned``: keys of the images that are none.
        age, space: IDs in the order in which each pass looked at them.
        removed: ID and pass ("age" or "space") of what was deleted; ``failed``: IDs whose deletion failed.
        usage: percent; ``wanted`` and ``freed``: bytes, as the kubelet believes. None: the run did not come so far.
        events: type, reason and message.
        kept: IDs that the disk pass looked at and kept; None: the hook for what is kept was not called.
    """

    error: str | None = None
    candidates: list[Candidate] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    pinned: list[str] = field(default_factory=list)
    age: list[str] = field(default_factory=list)
    space: list[str] = field(default_factory=list)
    removed: list[tuple[str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    usage: int | None = None
    wanted: int | None = None
    freed: int | None = None
    events: list[tuple[str, str, str]] = field(default_factory=list)
    kept: list[str] | None = None


class _Failed(Exception):  # noqa: N818 -- the end of a run, not an error of ours
    """A run ends with an error of its own."""


Order = Callable[[list[Candidate]], list[Candidate]]


def by_use(candidates: list[Candidate]) -> list[Candidate]:
    """The order of deletion: least recently used first, never used before everything, then first detected.

    The kubelet orders equal keys at random; here they follow their ID.
    """
    return sorted(candidates, key=lambda one: (*_age_key(one), one.key))


def _age_key(one: Candidate) -> tuple[bool, int, int]:
    return one.last_used is not None, one.last_used or 0, one.first_detected


def int64(value: int) -> int:
    """The value as Go's int64 holds it after an overflow.

    Example:
        >>> int64(1 << 63)
        -9223372036854775808
    """
    return ((value + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)


def truncated(value: int, by: int) -> int:
    """The quotient rounded towards zero, as Go divides.

    Example:
        >>> truncated(-7, 2)
        -3
    """
    quotient = abs(value) // abs(by)
    return quotient if (value < 0) == (by < 0) else -quotient


def used_percent(capacity: int, available: int) -> int:
    """How full a file system is, in percent, rounded up as the kubelet rounds.

    Example:
        >>> used_percent(10_000, 1_599)
        85
    """
    return 100 - truncated(int64(100 * available), capacity)


def wanted_bytes(capacity: int, available: int, low: int) -> int:
    """Bytes to free so that a file system is ``low`` percent full.

    Example:
        >>> wanted_bytes(10_000, 1_599, 80)
        401
    """
    return int64(truncated(int64(capacity * (100 - low)), 100) - available)


class ImageGC:
    """The kubelet's image manager from its start on: a restart is a new one, which knows nothing.

    Args:
        high, low: percent of the file system at which the disk pass begins, and to which it frees.
        min_age, max_age: nanoseconds; a ``max_age`` of 0 switches the age pass off.
        runtime: the calls to the container runtime.
        clock: nanoseconds now.
        release: whose texts and gates.
        image_volume: the gate; None: the release's default.
        by_handler: the gate RuntimeClassInImageCriApi.
        order: of deletion; for what is equal in :func:`by_use` any order is possible.

    Raises:
        InputError: the percentages cannot be used, with the kubelet's words.
    """

    def __init__(
        self,
        high: int,
        low: int,
        min_age: int,
        max_age: int,
        *,
        runtime: Runtime,
        clock: Callable[[], int],
        release: KubernetesRelease = NEWEST,
        image_volume: bool | None = None,
        by_handler: bool = False,
        order: Order = by_use,
    ) -> None:
        for name, value in (("HighThresholdPercent", high), ("LowThresholdPercent", low)):
            if not 0 <= value <= 100:
                raise InputError(f"invalid {name} {value}, must be in range [0-100]")
        if low > high:
            raise InputError(f"LowThresholdPercent {low} can not be higher than HighThresholdPercent {high}")
        self.high, self.low, self.min_age, self.max_age = high, low, min_age, max_age
        self.records: dict[str, ImageRecord] = {}
        self._runtime, self.clock, self._release = runtime, clock, release
        self._volumes = release.image_volume if image_volume is None else image_volume
        self._by_handler, self._order = by_handler, order
        self._began: int | None = None

    def start(self) -> None:
        """The loop of collections begins: from here the maximum age is counted."""
        self._began = self.clock()

    def detect(self) -> Run:
        """Look which images there are and which are used, and delete nothing."""
        run = Run()
        try:
            self._detect(self.clock())
        except CriError as error:
            run.error = str(error)
        return run

    def collect(self) -> Run:
        """One collection: detection, then the age pass, then the disk pass."""
        run = Run()
        try:
            self._collect(run)
        except (CriError, _Failed) as error:
            run.error = str(error)
        return run

    def evict(self) -> Run:
        """Delete every image that is old enough, as the eviction manager asks for under disk pressure."""
        run = Run(freed=0)
        begun = self.clock()
        try:
            candidates = self._candidates(begun, run)
            self._free(EVERYTHING, candidates, begun, run)
        except (CriError, _Failed) as error:
            run.error = str(error)
        return run

    def _key(self, image: str, handler: str) -> str:
        return f"{image},{handler}" if self._by_handler and handler else image

    def _detect(self, begun: int) -> set[str]:
        """Refresh the records; the keys of the images in use."""
        images = self._runtime.images()
        self._runtime.sandboxes()
        containers = self._runtime.containers()
        used = {self._key(one.image_id, one.handler) for one in containers}
        if self._volumes:
            for one in containers:
                try:
                    used.update(self._runtime.mounted_images(one.id))
                except CriError as error:
                    raise CriError(f"get container status: runtime container status: {error}") from error
        now = self.clock()
        listed = {self._key(image.id, image.handler): image for image in images}
        for key, image in listed.items():
            record = self.records.setdefault(key, ImageRecord(begun, None, 0, pinned=False))
            if key in used:
                record.last_used = now
            record.size, record.pinned = image.size, image.pinned
        for key in self.records.keys() - listed.keys():
            del self.records[key]
        return used

    def _candidates(self, begun: int, run: Run) -> list[Candidate]:
        used = self._detect(begun)
        for key, record in self.records.items():
            if key in used:
                run.used.append(key)
            elif record.pinned:
                run.pinned.append(key)
            else:
                run.candidates.append(Candidate(key, record.last_used, record.first_detected, record.size))
                if self._by_handler and not key.partition(",")[0]:
                    reason, message = self._release.invalid_id
                    run.events.append(("Warning", reason, message.format(key=key)))
        return self._order(
            [one for one in run.candidates if not self._by_handler or one.key.partition(",")[0]]
        )

    def _collect(self, run: Run) -> None:
        begun = self.clock()
        candidates = self._candidates(begun, run)
        if self.max_age and begun - (self._began or 0) > self.max_age:
            candidates = self._age_pass(candidates, begun, run)
        capacity, available = map(int64, self._runtime.file_system())
        available = min(available, capacity)
        if capacity == 0:
            text = "invalid capacity 0 on image filesystem"
            self._warn(run, "InvalidDiskCapacity", text)
            raise _Failed(text)
        usage = used_percent(capacity, available)
        if usage < self.high:
            return
        run.usage, run.wanted = usage, wanted_bytes(capacity, available, self.low)
        freed = self._free(run.wanted, candidates, begun, run)
        if freed < run.wanted:
            text = self._shortfall(run, usage, capacity)
            self._warn(run, "FreeDiskSpaceFailed", text)
            raise _Failed(text)

    def _age_pass(self, candidates: list[Candidate], begun: int, run: Run) -> list[Candidate]:
        """Delete what was not used for longer than the maximum age; the candidates that stay."""
        left, errors = [], []
        for one in candidates:
            run.age.append(_image_id(one, by_handler=self._by_handler))
            age = EVERYTHING if one.last_used is None else begun - one.last_used
            if age <= self.max_age:
                left.append(one)
            elif (error := self._remove(one, "age", run)) is not None:
                errors.append(error)
        if errors:
            raise _Failed(
                f"wanted to free images older than {format_duration(self.max_age)}, "
                f"encountered errors in image deletion: {_aggregate(errors)}"
            )
        return left

    def _free(self, wanted: int, candidates: list[Candidate], begun: int, run: Run) -> int:
        """The disk pass: delete until enough is freed; bytes as the kubelet believes."""
        errors, kept = [], []
        run.freed = 0
        for one in candidates:
            image = _image_id(one, by_handler=self._by_handler)
            run.space.append(image)
            if (
                one.last_used is not None and one.last_used >= begun
            ) or begun - one.first_detected < self.min_age:
                kept.append(image)
                continue
            if (error := self._remove(one, "space", run)) is not None:
                errors.append(error)
                continue
            run.freed = int64(run.freed + one.size)
            if run.freed >= wanted:
                break
        if errors:
            raise _Failed(
                f"wanted to free {wanted} bytes, but freed {run.freed} bytes space with errors in image deletion: "
                f"{_aggregate(errors)}"
            )
        run.kept = kept
        return run.freed

    def _remove(self, one: Candidate, pass_: str, run: Run) -> str | None:
        """Delete an image; what the runtime said if it could not."""
        image = _image_id(one, by_handler=self._by_handler)
        try:
            self._runtime.remove(image)
        except CriError as error:
            run.failed.append(image)
            return str(error)
        self.records.pop(one.key, None)
        run.removed.append((image, pass_))
        return None

    def _shortfall(self, run: Run, usage: int, capacity: int) -> str:
        if self._release.names_wanted_bytes:
            return (
                f"Failed to garbage collect required amount of images. Attempted to free {run.wanted} bytes, but only found "
                f"{run.freed} bytes eligible to free."
            )
        return (
            f"Insufficient free disk space on the node's image filesystem ({usage}% of {_binary(capacity)} used). Failed to free "
            f"sufficient space by deleting unused images (freed {run.freed} bytes). Investigate disk usage, as it could be used by "
            "active images, logs, volumes, or other data."
        )

    def _warn(self, run: Run, reason: str, text: str) -> None:
        run.events.append(("Warning", reason, self.event_text(text)))

    def event_text(self, text: str) -> str:
        """The message of an event about an error."""
        return sprintf_without_arguments(text) if self._release.events_are_formats else text


def _image_id(one: Candidate, *, by_handler: bool) -> str:
    return one.key.partition(",")[0] if by_handler else one.key


def _aggregate(errors: list[str]) -> str:
    """Errors as Kubernetes joins them: each text once, several in brackets."""
    unique = list(dict.fromkeys(errors))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"


def _binary(size: int) -> str:
    """Bytes in steps of 1024, with one decimal from KiB on."""
    if size < 1024:
        return f"{size} B"
    value, unit = float(size), "B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):  # noqa: B007 -- the last one tried
        value /= 1024
        if value < 1024:
            break
    return f"{value:.1f} {unit}"
