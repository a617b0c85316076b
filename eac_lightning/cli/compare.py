"""``eac compare``: a recipe's module beside plain cross-entropy, on one data set, noise draw and start."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from eac_lightning.callbacks.report import LAST_EPOCHS, RESULTS, write_json
from eac_lightning.cli.training import EACCLI, configure_logging, prepare_arguments, train
from eac_lightning.errors import ConfigurationError
from eac_lightning.runs.folder import FINISHED, changed_settings

# The loss and the mixing too: a recipe's own would stay in force.
BASELINE = [
    "--model", "eac_lightning.ClassificationModule", "--model.loss", "cross_entropy", "--model.loss_options", "null",
    "--model.mixing", "null", "--model.mixing_options", "null",
]  # fmt: skip
SUMMARY = "summary.json"
COLUMNS = {
    "best": "overall\nbest",
    "last5": f"overall\nlast {LAST_EPOCHS}",
    "mean_class_last5": f"mean-class\nlast {LAST_EPOCHS}",
    "memorized": "wrong labels\nmemorised",
}


class ComparedCLI(EACCLI):
    """A fit whose run folder is named after its method, inside that of the recipe."""

    def add_arguments_to_parser(self, parser: Any) -> None:
        """Train on one device, however many there are."""
        super().add_arguments_to_parser(parser)
        parser.set_defaults({"trainer.devices": 1})

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Refuse several processes, each of which would go on to the second method and write the comparison.

        Raises:
            ConfigurationError: If several devices or machines were asked for.
        """
        trainer = super().instantiate_trainer(**kwargs)
        if trainer.world_size > 1:
            raise ConfigurationError(
                f"`eac compare` runs as one process, but {trainer.world_size} were asked for. Leave --trainer.devices "
                "and --trainer.num_nodes away, or train each method with `eac fit`, which takes several."
            )
        return trainer

    def before_instantiate_classes(self) -> None:
        """Move the run into ``default_root_dir/METHOD``."""
        config = self.config[self.subcommand]
        given = config["model"].get("init_args", {})
        loss, options = given.get("loss", "cross_entropy"), given.get("loss_options") or {}
        mixed = f"_with_{given['mixing']}" if given.get("mixing") else ""
        self.method = method_name(config["model"]["class_path"], loss, options) + mixed
        self.compared_folder = Path(config["trainer"]["default_root_dir"])
        folder = self.compared_folder / self.method
        config["trainer"]["default_root_dir"] = str(folder)
        # Of a comparison that was interrupted, what is finished is not trained again.
        self.is_done = (
            config["resume"] is not False
            and not (self.compared_folder / SUMMARY).exists()
            and (folder / FINISHED).exists()
            and not changed_settings(folder, self.settings(config))
        )
        super().before_instantiate_classes()

    def _run_subcommand(self, subcommand: str) -> None:
        if self.is_done:
            logging.getLogger("eac_lightning").info("%s is finished already", self.compared_folder / self.method)
        else:
            (self.compared_folder / SUMMARY).unlink(missing_ok=True)  # of an earlier comparison, whose runs move away
            super()._run_subcommand(subcommand)


def run(arguments: Sequence[str]) -> int:
    """Train both, write ``summary.json`` and print the table; return 2 if the command line is wrong.

    Args:
        arguments: ``compare`` and the options of ``fit``.

    Raises:
        ConfigurationError: If the recipe is plain cross-entropy itself.
    """
    configure_logging()
    options = prepare_arguments(arguments[1:])
    results: dict[str, dict[str, float]] = {}
    folder = Path()
    for swap in (BASELINE, []):
        cli = train(["fit", *options, *swap], ComparedCLI)
        if cli is None:
            return 2
        if cli.method in results:
            raise ConfigurationError(
                "Expected a recipe of another method than plain cross-entropy to compare it with, but this one is "
                "ClassificationModule. Name a recipe such as eac_mobilefacenet, or add --model EACModule."
            )
        folder = cli.compared_folder
        results[cli.method] = read_summary(folder / cli.method / RESULTS)
    write_json(folder / SUMMARY, results)
    console = Console()
    console.print(comparison_table(results))
    for path in (*(folder / method for method in results), folder / SUMMARY):
        console.print(str(path), highlight=False, soft_wrap=True)
    return 0


def method_name(class_path: str, loss: str = "cross_entropy", options: Mapping[str, Any] | None = None) -> str:
    """Return a method's short name: ``EACModule`` is ``eac``, ``ClassificationModule`` goes by its loss.

    Cross-entropy with options, such as class weights, is another method than the plain one, and goes by them too.
    """
    name = class_path.rpartition(".")[2].removesuffix("Module")
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    if snake != "classification":
        return snake
    used = sorted(option for option, value in (options or {}).items() if value and option != "class_counts")
    return "_with_".join([loss, *used]) if loss == "cross_entropy" else loss


def read_summary(path: Path) -> dict[str, float]:
    """Return a finished run's figures for ``summary.json``: accuracies in [0, 1], and seconds."""
    fit: dict[str, Any] = json.loads(path.read_text())["fit"]
    return {key: fit[key] for key in (*COLUMNS, "seconds") if key in fit}


def comparison_table(results: dict[str, dict[str, float]]) -> Table:
    """Return the table that a comparison ends with; figures in per cent."""
    table = Table("method", title="Accuracy on the validation faces", title_justify="left")
    for heading in (*COLUMNS.values(), "seconds"):
        table.add_column(heading, justify="right")
    for method, figures in results.items():
        cells = [f"{100 * figures[key]:.1f} %" if key in figures else "—" for key in COLUMNS]
        table.add_row(method, *cells, f"{figures['seconds']:.0f}")
    return table
