"""Indexes, manifests and configs decoded into records, resolution by platform, and chain IDs, all as containerd does it."""

from imgframe.oci.decode import (
    HEALTHCHECK_LABEL,
    chain_id,
    chain_ids,
    checked_index,
    checked_manifest,
    decode_config,
    decode_index,
    decode_manifest,
    decode_platform,
)
from imgframe.oci.document_store import Documents, Read
from imgframe.oci.documents import (
    MAX_BYTES,
    Descriptor,
    History,
    ImageConfig,
    Index,
    Manifest,
    RootFS,
    RunConfig,
    is_config_type,
    is_index_type,
    is_manifest_type,
)
from imgframe.oci.resolution import Resolved, find_config, find_manifest, resolve

__all__ = [
    "HEALTHCHECK_LABEL",
    "MAX_BYTES",
    "Descriptor",
    "Documents",
    "History",
    "ImageConfig",
    "Index",
    "Manifest",
    "Read",
    "Resolved",
    "RootFS",
    "RunConfig",
    "chain_id",
    "chain_ids",
    "checked_index",
    "checked_manifest",
    "decode_config",
    "decode_index",
    "decode_manifest",
    "decode_platform",
    "find_config",
    "find_manifest",
    "is_config_type",
    "is_index_type",
    "is_manifest_type",
    "resolve",
]
