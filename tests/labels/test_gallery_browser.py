"""The gallery in a real browser: look, press keys, save, and train with the file."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as L

from eac_lightning import ClassificationModule, FERDataModule
from eac_lightning.labels.gallery import write_gallery
from tests.labels.audits import make_audit, write_faces

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install -e '.[dev]'")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs Chromium and its driver: apt install chromium chromium-driver"
)

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)
ODD = "<b onmouseover=hit=1>odd</b>"
CLASSES = (ODD, "anger", "fear")
HOSTILE = [
    '<img src=x onerror="globalThis.hit=1">.png',
    "</script><script>globalThis.hit=1</script>.png",
    "<!--<script>.png",
    "\"quoted\", and 'quoted'.png",
    "\u202egnp.png",
    "two words and {{script}} ${hit=1}.png",
    "=1+1.png",
    "+1.png",
    "-1.png",
    "@sum.png",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


class Page:
    """What a person sees and presses."""

    def __init__(self, driver: Any, file: Path, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
        driver.get(file.as_uri())

    def press(self, keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(keys).perform()

    def text(self, selector: str) -> str:
        return self.driver.find_element("css selector", selector).text

    def texts(self, selector: str) -> list[str]:
        return [found.text for found in self.driver.find_elements("css selector", selector)]

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def choose(self, selector: str, starts: str) -> None:
        options = self.driver.find_elements("css selector", f"{selector} option")
        next(option for option in options if option.text.startswith(starts)).click()

    def run(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def saved(self) -> Path:
        file = self.downloads / "corrections.csv"
        file.unlink(missing_ok=True)
        self.press("s")
        for _ in range(100):
            if file.is_file():
                return file
            time.sleep(0.05)
        raise AssertionError(f"nothing was saved: {self.text('#message')}")


Open = Callable[..., Page]


@pytest.fixture
def open_gallery(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Write a gallery of one face a path, given as anger or fear in turn, suggested the next class, and open it."""
    (tmp_path / "blank.html").write_text("")
    browser.get((tmp_path / "blank.html").as_uri())
    browser.execute_script("localStorage.clear()")
    for kind in ("browser", "performance"):
        browser.get_log(kind)

    def opened(paths: list[str], *, audit: pd.DataFrame | None = None, **options: Any) -> Page:
        if audit is None:
            given = [CLASSES[1 + i % 2] for i in range(len(paths))]
            suggested = [CLASSES[(2 + i % 2) % 3] for i in range(len(paths))]
            audit = make_audit(paths, given, suggested, CLASSES)
        options = {"faces": lambda i: np.full((16, 16), 9 * i % 255, np.uint8)} | options
        write_gallery(tmp_path / "gallery.html", audit, CLASSES, **options)
        return Page(browser, tmp_path / "gallery.html", tmp_path)

    yield opened
    assert browser.get_log("browser") == []


def names(count: int) -> list[str]:
    return [f"{i}.png" for i in range(count)]


def test_a_face_is_shown_with_all_that_is_known(open_gallery: Open) -> None:
    audit = make_audit(names(3), ["fear"] * 3, ["anger"] * 3, CLASSES).assign(votes_anger=7, votes_fear=1, votes_NF=2)
    page = open_gallery([], audit=audit, maps=lambda i: np.eye(3) if i < 2 else None)
    assert page.driver.title == page.text("h1") == "Suspect labels"
    assert (page.text("#place"), page.text("#path"), page.text("#chip")) == ("1 of 3", "0.png", "undecided")
    assert (page.text("#given"), page.text("#suggested")) == ("fear", "anger")
    assert page.text("#confidence") == "suggested with 90 % confidence"
    assert page.text("#figures").split() == ["score", "9.000", "p(given)", "0.150", "loss", "1.897"]
    lines = [line.split("\n") for line in page.texts(".class")]
    assert lines == [
        ["1", ODD, "15 %"],
        ["2", "anger", "70 %", "7 votes", "suggested"],
        ["3", "fear", "15 %", "1 vote", "given"],
    ]
    assert page.text("#other-votes") == "Other votes: NF 2"
    assert page.run("document.querySelector('#face img').naturalWidth") == 16
    assert page.texts(".tile .to") == ["→ anger"] * 3
    page.press("m")
    assert page.run("document.querySelector('#face canvas').width") == 3
    assert page.text("#face") == "evidence for fear"
    page.press("ll")
    assert not page.texts("#face canvas")
    assert page.run("document.getElementById('map').disabled")


def test_keys_decide_move_on_and_take_back(open_gallery: Open) -> None:
    page = open_gallery(names(6))
    page.press("akd2")
    assert page.texts(".chip")[:4] == ["✓ 1 accepted", "= 1 kept", "✎ 1 changed", "✕ 1 dropped"]
    assert page.texts(".tile .mark") == ["✓", "=", "✕", "✎", "", ""]
    assert page.texts(".tile .to")[:4] == ["→ fear", "→ fear", "→ dropped", "→ anger"]
    assert page.text("#counter") == "4 of 6 reviewed"
    assert page.text("#place") == "5 of 6"
    page.press("u")
    assert (page.text("#place"), page.text("#chip"), page.text("#counter")) == (
        "4 of 6",
        "undecided",
        "3 of 6 reviewed",
    )
    page.press("jj2")  # another word on the second, then past what is decided
    assert page.texts(".tile .mark")[:2] == ["✓", "✎"]
    assert page.text("#place") == "4 of 6"
    page.press("u")
    assert page.texts(".tile .mark")[:2] == ["✓", "="]
    page.press("uuuu")
    assert page.text("#message") == "There is nothing to undo."
    assert page.text("#counter") == "0 of 6 reviewed"
    page.press("s")
    assert page.text("#message") == "Nothing is decided yet: there is nothing to save."
    page.press("9?")
    assert page.run("document.getElementById('keys').open")
    page.press("a")
    assert page.text("#counter") == "0 of 6 reviewed"


def test_a_mouse_does_what_keys_do(open_gallery: Open) -> None:
    page = open_gallery(names(4))
    for button in ("#accept", "#keep", "#drop", "li:first-child > .class", "#undo"):
        page.click(button)
    assert page.texts(".tile .mark") == ["✓", "=", "✕", ""]
    page.click(".tile:nth-child(1)")
    page.click("#next")
    page.click("#previous")
    named = page.driver.find_elements("css selector", "button, select, progress, input:not([hidden])")
    unnamed = [part.get_attribute("id") for part in named if part.is_displayed() and not part.accessible_name]
    assert len(named) > 15
    assert unnamed == []


def test_progress_outlives_the_page(open_gallery: Open) -> None:
    page = open_gallery(names(5))
    page.press("ak")
    page.driver.refresh()
    assert (page.text("#counter"), page.text("#place")) == ("2 of 5 reviewed", "3 of 5")
    page.press("u")
    assert page.texts(".tile .mark") == ["✓", "", "", "", ""]
    other = open_gallery(names(4))
    assert other.text("#counter") == "0 of 4 reviewed"


def test_filters(open_gallery: Open) -> None:
    page = open_gallery(names(5))
    page.choose("#filter-given", "fear")
    assert page.texts(".tile .from") == ["fear"] * 2
    assert page.text("#place") == "2 of 5"
    page.press("a")  # goes to the page, not to the list of choices
    assert page.text("#counter") == "1 of 5 reviewed"
    page.click("#show-all")
    assert len(page.texts(".tile")) == 5
    page.choose("#filter-status", "undecided")
    assert len(page.texts(".tile")) == 4
    page.press("aaaa")
    assert page.text("#matching") == "None shown: no suspect matches."
    assert "All faces shown are reviewed" in page.text("#message")
    page.click("#show-all")
    page.run("(document.getElementById('filter-score').value = 75, filters.dispatchEvent(new Event('input')))")
    assert (page.text("#matching"), page.text("#score-shown")) == ("2 shown", "7.00")
    page.choose("#filter-suggested", ODD)
    assert len(page.texts(".tile")) == 1


def test_names_are_text_and_nothing_of_theirs_runs(open_gallery: Open) -> None:
    page = open_gallery(HOSTILE, title="</title><script>globalThis.hit=1</script>")
    for _ in HOSTILE:
        page.press("la")
    shown = page.run("[...document.querySelectorAll('.tile')].map((tile) => tile.title)")
    assert shown == HOSTILE
    assert page.run("typeof globalThis.hit") == "undefined"
    assert page.run("document.querySelectorAll('#main script, #main b, header b').length") == 0
    requests = [
        entry["message"] for entry in page.driver.get_log("performance") if "requestWillBeSent" in entry["message"]
    ]
    assert requests
    assert not [entry for entry in requests if not any(f'"url":"{kind}:' in entry for kind in ("file", "data"))]


def test_a_saved_review_is_trained_with(open_gallery: Open, tmp_path: Path) -> None:
    paths = HOSTILE + names(8)
    given = [CLASSES[i % 3] for i in range(len(paths))]
    suggested = [CLASSES[(i + 1) % 3] for i in range(len(paths))]
    write_faces(tmp_path / "faces", paths, given, CLASSES)
    plain = FERDataModule(tmp_path / "faces", image_size=16, batch_size=8)
    audit = make_audit(plain.annotations.table["path"].head(len(paths)).tolist(), given, suggested, plain.class_names)
    page = open_gallery([], audit=audit)
    page.press("akd3aaaakd")
    file = page.saved()
    rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    assert rows["path"].tolist() == HOSTILE
    assert rows["given"].tolist() == given[:10]
    assert "".join(action[0] for action in rows["action"]) == "akdcaaaakd"
    data = FERDataModule(tmp_path / "faces", image_size=16, batch_size=8, label_overrides=str(file))
    module = ClassificationModule(class_names=list(data.class_names), backbone="tiny")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(max_epochs=1, accelerator="cpu", enable_checkpointing=False, default_root_dir=tmp_path, **quiet)
    trainer.fit(module, datamodule=data)
    trained = data.dataset("train")
    assert trained.columns["index"].tolist() == [i for i in range(len(paths)) if i not in (2, 9)]
    expected = [suggested[0], given[1], CLASSES[2], *suggested[4:8], given[8], *given[10:]]
    assert [data.class_names[label] for label in trained.labels] == expected
    assert "changed 6 labels, kept 2 and left out 2 pictures" in data.summary()


def test_a_review_goes_on_in_another_browser(open_gallery: Open, tmp_path: Path) -> None:
    page = open_gallery(HOSTILE)
    page.press("akd2")
    file = page.saved().rename(tmp_path / "before.csv")
    page.run("localStorage.clear()")
    page.driver.refresh()
    chooser = page.driver.find_element("id", "file")
    chooser.send_keys(str(file))
    assert _soon(lambda: page.text("#message") == "Loaded 4 decisions.")
    assert page.texts(".tile .mark")[:5] == ["✓", "=", "✕", "✎", ""]
    assert page.saved().read_bytes() == file.read_bytes()
    for content, message in {
        "path,label\nx.png,anger\n": "Loaded 0 decisions; 1 lines name pictures that are not in this gallery.",
        "path,label\n=1+1.png,awe\n": "“awe”, the label of =1+1.png, is none of the classes.",
        "path,label,given\n=1+1.png,anger,fear\n": "The file was made for other labels: =1+1.png is given as “fear”",
        "name\n1\n": "Expected a file with the columns path and label.",
        'path,label\n"a': "The file is no CSV table: see letter 12.",
    }.items():
        (tmp_path / "other.csv").write_text(content)
        chooser.send_keys(str(tmp_path / "other.csv"))
        assert _soon(lambda message=message: message in page.text("#message")), page.text("#message")
    assert page.text("#counter") == "4 of 10 reviewed"


def test_nothing_to_review_and_nothing_to_see(open_gallery: Open) -> None:
    page = open_gallery(names(2), faces=lambda index: None)
    assert page.text("#face") == "no picture"
    for place in ("#face", ".tile"):
        assert page.run(f"getComputedStyle(document.querySelector('{place} .missing')).display") == "grid"  # centred
    page.press("a")
    assert page.text("#counter") == "1 of 2 reviewed"
    empty = open_gallery([])
    assert empty.text("main, #nothing") == ""
    assert empty.text("#nothing") == "No label is suspect: there is nothing to review."
    empty.press("as?")


def test_five_thousand_open_at_once(open_gallery: Open) -> None:
    gradient = np.tile(np.arange(48, dtype=np.uint8), (48, 1))
    page = open_gallery(names(5000), faces=lambda i: gradient + np.uint8(i % 200))
    milliseconds = []
    for _ in range(3):
        page.driver.refresh()
        milliseconds.append(page.run("performance.getEntriesByType('navigation')[0].loadEventEnd"))
    assert min(milliseconds) < 2000
    assert 20 < len(page.texts(".tile")) < 200
    page.run("document.getElementById('grid').scrollTo(0, 1e9)")
    assert _soon(lambda: "4999.png" in page.run("[...document.querySelectorAll('.tile')].map((t) => t.title)"))


def _soon(condition: Callable[[], bool]) -> bool:
    for _ in range(100):
        if condition():
            return True
        time.sleep(0.05)
    return False
