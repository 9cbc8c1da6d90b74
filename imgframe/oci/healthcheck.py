"""The label ``nerdctl/healthcheck``: Docker's health check as Go's encoding/json writes it, ``<>&`` escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

HEALTHCHECK_LABEL = "nerdctl/healthcheck"

_FIELDS = ("Test", "Interval", "Timeout", "Retries", "StartPeriod")
_ESCAPES = re.compile('[\x00-\x1f"\\\\<>&\u2028\u2029]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def json_string(value: str) -> str:
    """A JSON string as Go writes it."""
    return '"' + _ESCAPES.sub(lambda found: _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}", value) + '"'


def healthcheck_text(check: Mapping[str, Any]) -> str:
    """The value of the label: the fields that are set, in the order of Go's struct."""
    texts = []
    for name in _FIELDS:
        value = check.get(name)
        if value:
            written = (
                json.dumps(value) if isinstance(value, int) else f"[{','.join(map(json_string, value))}]"
            )
            texts.append(f'"{name}":{written}')
    return "{" + ",".join(texts) + "}"
