"""The options of pull, ensure and push: how a step is done, checked and written as JSON into the plan."""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Iterable
from typing import Any

from imgframe import platforms
from imgframe.errors import InputError

ALL = ("all", "*")
"""The words for every platform of an index."""

WAYS = (None, "client", "transfer")


class PullMode(enum.StrEnum):
    """When an image is pulled (imgutil's PullMode).

    Example:
        >>> PullMode.of("missing")
        <PullMode.MISSING: 'missing'>
        >>> PullMode.of("sometimes")
        Traceback (most recent call last):
        imgframe.errors.InputError: unexpected pull mode: "sometimes"; expected always, missing or never
    """

    ALWAYS = "always"
    MISSING = "missing"
    NEVER = "never"

    @classmethod
    def of(cls, value: object) -> PullMode:
        """The mode of that name.

        Raises:
            InputError: there is none; ``go`` holds Go's words.
        """
        try:
            return cls(str(value))
        except ValueError:
            go = f'unexpected pull mode: "{value}"'
            raise InputError(f"{go}; expected always, missing or never", go=go) from None


def platform_option(platform: Any) -> list[str] | str | None:
    """Platforms as an option of a step: None (the node's own), ``"all"``, or a list of specifiers.

    Raises:
        InputError: it is neither text nor a list of texts.
        PlatformError: a specifier cannot be parsed.

    Example:
        >>> platform_option("amd64,arm64"), platform_option("*"), platform_option([])
        (['amd64', 'arm64'], 'all', None)
    """
    if platform is None or platform == "":
        return None
    if isinstance(platform, platforms.Platform):
        given: list[Any] = [platforms.format(platform)]
    elif isinstance(platform, str):
        given = platform.split(",")
    else:
        given = list(platform) if isinstance(platform, Iterable) else [platform]
    if not all(isinstance(one, str) for one in given):
        raise InputError(
            f"platform {platform!r} is neither a specifier such as 'linux/arm64', nor a list of them, nor 'all'"
        )
    if any(one in ALL for one in given):
        return "all"
    platforms.platform_slice(given)
    return given or None


def registry_options(
    hosts_dirs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    docker_config: Any,
    *,
    insecure: bool,
) -> dict[str, Any]:
    """How registries are asked, as a plan holds it: paths, but nothing that is in the files there.

    Raises:
        InputError: ``docker_config`` is no path.
    """
    if docker_config is not None and not isinstance(docker_config, str | os.PathLike):
        raise InputError(
            "docker_config of a plan is the path of a config.json: a plan holds no credentials; "
            "give others when it is applied: plan.apply(docker_config=...)"
        )
    dirs = [hosts_dirs] if isinstance(hosts_dirs, str | os.PathLike) else hosts_dirs
    return {
        "hosts_dirs": [os.fspath(one) for one in dirs] or None,
        "insecure": insecure or None,
        "docker_config": None if docker_config is None else os.fspath(docker_config),
    }


def options_of(
    *,
    platform: Any = None,
    unpack: bool | None = None,
    snapshotter: str | None = None,
    hosts_dirs: Iterable[str | os.PathLike[str]] = (),
    insecure: bool = False,
    docker_config: Any = None,
    via: str | None = None,
    mode: PullMode | None = None,
) -> str:
    """The options of a step as JSON, without defaults and never with credentials.

    Raises:
        InputError: a value is invalid.
    """
    chosen = platform_option(platform)
    if mode is not None or unpack is not None:
        count = 1 if chosen is None else 0 if chosen == "all" else len(platforms.platform_slice(chosen))
        resolve_unpack(count, unpack)
    if via not in WAYS:
        raise InputError(f"via {via!r} is none of 'client', 'transfer' and None (whichever works best)")
    found = {
        "mode": None if mode is None else str(mode),
        "platform": chosen,
        "unpack": unpack,
        "snapshotter": snapshotter or None,
        **registry_options(hosts_dirs, docker_config, insecure=insecure),
        "via": via,
    }
    return json.dumps(
        {key: value for key, value in found.items() if value is not None},
        ensure_ascii=False,
        separators=(",", ":"),
    )


def refuse_transfer(options: str) -> None:
    """Refuse options of a push that containerd's Transfer service does not support.

    For a part of an index it sends some manifests and then the whole index, which registries reject (containerd 2.1.9).

    Raises:
        InputError: ``via="transfer"`` together with platforms, folders of hosts.toml, or ``insecure``.

    Example:
        >>> refuse_transfer('{"via":"transfer","insecure":true}')
        Traceback (most recent call last):
        imgframe.errors.InputError: push(via='transfer') does not support insecure=True: containerd configures registries itself; use via='client'
    """
    chosen = json.loads(options)
    if chosen.get("via") != "transfer":
        return
    if chosen.get("platform", "all") != "all":
        raise InputError(
            f"push(via='transfer') sends whole images, not {', '.join(chosen['platform'])}; use via='client' to push platforms"
        )
    for name in ("hosts_dirs", "insecure"):
        if chosen.get(name):
            raise InputError(
                f"push(via='transfer') does not support {name}={chosen[name]!r}: containerd configures registries itself; use via='client'"
            )


def resolve_unpack(platforms: int, unpack: Any) -> bool:
    """Whether to unpack; None means yes if there is just one platform. True with several is an error, as in nerdctl.

    Raises:
        InputError: it is True, and there is not just one platform.
    """
    if unpack is None:
        return platforms == 1
    if not isinstance(unpack, bool):
        raise InputError(f"unpack {unpack!r} is none of True, False and None (only if there is one platform)")
    if unpack and platforms != 1:
        raise InputError(
            "unpacking requires a single platform to be specified (e.g., --platform=amd64); give platform= one, or unpack=False"
        )
    return unpack
