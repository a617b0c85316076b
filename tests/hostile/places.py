"""Names that files may have, and things in a folder that are not what they are called."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.corpus import LEFT_OUT, READ, REFUSED, Entry, encode, noise

WRITABLE = (
    *(" leading.png", "two  words.png", "'single'.png", 'dou"ble.png', '"', "a,b;c|d.png", "-rf.png", "--help.png"),
    *("=cmd()|' '!A0.png", "@SUM(1+1).png", "+1.png", "$(touch executed).png", "`touch executed`.png", ";ls.png"),
    *("*.png", "?.png", "[a].png", "{0}.png", "%s%n.png", "~.png", "#1.png", "a#2.png", "back\\slash.png", "a&b=c.png"),
    *("<img src=x onerror=alert(1)>.png", "[bold]x[bold].png", "NaN.png", "null.png", "1e400.png", "a..png", "con.png"),
    *(
        "ünï.png",
        "u\u0308ni.png",
        "\U0001f600.png",
        "顔.png",
        "وجه.png",
        "\u202egnp.png",
        "a\u200db.png",
        "a\u3000b.png",
    ),
    *("x" * 251 + ".png", "é" * 125 + ".png", "a.PNG", "a.png.png", "a\u00a0.png"),
)
UNWRITABLE = (
    *(b"new\nline.png", b"return\r.png", b"tab\t.png", b"escape\x1b[31m.png", b"bell\x07.png", b"delete\x7f.png"),
    *("next\x85line.png".encode(), "line\u2028.png".encode(), b"latin-\xe9.png", b"\xff\xfe.png", b"\x80.png"),
    *(b"overlong\xc0\xaf.png", b"surrogate\xed\xa0\x80.png", b"\xff" * 251 + b".png"),
)


def named(name: str | bytes, expected: str, says: str = "") -> Entry:
    file = os.fsdecode(name) if isinstance(name, bytes) else name
    file = file if file.lower().endswith(".png") else file + ".png"

    def make(root: Path) -> None:
        (root / "train/anger" / file).write_bytes(encode(noise()))

    return Entry(f"name {ascii(name)[:40]}", make, expected, says)


def place(name: str, make: Callable[[Path], object], expected: str, says: str = "") -> Entry:
    def inside(root: Path) -> None:
        make(root / "train/anger")

    return Entry(name, inside, expected, says)


def link(name: str, target: str, expected: str, says: str = "", file: str = "hostile.png") -> Entry:
    """An entry with a link, relative to the folder that it is in."""
    return place(name, lambda folder: (folder / file).symlink_to(target), expected, says)


def class_folder(name: bytes | str, expected: str, says: str = "") -> Entry:
    def make(root: Path) -> None:
        folder = root / "train" / os.fsdecode(name)
        folder.mkdir()
        (folder / "0.png").write_bytes(encode(noise()))

    return Entry(f"class folder {ascii(name)[:20]}", make, expected, says)


def _socket(folder: Path) -> None:
    here = Path.cwd()
    os.chdir(folder)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("hostile.png")
    finally:
        os.chdir(here)


def _device(folder: Path) -> None:
    try:
        os.mknod(folder / "hostile.png", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except OSError:
        pytest.skip("devices are made by root alone")


def _loop(folder: Path) -> None:
    (folder / "a.png").symlink_to("b.png")
    (folder / "b.png").symlink_to("a.png")


def _folder_out(root: Path) -> None:
    (root / "train/fear").symlink_to(root.parent / "outside")


def _chain(folder: Path) -> None:
    (folder / "hostile.png").symlink_to("second.lnk")
    (folder / "second.lnk").symlink_to("../../../outside/secret.png")


def _root_is_a_link(root: Path) -> None:
    root.rename(root.with_name("real"))
    root.symlink_to("real")


def labels_out(name: str, file: str, beside: str) -> Entry:
    """Labels that are a link out of the root, and another file that their layout is recognised by."""

    def make(root: Path) -> None:
        (root.parent / "outside/labels").write_text("3")
        for path in (root / file, root / beside):
            path.parent.mkdir(parents=True, exist_ok=True)
        (root / file).symlink_to(root.parent / "outside/labels")
        (root / beside).write_bytes(encode(noise()))

    return Entry(
        f"{name} that is a link out", make, REFUSED, f"{Path(file).name} leads out of it, by a link; .*allow_out"
    )


OUT = "a link that leads out of .*allow_outside"
ORDINARY = "not an ordinary file"

PLACES = [
    *(named(name, READ) for name in WRITABLE),
    *(named(name, LEFT_OUT, "control characters, or bytes that are not UTF-8; rename it") for name in UNWRITABLE),
    *(class_folder(name, REFUSED, "Classes in .* not UTF-8; rename them") for name in (b"a\nb", b"\xff", b"\x1b[2J")),
    *(class_folder(name, READ) for name in ("a b", "'", "-x", "=cmd()", "<b>", "9" * 250, "顔", "%s", "{}", "[red]")),
    # Links.
    link("link to a picture inside", "0.png", READ),
    link("link to a picture of another class", "../happiness/0.png", READ),
    link("link out of the root", "../../../outside/secret.png", LEFT_OUT, OUT),
    link("absolute link out of the root", "/etc/passwd", LEFT_OUT, OUT),
    link("link to zeros without end", "/dev/zero", LEFT_OUT, ORDINARY),
    link("link to the terminal", "/dev/stdin", LEFT_OUT, f"{ORDINARY}|{OUT}|no such file|No such"),
    link("link to memory", "/proc/self/mem", LEFT_OUT, OUT),
    link("link to nothing", "nothing.png", LEFT_OUT, "no such file"),
    link("link to itself", "hostile.png", LEFT_OUT, "symbolic links"),
    link("link to a folder above", "../..", LEFT_OUT, ORDINARY),
    link("link to its own folder", ".", READ, file="loop"),
    link("link to the folder above the root", "../../..", READ, file="loop"),
    place("links in a loop", _loop, LEFT_OUT, "symbolic links"),
    place("link by way of a link out", _chain, LEFT_OUT, OUT),
    Entry("class folder that is a link out", _folder_out, REFUSED, f"{OUT}|no fear"),
    Entry("class folder that is a link to the root", lambda root: (root / "train/fear").symlink_to(".."), READ),
    Entry("class folder that is a link to itself", lambda root: (root / "train/fear").symlink_to("fear"), READ),
    Entry("class folder that is a link to another", lambda root: (root / "train/angry").symlink_to("anger"), READ),
    Entry("root that is a link", _root_is_a_link, READ),
    labels_out("fer2013", "fer2013.csv", "beside.png"),
    labels_out("ferplus", "fer2013new.csv", "fer2013.csv"),
    labels_out(
        "emotion", "Emotion/S005/001/S005_001_00000001_emotion.txt", "cohn-kanade-images/S005/001/S005_001_00000001.png"
    ),
    labels_out("expression", "train_set/annotations/0_exp.npy", "train_set/images/0.png"),
    # What is no file.
    place("pipe", lambda folder: os.mkfifo(folder / "hostile.png"), LEFT_OUT, ORDINARY),
    place("pipe of another name", lambda folder: os.mkfifo(folder / "pipe"), READ),
    place("pipe called labels.csv", lambda folder: os.mkfifo(folder.parents[1] / "labels.csv"), READ),
    place("pipe called faces.json", lambda folder: os.mkfifo(folder.parents[1] / "faces.json"), READ),
    place("socket", _socket, LEFT_OUT, ORDINARY),
    place("device", _device, LEFT_OUT, ORDINARY),
    place("folder called like a picture", lambda folder: (folder / "hostile.png").mkdir(), READ),
    place("hidden picture", lambda folder: (folder / ".hostile.png").write_bytes(b"?"), READ),
    place("file without an ending", lambda folder: (folder / "png").write_bytes(b"?"), READ),
    place("program beside the pictures", lambda folder: (folder / "sitecustomize.py").write_text("1/0"), READ),
    place("empty class folder", lambda folder: (folder.parent / "fear").mkdir(), REFUSED, "none in train/fear"),
]
