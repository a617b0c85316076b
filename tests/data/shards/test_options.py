import pytest

from eac_lightning.data.shards.options import refuse_options
from eac_lightning.errors import ConfigurationError


def test_options_that_need_everything_at_once_are_refused() -> None:
    refuse_options({"noise": None, "duplicates": "keep", "sampler": "shuffle"})
    with pytest.raises(ConfigurationError, match="subset, sampler cannot be used with layout='shards'"):
        refuse_options({"noise": None, "subset": 8, "sampler": "balanced"})


@pytest.mark.parametrize(
    ("name", "usual", "other"),
    [
        ("val_fraction", 0.1, 0.2), ("val_fraction", 0.0, 0.3), ("test_fraction", 0.1, 0.0), ("angles", ("S",), ("FL",)),
        ("allow_outside", False, True), ("on_bad_image", "error", "skip"), ("cache", "none", "disk"),
    ],
)  # fmt: skip
def test_what_only_a_folder_can_follow_is_refused(name: str, usual: object, other: object) -> None:
    refuse_options({name: usual})
    with pytest.raises(ConfigurationError, match=f"^{name} cannot be used with layout='shards'"):
        refuse_options({name: other})


def test_why_there_is_no_cache_is_said() -> None:
    with pytest.raises(ConfigurationError, match="decoded whenever they are drawn: leave it at 'auto'"):
        refuse_options({"cache": "ram"})
