"""Bundled recipes: complete runs, and overlays that change one thing about a run, found by name."""

from pathlib import Path

from eac_lightning.errors import ConfigurationError, unknown_name

_PACKAGE = Path(__file__).parent


def recipe_folder() -> Path:
    """Return the folder of the bundled recipes: inside the wheel, or beside the package in a checkout."""
    installed = _PACKAGE / "_recipes"
    return installed if installed.is_dir() else _PACKAGE.parent / "recipes"


def list_recipes() -> dict[str, Path]:
    """Return the bundled recipes by name, such as ``quickstart`` and ``noise/symmetric_30``."""
    folder = recipe_folder()
    files = sorted(folder.rglob("*.yaml"), key=lambda path: (len(path.relative_to(folder).parts), path))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}


def find_recipe(name: str) -> Path:
    """Return the file that ``-c name`` means: a file if there is one, else a bundled recipe.

    Raises:
        ConfigurationError: If there is neither; the error names the nearest recipes.
    """
    if Path(name).is_file():
        return Path(name)
    recipes = list_recipes()
    if name in recipes:
        return recipes[name]
    if Path(name).suffix in (".yaml", ".yml"):
        raise ConfigurationError(
            f"Expected a recipe at {name}, but there is no such file. `eac recipes` lists the bundled ones."
        )
    raise unknown_name("recipe", name, recipes)


def describe_recipe(path: Path) -> str:
    """Return the first comment line of a recipe, which says what it is."""
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()
