# %% [markdown]
# # Capacity planning: 90 days, one fleet
#
# One inventory says what is; many say where it goes. This notebook builds a dataset of inventories over 90 days, asks when
# each node's garbage collection begins and when the disk is full, what changed in the last week, and whether the next
# release fits.
#
# The simulated fleet lives through releases, rollouts and the kubelet's pruning. On a real node (`IMGFRAME_NODE`) the past
# cannot be collected: the same cells run with a single day, and say so where one day is not enough. Nothing here changes a
# node.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

import pandas as pd

import imgframe as imf
from imgframe import simulator

work = Path(tempfile.mkdtemp())
root = work / "history"
address = os.environ.get("IMGFRAME_NODE")

# %% [markdown]
# ## Collect every day, append to a dataset
#
# In production this is one line in a cron job: `imf.dataset.append("history", imf.collect(nodes))`. Here the simulator plays
# a fleet of three nodes day by day, and we look every fourth day.

# %%
if address:
    imf.dataset.append(root, imf.collect(address, progress=False))
else:
    now = pd.Timestamp("2026-03-01 06:00", tz="UTC")
    for day, fleet in simulator.relive(days=90, nodes=3, until=now, every=4):
        seen = imf.collect(fleet.nodes, cache=work / "cache.sqlite", progress=False)
        imf.dataset.append(root, simulator.dated(seen, day))

history = imf.open_dataset(root)
print(f"{len(history.dates)} days in the dataset")

# %% [markdown]
# The dataset is plain Parquet, partitioned by date. Nothing but imgframe is needed to write it, and nothing but a Parquet
# reader to use it:

# %%
import duckdb

duckdb.sql(f"""
    select date, count(*) as images, count(distinct repository) as repositories
    from read_parquet('{root}/date=*/*/images.parquet', hive_partitioning = true)
    group by date order by date desc limit 3
""").df()[["images", "repositories"]]

# %% [markdown]
# ## Growth and forecast
#
# Usage runs like a saw: it grows with each release and falls when the kubelet prunes. A straight line through that is
# nonsense, so the forecast fits the growth *between* the drops, with an interval, and says "no trend" where there is none.

# %%
growth = imf.capacity.growth(history)
forecast = imf.capacity.forecast(history)
forecast[["node", "trend", "bytes_per_day", "days_to_threshold", "days_to_full", "prunes", "observations"]].round(1)

# %%
imf.charts.growth(growth, forecast).figure

# %% [markdown]
# A worker that its kubelet prunes every few days shows teeth shorter than our steps of four days: the forecast finds no growth
# between drops that it cannot see, and says so instead of inventing a line. Collect daily.
#
# The threshold is where the kubelet begins to delete images by itself (85 % by default). A node without a known disk size
# has no forecast of days; give the size in `nodes.toml`.
#
# ## What grew?

# %%
by_repository = imf.capacity.growth(history, by="repository")
ends = by_repository[by_repository["collected_at"] == by_repository["collected_at"].max()]
starts = by_repository[by_repository["collected_at"] == by_repository["collected_at"].min()]
change = ends.set_index("repository")["total_bytes"].sub(starts.set_index("repository")["total_bytes"], fill_value=0)
change.nlargest(5).to_frame("more bytes than at the start")

# %% [markdown]
# The row without a repository are records of the Kubernetes runtime that are named by a bare digest: the same bytes under
# another name.

# %% [markdown]
# ## What changed in the last week?

# %%
new = history.at()
old = history.at(pd.Timestamp(history.dates[-1], tz="UTC") - pd.Timedelta(days=7)) if len(history.dates) > 2 else new
difference = imf.diff(old, new)
print(difference)
difference.changes.groupby("change", observed=True)[["content_delta", "unpacked_delta"]].sum()

# %%
days = history.dates[-8:]
steps = [difference.changes.assign(date=days[-1])]
if len(days) > 1:
    steps = [imf.diff(history.at(a), history.at(b)).changes.assign(date=b) for a, b in zip(days, days[1:])]
changes = pd.concat(steps)
imf.charts.timeline(changes).figure

# %% [markdown]
# ## When was it last used?
#
# containerd does not remember. A dataset does, as far back as it goes, and `not_observed_before` says how far that is.

# %%
used = imf.dataset.last_used(history)
present = used[used["present"]]
idle = present[present["last_used"].isna()]
print(f"{len(present)} records are there, {len(idle)} of them were never seen in use")

# %% [markdown]
# ## The fleet
#
# Which node holds what, and what lies on several nodes at once:

# %%
imf.charts.fleet(imf.capacity.by_node(new)[["node", "physical_bytes", "reclaimable_bytes"]].dropna(subset="node")).figure

# %%
copies = imf.capacity.duplicates(new)
imf.charts.duplicates(copies, most=10).figure

# %% [markdown]
# ## Will the next release fit?
#
# `will_it_fit` asks per node what is missing: compressed bytes to fetch, and bytes to unpack, exactly where any node has
# unpacked the same layers before, else as an interval. The peak holds both at once. Each node takes the manifest for its own
# platform: the edge nodes are arm64, and of an image that only amd64 nodes have read so far nobody knows, so `<NA>` stands there.
# Where a node cannot say how much of its disk is free, you can: here it is the size of the disk less what the store takes.

# %%
tagged = new.images[new.images["tag"] != ""]
release = tagged.sort_values("created_at")["name"].astype(str).drop_duplicates().tail(3).tolist()
disk = forecast.set_index("node")
free = (disk["disk_total"] - disk["used_bytes"]).dropna().astype(int).to_dict()
fit = imf.capacity.will_it_fit(release, new, disk_free=free)
fit[["node", "name", "missing_bytes", "unpacked_bytes", "exact", "peak_bytes", "free_after", "fits"]].head(8)

# %% [markdown]
# `imgframe report history -o report` puts the same figures into a folder that opens in any browser, and `--budget` turns
# them into an exit code for a pipeline.
