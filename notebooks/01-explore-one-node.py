# %% [markdown]
# # Explore one node
#
# A containerd node knows a great deal about its images: which names there are, what each name points to, which layers
# are on disk, what they unpack to, and which containers use them. It tells one call at a time. This notebook reads all of
# it **once** into tables and then asks the tables.
#
# It runs on a simulated node. Set `IMGFRAME_NODE` to the socket of a real one (`/run/containerd/containerd.sock`) before
# you start Jupyter, and the same cells read that node instead. Nothing here changes a node.

# %%
# %matplotlib inline
import os
from contextlib import ExitStack

import pandas as pd

import imgframe as imf
from imgframe import simulator

running = ExitStack()
address = os.environ.get("IMGFRAME_NODE")
if address:
    nodes = address
else:
    now = pd.Timestamp("2026-03-01 06:00", tz="UTC")
    nodes = running.enter_context(simulator.fleet(nodes=2, until=now)).nodes[1]  # a Kubernetes worker

# %% [markdown]
# ## One call
#
# `collect` reads every namespace. It verifies the digest of each manifest and config that it reads, and a failure becomes
# a row of `errors`, never a missing number that looks like zero.

# %%
inv = imf.collect(nodes, progress=False)
print(f"{len(inv.nodes)} node, {len(inv.images)} image records, {len(inv.blobs)} blobs, {len(inv.snapshots)} snapshots")
print(f"{len(inv.errors)} errors")

# %%
inv.nodes[["node", "containerd_version", "platform", "snapshotter", "status"]]

# %% [markdown]
# An `Inventory` is frozen and holds one plain DataFrame per subject. What identifies a row is in its columns (`node`,
# `namespace`, and a name or digest), never in the index, so frames of many nodes concatenate and merge as you expect.

# %%
pd.Series({name: len(frame) for name, frame in inv.to_dict().items()}, name="rows").to_frame()

# %% [markdown]
# ## Images
#
# One row per image **record**: a name in a namespace. Two names of one image are two rows with the same `digest`. The
# Kubernetes runtime keeps three records for each image (the tag, the repository with digest, and the bare config digest),
# which is why a node seems to have three times the images you deployed.

# %%
inv.images[["namespace", "repository", "tag", "platform", "layer_count", "unpacked_size", "containers"]].head(8)

# %%
by_namespace = inv.images.groupby("namespace", observed=True).agg(
    records=("name", "size"), images=("digest", "nunique"), pinned=("pinned", "sum"), in_use=("used_by_digest", "sum")
)
by_namespace

# %% [markdown]
# ## Which size?
#
# Each size is named by what it counts, and no column is just called "size":
#
# - `content_size`: what the manifest says it weighs, compressed. You pay it on the network.
# - `content_present_size`: how much of that is in the store.
# - `unpacked_size`: the snapshots of its layers, on disk.
# - `unique_size`: content and snapshots that **no other image** needs.
# - `shared_size`: content and snapshots that others need as well.
#
# Sizes are integers in bytes. Unknown is `<NA>`.

# %%
sizes = ["content_size", "unpacked_size", "unique_size", "shared_size"]
largest = inv.images[inv.images["tag"] != ""].nlargest(8, "unpacked_size")
largest[["repository", "tag", *sizes]]

# %% [markdown]
# The sum of `unpacked_size` over all images is far more than the disk holds, because images share layers. `by_repository`
# shares each byte out exactly once:

# %%
naive = int(inv.images["unpacked_size"].sum() + inv.images["content_present_size"].sum())
shares = imf.capacity.by_repository(inv)
print(f"sum over all records: {naive / 1e9:8.2f} GB")
print(f"really on the disk:   {shares['share_bytes'].sum() / 1e9:8.2f} GB")

# %% [markdown]
# The records that the Kubernetes runtime names by a bare digest have no repository and need the same bytes again, so the picture
# leaves them out:

# %%
imf.charts.treemap(shares[shares["repository"].notna() & (shares["repository"] != "")]).figure

# %% [markdown]
# ## Which clock?
#
# `created_at` is when this *name* entered this store, `updated_at` when it last moved, `built_at` what the build wrote into
# the config. An image built in January and pulled today is new to `created_at`. None of them is the time of last use.

# %%
clocks = inv.images[["repository", "tag", "built_at", "created_at", "updated_at"]].sort_values("created_at")
clocks.tail(5)

# %%
imf.charts.age_against_size(inv.images, now=inv.images["created_at"].max()).figure

# %% [markdown]
# Orange points are in use. What is old, large and unused stands in the upper right; notebook 03 says how many bytes that
# really is, and notebook 04 removes it safely.
#
# ## One image in depth
#
# The documents themselves, as typed records, with the digest that was verified:

# %%
name = str(largest["name"].iloc[0])
where = {"node": str(largest["node"].iloc[0]), "namespace": str(largest["namespace"].iloc[0])}
config, descriptor = imf.read_image_config(inv, name, **where)
print(name)
print(f"{config.os}/{config.architecture}, {len(config.rootfs.diff_ids)} layers, config {descriptor.digest[:19]}…")

# %%
row = largest.iloc[0]
layers = inv.layers[inv.layers["manifest_digest"] == row["manifest_digest"]]
layers[["position", "media_type", "size", "chain_id"]]

# %%
inv.history[inv.history["digest"] == row["config_digest"]][["position", "created_by", "empty_layer"]]

# %% [markdown]
# Labels of the image's config come as compact JSON text, one string per distinct set, so that millions of rows stay small.
# The accessor opens them, one key as a column:

# %%
pd.DataFrame({
    "repository": inv.images["repository"],
    "version": inv.images.img.label_values("org.opencontainers.image.version"),
}).drop_duplicates().head(6)

# %% [markdown]
# ## Who uses what
#
# `containers` in the images table counts containers *by name*, as Go's code does; `used_by_digest` is true if any container
# uses the same digest under any name.

# %%
inv.containers[["namespace", "image", "runtime", "status"]].head(5)

# %% [markdown]
# ## Keep it
#
# `save` writes one Parquet file per table, and `open_inventory` reads them back equal, dtype for dtype. DuckDB, polars and
# Spark read the same files.

# %%
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp()) / "inventory"
inv.save(folder)
again = imf.open_inventory(folder)
pd.testing.assert_frame_equal(again.images, inv.images)
print(sorted(file.name for file in folder.glob("*.parquet"))[:4], "…")

# %%
running.close()

# %% [markdown]
# Next: **02** filters these images exactly as nerdctl would, and explains every decision.
