"""The prediction against the real collector: random stores in real daemons, predict, delete, list again, compare."""

import os
import random

import numpy as np
import pytest
from testbed import daemons, random_stores

import imgframe as imf
from imgframe.collector.disk import measured_bytes
from imgframe.reclaiming.gc_labels import CONTENT, IMAGE
from imgframe.reclaiming.graph import graph_of

ROUNDS = 20
SOAK = int(os.environ.get("IMGFRAME_SOAK_STORES", "1000"))


def taken(daemon):
    return imf.collect(daemon.address, cache=False, usage="all", progress=False)


def keys(frame, *columns):
    return set(frame[list(columns)].astype(str).itertuples(index=False, name=None))


def play(daemon, filler, rng):
    """One round: fill, predict, delete, compare. The bytes that went."""
    filler.fill()
    before = taken(daemon)
    assert not len(before.errors[~before.errors["code"].isin(["not_found"])]), before.errors.to_string()
    images = before.images
    share = rng.choice([0.2, 0.5, 0.9, 1.0])
    chosen = images[[rng.random() < share for _ in range(len(images))]]
    if not len(chosen):
        chosen = images.head(1)
    # containerd decides by its own clock at the delete: nothing here expires between the two
    predicted = imf.reclaim(before, chosen)
    assert not len(predicted.unknown) and not len(predicted.missing) and not len(predicted.unread)
    graph = graph_of(before)
    stays = np.array(predicted.after)[graph.part(CONTENT)]
    if not (before.snapshots["kind"] == "view").any():
        parts = imf.reclaiming.breakdown(before, measured_bytes(before)).set_index("part")["size"]
        assert parts["unaccounted"] == 0 and parts["total"] == sum(measured_bytes(before).values())
    disk = random_stores.disk_bytes(daemon.root)
    random_stores.delete_images(daemon, list(keys(chosen, "namespace", "name")))
    after = taken(daemon)
    disk_after = random_stores.disk_bytes(daemon.root)

    gone = keys(before.blobs, "digest") - keys(after.blobs, "digest")
    assert gone == keys(predicted.blobs, "digest")
    listed = keys(before.blobs, "namespace", "digest") - keys(after.blobs, "namespace", "digest")
    assert listed == keys(before.blobs[~stays], "namespace", "digest")
    snapshot = ("namespace", "snapshotter", "key")
    assert keys(before.snapshots, *snapshot) - keys(after.snapshots, *snapshot) == keys(
        predicted.snapshots, *snapshot
    )
    records = ("namespace", "name")
    assert keys(images, *records) - keys(after.images, *records) == keys(
        images[~np.array(predicted.after)[graph.part(IMAGE)]], *records
    )
    ingest = ("namespace", "ref")
    assert keys(before.ingests, *ingest) - keys(after.ingests, *ingest) == keys(predicted.ingests, *ingest)
    assert disk[0] - disk_after[0] == predicted.content_bytes
    views = before.snapshots.loc[before.snapshots["kind"] == "view", list(snapshot)]
    if not keys(views, *snapshot) & keys(
        predicted.snapshots, *snapshot
    ):  # usage of a view is 0 by definition
        assert disk[1] - disk_after[1] == predicted.snapshot_bytes
    return predicted.total_bytes


@pytest.mark.parametrize("release", daemons.RELEASES)
def test_what_disappears_is_what_was_predicted(release, fresh_daemon):
    daemon = fresh_daemon(release, config=random_stores.QUIET)
    random_stores.collect_now(daemon)  # from now on the next collection is far away
    rng = random.Random(f"reclaim-{release}")
    filler = random_stores.Filler(daemon, rng)
    freed = [play(daemon, filler, rng) for _ in range(ROUNDS)]
    assert sum(size > 0 for size in freed) > ROUNDS // 2
    print(f"containerd {daemon.version}: {ROUNDS} of {ROUNDS} stores equal, {sum(freed):,} bytes freed")


@pytest.mark.soak
@pytest.mark.parametrize("release", daemons.RELEASES)
def test_soak_what_disappears_is_what_was_predicted(release, fresh_daemon):
    equal = 0
    for start in range(0, SOAK, 50):  # a new daemon now and then, so that stores stay small
        daemon = fresh_daemon(release, config=random_stores.QUIET)
        random_stores.collect_now(daemon)
        rng = random.Random(f"soak-{release}-{start}")
        filler = random_stores.Filler(daemon, rng)
        for _ in range(min(50, SOAK - start)):
            play(daemon, filler, rng)
            equal += 1
        daemon.stop()
    print(f"containerd {release}: {equal} of {SOAK} stores equal")
