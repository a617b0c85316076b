"""What the README shows is run, and what it names is there."""

import re
from pathlib import Path
from typing import Any

import pytest

from eac_lightning.cli.parser import build_parser
from eac_lightning.recipes import list_recipes

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_ten_lines_of_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for large, small in (("count=2000", "count=160"), ("max_epochs=20", "max_epochs=1")):
        assert large in code
        code = code.replace(large, small)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["maps"].shape[:2] == (len(names["images"]), 8)


def test_files_and_recipes_that_it_names_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    for recipe in re.findall(r"-c ([\w/]+)", README):
        assert recipe in list_recipes()


def test_commands_that_it_names_exist() -> None:
    known = build_parser().format_help()
    for command in re.findall(r"^eac (\w+)", README, re.MULTILINE):
        assert re.search(rf"^    {command}\b", known, re.MULTILINE), command
