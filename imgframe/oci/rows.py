"""Documents as rows of the tables ``configs``, ``history`` and ``layers`` (:data:`imgframe.schema.TABLES`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from imgframe.golang import time as gotime
from imgframe.oci.decode import chain_ids, decode_config
from imgframe.oci.documents import ImageConfig, Manifest

_LOWEST, _HIGHEST = -(1 << 63) + 1, (1 << 63) - 1


def compact_json(value: Any) -> str:
    """Maps and lists as the tables hold them: compact JSON text with sorted keys.

    Example:
        >>> compact_json({"b": "é", "a": "1"})
        '{"a":"1","b":"é"}'
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def image_labels(config: ImageConfig | bytes) -> dict[str, str]:
    """The labels of an image as ReadImageConfig gives them, ``nerdctl/healthcheck`` among them.

    Raises:
        DocumentError: the bytes are not a config.

    Example:
        >>> from imgframe import oci
        >>> oci.image_labels(b'{"config": {"Labels": {"team": "search", "keep": null}}}')
        {'team': 'search', 'keep': ''}
    """
    return dict((decode_config(config) if isinstance(config, bytes) else config).config.labels)


def timestamp(text: str | None) -> int | None:
    """A time of a document as nanoseconds since 1970 UTC; None without one, or outside 1677 to 2262."""
    if text is None:
        return None
    moment = gotime.unmarshal(text)[0]
    return moment if _LOWEST <= moment <= _HIGHEST else None


def config_row(digest: str, config: ImageConfig) -> dict[str, Any]:
    """The row of a config in the table ``configs``; ``created`` is nanoseconds.

    Example:
        >>> from imgframe import oci
        >>> oci.config_row("sha256:00", oci.decode_config(b'{"config": {"Env": ["A=1"]}}'))["env"]
        '["A=1"]'
    """
    run = config.config
    return {
        "digest": digest,
        "created": timestamp(config.created),
        "author": config.author,
        "os": config.os,
        "architecture": config.architecture,
        "variant": config.variant,
        "user": run.user,
        "env": compact_json(run.env),
        "entrypoint": compact_json(run.entrypoint),
        "cmd": compact_json(run.cmd),
        "working_dir": run.working_dir,
        "exposed_ports": compact_json(run.exposed_ports),
        "volumes": compact_json(run.volumes),
        "stop_signal": run.stop_signal,
        "healthcheck": config.healthcheck,
        "labels": compact_json(run.labels),
    }


def history_rows(digest: str, config: ImageConfig) -> Iterator[dict[str, Any]]:
    """The rows of a config in the table ``history``, one per step."""
    for position, step in enumerate(config.history):
        yield {
            "digest": digest,
            "position": position,
            "created": timestamp(step.created),
            "created_by": step.created_by,
            "author": step.author,
            "comment": step.comment,
            "empty_layer": step.empty_layer,
        }


def layer_rows(digest: str, manifest: Manifest, config: ImageConfig | None) -> Iterator[dict[str, Any]]:
    """The rows of a manifest in the table ``layers``: each layer with its diff ID and chain ID where the config has them."""
    diff_ids = config.rootfs.diff_ids if config is not None else ()
    chains = chain_ids(diff_ids)
    for position, layer in enumerate(manifest.layers):
        known = position < len(diff_ids)
        yield {
            "manifest_digest": digest,
            "position": position,
            "digest": layer.digest,
            "media_type": layer.media_type,
            "size": layer.size,
            "diff_id": diff_ids[position] if known else None,
            "chain_id": chains[position] if known else None,
        }
