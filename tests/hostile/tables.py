"""Tables that nobody should write, and some that people do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from eac_lightning.data.layouts import fer2013, ferplus, rafdb
from tests.hostile.corpus import LEFT_OUT, READ, REFUSED, Entry, encode, noise, outside

NAMES = ("happy", "sad", "angry")
ROWS = [(f"faces/{i}.png", NAMES[i % 3]) for i in range(6)]
GOOD = "".join(f"{path},{label}\n" for path, label in ROWS)


def tabled(root: Path) -> Path:
    """Make six pictures that a table may name, and one beside them that it may not."""
    outside(root.parent)
    (root / "faces").mkdir(parents=True)
    for i in range(8):
        (root / f"faces/{i}.png").write_bytes(encode(noise((8, 8), i)))
    return root


def table(name: str, content: str | bytes, expected: str, says: str = "", file: str = "labels.csv") -> Entry:
    def make(root: Path) -> None:
        (root / file).write_bytes(content if isinstance(content, bytes) else content.encode())

    return Entry(f"{file.rpartition('.')[2]} {name}", make, expected, says)


def good(header: str = "path,label", more: str = "", before: str = "") -> str:
    return f"{header}\n{before}{GOOD}{more}"


def path(name: str, named: str, expected: str, says: str = "") -> Entry:
    """A table with one more row, which names the given path."""
    cell = '"' + named.replace('"', '""') + '"'
    return table(f"path {name}", good(more=f"{cell},happy\n"), expected, says)


def label(name: str, text: str, expected: str, says: str = "") -> Entry:
    """A table with a label more, on two rows."""
    return table(f"label {name}", good(more=f"faces/6.png,{text}\nfaces/7.png,{text}\n"), expected, says)


def parquet(name: str, columns: Callable[[], Any], expected: str, says: str = "") -> Entry:
    def make(root: Path) -> None:
        made = columns()
        if isinstance(made, bytes):
            (root / "labels.parquet").write_bytes(made)
        else:
            pq.write_table(made if isinstance(made, pa.Table) else pa.table(made), root / "labels.parquet")

    return Entry(f"parquet {name}", make, expected, says)


def _labelled(values: Any) -> dict[str, Any]:
    return {"path": [row[0] for row in ROWS], "label": values}


def _cut_parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(_labelled(list(NAMES) * 2)), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content[: len(content) // 2]


def _wrong_utf8() -> pa.Table:
    offsets = pa.py_buffer(b"".join(i.to_bytes(4, "little") for i in range(7)))
    strings = pa.StringArray.from_buffers(6, offsets, pa.py_buffer(b"ab\xff\xfeab"))
    return pa.table(_labelled(strings))


def _wrong_metadata() -> pa.Table:
    return pa.table(_labelled(list(NAMES) * 2)).replace_schema_metadata({b"pandas": b"{not json"})


OUTSIDE = "row 8 of labels.csv leads out of .*allow_outside=True"
TABLES = [
    table("empty", b"", REFUSED, "Cannot read the table .*labels.csv"),
    table("of a mark of order alone", b"\xef\xbb\xbf", REFUSED, "Cannot read the table"),
    table("of blank lines", "\n\n\r\n", REFUSED, "Cannot read the table"),
    table("of blanks", "   \n  \n", REFUSED, "Cannot read the table"),
    table("of a header alone", "path,label\n", REFUSED, "No labelled picture"),
    table("without labels", good("path,emotion"), REFUSED, "column 'label'"),
    table("without paths", good("file,label"), REFUSED, "column 'path'"),
    table("without a header", GOOD, REFUSED, "column 'path'"),
    table("with two columns label", good("path,label,label").replace("png,", "png,sad,"), REFUSED, r"more than once .*label"),
    table("with two columns path", good("path,path,label").replace("png,", "png,x.png,"), REFUSED, r"more than once .*path"),
    table("with two columns label but for blanks", good("path,label, label ").replace("png,", "png,sad,"), REFUSED, "more than once"),
    table("with a field more in every line", good().replace("png,", "png,sad,").replace("path,label", "path,label", 1), REFUSED, "expected 2 fields in line 2, .* found 3"),
    table("with a field more in one line", good(more="faces/6.png,sad,x\n"), REFUSED, "expected 2 fields in line 8, .* found 3"),
    table("with a comma after every line", good().replace("\n", ",\n"), READ),
    table("with a comma after every line but the header", good().replace("\n", ",\n").replace("label,", "label", 1), REFUSED, "expected 2 fields in line 2, .* found 3. Remove separators at the end"),
    table("with a short line", good(more="faces/6.png\n"), READ),
    table("with an unnamed column of numbers", good(",path,label").replace("faces", "0,faces"), READ),
    table("with a mark of order", "\ufeff" + good(), READ),
    table("with lines of Windows", good().replace("\n", "\r\n"), READ),
    table("with lines of an old Mac", good().replace("\n", "\r"), READ),
    table("with mixed lines", good().replace("\n", "\r\n", 3), READ),
    table("without a last line end", good()[:-1], READ),
    table("with blank lines", good().replace("\n", "\n\n"), READ),
    table("with semicolons", good().replace(",", ";"), READ),
    table("with tabs", good().replace(",", "\t"), READ),
    table("with bars", good().replace(",", "|"), READ),
    table("with colons", good().replace(",", ":"), REFUSED, "column 'path'"),
    table("with blanks between", good().replace(",", " "), REFUSED, "column 'path'"),
    table("with commas", good(), REFUSED, "column 'path'", "labels.tsv"),
    table("with tabs", good().replace(",", "\t"), READ, "", "labels.tsv"),
    table("with a header of another separator", "path;label\n" + GOOD, REFUSED, "label|path"),
    table("of comments", "# by me\n" + good(), REFUSED, "expected 1 fields|column 'path'"),
    table("quoted throughout", '"path","label"\n' + "".join(f'"{a}","{b}"\n' for a, b in ROWS), READ),
    table("with a quote never closed", good(more='"faces/6.png,sad\n'), REFUSED, "Cannot read the table .*quote in line 8 is never closed"),
    table("with a quote open from the start", '"' + good(), REFUSED, "Cannot read the table .*quote in line 1 is never closed"),
    table("with a quote within", good(more='fa"ces/6.png,sad\n'), LEFT_OUT, "no such file"),
    table("in UTF-16", good().encode("utf-16"), READ),
    table("in UTF-16, high byte first", b"\xfe\xff" + good().encode("utf-16-be"), READ),
    table("in UTF-16 without a mark", good().encode("utf-16-le"), REFUSED, "found a NUL in line 1"),
    table("in half a UTF-16", good().encode("utf-16")[:-1], REFUSED, "expected text in UTF-8"),
    table("in UTF-32", good().encode("utf-32"), REFUSED, "Cannot read the table"),
    table("in latin-1", good(more="faces/é.png,sad\n").encode("latin-1"), REFUSED, "UTF-8.* in line 8"),
    table("with a NUL in a name", good(more="faces/6\0.png,sad\n"), REFUSED, "found a NUL in line 8"),
    table("of NULs", bytes(1000), REFUSED, "found a NUL in line 1"),
    table("of a picture", encode(noise()), REFUSED, "Cannot read the table"),
    table("of html", "<!DOCTYPE html>\n<a href='x,y'>", REFUSED, "labels.csv"),
    table("of a million commas", "," * 10**6, REFUSED, "at most 1000 columns"),
    table("of one long line", "x" * 10**6, REFUSED, "at most 1000 columns"),
    table("of 900 columns", ",".join(["path", "label", *map(str, range(898))]) + "\n" + GOOD, READ),
    table("with votes below zero", good("path,label,votes_happy").replace("png,", "png,").replace("\n", ",-1\n").replace("happy,-1", "happy", 1), REFUSED, "counts of votes"),
    table("with splits that are none", good("path,label,split").replace("happy", "happy,fold1"), REFUSED, "fold1"),
    table("with splits of some", good("path,label,split").replace("happy", "happy,train"), REFUSED, "for every row or for none"),
    table("twice the same rows", good(more=GOOD), REFUSED, "one label a picture"),
    table("of another data set", good().replace("faces/", "elsewhere/"), REFUSED, "No labelled picture is left|6 are missing"),
    # Paths.
    path("to a picture outside", "../outside/secret.png", LEFT_OUT, OUTSIDE),
    path("to a picture outside by way of a folder", "faces/../../outside/secret.png", LEFT_OUT, OUTSIDE),
    path("up and back in", "faces/../faces/6.png", LEFT_OUT, OUTSIDE),
    path("with backslashes upwards", "..\\outside\\secret.png", LEFT_OUT, OUTSIDE),
    path("that is absolute", "/etc/passwd", LEFT_OUT, OUTSIDE),
    path("of a device", "/dev/zero", LEFT_OUT, OUTSIDE),
    path("of the home", "~/secret.png", LEFT_OUT, "no such file"),
    path("of a web page", "https://example.org/a.png", LEFT_OUT, "no such file"),
    path("of a file by its address", "file:///etc/passwd", LEFT_OUT, "no such file"),
    path("of Windows", "C:\\faces\\6.png", LEFT_OUT, "no such file"),
    path("of a share", "\\\\host\\share\\6.png", LEFT_OUT, "no such file"),
    path("of a command", "$(touch executed)", LEFT_OUT, "no such file"),
    path("of a pipe", "| touch executed", LEFT_OUT, "no such file"),
    path("of a folder", "faces", LEFT_OUT, "not an ordinary file"),
    path("of this folder", ".", LEFT_OUT, "not an ordinary file"),
    path("of nothing", "", REFUSED, "1 have none"),
    path("NaN", "NaN", REFUSED, "1 have none"),
    path("with a slash at its end", "faces/6.png/", LEFT_OUT, "no such file"),
    path("of 300 characters", "x" * 300, LEFT_OUT, "File name too long"),
    path("of 5000 characters", "x/" * 2500, LEFT_OUT, "File name too long"),
    path("with a newline", "faces/new\nline.png", LEFT_OUT, "rename it"),
    path("with an escape", "faces/\x1b[2J.png", LEFT_OUT, "rename it"),
    # Labels.
    label("NaN", "NaN", READ),
    label("nan", "nan", READ),
    label("of blanks", "   ", READ),
    label("as a number among names", "3", READ),
    label("3.0", "3.0", READ),
    label("-0", "-0", READ),
    label("-1", "-1", READ),
    label("1e400", "1e400", READ),
    label("of 5000 digits", "9" * 5000, READ),
    label("of 10000 characters", "x" * 10_000, READ),
    label("True", "True", READ),
    label("formula", "=cmd()", READ),
    label("formula of a command", "\"=cmd|' /C touch executed'!A0\"", READ),
    label("of a script", "<script>alert(1)</script>", READ),
    label("of a path", "../../outside", READ),
    label("of markup", "[bold red]x", READ),
    label("of another alphabet", "٣", READ),
    label("of a face", "\U0001f600", READ),
    label("with a newline", '"new\nline"', REFUSED, "Classes in .*rename them"),
    label("with an escape", "\x1b[31m", REFUSED, "Classes in .*rename them"),
    table("of whole numbers", "path,label\n" + "".join(f"{p},{i % 3}\n" for i, (p, _) in enumerate(ROWS)), READ),
    table("of numbers with points", "path,label\n" + "".join(f"{p},{i % 3}.0\n" for i, (p, _) in enumerate(ROWS)), READ),
    table("of -0 and 1", "path,label\n" + "".join(f"{p},{('-0', '1')[i % 2]}\n" for i, (p, _) in enumerate(ROWS)), READ),
    table("of -1 and 1", "path,label\n" + "".join(f"{p},{('-1', '1')[i % 2]}\n" for i, (p, _) in enumerate(ROWS)), REFUSED, "of 0 or above"),
    table("of numbers beyond 64 bits", "path,label\n" + "".join(f"{p},{10**(20 + i % 2)}\n" for i, (p, _) in enumerate(ROWS)), READ),
    table("of one class", "path,label\n" + "".join(f"{p},sad\n" for p, _ in ROWS), REFUSED, "at least two classes"),
    table("of a class a picture", "path,label\n" + "".join(f"{p},{i}\n" for i, (p, _) in enumerate(ROWS)), READ),
    # Parquet.
    parquet("empty", lambda: b"", REFUSED, "Cannot read the table .*labels.parquet"),
    parquet("of text", lambda: good().encode(), REFUSED, "Cannot read the table"),
    parquet("cut in half", _cut_parquet, REFUSED, "Cannot read the table"),
    parquet("of its signature", lambda: b"PAR1" * 10, REFUSED, "Cannot read the table"),
    parquet("without columns", lambda: pa.table({}), REFUSED, "column 'path'"),
    parquet("without rows", lambda: {"path": pa.array([], "string"), "label": pa.array([], "string")}, REFUSED, "No labelled picture"),
    parquet("with two columns label", lambda: pa.Table.from_arrays([pa.array(list("abc"))] * 3, names=["path", "label", "label"]), REFUSED, "labels.parquet"),
    parquet("with metadata that is damaged", _wrong_metadata, REFUSED, "Cannot read the table"),
    parquet("with text that is not UTF-8", _wrong_utf8, REFUSED, "Cannot read the (table|data set)"),
    parquet("with labels missing", lambda: _labelled(["happy", None, "happy", "sad", "sad", None]), READ),
    parquet("with labels NaN", lambda: _labelled([0.0, 1.0, float("nan"), 1.0, 0.0, 1.0]), READ),
    parquet("with labels infinite", lambda: _labelled([0.0, 1.0, float("inf"), 1.0, 0.0, float("inf")]), READ),
    parquet("with labels that are lists", lambda: _labelled([[1], [2], [1], [2], [1], [2]]), READ),
    parquet("with labels that are records", lambda: _labelled([{"a": 1}, {"a": 2}] * 3), READ),
    parquet("with labels that are bytes", lambda: _labelled([b"\xff", b"b"] * 3), REFUSED, "Cannot read the data set"),
    parquet("with labels that are true or false", lambda: _labelled([True, False] * 3), READ),
    parquet("with labels that are dates", lambda: _labelled(pd.to_datetime(["2001-01-01", "2002-02-02"] * 3)), READ),
    parquet("with labels beyond 63 bits", lambda: _labelled(pa.array([2**64 - 1, 0] * 3, "uint64")), READ),
    parquet("with paths that are numbers", lambda: {"path": list(range(6)), "label": list(NAMES) * 2}, REFUSED, "No labelled|missing"),
    parquet("with paths that lead out", lambda: {"path": ["../outside/secret.png", *(p for p, _ in ROWS[1:])], "label": list(NAMES) * 2}, LEFT_OUT, "row 2 of labels.parquet leads out"),
]  # fmt: skip


def table_that_is_a_link(root: Path) -> None:
    (root.parent / "outside" / "labels.csv").write_text(good())
    (root / "labels.csv").symlink_to("../outside/labels.csv")


def table_that_is_a_link_inside(root: Path) -> None:
    (root / "faces" / "mine.csv").write_text(good())
    (root / "labels.csv").symlink_to("faces/mine.csv")


TABLES += [
    Entry("csv that is a link out", table_that_is_a_link, REFUSED, "leads out of it, by a link; .*allow_outside"),
    Entry("csv that is a link inside", table_that_is_a_link_inside, READ),
]

FACE = " ".join(str(i % 256) for i in range(fer2013.SIDE**2))
_FER = "".join(f"{i % 7},{FACE},{usage}\n" for usage in ("Training", "PublicTest", "PrivateTest") for i in range(8))


def fer(name: str, expected: str, says: str = "", more: str = "", header: str = "emotion,pixels,Usage", change: Any = None) -> Entry:  # fmt: skip
    content = f"{header}\n{_FER}{more}"
    content = content if change is None else change(content)
    return table(f"fer2013 {name}", content, expected, says, "fer2013.csv")


FER2013 = [
    fer("sound", READ),
    fer("empty", REFUSED, "columns emotion and pixels", change=lambda _: b""),
    fer("of a header alone", REFUSED, "only a header", change=lambda text: text.split("\n")[0]),
    fer("without pixels", REFUSED, "columns emotion and pixels", header="emotion,faces,Usage"),
    fer("with two columns emotion", REFUSED, "more than once", header="emotion,pixels,emotion"),
    fer("with a mark of order", READ, change=lambda text: "\ufeff" + text),
    fer("with lines of Windows", READ, change=lambda text: text.replace("\n", "\r\n")),
    fer("with blank lines", READ, change=lambda text: text.replace("\n", "\n\n")),
    fer("in UTF-16", REFUSED, "fer2013.csv|data set", change=lambda text: text.encode("utf-16")),
    fer("in latin-1", REFUSED, "Cannot read the data set", more="é", change=lambda text: text.encode("latin-1")),
    fer("with semicolons", REFUSED, "columns emotion and pixels", change=lambda text: text.replace(",", ";")),
    fer("of a picture", REFUSED, "columns emotion and pixels", change=lambda _: encode(noise())),
    fer("with a quote never closed", REFUSED, "Cannot read the data set", more=f'0,"{FACE},Training\n'),
    fer("with a field of a million characters", REFUSED, "field larger", more=f"0,{'1 ' * 500_000},Training\n"),
    fer("with commas between pixels", LEFT_OUT, "expected 3 fields", more=f"0,{FACE.replace(' ', ',')},Training\n"),
    fer("with a field more", LEFT_OUT, "expected 3 fields, but found 4", more=f"0,{FACE},Training,x\n"),
    fer("with a short line", LEFT_OUT, "expected 3 fields, but found 1", more="0\n"),
    *(
        fer(
            f"with emotion {ascii(emotion)[:9]}",
            LEFT_OUT,
            "expected an emotion from 0 to 6",
            more=f"{emotion},{FACE},Training\n",
        )
        for emotion in ("7", "-1", "-0", "1e400", "0.0", "NaN", "", "=cmd()", "٣", "9" * 5000)
    ),
    *(
        fer(
            f"with pixel {ascii(pixel)[:9]}",
            LEFT_OUT,
            "expected pixels|expected 2304",
            more=f"0,{FACE} {pixel},Training\n",
        )
        for pixel in ("1", "-1", "NaN", "1e400", "0x10", "1.5", "9" * 30, "\0", "٣", "grey")
    ),
    fer("with pixels beyond 32 bits", LEFT_OUT, "expected pixels", more=f"0,{FACE[:-3]}{2**32},Training\n"),
    fer("with a usage of its own", LEFT_OUT, "Usage such as Training", more=f"0,{FACE},Sometimes\n"),
]

_VOTES = ",".join(ferplus.COLUMNS)


def votes(name: str, expected: str, says: str = "", change: Any = None) -> Entry:
    usages = [line.rpartition(",")[2] for line in _FER.splitlines()]
    rows = [",".join("8" if k == i % 8 else "1" for k in range(len(ferplus.COLUMNS))) for i in range(len(usages))]
    content = f"Usage,Image name,{_VOTES}\n" + "".join(f"{u},x.png,{r}\n" for u, r in zip(usages, rows, strict=True))
    content = content if change is None else change(content)

    def make(root: Path) -> None:
        (root / "fer2013.csv").write_text(f"emotion,pixels,Usage\n{_FER}")
        (root / "fer2013new.csv").write_bytes(content if isinstance(content, bytes) else content.encode())

    return Entry(f"ferplus {name}", make, expected, says)


FERPLUS = [
    votes("sound", READ),
    votes("empty", REFUSED, "fer2013new.csv", lambda _: b""),
    votes("with a row less", REFUSED, "row for row", lambda text: text[: text.rindex("Priv")]),
    votes("with votes of a half", REFUSED, "counts of votes", lambda text: text.replace(",8", ",8.5", 1)),
    votes("with votes below zero", REFUSED, "counts of votes", lambda text: text.replace(",8", ",-8", 1)),
    votes("with votes NaN", REFUSED, "counts of votes", lambda text: text.replace(",8", ",NaN", 1)),
    votes("with votes beyond 32 bits", REFUSED, "counts of votes", lambda text: text.replace(",8", f",{2**32}", 1)),
    votes("with a column less", REFUSED, "columns contempt", lambda text: text.replace("contempt", "scorn")),
    votes("with two columns fear", REFUSED, "more than once", lambda text: text.replace("contempt", "fear")),
    votes("with a field more", REFUSED, "expected 12 fields", lambda text: text.replace(",8", ",8,8", 1)),
    votes("in UTF-16", READ, "", lambda text: text.encode("utf-16")),
    votes("with lines of Windows", READ, "", lambda text: text.replace("\n", "\r\n")),
    votes("in latin-1", REFUSED, "UTF-8", lambda text: text.replace("x.png", "é", 1).encode("latin-1")),
]

_RAF = [(f"{split}_{i}.jpg", i % 7 + 1) for split in ("train", "test") for i in range(14)]


def raf(name: str, expected: str, says: str = "", more: str = "", change: Any = None) -> Entry:
    content = "".join(f"{file} {code}\n" for file, code in _RAF) + more
    content = content if change is None else change(content)

    def make(root: Path) -> None:
        (root / rafdb.IMAGES).mkdir(parents=True)
        (root / "EmoLabel").mkdir()
        for file, _ in _RAF:
            (root / rafdb.IMAGES / file.replace(".", "_aligned.")).write_bytes(encode(noise(), "jpeg"))
        (root / rafdb.LABELS).write_bytes(content if isinstance(content, bytes) else content.encode())

    return Entry(f"rafdb {name}", make, expected, says)


RAFDB = [
    raf("sound", READ),
    raf("empty", REFUSED, "list_patition_label|No labelled|no pictures", change=lambda _: b""),
    raf("with a mark of order", READ, change=lambda text: "\ufeff" + text),
    raf("with lines of Windows", READ, change=lambda text: text.replace("\n", "\r\n")),
    raf("in UTF-16", READ, change=lambda text: text.encode("utf-16")),
    raf("in latin-1", REFUSED, "UTF-8", more="train_é.jpg 1\n", change=lambda text: text.encode("latin-1")),
    raf("with a NUL", REFUSED, "found a NUL", more="train_\0.jpg 1\n"),
    raf("of a picture", REFUSED, "list_patition_label", change=lambda _: encode(noise())),
    raf("with a picture twice", REFUSED, "more than once", more="train_1.jpg 5\n"),
    *(raf(f"with class {code!a}", REFUSED, "class from 1 to 7", more=f"train_99.jpg {code}\n") for code in ("0", "8", "-1", "1.0", "1e400", "NaN", "٣", "=cmd()")),
    raf("with a name that leads out", LEFT_OUT, "leads out of", more="train_/../../../../outside/secret.png 1\n"),
    raf("with a name of 300 characters", LEFT_OUT, "File name too long", more=f"train_{'x' * 300}.jpg 1\n"),
    raf("without a class", REFUSED, "class from 1 to 7", more="train_99.jpg\n"),
]  # fmt: skip
