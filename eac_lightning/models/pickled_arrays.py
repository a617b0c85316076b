"""Arrays that others have pickled, read without running what the pickle asks for.

A pickle is a program: it names functions and has them called. Here every name that a numpy array needs means a
recorder, which keeps what it is given and does nothing; every other name is refused. numpy itself sees bytes, a
shape and a plain number type, all checked, and never an object that the pickle has made. What is read takes no more
memory than a small multiple of the file.
"""

import pickle
import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eac_lightning.errors import CheckpointError

_NUMBERS = re.compile("[biuf][1248]")

_MOST_ARGUMENTS = 4 + 64
"""Of ``_frombuffer``: numpy's arrays have up to 64 axes."""

_MOST_COPIES = 8
"""Names may share an array, but a few bytes each would do to fill any memory with copies of it."""


class _Recorder:
    # Defaults, because a pickle may make an object without calling __init__.
    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        if len(arguments) > _MOST_ARGUMENTS:  # a few bytes can ask again and again for a copy of a long tuple
            raise TypeError(f"it gives {len(arguments)} arguments")
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reconstruct(_Recorder): ...


class _FromBuffer(_Recorder): ...


class _Scalar(_Recorder): ...


class _DType(_Recorder): ...


class _Encode(_Recorder): ...


class _Dict(dict[str, Any]):
    """A dict or OrderedDict of names.

    Any other key is refused: Python hashes a tuple by recursion, and a deeply nested one ends the process.
    """

    pairs: Iterable[tuple[str, Any]] = ()

    def __init__(self, pairs: Iterable[tuple[str, Any]] = ()) -> None:
        self.pairs = pairs  # of Python 2; only those of the outermost are asked for, and copied

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"it has a {type(key).__name__} where a name should be")
        super().__setitem__(key, value)

    def __setstate__(self, state: Any) -> None:
        """Attributes of an OrderedDict are no arrays."""


_CORES = ("numpy.core", "numpy._core")  # before and from numpy 2
_MEANINGS: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Recorder,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _Encode,
    ("__builtin__", "bytes"): _Encode,  # called with nothing: how protocols 0 to 2 write no bytes
    ("collections", "OrderedDict"): _Dict,
    **{(f"{core}.multiarray", "_reconstruct"): _Reconstruct for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _Scalar for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _FromBuffer for core in _CORES},
}


class _Opcodes(dict[int, Any]):
    def __missing__(self, opcode: int) -> Any:
        raise pickle.UnpicklingError(f"invalid load key, {chr(opcode)!r}")


def _empty_dict(reader: Any) -> None:
    reader.append(_Dict())


def _dict(reader: Any) -> None:
    made = _Dict()
    items = reader.pop_mark()
    for key, value in zip(items[::2], items[1::2], strict=True):
        made[key] = value
    reader.append(made)


# Sets hash what they hold, too, and extensions are looked up past find_class.
_REFUSED = {code[0] for code in (pickle.EMPTY_SET, pickle.FROZENSET, pickle.EXT1, pickle.EXT2, pickle.EXT4)}
_OPCODES = _Opcodes({code: load for code, load in pickle._Unpickler.dispatch.items() if code not in _REFUSED})
_OPCODES |= {pickle.EMPTY_DICT[0]: _empty_dict, pickle.DICT[0]: _dict}
# Python's own makes an array of whatever length is said before it looks for the content.
_OPCODES[pickle.BYTEARRAY8[0]] = _OPCODES[pickle.BINBYTES8[0]]


class _Unpickler(pickle._Unpickler):
    """The one that is written in Python.

    The one in C keeps what a pickle wants to recall in a list as long as the greatest number that it names: twelve
    bytes make it ask for tens of gigabytes. Here that is a dict.
    """

    dispatch = _OPCODES

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _MEANINGS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return _MEANINGS[module, name]


def read_pickled_arrays(path: str | Path) -> dict[str, Tensor]:
    """Read a pickle of a dict of numpy arrays, written by Python 2 or 3, without executing anything.

    Args:
        path: The file, such as ``resnet50_ft_weight.pkl``. Arrays of booleans, integers and floats of up to 64
            bits are read, and numpy's scalars as tensors of no dimension.

    Raises:
        CheckpointError: If the file asks for anything but such arrays, or is no whole pickle of a dict.
    """
    try:
        # From memory, which gives no more than there is: a file makes room for whatever length is asked for.
        raw = Path(path).read_bytes()
        # Python 2 wrote the bytes of an array as a text; latin1 gives them back one by one.
        return _tensors(_Unpickler(BytesIO(raw), encoding="latin1").load(), _MOST_COPIES * len(raw))
    except Exception as error:  # a damaged or a malicious pickle ends in almost any of them
        ends = "it ends too soon" if isinstance(error, EOFError) else ""
        reason = ends or " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise CheckpointError(
            f"{path} is neither a torch file nor a pickle of arrays that loads safely: {reason}. "
            "Nothing of it was executed. Expected a torch file, .safetensors, or a pickled dict of numpy arrays of "
            "numbers; if it should be one of these, it is damaged: fetch it again."
        ) from error


def _tensors(content: object, room: int) -> dict[str, Tensor]:
    """Return the arrays of a dict, as long as they are of no more than ``room`` bytes."""
    if not isinstance(content, _Dict):
        raise TypeError(f"it holds no dict but a {type(content).__name__}")
    for key, value in content.pairs:
        content[key] = value
    tensors = {}
    for key, record in content.items():
        tensors[key] = _tensor(record, key)
        room -= tensors[key].nbytes
        if room < 0:
            raise ValueError(f"its arrays hold more than {_MOST_COPIES} times what the file does")
    return tensors


def _tensor(record: object, key: str) -> Tensor:
    order: Any = "C"
    axes: list[Any] = []
    match record:
        case _Reconstruct():
            _, shape, dtype, fortran, data = record.state
            order = "F" if fortran else "C"
        case _FromBuffer():
            data, dtype, shape, order, *axes = record.arguments
        case _Scalar():
            (dtype, data), shape = record.arguments, ()
        case _:
            raise TypeError(f"{key!r} is no array but a {type(record).__name__}")
    number = _dtype(dtype, key)
    array = np.frombuffer(_bytes(data), number)
    # Axes come with the order "K": as they lie in memory, and then permuted.
    array = array.reshape(shape, order="C").transpose(*axes) if axes else array.reshape(shape, order=order)
    return torch.from_numpy(array.astype(number.newbyteorder("=")))


def _dtype(record: object, key: str) -> np.dtype[Any]:
    if not isinstance(record, _DType):
        raise TypeError(f"the type of {key!r} is a {type(record).__name__}")
    code, (_, order, *parts) = record.arguments[0], record.state[:5]
    if not _NUMBERS.fullmatch(code) or any(part is not None for part in parts):
        raise TypeError(f"{key!r} is an array of {code!r}, not of plain numbers")
    number: np.dtype[Any] = np.dtype(code).newbyteorder(order)
    return number


def _bytes(data: object) -> bytes | bytearray:
    if isinstance(data, _Encode):
        data, encoding = data.arguments or ("", "latin1")
        if encoding != "latin1":
            raise ValueError(f"it asks for the codec {encoding!r}, which no array needs")
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise TypeError(f"the content of an array is a {type(data).__name__}")
    return data
