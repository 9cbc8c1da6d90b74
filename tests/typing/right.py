"""What a user writes; both type checkers accept every line."""

from pathlib import Path

import pandas as pd

import imgframe as imf
from imgframe import capacity, charts, collect
from imgframe.errors import ImgframeError


def prune_a_node(address: str) -> int:
    inv: imf.Inventory = imf.collect(address, usage="all", progress=False)
    images: pd.DataFrame = inv.images
    recent = images[images["created_at"] > pd.Timestamp("2026-01-01", tz="UTC")]
    old = imf.get_unused_images(inv, imf.filter_until("720h") & ~imf.filter_by_label({"keep": ""}))
    plan: imf.Plan = imf.prune(old, inv, undo_for="2h")
    freed = plan.freed
    result: imf.Result = plan.apply(progress=False)
    result.raise_for_errors()
    result.undo().save("undo")
    return len(recent) + len(plan.steps) + (freed.total_bytes if freed is not None else 0)


def keep_history(folder: Path) -> pd.DataFrame:
    inv = collect([imf.Node(address="/run/containerd/containerd.sock")])
    imf.dataset.append(folder, inv)
    charts.usage_by_repository(capacity.by_repository(inv))
    return imf.capacity.growth(imf.open_dataset(folder))


def move() -> None:
    try:
        imf.ensure(["alpine:3.20"], mode=imf.PullMode.ALWAYS, platform="linux/arm64").apply()
        imf.pull("alpine:3.20").apply()
    except (ImgframeError, imf.RegistryError) as error:
        print(error, imf.__version__)


repository, tag = imf.parse_repo_tag("alpine:3.20")
names: list[str] = [repository.upper(), tag.upper()]
pairs: pd.DataFrame = imf.parse_repo_tag(pd.Series(["alpine:3.20"]))
nanoseconds: int = imf.gotime.parse_duration("1h")
