"""Plans as values: what makes them, what they hold, and the Result of applying one.

A verb gives a :class:`Plan`, and only :meth:`Plan.apply` acts, through :mod:`imgframe.act`.
"""

from imgframe.plans.plan import Plan
from imgframe.plans.result import Result
from imgframe.plans.saved_plan import open_plan
from imgframe.plans.verbs import ensure, prune, prune_to, pull, push, tag

__all__ = ["Plan", "Result", "ensure", "open_plan", "prune", "prune_to", "pull", "push", "tag"]
