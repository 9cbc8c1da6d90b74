"""The label ``nerdctl/healthcheck``: Docker's health check as Go's encoding/json writes it, ``<>&`` escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from imgframe.golang.json import encoder

HEALTHCHECK_LABEL = "nerdctl/healthcheck"

_FIELDS = ("Test", "Interval", "Timeout", "Retries", "StartPeriod")


def healthcheck_text(check: Mapping[str, Any]) -> str:
    """The value of the label: the fields that are set, in the order of Go's struct."""
    texts = []
    for name in _FIELDS:
        value = check.get(name)
        if value:
            written = (
                json.dumps(value) if isinstance(value, int) else f"[{','.join(map(encoder.string, value))}]"
            )
            texts.append(f'"{name}":{written}')
    return "{" + ",".join(texts) + "}"
