"""The syntax of Go's regexp (RE2 in its Perl flavour): is a pattern valid, and if not, in which words does Go say so.

RE2 decides what matches. Go decides what is a pattern, and its errors appear in the order in which its parser meets
them; this module walks a pattern in that order. On the way it notes the places that RE2 must be given in another form:
Unicode classes, whose names and tables differ, and names of groups.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from imgframe.patterns.unicode_names import class_name

_MAX_HEIGHT = 1000
_MAX_REPEAT = 1000
_MAX_RUNE = 0x10FFFF
_PERL_CLASSES = frozenset("dDsSwW")
_POSIX_NAMES = "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit"
_POSIX_CLASSES = frozenset(_POSIX_NAMES.split())
_ESCAPES = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_OCTAL = frozenset("01234567")
_MAX_SIZE = (128 << 20) // 40  # instructions that Go may make of a pattern, 40 bytes each
_WIDE = 8  # RE2 instructions of a class that reaches beyond ASCII, about


class GoSyntaxError(Exception):
    """A pattern that Go refuses; the text is Go's."""

    def __init__(self, reason: str, fragment: str) -> None:
        super().__init__(f"error parsing regexp: {reason}: `{fragment}`")


class UnicodeClass(NamedTuple):
    r"""``\p{name}``: the name as in :mod:`imgframe.patterns.unicode_names`."""

    name: str
    negated: bool
    fold: bool


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


class _Repeats(NamedTuple):
    """The counted repetitions in a part of the pattern, as a tree."""

    low: int
    high: int
    inner: tuple[_Repeats, ...]

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


class _Node(NamedTuple):
    kind: str  # "literal", "char" (a class), "concat", "alternate", or "" for all else
    height: int
    size: int
    repeats: tuple[_Repeats, ...] = ()
    go_size: int = 1  # what Go forecasts, counted repetitions written out
    times: int = 1  # of a counted repetition


_EMPTY = _Node("", 1, 1)


@dataclass(slots=True)
class _Group:
    """An open parenthesis, or the whole pattern: its finished alternatives and the items of the last one."""

    captures: bool
    fold: bool
    alternatives: list[_Node] = field(default_factory=list)
    items: list[_Node] = field(default_factory=list)


def _joined(kind: str, nodes: list[_Node]) -> _Node:
    """Go's concatenation or alternation of ``nodes``: one of the same kind inside is dissolved."""
    if not nodes:
        return _EMPTY
    if len(nodes) == 1:
        return nodes[0]
    height = 1 + max(node.height - (node.kind == kind) for node in nodes)
    bars = len(nodes) - 1 if kind == "alternate" else 0
    size = sum(node.size for node in nodes) + bars
    go_size = sum(node.go_size for node in nodes) + bars
    return _Node(kind, height, size, tuple(each for node in nodes for each in node.repeats), go_size)


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        self.fold = False
        self.has_non_boundary = False
        self.made = 0  # nodes, about as many as Go makes
        self.product = 1  # of all counted repetitions, again each time that one is the whole of a group
        self.sized = False  # Go looks at sizes from the moment that nodes times product may be too many
        self.groups = [_Group(captures=False, fold=False)]
        self.edits: list[tuple[int, int, Bracket | str]] = []

    def fail(self, reason: str, start: int, end: int | None = None) -> NoReturn:
        raise GoSyntaxError(reason, self.text[start : self.at if end is None else end])

    def next(self) -> str:
        """The next character, taken; empty at the end."""
        char = self.text[self.at : self.at + 1]
        self.at += 1 if char else 0
        return char

    def push(self, node: _Node, *, made: bool = True) -> None:
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
        self.push(_Node("literal", 1, 1 if char.isascii() else 4), made=not after_literal)

    def parse(self) -> Syntax:
        last_repeat = -1
        while self.at < len(self.text):
            start = self.at
            char = self.text[start]
            repeated = False
            if char in "*+?":
                self.at += 1
                self.repeat(start, last_repeat, 0, 0 if char != "?" else 1, counted=False)
                repeated = True
            elif char == "{":
                repeated = self.counted(start, last_repeat)
            else:
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
            self.push(_EMPTY)
        elif char == ".":
            self.at += 1
            self.push(_Node("char", 1, _WIDE))
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
        merged: list[_Node] = []
        for node in group.items:
            if node.kind == "literal" and merged and merged[-1].kind == "literal":
                both = merged[-1], node
                merged[-1] = _Node(
                    "literal", 1, sum(each.size for each in both), go_size=sum(each.go_size for each in both)
                )
            else:
                merged.append(node)
        group.items = []
        node = _joined("concat", merged)
        self.push(node, made=len(merged) > 1)
        group.items.pop()
        before = group.alternatives[-1] if group.alternatives else None
        if before is not None and _is_char(before) and _is_char(node):
            group.alternatives[-1] = _Node("char", 1, before.size + node.size)
        else:
            group.alternatives.append(node)

    def close(self) -> _Node:
        """The innermost group as one node."""
        self.alternative()
        alternatives = self.groups[-1].alternatives
        node = _joined("alternate", alternatives)
        self.push(node, made=len(alternatives) > 1)
        self.groups[-1].items.pop()
        return node

    def right_paren(self) -> None:
        node = self.close()
        if len(self.groups) == 1:
            self.fail("unexpected )", 0, len(self.text))
        group = self.groups.pop()
        self.fold = group.fold
        self.push(_around(node, 2) if group.captures else node)

    def open(self) -> None:
        start = self.at
        if not self.text.startswith("(?", start):
            self.at += 1
            self.groups.append(_Group(captures=True, fold=self.fold))
        elif self.text.startswith("(?P<", start) and len(self.text) > start + 4:
            self.named(start, start + 4)
        elif self.text.startswith("(?<", start) and len(self.text) > start + 3:
            self.named(start, start + 3)
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

    def repeat(self, start: int, last_repeat: int, low: int, high: int, *, counted: bool) -> None:
        if self.text.startswith("?", self.at):
            self.at += 1
        if last_repeat >= 0:
            self.fail("invalid nested repetition operator", last_repeat)
        items = self.groups[-1].items
        if not items:
            self.fail("missing argument to repetition operator", start)
        node = items.pop()
        if not counted:
            self.push(_around(node, 2 if self.text[start] == "*" else 1))
            return
        size, go_size = (
            max(1, high * each + high - low if high >= 0 else 1 + (low == 0) + max(low, 1) * each)
            for each in (node.size, node.go_size)
        )
        repeats = _Repeats(low, high, node.repeats)
        self.push(_Node("", 1 + node.height, size, (repeats,), go_size, max(high if high >= 0 else low, 1)))
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
        self.repeat(start, last_repeat, low, high, counted=True)
        return True

    def number(self) -> int | None:
        start = self.at
        while self.at < len(self.text) and "0" <= self.text[self.at] <= "9":
            self.at += 1
        digits = self.text[start : self.at]
        if not digits or (digits[0] == "0" and len(digits) > 1):
            return None
        return int(digits[:10])  # more digits are too many in any case

    # classes and escapes

    def backslash(self) -> None:
        start = self.at
        kind = self.text[start + 1 : start + 2]
        if kind and kind in "AbBz":
            self.at += 2
            self.has_non_boundary |= kind == "B"
            self.push(_EMPTY)
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
            self.push(_Node("char", 1, _WIDE))
        elif kind in _PERL_CLASSES:
            self.at += 2
            self.push(_Node("char", 1, _WIDE if kind.isupper() else 2))
        else:
            self.literal(self.escape())

    def unicode_class(self) -> UnicodeClass:
        start = self.at
        negated = self.text[start + 1] == "P"
        self.at += 2
        if self.text.startswith("{", self.at):
            end = self.text.find("}", self.at)
            if end < 0:
                self.fail("invalid character class range", start, len(self.text))
            name = self.text[self.at + 1 : end]
            self.at = end + 1
        else:
            name = self.next()
        if name.startswith("^"):
            negated, name = not negated, name[1:]
        found = class_name(name)
        if found is None:
            self.fail("invalid character class range", start)
        return UnicodeClass(found, negated, self.fold)

    def escape(self) -> str:
        start = self.at
        self.at += 1
        char = self.next()
        if not char:
            self.fail("trailing backslash at end of expression", start, start)
        if char in _OCTAL and (char == "0" or self.text[self.at : self.at + 1] in _OCTAL):
            value = int(char)
            for _ in range(2):
                if self.text[self.at : self.at + 1] not in _OCTAL:
                    break
                value = value * 8 + int(self.next())
            return chr(value)
        value = self.hexadecimal() if char == "x" else -1
        if value >= 0:
            return chr(value)
        if char not in _ESCAPES and (char.isalnum() or not char.isascii()):
            self.fail("invalid escape sequence", start)
        return _ESCAPES.get(char, char)

    def hexadecimal(self) -> int:
        r"""The value after ``\x``, or -1."""
        char = self.next()
        if char != "{":
            if not char:
                return -1
            high, low = _unhex(char), _unhex(self.next())
            return high * 16 + low if high >= 0 and low >= 0 else -1
        value = digits = 0
        while char := self.next():
            if char == "}":
                return value if digits else -1
            digit = _unhex(char)
            value = value * 16 + digit
            digits += 1
            if digit < 0 or value > _MAX_RUNE:
                return -1
        return -1

    def class_char(self, whole: int) -> str:
        if self.at >= len(self.text):
            self.fail("missing closing ]", whole)
        return self.escape() if self.text[self.at] == "\\" else self.next()

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
        self.push(_Node("char", 1, size))

    def posix_class(self, end: int) -> str:
        text = self.text[self.at : end]
        if text[2:-2].removeprefix("^") not in _POSIX_CLASSES:
            self.fail("invalid character class range", self.at, end)
        self.at = end
        return text

    def range(self, whole: int) -> tuple[str, str]:
        start = self.at
        low = high = self.class_char(whole)
        if self.text.startswith("-", self.at) and self.text[self.at + 1 : self.at + 2] not in {"", "]"}:
            self.at += 1
            high = self.class_char(whole)
            if high < low:
                self.fail("invalid character class range", start)
        return low, high


def _around(node: _Node, more: int) -> _Node:
    """A group or a repetition around the node, ``more`` instructions to Go."""
    return _Node("", 1 + node.height, 2 + node.size, node.repeats, more + node.go_size)


def _is_char(node: _Node) -> bool:
    return node.kind == "char" or (node.kind == "literal" and node.size == 1)


def _unhex(char: str) -> int:
    return int(char, 16) if char and char in "0123456789abcdefABCDEF" else -1


def parse_go_regexp(pattern: str) -> Syntax:
    """What is to be known about the regular expression ``pattern``; raises :class:`GoSyntaxError` where Go refuses it.

    Example:
        >>> from imgframe.patterns.syntax import GoSyntaxError, parse_go_regexp
        >>> parse_go_regexp("^a{3}$").size
        5
        >>> try:
        ...     parse_go_regexp("*alpine")
        ... except GoSyntaxError as error:
        ...     print(error)
        error parsing regexp: missing argument to repetition operator: `*`
    """
    return _Parser(pattern).parse()
