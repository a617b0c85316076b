import pytest

from eac_lightning.data.bad_pictures import report_bad_images
from eac_lightning.errors import ConfigurationError, DataError


def test_bad_pictures_are_all_listed() -> None:
    bad = {f"{i}.png": "no such file" for i in range(25)}
    with pytest.raises(DataError, match=r"25 of 40(.|\n)*19\.png: no such file\n  … and 5 more") as caught:
        report_bad_images(bad, "error", 40)
    assert "20.png" not in str(caught.value)


def test_a_name_of_several_lines_is_one() -> None:
    with pytest.raises(DataError) as caught:
        report_bad_images({"a\nb.png": "truncated"}, "error", 2)
    assert len(str(caught.value).splitlines()) == 3


def test_skipped_pictures_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    report_bad_images({"a.png": "truncated"}, "skip", 3)
    assert "Left out 1 of 3 pictures" in caplog.text
    caplog.clear()
    report_bad_images({}, "error", 3)
    assert not caplog.text


def test_skipping_everything_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 1 pictures cannot be read"):
        report_bad_images({"a.png": "truncated"}, "skip", 1)


def test_an_unknown_policy_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'skip'"):
        report_bad_images({}, "skp", 1)
