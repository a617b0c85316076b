"""What a finished run predicts for its wrongly labelled training faces, in an evaluation pass without augmentation.

    python benchmarks/memorized.py runs/quickstart/eac runs/quickstart/cross_entropy

The share that a run logs is of its training pass, in which each method sees its own views; this is the same for all.
"""

import sys
from pathlib import Path

import jsonargparse
import torch
import yaml

from eac_lightning import load_module
from eac_lightning._lightning import L


def main(folders: list[str]) -> None:
    parser = jsonargparse.ArgumentParser()
    parser.add_subclass_arguments(L.LightningDataModule, "data")
    print("| run | wrong labels | memorised | recovered |\n|---|---|---|---|")
    for folder in folders:
        config = yaml.safe_load((Path(folder) / "config.yaml").read_text())
        config["data"]["init_args"]["seed"] = config["seed_everything"]
        data = parser.instantiate(parser.parse_object({"data": config["data"]})).data
        data.prepare_data()
        data.setup("fit")
        columns = data.dataset("train").columns
        label, clean = columns["label"], columns["clean_label"]
        module = load_module(Path(folder) / "last.ckpt")
        with torch.no_grad():
            predicted = torch.cat([module(images).argmax(1) for images in columns["image"].split(256)])
        wrong = label != clean
        shares = [(predicted == target)[wrong].double().mean() for target in (label, clean)]
        print(f"| {folder} | {int(wrong.sum())} | {shares[0]:.1%} | {shares[1]:.1%} |")


if __name__ == "__main__":
    main(sys.argv[1:])
