"""The command ``eac``. Nothing here imports torch: help and light commands must answer at once."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from eac_lightning.cli.parser import TRAINING_COMMANDS, build_parser
from eac_lightning.cli.system_errors import explain_refusal
from eac_lightning.errors import ConfigurationError, EACError
from eac_lightning.interrupts import INTERRUPTED, two_interrupts


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0; 1 after an error of ours; 2 for a wrong command line; 130 after Ctrl-C, as shells have it; 143 where SIGTERM
    ended a training.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:2] == ["data", "pack"]:
        arguments[:2] = ["data pack"]
    # A person's own modules lie where they work, and a console script does not look there by itself.
    sys.path.insert(0, str(Path.cwd()))
    try:
        with two_interrupts(to_the_end=argv is None):
            if arguments and arguments[0] in TRAINING_COMMANDS:
                module = "training"
                if arguments[0] == "compare":
                    module = "compare"
                    check_one_process(module)
                return int(import_module(f"eac_lightning.cli.{module}").run(arguments))
            parsed = build_parser().parse_args(arguments)
            if {"out", "target"} & vars(parsed).keys():  # where it writes
                check_one_process(arguments[0])
            return int(import_module(f"eac_lightning.cli.{parsed.module}").run(parsed) or 0)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. What was finished is kept.\n")
        return INTERRUPTED
    except EACError as error:
        return _failed(str(error))
    except OSError as error:
        if refusal := explain_refusal(error):
            return _failed(refusal)
        raise


def _failed(message: str) -> int:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text("Error: ", style="bold red").append(message, style="not bold default"))
    return 1


def check_one_process(command: str) -> None:
    """Refuse a launcher of several processes for a command that knows nothing of the others.

    Raises:
        ConfigurationError: If torchrun or srun has started several.
    """
    processes = os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or "1"
    if processes != "1":
        raise ConfigurationError(
            f"`eac {command}` runs as one process, but this is one of {processes} (WORLD_SIZE, "
            "SLURM_STEP_NUM_TASKS), which would all write the same files. Start it without torchrun or srun; "
            "`eac fit`, `validate`, `test` and `predict` take several."
        )
