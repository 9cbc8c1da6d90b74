"""Registries over HTTP: the only room that speaks to them.

::

    urls                         addresses of registries, as Go reads them
    hosts                        hosts.toml directories → the servers of a registry
    dockerconfig, credentials    docker's config.json and its helper programs
    transport                    connections, TLS, proxies, redirects
    auth                         basic authentication and tokens
    session                      one request to one server, with containerd's retries
    resolver                     a name → a digest
    remote_image, client         an image in a registry; the session with all registries
    failures                     failed requests → errors without secrets
"""

from imgframe.registry.client import Registry
from imgframe.registry.remote_image import RemoteImage

__all__ = ["Registry", "RemoteImage"]
