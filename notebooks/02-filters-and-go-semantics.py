# %% [markdown]
# # Filters, and what Go decides
#
# nerdctl decides in Go which images a filter keeps. imgframe gives the **same answer for every row and the same error for
# every bad input**, over any number of nodes, as a boolean mask. This notebook shows each filter, how they compose, and the
# traps that cost people images.
#
# Set `IMGFRAME_NODE` to a containerd socket to run it on a real node. Nothing here changes a node.

# %%
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
images = inv.images
print(f"{len(images)} image records in {images['namespace'].nunique()} namespaces")

# %% [markdown]
# ## A filter is a question to each row
#
# It answers true, false or unknown. pandas indexes with callables, so `images[filter]` keeps the rows that are true.

# %%
tagged = imf.filter_tagged_images()
print(f"{int(tagged(images).sum())} of {len(images)} records have a tag")
images[tagged][["repository", "tag"]].head(4)

# %% [markdown]
# The rest are **dangling**: a name without a tag. On a Kubernetes node that includes two of the three records of every image.
# Deleting "dangling images" there does not do what it does with docker.

# %%
imf.get_dangling_images(images)["name"].str.replace(r"[0-9a-f]{40}$", "…", regex=True).head(4).to_frame()

# %% [markdown]
# ## References: two pattern languages at once
#
# A pattern matches if it is a glob of the *familiar* name (`alpine`, not `docker.io/library/alpine`) **or** an RE2 regular
# expression found anywhere in the stored name. It must be valid as both.

# %%
repository = str(images.loc[images["repository"] != "", "repository"].astype(str).max())
short = repository.rsplit("/", 1)[-1]
for pattern in (repository, repository + ":*", f"*{short}*", f".*/{short}:"):
    try:
        print(f"{pattern:40} {len(images[imf.filter_by_reference([pattern])]):4} rows")
    except imf.FilterError as error:
        print(f"{pattern:40} {str(error).partition(' (')[0]}")

# %% [markdown]
# `*api*` and `*:latest` look harmless. As a glob they are fine; as a regular expression they begin with a repetition of
# nothing, so nerdctl fails, and so do we, with its words. Note also that a glob's `*` stops at `/`.
#
# ## Time
#
# `filter_until` takes a Go duration, a date, or RFC 3339. Go has no days: `720h` is right, `30d` is an error.

# %%
for text in ("720h", "24h30m", "2026-02-01", "30d", "yesterday"):
    try:
        print(f"{text:12} {len(images[imf.filter_until(text, now=now)]):4} rows")
    except imf.FilterError as error:
        print(f"{text:12} {str(error)[:70]}")

# %% [markdown]
# ## Labels, and the third answer
#
# Label filters look into the image's **config**, for the node's platform. If that config is not on the node, the honest
# answer is *unknown*, and unknown is selected neither by the filter nor by its negation.

# %%
labels = images.img.labels()
key = str(labels["key"].iloc[0]) if len(labels) else "com.example.team"
has = imf.filter_by_label({key: ""})
pd.DataFrame({"has it": has(images).value_counts(dropna=False), "has it not": (~has)(images).value_counts(dropna=False)})

# %% [markdown]
# ## Composition
#
# `f & g` lets `g` see only what `f` kept, as nerdctl runs its filters one after the other. `|` and `~` are yours.

# %%
old = imf.filter_until("168h", now=now) & imf.filter_tagged_images() & ~imf.filter_by_label({"keep": ""})
candidates = images[old]
print(f"{len(candidates)} of {len(images)} rows: tagged, older than 168h, without the label keep")

# %% [markdown]
# `explain` gives one column per clause and the deciding fact beside it. Ask it before you delete anything.

# %%
why = old.explain(images)
why.insert(0, "tag", images["tag"])
why.drop_duplicates(why.columns[1::2].tolist()).head(8)

# %%
import functools
import operator

clauses = [name for name in why.columns[1:] if not name.endswith(": because")]
together = functools.reduce(operator.and_, (why[name] for name in clauses))
assert together.fillna(False).tolist() == old(images).fillna(False).tolist()
print("their conjunction is the mask:", clauses)

# %% [markdown]
# ## Filter strings, and what commands ignore
#
# `parse_filters` reads what people type after `--filter`. Each nerdctl command uses only some of them, without a word.
# `lint_filters` says which.

# %%
for command, strings in {
    "image prune": ["reference=alpine"],
    "images": ["until=720h"],
}.items():
    for warning in imf.lint_filters(strings, command=command) or ["nothing to say"]:
        print(f"{command}: {warning}")

# %%
filters = imf.parse_filters(["until=720h", "dangling=false"])
print("images      ", filters.clauses("images"))
print("image prune ", filters.clauses("image prune"))

# %% [markdown]
# Read the first warning again: `nerdctl image prune --all --filter reference=alpine` deletes **every** unused image,
# because prune does not know `reference`. In imgframe the filter always filters, and nothing is deleted before you have
# seen a plan.
#
# ## Unused
#
# The Go rule: a record is unused if no container of its namespace carries exactly this name. Another tag of a running image
# counts as unused. `imf.prune` keeps those all the same, because it looks at digests as well.

# %%
unused = imf.get_unused_images(inv)
print(f"{len(unused)} records are unused by name, {int(unused['used_by_digest'].sum())} of them are in use by digest")

# %% [markdown]
# ## On the frame itself
#
# The accessor `.img` has the filters as methods, and what pandas lacks, such as versions that sort as versions:

# %%
versions = images[["repository", "tag"]].join(images.img.semver()).dropna(subset="major")
versions.sort_values(["repository", "major", "minor", "patch"], ascending=False).head(5)

# %%
newest = images.img.tagged().img.keep_last(3, by="repository")
print(f"the 3 newest of each repository: {len(newest)} rows")

# %%
running.close()

# %% [markdown]
# `docs/filters.md` has every filter with its traps and the table of what nerdctl, docker and imgframe do per clause.
