"""``eac fit|validate|test|predict``: LightningCLI, with bundled recipes by name and a run folder."""

import argparse
import importlib
import logging
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import jsonargparse
import yaml
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

import eac_lightning
from eac_lightning._files import replacing
from eac_lightning._lightning import L, callbacks, plugins
from eac_lightning._lightning import cli as lightning_cli
from eac_lightning.callbacks.failures import report_failures
from eac_lightning.callbacks.predictions import PredictionWriter
from eac_lightning.cli.explain import explain
from eac_lightning.cli.failures import explained
from eac_lightning.errors import ConfigurationError, EACError
from eac_lightning.recipes import find_recipe
from eac_lightning.runs.checkpoints import LAST, BestCheckpoint, DurableCheckpointIO, LastCheckpoint, last_whole
from eac_lightning.runs.folder import CONFIG, RunFolder, find_beginning
from eac_lightning.runs.metrics_logger import MetricsLogger

_NOTHING_TO_DO = (
    "LeafSpec",  # of torch, inside Lightning
    "does not have many workers",  # the store needs none
    "smaller than the logging interval",
    "sync_dist=True",  # torchmetrics have summed over the ranks
    "callbacks used to create the checkpoint need to be provided",  # an evaluation writes no checkpoints
    "args parameter is intended to run from within Python",  # these are the arguments of the process
    "Couldn't infer the batch indices",  # ours come with each batch
    "Checkpoint directory .* exists and is not empty",  # an earlier run has been moved away
)
CLI = TypeVar("CLI", bound="EACCLI")


class SettingsFile(lightning_cli.SaveConfigCallback):
    """Writes ``config.yaml``, whole and without what only this one command was given."""

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Write it beside the checkpoints."""
        folder = Path(self.config["trainer"]["default_root_dir"])
        settings = self.config.clone()
        settings["ckpt_path"] = settings["resume"] = None
        with replacing(folder / CONFIG) as partial:
            partial.write_text(self.parser.dump(settings, skip_none=False), encoding="utf-8")


class EACCLI(lightning_cli.LightningCLI):
    """LightningCLI whose runs keep everything in one folder, ``--trainer.default_root_dir``."""

    run_folder: RunFolder | None = None

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
            save_config_callback=SettingsFile,
            save_config_kwargs={"save_to_log_dir": False},
            parser_kwargs=strict | {name: dict(strict) for name in self.subcommands()},
            load_from_checkpoint_support=False,
            args=list(arguments),
        )

    def add_arguments_to_parser(self, parser: Any) -> None:
        """Make EAC on a folder of faces the default, and let the data tell the module its classes and image size."""
        parser.add_argument(
            "--resume",
            type=bool | None,
            default=None,
            help="fit: go on from what the run folder holds; left out, from an unfinished run of the same settings",
        )
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
        folder, checkpoint = Path(config["trainer"]["default_root_dir"]), config.get("ckpt_path")
        if self.subcommand != "fit" or checkpoint:
            config["ckpt_path"] = _checkpoint_of(folder, checkpoint)
        if self.subcommand == "fit" and not config["trainer"]["fast_dev_run"]:
            self.run_folder = self._begin(folder, config)
        if self.subcommand != "fit":
            self.save_config_callback = None
            # The checkpoint holds the trained weights: what they began from must not be needed again.
            if "weights" in config["model"].get("init_args", {}):
                config["model"]["init_args"]["weights"] = None

    def settings(self, config: jsonargparse.Namespace) -> dict[str, Any]:
        """Return what ``config.yaml`` will hold, but for what only a command has."""
        settings: dict[str, Any] = yaml.safe_load(self._parser(self.subcommand).dump(config, skip_none=False))
        return settings

    def _begin(self, folder: Path, config: jsonargparse.Namespace) -> RunFolder:
        if "://" in str(config["trainer"]["default_root_dir"]):
            raise ConfigurationError(
                f"Expected a folder of this machine for the run, but got {config['trainer']['default_root_dir']}. Name "
                "one with --trainer.default_root_dir, and copy it when the run is done."
            )
        settings = self.settings(config)
        # A checkpoint that was asked for is taken as it is, whatever else lies in the folder.
        beginning = find_beginning(folder, settings, False if config["ckpt_path"] else config["resume"])
        if beginning.checkpoint is not None:
            config["ckpt_path"] = str(beginning.checkpoint)
        elif config["ckpt_path"]:
            beginning.checkpoint = Path(config["ckpt_path"])
            _, damaged = last_whole(folder)
            if beginning.checkpoint not in damaged:  # else the next would leave a damaged one as the previous
                beginning.damaged = damaged
        return RunFolder(folder, beginning)

    def after_instantiate_classes(self) -> None:
        """Say what an optimizer from outside replaces."""
        config = self.config[self.subcommand]
        if config.get("optimizer"):
            logging.getLogger("eac_lightning").warning(
                "--optimizer replaces the module's configure_optimizers: its lr, weight_decay and lr_decay are not "
                "used. Give --optimizer.lr, and --lr_scheduler if the rate shall decay."
            )

    def _run_subcommand(self, subcommand: str) -> None:
        """Mark a run that ended well; give an earlier one its place back where this one saved nothing."""
        try:
            with explained():
                super()._run_subcommand(subcommand)
        except BaseException:
            if self.run_folder is not None:
                self.run_folder.give_back()
            raise
        if self.run_folder is not None and self.trainer.is_global_zero:
            self.run_folder.finish()

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Add the logger and the two checkpoints of a run folder."""
        trainer = self.config_init[self.subcommand]["trainer"]
        folder = trainer["default_root_dir"]
        added: list[Any] = []
        if self.subcommand == "fit":
            if trainer["logger"] is None:
                kwargs["logger"] = MetricsLogger(folder)
            if self.run_folder is not None:
                stays_ended = not self.run_folder.beginning.changed
                added = [self.run_folder, BestCheckpoint(folder), LastCheckpoint(folder, stays_ended)]
                kwargs["plugins"] = _with_durable_checkpoints(trainer["plugins"])
        else:
            kwargs["enable_checkpointing"] = False
            if trainer["logger"] is None:
                kwargs["logger"] = False  # a new metrics.csv would replace that of the fit
        own = trainer["callbacks"] or []
        if self.subcommand == "predict" and not any(isinstance(callback, PredictionWriter) for callback in own):
            added.append(PredictionWriter())
        if trainer["enable_progress_bar"] is not False:
            added.append(callbacks.RichProgressBar(leave=False))
        return report_failures(super().instantiate_trainer(**kwargs, callbacks=[*own, *added]))


def _told_by(name: str, data: object) -> Any:
    value = getattr(data, name, None)
    return list(value) if isinstance(value, tuple) else value


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


def _with_durable_checkpoints(own: Any) -> list[Any]:
    """Return the user's plugins, and ours unless one of theirs writes the checkpoints."""
    listed = list(own) if isinstance(own, list | tuple) else [own] * (own is not None)
    writes = any(isinstance(plugin, plugins.CheckpointIO) for plugin in listed)
    return listed if writes else [*listed, DurableCheckpointIO()]


def _checkpoint_of(folder: Path, checkpoint: str | None) -> str:
    """Return the checkpoint asked for (a path, ``last`` or ``best``), else the last one of the run folder."""
    damaged: list[Path] = []
    if checkpoint in (None, "last"):
        whole, damaged = last_whole(folder)
        path = whole or folder / LAST
    else:
        path = folder / "best.ckpt" if checkpoint == "best" else Path(str(checkpoint))
    if not path.is_file():
        raise ConfigurationError(
            f"Expected a trained checkpoint at {path}, but there is none. Run `eac fit` with the same recipe first, or "
            "name one with --ckpt_path."
        )
    log = logging.getLogger("eac_lightning")
    if damaged and path not in damaged:
        log.warning("%s is damaged: it was cut off or changed after it was written", damaged[0])
    if checkpoint is None or damaged:
        log.info("using %s (--ckpt_path takes another)", path)
    return str(path)
