"""What mixing does to out-of-distribution scores: networks of ``benchmarks/mixing.py``, pictures that are no faces.

    python benchmarks/mixing_ood.py --root FER2013 --runs runs/mixing --photos PHOTOS

The scores of each finished cell (network/mixing/seed) are fitted on the faces that it was trained on; the inside is
the test split, the outsides are those of ``benchmarks/ood.py``. What the file holds already is not measured again;
``--table`` runs nothing.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from few_labels import read
from measuring import markdown
from mixing import MIXINGS
from noise_report import is_finished
from ood import FAR, ask, faces, outsides, scores

from eac_lightning import FERDataModule, load_module
from eac_lightning.ood import ood_report


def measure(folder: Path, cell: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the report of every score for every outside of a cell's network."""
    module = load_module(folder / "last.ckpt").eval()
    names, size = list(module.class_names), module.image_size
    assert size is not None  # training wrote it
    data = FERDataModule(arguments.root, arguments.layout, names, size, subset=arguments.faces, seed=cell["seed"])
    training, labels = faces(data, "train")
    known, inside = ask(module, training), ask(module, faces(data, "test")[0])
    fitted = {name: score.fit(known[score.reads], labels) for name, score in scores(arguments.shrinkage).items()}
    settings = argparse.Namespace(size=size, pictures=arguments.pictures, photos=arguments.photos)
    reports = {}
    for name, images in outsides(settings, "all", list(FAR), cell["seed"]).items():
        outside = ask(module, images)
        reports[name] = {
            kind: ood_report(score.score(inside[score.reads]), score.score(outside[score.reads]))
            for kind, score in fitted.items()
        }
    return {**cell, "pictures": arguments.pictures, "shrinkage": arguments.shrinkage, "outsides": reports}


def table(lines: list[dict[str, Any]], kind: str) -> str:
    """Return the AUROC of a score in per cent, mean ± deviation over seeds: a column an outside."""
    rows = []
    for network in dict.fromkeys(line["network"] for line in lines):
        for mixing in MIXINGS:
            group = [line["outsides"] for line in lines if (line["network"], line["mixing"]) == (network, mixing)]
            if group:
                cells = [_spread([100 * of[name][kind]["auroc"] for of in group]) for name in FAR]
                rows.append([network, mixing, *cells, len(group)])
    return markdown([kind, "mixing", *FAR, "seeds"], rows)


def _spread(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="FER2013: its CSV or class folders")
    parser.add_argument("--layout", default="fer2013")
    parser.add_argument("--runs", type=Path, default=Path("runs/mixing"))
    parser.add_argument("--photos", type=Path, help="photographs for the backgrounds")
    parser.add_argument("--faces", type=int, default=6000, help="that the cells were trained on")
    parser.add_argument("--pictures", type=int, default=1000, help="of each outside")
    parser.add_argument("--shrinkage", type=float, default=0.01)
    parser.add_argument("--out", type=Path, default=Path("docs/results/mixing_ood.jsonl"))
    parser.add_argument(
        "--scores", nargs="+", choices=scores(0), default=["relative Mahalanobis", "Mahalanobis"], help="to print"
    )
    parser.add_argument("--table", action="store_true", help="print what is there, and run nothing")
    arguments = parser.parse_args()
    for path in () if arguments.table else sorted(arguments.runs.glob("*/*/*/results.json")):
        network, mixing, seed = path.parent.relative_to(arguments.runs).parts
        cell = {"network": network, "mixing": mixing, "seed": int(seed)}
        if is_finished(path.parent) and not any(cell.items() <= line.items() for line in read(arguments.out)):
            line = measure(path.parent, cell, arguments)
            with arguments.out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            aurocs = {name: round(of["Mahalanobis"]["auroc"], 3) for name, of in line["outsides"].items()}
            print(cell, aurocs, flush=True)
    for kind in arguments.scores:
        print(table(read(arguments.out), kind) + "\n")


if __name__ == "__main__":
    main()
