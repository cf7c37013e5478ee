"""Functions of Python and torch that take plain numbers, and what is recorded where a number is symbolic.

Each is replaced while a model is recorded; with plain numbers alone it does what it always did.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from exporter.capture.loops.number_lists import NumberList
from exporter.capture.representations.sparse import made_of_coordinates
from exporter.capture.sizes import SizeNode
from exporter.capture.tensors import RecordedTensor
from exporter.capture.torch_internals import layer_bindings, size_from_node

if TYPE_CHECKING:
    from exporter.capture.recorder import Recorder

Function = Callable[..., Any]

_SYMBOLIC = (torch.SymInt, torch.SymFloat)
_OF_ONE = (
    math.sqrt, math.exp, math.log, math.log2, math.log10, math.sin, math.cos, math.tan, math.tanh, math.atan, math.erf,
    math.fabs,
)  # fmt: skip
aten = torch.ops.aten


@contextlib.contextmanager
def open_numbers(recorder: Recorder) -> Iterator[None]:
    """Let the functions take sizes, and numbers that tensors hold."""
    replacements = _replacements(recorder)
    originals = {(owner, name): vars(owner).get(name) for owner, name in replacements}
    for (owner, name), function in replacements.items():
        setattr(owner, name, _instead(function, getattr(owner, name, None)))
    try:
        yield
    finally:
        for (owner, name), original in originals.items():
            if original is None:  # it is inherited, or there is none
                delattr(owner, name)
            else:
                setattr(owner, name, original)


def _instead(function: Function, original: Function | None) -> Function:
    return lambda *args, **kwargs: function(original, *args, **kwargs)  # a lambda, which can be a method


def _replacements(recorder: Recorder) -> dict[tuple[Any, str], Function]:
    """Owner and name of each function -> what is called instead, with the original first."""
    functions: dict[tuple[Any, str], Function] = {(math, function.__name__): _of_one for function in _OF_ONE}
    functions[math, "pow"] = lambda original, x, y: x**y * 1.0 if _is_open(x, y) else original(x, y)
    functions[math, "isnan"] = functions[math, "isinf"] = _of_a_size(False)
    functions[math, "isfinite"] = _of_a_size(True)
    functions[torch.SymInt, "__hash__"] = _hash
    functions[torch.SymInt, "__divmod__"] = lambda original, self, other: (self // other, self % other)
    functions[torch.SymInt, "__rdivmod__"] = lambda original, self, other: (other // self, other % self)
    functions[torch, "as_tensor"] = _as_tensor
    functions[torch.Tensor, "new_tensor"] = _new_tensor
    for name in ("fftfreq", "rfftfreq"):
        functions[torch.fft, name] = _frequencies
    for name, overload in (("linspace", aten.linspace.default), ("logspace", aten.logspace.default)):
        functions[torch, name] = functools.partial(_spaced, recorder, overload)
    for owner in (torch.nn.functional, layer_bindings):
        functions[owner, "one_hot"] = functools.partial(_one_hot, recorder)
    functions[torch, "sparse_coo_tensor"] = functools.partial(_sparse, recorder)
    for name, window in _WINDOWS.items():
        functions[torch, f"{name}_window"] = functools.partial(_window, window)
    for name in ("tril", "triu"):
        functions[torch, f"{name}_indices"] = functools.partial(_triangle, getattr(torch, name))
    for name in _UPSAMPLINGS:
        functions[layer_bindings, name] = functools.partial(_upsampled, recorder, getattr(aten, name).default)
    for name, truth in (("equal", _equal), ("allclose", _allclose)):
        functions[torch, name] = functions[torch.Tensor, name] = functools.partial(_truth, truth)
    return functions


def _is_open(*numbers: Any) -> bool:
    return any(type(number) in _SYMBOLIC for number in numbers)


def _of_one(original: Function, number: Any, *base: Any) -> Any:
    """`math.sqrt(size)` and the like."""
    if not _is_open(number):
        return original(number, *base)
    node: SizeNode = number.node
    values = tuple(original(value) for value in node.values)
    result = size_from_node(SizeNode(node.owner, values, original, (node,), node.data))
    return result / math.log(base[0]) if base else result


def _of_a_size(answer: bool) -> Function:
    return lambda original, number: answer if type(number) is torch.SymInt else original(number)


def _hash(original: Function, size: torch.SymInt) -> int:
    """So that a size may be a key, as in `functools.cache`; equal numbers are equal sizes of one recording."""
    node = size.node
    return hash((id(node.owner), node.values)) if type(node) is SizeNode else original(size)


def _as_tensor(original: Function, data: Any, dtype: torch.dtype | None = None, device: Any = None) -> torch.Tensor:
    """What `torch.tensor` makes of what is no tensor."""
    if isinstance(data, (torch.SymInt, torch.SymFloat, NumberList, list, tuple)):
        return torch.tensor(data, dtype=dtype, device=device)
    return original(data, dtype=dtype, device=device)


def _new_tensor(
    original: Function, tensor: torch.Tensor, data: Any, dtype: torch.dtype | None = None, **options: Any
) -> torch.Tensor:  # fmt: skip
    """`x.new_tensor([0] * size)`, of the dtype of `x`."""
    if isinstance(data, NumberList):
        return torch.tensor(data, dtype=dtype or tensor.dtype)
    return original(tensor, data, dtype=dtype, **options)


def _spaced(
    recorder: Recorder, overload: Any, original: Function, start: Any, end: Any, steps: Any, *args: Any, **kwargs: Any
) -> torch.Tensor:  # fmt: skip
    """`torch.linspace(start, end, steps)`; what a tensor of steps holds is a number."""
    if isinstance(steps, torch.Tensor):
        steps = steps.item()
    if not _is_open(start, end, steps):
        return original(start, end, steps, *args, **kwargs)
    kwargs = {name: value for name, value in kwargs.items() if name in ("dtype", "base") and value is not None}
    base = [*args, *([kwargs.pop("base")] if "base" in kwargs else [])]
    kwargs.setdefault("dtype", torch.get_default_dtype())
    made: torch.Tensor = recorder.call(overload, (start, end, steps, *base), kwargs)
    return made


def _one_hot(recorder: Recorder, original: Function, tensor: torch.Tensor, num_classes: Any = -1) -> Any:
    """`one_hot(classes, size)`."""
    if not _is_open(num_classes):
        return original(tensor, num_classes)
    return recorder.call(aten.one_hot.default, (tensor, num_classes), {})


def _sparse(
    recorder: Recorder, original: Function, indices: Any, values: Any, size: Any = (), **settings: Any
) -> torch.Tensor:  # fmt: skip
    """`sparse_coo_tensor(indices, values, (n, n))`."""
    if not _is_open(*size):
        return original(indices, values, *([size] if size else []), **settings)
    return made_of_coordinates(recorder, None, indices, values, list(size), **settings)


_UPSAMPLINGS = (
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d",
    "upsample_trilinear3d", "upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
)  # fmt: skip


def _upsampled(
    recorder: Recorder, overload: Any, original: Function, input: torch.Tensor, size: Any, *settings: Any
) -> torch.Tensor:  # fmt: skip
    """`F.interpolate(x, scale_factor=...)` by factors that were computed: the bindings take numbers alone."""
    *rest, scales = settings
    if not isinstance(scales, (list, tuple)) or not _is_open(*scales):
        return original(input, size, *settings)
    sizes = [math.floor(old * scale) for old, scale in zip(input.shape[2:], scales, strict=True)]
    resized: torch.Tensor = recorder.call(overload, (input, sizes, *rest, *scales), {})
    return resized


def _frequencies(original: Function, n: Any, d: float = 1.0, **kwargs: Any) -> torch.Tensor:
    """`torch.fft.fftfreq(size)`: [n] / (n d), the second half negative; `rfftfreq` has the first half alone."""
    if not _is_open(n):
        return original(n, d, **kwargs)
    half = original is torch.fft.rfftfreq or original.__name__ == "fft_rfftfreq"
    places = torch.arange(n // 2 + 1) if half else torch.arange(n)
    if not half:
        places = torch.where(places < (n + 1) // 2, places, places - n)
    return places.to(kwargs.get("dtype") or torch.get_default_dtype()) / (n * d)


def _hann(angle: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return 0.5 - 0.5 * angle.cos()


def _hamming(angle: torch.Tensor, place: torch.Tensor, alpha: float = 0.54, beta: float = 0.46) -> torch.Tensor:
    return alpha - beta * angle.cos()


def _blackman(angle: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return 0.42 - 0.5 * angle.cos() + 0.08 * (2 * angle).cos()


def _bartlett(angle: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return 1 - (2 * place - 1).abs()


def _kaiser(angle: torch.Tensor, place: torch.Tensor, beta: float = 12.0) -> torch.Tensor:
    height = torch.special.i0(torch.full((), beta, dtype=place.dtype))
    return torch.special.i0(beta * (1 - (2 * place - 1).square()).sqrt()) / height


# Of a place between 0 and 1, and the angle to it, where 1 is a full turn.
_WINDOWS: dict[str, Function] = {
    "hann": _hann, "hamming": _hamming, "blackman": _blackman, "bartlett": _bartlett, "kaiser": _kaiser,
}  # fmt: skip


def _window(
    formula: Function, original: Function, window_length: Any, periodic: bool = True, *args: Any,
    dtype: torch.dtype | None = None, **kwargs: Any,
) -> torch.Tensor:  # fmt: skip
    """`torch.hann_window(size)`: [size]."""
    if not _is_open(window_length):
        return original(window_length, periodic, *args, dtype=dtype, **kwargs)
    shape = {name: value for name, value in kwargs.items() if name in ("alpha", "beta")}
    steps = window_length if periodic else window_length - 1
    place = torch.arange(window_length, dtype=torch.float64) / steps
    return formula(2 * math.pi * place, place, *args, **shape).to(dtype or torch.get_default_dtype())


def _triangle(
    part: Function, original: Function, row: Any, col: Any, offset: int = 0, *, dtype: torch.dtype = torch.int64,
    **kwargs: Any,
) -> torch.Tensor:  # fmt: skip
    """`torch.tril_indices(rows, columns)`: [2, count]."""
    if not _is_open(row, col):
        return original(row, col, offset, dtype=dtype, **kwargs)
    return part(torch.ones(row, col, dtype=torch.int32), offset).nonzero().t().to(dtype)


def _truth(symbolic: Function, original: Function, first: torch.Tensor, second: torch.Tensor, **kwargs: Any) -> Any:
    """A truth about values, which the bindings would turn into one of Python's."""
    if type(first) is RecordedTensor or type(second) is RecordedTensor:
        return symbolic(first, second, **kwargs)
    return original(first, second, **kwargs)


def _equal(first: torch.Tensor, second: torch.Tensor) -> Any:
    return tuple(first.shape) == tuple(second.shape) and (first == second).all().item()


def _allclose(
    first: torch.Tensor, second: torch.Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:  # fmt: skip
    return torch.isclose(first, second, rtol, atol, equal_nan).all().item()
