# %% [markdown]
# # What fills my disk?
#
# Every tool has a number called "reclaimable", and most are wrong: layers are shared, several namespaces list the same
# bytes, leases and containers hold what no image names. imgframe replays containerd's garbage collector on the tables, so
# its answer to "what does deleting *these* free?" is exact, blob for blob and snapshot for snapshot, before anything happens.
#
# Set `IMGFRAME_NODE` to a containerd socket to run it on a real node. Nothing here changes a node.

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
    nodes, now = address, pd.Timestamp.now("UTC")
else:
    now = pd.Timestamp("2026-03-01 06:00", tz="UTC")
    nodes = running.enter_context(simulator.fleet(nodes=2, until=now)).nodes
inv = imf.collect(nodes, progress=False)
images = inv.images

# %% [markdown]
# ## The whole, in parts that add up

# %%
parts = imf.reclaiming.breakdown(inv)
parts

# %%
summary = imf.reclaiming.df(inv).to_pandas()
summary

# %% [markdown]
# `size` of images is what image records hold; `reclaimable` is what disappears if every image that no container uses is
# deleted. Items of unknown size count zero and are counted in `unknown`: active snapshots are not measured by default,
# because containerd would have to walk the disk.
#
# ## By repository: unique, shared
#
# `unique_bytes` go if the whole repository goes. `shared_bytes` stay as long as any other repository needs them.
# The row without a repository are the records that the Kubernetes runtime names by a bare digest: they need the bytes of every
# image, so on such a node nothing is unique to one repository alone. `share_bytes` divides each shared byte among those who need it, so that the column sums to the disk exactly.

# %%
shares = imf.capacity.by_repository(inv)
assert shares["share_bytes"].sum() == parts.loc[parts["part"] == "total", "size"].sum()
shares.nlargest(6, "physical_bytes")[["repository", "images", "physical_bytes", "unique_bytes", "shared_bytes", "reclaimable_bytes"]]

# %%
imf.charts.usage_by_repository(shares, most=12).figure

# %% [markdown]
# The same by a label of the configs, for the conversation with the teams:

# %%
labels = images.img.labels()
key = "com.example.team" if "com.example.team" in set(labels["key"]) or labels.empty else str(labels["key"].iloc[0])
imf.capacity.by_label(inv, key)[[key, "images", "physical_bytes", "unique_bytes", "reclaimable_bytes"]]

# %% [markdown]
# ## Who shares with whom
#
# Rows and columns are images of one namespace, a cell is the bytes that both need. Blocks are images of one base.

# %%
tagged = images[images["tag"] != ""].drop_duplicates(["node", "namespace", "digest"])
node, namespace = tagged.iloc[-1][["node", "namespace"]]
busiest = tagged[(tagged["node"] == node) & (tagged["namespace"] == namespace)].nlargest(14, "shared_size")
imf.charts.layer_sharing(imf.capacity.layer_sharing(inv, busiest)).figure

# %% [markdown]
# ## What would deleting these free?
#
# Take the five unused images with the largest unpacked size. The naive sum and the truth:

# %%
unused = images[~images["used_by_digest"].fillna(True) & ~images["pinned"].fillna(True) & (images["tag"] != "")]
chosen = unused[unused["node"] == node].nlargest(5, "unpacked_size")
naive = int(chosen["unpacked_size"].sum() + chosen["content_present_size"].sum())
freed = imf.reclaim(inv, chosen)
print(f"sum of their sizes: {naive / 1e9:6.2f} GB")
print(f"really freed:       {freed.total_bytes / 1e9:6.2f} GB "
      f"({freed.content_bytes / 1e9:.2f} content, {freed.snapshot_bytes / 1e9:.2f} snapshots, {freed.inodes} inodes)")

# %% [markdown]
# `held` says what stays, and by whom. On a Kubernetes node the usual answer is: the other two records of the same image.

# %%
held = freed.held
held.groupby(["holder_kind", "holder"], observed=True)["size"].agg(["size", "sum"]).nlargest(5, "sum")

# %% [markdown]
# So delete *all names* of those digests in the namespace:

# %%
keys = ["node", "namespace", "digest"]
every_name = images.merge(chosen[keys].drop_duplicates(), on=keys)
together = imf.reclaim(inv, every_name)
print(f"{len(chosen)} records: {freed.total_bytes / 1e9:6.2f} GB")
print(f"{len(every_name)} records: {together.total_bytes / 1e9:6.2f} GB")

# %% [markdown]
# Two halves never free more apart than together, and often less. (`garbage_bytes` is what the next collection sweeps
# anyway: it counts in every `total_bytes`, so we leave it out of this comparison.)

# %%
def bytes_of(rows):
    reclaim = imf.reclaim(inv, rows)
    return reclaim.total_bytes - reclaim.garbage_bytes


half = len(every_name) // 2
first, second, both = bytes_of(every_name.iloc[:half]), bytes_of(every_name.iloc[half:]), bytes_of(every_name)
assert both >= first + second
print(f"apart {first / 1e9:.2f} + {second / 1e9:.2f} GB, together {both / 1e9:.2f} GB")

# %% [markdown]
# ## Why is this here?
#
# For one image, every blob and snapshot, whether deleting the image frees it, and who would keep it:

# %%
name = str(images.loc[images["tag"] != "", "name"].iloc[0])
imf.explain_image(inv, name)[["kind", "size", "frees", "holder_kind", "holder"]]

# %% [markdown]
# And for one digest, every root that reaches it, with the way:

# %%
digest = str(inv.blobs.sort_values("size")["digest"].iloc[-1])
who = imf.holders(inv, digest)
print(f"the largest blob has {int(who['size'].iloc[0]):,} bytes and {len(who)} holder(s)")
who[["namespace", "holder_kind", "holder"]].head(5)

# %% [markdown]
# ## Orphans
#
# Bytes that neither an image nor a container holds: interrupted pulls, leases that nobody ended, garbage that the next
# collection sweeps. Each row says why it is still there and what becomes of it.

# %%
orphans = imf.orphans(inv)
print(f"{len(orphans)} orphans, {int(orphans['size'].sum()):,} bytes")
orphans[["namespace", "kind", "size", "reason", "action"]].head(5)

# %%
running.close()

# %% [markdown]
# `docs/bytes.md` defines every size on a store small enough to check by hand. Next: **04** turns such a choice into a plan.
