"""Compare a recipe with plain cross-entropy over several seeds, and keep the raw figures.

    python benchmarks/compare_seeds.py --out docs/results/quickstart.json --seeds 0 1 2 -- -c quickstart

Everything behind ``--`` goes to ``eac compare``. Seeds that the file holds already are not run again.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

FIGURES = ("best", "last5", "mean_class_last5", "memorized", "seconds")


def run(seed: int, options: list[str]) -> dict[str, dict[str, float]]:
    folder = Path("runs") / "compare_seeds" / str(seed)
    where = ["--seed_everything", str(seed), "--trainer.default_root_dir", str(folder)]
    subprocess.run([sys.executable, "-m", "eac_lightning", "compare", *options, *where], check=True)
    summary: dict[str, dict[str, float]] = json.loads((folder / "summary.json").read_text())
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("options", nargs="+")
    arguments = parser.parse_args()
    raw = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {"options": arguments.options}
    for seed in arguments.seeds:
        if str(seed) not in raw:
            raw[str(seed)] = run(seed, arguments.options)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(raw, indent=2) + "\n")
    seeds = [raw[str(seed)] for seed in arguments.seeds]
    print(f"| method | {' | '.join(FIGURES)} |\n|---|{'---|' * len(FIGURES)}")
    for method in seeds[0]:
        cells = []
        for figure in FIGURES:
            scale = 1 if figure == "seconds" else 100
            values = [scale * seed[method][figure] for seed in seeds]
            deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{deviation}")
        print(f"| {method} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
