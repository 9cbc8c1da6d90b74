"""Functions on the collections of a dataset, and collections of many nodes, on a Dask cluster (extra ``dask``).

The files are plain Parquet, which Spark and DuckDB read too (docs/scale.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from imgframe.errors import MissingExtra

T = TypeVar("T")


def on_dask(client: Any = None) -> Callable[[Callable[[Any], T], Iterable[Any]], list[T]]:
    """A ``run`` argument for functions such as :func:`imgframe.capacity.daily`: each collection is a task of the cluster.

    ``client`` is a ``distributed.Client``, by default the current one. Workers read the files, so the dataset must be on a
    file system that all of them share; only the small results are transferred.

    Raises:
        MissingExtra: Dask is not installed.

    Example:
        >>> import imgframe as imf
        >>> imf.scale.on_dask  # daily(dataset, run=imf.scale.on_dask(client))
        <function on_dask at ...>
    """
    try:
        from distributed import default_client
    except ImportError as error:
        raise MissingExtra("dask", "dask") from error
    cluster = client if client is not None else default_client()

    def run(work: Callable[[Any], T], parts: Iterable[Any]) -> list[T]:
        futures = cluster.map(work, list(parts), pure=False)
        return list(cluster.gather(futures))

    return run


def collect_on_dask(nodes: Iterable[Any], client: Any = None, **options: Any) -> Any:
    """:func:`imgframe.collect` of many nodes on the workers of a Dask cluster, as one Inventory.

    ``nodes`` and ``options`` are those of ``collect``; each worker must reach the sockets of its nodes. A node that fails loses
    only its own rows, as in ``collect``.

    Raises:
        MissingExtra: Dask is not installed.
    """
    from imgframe.collector import collect
    from imgframe.inventory import concat
    from imgframe.node import Node

    run = on_dask(client)
    chosen = [Node.of(node) for node in nodes]
    size = max(1, -(-len(chosen) // 64))
    parts = [chosen[at : at + size] for at in range(0, len(chosen), size)]
    return concat(run(functools.partial(collect, **options), parts))
