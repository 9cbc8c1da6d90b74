"""Plans and their application: the only room that writes to nodes.

Everything here is data first: a verb gives a :class:`Plan`, and only :meth:`Plan.apply` acts.
"""

from imgframe.act.moving import ensure, pull, push
from imgframe.act.plan import Plan, open_plan
from imgframe.act.replaceable import irreplaceable
from imgframe.act.resolving import resolve_digest
from imgframe.act.result import Result
from imgframe.act.staleness import stale
from imgframe.act.verbs import prune, prune_to, tag

__all__ = [
    "Plan",
    "Result",
    "ensure",
    "irreplaceable",
    "open_plan",
    "prune",
    "prune_to",
    "pull",
    "push",
    "resolve_digest",
    "stale",
    "tag",
]
