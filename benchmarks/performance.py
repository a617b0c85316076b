"""Every row of docs/performance.md, one benchmark after the other; then the table.

    python benchmarks/performance.py --root FACES --reference CHECKOUT        # 40 minutes on two cores
    python benchmarks/performance.py --report                                  # the table of what is there

``FACES`` are class folders of picture files, ``CHECKOUT`` is one of the authors' code. Each benchmark is a script of
its own; what it prints goes to the screen.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from measuring import markdown

HERE = Path(__file__).parent


def commands(asked: argparse.Namespace) -> list[list[str]]:
    """Return what to run, in this order."""
    root = ["--root", str(asked.root)]
    reference = ["--reference", str(asked.reference)] if asked.reference else []
    return [
        ["step.py", "--backbones", "resnet18", "resnet50", *reference],
        ["step.py", "--memory", "--repeats", "3"],
        ["step.py", "--ladder", "--compile", "--backbones", "resnet18", "--repeats", "5"],
        ["loader.py", *root],
        ["loader.py", *root, "--memory", "--size", "112"],
        ["epoch.py", *root],
        ["second_pass.py", *root],
        ["start.py", "--repeats", "3"],
    ]


def rows(found: dict[str, Any]) -> list[list[str]]:
    """Return the rows of the table whose figures are there."""
    lines: list[list[str]] = []

    def add(what: str, aim: str, entry: str, *keys: str, form: str = "{:.2f}×") -> None:
        value: Any = found.get(entry)
        for key in keys:
            value = None if value is None else value.get(key)
        if value is not None:
            lines.append([what, aim, form.format(value)])

    for net in ("resnet18", "resnet50"):
        times, peaks = f"step {net} seconds", f"step {net} peak_mb"
        add(f"{net}: EAC step against the naive one, fp32", "≥ 1.25×", times, "ratios", "naive / EAC fp32")
        add(f"{net}: the same with bfloat16", "≥ 2.2×", times, "ratios", "naive / EAC bf16")
        for against in ("fp32", "bf16"):
            name = f"reference / EAC {against}"
            add(f"{net}: against the authors' code, {against}", "", times, "ratios", name)
        for precision in ("fp32", "bf16"):
            name = f"EAC {precision} / floor {precision}"
            add(f"{net}: time, EAC / floor, {precision}", "≤ 1.05×", times, "ratios", name, form="{:.3f}×")
            add(f"{net}: peak memory, EAC / floor, {precision}", "≤ 1.03×", peaks, "ratios", name, form="{:.3f}×")
    add(
        "second epoch, store against files with 2 workers", "≥ 20×", "loader faces 64 px speed", "ratio", form="{:.0f}×"
    )
    add("epoch of `eac fit` / plain loop in memory", "≤ 1.05×", "epoch mobilefacenet 64 px", "ratio", form="{:.3f}×")
    if memory := found.get("loader faces 112 px memory"):
        most, after = (memory[name] / memory["pixels_mb"] - 1 for name in ("most_mb", "after_mb"))
        lines.append(["store memory beyond N·H·W·channels", "≤ 5 %", f"{most:+.1%} at most, {after:+.1%} after"])
    for name in ("audit", "validation", "infer, in memory", "infer, files"):
        add(f"{name} / bare network", "1×", "second pass mobilefacenet 64 px", "ratios", name)
    for name, seconds in found.get("start", {"seconds": {}})["seconds"].items():
        lines.append([f"start to first step, {name}", "report, halve", f"{statistics.median(seconds):.1f} s"])
    return lines


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--json", type=Path, default=Path("docs/results/performance_cpu.json"))
    parser.add_argument("--report", action="store_true")
    asked = parser.parse_args()
    if not asked.report:
        if asked.root is None:
            parser.error("--root FACES is needed: class folders of picture files")
        for path in filter(None, (asked.root, asked.reference)):
            if not path.is_dir():
                parser.error(f"there is no folder {path}")
        for command in commands(asked):
            print("\n$ python benchmarks/" + " ".join(command), flush=True)
            subprocess.run([sys.executable, HERE / command[0], *command[1:], "--json", str(asked.json)], check=False)
    print("\n" + markdown(["what", "aim", "measured"], rows(json.loads(asked.json.read_text()))))


if __name__ == "__main__":
    main()
