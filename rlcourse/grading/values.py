"""Values as JSON, exactly: what passes between a test and a student's function, and nothing else.

JSON has no tuple, no array, no infinity and only text for keys, so these travel as objects with one key.
Floats keep every bit. What cannot be said this way is refused; nothing is ever pickled.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlcourse.errors import CourseError

__all__ = ["NotAValueError", "decode", "encode"]

KINDS = "biufc"  # numpy's letters for bools and numbers
SPECIAL = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
DEPTH = 64  # of lists in lists


class NotAValueError(CourseError, TypeError):
    """Something that is no value (a function, an object of one's own), or no encoding of one."""


def encode(value: Any, depth: int = DEPTH) -> Any:
    """What ``json.dumps`` can write for ``value``, so that :func:`decode` gives it back.

    Args:
        value: None, bool, int, float, str, list, tuple, dict with text for keys, numpy array or number, torch
            tensor.
        depth: how many lists deep it may be.

    Raises:
        NotAValueError: it is something else, or holds something else.

    >>> encode([1, 0.5, (True, float("inf"))])
    [1, 0.5, {'tuple': [True, {'float': 'inf'}]}]
    >>> decode(encode(np.array([[1.0, 0.1]])))
    array([[1. , 0.1]])
    """
    if depth == 0:
        raise NotAValueError(f"lists more than {DEPTH} deep")
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return value if value is None or isinstance(value, bool) else str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        number = float(value)
        return number if math.isfinite(number) else {"float": str(number)}
    if isinstance(value, list):
        return [encode(item, depth - 1) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [encode(item, depth - 1) for item in value]}
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise NotAValueError("a dictionary with keys that are not text")
        return {"dict": [[str(key), encode(item, depth - 1)] for key, item in value.items()]}
    if isinstance(value, np.ndarray | np.generic):
        return _array(np.asarray(value), "array")
    if type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach"):
        return _array(value.detach().cpu().numpy(), "tensor")
    raise NotAValueError(f"a {type(value).__name__}, which is no value")


def _array(array: NDArray[Any], kind: str) -> dict[str, Any]:
    if array.dtype.kind not in KINDS:
        raise NotAValueError(f"an array of {array.dtype}, not of numbers")
    data = array.astype(array.dtype.newbyteorder("<"), order="C")
    text = base64.b64encode(data.tobytes()).decode("ascii")
    return {kind: [data.dtype.str, list(data.shape), text]}


def decode(coded: Any, tensor: Callable[[NDArray[Any]], Any] | None = None) -> Any:
    """The value that :func:`encode` was given; whatever is not its work is refused.

    Args:
        coded: what ``json.loads`` has read.
        tensor: makes a tensor from an array; without it tensors come back as arrays.

    Raises:
        NotAValueError: this encodes nothing.

    >>> decode({"tuple": [1, {"float": "-inf"}]})
    (1, -inf)
    >>> decode({"os": "system"})
    Traceback (most recent call last):
    rlcourse.grading.values.NotAValueError: this encodes no value: {'os': 'system'}
    """
    if coded is None or isinstance(coded, bool | int | float | str):
        return coded
    if isinstance(coded, list):
        return [decode(item, tensor) for item in coded]
    match coded:
        case {"float": str(name)} if name in SPECIAL and len(coded) == 1:
            return SPECIAL[name]
        case {"tuple": [*items]} if len(coded) == 1:
            return tuple(decode(item, tensor) for item in items)
        case {"dict": [*items]} if len(coded) == 1 and all(map(_is_pair, items)):
            return {key: decode(item, tensor) for key, item in items}
        case {"array": [str(kind), [*shape], str(text)]} if len(coded) == 1:
            return _from_bytes(kind, shape, text)
        case {"tensor": [str(kind), [*shape], str(text)]} if len(coded) == 1:
            array = _from_bytes(kind, shape, text)
            return array if tensor is None else tensor(array)
    text = repr(coded)
    raise NotAValueError(f"this encodes no value: {text if len(text) < 80 else text[:77] + '...'}")


def _is_pair(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and isinstance(item[0], str)


def _from_bytes(kind: str, shape: list[Any], text: str) -> NDArray[Any]:
    try:
        dtype = np.dtype(kind)
        data = base64.b64decode(text, validate=True)
        sizes = [int(size) for size in shape if isinstance(size, int) and size >= 0]
        numbers = dtype.kind in KINDS and len(sizes) == len(shape) <= 32
        if numbers and math.prod(sizes) * dtype.itemsize == len(data):
            array = np.frombuffer(data, dtype).reshape(sizes)
            return array.astype(dtype.newbyteorder("="))
    except (TypeError, ValueError):
        pass
    raise NotAValueError(f"this encodes no array: {kind[:20]} of shape {shape[:8]}")
