"""Which steps, what is kept and why: pure functions from frames to frames. Nothing here can write."""

from imgframe.planning.decision import Decision
from imgframe.planning.local_image import EnsuredImage
from imgframe.planning.options import PullMode
from imgframe.planning.prune_steps import decide_prune
from imgframe.planning.prune_to_steps import decide_prune_to

__all__ = ["Decision", "EnsuredImage", "PullMode", "decide_prune", "decide_prune_to"]
