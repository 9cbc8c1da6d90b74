"""Histories for tests: collections of few nodes and images, whole in every table that is keyed by digest."""

import pandas as pd
from hypothesis import strategies as st

import imgframe as imf
from imgframe import dataset, schema
from imgframe.dataset.diff import canonical

HOUR = 3600 * 10**9
START = 1_700_000_000 * 10**9 // (24 * HOUR) * 24 * HOUR
NODES = ("a", "b", "c")


def stamp(hours):
    return pd.Timestamp(START + hours * HOUR, unit="ns", tz="UTC")


def collected(hours, seen, failed=(), lacking=()):
    """What was read at a moment: the images of each node in ``seen`` by number, the nodes in ``failed`` not at all.

    Image 7 has the same config as image 6; of the images in ``lacking`` the config could not be read this time.
    """
    held = [(node, number) for node, numbers in sorted(seen.items()) for number in sorted(numbers)]
    config = {number: f"sha256:c{min(number, 6)}" for number in range(8)}
    here = sorted({number for _, number in held})
    whole = [number for number in here if number not in lacking]
    configs = sorted({config[number] for number in whole})
    steps = [digest for digest in configs for _ in range(2)]
    layers = [(f"sha256:m{number}", at, number in whole) for number in here for at in range(3)]
    nodes = sorted([*seen, *failed])
    columns = {
        "nodes": {
            "node": nodes,
            "collected_at": [START + hours * HOUR] * len(nodes),
            "status": ["failed" if node in failed else "ok" for node in nodes],
        },
        "errors": {"node": sorted(failed), "stage": ["connect"] * len(failed), "message": [f"at {hours}"] * len(failed)},
        "images": {
            "node": [node for node, _ in held],
            "name": [f"img:{number}" for _, number in held],
            "repository": ["img"] * len(held),
            "digest": [f"sha256:i{number}" for _, number in held],
            "manifest_digest": [f"sha256:m{number}" for _, number in held],
            "config_digest": [config[number] for _, number in held],
        },
        "manifests": {
            "node": [node for node, _ in held],
            "digest": [f"sha256:m{number}" for _, number in held],
            "parent_digest": [f"sha256:i{number}" for _, number in held],
            "config_digest": [config[number] for _, number in held],
        },
        "configs": {"digest": configs, "os": [f"of {digest}" for digest in configs]},
        "history": {"digest": steps, "position": [0, 1] * len(configs), "created_by": [f"RUN {d}" for d in steps]},
        "layers": {
            "manifest_digest": [digest for digest, _, _ in layers],
            "position": [at for _, at, _ in layers],
            "digest": [f"sha256:l{at}" for _, at, _ in layers],
            "chain_id": [f"chain {digest} {at}" if known else None for digest, at, known in layers],
        },
        "documents": {
            "digest": [f"sha256:{kind}{number}" for kind in "im" for number in here] + configs,
            "data": [f"{kind}{number}".encode() for kind in "im" for number in here] + [d.encode() for d in configs],
        },
    }  # fmt: skip
    return imf.Inventory({name: schema.table(name, given) for name, given in columns.items()})


class State:  # noqa: PLW1641 -- compared only
    """An inventory that equals another where every table has the same rows, in whatever order."""

    def __init__(self, inventory):
        names = [name for name in schema.TABLES if name != "labels" and inventory.arrow(name).num_rows]
        self.tables = {name: canonical(name, inventory.arrow(name)) for name in names}

    def __eq__(self, other):
        return self.tables.keys() == other.tables.keys() and all(
            table.equals(other.tables[name]) for name, table in self.tables.items()
        )

    def __repr__(self):
        return repr({name: table.to_pylist() for name, table in self.tables.items()})


_seen = st.dictionaries(st.sampled_from(NODES), st.sets(st.integers(0, 7), max_size=4), max_size=3)
HISTORIES = st.lists(
    st.tuples(_seen, st.sets(st.sampled_from(NODES)), st.sets(st.integers(0, 7), max_size=3)),
    min_size=1,
    max_size=7,
)


def appended(root, history):
    """The moments of a history appended as it is given: every collection reads some nodes and fails on others."""
    hours = []
    for at, (seen, away, lacking) in enumerate(history):
        failed = away - set(seen)
        if seen or failed:
            hours.append(10 * at)
            dataset.append(root, collected(10 * at, seen, failed, lacking))
    return hours
