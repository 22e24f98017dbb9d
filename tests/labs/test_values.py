"""Values survive the way through JSON exactly, and nothing else passes."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlcourse.grading.values import NotAValueError, decode, encode

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8)
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
    ),
    max_leaves=12,
)
KINDS = st.sampled_from(["f8", "f4", "f2", "i8", "i4", "u1", "?", "c16", ">f8", ">i2"])
ARRAYS = KINDS.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, min_side=0)))


def there_and_back(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value))))


def same(one: Any, other: Any) -> bool:
    """Equal in type and value to the last bit of a float, without the code under test."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one.hex() == other.hex() if one == one else other != other
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@settings(deadline=None)
@given(VALUES)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    assert same(there_and_back(value), value)


@settings(deadline=None)
@given(ARRAYS)
def test_arrays_come_back_bit_for_bit(array: Any) -> None:
    back = there_and_back(array)
    assert back.shape == array.shape and back.dtype == array.dtype.newbyteorder("=")
    assert back.astype(array.dtype).tobytes() == array.tobytes()
    assert back.flags.writeable


def test_numbers_of_numpy_come_back_as_numbers() -> None:
    back = there_and_back([np.float64(0.1), np.float32(0.5), np.int64(3), np.bool_(True)])
    assert same(back, [0.1, 0.5, 3, True])


def test_a_tensor_arrives_as_a_tensor_and_comes_back_as_an_array() -> None:
    torch = pytest.importorskip("torch")
    coded = encode(torch.tensor([1.0, math.inf], requires_grad=True))
    assert isinstance(decode(coded, torch.from_numpy), torch.Tensor)
    assert same(decode(coded).tolist(), [1.0, math.inf])


@pytest.mark.parametrize(
    "value", [print, object(), {1: 2}, {"a": object()}, np.array(["x"]), np.array([object()]), 1j]
)
def test_what_is_no_value_is_refused(value: Any) -> None:
    with pytest.raises(NotAValueError):
        encode(value)


@pytest.mark.parametrize(
    "coded",
    [
        {},
        {"pickle": "gASV"},
        {"tuple": 3},
        {"tuple": [], "dict": []},
        {"float": "1e9"},
        {"dict": [["a"]]},
        {"dict": [[1, 2]]},
        {"array": ["O", [1], "AAAAAAAAAAA="]},
        {"array": ["f8,f8", [1], "AAAAAAAAAAAAAAAAAAAAAA=="]},
        {"array": ["<f8", [2], "AAAAAAAAAAA="]},
        {"array": ["<f8", [-1, -1], "AAAAAAAAAAA="]},
        {"array": ["<f8", [10**12, 10**12], ""]},
        {"array": ["<f8", [1], "not base64"]},
        {"array": ["no such type", [1], ""]},
    ],
)
def test_what_encodes_nothing_is_refused(coded: Any) -> None:
    with pytest.raises(NotAValueError):
        decode(coded)


def test_a_list_in_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotAValueError, match="deep"):
        encode(endless)
