"""Arrays of every pickle protocol are read, and nothing else is: no call that a pickle asks for takes place."""

import os
import pickle
import struct
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eac_lightning.errors import CheckpointError
from eac_lightning.models.pickled_arrays import read_pickled_arrays
from eac_lightning.models.weights import read_checkpoint

ARRAYS = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "permuted": np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4).transpose(0, 3, 1, 2),
    "big_endian": np.array([1.5, -2.0], dtype=">f4"),
    "half": np.array([0.5], dtype=np.float16),
    "bytes": np.array([0, 255], dtype=np.uint8),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float32),
    "count": np.array(7),
    "scalar": np.float32(1.25),
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(content: Any, protocol: int = 4, path: str = "weights.pkl") -> Path:
    Path(path).write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return Path(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_arrays_come_back_as_they_were(protocol: int, kind: type) -> None:
    found = read_pickled_arrays(write(kind(ARRAYS), protocol))
    assert list(found) == list(ARRAYS)
    for key, array in ARRAYS.items():
        assert found[key].shape == array.shape
        assert np.array_equal(found[key].numpy(), array), key
        assert found[key].numpy().dtype == array.dtype.newbyteorder("="), key


def python2(arrays: dict[str, np.ndarray]) -> bytes:
    """Return the pickle of protocol 2 that Python 2 makes of float32 arrays, opcode by opcode."""
    parts = [b"\x80\x02}("]
    for key, array in arrays.items():
        data = array.astype("<f4").tobytes()
        shape = b"(" + b"".join(b"J" + struct.pack("<i", side) for side in array.shape) + b"t"
        parts += [
            b"U", bytes([len(key)]), key.encode(),
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01", shape,
            b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
            b"T", struct.pack("<i", len(data)), data, b"tb",
        ]  # fmt: skip
    return b"".join([*parts, b"u."])


def test_arrays_of_python_2_are_read() -> None:
    array = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    path = write(python2({"conv1.weight": array}))
    assert np.array_equal(pickle.loads(path.read_bytes(), encoding="latin1")["conv1.weight"], array)
    assert np.array_equal(read_pickled_arrays(path)["conv1.weight"].numpy(), array)


@pytest.mark.parametrize("name", ["weights.pkl", "weights.pth"])
def test_a_checkpoint_may_be_such_a_file_whatever_its_name(name: str) -> None:
    found: Any = read_checkpoint(write({"w": ARRAYS["matrix"]}, path=name))
    assert torch.equal(found["w"], torch.from_numpy(ARRAYS["matrix"]))


def test_a_torch_file_may_be_called_pkl() -> None:
    for zipped in (True, False):
        torch.save({"w": torch.ones(2)}, "weights.pkl", _use_new_zipfile_serialization=zipped)
        found: Any = read_checkpoint("weights.pkl")
        assert torch.equal(found["w"], torch.ones(2))


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


TOUCH = "open('executed', 'w').close()"


def object_array(content: Any) -> np.ndarray:
    array = np.empty(1, dtype=object)
    array[0] = content
    return array


MALICIOUS = {
    "system": (Calls(os.system, "touch executed"), "system"),
    "eval": ({"w": Calls(eval, TOUCH)}, "builtin.*eval"),
    "exec in a list": ([Calls(exec, TOUCH)], "builtin.*exec"),
    "torch": (Calls(torch.storage._load_from_bytes, b""), "torch.storage._load_from_bytes"),
    "nested": ({"w": object_array(Calls(os.system, "touch executed"))}, "system"),
    "objects": ({"w": object_array(1)}, "'w' is an array of 'O8'"),
    "texts": ({"w": np.array(["a"])}, "'w' is an array of 'U1'"),
    "records": ({"w": np.zeros(1, dtype=[("a", "O")])}, "'w' is an array of 'V8'"),
    "builtin": (b"cbuiltins\ngetattr\n(cnumpy\nndarray\nVtofile\ntR.", "builtins.getattr"),
    "submodule": (b"cnumpy.core.multiarray\nfromfile\n(Vx\ntR.", "numpy.core.multiarray.fromfile"),
    "attribute": (b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.", "numpy.ndarray.dumps"),
    "extension": (b"\x80\x02\x82\x01.", "invalid load key"),
    "persistent": (b"Vsomewhere\nQ.", "persistent"),
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_nothing_that_a_pickle_asks_for_is_done(name: str) -> None:
    content, message = MALICIOUS[name]
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(CheckpointError, match=rf"weights.pkl is neither .*{message}.*Nothing of it was executed"):
            read_checkpoint(write(content, protocol))
    assert not Path("executed").exists()


def test_the_files_above_do_execute_where_they_are_trusted() -> None:
    pickle.loads(pickle.dumps(MALICIOUS["eval"][0]))
    assert Path("executed").exists()


def array(dtype: bytes = b"", data: bytes = b"C\x04\x00\x00\x80?", codec: bytes = b"") -> bytes:
    """Return a dict of one array of one float32, some of its opcodes replaced."""
    state = b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return (
        b"\x80\x03}U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01K\x01\x85"
        + (dtype or b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R" + state)
        + b"\x89"
        + (codec or data)
        + b"tbs."
    )


def test_numpy_meets_nothing_but_numbers() -> None:
    assert read_pickled_arrays(write(array()))["w"].tolist() == [1.0]
    fields = b"(K\x03U\x01|NU\x01a\x85}U\x01acnumpy\ndtype\nU\x01OK\x00K\x01\x87RK\x00\x86sK\x08K\x01K\x00tb"
    for content, message in (
        # A record that hides its field of objects would have numpy take the bytes for pointers.
        (array(dtype=b"cnumpy\ndtype\nU\x02V8K\x00K\x01\x87R" + fields), "'w' is an array of 'V8'"),
        (array(dtype=b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R" + fields), "'w' is an array of 'f4', not of plain"),
        (array(dtype=b"cnumpy\ndtype\nU\x02b8K\x00K\x01\x87R(K\x03U\x01<NNNtb"), "b8"),
        (array(dtype=b"cnumpy\ndtype\n)R"), "not of plain|index out of range"),
        (array(dtype=b"U\x02f4"), "the type of 'w' is a str"),
        (array(codec=b"c_codecs\nencode\nX\x04\x00\x00\x00abcdX\x03\x00\x00\x00hex\x86R"), "codec 'hex'"),
        (array(data=b"J\xff\xff\xff\x7f"), "the content of an array is a int"),
        (array(data=b"C\x03abc"), "buffer size"),
        (array(data=b"C\x08abcdefgh"), "cannot reshape"),
        (b"\x80\x02}U\x01wcnumpy\nndarray\nK\xff\x85Rs.", "'w' is no array but a _Recorder"),
        (b"\x80\x02}U\x01wK\x01s.", "'w' is no array but a int"),
        (b"\x80\x02}U\x01wcnumpy.core.multiarray\n_reconstruct\n)\x81s.", "NoneType"),
        (b"\x80\x02]K\x01a.", "it holds no dict but a list"),
    ):
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(write(content))


def test_a_pickle_cannot_change_what_later_ones_mean() -> None:
    for name in (b"cnumpy\ndtype\n", b"ccollections\nOrderedDict\n", b"c_codecs\nencode\n"):
        for state in (b"}U\x09argumentsK\x01s", b"N}U\x09argumentsK\x01s\x86"):
            with pytest.raises(CheckpointError, match="neither a torch file nor a pickle of arrays"):
                read_pickled_arrays(write(b"\x80\x02" + name + state + b"b."))
    assert read_pickled_arrays(write(array()))["w"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it ends too soon"),
        (b"\x80\x02}U\x01w", "it ends too soon"),
        (b"just a text\n", "Memo value not found"),
        (b"<!DOCTYPE html>", "invalid load key, '<'"),
        (pickle.dumps(ARRAYS)[:-40], "exhausted before end of frame|it ends too soon"),
        (pickle.dumps(ARRAYS)[:30], "exhausted before end of frame"),
        (pickle.dumps(ARRAYS, 2)[:-2], "it ends too soon"),
    ],
)
@pytest.mark.parametrize("name", ["weights.pkl", "weights.pt"])
def test_a_damaged_file_is_named(content: bytes, message: str, name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"{name} is neither .*{message}.*fetch it again"):
        read_checkpoint(write(content, path=name))


def test_a_dict_may_come_as_pairs_or_at_once() -> None:
    pairs = b"]" + b"".join(b"](U\x01" + name + array()[6:-2] + b"ea" for name in (b"w", b"v"))
    for content in (
        b"\x80\x03ccollections\nOrderedDict\n" + pairs + b"\x85R.",
        b"\x80\x03(U\x01w" + array()[6:-2] + b"U\x01v" + array()[6:-2] + b"d.",
    ):
        found = read_pickled_arrays(write(content))
        assert {name: tensor.tolist() for name, tensor in found.items()} == {"w": [1.0], "v": [1.0]}
        assert list(found) == ["w", "v"]


def copies(count: int, floats: int) -> bytes:
    """Return a dict of arrays that share one content."""
    content = b"B" + struct.pack("<i", 4 * floats) + bytes(4 * floats) + b"q\x00"
    one = array(data=b"?").replace(b"K\x01\x85\x63", b"J" + struct.pack("<i", floats) + b"\x85\x63")[6:-2]
    names = (b"U\x04%04d" % number for number in range(count))
    return (
        b"\x80\x03}("
        + b"".join(n + one.replace(b"?", content if n[2:] == b"0000" else b"h\x00") for n in names)
        + b"u."
    )


def test_arrays_may_share_their_content() -> None:
    assert [tensor.shape for tensor in read_pickled_arrays(write(copies(3, 100))).values()] == [(100,)] * 3


DEEP = b")" + b"\x85" * 300_000
LARGE = b"(" + b"K\x00" * 10_000 + b"t"
BOMBS = {
    "memo": (b"\x80\x02K\x01r\xff\xff\xff\x7f.", "no dict but a int"),
    "memo of protocol 0": (b"I1\np99999999999\n.", "no dict but a int"),
    "bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"ab.", "ends too soon"),
    "bytearray": (b"\x80\x05\x96" + struct.pack("<Q", 1 << 32) + b"ab.", "ends too soon"),
    "text": (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"ab.", "ends too soon"),
    "string": (b"\x80\x02T\xff\xff\xff\x7fab.", "ends too soon"),
    "frame": (b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"K\x01.", "no dict but a int"),
    "integer": (b"\x80\x02\x8b\xff\xff\xff\x7fab.", "ends too soon"),
    "digits": (b"I" + b"9" * 100_000 + b"\n.", "Exceeds the limit"),
    "nested value": (b"\x80\x02}U\x01w" + DEEP + b"s.", "'w' is no array but a tuple"),
    "nested key": (b"\x80\x02}" + DEEP + b"K\x01s.", "it has a tuple where a name should be"),
    "nested key of many": (b"\x80\x02}(" + DEEP + b"K\x01u.", "it has a tuple where a name"),
    "nested key of a dict": (b"\x80\x02(" + DEEP + b"K\x01d.", "it has a tuple where a name"),
    "nested pair": (b"\x80\x02ccollections\nOrderedDict\n](" + DEEP + b"K\x01ta\x85R.", "it has a tuple where a name"),
    "nested in a set": (b"\x80\x04\x8f(" + DEEP + b"\x90.", "invalid load key"),
    "nested in a frozen set": (b"\x80\x04(" + DEEP + b"\x91.", "invalid load key"),
    "copies of arguments": (
        b"\x80\x02" + LARGE + b"q\x00]" + b"cnumpy\ndtype\nh\x00Ra" * 1000 + b".", "10000 arguments",
    ),
    "copies of a dict": (
        b"\x80\x02}(" + b"".join(b"U\x04%04dN" % i for i in range(9999)) + b"uq\x00]("
        + b"ccollections\nOrderedDict\nh\x00\x85Rccollections\nOrderedDict\n)Rh\x00b" * 1000 + b"e.",
        "no dict but a list",
    ),
    "copies of an array": (copies(100, 250_000), "more than 8 times what the file does"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_takes_little_memory(name: str) -> None:
    content, message = BOMBS[name]
    path = write(content)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=message):
            read_pickled_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


def test_a_file_that_cannot_be_opened_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"none.pkl.*No such file"):
        read_pickled_arrays("none.pkl")
