"""Arrays that others have pickled, read without running what the pickle asks for.

A pickle is a program: it names functions and has them called. Here every name that a numpy array needs means a
recorder, which keeps what it is given and does nothing; every other name is refused. numpy itself sees bytes, a
shape and a plain number type, all checked, and never an object that the pickle has made.
"""

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eac_lightning.errors import CheckpointError

_NUMBERS = re.compile("[biuf][1248]")


class _Recorder:
    # Defaults, because a pickle may make an object without calling __init__.
    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reconstruct(_Recorder): ...


class _FromBuffer(_Recorder): ...


class _Scalar(_Recorder): ...


class _DType(_Recorder): ...


class _Encode(_Recorder): ...


_CORES = ("numpy.core", "numpy._core")  # before and from numpy 2
_MEANINGS: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Recorder,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _Encode,
    ("collections", "OrderedDict"): OrderedDict,
    **{(f"{core}.multiarray", "_reconstruct"): _Reconstruct for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _Scalar for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _FromBuffer for core in _CORES},
}


class _Unpickler(pickle.Unpickler):
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
        with Path(path).open("rb") as file:
            # Python 2 wrote the bytes of an array as a text; latin1 gives them back one by one.
            content = _Unpickler(file, encoding="latin1").load()
        if not isinstance(content, dict):
            raise TypeError(f"it holds no dict but a {type(content).__name__}")  # noqa: TRY301 one message for all
        return {str(key): _tensor(value, str(key)) for key, value in content.items()}
    except Exception as error:  # a damaged or a malicious pickle ends in almost any of them
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise CheckpointError(
            f"{path} is neither a torch file nor a pickle of arrays that loads safely: {reason}. "
            "Nothing of it was executed. Expected a torch file, .safetensors, or a pickled dict of numpy arrays of "
            "numbers; if it should be one of these, it is damaged: fetch it again."
        ) from error


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
        data, encoding = data.arguments
        if encoding != "latin1":
            raise ValueError(f"it asks for the codec {encoding!r}, which no array needs")
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise TypeError(f"the content of an array is a {type(data).__name__}")
    return data
