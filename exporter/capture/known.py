"""Values that depend on no input but its sizes, computed when Python code asks for one.

`spatial_shapes.prod(1).tolist()` needs numbers, and has them at each sample of the dynamic sizes: the
recorded calls are run again there, on real tensors.  Nothing is run unless it is asked for.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from exporter.capture.torch_internals import is_random, outside_modes

if TYPE_CHECKING:
    from exporter.capture.answers import Answers

aten = torch.ops.aten

Values = tuple[Any, ...]
_LIMIT = 1 << 16  # elements of a tensor, and nodes in all


def known_values(recorder: Answers, node: fx.Node) -> Values | None:
    """What a node holds at each sample, one alone where no size is dynamic; None where inputs decide it."""
    order = _dependencies(recorder, node)
    if order is None:
        return None
    for item in order:
        recorder.known_values[item] = _computed(recorder, item)
    return recorder.known_values[node]


def _dependencies(recorder: Answers, node: fx.Node) -> list[fx.Node] | None:
    """The nodes to compute first, in order; None where one of them cannot be."""
    order: list[fx.Node] = []
    found: set[fx.Node] = set()
    stack = [(node, False)]
    while stack:
        item, done = stack.pop()
        if done:
            order.append(item)
        elif item in recorder.known_values:
            if recorder.known_values[item] is None:
                return None
        elif item not in found:
            if not _is_computable(item) or len(found) > _LIMIT:
                recorder.known_values[node] = None
                return None
            found.add(item)
            stack.append((item, True))
            if "values" not in item.meta:
                stack.extend((argument, False) for argument in item.all_input_nodes)
    return order


def _is_computable(node: fx.Node) -> bool:
    if node.op == "placeholder" or "data" in node.meta:
        return False
    if "values" in node.meta or node.op == "get_attr":
        return True
    sizes = (spec.shape for column in node.meta.get("specs", ()) for spec in column)
    if any(torch.Size(shape).numel() > _LIMIT for shape in sizes):
        return False
    return not is_random(node.target)


def _computed(recorder: Answers, node: fx.Node) -> Values | None:
    if "values" in node.meta:
        return tuple(node.meta["values"])
    if node.op == "get_attr":
        tensor = recorder.state[str(node.target)]
        return None if tensor.is_meta or tensor.numel() > _LIMIT else (tensor.detach(),)
    known = {argument: recorder.known_values[argument] for argument in node.all_input_nodes}
    if any(values is None for values in known.values()):
        return None
    count = max((len(values) for values in known.values() if values is not None), default=1)
    return tuple(run_again(node, known, sample) for sample in range(count))


def run_again(node: fx.Node, known: dict[fx.Node, Values | None], sample: int) -> Any:
    """What a node holds, given what its arguments hold at a sample."""

    def value(argument: fx.Node) -> Any:
        values = known[argument] or ()
        return values[sample % len(values)]

    args: Any = fx.map_arg(node.args, value)
    kwargs = dict(fx.map_arg(node.kwargs, value))
    if node.target is operator.getitem:
        return args[0][args[1]]
    if "device" in kwargs:
        kwargs["device"] = torch.device("cpu")
    function: Any = node.target
    with outside_modes(), torch.inference_mode():
        return function(*args, **kwargs)


class ValueNeeded(BaseException):
    """The model's code takes sizes from the values of an input; no `except Exception` may catch it."""

    def __init__(self, inputs: frozenset[str]) -> None:
        super().__init__(inputs)
        self.inputs = inputs


# What can be done to a size that is still a size: a grid's rows, products of height and width, their halves.
_SIZE_STEPS = {
    "select", "slice", "unbind", "split", "index", "view", "reshape", "flatten", "to", "_to_copy", "contiguous",
    "clone", "unsqueeze", "squeeze", "add", "sub", "rsub", "mul", "div", "floor_divide", "remainder", "neg",
    "prod", "cumsum", "pad", "constant_pad_nd", "repeat_interleave", "cat", "stack", "_local_scalar_dense", "maximum",
    "minimum",
}  # fmt: skip


def inputs_with_sizes(recorder: Answers, node: fx.Node, *, alone: bool = True) -> frozenset[str]:
    """The inputs whose values are sizes, where a number is computed of such alone; else none.

    Such an input is small, of integers, and no mask or ids: `image_grid_thw`, `spatial_shapes`, `image_sizes`.

    Args:
        recorder: knows the values of inputs at the example, and which of them are ids.
        node: the number.
        alone: whether a tensor of rank 0 counts, which may be one number of any kind.
    """
    found: set[str] = set()
    seen: set[fx.Node] = set()
    stack = [node]
    while stack:
        item = stack.pop()
        if item in seen:
            continue
        seen.add(item)
        if item.op == "placeholder":
            example = recorder.examples.get(item.name)
            if example is None or not _has_sizes(example) or not (alone or example.ndim):
                return frozenset()
            if str(item.target) in recorder.identified:  # these are ids
                return frozenset()
            found.add(str(item.target))
        elif item.op == "call_function" and "values" not in item.meta:
            name = getattr(item.target, "_opname", "") if item.target is not operator.getitem else "select"
            if name not in _SIZE_STEPS:
                return frozenset()
            stack.extend(item.all_input_nodes)
    return frozenset(found)


KINDS = 4  # the least number that is none


def has_kinds(tensor: torch.Tensor) -> bool:
    """Whether a tensor is a mask, or tells which of a few kinds each element is."""
    if tensor.is_floating_point() or tensor.is_complex() or not tensor.numel():
        return False
    return tensor.dtype == torch.bool or (int(tensor.min()) >= 0 and int(tensor.max()) < KINDS)


def _has_sizes(tensor: torch.Tensor) -> bool:
    integers = (torch.int64, torch.int32)
    return tensor.dtype in integers and 0 < tensor.numel() <= 64 and int(tensor.min()) >= 0 and int(tensor.max()) > 1
