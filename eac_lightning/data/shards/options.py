"""Which options of a data module shards cannot follow."""

from collections.abc import Mapping

from eac_lightning.errors import ConfigurationError

_USUAL: dict[str, tuple[object, ...]] = {
    "votes": ("majority",),
    "sampler": ("shuffle",),
    "duplicates": ("keep",),
    "val_fraction": (0.1, 0),  # 0 lets the test faces validate
    "test_fraction": (0.1,),
    "angles": (("S",),),
    "allow_outside": (False,),
    "on_bad_image": ("error",),
    "cache": ("auto", "none"),
}


def refuse_options(options: Mapping[str, object]) -> None:
    """Refuse options of a data module that need all labels or all pictures at once, or are settled by packing.

    Args:
        options: Their values by name; None, and what is so by default, mean "not asked for".

    Raises:
        ConfigurationError: Names those that are set, and what to do.
    """
    given = [name for name, value in options.items() if value is not None and value not in _USUAL.get(name, ())]
    if given == ["cache"]:
        raise ConfigurationError(
            "cache cannot be used with layout='shards', whose faces are decoded whenever they are drawn: leave it at "
            "'auto'. Fetched shards are kept in any case."
        )
    if given:
        raise ConfigurationError(
            f"{', '.join(given)} cannot be used with layout='shards', which never has the whole data set in memory. "
            "Classes, columns, votes, splits and wrong labels (`eac noise`) are chosen before packing: change the data "
            "set or the options of `eac data pack`, and pack it again."
        )
