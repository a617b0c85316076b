"""From the command to the first training step, part by part, with a folder of 30,000 pictures.

    python benchmarks/start.py                    # writes the pictures (100 px JPEG) below --root, once
    python benchmarks/start.py --root FACES --pictures 0    # class folders that are there

Every repeat is a fresh process of ``eac fit`` that stops after one step; files are warm (read before). Pictures are
decoded anew, and in turn read from the store that an earlier run has kept. Each part is the time between two marks.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
WHAT = {"ram": "decoded anew", "disk": "store of an earlier run"}
SPLITS = (("train", 0.8), ("val", 0.1), ("test", 0.1))


def write_pictures(root: Path, count: int, side: int, ending: str) -> None:
    """Write smooth coloured noise in ``{train,val,test}/<class>/``, unless it is there."""
    if (root / "complete").exists():
        return
    rng = np.random.default_rng(0)
    for split, share in SPLITS:
        for name in CLASSES:
            (root / split / name).mkdir(parents=True, exist_ok=True)
        for i in range(round(count * share)):
            coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
            picture.save(root / split / CLASSES[i % len(CLASSES)] / f"{i}.{ending}")
    (root / "complete").touch()


def one_start(born: float, arguments: list[str]) -> dict[str, float]:
    """Run ``eac fit`` in this process, begun at ``born``, up to its first step; return seconds of each part."""
    marks = [("interpreter", time.time())]

    def mark(name: str) -> None:
        marks.append((name, time.time()))

    from eac_lightning.cli import (
        main,
        training,  # what every training command imports
    )

    mark("imports")
    from eac_lightning import FERDataModule
    from eac_lightning._lightning import L
    from eac_lightning.data import datamodule

    read = datamodule.read_annotations

    def marked_read(*given: Any, **named: Any) -> Any:
        mark("command line, recipe")
        found = read(*given, **named)
        mark("listing the pictures, labels, splits")
        return found

    datamodule.read_annotations = marked_read
    setup_data = FERDataModule.setup

    def marked_setup(self: Any, stage: str | None = None) -> None:
        mark("network, trainer, Lightning's set-up")
        setup_data(self, stage)
        mark("decoding into the store")

    FERDataModule.setup = marked_setup

    class Marks(L.Callback):
        def on_sanity_check_start(self, *_: Any) -> None:
            mark("loaders, optimizer")

        def on_sanity_check_end(self, *_: Any) -> None:
            mark("sanity check: two batches of validation")

        def on_train_batch_start(self, *_: Any) -> None:
            mark("first batch")

        def on_train_batch_end(self, *_: Any) -> None:
            mark("first step")
            raise KeyboardInterrupt

    instantiate = training.EACCLI.instantiate_trainer

    def with_marks(self: Any, **named: Any) -> Any:
        trainer = instantiate(self, **named)
        trainer.callbacks.append(Marks())
        return trainer

    training.EACCLI.instantiate_trainer = with_marks
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        main(arguments)
    times = [born, *(when for _, when in marks)]
    return {name: later - earlier for (name, _), earlier, later in zip(marks, times, times[1:], strict=False)}


def main() -> None:
    """Repeat it in fresh processes."""
    asked = _arguments()
    if asked.inside:
        sys.stderr.write("PARTS " + json.dumps(one_start(float(asked.inside[0]), asked.inside[1:])) + "\n")
        return
    from measuring import machine, markdown, save, summary  # torch: not before the mark of the process that is timed

    if asked.pictures:
        write_pictures(asked.root, asked.pictures, asked.side, asked.ending)
    command = ["fit", "-c", "eac_mobilefacenet", "--data.root", str(asked.root), "--trainer.default_root_dir"]
    command += ["runs/start", "--data.cache"]
    found: dict[str, list[dict[str, float]]] = {"ram": [], "disk": []}
    for _ in range(asked.repeats + 1):
        for cache, starts in found.items():
            starts.append(_parts([sys.executable, __file__, "--inside", str(time.time()), *command, cache]))
    starts = {WHAT[cache]: these[1:] for cache, these in found.items()}  # the first writes the store
    parts = {name: {part: [start[part] for start in these] for part in these[0]} for name, these in starts.items()}
    totals = {name: [sum(start.values()) for start in these] for name, these in starts.items()}
    rows = [[part, *(summary(these[part]) for these in parts.values())] for part in next(iter(parts.values()))] + [
        ["**all**", *map(summary, totals.values())]
    ]
    print(machine(), "\n")
    print(markdown(["part, ms: median (range)", *parts], rows))
    save(asked.json, "start", {"pictures": asked.pictures, "parts": parts, "seconds": totals})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/start_faces"))
    parser.add_argument("--pictures", type=int, default=30_000)
    parser.add_argument("--side", type=int, default=100)
    parser.add_argument("--ending", default="jpg")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inside", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser.parse_args()


def _parts(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("PARTS ")]
    if not lines:
        raise RuntimeError(f"No training step was reached:\n{done.stderr[-3000:]}")
    parts: dict[str, float] = json.loads(lines[-1].removeprefix("PARTS "))
    return parts


if __name__ == "__main__":
    main()
