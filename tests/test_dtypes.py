"""Element types."""

import copy
import pickle

import ml_dtypes
import numpy as np
import pytest

import headrace as tf
from headrace import dtypes
from headrace.dtypes import as_dtype

NUMBERS_IN_A_GRAPH_DEF = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "string": 7,
    "complex64": 8, "int64": 9, "bool": 10, "bfloat16": 14, "uint16": 17, "complex128": 18,
    "float16": 19, "resource": 20, "variant": 21, "uint32": 22, "uint64": 23,
}  # fmt: skip

each = pytest.mark.parametrize("dtype", dtypes.ALL, ids=lambda d: d.name)


def test_numbers_are_tensorflows():
    assert {d.name: d.as_datatype_enum for d in dtypes.ALL} == NUMBERS_IN_A_GRAPH_DEF


@each
def test_found_by_whatever_names_it(dtype):
    assert as_dtype(dtype) is dtype
    assert as_dtype(dtype.name) is dtype
    assert as_dtype(dtype.as_datatype_enum) is dtype
    assert as_dtype(dtype.name + "_ref") is dtype.as_ref
    if dtype.kind not in "SX":
        assert as_dtype(dtype.as_numpy_dtype) is dtype
        assert as_dtype(np.dtype(dtype.as_numpy_dtype)) is dtype
        assert as_dtype(np.zeros(1, dtype.as_numpy_dtype).dtype) is dtype


@pytest.mark.parametrize(
    ("given", "name"),
    [(float, "float32"), (bool, "bool"), (str, "string"), (bytes, "string"), (object, "string"),
     ("float", "float32"), ("double", "float64"), ("half", "float16"), ("<f4", "float32"),
     (np.dtype(">i4"), "int32"), (np.dtype("U5"), "string"), (np.dtype("S5"), "string"),
     (ml_dtypes.bfloat16, "bfloat16")],
)  # fmt: skip
def test_other_names(given, name):
    assert as_dtype(given).name == name


@pytest.mark.parametrize("given", [None, "no type", 77, np.dtype("M8[s]"), [1], {}])
def test_what_names_no_type(given):
    with pytest.raises(TypeError, match="Cannot convert value"):
        as_dtype(given)


@each
def test_one_object_each(dtype):
    for same in (copy.copy(dtype), copy.deepcopy(dtype), pickle.loads(pickle.dumps(dtype))):
        assert same is dtype
    ref = dtype.as_ref
    assert pickle.loads(pickle.dumps(ref)) is ref
    assert ref.as_ref is ref
    assert ref.base_dtype is dtype
    assert ref.is_ref
    assert not dtype.is_ref


@each
def test_equality_is_generous_on_the_right(dtype):
    assert dtype == dtype.name
    assert dtype != None  # noqa: E711
    assert dtype != "no type"
    assert dtype != dtype.as_ref
    assert hash(dtype) != hash(dtype.as_ref)
    assert dtype.is_compatible_with(dtype.as_ref)
    assert dtype.as_ref.is_compatible_with(dtype)


def test_printed_as_tensorflow_does():
    assert repr(dtypes.float32) == "tf.float32"
    assert str(dtypes.float32) == "<dtype: 'float32'>"
    assert repr(dtypes.float32.as_ref) == "tf.float32_ref"
    assert dtypes.float32.name == "float32"


def test_kinds():
    def those(test):
        return {d.name for d in dtypes.ALL if test(d)}

    assert those(lambda d: d.is_floating) == {"float16", "bfloat16", "float32", "float64"}
    assert those(lambda d: d.is_complex) == {"complex64", "complex128"}
    assert those(lambda d: d.is_integer) == {
        s + str(n) for s in ("int", "uint") for n in (8, 16, 32, 64)
    }
    assert those(lambda d: d.is_unsigned) == {"uint8", "uint16", "uint32", "uint64"}
    assert those(lambda d: d.is_bool) == {"bool"}
    assert those(lambda d: d.is_differentiable) == those(lambda d: d.is_floating or d.is_complex)


def test_limits():
    assert (dtypes.int8.min, dtypes.int8.max) == (-128, 127)
    assert dtypes.uint16.max == 65535
    assert dtypes.float32.max == np.finfo(np.float32).max
    assert dtypes.float16.min == -65504
    assert float(dtypes.bfloat16.max) > 3e38
    assert dtypes.float32.limits == (0, 1)
    assert dtypes.uint8.limits == (0, 255)
    with pytest.raises(TypeError):
        _ = dtypes.string.max


def test_sizes_and_parts():
    assert [d.size for d in (dtypes.bfloat16, dtypes.complex128, dtypes.bool_)] == [2, 16, 1]
    assert dtypes.complex64.real_dtype is dtypes.float32
    assert dtypes.complex128.real_dtype is dtypes.float64
    assert dtypes.float16.real_dtype is dtypes.float16
    assert dtypes.complex64.as_ref.real_dtype is dtypes.float32


@pytest.mark.parametrize("kind", [">i4", ">f8", ">u2", "<f4"])
def test_arrays_in_the_other_byte_order_are_read_right(kind):
    data = np.arange(3).astype(kind)
    with tf.Session() as sess:
        for _ in range(3):
            assert sess.run(tf.constant(data) + 0).tolist() == [0, 1, 2]
