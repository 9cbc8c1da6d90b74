"""Steps as actions take them, the options of a step, and outcomes as actions give them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from imgframe import platforms
from imgframe.errors import (
    DocumentError,
    ImgframeError,
    RegistryDenied,
    RegistryError,
    RegistryNotFound,
    TimedOut,
    Unreachable,
    WireError,
)
from imgframe.planning.options import PullMode, resolve_unpack
from imgframe.platforms import Matcher, Platform

Step = dict[str, Any]
"""A row of ``Plan.steps``."""

Outcome = dict[str, Any]
"""What became of a step: ``status`` and the other columns of a Result that are known."""


def done(before: str | None, after: str | None, **columns: Any) -> Outcome:
    """The step is done; ``before`` and ``after`` are the digests on the node."""
    return {"status": "done", "before": before, "after": after, **columns}


def gone(message: str, digest: str | None = None) -> Outcome:
    """There was nothing left to do."""
    return {"status": "gone", "message": message, "before": digest, "after": digest}


def refused(message: str, digest: str | None = None) -> Outcome:
    """The node is not as the plan expects it; ``digest`` is what it has, unchanged."""
    return {"status": "refused", "message": message, "before": digest, "after": digest}


def failed(message: str) -> Outcome:
    """The step failed."""
    return {"status": "failed", "message": message}


def unknown(message: str) -> Outcome:
    """Whether the step was taken could not be learnt."""
    return {"status": "unknown", "message": message}


def failed_by(step: Step, error: Exception) -> Outcome:
    """The step failed: the image, what went wrong, what is left of it, and what to do next."""
    name = step["to"] or step["name"]
    words = str(error) if isinstance(error, ImgframeError) else f"{type(error).__name__}: {error}"
    words = words if words.startswith(f"{name}:") else f"{name}: {words}"
    return failed("; ".join([words, *getattr(error, "__notes__", ())]) + _advice(error))


def no_match(digest: str) -> DocumentError:
    """No entry of an index is for the wanted platform; nerdctl's words."""
    return DocumentError(f"no match for platform in manifest {digest}: not found", code="not_found")


def _advice(error: Exception) -> str:
    """What to do next, where the error itself does not say."""
    match error:
        case ImgframeError() if "no space left on device" in str(error):
            return "; free space on the node, and apply the plan again"
        case Unreachable():
            return "; start containerd and apply the plan again: nothing is transferred twice"
        case TimedOut():
            return "; see whether containerd on the node hangs, and apply the plan again, with a longer timeout= if it is slow"
        case RegistryNotFound():
            return "; check the name and the tag"
        case RegistryDenied():
            return "; log in (docker login), or name another config.json with docker_config="
        case RegistryError() if not any(words in str(error) for words in ("try again", "pushed again")):
            return "; see whether the registry is up, and apply the plan again"
        case WireError():
            return "; see containerd's log, and apply the plan again"
        case DocumentError() if error.code == "not_found" and "no match for platform" in str(error):
            return "; choose another one with platform="
    return ""


@dataclass(frozen=True)
class StepOptions:
    """How a step pulls, ensures or pushes an image.

    Attributes:
        platforms: specifiers; none: the node's own platform.
        all_platforms: everything that the index names.
        unpack: None: if there is exactly one platform.
        snapshotter: to unpack into; empty: the namespace's default.
        mode: of ensure.
        via: ``"client"``, ``"transfer"``, or None: whichever serves best.
        registry: the options of the registry session.
    """

    platforms: tuple[str, ...] = ()
    all_platforms: bool = False
    unpack: bool | None = None
    snapshotter: str = ""
    mode: PullMode = PullMode.MISSING
    via: str | None = None
    registry: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, step: Step) -> StepOptions:
        """The options of a step, written by :func:`imgframe.planning.options.options_of`."""
        found = json.loads(step["options"] or "{}")
        platform = found.get("platform")
        return cls(
            tuple(platform) if isinstance(platform, list) else (),
            platform == "all",
            found.get("unpack"),
            found.get("snapshotter", ""),
            PullMode.of(found.get("mode", PullMode.MISSING)),
            found.get("via"),
            {key: found[key] for key in ("hosts_dirs", "insecure", "docker_config") if found.get(key)},
        )

    def matcher(self, host: Platform) -> Matcher | None:
        """Which entries of an index are wanted; None: all."""
        return None if self.all_platforms else platforms.nerdctl(self.platforms, host=host)

    def wanted(self, host: Platform) -> list[Platform]:
        """The platforms that are named, or the node's own; none: all."""
        if self.all_platforms:
            return []
        return platforms.platform_slice(self.platforms, host=host) if self.platforms else [host]

    def unpacks(self, host: Platform) -> bool:
        """Whether the image is unpacked (nerdctl's ``--unpack``)."""
        return resolve_unpack(len(self.wanted(host)), self.unpack)

    @property
    def custom_registry(self) -> bool:
        """Whether registries are found or trusted in a way that containerd's Transfer service does not know."""
        return bool(self.registry.get("hosts_dirs") or self.registry.get("insecure"))
