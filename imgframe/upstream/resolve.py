"""``resolve_digest``: the digests that registries have under names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, overload

from imgframe.errors import MissingColumn
from imgframe.upstream.lookup import Paths, QuerySession, RegistryOptions, Resolution, query_registries

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {
    "reference": "string",
    "digest": "string",
    "media_type": "string",
    "size": "Int64",
    "errors": "string",
}


@overload
def resolve_digest(
    references: Any,
    *,
    insecure: bool = ...,
    hosts_dirs: Paths = ...,
    docker_config: str | os.PathLike[str] | None = ...,
    max_parallel: int = ...,
    timeout: float = ...,
    frame: Literal[False] = ...,
) -> pd.Series: ...
@overload
def resolve_digest(
    references: Any,
    *,
    insecure: bool = ...,
    hosts_dirs: Paths = ...,
    docker_config: str | os.PathLike[str] | None = ...,
    max_parallel: int = ...,
    timeout: float = ...,
    frame: Literal[True],
) -> pd.DataFrame: ...
def resolve_digest(
    references: Any,
    *,
    insecure: bool = False,
    hosts_dirs: Paths = (),
    docker_config: str | os.PathLike[str] | None = None,
    max_parallel: int = 32,
    timeout: float = 60.0,
    frame: bool = False,
) -> pd.Series | pd.DataFrame:
    """The digests that registries have under these names (nerdctl's ``ResolveDigest``), each different name asked once.

    Args:
        references: image names: a list, a Series, a frame with the column ``name``, or one name.
        insecure: do not verify certificates; warns.
        hosts_dirs: directories with ``hosts.toml`` files.
        docker_config: docker's ``config.json`` or its folder; default ``$DOCKER_CONFIG``, else ``~/.docker``.
        max_parallel: how many names are asked for at a time.
        timeout: seconds in which a registry must send something.
        frame: return everything that was learnt, failures too.

    Returns:
        A Series of digests (dtype ``string``), <NA> where a name could not be resolved. Its index is that of the Series or
        frame given, else the names. With ``frame=True`` a frame on the same index with the columns ``reference``,
        ``digest``, ``media_type``, ``size`` (bytes) and ``errors`` (why not; <NA> where it went well).

    The digest is what the registry claims in its headers; nothing is downloaded to check it.

    Example:
        >>> import imgframe as imf
        >>> imf.resolve_digest(["Not A Name"], frame=True).errors.iloc[0]
        "image name 'Not A Name': invalid reference format: repository name (library/Not A Name) must be lowercase"
    """
    import pandas as pd

    names, index = _names(references)
    options = RegistryOptions(insecure, hosts_dirs, docker_config, max_parallel, timeout)

    async def work(session: QuerySession) -> dict[str, Resolution]:
        return await session.each(names, session.resolve)

    found = query_registries(work, options) if names else {}
    rows = []
    for name in names:
        target, reason = found[name].target, found[name].reason
        known = (target.digest, target.media_type, target.size) if target else (None, None, None)
        rows.append((name, *known, reason))
    table = pd.DataFrame(rows, columns=list(_DTYPES), index=index).astype(_DTYPES)
    return table if frame else table["digest"]


def _names(references: Any) -> tuple[list[str], Any]:
    import pandas as pd

    if isinstance(references, str):
        references = [references]
    if isinstance(references, pd.DataFrame):
        if "name" not in references.columns:
            raise MissingColumn("name", "resolve_digest", references.columns)
        references = references["name"]
    if isinstance(references, pd.Series):
        return [str(one) for one in references.array], references.index
    names = [str(one) for one in references]
    return names, pd.Index(names, dtype="object", name="reference")
