"""Ask registries again right before a deletion: what could be pulled again when the plan was made may be gone since."""

from __future__ import annotations

import asyncio
from typing import Any

from imgframe.errors import ImgframeError, RegistryNotFound
from imgframe.upstream.lookup import RegistryOptions
from imgframe.upstream.sessions import RegistrySessions

OPTION = "require_remote"
"""In the options of a step: that a registry must have the image, under which reference, and how it is asked."""


class Recheck:
    """Asks for the images of the steps of a plan, each once for all nodes."""

    def __init__(self, sessions: RegistrySessions) -> None:
        self._sessions = sessions
        self._gate = asyncio.Semaphore(RegistryOptions().max_parallel)

    async def objection(self, options: dict[str, Any]) -> str | None:
        """Why a step with these options must not delete; None: nothing is required, or the registry has the image."""
        required = options.get(OPTION)
        if required is None:
            return None
        how = {name: value for name, value in required.items() if name != "reference"}
        try:
            async with self._gate:
                await self._sessions.image(required["reference"], how).resolve()
        except RegistryNotFound as error:
            return f"no registry has it any more: {error}; plan again"
        except ImgframeError as error:  # such as a config.json that cannot be read: then nothing was learnt
            return f"whether a registry has it could not be learnt: {error}; plan again"
        return None
