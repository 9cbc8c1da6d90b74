"""Beyond one machine: the same functions on the collections of a dataset, on a Dask cluster (extra ``dask``).

The files are plain Parquet; Spark and DuckDB read them as they are (docs/scale.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from imgframe.errors import MissingExtra

T = TypeVar("T")


def on_dask(client: Any = None) -> Callable[[Callable[[Any], T], Iterable[Any]], list[T]]:
    """A ``run`` for functions such as :func:`imgframe.capacity.daily`: each collection is one task of the cluster.

    ``client``: a ``distributed.Client``, default the current one. Workers read the files themselves, so the dataset must be
    on a file system that all of them see; only the small results travel.

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
    """:func:`imgframe.collect` of many nodes, spread over the workers of a Dask cluster, as one Inventory.

    Each worker must reach the sockets of the nodes it is given (``nodes`` are addresses as in ``collect``; ``options`` too).
    A dead node costs its own rows only, as in ``collect``.

    Raises:
        MissingExtra: Dask is not installed.
    """
    from imgframe.inventory import concat
    from imgframe.node import Node

    run = on_dask(client)
    chosen = [Node.of(node) for node in nodes]
    size = max(1, -(-len(chosen) // 64))
    parts = [chosen[at : at + size] for at in range(0, len(chosen), size)]
    return concat(run(_Collector(options), parts))


class _Collector:
    """``collect`` with its options, importable on a worker."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def __call__(self, nodes: list[Any]) -> Any:
        from imgframe.collector import collect

        return collect(nodes, **self.options)
