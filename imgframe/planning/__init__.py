"""Which steps, what is kept and why: pure functions from frames to frames. Nothing here can write."""

from imgframe.planning.ensuring import EnsuredImage, PullMode
from imgframe.planning.pruning import Decided, decide, decide_to

__all__ = ["Decided", "EnsuredImage", "PullMode", "decide", "decide_to"]
