"""Registries over HTTP: the only room that knows it.

::

    urls, gourl       what an address names, as Go reads it
    hosts             hosts.toml directories → the servers to ask
    dockerconfig, credentials    docker's config.json and its helper programs
    transport         connections, TLS, proxies, redirects
    auth, asking      tokens and passwords; one request with containerd's own tries
    resolving         a name → a digest
    remote, client    an image in a registry; the session
"""

from imgframe.registry.client import Registry
from imgframe.registry.remote_image import RemoteImage

__all__ = ["Registry", "RemoteImage"]
