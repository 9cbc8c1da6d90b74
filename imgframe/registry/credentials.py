"""The credentials of a registry: from docker's ``config.json``, or from the helper programs that it names.

They are kept in memory only: no repr, log line or error shows any part of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from dataclasses import dataclass, field
from typing import Any

from imgframe.errors import InputError
from imgframe.registry import dockerconfig, urls
from imgframe.registry.dockerconfig import AuthConfig, DockerConfig

NOT_FOUND = "credentials not found in native keychain"
_TOKEN_USER = "<token>"  # noqa: S105 -- the user name under which helpers keep identity tokens
HELPER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Login:
    """What a registry is sent: a user and a password, or an identity token with an empty user; hidden in the repr."""

    username: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials found for a server."""

    auth: AuthConfig
    server_address: str

    @property
    def login(self) -> Login:
        """What the registry is sent; an identity token takes precedence over a password, a registry token is not used."""
        if self.auth.identity_token:
            return Login("", self.auth.identity_token)
        return Login(self.auth.username, self.auth.password)


class _HelperFailed(Exception):  # noqa: N818 -- never leaves this module
    """A helper program failed; the message is that of docker-credential-helpers."""


async def find(config: DockerConfig, host: str) -> Credentials:
    """The credentials for a host (nerdctl's ``CredentialsStore.Retrieve``).

    Every name under which they may be kept is tried until one has some; helper programs are run.

    Raises:
        InputError: the lookup of the last name failed; ``go`` is Go's message.
    """
    address = urls.parse(host)
    found = AuthConfig()
    failure: _HelperFailed | None = None
    for name in address.identifiers:
        try:
            found, failure = await _look_up(config, name), None
        except _HelperFailed as problem:
            failure = problem
            continue
        if found:
            break
    if failure is not None:
        go = f"unable to retrieve credentials\n{failure}"
        raise InputError(go, go=go)
    return Credentials(found, address.server_address)


async def _look_up(config: DockerConfig, name: str) -> AuthConfig:
    helper = config.helper_for(name)
    found = await _ask(helper, name) if helper else config.auth(name)
    return AuthConfig(found.username.strip(), found.password, found.identity_token, found.registry_token)


async def _ask(helper: str, server: str) -> AuthConfig:
    """The answer of ``docker-credential-HELPER get``."""
    code, answer = await _run(f"docker-credential-{helper}", server)
    if code:
        words = answer.strip()
        if words == NOT_FOUND:
            return AuthConfig()
        raise _failed(f"exit status {code}" if code > 0 else f"signal {-code}", words)
    try:
        found: Any = json.loads(answer)
        fields = {key.lower(): value for key, value in found.items()}
        user, secret = fields.get("username", ""), fields.get("secret", "")
    except (ValueError, AttributeError):
        user = secret = None
    if not isinstance(user, str) or not isinstance(secret, str):
        # neither the answer nor the parser's message, which may hold the secret
        raise _failed("the answer is not the JSON of a credential", "")
    return AuthConfig(identity_token=secret) if user == _TOKEN_USER else AuthConfig(user, secret)


async def _run(program: str, server: str) -> tuple[int, str]:
    if os.sep in program or shutil.which(program) is None:
        raise _failed(f'exec: "{program}": executable file not found in $PATH', "")
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "get",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as problem:
        raise _failed(f"fork/exec {program}: {(problem.strerror or '').lower()}", "") from None
    try:
        async with asyncio.timeout(HELPER_SECONDS):
            output, _ = await process.communicate(server.encode())
    except TimeoutError:
        raise _failed(f"no answer within {HELPER_SECONDS:g} s", "") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode or 0, output.decode("utf-8", "replace")


def _failed(problem: str, output: str) -> _HelperFailed:
    return _HelperFailed(f"error getting credentials - err: {problem}, out: `{output}`")


class CredentialStore:
    """The credentials of one session: the file is read once, each host is looked up once."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._file = dockerconfig.location(path)
        self._config: DockerConfig | None = None
        self._logins: dict[str, asyncio.Task[Credentials]] = {}

    def open(self) -> None:
        """Reads the file; raises :class:`~imgframe.errors.InputError` if it cannot be used."""
        if self._config is None:
            self._config = dockerconfig.load(self._file)

    async def login(self, host: str) -> Login:
        """What the host is sent; empty if it has no credentials."""
        self.open()
        assert self._config is not None
        task = self._logins.get(host)
        if task is None:
            task = self._logins[host] = asyncio.create_task(find(self._config, host))
        return (await asyncio.shield(task)).login
