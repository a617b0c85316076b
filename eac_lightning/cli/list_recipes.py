"""``eac recipes``: list the bundled recipes, or print one."""

from argparse import Namespace

from rich.console import Console
from rich.table import Table

from eac_lightning.errors import unknown_name
from eac_lightning.recipes import describe_recipe, list_recipes


def run(arguments: Namespace) -> None:
    """Print the table of recipes, or the text of ``arguments.name``."""
    console = Console()
    recipes = list_recipes()
    if arguments.name is None:
        table = Table("recipe", "what it is", box=None)
        for name, path in recipes.items():
            table.add_row(name, describe_recipe(path))
        console.print(table)
    elif arguments.name in recipes:
        console.print(
            recipes[arguments.name].read_text(encoding="utf-8"), markup=False, highlight=False, end="", soft_wrap=True
        )
    else:
        raise unknown_name("recipe", arguments.name, recipes)
