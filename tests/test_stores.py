"""The recorded stores, written back into a real daemon, are the stores that were recorded."""

import pytest
from testbed import ctr_stores
from testbed.daemons import RELEASES
from testbed.recorded_stores import load_into, recorded

STORES = ("store-1", "store-2", "store-3", "store-4")


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("release", RELEASES)
def test_a_rebuilt_store_lists_as_recorded(fresh_daemon, name, release):
    dump = recorded(name)
    daemon = fresh_daemon(release)
    load_into(daemon, dump)
    namespace = dump["namespace"]
    assert daemon.ctr("images", "ls", "-q", namespace=namespace).splitlines() == [
        one["name"] for one in dump["images"]
    ]
    content = ctr_stores.content_rows(daemon.ctr("content", "ls", namespace=namespace))
    assert {row["DIGEST"] for row in content} == {blob["digest"] for blob in dump["blobs"]}
    containers = ctr_stores.rows(
        daemon.ctr("containers", "ls", namespace=namespace), *ctr_stores.CONTAINER_COLUMNS
    )
    assert {row["CONTAINER"] for row in containers} == {one["id"] for one in dump["containers"]}
