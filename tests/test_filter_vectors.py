"""Every measured filter: the strings, the functions, the commands, on the recorded stores and on all of them at once."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter

import numpy as np
import pandas as pd
from testbed.filter_stores import STORES, go_filter, has_bare_field, inventory, lines

import imgframe as imf
from imgframe.errors import FilterError
from imgframe.filters import split_flags
from imgframe.nerdctl.selection import prune_candidates, select_images


def outcome(call):
    """(positions, None) or ([], Go's words)."""
    try:
        return call(), None
    except FilterError as error:
        assert error.go
        assert error.go in str(error)
        return [], error.go


def parsed(filters):
    found = dataclasses.asdict(imf.parse_filters(filters))
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def test_filter_strings_are_read_as_measured():
    cases = lines("parse_filters.jsonl")
    for case in cases:
        filters = case.get("filters")
        if case["kind"] == "flag":
            split, flag_error = outcome(lambda case=case: split_flags(case["flags"]))
            assert flag_error == case["flag_error"], case
            if flag_error is not None:
                continue
            assert split == filters, case
        result, error = outcome(lambda filters=filters: parsed(filters))
        assert error == case["error"], case
        assert (result or None) == case["result"], case
    print(f"parse_filters.jsonl: {len(cases)} of {len(cases)} cases pass, none left out")
    assert len(cases) == 497


@functools.cache
def names_frame(names):
    return pd.DataFrame({"name": pd.Series(names, dtype="category")})


def test_reference_filters_keep_what_was_measured():
    cases = [case for case in lines("reference_patterns.jsonl.gz") if case["kind"] == "filter"]
    plain = 0
    for place, case in enumerate(cases):
        frames = [names_frame(tuple(case["names"]))]
        if place % 20 == 0:  # the same as plain strings, which have no categories to remember names by
            frames.append(pd.DataFrame({"name": pd.Series(case["names"], dtype="str")}))
            plain += 1
        for frame in frames:
            kept, error = outcome(
                lambda c=case, f=frame: positions(imf.filter_by_reference(c["patterns"])(f))
            )
            assert error == case.get("error"), case
            assert kept == case.get("kept", []), case
    print(
        f"reference_patterns.jsonl.gz: {len(cases)} filters pass ({plain} also over plain strings); globs: test_patterns"
    )
    assert len(cases) == 15_599


def positions(mask):
    return np.flatnonzero(mask.to_numpy(bool, na_value=False)).tolist()


def library(case, filters):
    inv = inventory(case["store"])
    images = inv.images
    if case["source"] == "unused":
        return imf.get_unused_images(inv, *filters)
    if case["source"] == "dangling":
        return imf.get_dangling_images(images, *filters)
    if case["source"] == "empty":  # an empty list; Go's names are still looked up in the whole store
        return images[
            imf.filters.filter.kept(
                imf.filters.filter.View(images, images, np.zeros(len(images), bool)), filters
            )
        ]
    return imf.apply_filters(images, *filters)


def commanded(case):
    inv = inventory(case["store"])
    if case["kind"] == "images":
        return select_images(inv, quoted(case["filters"]), now=case["now_ns"])
    return prune_candidates(inv, quoted(case["filters"]), all=case["all"], now=case["now_ns"])


def quoted(filters):
    """Filter strings as values of flags, which are CSV."""
    return ['"' + each.replace('"', '""') + '"' for each in filters]


def agree(case, kept):
    """Whether the kept positions are the measured ones; the order of equal times is unspecified."""
    if not case.get("ties"):
        return kept == case["kept"]
    created = inventory(case["store"]).images["created_at"]
    return sorted(kept) == sorted(case["kept"]) and (created[kept].tolist() == created[case["kept"]].tolist())


def test_functions_and_commands_select_what_was_measured():
    counted = Counter()
    for case in lines("store_filters.jsonl.gz"):
        if case["kind"] in {"cli_images", "cli_prune"}:
            continue
        if case["kind"] == "library":
            ways = [True] if has_bare_field(case) else [True, False]
            for verbatim in ways:
                filters = [go_filter(call, case["now_ns"], verbatim=verbatim) for call in case["calls"]]
                kept, error = outcome(lambda case=case, f=filters: library(case, f).index.tolist())
                assert (error, kept) == (case["error"], case["kept"]), (case, kept, error)
            counted["bare fields, through Go's entries only" if len(ways) == 1 else "library"] += 1
            continue
        kept, error = outcome(lambda case=case: commanded(case).index.tolist())
        assert error == case["error"], case
        assert agree(case, kept), (case, kept)
        counted[case["kind"]] += 1
    print(f"store_filters.jsonl.gz: {dict(counted)}; cli_images and cli_prune below")
    assert sum(counted.values()) == 2551 - 221


def test_real_prunes_removed_our_candidates():
    cases = [case for case in lines("store_filters.jsonl.gz") if case["kind"] == "cli_prune"]
    for case in cases:
        words = case["arguments"]
        assert words[:3] == ["image", "prune", "--force"], case
        filters = [words[place + 1] for place, word in enumerate(words) if word in {"--filter", "-f"}]
        everything = "--all" in words or "-a" in words
        found, error = outcome(
            lambda c=case, f=filters, e=everything: prune_candidates(
                inventory(c["store"]), f, all=e
            ).index.tolist()
        )
        assert (error is not None) == bool(case["exit"]), case
        assert error is None or error in case["stderr"][0], case
        assert found == sorted(case["removed"]), case
    print(f"store_filters.jsonl.gz: {len(cases)} real prunes agree")
    assert len(cases) == 21


def test_the_binary_lists_the_rows_that_we_select():
    """JSON rows of the real binary, by name; records whose documents cannot be read have no row there."""
    compared = left_out = 0
    for case in lines("store_filters.jsonl.gz"):
        if case["kind"] != "cli_images":
            continue
        words = [word for word in case["arguments"] if word != "images"]
        if any(word.startswith("--kube") for word in words):
            left_out += 1
            continue
        filters, argument, rest = [], None, iter(words)
        for word in rest:
            if word in {"--filter", "-f"}:
                filters.append(next(rest))
            elif word == "--format":
                next(rest)
            elif not word.startswith("-"):
                argument = word
        found, error = outcome(
            lambda c=case, f=filters, a=argument: select_images(inventory(c["store"]), f, a)["name"].tolist()
        )
        if case["exit"]:
            text = case["stderr"][0]
            if "format" in text and "invalid" not in text:
                left_out += 1  # an error of the output format
                continue
            assert error is not None, case
            assert error.replace("\\", "\\\\").replace('"', '\\"') in text, (case, error)
        elif case["stdout"] and isinstance(case["stdout"][0], dict):
            assert error is None
            listed = list(dict.fromkeys(row["Name"] for row in case["stdout"]))
            assert set(listed) <= set(found), case
            assert [name for name in found if name in set(listed)] == listed or case["store"] == "store-4", (
                case
            )
        else:
            assert error is None
            left_out += 1
            continue
        compared += 1
    print(
        f"store_filters.jsonl.gz: {compared} listings of the binary agree; {left_out} are about the printed form only"
    )
    assert compared == 79


def test_all_stores_side_by_side_give_the_same():
    """The measured compositions over one frame of all nodes: each store's rows are answered as measured there."""
    frames = {count: imf.concat([inventory(store) for store in STORES[:count]]).images for count in (3, 4)}
    plain = pd.concat(
        [inventory(store).images for store in STORES], ignore_index=True
    )  # categories become strings
    compared = 0
    for case in lines("store_filters.jsonl.gz"):
        if case["kind"] != "library" or case["source"] != "all" or case["error"] or has_bare_field(case):
            continue
        by_name = any(call["fn"] == "FilterByReference" for call in case["calls"])
        if by_name and case["store"] == "store-4":
            continue  # names that do not parse end the filter for all nodes together
        frame = frames[3] if by_name else plain if compared % 10 == 0 else frames[4]
        filters = [go_filter(call, case["now_ns"]) for call in case["calls"]]
        kept, error = outcome(lambda i=frame, f=filters: imf.apply_filters(i, *f))
        if error is not None:  # a row of another store got to a broken pattern
            assert by_name, case
            continue
        first = int(np.argmax(frame["node"] == case["store"]))
        own = kept[kept["node"] == case["store"]].index - first
        assert own.tolist() == case["kept"], case
        compared += 1
    print(f"{compared} compositions over all nodes at once agree")
    assert compared > 600


def test_names_are_looked_up_per_store():
    """before and since over four nodes: rows of a store without the name are unknown, the others as in their store."""
    whole = imf.concat([inventory(store) for store in STORES]).images
    compared = 0
    for case in lines("store_filters.jsonl.gz"):
        if case["kind"] != "library" or case["source"] != "all" or case["error"] or len(case["calls"]) != 1:
            continue
        call = case["calls"][0]
        if call["fn"] != "FilterByCreatedAt" or has_bare_field(case):
            continue
        mask = go_filter(call, case["now_ns"])(whole)
        for store in STORES:
            alone = inventory(store).images
            answers = mask[whole["node"] == store]
            try:
                assert answers.tolist() == go_filter(call, case["now_ns"])(alone).tolist()
            except FilterError as error:
                assert error.go.startswith("no such image"), case
                assert answers.isna().all(), case
        compared += 1
    print(f"{compared} look-ups over four nodes at once agree")
    assert compared > 20
