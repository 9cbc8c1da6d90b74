"""Warnings about filter strings that do not do what they seem to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from imgframe.errors import FilterError
from imgframe.filters.parser import check_command, parse_filters, split_flags
from imgframe.filters.references import pattern_problems


def lint_filters(strings: Iterable[str], command: str = "image prune") -> list[str]:
    """Warnings about filter strings that nerdctl silently ignores or reads otherwise than expected.

    ``strings`` are the values of ``--filter`` flags, ``command`` is ``image prune`` or ``images``. If nerdctl refuses the
    filters, its error is the only warning.

    Raises:
        InputError: another command.

    Example:
        >>> import imgframe as imf
        >>> for warning in imf.lint_filters(["reference=alpine", "until="]): print(warning)
        reference=alpine: image prune ignores reference; every image that the other filters leave is removed
        until=: an empty until is ignored
    """
    check_command(command)
    given = list(strings)
    try:
        split = split_flags(given)
        parse_filters(split)
    except FilterError as error:
        return [f"refused: {error}"]
    warnings = [
        f"{each}: a comma separates filters; this is {', '.join(split_flags([each]))} (quote it to keep the comma)"
        for each in given
        if len(split_flags([each])) > 1
    ]
    for each in split:
        key, _, value = each.partition("=")
        warnings += [f"{each}: {problem}" for problem in _problems(key, value, command)]
    return warnings + _repeated(split)


def _problems(key: str, value: str, command: str) -> list[str]:
    """The warnings about one filter."""
    problems = []
    if key == "until" and not value:
        problems.append("an empty until is ignored")
    elif key == "until" and command == "images":
        problems.append("images ignores until, even one that is no time")
    elif command == "image prune" and key == "dangling":
        problems.append(
            "image prune ignores dangling; --all decides: without it every dangling image is removed"
        )
    elif command == "image prune" and key in {"before", "since", "reference"}:
        problems.append(f"image prune ignores {key}; every image that the other filters leave is removed")
    elif key == "reference":
        problems += pattern_problems(value)
    if key == "label" and value.endswith("="):
        problems.append("an empty value matches any value")
    return problems


def _repeated(split: list[str]) -> list[str]:
    """The warnings about keys that are given more than once."""
    parts = [each.split("=") for each in split]
    labels = Counter(part[1] for part in parts if part[0] == "label")
    warnings = [
        f"label={key}: given {count} times, only the last counts"
        for key, count in labels.items()
        if count > 1
    ]
    keys = Counter(part[0] for part in parts)
    if keys["dangling"] > 1:
        warnings.append(f"dangling: given {keys['dangling']} times, only the last counts")
    if keys["reference"] > 1:
        warnings.append(
            f"reference: given {keys['reference']} times; nerdctl wants all of them to match, docker any"
        )
    for key, meaning in (("before", "the latest"), ("since", "the earliest")):
        if keys[key] > 1:
            warnings.append(f"{key}: given {keys[key]} times; {meaning} of these images is the bound")
    return warnings
