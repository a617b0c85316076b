"""How many photographs and faces a second the detector looks at, by batch size.

    python benchmarks/face_detection.py PHOTO... --count 32 --repeats 5 --out docs/results/face_detection.json

The photographs take turns until there are `count`, those of one size next to each other, as they often lie in a folder.
`batched` passes those of one size through the networks together, `one by one` is what the CPU does by default; both get
batches of that many photographs. Decoding and cutting out are not timed.
"""

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from PIL import Image

from eac_lightning.data.decoding import decode_image
from eac_lightning.faces.detection import FaceDetector

PACKAGES = ("torch", "torchvision", "facenet-pytorch", "pillow", "numpy")


def timed(detector: FaceDetector, photos: list[Image.Image], batch_size: int) -> tuple[float, int]:
    """Return seconds and the number of faces."""
    start = time.perf_counter()
    faces = 0
    for first in range(0, len(photos), batch_size):
        faces += sum(map(len, detector(photos[first : first + batch_size])))
    return time.perf_counter() - start, faces


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main(options: argparse.Namespace) -> None:
    photos = [Image.fromarray(decode_image(path)) for path in options.photos]
    photos = sorted((photos * options.count)[: options.count], key=lambda photo: photo.size)
    gpu = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else None
    results = []
    print("| | batch size | photographs/s | faces/s | repeats, photographs/s |\n|---|---|---|---|---|")
    for way, batched in (("one by one", False), ("batched", True)):
        detector = FaceDetector(options.min_size, device=options.device, batched=batched)
        timed(detector, photos[:2], 2)  # the first call also prepares
        for batch_size in options.batch_sizes:
            runs = [timed(detector, photos, batch_size) for _ in range(options.repeats)]
            rates = [len(photos) / seconds for seconds, _ in runs]
            per_photo = runs[0][1] / len(photos)
            result = {"way": way, "batch_size": batch_size, "seconds": [seconds for seconds, _ in runs]}
            rate = median(rates)
            results.append({**result, "faces": runs[0][1], "photographs_per_s": rate, "faces_per_s": rate * per_photo})
            shown = ", ".join(f"{value:.2f}" for value in rates)
            print(f"| {way} | {batch_size} | {rate:.2f} | {rate * per_photo:.2f} | {shown} |", flush=True)
    about = {
        "photographs": [{"name": Path(path).name, "size": list(Image.open(path).size)} for path in options.photos],
        "count": len(photos),
        "min_size": options.min_size,
        "device": gpu or options.device,
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"about": about, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4, 16, 32])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--min-size", type=int, default=40)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    main(parser.parse_args())
