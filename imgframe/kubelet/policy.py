"""The part of a KubeletConfiguration that governs image collection."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgframe.errors import InputError, MissingExtra
from imgframe.golang import time as gotime

_MINUTE = 60 * gotime.SECOND
_FIELDS = {
    "imageGCHighThresholdPercent": "high",
    "imageGCLowThresholdPercent": "low",
    "imageMinimumGCAge": "min_age",
    "imageMaximumGCAge": "max_age",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """When the kubelet begins to delete images, to where, and which are too young or too old.

    Attributes:
        high: percent of the image file system from which on images are deleted.
        low: percent to which it then frees.
        min_age: a Go duration such as ``"2m"``, or nanoseconds; younger images stay. 0 means the default, 2 minutes.
        max_age: unused images older than this go whatever the disk; None or 0: no such limit.

    Raises:
        InputError: the kubelet would refuse it: 0 <= low < high <= 100 and max_age > min_age must hold.

    Example:
        >>> from imgframe import kubelet
        >>> kubelet.Policy(high=90, low=70).min_age_ns
        120000000000
    """

    high: int = 85
    low: int = 80
    min_age: str | int = "2m"
    max_age: str | int | None = None

    def __post_init__(self) -> None:
        for name, value in (("high", self.high), ("low", self.low)):
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 100:
                raise InputError(f"{name} {value!r} is not a percentage; expected an integer from 0 to 100")
        if self.low >= self.high:
            raise InputError(f"low {self.low} is not less than high {self.high}")
        if self.min_age_ns < 0 or self.max_age_ns < 0:
            raise InputError(f"min_age {self.min_age!r} and max_age {self.max_age!r} must not be negative")
        if self.max_age_ns and self.max_age_ns <= self.min_age_ns:
            raise InputError(f"max_age {self.max_age!r} is not greater than min_age {self.min_age!r}")

    @property
    def min_age_ns(self) -> int:
        """The minimum age in nanoseconds."""
        return _nanoseconds(self.min_age) or 2 * _MINUTE

    @property
    def max_age_ns(self) -> int:
        """The maximum age in nanoseconds; 0: none."""
        return _nanoseconds(self.max_age or 0)

    @classmethod
    def of(cls, source: str | os.PathLike[str] | Mapping[str, Any]) -> Policy:
        """The policy of a KubeletConfiguration: the path of a YAML or JSON file, or its content as a mapping.

        What the configuration leaves out has the kubelet's default; its other fields are ignored.

        Raises:
            InputError: the file cannot be read, is no KubeletConfiguration, or the kubelet would refuse its values.
            MissingExtra: a YAML file, and PyYAML is not installed.

        Example:
            >>> Policy.of({"kind": "KubeletConfiguration", "imageGCHighThresholdPercent": 90})
            Policy(high=90, low=80, min_age='2m', max_age=None)
        """
        content = source if isinstance(source, Mapping) else _read(Path(source))
        kind = content.get("kind", "KubeletConfiguration")
        if kind != "KubeletConfiguration":
            raise InputError(f"{kind!r} is not a KubeletConfiguration")
        return cls(
            **{ours: content[field] for field, ours in _FIELDS.items() if content.get(field) is not None}
        )


def _nanoseconds(length: str | int) -> int:
    return length if isinstance(length, int) else gotime.parse_duration(length)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read: {error}; expected a KubeletConfiguration in YAML or JSON"
        ) from error
    content = _json(text) if text.lstrip().startswith("{") else _yaml(text)
    if not isinstance(content, Mapping):
        raise InputError(f"{path} is not a KubeletConfiguration; expected a mapping in YAML or JSON")
    return content


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise MissingExtra("PyYAML", "kubernetes") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
