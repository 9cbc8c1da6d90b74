"""Failed requests as errors: Go's message without any secret, with the image, the host and what to do about it."""

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
    ("its descriptor says", "have the image built and pushed again"),
    ("no answer within", "try again, or name a mirror in hosts.toml"),
)


class RequestFailure(Exception):  # noqa: N818 -- never leaves this room
    """Why a request failed.

    Attributes:
        message: Go's message.
        status: the HTTP status; 0 without a response.
        host: the server.
        retry_after: seconds that the server asked for.
        transient: whether another attempt may succeed.
        tls_record: the first bytes of a response to a TLS handshake that is none.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        host: str = "",
        retry_after: float = 0.0,
        transient: bool = False,
        tls_record: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.host = host
        self.retry_after = retry_after
        self.transient = transient
        self.tls_record = tls_record

    def reworded(self, message: str) -> RequestFailure:
        """The same failure with another message."""
        facts = {name: value for name, value in vars(self).items() if name != "message"}
        return RequestFailure(message, **facts)

    def prefixed(self, prefix: str) -> RequestFailure:
        """The same failure with a prefix to its message."""
        return self.reworded(prefix + self.message)


class Unauthorized(RequestFailure):
    """The registry refused the credentials, or requires some."""


class Absent(RequestFailure):
    """The registry does not have what was requested."""


class Secrets:
    """Every secret of a session, so that nothing a server sends back makes an error show one."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def add(self, *secrets: str) -> None:
        """Adds secrets, also in the form they have in URLs."""
        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET:
                self._known |= {secret, urllib.parse.quote_plus(secret), urllib.parse.quote(secret)}

    def clean(self, text: str) -> str:
        """The text with each secret replaced by ``<secret>``."""
        for secret in sorted(self._known, key=len, reverse=True):
            text = text.replace(secret, "<secret>")
        return text

    def __repr__(self) -> str:
        return f"<{len(self._known)} secrets>"


@contextmanager
def registry_errors(reference: str, host: str, secrets: Secrets) -> Iterator[None]:
    """Raises failures inside as :class:`~imgframe.errors.RegistryError`, without their causes, which may hold secrets."""
    try:
        yield
    except RequestFailure as failure:
        raise _error(failure, reference, host, secrets) from None
    except InputError as refused:
        raise RegistryError(
            f"{reference}: {refused}", reference=reference, host=host, go=refused.go
        ) from None


def _error(failure: RequestFailure, reference: str, host: str, secrets: Secrets) -> RegistryError:
    go = secrets.clean(failure.message)
    kind: type[RegistryError] = RegistryError
    hint = next((hint for part, hint in _HINTS if part in go), "")
    if isinstance(failure, Absent):
        kind = RegistryNotFound
    elif isinstance(failure, Unauthorized) or failure.status in {401, 403}:
        kind, hint = RegistryDenied, "check the credentials in docker's config.json, and its rights"
    where = failure.host or host
    message = go if go.startswith(f"{reference}:") else f"{reference}: {go}"
    if where not in message:
        message += f" (from {where})"
    if hint:
        message += f"; {hint}"
    return kind(message, reference=reference, host=where, status=failure.status, go=go)
