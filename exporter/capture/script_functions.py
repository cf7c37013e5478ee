"""What TorchScript computes on numbers, strings, lists and dicts, in Python; sizes stay symbolic in it."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch

from exporter.capture.tensors import RecordedTensor
from exporter.errors import CaptureError

__all__ = ["ALWAYS", "DTYPES", "ON_NUMBERS", "PYTHON_TYPES", "converted"]

Function = Callable[..., Any]

# By their numbers in a graph.
DTYPES = (
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64,
    torch.complex32, torch.complex64, torch.complex128, torch.bool, torch.qint8, torch.quint8, torch.qint32,
    torch.bfloat16,
)  # fmt: skip
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "TensorType": (torch.Tensor,),
    "IntType": (int, torch.SymInt),
    "FloatType": (float, torch.SymFloat),
    "BoolType": (bool, torch.SymBool),
    "StringType": (str,),
    "NoneType": (type(None),),
    "ListType": (list,),
    "TupleType": (tuple,),
    "DictType": (dict,),
}
_MEMORY_FORMATS = (torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d)


def converted(name: str, value: Any) -> Any:
    """An argument as PyTorch takes it: a graph has numbers for dtypes and the like."""
    if type(value) is not int:
        return value
    if name in ("dtype", "out_dtype"):
        return DTYPES[value]
    if name == "memory_format":
        return _MEMORY_FORMATS[value]
    return torch.strided if name == "layout" else value


def _size(tensor: torch.Tensor, dim: int | None = None) -> Any:
    return list(tensor.shape) if dim is None else tensor.shape[dim]


class ListOfParts(list[Any]):
    """The parts of a tensor along a dynamic dim: as many as at the example, while nobody asks for more than one.

    Attributes:
        whole: the tensor; None once the list was changed.
        dim: where it is taken apart.
    """

    whole: torch.Tensor | None
    dim: int


def list_of_parts(tensor: torch.Tensor, dim: int = 0) -> list[Any]:
    """`tensor.unbind(dim)`."""
    parts = ListOfParts(tensor.unbind(dim))
    parts.whole, parts.dim = tensor, dim
    return parts


def _length(item: Any) -> Any:
    """How long a tensor or a list is; what a loop appended counts as often as it did."""
    if isinstance(item, torch.Tensor):
        return item.shape[0]
    if type(item) is ListOfParts and item.whole is not None:
        return item.whole.shape[item.dim]
    rows = [part.rows for part in item if type(part) is RecordedTensor and part.rows is not None]
    return item.__len__() - len(rows) + sum(row.shape[0] for row in rows)


def _element(items: Any, key: Any) -> Any:
    """`items[key]`; what a loop appended has no places."""
    if type(items) is ListOfParts and items.whole is not None:
        return items.whole.select(items.dim, key)
    found = items[key]
    if type(found) is RecordedTensor and found.rows is not None:
        raise CaptureError(
            "an element of a list that a loop appended to: the graph has them as one tensor",
            hint="stack the list, and index the result",
        )
    return found


def _integer(item: Any) -> Any:
    number = item.item() if isinstance(item, torch.Tensor) else item
    return math.trunc(number) if isinstance(number, (float, torch.SymFloat)) else _plain(number)


def _real(item: Any) -> Any:
    number = item.item() if isinstance(item, torch.Tensor) else item
    return float(number) if isinstance(number, (int, float, str)) else torch.sym_float(number)


def _truth(item: Any) -> Any:
    number = item.item() if isinstance(item, torch.Tensor) else item
    return number if isinstance(number, (bool, torch.SymBool)) else number != 0


def _plain(number: Any) -> Any:
    """A truth as a number."""
    return int(number) if isinstance(number, (bool, str)) else number


def _as_tensor(number: Any) -> torch.Tensor:
    kind = torch.int64 if isinstance(number, (int, torch.SymInt)) else torch.float64
    return torch.full((), number, dtype=torch.bool if isinstance(number, bool) else kind)


def _tensor(data: Any, dtype: int | None = None, device: Any = None, requires_grad: bool = False) -> torch.Tensor:
    return torch.tensor(data, dtype=None if dtype is None else DTYPES[dtype])


def _set_item(items: Any, key: Any, value: Any) -> Any:
    items[key] = value
    return items


def _sliced(items: Sequence[Any], start: int | None, end: int | None, step: int) -> Any:
    return items[start:end:step]


def _range_length(low: Any, high: Any, step: int) -> Any:
    distance = high - low if step > 0 else low - high
    return max((distance + abs(step) - 1) // abs(step), 0)


def _append(items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


def _extend(items: list[Any], more: Sequence[Any]) -> None:
    items.extend(more)


def _delete(items: Any, key: Any) -> None:
    del items[key]


def _min(*items: Any) -> Any:
    return min(*items)


def _max(*items: Any) -> Any:
    return max(*items)


# Used whatever the arguments are.
ALWAYS: dict[str, Function] = {
    "aten::size": _size,
    "aten::len": _length,
    "aten::dim": lambda tensor: tensor.ndim,
    "aten::numel": lambda tensor: tensor.numel(),
    "aten::stride": lambda tensor, dim=None: list(tensor.stride()) if dim is None else tensor.stride(dim),
    "aten::is_contiguous": lambda tensor, *_: True,
    "aten::is_floating_point": lambda tensor: tensor.is_floating_point(),
    "aten::is_complex": lambda tensor: tensor.is_complex(),
    "aten::get_device": lambda tensor: -1,
    "aten::Int": _integer,
    "aten::IntImplicit": _integer,
    "aten::Float": _real,
    "aten::FloatImplicit": _real,
    "aten::Bool": _truth,
    "aten::ScalarImplicit": lambda item: item.item() if isinstance(item, torch.Tensor) else item,
    "aten::__is__": lambda a, b: a is b,
    "aten::__isnot__": lambda a, b: a is not b,
    "aten::__getitem__": _element,
    "aten::unbind": list_of_parts,
    "aten::_set_item": _set_item,
    "aten::__contains__": lambda items, item: item in items,
    "aten::append": _append,
    "aten::extend": _extend,
    "aten::insert": lambda items, place, item: items.insert(place, item),
    "aten::pop": lambda items, *place: items.pop(*place),
    "aten::remove": lambda items, item: items.remove(item),
    "aten::Delete": _delete,
    "aten::popitem": lambda items: items.popitem(),
    "aten::setdefault": lambda items, key, default: items.setdefault(key, default),
    "aten::list": list,
    "aten::keys": lambda items: list(items.keys()),
    "aten::values": lambda items: list(items.values()),
    "aten::items": lambda items: list(items.items()),
    "aten::get": lambda items, key, default=None: items.get(key, default),
    "aten::update": lambda items, more: items.update(more),
    "aten::dict": lambda items=(): dict(items),
    "aten::tensor": _tensor,
    "aten::as_tensor": lambda data, dtype=None, device=None: data if dtype is None else data.to(DTYPES[dtype]),
    "aten::warn": lambda *_: None,
    "aten::format": lambda text, *items: text.format(*items),
    "aten::cpu": lambda tensor: tensor,
    "aten::cuda": lambda tensor: tensor,
    "prim::type": lambda device: device.type,
    "aten::device": lambda *items: torch.device(*items),
    "aten::_unwrap_optional": lambda item: item,
    "prim::unchecked_cast": lambda item: item,
    "prim::unchecked_unwrap_optional": lambda item: item,
    "prim::Uninitialized": lambda: None,
    "prim::Print": lambda *_: None,
    "prim::NumToTensor": _as_tensor,
    "prim::ImplicitTensorToNum": lambda item: item.item() if isinstance(item, torch.Tensor) else item,
    "prim::dtype": lambda tensor: DTYPES.index(tensor.dtype),
    "prim::device": lambda tensor: tensor.device,
    "prim::layout": lambda tensor: 0,
    "prim::shape": lambda tensor: list(tensor.shape),
    "prim::data": lambda tensor: tensor.detach(),
    "prim::requires_grad": lambda tensor: False,
    "prim::is_cuda": lambda tensor: False,
    "prim::is_quantized": lambda tensor: tensor.is_quantized,
    "prim::is_sparse": lambda tensor: False,
    "prim::is_mkldnn": lambda tensor: False,
    "prim::is_meta": lambda tensor: False,
    "prim::is_nested": lambda tensor: False,
    "prim::TupleIndex": lambda items, place: items[place],
    "prim::ListConstruct": lambda *items: list(items),
    "prim::TupleConstruct": lambda *items: tuple(items),
    "prim::DictConstruct": lambda *items: dict(zip(items[::2], items[1::2], strict=True)),
    "prim::rangelist": lambda end: list(range(end)),
}

# Used where no argument is a tensor.
ON_NUMBERS: dict[str, Function] = {
    "aten::add": lambda a, b, *_: a + b,
    "aten::add_": operator.iadd,
    "aten::sub": operator.sub,
    "aten::mul": operator.mul,
    "aten::div": operator.truediv,
    "aten::floordiv": operator.floordiv,
    "aten::remainder": operator.mod,
    "aten::fmod": math.fmod,
    "aten::pow": operator.pow,
    "aten::neg": operator.neg,
    "aten::abs": abs,
    "prim::abs": abs,
    "aten::eq": operator.eq,
    "aten::ne": operator.ne,
    "aten::lt": operator.lt,
    "aten::le": operator.le,
    "aten::gt": operator.gt,
    "aten::ge": operator.ge,
    "aten::__and__": operator.and_,
    "aten::__or__": operator.or_,
    "aten::__xor__": operator.xor,
    "aten::__lshift__": operator.lshift,
    "aten::__rshift__": operator.rshift,
    "aten::__not__": lambda a: torch.sym_not(a) if isinstance(a, torch.SymBool) else not a,
    "aten::floor": math.floor,
    "aten::ceil": math.ceil,
    "aten::round": round,
    "aten::sqrt": lambda a: math.sqrt(a),
    "aten::exp": lambda a: math.exp(a),
    "aten::log": lambda a: math.log(a),
    "aten::sin": lambda a: math.sin(a),
    "aten::cos": lambda a: math.cos(a),
    "aten::isnan": lambda a: math.isnan(a),
    "aten::isinf": lambda a: math.isinf(a),
    "aten::isfinite": lambda a: math.isfinite(a),
    "prim::min": _min,
    "prim::max": _max,
    "aten::str": str,
    "aten::slice": _sliced,
    "aten::index": lambda items, item: items.index(item),
    "aten::count": lambda items, item: items.count(item),
    "aten::reverse": lambda items: items.reverse(),
    "aten::sort": lambda items, reverse=False: items.sort(reverse=reverse),
    "aten::sorted": sorted,
    "aten::clear": lambda items: items.clear(),
    "aten::copy": lambda items: items.copy(),
    "aten::sum": sum,
    "aten::all": all,
    "aten::any": any,
    "aten::lower": str.lower,
    "aten::upper": str.upper,
    "aten::startswith": lambda text, *more: text.startswith(*more[:1]),
    "aten::endswith": lambda text, *more: text.endswith(*more[:1]),
    "aten::join": lambda text, parts: text.join(parts),
    "aten::split": lambda text, *more: text.split(*more),
    "aten::replace": lambda text, *more: text.replace(*more),
    "aten::strip": lambda text, *more: text.strip(*more),
    "aten::__range_length": _range_length,
    "aten::__derive_index": lambda place, start, step: start + place * step,
}
