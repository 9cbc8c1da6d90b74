# %% [markdown]
# # Ensure a release on all nodes
#
# A rollout is as slow as the slowest pull. This notebook asks the registry what a release is, brings it onto every node of
# a fleet before anybody needs it, shows that a second run moves no byte, and compares what the nodes have with what the
# registry serves today.
#
# By default it runs on three simulated nodes and a small registry inside this process. Set `IMGFRAME_NODE` to a containerd
# socket to use a real node, and `IMGFRAME_RELEASE` to the references to bring there, separated by blanks. **Mind: it pulls
# them, and removes at the end what it brought.**

# %%
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

import imgframe as imf
from imgframe import simulator

running = ExitStack()
address = os.environ.get("IMGFRAME_NODE")
if address:
    nodes, hosts_dirs, namespace = [address], [], "default"
    release = os.environ.get("IMGFRAME_RELEASE", "docker.io/library/busybox:1.36").split()
else:
    now = pd.Timestamp("2026-03-01 06:00", tz="UTC")
    fleet = running.enter_context(simulator.fleet(nodes=3, days=3, until=now))
    registry = running.enter_context(simulator.ImageRegistry(["shop/api:2.4.0", "shop/web:2.4.0", "shop/mail:2.4.0"]))
    nodes, namespace = fleet.nodes, "k8s.io"
    hosts_dirs = [registry.hosts_dir(Path(tempfile.mkdtemp()))]  # registry.example is served from this process
    release = [f"registry.example/{name}" for name in registry.images]
print(f"{len(release)} images for {len(nodes)} node(s)")

# %% [markdown]
# ## What is the release?
#
# A tag is a name that can move; a digest is the thing itself. `resolve_digest` asks each registry once per reference.
# `hosts_dirs` are folders of `hosts.toml` files, as containerd's `config_path` has them: mirrors, certificates, headers.

# %%
digests = imf.resolve_digest(release, hosts_dirs=hosts_dirs)
print(f"{digests.notna().sum()} of {len(release)} references are in their registry")

# %% [markdown]
# ## The plan
#
# `ensure` follows nerdctl's three modes: `always` pulls, `missing` pulls what is not there for the node's platform, `never`
# only looks. Each image goes onto each node; nothing has happened yet.

# %%
before = imf.collect(nodes, progress=False)
plan = imf.ensure(release, nodes, mode="missing", namespace=namespace, hosts_dirs=hosts_dirs)
print(f"{len(plan.steps)} steps: {plan.steps['action'].value_counts().to_dict()}")
plan.steps[["action", "namespace", "name", "reason"]].head(3)

# %% [markdown]
# ## Apply
#
# A lease holds what arrives until the record is written, every blob is checked against its digest, and layers are unpacked
# while the next ones travel. Layers that several images of the plan share travel once per node. If a step fails, nothing of
# it is left behind and the other steps go on.

# %%
result = plan.apply(progress=False)
result.raise_for_errors()
moved = result.steps.groupby("node", observed=True)["fetched_bytes"].sum()
print(f"{len(result.steps)} steps, all {', '.join(sorted(set(result.steps['status'])))}")
if not address:
    whole = 3 * 0.2 * len(release)  # three layers of 0.2 MB in each image
    for node, size in moved.items():
        print(f"{node}: {size / 1e6:.1f} MB fetched instead of {whole:.1f} MB, for the first layer is the same in all images")

# %% [markdown]
# ## Is it there?
#
# Look, don't trust: collect again and ask for every image on every node that it is complete and unpacked.

# %%
inv = imf.collect(nodes, progress=False)
there = inv.images[inv.images["name"].isin(release)]
assert len(there) == len(release) * len(nodes) and there["complete"].all() and there["unpacked"].all()
assert set(there["digest"].astype(str)) == set(digests)
there[["repository", "tag", "platform", "complete", "unpacked"]].drop_duplicates().head(6)

# %% [markdown]
# ## Again
#
# The same plan a second time finds everything. That makes `ensure` fit for a cron job.

# %%
again = plan.apply(progress=False)
again.raise_for_errors()
print(f"fetched by the second run: {again.steps['fetched_bytes'].fillna(0).sum()} bytes")

# %% [markdown]
# ## Is it still what the registry serves?
#
# `stale` compares every record of the fleet with its registry, by digest, each reference once for all nodes. Here for the
# release only:

# %%
only = inv.replace(images=there)
stale = imf.stale(only, hosts_dirs=hosts_dirs)
stale.groupby("status", observed=True).size().to_frame("records")

# %% [markdown]
# ## Leave as found
#
# What this notebook brought goes again. The plan says what stays on the node because other images share it.

# %%
known = pd.MultiIndex.from_frame(before.images[["node", "name"]].astype(str))
brought = there[~pd.MultiIndex.from_frame(there[["node", "name"]].astype(str)).isin(known)]
removal = imf.prune(brought, inv)
removal.apply(progress=False).raise_for_errors()
left = imf.collect(nodes, progress=False)
print(f"{len(removal.steps)} records removed; {len(left.images) - len(before.images)} more records than before")
running.close()
