"""Two streaming engines and this package's reader on the same question: does every sample come exactly once?

    python benchmarks/shard_engines.py --python litdata=A/bin/python --python mosaic=B/bin/python \\
        --out docs/results/shard_engines.json

Processes are real ones that meet through gloo. For each number of ranks and workers two epochs are drawn; then an
epoch is stopped after ``STOP`` batches, its state saved, and taken up by the same and by another number of ranks with
the same samples per step. Each engine runs in the interpreter that ``--python ENGINE=PATH`` names, since they want
other versions of the same packages.
"""

import argparse
import importlib
import itertools
import json
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SAMPLES = 10_007
PER_SHARD = 256
GLOBAL_BATCH = 32
STOP = 100
SEED = 11
ENGINES = ("litdata", "litdata_as_it_comes", "mosaic", "own")
"""litdata drops what does not divide over ranks unless told otherwise: both are asked."""

Epochs = list[list[list[int]]]
"""Per epoch, per batch, the ids."""


def write(engine: str, root: Path) -> None:
    if engine.startswith("litdata"):
        from litdata.streaming import Cache

        cache = Cache(str(root), chunk_size=PER_SHARD)
        for i in range(SAMPLES):
            cache[i] = {"index": i}
        cache.done()
        cache.merge()
    elif engine == "mosaic":
        from streaming import MDSWriter

        with MDSWriter(out=str(root), columns={"index": "int"}, size_limit=PER_SHARD * 12) as writer:
            for i in range(SAMPLES):
                writer.write({"index": i})
    else:
        import numpy as np
        from PIL import Image

        from eac_lightning.data.annotations import read_annotations
        from eac_lightning.data.shards.pack import pack

        with tempfile.TemporaryDirectory() as scratch:
            for split, parity in (("train", 0), ("val", SAMPLES)):
                for i in range(SAMPLES if split == "train" else 4):
                    folder = Path(scratch, split, "ab"[i % 2])
                    folder.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(np.full((4, 4), (i + parity) % 256, np.uint8)).save(folder / f"{i}.png")
            pack(read_annotations(scratch), root, shard_bytes=PER_SHARD * 68)


def loader(engine: str, root: Path, workers: int, batch_size: int, shuffle: bool) -> Any:
    if engine.startswith("litdata"):
        from litdata import StreamingDataLoader, StreamingDataset

        drop_last = False if engine == "litdata" else None
        dataset = StreamingDataset(str(root), shuffle=shuffle, seed=SEED, drop_last=drop_last)
        return StreamingDataLoader(dataset, batch_size=batch_size, num_workers=workers, shuffle=shuffle)
    if engine == "mosaic":
        from streaming import StreamingDataLoader, StreamingDataset

        dataset = StreamingDataset(local=str(root), batch_size=batch_size, shuffle=shuffle, shuffle_seed=SEED)
        return StreamingDataLoader(dataset, batch_size=batch_size, num_workers=workers)
    from eac_lightning.data.shards.loading import ShardedFaces

    order = "shuffle" if shuffle else "sequential"
    return ShardedFaces(root, size=4).loader("train", batch_size, num_workers=workers, order=order, seed=SEED)


def batches(engine: str, made: Any, epoch: int) -> Iterator[list[int]]:
    if engine == "own":
        made.sampler.set_epoch(epoch)
    for batch in made:
        yield batch["index"].tolist()


def work(a: argparse.Namespace) -> None:
    """One rank: draw, and write down what came."""
    import torch.distributed as dist

    world, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    if world > 1:
        dist.init_process_group("gloo")
    made = loader(a.engine[0], a.root, a.workers, GLOBAL_BATCH // world, not a.sequential)
    if a.state:
        state = json.loads(a.state.read_text())
        made.load_state_dict(state)
    drawn: Epochs = []
    for epoch in range(a.epochs):
        seen: list[list[int]] = []
        drawn.append(seen)
        for batch in batches(a.engine[0], made, epoch):
            seen.append(batch)
            if a.marks:
                a.marks.with_suffix(f".{rank}").write_text(str(len(seen)))
                time.sleep(0.02)
            if a.stop and len(seen) == a.stop:
                if rank == 0:
                    a.save.write_text(json.dumps(made.state_dict()))
                break
    Path(f"{a.drawn}.{rank}").write_text(json.dumps(drawn))
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # an engine's threads are not waited for


def launch(
    python: str, engine: str, root: Path, scratch: Path, world: int, workers: int, *options: str, wait: bool = True
) -> Any:
    """Run one process per rank; return per rank what it drew, or the error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    drawn = scratch / f"drawn{time.monotonic_ns()}"
    command = [python, __file__, "--engine", engine, "--root", str(root), "--drawn", str(drawn)]
    command += ["--workers", str(workers), *options]
    running = []
    for rank in range(world):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "NODE_RANK": 0}
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1, "GROUP_RANK": 0, "NNODES": 1}
        env = {**os.environ, **{key: str(value) for key, value in {**place, **meet}.items()}}
        env["PYTHONPATH"] = str(Path(__file__).parents[1])
        running.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
    if not wait:
        return running
    errors = []
    for process in running:
        try:
            errors.append(process.communicate(timeout=120)[1] if not errors else process.communicate(timeout=30)[1])
        except subprocess.TimeoutExpired:
            process.kill()
            errors.append("timed out after 120 s\n" + process.communicate()[1])
    parts = [Path(f"{drawn}.{rank}") for rank in range(world)]
    if not all(part.is_file() for part in parts):
        lines = [error.strip().splitlines()[-1] for error in errors if error.strip()]
        return next((line for line in lines if "Error" in line or "timed" in line), "; ".join(lines)[:300])
    return [json.loads(part.read_text()) for part in parts]


def steps(ranks: list[Epochs], epoch: int) -> list[list[int]]:
    """Per step what all ranks saw, sorted within the step."""
    rows = itertools.zip_longest(*(rank[epoch] for rank in ranks), fillvalue=[])
    return [sorted(i for part in row for i in part) for row in rows]


def counted(rows: list[list[int]], wanted: set[int]) -> dict[str, int]:
    times = Counter(i for row in rows for i in row)
    repeats = sum(n - 1 for n in times.values())
    return {"missing": len(wanted - set(times)), "repeated": repeats, "foreign": len(set(times) - wanted)}


def examine(engine: str, python: str, quick: bool) -> dict[str, Any]:
    scratch = Path(tempfile.mkdtemp(prefix=f"shards-{engine}-"))
    root = scratch / "data"
    result: dict[str, Any] = {"epochs": [], "resumed": []}
    orders: dict[tuple[int, int], list[list[int]]] = {}
    try:
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import shard_engines as s; "
        code += f"from pathlib import Path; s.write({engine!r}, Path({str(root)!r}))"
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        subprocess.run([python, "-c", code], check=True, env=env, stdout=subprocess.DEVNULL)
        for world, workers in itertools.product((1, 2, 4), (0, 1, 2)):
            if quick and (world, workers) not in ((1, 0), (2, 2), (4, 1)):
                continue
            row: dict[str, Any] = {"ranks": world, "workers": workers}
            result["epochs"].append(row)
            for kind, options in (("shuffle", ("--epochs", "2")), ("sequential", ("--sequential",))):
                got = launch(python, engine, root, scratch, world, workers, *options)
                if isinstance(got, str):
                    row[kind] = {"error": got}
                    continue
                first = steps(got, 0)
                row[kind] = {**counted(first, set(range(SAMPLES))), "batches": [len(rank[0]) for rank in got]}
                if kind == "shuffle":
                    orders[world, workers] = first
                    row[kind]["second_epoch"] = counted(steps(got, 1), set(range(SAMPLES)))
                    row[kind]["epochs_differ"] = first != steps(got, 1)
                    base = orders.get((1, 0), [])
                    row[kind]["same_steps_as_one_process"] = first == base
                    same = sum(a == b for a, b in zip(first, base, strict=False))
                    row[kind]["steps_alike"] = f"{same}/{len(base)}"
            print(engine, json.dumps(row), flush=True)
        for world, workers in ((1, 0), (1, 2), (2, 1), (4, 1)):
            state = scratch / f"state{world}{workers}"
            stop = ("--stop", str(STOP), "--save", str(state))
            begun = launch(python, engine, root, scratch, world, workers, *stop)
            for again in sorted({world, 1, 2, 4}):
                row = {"ranks": world, "workers": workers, "resumed_ranks": again}
                result["resumed"].append(row)
                if isinstance(begun, str) or not state.is_file():
                    row["error"] = begun if isinstance(begun, str) else "no state"
                    continue
                got = launch(python, engine, root, scratch, again, workers, "--state", str(state))
                if isinstance(got, str):
                    row["error"] = got
                    continue
                seen = steps(begun, 0)
                rest = set(range(SAMPLES)) - {i for step in seen for i in step}
                row |= counted(steps(got, 0), rest)
                whole = orders.get((world, workers), [])
                row["same_steps_as_uninterrupted"] = steps(got, 0) == whole[len(seen) :]
                print(engine, json.dumps(row), flush=True)
        result["killed"] = killed(engine, python, root, scratch)
        print(engine, json.dumps(result["killed"]), flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return result


def killed(engine: str, python: str, root: Path, scratch: Path) -> dict[str, Any]:
    """SIGKILL two ranks with a worker each in mid epoch, look for leftovers, and start the same command again."""
    marks = scratch / "mark"

    def shared() -> set[str]:
        return {str(path) for folder in ("/dev/shm", tempfile.gettempdir()) for path in Path(folder).iterdir()}

    before = shared()
    running = launch(python, engine, root, scratch, 2, 1, "--marks", str(marks), wait=False)
    until(lambda: marks.with_suffix(".0").is_file() and int(marks.with_suffix(".0").read_text() or 0) > 20)
    for process in running:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    time.sleep(3)
    left = sorted(shared() - before)
    got = launch(python, engine, root, scratch, 2, 1)
    row: dict[str, Any] = {"left_behind": left[:20], "left_behind_count": len(left)}
    if isinstance(got, str):
        return {**row, "again": {"error": got}}
    return {**row, "again": counted(steps(got, 0), set(range(SAMPLES)))}


def until(ready: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not ready() and time.monotonic() < end:
        time.sleep(0.1)


def cost(python: str, module: str) -> dict[str, Any]:
    package = {"streaming": "mosaicml-streaming", "litdata": "litdata"}.get(module, "eac-lightning")
    code = (
        "import sys, time, torch; from importlib.metadata import version\n"
        "before = len(sys.modules); start = time.monotonic()\n"
        f"__import__({module!r})\nprint(time.monotonic() - start, len(sys.modules) - before, version({package!r}))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    times = [
        subprocess.run([python, "-c", code], env=env, capture_output=True, text=True, check=True).stdout.split()
        for _ in range(3)
    ]
    return {
        "import_after_torch_s": [round(float(t[0]), 2) for t in times],
        "modules": int(times[0][1]),
        "version": times[0][2],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", action="append", choices=ENGINES)
    parser.add_argument("--python", action="append", default=[], metavar="ENGINE=PATH")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="three of the nine numbers of ranks and workers")
    for name in ("root", "drawn", "state", "save", "marks"):
        parser.add_argument(f"--{name}", type=Path, help=argparse.SUPPRESS)
    for name, default in (("workers", 0), ("epochs", 1), ("stop", 0)):
        parser.add_argument(f"--{name}", type=int, default=default, help=argparse.SUPPRESS)
    parser.add_argument("--sequential", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.drawn:
        random.seed(0)
        return work(a)
    pythons = dict(pair.split("=", 1) for pair in a.python)
    names = {
        "litdata": "litdata",
        "litdata_as_it_comes": "litdata",
        "mosaic": "streaming",
        "own": "eac_lightning.data.shards.loading",
    }
    results = json.loads(a.out.read_text()) if a.out and a.out.is_file() else {}
    for engine in a.engine or ENGINES:
        python = pythons.get(engine, sys.executable)
        importlib.invalidate_caches()
        found = {"cost": cost(python, names[engine]), **examine(engine, python, a.quick)}
        results[engine] = found
        results["setting"] = {
            "samples": SAMPLES, "samples_a_shard": PER_SHARD, "samples_a_step": GLOBAL_BATCH, "stopped_after": STOP,
            "seed": SEED, "python": platform.python_version(), "cores": os.cpu_count(),
        }  # fmt: skip
        if a.out:
            a.out.parent.mkdir(parents=True, exist_ok=True)
            a.out.write_text(json.dumps(results, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
