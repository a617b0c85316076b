"""Tables that are text: CSV and the like, whoever wrote them."""

import codecs
import re
from collections import Counter
from io import BytesIO
from pathlib import Path

import pandas as pd

from eac_lightning.errors import DataError

MAX_COLUMNS = 1000
_LONGEST_HEADER = 100_000
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path, what: str = "table") -> str:
    """Return the text of a file in UTF-8, or in UTF-16 where its first bytes say so, without these.

    Args:
        path: The file.
        what: What an error calls it.

    Raises:
        DataError: It is no ordinary file, cannot be read, or is not such text.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise DataError(f"Cannot read the {what} {path}: it is not an ordinary file.")
        raw = path.read_bytes()
        text = raw.decode("utf-16" if raw.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"Cannot read the {what} {path}: expected text in UTF-8, but found other bytes in line {line}. "
            "Save it as UTF-8 (in a spreadsheet: CSV UTF-8)."
        ) from error
    except OSError as error:
        raise DataError(f"Cannot read the {what} {path}: {error.strerror}.") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"Cannot read the {what} {path}: expected text, but found a NUL in line {line}. Save it again.")
    return text


def read_text_table(path: Path, what: str = "table") -> pd.DataFrame:
    """Return a table as text, its first line the names of the columns; missing fields at the end of a line are "".

    The separator is tab in ``.tsv``, else whichever of ``, ; tab |`` the first line has most of.

    Args:
        path: The file.
        what: What an error calls it.

    Raises:
        DataError: It cannot be read, has a column twice, a line with more fields than columns, or an open quote.
    """
    text = read_text(path, what).lstrip("\r\n")
    header = "".join(text[:_LONGEST_HEADER].splitlines()[:1])
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=header.count)
    if len(header) == _LONGEST_HEADER or header.count(separator) >= MAX_COLUMNS:
        raise DataError(
            f"Cannot read the {what} {path}: expected the names of at most {MAX_COLUMNS} columns in its first line, "
            "but it is longer."
        )
    try:
        # As a header, the first line would hide a field too many in the next, and rename columns of one name.
        lines = pd.read_csv(BytesIO(text.encode()), sep=separator, header=None, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise DataError(f"Cannot read the {what} {path}: {_in_words(str(error).strip())}.") from error
    names = lines.iloc[0].fillna("").str.strip().tolist()
    if twice := [name for name, count in Counter(names).items() if name and count > 1]:
        raise DataError(f"Columns that {path} has more than once ({len(twice)}): {', '.join(twice)}.")
    named = [name or f"Unnamed: {position}" for position, name in enumerate(names)]
    return lines[1:].fillna("").set_axis(named, axis=1).reset_index(drop=True)


def _in_words(error: str) -> str:
    """Return what pandas says of a table it cannot take apart, and what to do about it."""
    if more := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", error):
        return (
            f"expected {more[1]} fields in line {more[2]}, as in the first, but found {more[3]}. Remove separators at "
            "the end of lines, or give them to the first line too; put text that holds one in double quotes"
        )
    if opened := re.search(r"EOF inside string starting at row (\d+)", error):
        return f"a double quote in line {int(opened[1]) + 1} is never closed. Close it, or write it twice"
    return "it is empty" if "No columns" in error else error
