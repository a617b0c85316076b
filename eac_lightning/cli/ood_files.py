"""What ``eac ood`` writes and prints: figures, the scores of every picture, and how they are spread."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import Tensor

from eac_lightning._files import replacing
from eac_lightning.callbacks._pictures import write_png
from eac_lightning.visualization import ScorePanel, figure_to_image, ood_scores_figure

JSON, CSV, PICTURE = "ood.json", "ood.csv", "ood.png"

NAMED = 10
"""Broken pictures that are named on the screen; the file has all."""


def write_files(
    out: Path,
    found: Mapping[str, Any],
    pictures: Mapping[str, Sequence[Path]],
    values: Mapping[str, Mapping[str, Tensor]],
) -> None:
    """Write the three files.

    Args:
        out: The folder, made if it is not there.
        found: What ``ood.json`` holds; of each score ``threshold`` and ``auroc``, and ``infer``.
        pictures: The pictures, by ``"in"`` and ``"out"``.
        values: Their (N,) scores, by score and likewise.
    """
    with replacing(out / JSON) as partial:
        partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    with (
        replacing(out / CSV) as partial,
        # A name that is no UTF-8 goes through as it is on the disk.
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(["path", "folder", *values])
        for place, paths in pictures.items():
            columns = [of[place].tolist() for of in values.values()]
            rows.writerows([path, place, *row] for path, *row in zip(paths, *columns, strict=True))
    decides = found["infer"] or {"score": None, "threshold": None}
    panels = [
        ScorePanel(
            name,
            of["in"].numpy(),
            of["out"].numpy(),
            found["scores"][name]["threshold"],
            found["scores"][name]["auroc"],
            decides["threshold"] if name == decides["score"] else None,
        )
        for name, of in values.items()
    ]
    write_png(out / PICTURE, figure_to_image(ood_scores_figure(panels, line="accepts 95 % of the inside")))


def print_report(console: Console, found: Mapping[str, Any], out: Path) -> None:
    """Print the table, what ``eac infer`` would do, the pictures that could not be read, and the files."""
    table = Table("score")
    for title in ("AUROC", "AUPR", "FPR@95"):
        table.add_column(title, justify="right")
    for name, of in found["scores"].items():
        best = name == found["best"]
        row = [f"{name} *" if best else name, f"{of['auroc']:.3f}", f"{of['aupr']:.3f}", f"{of['fpr95']:.1%}"]
        table.add_row(*row, style="bold" if best else "")
    console.print(table)
    inside, outside = found["in"], found["out"]
    chance = outside["pictures"] / (inside["pictures"] + outside["pictures"])
    lines = [
        f"in: {inside['pictures']} pictures, out: {outside['pictures']}; * highest AUROC; AUPR by chance: {chance:.3f}"
    ]
    if found["infer"]:
        score, threshold, refused = found["infer"].values()
        shares = f"{refused['out']:.1%} of out and {refused['in']:.1%} of in"
        lines.append(f"eac infer refuses {shares} ({score} above {threshold:.4g})")
    for folder in (inside, outside):
        if folder["unreadable"]:
            broken = len(folder["unreadable"])
            lines.append(f"{broken} of {broken + folder['pictures']} pictures of {folder['folder']} could not be read:")
            lines.append(name_some(folder["unreadable"]))
    lines += [str(out / name) for name in (JSON, CSV, PICTURE)]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def name_some(lines: Sequence[str]) -> str:
    """Return the first lines, indented, and how many more there are."""
    more = [f"… and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
    return "\n".join(f"  {line}" for line in [*lines[:NAMED], *more])
