"""Measured cases about names and patterns, and further names made from them."""

import functools
import gzip
import json
import random
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "data" / "vectors"
_ALPHABET = "abz059AZ_-.:/@+= \n\r%*[]^$İKΣé🚀🪐\0"


@functools.cache
def vectors(name: str) -> list[dict]:
    """The lines of `tests/data/vectors/NAME.jsonl.gz`."""
    with gzip.open(_FOLDER / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def mutated(texts: list[str], count: int, seed: int) -> list[str]:
    """`count` texts, each one of `texts` (or two of them spliced) with some characters changed."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        text = rng.choice(texts)
        if rng.random() < 0.3:
            other = rng.choice(texts)
            text = text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other) + 1) :]
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(text) + 1)
            kind = rng.random()
            if kind < 0.4:
                text = text[:at] + rng.choice(_ALPHABET) + text[at:]
            elif kind < 0.7:
                text = text[:at] + text[at + 1 :]
            else:
                text = text[:at] + rng.choice(_ALPHABET) + text[at + 1 :]
        made.append(text)
    return made
