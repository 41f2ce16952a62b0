"""Whether a model draws what it is told.

    python benchmarks/drawing.py [--budget 15min | --run RUN] [--prompts 200] [--guidance 3] [--steps 20]
                                [--sampler dpm2m-sde]

It trains on `shapes` with the plain command, or takes a run that is there, has it draw what captions of scenes that no
split holds say, with one thing and with two, and reads each image (olhar.data.scene_reader); and the same of scenes
with a pair of colour and shape that training never showed.
"""

import argparse
import tempfile
import time

import olhar
from machine import show_machine
from olhar.data.scene_reader import mean_marks, read_scene
from olhar.data.scenes import Pairs, scene
from olhar.generate import Wish, generate

FREE = 900_000_000  # from here on indices belong to no split
BATCH = 25


def captions_of(count: int, pairs: Pairs) -> list[str]:
    """As many captions, every other one of two things."""
    found, index = [], FREE
    while len(found) < count:
        drawn = scene(index, objects=2, pairs=pairs)
        index += 1
        if len(drawn.things) == 1 + len(found) % 2:
            found.append(drawn.caption())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="15min")
    parser.add_argument("--run")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--sampler")
    found = parser.parse_args()
    show_machine()
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        made = None if found.run else olhar.train("shapes", run=f"{folder}/run", task="diffuse", budget=found.budget)
        run = made or olhar.load(found.run)
        if made:
            print(f"trained in {time.monotonic() - start:.0f} s", flush=True)
        for pairs in ("common", "held out"):
            captions, seen = captions_of(found.prompts if pairs == "common" else found.prompts // 2, pairs), []
            for first in range(0, len(captions), BATCH):
                some = tuple(captions[first : first + BATCH])
                wish = Wish(texts=some, seed=first, sampler=found.sampler, steps=found.steps, guidance=found.guidance)
                seen += [read_scene(one.image) for one in generate(run, wish, BATCH)]
            shown = ", ".join(f"{name} {value:.1%}" for name, value in mean_marks(captions, seen).items())
            print(f"{len(captions)} prompts with {pairs} pairs: {shown}", flush=True)


if __name__ == "__main__":
    main()
