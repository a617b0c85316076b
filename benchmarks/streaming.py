"""Many faces from shards: memory over an epoch, faces a second, and how good the windowed shuffle is.

eac synth drawn --count 100000 --size 48 --seed 5
python benchmarks/streaming.py twins drawn faces 100000
eac data pack faces shards --val-fraction 0 --test-fraction 0 --shard-mb 4
python benchmarks/streaming.py memory shards --processes 1 --out docs/results/streaming.json
python benchmarks/streaming.py memory shards --processes 2 --workers 1 --out docs/results/streaming.json
python benchmarks/streaming.py shuffle --out docs/results/streaming.json
"""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def twins(a: argparse.Namespace) -> None:
    """Take ``count`` faces of a synthetic data set, all classes alike, and write each with its mirror image."""
    from PIL import Image, ImageOps

    by_class: dict[str, list[Path]] = {}
    for path in sorted(a.source.rglob("*.png")):
        by_class.setdefault(path.parent.name, []).append(path)
    for name, paths in by_class.items():
        (a.target / name).mkdir(parents=True)
        for number, path in enumerate(paths[: a.count // len(by_class)]):
            copy = a.target / name / f"{number:06d}.png"
            copy.write_bytes(path.read_bytes())
            with Image.open(path) as picture:
                ImageOps.mirror(picture).save(copy.with_stem(f"{copy.stem}m"))


def memory_of(process: str = "self") -> dict[str, float]:
    """Resident MB: of its own, of mapped files (which the system may take back), and in all."""
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in status if line.startswith(("VmRSS", "Rss"))}
    return {"own": round(found["RssAnon"], 1), "mapped": round(found["RssFile"], 1), "all": round(found["VmRSS"], 1)}


def rank(a: argparse.Namespace) -> None:
    """One process: two epochs, the second of which says whether anything grows."""
    import torch
    import torch.distributed as dist

    from eac_lightning.data.shards.loading import ShardedFaces

    torch.set_num_threads(1)
    world, number = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    if world > 1:
        dist.init_process_group("gloo")
    loader = ShardedFaces(a.shards, size=48, window=a.window).loader("train", a.batch_size, num_workers=a.workers)
    result: dict[str, Any] = {"rank": number, "epochs": []}
    seen = np.zeros(a.faces, np.int64)
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        steps, resident, start = len(loader), [], time.monotonic()
        marks = {round(share * (steps - 1)): share for share in (0, 0.25, 0.5, 0.75, 1)}
        for step, batch in enumerate(loader):
            np.add.at(seen, batch["index"].numpy(), 1)
            if step in marks:
                children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
                workers = [memory_of(child) for child in children]
                resident.append({"share": marks[step], **memory_of(), "workers": workers})
        seconds = time.monotonic() - start
        result["epochs"].append({"seconds": round(seconds, 1), "steps": steps, "memory": resident})
    if world > 1:
        together = torch.from_numpy(seen)
        dist.all_reduce(together)
        dist.destroy_process_group()
    result["times_each_face_came"] = sorted(set(seen.tolist()))
    Path(f"{a.part}.{number}").write_text(json.dumps(result))


def memory(a: argparse.Namespace) -> None:
    manifest = json.loads((a.shards / "shards.json").read_text())
    shards = manifest["splits"]["train"]
    a.faces = sum(shard["faces"] for shard in shards)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    part = a.out.with_suffix(".part")
    command = [sys.executable, __file__, "rank", str(a.shards), "--part", str(part), "--faces", str(a.faces)]
    command += ["--workers", str(a.workers), "--batch-size", str(a.batch_size), "--window", str(a.window)]
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(a.processes)}
    environment = {**os.environ, **meet, "OMP_NUM_THREADS": "1"}
    load = os.getloadavg()[0]
    running = [subprocess.Popen(command, env={**environment, "RANK": str(n)}) for n in range(a.processes)]
    codes = [process.wait() for process in running]
    if any(codes):
        sys.exit("a process failed")
    parts = [Path(f"{part}.{number}") for number in range(a.processes)]
    ranks = [json.loads(path.read_text()) for path in parts]
    for path in parts:
        path.unlink()
    seconds = [max(found["epochs"][epoch]["seconds"] for found in ranks) for epoch in range(2)]
    row = {
        "processes": a.processes, "workers": a.workers, "batch_size": a.batch_size, "window": a.window,
        "faces": a.faces, "shards": len(shards), "shard_bytes": sum(shard["bytes"] for shard in shards),
        "manifest_bytes": (a.shards / "shards.json").stat().st_size, "seconds_an_epoch": seconds,
        "faces_a_second": [round(a.faces / s) for s in seconds], "ranks": ranks, "cores": os.cpu_count(),
        "load_at_start": round(load, 1), "python": platform.python_version(),
    }  # fmt: skip
    keep(a.out, f"memory_{a.processes}_processes_{a.workers}_workers", row)
    print(json.dumps({key: value for key, value in row.items() if key != "ranks"}))
    for found in ranks:
        print(found["times_each_face_came"], *(m["own"] for e in found["epochs"] for m in e["memory"]))


def shuffle(a: argparse.Namespace) -> None:
    """Compare windows of several sizes with a full shuffle, on shards that are random samples and on sorted ones."""
    from eac_lightning.data.shards.order import WindowedOrder

    faces, per_shard, batch, classes = 2**20, 2**12, 256, 8
    labels = {
        "dealt": np.random.default_rng(0).permutation(np.arange(faces) * classes // faces),
        "sorted": np.arange(faces) * classes // faces,
    }
    rows = []
    for window in (1, 4, 16, 64, 256):
        orders = [WindowedOrder([per_shard] * (faces // per_shard), window, 0, epoch)[0:faces] for epoch in (0, 1)]
        row: dict[str, Any] = {"window": window, "shards": faces // per_shard}
        for kind, label in labels.items():
            drawn = label[orders[0]].reshape(-1, batch)
            alike = float((drawn[:, 1:] == drawn[:, :-1]).mean())
            shares = np.stack([(drawn == k).sum(1) for k in range(classes)], 1)
            spread = float(shares.var(0).mean() / (batch / classes * (1 - 1 / classes)))
            row[kind] = {"neighbours_of_one_class": round(alike, 4), "class_variance_to_binomial": round(spread, 3)}
        place = np.empty((2, faces), np.int64)
        for epoch in (0, 1):
            place[epoch, orders[epoch]] = np.arange(faces) // batch
        # Pairs that share a batch in both epochs: group by both batches, against what two full shuffles give.
        both = np.unique(place[0] * (faces // batch) + place[1], return_counts=True)[1]
        pairs = float((both * (both - 1) / 2).sum())
        chance = faces / batch * (batch * (batch - 1) / 2) * (batch - 1) / (faces - 1)
        row["pairs_that_meet_again_to_chance"] = round(pairs / chance, 2)
        rows.append(row)
        print(json.dumps(row), flush=True)
    keep(a.out, "shuffle", {"faces": faces, "faces_a_shard": per_shard, "batch": batch, "windows": rows})


def keep(path: Path, name: str, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**found, name: value}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    twin = commands.add_parser("twins")
    twin.add_argument("source", type=Path)
    twin.add_argument("target", type=Path)
    twin.add_argument("count", type=int)
    twin.set_defaults(run=twins)
    for run in (memory, rank):
        measured = commands.add_parser(run.__name__)
        measured.add_argument("shards", type=Path)
        measured.add_argument("--processes", type=int, default=1)
        measured.add_argument("--workers", type=int, default=0)
        measured.add_argument("--batch-size", type=int, default=128)
        measured.add_argument("--window", type=int, default=16)
        measured.add_argument("--out", type=Path, default=Path("docs/results/streaming.json"))
        measured.add_argument("--part", type=Path, help=argparse.SUPPRESS)
        measured.add_argument("--faces", type=int, help=argparse.SUPPRESS)
        measured.set_defaults(run=run)
    compared = commands.add_parser("shuffle")
    compared.add_argument("--out", type=Path, default=Path("docs/results/streaming.json"))
    compared.set_defaults(run=shuffle)
    a = parser.parse_args()
    a.run(a)


if __name__ == "__main__":
    main()
