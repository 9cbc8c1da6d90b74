"""Budgets: limits for a fleet in a TOML file, and what exceeds them."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgframe.byte_sizes import read_bytes
from imgframe.errors import InputError
from imgframe.golang import time as gotime
from imgframe.inventory import human_bytes

if TYPE_CHECKING:
    from imgframe.report.facts import Facts


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of a fleet; None: no limit.

    ``waste``: bytes that deleting the unused images may free at most. ``orphans``: bytes that nothing may hold at most.
    ``image_age``: nanoseconds since an image record was created. ``build_age``: since its config was built.
    ``irreplaceable``: how many image records may have a name of ``irreplaceable_names``. ``days_until_full``: no disk may be full
    sooner (needs a dataset). ``errors``: how many failures the collection may contain.
    """

    waste: int | None = None
    orphans: int | None = None
    image_age: int | None = None
    build_age: int | None = None
    irreplaceable: int | None = None
    irreplaceable_names: tuple[str, ...] = ()
    days_until_full: float | None = None
    errors: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One rule checked: ``kept`` is False for a violation, ``words`` is the finding as a sentence, ``examples`` are names."""

    rule: str
    limit: str
    found: str
    kept: bool
    words: str
    examples: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "examples": list(self.examples)}


def open_budget(path: str | os.PathLike[str]) -> Budget:
    r"""The rules of a TOML file, in its table ``[budget]``; every rule is optional, an unknown one is an error.

    ::

        [budget]
        waste = "50GB"              # bytes (1000), "GiB" (1024), or a whole number
        orphans = "5GB"
        image_age = "2160h"         # a Go duration: since the record was created on the node
        build_age = "8760h"         # since the image was built
        irreplaceable = 0           # records whose names are in the file below
        irreplaceable_list = "irreplaceable.txt"   # one image name per line, beside this file
        days_until_full = 14        # needs a dataset
        errors = 0

    Raises:
        InputError: not TOML, an unknown rule, or a value that cannot be read.

    Example:
        >>> import imgframe as imf, tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "rules.toml"
        >>> _ = file.write_text('[budget]\nwaste = "1.5GB"\nerrors = 0\n')
        >>> budget = imf.report.open_budget(file)
        >>> budget.waste, budget.errors
        (1500000000, 0)
    """
    file = Path(path)
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"the budget {str(path)!r} cannot be read: {error}") from error
    rules = data.get("budget")
    if not isinstance(rules, dict) or set(data) != {"budget"}:
        raise InputError(f"the budget {str(path)!r} must have one table [budget] and nothing else")
    expected = [*_READERS, "irreplaceable_list"]
    if unknown := sorted(set(rules) - set(expected)):
        expected_words = ", ".join(expected)
        raise InputError(
            f"the budget {str(path)!r} has the unknown rule {unknown[0]!r}; expected {expected_words}"
        )
    values = {name: _read(read, name, rules[name]) for name, read in _READERS.items() if name in rules}
    if ("irreplaceable" in rules) != ("irreplaceable_list" in rules):
        raise InputError("the rules irreplaceable and irreplaceable_list go together; give both or neither")
    return Budget(**values, irreplaceable_names=_names(file, rules.get("irreplaceable_list")))


def _read(read: Callable[[Any], Any], rule: str, value: Any) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise InputError(f"the rule {rule} = {value!r} cannot be used: {error}") from error


def _names(budget: Path, name: Any) -> tuple[str, ...]:
    if name is None:
        return ()
    try:
        lines = (budget.parent / str(name)).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list of irreplaceable images cannot be read: {error}") from error
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("expected a whole number, 0 or more")
    return value


def _days(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise ValueError("expected a number of days, 0 or more")
    return float(value)


def _duration(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError("expected a Go duration such as '720h'")  # noqa: TRY004 -- becomes one InputError
    return gotime.parse_duration(value)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "waste": read_bytes,
    "orphans": read_bytes,
    "image_age": _duration,
    "build_age": _duration,
    "irreplaceable": _count,
    "days_until_full": _days,
    "errors": _count,
}


def check(budget: Budget, facts: Facts) -> list[Check]:
    """The checks of all rules of the budget, in the order of the rules.

    Raises:
        InputError: ``days_until_full`` for a single inventory, which has no history.
    """
    totals, images = facts.totals, facts.tables["images"]
    kept = images[images["name"].isin(budget.irreplaceable_names)]
    rules: dict[str, Callable[[Any], Check]] = {
        "waste": lambda limit: _bytes("waste", "unused images take", totals["reclaimable_bytes"], limit),
        "orphans": lambda limit: _bytes("orphans", "orphans take", totals["orphan_bytes"], limit),
        "image_age": lambda limit: _age("image_age", "created_at", limit, facts),
        "build_age": lambda limit: _age("build_age", "built_at", limit, facts),
        "irreplaceable": lambda limit: _number(
            "irreplaceable", "irreplaceable image records", len(kept), limit, _examples(kept)
        ),
        "days_until_full": lambda limit: _until_full(limit, facts),
        "errors": lambda limit: _number("errors", "failures while reading", totals["errors"], limit),
    }
    return [rule(limit) for name, rule in rules.items() if (limit := getattr(budget, name)) is not None]


def _bytes(rule: str, what: str, found: int, limit: int) -> Check:
    words = f"{what} {human_bytes(found)}; the budget allows {human_bytes(limit)}"
    return Check(rule, str(limit), str(found), found <= limit, words)


def _number(rule: str, what: str, found: int, limit: int, examples: tuple[str, ...] = ()) -> Check:
    words = f"{found:,} {what}; the budget allows {limit:,}"
    return Check(rule, str(limit), str(found), found <= limit, words, examples)


def _age(rule: str, column: str, limit: int, facts: Facts) -> Check:
    """Image records older than the limit when they were collected; an unknown age is a violation."""
    import pandas as pd

    images = facts.tables["images"]
    times = images[column]
    old = times < facts.now - pd.Timedelta(limit, unit="ns") if facts.now is not None else times.isna()
    found = images[(old | times.isna()).to_numpy(dtype=bool)].sort_values(column)
    days = limit / (86_400 * 10**9)
    unknown = int(times.isna().sum())
    word = "were built" if column == "built_at" else "were created on their node"
    words = f"{len(found) - unknown:,} image records {word} more than {days:g} days earlier"
    words += f"; the age of {unknown:,} more is unknown" if unknown else ""
    return Check(rule, f"{days:g} days", str(len(found)), found.empty, words, _examples(found))


def _until_full(limit: float, facts: Facts) -> Check:
    """Nodes that are full too soon; one that was never read, or whose disk size or trend is unknown, is a violation too."""
    if not facts.history:
        raise InputError(
            "the rule days_until_full needs a history; report on a dataset (imgframe.dataset.append) or omit the rule"
        )
    table = facts.tables["forecast"]
    soon = (table["days_to_full"] < limit).fillna(False)
    full = table["days_to_full"] == 0
    unknown = table["disk_total"].isna() | ((table["trend"] == "too few") & ~full.fillna(False))
    unread = sorted(set(facts.tables["nodes"]["node"]) - set(table["node"]))
    bad = table[(soon | unknown).to_numpy(dtype=bool)].sort_values("days_to_full")
    count = int(soon.sum())
    words = f"{count:,} node{' is' if count == 1 else 's are'} full in less than {limit:g} day{'' if limit == 1 else 's'}"
    if lost := int(unknown.sum()) + len(unread):
        words += f"; unknown for {lost:,} (no disk size, or too few collections)"
    found = [*bad["node"], *unread]
    examples = tuple(str(node) for node in found[:5])
    return Check("days_until_full", f"{limit:g}", str(len(found)), not found, words, examples)


def _examples(rows: Any, most: int = 5) -> tuple[str, ...]:
    columns = zip(*(rows[name].astype("object")[:most] for name in ("node", "name")), strict=True)
    return tuple(f"{node}: {name}" for node, name in columns)
