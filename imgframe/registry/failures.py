"""Failures on their way out: Go's words, cleaned of every secret, with the image, the host and what to do next."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from imgframe.errors import InputError, RegistryDenied, RegistryError, RegistryNotFound

_SHORTEST_SECRET = 4
_HINTS = (
    ("signed by unknown authority", "name its authority with 'ca' in hosts.toml, or pass insecure=True"),
    ("server gave HTTP response", 'write server = "http://…" in its hosts.toml'),
    ("first record does not look like", 'write server = "http://…" in its hosts.toml'),
    ("connection refused", "check that the registry runs and that the port is right"),
    ("no such host", "check the name of the registry, or name a mirror in hosts.toml"),
    ("toomanyrequests", "wait, or log in"),
    ("what names it says", "have the image built and pushed again"),
    ("no answer within", "try again, or name a mirror in hosts.toml"),
)


class Problem(Exception):  # noqa: N818 -- never leaves this room
    """Why a request came to nothing: Go's words, the HTTP status (0: no answer), and how the first TLS record began."""

    def __init__(
        self,
        words: str,
        *,
        status: int = 0,
        host: str = "",
        pause: float = 0.0,
        passing: bool = False,
        record: bytes = b"",
    ) -> None:
        super().__init__(words)
        self.words = words
        self.status = status
        self.host = host
        self.pause = pause
        """Seconds that the server asked for."""
        self.passing = passing
        """Another try may help."""
        self.record = record

    def behind(self, prefix: str) -> Problem:
        """The same, with words before it."""
        return Problem(
            prefix + self.words,
            status=self.status,
            host=self.host,
            pause=self.pause,
            passing=self.passing,
            record=self.record,
        )


class Unauthorized(Problem):
    """The registry does not accept what it was shown."""


class Absent(Problem):
    """The registry does not have it."""


class Secrets:
    """Every secret of a session, so that no server can make us print one back."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def add(self, *secrets: str) -> None:
        """Remembers secrets, also as they look inside addresses."""
        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET:
                self._known |= {secret, urllib.parse.quote_plus(secret), urllib.parse.quote(secret)}

    def clean(self, text: str) -> str:
        """The text without them."""
        for secret in sorted(self._known, key=len, reverse=True):
            text = text.replace(secret, "<secret>")
        return text

    def __repr__(self) -> str:
        return f"<{len(self._known)} secrets>"


@contextmanager
def speaking(reference: str, host: str, secrets: Secrets) -> Iterator[None]:
    """Turns problems inside into the errors of :mod:`imgframe.errors`; causes are cut, for they may hold secrets."""
    try:
        yield
    except Problem as problem:
        raise _error(problem, reference, host, secrets) from None
    except InputError as problem:
        error = RegistryError(f"{reference}: {problem}", reference=reference, host=host, go=problem.go)
        raise error from None


def _error(problem: Problem, reference: str, host: str, secrets: Secrets) -> RegistryError:
    go = secrets.clean(problem.words)
    kind: type[RegistryError] = RegistryError
    hint = next((hint for words, hint in _HINTS if words in go), "")
    if isinstance(problem, Absent):
        kind = RegistryNotFound
    elif isinstance(problem, Unauthorized) or problem.status in {401, 403}:
        kind, hint = RegistryDenied, "check the credentials in docker's config.json, and its rights"
    where = problem.host or host
    message = go if go.startswith(f"{reference}:") else f"{reference}: {go}"
    if where not in message:
        message += f" (from {where})"
    if hint:
        message += f"; {hint}"
    return kind(message, reference=reference, host=where, status=problem.status, go=go)
