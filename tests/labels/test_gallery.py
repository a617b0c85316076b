import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.labels.gallery import suspects, write_gallery
from tests.labels.audits import make_audit

CLASSES = ("anger", "happiness", "neutral")
BLOCK = re.compile(r'<script id="data" type="application/json">(.*?)</script>', re.DOTALL)
GREY = np.full((20, 10), 90, np.uint8)


def audit_of(count: int = 3) -> pd.DataFrame:
    return make_audit([f"{i}.png" for i in range(count)], ["anger"] * count, ["neutral"] * count, CLASSES)


def write(tmp_path: Path, audit: pd.DataFrame, **options: Any) -> tuple[str, dict[str, Any]]:
    options = {"faces": lambda index: GREY} | options
    write_gallery(tmp_path / "gallery.html", audit, CLASSES, **options)
    page = (tmp_path / "gallery.html").read_text(encoding="utf-8")
    block = BLOCK.search(page)
    assert block
    return page, json.loads(block[1])


def test_the_worst_come_first_and_only_suspects(tmp_path: Path) -> None:
    audit = audit_of(5).assign(score=[1, 5, np.nan, 3, 4], suspect=[True, True, True, True, False])
    assert suspects(audit)["index"].tolist() == [1, 3, 0, 2]
    assert suspects(audit, 2)["index"].tolist() == [1, 3]
    assert suspects(audit.drop(columns="suspect"))["index"].tolist() == [1, 4, 3, 0, 2]
    _, shown = write(tmp_path, audit, limit=3)
    assert [row["path"] for row in shown["rows"]] == ["1.png", "3.png", "0.png"]


def test_every_row_says_what_the_audit_knows(tmp_path: Path) -> None:
    audit = audit_of(2).assign(aum=[np.nan, np.inf], votes_anger=[2, 0], votes_neutral=[7, 1], votes_NF=[1, 0])
    audit.loc[1, "suggested"] = ""
    _, shown = write(tmp_path, audit.astype({"given": "category", "suggested": "category"}))
    assert shown["figures"] == ["score", "p_given", "loss", "aum"]
    assert shown["otherVotes"] == ["NF"]
    first, second = shown["rows"]
    assert (first["given"], first["suggested"], first["confidence"]) == (0, 2, [0.9])
    assert first["p"] == [0.15, 0.15, 0.7]
    assert first["figures"] == [9.0, 0.15, 1.8971, None]
    assert first["votes"] == [2, None, 7]
    assert first["otherVotes"] == [1]
    assert second["suggested"] == -1


def test_faces_are_small_and_never_enlarged(tmp_path: Path) -> None:
    faces = {0: GREY, 1: np.zeros((300, 200, 3), np.uint8)}
    _, shown = write(tmp_path, audit_of(2), faces=faces.get, side=60)
    images = [Image.open(BytesIO(b64decode(row["face"]))) for row in shown["rows"]]
    assert [image.size for image in images] == [(10, 20), (40, 60)]
    assert abs(int(np.asarray(images[0]).mean()) - 90) <= 2


def test_a_picture_that_cannot_be_read_leaves_its_row(tmp_path: Path) -> None:
    def faces(index: int) -> np.ndarray | None:
        if index == 0:
            raise DataError("no such file")
        return None if index == 1 else GREY

    _, shown = write(tmp_path, audit_of(), faces=faces)
    assert [row["face"] is None for row in shown["rows"]] == [True, True, False]


def test_maps_are_a_few_bytes(tmp_path: Path) -> None:
    maps = {0: np.array([[0.0, 1.0, 2.0], [-1.0, 4.0, 0.0]])}
    _, shown = write(tmp_path, audit_of(2), maps=maps.get)
    first, second = shown["rows"]
    assert first["map"]["width"] == 3
    assert list(b64decode(first["map"]["bytes"])) == [0, 64, 128, 0, 255, 0]
    assert second["map"] is None


def test_progress_belongs_to_what_is_shown(tmp_path: Path) -> None:
    same = [write(tmp_path, audit_of(), faces=lambda i, v=v: GREY + np.uint8(v))[1]["id"] for v in (0, 9)]
    assert same[0] == same[1]
    assert write(tmp_path, audit_of(4))[1]["id"] != same[0]


@pytest.mark.parametrize("hostile", ["</script><script>hit()</script>", "<!--", "\u2028\u2029", "{{script}}", '"\\'])
def test_text_cannot_leave_its_block(hostile: str, tmp_path: Path) -> None:
    harmless, _ = write(tmp_path, audit_of())
    page, shown = write(tmp_path, audit_of().assign(path=[hostile, "1.png", "2.png"]), title=hostile)
    assert shown["title"] == shown["rows"][0]["path"] == hostile
    assert BLOCK.sub("", page) == BLOCK.sub("", harmless)
    assert not re.search("[<\u2028\u2029]", BLOCK.search(page)[1])


def test_the_policy_names_the_one_script_and_the_one_style(tmp_path: Path) -> None:
    page, _ = write(tmp_path, audit_of())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy[1].startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    for tag in ("style", 'script type="module"'):
        source = re.search(f"<{tag}>(.*?)</{tag.split()[0]}>", page, re.DOTALL)
        assert source
        assert b64encode(sha256(source[1].encode()).digest()).decode() in policy[1]
    assert not re.search(
        r"\son\w+=|src=|https?:", page.split("<body>")[0] + page.split("<body>")[1].split("<script")[0]
    )


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="with the column given and score, but it has index, path"):
        write(tmp_path, audit_of().drop(columns=["given", "score"]))
    with pytest.raises(DataError, match=r"Labels in the audit that are none of the classes .* \(1\): 'awe'"):
        write(tmp_path, audit_of().assign(given="awe"))
    for unknown in ("", None, np.nan, pd.NA):
        with pytest.raises(DataError, match="does not know the paths of its pictures"):
            write(tmp_path, audit_of().assign(path=["0.png", unknown, "2.png"]))
    with pytest.raises(DataError, match=r"by path, and the audit has several of one path \(1\): 1.png"):
        write(tmp_path, audit_of().assign(path=["1.png", "1.png", "2.png"]))
    with pytest.raises(ConfigurationError, match="limit and side must be at least 1, but are 0 and 96"):
        write(tmp_path, audit_of(), limit=0)
    assert not (tmp_path / "gallery.html").exists()
