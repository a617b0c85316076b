"""``eac fit|validate|test|predict``: LightningCLI, with bundled recipes by name and a run folder."""

import argparse
import importlib
import json
import logging
import shutil
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import jsonargparse
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

import eac_lightning
from eac_lightning._lightning import L, callbacks, loggers
from eac_lightning._lightning import cli as lightning_cli
from eac_lightning.callbacks.predictions import PredictionWriter
from eac_lightning.callbacks.report import RESULTS
from eac_lightning.cli.explain import explain
from eac_lightning.errors import ConfigurationError, EACError
from eac_lightning.recipes import find_recipe

_NOTHING_TO_DO = (
    "LeafSpec",  # of torch, inside Lightning
    "does not have many workers",  # the store needs none
    "smaller than the logging interval",
    "callbacks used to create the checkpoint need to be provided",  # an evaluation writes no checkpoints
    "args parameter is intended to run from within Python",  # these are the arguments of the process
    "Couldn't infer the batch indices",  # ours come with each batch
    "Checkpoint directory .* exists and is not empty",  # an earlier run has been moved away
)
CLI = TypeVar("CLI", bound="EACCLI")


class EACCLI(lightning_cli.LightningCLI):
    """LightningCLI whose runs keep everything in one folder, ``--trainer.default_root_dir``."""

    kept: Path | None = None

    def __init__(self, arguments: Sequence[str]) -> None:
        for name in eac_lightning.__all__:  # short class names (`--model EACModule`) are those imported
            getattr(eac_lightning, name)
        # A shortened option would be taken for the one that it begins like, and a misspelt one be lost.
        strict = {"exit_on_error": False, "allow_abbrev": False}
        super().__init__(
            L.LightningModule,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            save_config_kwargs={"overwrite": True},
            parser_kwargs=strict | {name: dict(strict) for name in self.subcommands()},
            load_from_checkpoint_support=False,
            args=list(arguments),
        )

    def add_arguments_to_parser(self, parser: Any) -> None:
        """Make EAC on a folder of faces the default, and let the data tell the module its classes and image size."""
        # Known when the module is built, they let the network stand before an --optimizer asks for its parameters.
        for name in ("class_names", "image_size"):
            parser.link_arguments(
                "data", f"model.init_args.{name}", compute_fn=partial(_told_by, name), apply_on="instantiate"
            )
        parser.set_defaults(
            {
                "model": {"class_path": "eac_lightning.EACModule"},
                "data": {"class_path": "eac_lightning.FERDataModule"},
                "trainer.default_root_dir": "runs/latest",
                "trainer.log_every_n_steps": 10,
                "trainer.max_epochs": 60,
                "trainer.enable_model_summary": False,
            }
        )

    def _parse_ckpt_path(self) -> None:
        """Keep the recipe's module as it is; :meth:`before_instantiate_classes` reads the checkpoint."""

    def before_instantiate_classes(self) -> None:
        """Settle the checkpoint before anything is built."""
        config = self.config[self.subcommand]
        if config.get("weights_only") is None:
            config["weights_only"] = True
        if self.subcommand != "fit" or config.get("ckpt_path"):
            config["ckpt_path"] = _checkpoint_of(Path(config["trainer"]["default_root_dir"]), config.get("ckpt_path"))
        if self.subcommand != "fit":
            self.save_config_callback = None
            # The checkpoint holds the trained weights: what they began from must not be needed again.
            if "weights" in config["model"].get("init_args", {}):
                config["model"]["init_args"]["weights"] = None

    def after_instantiate_classes(self) -> None:
        """Make room for a new run, now that module and data stand; say what an optimizer from outside replaces."""
        config = self.config[self.subcommand]
        if self.subcommand == "fit" and self.trainer.is_global_zero and not config["trainer"]["fast_dev_run"]:
            self.kept = _keep_earlier_run(Path(config["trainer"]["default_root_dir"]), config.get("ckpt_path"))
        if config.get("optimizer"):
            logging.getLogger("eac_lightning").warning(
                "--optimizer replaces the module's configure_optimizers: its lr, weight_decay and lr_decay are not "
                "used. Give --optimizer.lr, and --lr_scheduler if the rate shall decay."
            )

    def _run_subcommand(self, subcommand: str) -> None:
        """Give an earlier run its place back where this one ended before it had a checkpoint."""
        try:
            super()._run_subcommand(subcommand)
        except BaseException:
            folder = Path(self.config[subcommand]["trainer"]["default_root_dir"])
            if self.kept is not None and not (folder / "last.ckpt").exists():
                shutil.rmtree(folder, ignore_errors=True)
                self.kept.rename(folder)
                logging.getLogger("eac_lightning").info(
                    "this run saved nothing; %s holds the earlier one again", folder
                )
            raise

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Add the logger and the two checkpoints of a run folder."""
        trainer = self.config_init[self.subcommand]["trainer"]
        folder = trainer["default_root_dir"]
        added: list[Any] = []
        if self.subcommand == "fit":
            if trainer["logger"] is None:
                kwargs["logger"] = loggers.CSVLogger(folder, name="", version="")
            added = [] if trainer["fast_dev_run"] else run_folder_checkpoints(folder)
        else:
            kwargs["enable_checkpointing"] = False
            if trainer["logger"] is None:
                kwargs["logger"] = False  # a new metrics.csv would replace that of the fit
        own = trainer["callbacks"] or []
        if self.subcommand == "predict" and not any(isinstance(callback, PredictionWriter) for callback in own):
            added.append(PredictionWriter())
        if trainer["enable_progress_bar"] is not False:
            added.append(callbacks.RichProgressBar(leave=False))
        return super().instantiate_trainer(**kwargs, callbacks=[*own, *added])


def _told_by(name: str, data: object) -> Any:
    value = getattr(data, name, None)
    return list(value) if isinstance(value, tuple) else value


def run_folder_checkpoints(folder: str | Path) -> list[Any]:
    """Return the callbacks that keep ``last.ckpt`` (every epoch) and ``best.ckpt`` (validation accuracy)."""
    common: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False}
    return [
        callbacks.ModelCheckpoint(filename="last", save_on_train_epoch_end=True, **common),
        callbacks.ModelCheckpoint(filename="best", monitor="val/accuracy", mode="max", **common),
    ]


def run(arguments: Sequence[str]) -> int:
    """Run one training command; a wrong command line is explained in a few lines and gives 2.

    Raises:
        EACError: What the run itself raises.
    """
    configure_logging()
    return 0 if train(prepare_arguments(arguments), EACCLI) else 2


def configure_logging() -> None:
    """Show our own lines, and leave out of Lightning's what no user of this command can act upon."""
    log = logging.getLogger("eac_lightning")
    log.setLevel(logging.INFO)
    if not log.handlers:
        log.addHandler(RichHandler(show_path=False, show_time=False))
    logging.getLogger(f"{L.__name__}.utilities.rank_zero").addFilter(lambda record: "Tip:" not in record.getMessage())
    for text in _NOTHING_TO_DO:
        warnings.filterwarnings("ignore", f".*{text}.*")


def train(arguments: Sequence[str], cli_class: type[CLI]) -> CLI | None:
    """Run LightningCLI on prepared arguments; return None where they are wrong, which is explained."""
    try:
        return cli_class(arguments)
    except ValueError as error:
        raise _ours_in(error) or error from None
    except (argparse.ArgumentError, jsonargparse.ArgumentError) as error:
        if ours := _ours_in(error):
            raise ours from None
        text = Text("Error: ", style="bold red").append(explain(str(error)), style="not bold default")
        Console(stderr=True).print(text)
        return None


def _ours_in(error: BaseException | None) -> EACError | None:
    """Return the error of ours that jsonargparse wrapped into its own, if there is one."""
    while error is not None and not isinstance(error, EACError):
        error = error.__cause__ or error.__context__
    return error


def prepare_arguments(arguments: Sequence[str]) -> list[str]:
    """Turn recipe names into paths, and import what ``--import MODULE`` names.

    Raises:
        ConfigurationError: If a recipe is unknown, or a module cannot be imported.
    """
    prepared: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        if option in ("-c", "--config"):
            prepared += ["--config", str(find_recipe(value if equals else next(rest, "")))]
        elif option == "--import":
            import_module_of_user(value if equals else next(rest, ""))
        else:
            prepared.append(argument)
    return prepared


def import_module_of_user(name: str) -> None:
    """Import a module of the user's own, which registers or defines something.

    Raises:
        ConfigurationError: If it cannot be imported.
    """
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            f"--import {name!r}: {error}. Expected a Python module in the working directory or installed."
        ) from error


def _keep_earlier_run(folder: Path, checkpoint: str | None) -> Path | None:
    """Move an earlier run out of the way, unless this one goes on from it: nothing is ever overwritten.

    Returns:
        Where the earlier run lies now, if there was one to move.
    """
    going_on = checkpoint is not None and Path(checkpoint).resolve().parent == folder.resolve()
    if going_on or not (folder / "last.ckpt").exists():
        return None
    number = next(n for n in range(1, 10**6) if not folder.with_name(f"{folder.name}-{n}").exists())
    kept = folder.rename(folder.with_name(f"{folder.name}-{number}"))
    state = "finished" if _is_finished(kept) else f"unfinished (go on: --ckpt_path {kept / 'last.ckpt'})"
    logging.getLogger("eac_lightning").info("%s held a run, %s; it is now %s", folder, state, kept)
    return kept


def _is_finished(folder: Path) -> bool:
    results = folder / RESULTS
    return results.is_file() and "fit" in json.loads(results.read_text())


def _checkpoint_of(folder: Path, checkpoint: str | None) -> str:
    """Return the checkpoint asked for (a path, ``last`` or ``best``), else the last one of the run folder."""
    path = Path(checkpoint) if checkpoint not in (None, "last", "best") else folder / f"{checkpoint or 'last'}.ckpt"
    if not path.is_file():
        raise ConfigurationError(
            f"Expected a trained checkpoint at {path}, but there is none. Run `eac fit` with the same recipe first, or "
            "name one with --ckpt_path."
        )
    if checkpoint is None:
        logging.getLogger("eac_lightning").info("using %s (--ckpt_path takes another)", path)
    return str(path)
