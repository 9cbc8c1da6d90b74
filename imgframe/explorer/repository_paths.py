"""The tree of repositories: registry, then path, with a number of records at each node."""

from __future__ import annotations

from typing import Any

import numpy as np

from imgframe.arrow.keys import one_array, plain_codes
from imgframe.inventory import Inventory

NAMELESS = "(no repository)"
"""The node of records whose name has no repository: bare digests, and what Go cannot parse. No registry can have this name."""


class RepositoryPaths:
    """The repositories of an inventory. Node 0 is the root; a parent comes before its children.

    ``paths`` are the names of the nodes (``docker.io/bitnami/redis``, as users write it: without ``library``), ``labels`` their
    last parts, ``parents`` their parents (-1 for the root).

    Example:
        >>> from imgframe import schema
        >>> names = {"domain": ["docker.io", "docker.io"], "repository": ["alpine", "bitnami/redis"]}
        >>> tree = RepositoryPaths(Inventory({"images": schema.table("images", names)}))
        >>> tree.paths
        ['', 'docker.io', 'docker.io/alpine', 'docker.io/bitnami', 'docker.io/bitnami/redis']
        >>> tree.counts(np.array([1])).tolist()
        [1, 1, 0, 1, 1]
    """

    def __init__(self, inventory: Inventory) -> None:
        images = inventory.arrow("images")
        domain, domains = _codes(images["domain"])
        repository, repositories = _codes(images["repository"])
        pair = domain * (len(repositories) + 1) + repository
        pairs, self._pair_of = np.unique(pair, return_inverse=True)
        ways = []
        for each in pairs.tolist():
            host = domains[each // (len(repositories) + 1)]
            path = repositories[each % (len(repositories) + 1)]
            ways.append((host, *path.removeprefix(f"{host}/").split("/")) if host and path else (NAMELESS,))
        self.paths, self.labels, self.parents = [""], [""], [-1]
        self._known = {"": 0}
        by_way = {way: self._grow(way) for way in sorted(set(ways))}
        self._leaf = np.array([by_way[way] for way in ways], np.int64)

    def _grow(self, way: tuple[str, ...]) -> int:
        """The node of a path, created with its parents if it is new."""
        at = 0
        for depth, label in enumerate(way, 1):
            path = "/".join(way[:depth])
            if path not in self._known:
                self._known[path] = len(self.paths)
                self.paths.append(path)
                self.labels.append(label)
                self.parents.append(at)
            at = self._known[path]
        return at

    def find(self, path: str) -> int | None:
        """The node with this path, None if there is none."""
        return self._known.get(path)

    def counts(self, positions: np.ndarray) -> np.ndarray:
        """For each node how many of the records at ``positions`` are at or below it."""
        out = np.zeros(len(self.paths), np.int64)
        np.add.at(out, self._leaf, np.bincount(self._pair_of[positions], minlength=len(self._leaf)))
        counted = out.tolist()
        for node in range(len(counted) - 1, 0, -1):
            counted[self.parents[node]] += counted[node]
        return np.array(counted, np.int64)

    def below(self, positions: np.ndarray, node: int) -> np.ndarray:
        """Those of ``positions`` whose record is at or below ``node``."""
        if node == 0:
            return positions
        inside = np.zeros(len(self.paths), bool)
        inside[node] = True
        for each in range(node + 1, len(self.paths)):
            inside[each] = inside[self.parents[each]]
        return positions[inside[self._leaf][self._pair_of[positions]]]


def _codes(column: Any) -> tuple[np.ndarray, list[str]]:
    """The codes of a text column and its words; the last word is empty and stands for missing values."""
    words = [*one_array(column).dictionary.to_pylist(), ""]
    return plain_codes(column) % len(words), words
