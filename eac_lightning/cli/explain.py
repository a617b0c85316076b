"""What a wrong command line means, in one sentence: jsonargparse's own words, and the nearest right name."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

import jsonargparse

from eac_lightning._lightning import L
from eac_lightning.labels.noise import LabelNoise

_PUBLIC_BASES = (L.LightningModule, L.LightningDataModule, L.Callback, LabelNoise)


def explain(message: str) -> str:
    """Return jsonargparse's message without its boilerplate, and what was probably meant.

    Args:
        message: What the parser said.
    """
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    text = " ".join(line for line in lines if not line.lower().startswith(("usage:", "for more details")))
    text = text.removeprefix("argument --config: ")
    suggestion = _suggest_class(text) or _suggest_option(text)
    return f"{text[:600]}{'' if text.endswith('.') else '.'}{suggestion}"


def _suggest_class(message: str) -> str:
    found = re.search(r"(?:import path string:|class_path '|module path ')\s*([\w.]+)", message)
    if not found:
        return ""
    known = {kind.__name__ for base in _PUBLIC_BASES for kind in _subclasses(base)}
    return _nearest(found.group(1).rpartition(".")[2], known, "class")


def _suggest_option(message: str) -> str:
    found = re.search(r"[Uu]nrecognized arguments?:\s*(\S+)|[Kk]ey ['\"]([\w.]+)['\"] is not|[Oo]ption ['\"]([\w.]+)['\"]", message)
    if not found:
        return ""
    wrong = next(group for group in found.groups() if group)
    name = wrong.lstrip("-").partition("=")[0]
    return _nearest(name.rpartition(".")[2], _option_names(), "option")


def _option_names() -> set[str]:
    """Return every argument of the Trainer and of the public classes."""
    classes = [L.Trainer, *(kind for base in _PUBLIC_BASES for kind in _subclasses(base))]
    names: set[str] = {"ckpt_path", "config", "model", "data", "trainer", "optimizer", "lr_scheduler", "seed_everything"}
    for kind in classes:
        names |= set(_parameters(kind))
    return names


def _parameters(kind: type) -> list[str]:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    added: list[str] = parser.add_class_arguments(kind, fail_untyped=False)
    return added


def _subclasses(base: type) -> Iterable[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from _subclasses(kind)


def _nearest(name: str, known: Iterable[str], what: str) -> str:
    near = get_close_matches(name, sorted(set(known)), n=3, cutoff=0.6)
    return f" Did you mean the {what} {' or '.join(near)}?" if near else ""
