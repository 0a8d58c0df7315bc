"""Divides images into train, val and test: as the paper did, or so that no scene is in two parts."""

import random
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.dataset import PARTS, Part, Split

SHARES: dict[Part, float] = {"train": 0.70, "val": 0.15, "test": 0.15}


def split_parts(strata: Sequence[str], groups: Sequence[str], split: Split, seed: int) -> list[Part]:
    """Return the part of each image.

    strata: the stratum of each image; each is divided 70/15/15 by itself.
    groups: the scene group of each image; `scene` never tears one, and counts one of several strata with its first
    image's. `random` (the paper's protocol) does not look at them.
    """
    parts: list[Part] = ["train"] * len(strata)
    units: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    homes: dict[str, str] = {}
    for index, (stratum, group) in enumerate(zip(strata, groups, strict=True)):
        name = group if split == "scene" else str(index)
        units[homes.setdefault(name, stratum)][name].append(index)
    shuffle = random.Random(seed).shuffle
    for stratum in sorted(units):
        order = list(units[stratum].values())
        shuffle(order)
        total = sum(len(unit) for unit in order)
        placed = dict.fromkeys(PARTS, 0)
        for unit in order:
            # the part that is furthest below its share takes the next group
            part = max(PARTS, key=lambda name: SHARES[name] * total - placed[name])
            placed[part] += len(unit)
            for index in unit:
                parts[index] = part
    return parts
