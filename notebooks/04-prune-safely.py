# %% [markdown]
# # Prune safely: plan, apply, undo
#
# Deleting images on a node that serves people is a two-step affair in imgframe. A filtered frame goes in and a **Plan**
# comes out: data that can be read, saved, reviewed and applied tomorrow. Only `Plan.apply` writes, and it compares every
# step with the node at that moment.
#
# Set `IMGFRAME_NODE` to a containerd socket to run it on a real node. **Mind: this notebook deletes images there, and puts
# them back.**

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
    nodes = running.enter_context(simulator.fleet(nodes=2, until=now)).nodes[1]
inv = imf.collect(nodes, progress=False)
before = set(zip(inv.images["namespace"], inv.images["name"], inv.images["digest"]))

# %% [markdown]
# ## Choose
#
# Any frame with `node`, `namespace`, `name` and `digest` will do. Here: everything but the two newest tags of each
# repository, under every name that the chosen digests have.

# %%
keep = inv.images.img.tagged().img.keep_last(2, by=["namespace", "repository"])
keys = ["node", "namespace", "digest"]
kept = pd.MultiIndex.from_frame(keep[keys].astype(str))
old = inv.images[~pd.MultiIndex.from_frame(inv.images[keys].astype(str)).isin(kept)]
print(f"{len(old)} of {len(inv.images)} records are old")

# %% [markdown]
# ## Plan
#
# `prune` keeps, and says that it keeps, what is pinned, what a container uses under *any* name of the digest, and what it
# cannot know. `undo_for` lets a lease hold the content for a while, so that the names can be put back.

# %%
plan = imf.prune(old, inv, undo_for="2h")
print(f"{len(plan.steps)} records to delete, {len(plan.kept)} kept")
print(f"frees exactly {plan.freed.total_bytes:,} bytes: {len(plan.freed.blobs)} blobs, {len(plan.freed.snapshots)} snapshots")

# %%
plan.kept.groupby("reason", observed=True).size().to_frame("records")

# %% [markdown]
# `predicted_bytes` is what each step adds to the steps before it. Steps of zero bytes are names of an image whose other
# names follow.

# %%
plan.steps[["action", "namespace", "name", "predicted_bytes", "reason"]].nlargest(6, "predicted_bytes")

# %%
used = int(imf.reclaiming.breakdown(inv).query("part == 'total'")["size"].sum())
imf.charts.waterfall(plan.waterfall(before=used)).figure

# %% [markdown]
# ## Review
#
# A plan is a folder of Parquet files and a small JSON. Mail it, put it into a change request, apply it tomorrow. It holds
# no credentials.

# %%
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp()) / "plan"
plan.save(folder)
reviewed = imf.open_plan(folder)
assert reviewed.steps.equals(plan.steps)
print(sorted(file.name for file in folder.iterdir()))

# %% [markdown]
# ## Apply
#
# Every step asks the node first. Statuses: `done`; `gone` (nothing was left to do); `refused` (the record moved, or is now
# in use or pinned); `failed`; `stopped`.

# %%
result = reviewed.apply(progress=False)
result.steps.groupby("status").size().to_frame("steps")

# %%
after = imf.collect(nodes, progress=False)
print(f"{len(inv.images)} records before, {len(after.images)} after")
print(f"freed so far: {result.observed_bytes:,} bytes; the rest is held for {plan.undo_for} s")

# %% [markdown]
# Applied twice, a plan does nothing the second time:

# %%
again = reviewed.apply(progress=False)
again.steps.groupby("status").size().to_frame("steps")

# %% [markdown]
# ## Undo
#
# `undo` is a plan too. It puts the names back while the content is held, with digest, labels and all.

# %%
back = result.undo() if len(plan.steps) else None
if back is not None:
    back.apply(progress=False).raise_for_errors()
restored = imf.collect(nodes, progress=False)
assert set(zip(restored.images["namespace"], restored.images["name"], restored.images["digest"])) == before
print(f"{len(restored.images)} records again")

# %% [markdown]
# ## What cannot happen
#
# Between plan and apply somebody pushed a new image under one of the names, or started a container from it. Here we tag
# another image onto a name of the plan, and the step is refused:

# %%
plan = imf.prune(old, inv, undo_for="2h")
if len(plan.steps) and inv.images["digest"].nunique() > 1:
    victim = plan.steps.iloc[0]
    space = (inv.images["node"] == victim["node"]) & (inv.images["namespace"] == victim["namespace"])
    other = inv.images[space & (inv.images["digest"] != victim["digest"])].head(1)
    imf.tag(other, inv, {str(other["name"].iloc[0]): str(victim["name"])}).apply(progress=False).raise_for_errors()
    result = plan.apply(progress=False)
    print(result.steps["status"].value_counts().to_dict())
    print(result.failed["message"].iloc[0][:60], "…")

# %% [markdown]
# Everything but that name was deleted; the undo restores it. The moved name stays where somebody put it.

# %%
if len(plan.steps):
    done = result.steps["status"].eq("done").any()
    print(result.undo().apply(progress=False).steps["status"].value_counts().to_dict() if done else "nothing was deleted")

# %% [markdown]
# ## Free just enough
#
# `prune_to` picks the least harmful set that frees what you ask for: cheap to pull again and long untouched first, and
# layers that are shared count only when their last user goes.

# %%
goal = plan.freed.total_bytes // 4
enough = imf.prune_to(inv, goal)
print(f"asked for {goal / 1e9:.2f} GB: {len(enough.steps)} records free {enough.freed.total_bytes / 1e9:.2f} GB")
oldest = imf.prune_to(inv, goal, order="oldest")
print(f"oldest first would delete {len(oldest.steps)} records and free {oldest.freed.total_bytes / 1e9:.2f} GB")

# %%
running.close()

# %% [markdown]
# `docs/acting.md` has every verb; **06** goes the other way and brings images onto nodes.
