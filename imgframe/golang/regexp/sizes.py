"""The size and depth of the parts of a pattern, for Go, which limits them, and for RE2."""

from __future__ import annotations

from typing import NamedTuple


class Repeats(NamedTuple):
    """The counted repetitions in a part of the pattern, as a tree."""

    low: int
    high: int
    inner: tuple[Repeats, ...]

    def fit(self, budget: int) -> bool:
        """Whether no innermost thing is repeated more than ``budget`` times."""
        todo = [(self, budget)]
        while todo:
            repeats, left = todo.pop()
            if repeats.high == 0:
                continue
            count = repeats.low if repeats.high < 0 else repeats.high
            if count > left:
                return False
            todo += [(each, left // max(count, 1)) for each in repeats.inner]
        return True


class PatternNode(NamedTuple):
    """A part of a pattern: its kind, how deep it nests, and what RE2 and Go make of it."""

    kind: str  # "literal", "char" (a class), "concat", "alternate", or "" for all else
    height: int
    size: int
    repeats: tuple[Repeats, ...] = ()
    go_size: int = 1  # what Go forecasts, counted repetitions written out
    times: int = 1  # of a counted repetition


EMPTY = PatternNode("", 1, 1)


def joined(kind: str, nodes: list[PatternNode]) -> PatternNode:
    """Go's concatenation or alternation of ``nodes``: one of the same kind inside is dissolved."""
    if not nodes:
        return EMPTY
    if len(nodes) == 1:
        return nodes[0]
    height = 1 + max(node.height - (node.kind == kind) for node in nodes)
    bars = len(nodes) - 1 if kind == "alternate" else 0
    size = sum(node.size for node in nodes) + bars
    go_size = sum(node.go_size for node in nodes) + bars
    return PatternNode(kind, height, size, tuple(each for node in nodes for each in node.repeats), go_size)


def around(node: PatternNode, more: int) -> PatternNode:
    """A group or a repetition around the node, ``more`` instructions to Go."""
    return PatternNode("", 1 + node.height, 2 + node.size, node.repeats, more + node.go_size)


def is_char(node: PatternNode) -> bool:
    """Whether Go makes a class of it where another stands beside it."""
    return node.kind == "char" or (node.kind == "literal" and node.size == 1)
