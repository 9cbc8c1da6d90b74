"""The same numbers on a real Dask cluster as on one machine, from the same files."""

import pandas as pd
import pytest
from testbed.clock import END

import imgframe as imf
from imgframe import capacity, dataset, scale, schema

DAY = 86_400 * 10**9


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    root = tmp_path_factory.mktemp("scale") / "d"
    for day in range(6):
        nodes = {"node": ["a", "b"], "collected_at": [day * DAY + 1] * 2}
        images = {
            "node": ["a", "a", "b"],
            "name": ["x", "y", "x"],
            "digest": ["1", f"{day}", "1"],
            "content_present_size": [10, day, 10],
        }
        if day == 1:
            images["content_present_size"][1] = 10
        dataset.append(
            root,
            imf.Inventory({"nodes": schema.table("nodes", nodes), "images": schema.table("images", images)}),
        )
    return imf.open_dataset(root)


def test_daily_counts_a_digest_once(history):
    frame = capacity.daily(history)
    assert frame["total_bytes"].tolist() == [20, 30, 22, 23, 24, 25]
    assert frame["unique_bytes"].tolist() == [10, 10, 12, 13, 14, 15]
    assert frame["images"].tolist() == [3] * 6


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_real_cluster_gives_the_same(history):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        pd.testing.assert_frame_equal(
            capacity.daily(history, run=scale.on_dask(client)), capacity.daily(history)
        )
        with imf.simulator.fleet(nodes=3, seed=2, until=END) as fleet:
            spread = scale.collect_on_dask(fleet.nodes, client, cache=False)
            whole = imf.collect(fleet.nodes, cache=False)
        columns = ["node", "namespace", "name", "digest", "content_size", "unpacked_size", "unique_size"]
        order = ["node", "namespace", "name"]
        pd.testing.assert_frame_equal(
            spread.images[columns].sort_values(order, ignore_index=True),
            whole.images[columns].sort_values(order, ignore_index=True),
        )
