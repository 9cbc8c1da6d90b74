"""The syntax of Go's regexp (RE2 in its Perl flavour): is a pattern valid, and if not, in which words does Go say so.

RE2 decides what matches. Go decides what is a pattern, and its errors appear in the order in which its parser meets
them; this module walks a pattern in that order. On the way it notes the places that RE2 must be given in another form:
Unicode classes, whose names and tables differ, and names of groups.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from imgframe.golang.regexp.cursor import Cursor, UnicodeClass
from imgframe.golang.regexp.sizes import EMPTY, PatternNode, Repeats, around, is_char, joined

_MAX_HEIGHT = 1000
_MAX_REPEAT = 1000
_PERL_CLASSES = frozenset("dDsSwW")
_MAX_SIZE = (128 << 20) // 40  # instructions that Go may make of a pattern, 40 bytes each
_WIDE = 8  # RE2 instructions of a class that reaches beyond ASCII, about


@dataclass(frozen=True, slots=True)
class Bracket:
    """A class whose Unicode classes must be written out; ``plain`` are its other items as RE2 reads them."""

    negated: bool
    plain: str
    unicode: tuple[UnicodeClass, ...]


@dataclass(frozen=True, slots=True)
class Syntax:
    """A valid pattern: what must be replaced for RE2 (start, end, by what), and how large it becomes."""

    pattern: str
    edits: tuple[tuple[int, int, Bracket | str], ...]
    size: int
    """About how many instructions RE2 makes of it, counted repetitions written out."""
    has_non_boundary: bool
    r"""It holds ``\B``, which RE2 also finds between the bytes of one character."""


@dataclass(slots=True)
class _Group:
    """An open parenthesis, or the whole pattern: its finished alternatives and the items of the last one."""

    captures: bool
    fold: bool
    alternatives: list[PatternNode] = field(default_factory=list)
    items: list[PatternNode] = field(default_factory=list)


class _RegexpParser(Cursor):
    def __init__(self, pattern: str) -> None:
        super().__init__(pattern)
        self.has_non_boundary = False
        self.made = 0  # nodes, about as many as Go makes
        self.product = 1  # of all counted repetitions, again each time that one is the whole of a group
        self.sized = False  # Go looks at sizes from the moment that nodes times product may be too many
        self.groups = [_Group(captures=False, fold=False)]
        self.edits: list[tuple[int, int, Bracket | str]] = []

    def push(self, node: PatternNode, *, made: bool = True) -> None:
        self.made += made
        self.product = min(self.product * node.times, _MAX_SIZE)
        self.sized |= self.made >= _MAX_SIZE // self.product
        if self.sized and node.go_size > _MAX_SIZE:
            self.fail("expression too large", 0, len(self.text))
        if node.height > _MAX_HEIGHT:
            self.fail("expression nests too deeply", 0, len(self.text))
        self.groups[-1].items.append(node)

    def literal(self, char: str) -> None:
        items = self.groups[-1].items
        after_literal = bool(items) and items[-1].kind == "literal"  # Go adds it to that one
        self.push(PatternNode("literal", 1, 1 if char.isascii() else 4), made=not after_literal)

    def parse(self) -> Syntax:
        last_repeat = -1
        while self.at < len(self.text):
            start = self.at
            char = self.text[start]
            repeated = True
            if char in "*+?":
                self.at += 1
                self.repeat(start, last_repeat)
            elif char == "{":
                repeated = self.counted(start, last_repeat)
            else:
                repeated = False
                self.item(char)
            last_repeat = start if repeated else -1
        root = self.close()
        if len(self.groups) != 1:
            self.fail("missing closing )", 0)
        return Syntax(self.text, tuple(self.edits), root.size, self.has_non_boundary)

    def item(self, char: str) -> None:
        """One item that is no repetition, beginning with ``char``."""
        if char == "(":
            self.open()
        elif char == "|":
            self.at += 1
            self.alternative()
        elif char == ")":
            self.at += 1
            self.right_paren()
        elif char in "^$":
            self.at += 1
            self.push(EMPTY)
        elif char == ".":
            self.at += 1
            self.push(PatternNode("char", 1, _WIDE))
        elif char == "[":
            self.bracket()
        elif char == "\\":
            self.backslash()
        else:
            self.at += 1
            self.literal(char)

    # groups

    def alternative(self) -> None:
        """Closes the alternative: its items become one node; two characters side by side become one class."""
        group = self.groups[-1]
        merged: list[PatternNode] = []
        for node in group.items:
            if node.kind == "literal" and merged and merged[-1].kind == "literal":
                size, go_size = merged[-1].size + node.size, merged[-1].go_size + node.go_size
                merged[-1] = PatternNode("literal", 1, size, go_size=go_size)
            else:
                merged.append(node)
        group.items = []
        node = joined("concat", merged)
        self.push(node, made=len(merged) > 1)
        group.items.pop()
        before = group.alternatives[-1] if group.alternatives else None
        if before is not None and is_char(before) and is_char(node):
            group.alternatives[-1] = PatternNode("char", 1, before.size + node.size)
        else:
            group.alternatives.append(node)

    def close(self) -> PatternNode:
        """The innermost group as one node."""
        self.alternative()
        alternatives = self.groups[-1].alternatives
        node = joined("alternate", alternatives)
        self.push(node, made=len(alternatives) > 1)
        self.groups[-1].items.pop()
        return node

    def right_paren(self) -> None:
        node = self.close()
        if len(self.groups) == 1:
            self.fail("unexpected )", 0, len(self.text))
        group = self.groups.pop()
        self.fold = group.fold
        self.push(around(node, 2) if group.captures else node)

    def open(self) -> None:
        start = self.at
        if not self.text.startswith("(?", start):
            self.at += 1
            self.groups.append(_Group(captures=True, fold=self.fold))
        elif named := re.compile(r"\(\?P?<(?!\Z)").match(self.text, start):
            self.named(start, named.end())
        else:
            self.at += 2
            self.set_flags(start)

    def named(self, start: int, name_at: int) -> None:
        end = self.text.find(">", name_at)
        if end < 0:
            self.fail("invalid named capture", start, len(self.text))
        self.at = end + 1
        name = self.text[name_at:end]
        if not (name and name.isascii() and name.replace("_", "a").isalnum()):
            self.fail("invalid named capture", start)
        self.edits.append((start, self.at, "("))
        self.groups.append(_Group(captures=True, fold=self.fold))

    def set_flags(self, start: int) -> None:
        fold, setting, seen = self.fold, True, False
        while char := self.next():
            if char in "imsU":
                fold = setting if char == "i" else fold
                seen = True
            elif char == "-" and setting:
                setting = seen = False
            elif char in ":)" and (setting or seen):
                if char == ":":
                    self.groups.append(_Group(captures=False, fold=self.fold))
                self.fold = fold
                return
            else:
                break
        self.fail("invalid or unsupported Perl syntax", start)

    # repetitions

    def repeat(self, start: int, last_repeat: int, counts: tuple[int, int] | None = None) -> None:
        """A repetition of the last item, ``counts`` times at least and at most (-1: without limit)."""
        if self.text.startswith("?", self.at):
            self.at += 1
        if last_repeat >= 0:
            self.fail("invalid nested repetition operator", last_repeat)
        items = self.groups[-1].items
        if not items:
            self.fail("missing argument to repetition operator", start)
        node = items.pop()
        if counts is None:
            self.push(around(node, 2 if self.text[start] == "*" else 1))
            return
        low, high = counts
        size, go_size = (
            max(1, high * each + high - low if high >= 0 else 1 + (low == 0) + max(low, 1) * each)
            for each in (node.size, node.go_size)
        )
        repeats = Repeats(low, high, node.repeats)
        self.push(PatternNode("", 1 + node.height, size, (repeats,), go_size, max(low, high, 1)))
        if (low >= 2 or high >= 2) and not repeats.fit(_MAX_REPEAT):
            self.fail("invalid repeat count", start)

    def counted(self, start: int, last_repeat: int) -> bool:
        """A repetition ``{n}``, ``{n,}`` or ``{n,m}``; anything else is a brace."""
        self.at += 1
        low = self.number()
        high = low
        if low is not None and self.text.startswith(",", self.at):
            self.at += 1
            high = -1 if self.text.startswith("}", self.at) else self.number()
        if low is None or high is None or not self.text.startswith("}", self.at):
            self.at = start + 1
            self.literal("{")
            return False
        self.at += 1
        if low > _MAX_REPEAT or high > _MAX_REPEAT or 0 <= high < low:
            self.fail("invalid repeat count", start)
        self.repeat(start, last_repeat, (low, high))
        return True

    # classes and escapes

    def backslash(self) -> None:
        start = self.at
        kind = self.text[start + 1 : start + 2]
        if kind and kind in "AbBz":
            self.at += 2
            self.has_non_boundary |= kind == "B"
            self.push(EMPTY)
        elif kind == "C":
            self.fail("invalid escape sequence", start, start + 2)
        elif kind == "Q":
            end = self.text.find("\\E", start + 2)
            self.at = len(self.text) if end < 0 else end
            for char in self.text[start + 2 : self.at]:
                self.literal(char)
            if end < 0:
                self.edits.append((self.at, self.at, "\\E"))  # the pattern may be put into parentheses
            else:
                self.at += 2
        elif kind and kind in "pP":
            found = self.unicode_class()
            self.edits.append((start, self.at, Bracket(negated=False, plain="", unicode=(found,))))
            self.push(PatternNode("char", 1, _WIDE))
        elif kind in _PERL_CLASSES:
            self.at += 2
            self.push(PatternNode("char", 1, _WIDE if kind.isupper() else 2))
        else:
            self.literal(self.escape())

    def bracket(self) -> None:
        start = self.at
        self.at += 1
        negated = self.text.startswith("^", self.at)
        self.at += negated
        plain: list[str] = []
        unicode: list[UnicodeClass] = []
        size = _WIDE if negated else 1
        first = True
        while first or not self.text.startswith("]", self.at):
            first = False
            kind = self.text[self.at : self.at + 2]
            posix = self.text.find(":]", self.at + 2) if kind == "[:" else -1
            if posix >= 0:
                plain.append(self.posix_class(posix + 2))
            elif kind in {"\\p", "\\P"}:
                unicode.append(self.unicode_class())
                size = _WIDE
            elif kind[:1] == "\\" and kind[1:] in _PERL_CLASSES:
                self.at += 2
                plain.append(kind)
                size = _WIDE if kind.isupper() else size
            else:
                low, high = self.range(start)
                plain.append(f"\\x{{{ord(low):x}}}-\\x{{{ord(high):x}}}")
                size = size if high.isascii() else _WIDE
        self.at += 1
        if unicode:
            self.edits.append((start, self.at, Bracket(negated, "".join(plain), tuple(unicode))))
        self.push(PatternNode("char", 1, size))


def quote_meta(text: str) -> str:
    """A pattern that matches the text as it is (``regexp.QuoteMeta``)."""
    return "".join(f"\\{char}" if char in r"\.+*?()|[]{}^$" else char for char in text)


def parse_go_regexp(pattern: str) -> Syntax:
    """What is to be known about the regular expression ``pattern``; raises :class:`~imgframe.golang.regexp.cursor.GoSyntaxError` where Go refuses it.

    Example:
        >>> from imgframe.golang.regexp.cursor import GoSyntaxError
        >>> from imgframe.golang.regexp.syntax import parse_go_regexp
        >>> parse_go_regexp("^a{3}$").size
        5
        >>> try:
        ...     parse_go_regexp("*alpine")
        ... except GoSyntaxError as error:
        ...     print(error)
        error parsing regexp: missing argument to repetition operator: `*`
    """
    return _RegexpParser(pattern).parse()
