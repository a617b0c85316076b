"""What a wrong command line means, in a sentence or two: what jsonargparse found, and the nearest right name."""

import inspect
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from eac_lightning._lightning import L
from eac_lightning.labels.noise import LabelNoise

_BASES = (L.LightningModule, L.LightningDataModule, L.Callback, LabelNoise)
_GROUPS = ("model", "data", "trainer", "optimizer", "lr_scheduler")
_CLASS = re.compile(r"(?:Expected a dot import path string: |Problem with given class_path ')([\w.]+)")
_NO_CLASS = re.compile(
    r"Expected a dot import path string: ([\w.]+)|(?:[Nn]o module named|has no attribute) '([\w.]+)'"
)
_NO_OPTION = re.compile(r"(?:Option|Key) '([\w.]+)' is not (?:accepted|expected)|[Uu]nrecognized arguments?: (\S+)")
_WRONG_TYPE = re.compile(r'Parser key "([\w.]+)": Expected an? (.+?)\. Got value: (.*?)(?: - | Given |$)')
_MISSING = re.compile(r"Parser key \"(\w+)\":.*?following arguments are required: ([\w.]+)")


def explain(message: str) -> str:
    """Return what the parser meant, without its usage and its lists of types.

    Args:
        message: What jsonargparse said.
    """
    text = " ".join(message.split())
    if found := _NO_CLASS.search(text):
        name = next(group for group in found.groups() if group)
        known = {kind.__name__ for base in _BASES for kind in _subclasses(base)}
        return (
            f"Expected the name of a class, such as EACModule or my_module.MyModule, but found no class {name!r}."
            + _nearest(name.rpartition(".")[2], known)
        )
    if found := _NO_OPTION.search(text):
        name = next(group for group in found.groups() if group).lstrip("-").partition("=")[0]
        owners = _CLASS.findall(text)
        owner = f"{owners[-1].rpartition('.')[2]} has no option" if owners else "There is no option"
        group, dot, _ = name.partition(".")
        if dot and not owners and group not in _GROUPS:
            return f"{owner} {name!r}." + _nearest(group, _GROUPS)
        return f"{owner} {name!r}." + _nearest(name.rpartition(".")[2], _option_names())
    if found := _WRONG_TYPE.search(text):
        kind = found.group(2).replace("<class '", "").replace("'>", "")
        return f"Expected {found.group(1)} to be of type {kind}, but got {found.group(3)!r}."
    if found := _MISSING.search(text):
        option = ".".join(found.groups())
        return f"{option} is needed and was not given: add it to the recipe, or give --{option}."
    return text[:800]


def _option_names() -> set[str]:
    """Return the last word of every option of a training command, of the Trainer and of the public classes."""
    names = {"config", "ckpt_path", "seed_everything", *_GROUPS}
    for base in (L.Trainer, *_BASES):
        for kind in (base, *_subclasses(base)):
            names |= set(inspect.signature(kind).parameters)
    return names


def _subclasses(base: type[Any]) -> Iterable[type[Any]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _subclasses(kind)


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, sorted(set(known)), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(near)}?" if near else ""
