"""Which steps, what is kept and why: pure functions from frames to frames. Nothing here can write."""

from imgframe.planning.ensuring import EnsuredImage, PullMode
from imgframe.planning.freeing import decide_to
from imgframe.planning.pruning import Decided, decide

__all__ = ["Decided", "EnsuredImage", "PullMode", "decide", "decide_to"]
