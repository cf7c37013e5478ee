"""Views that keep the order of the elements, and how few nodes they take where sizes are symbolic."""

from __future__ import annotations

import torch

from tests.lowering import Case, both_ways, cases, check, ops

aten = torch.ops.aten


def _x() -> list[torch.Tensor]:
    return [torch.randn(2, 3, 4)]


def _ones() -> list[torch.Tensor]:
    return [torch.randn(2, 1, 3, 1)]


def _two() -> list[torch.Tensor]:
    return [torch.randn(2, 3, 4), torch.randn(2, 3, 4)]


def _scalar() -> list[torch.Tensor]:
    return [torch.randn(())]


def _empty() -> list[torch.Tensor]:
    return [torch.randn(0, 3)]


CASES = [
    Case("view", lambda x: x.view(2, -1), _x, ops="Reshape", fixed=(0,)),
    Case("view to the same", lambda x: x.view(2, 3, 4) + 1, _x, ops="Add", dynamic=False),
    Case("view of a scalar", lambda x: x.view(1, 1), _scalar, ops="Reshape"),
    Case("view of nothing", lambda x: x.view(3, 0), _empty, ops="Reshape", dynamic=False),
    Case("view with -1 of nothing", lambda x: x.view(-1, 3) + 1, _empty, ops="Add"),
    Case("unsafe_view", lambda x: aten._unsafe_view(x, [-1, x.shape[-1]]), _x, ops="Reshape"),
    Case("view_copy", lambda x: torch.view_copy(x, [-1]), _x, ops="Reshape"),
    Case("reshape_copy", lambda x: aten._reshape_copy(x, [-1]), _x, ops="Reshape"),
    Case("reshape_alias_copy", lambda x: aten._reshape_alias_copy(x, [6, 4], [4, 1]), _x, ops="Reshape", dynamic=False),
    Case("reshape_alias", lambda x: aten._reshape_alias(x, [6, 4], [4, 1]), _x, ops="Reshape", dynamic=False),
    Case("reshape", lambda x: x.reshape(x.shape[0], x.shape[1], 2, -1), _x, ops="Reshape", fixed=(2,)),
    Case("view_as", lambda x, y: x.view_as(y.flatten()), _two, ops="Reshape"),
    Case("reshape_as", lambda x, y: x.flatten().reshape_as(y), _two),
    Case("ravel", torch.ravel, _x, ops="Reshape"),
    Case("flatten", lambda x: x.flatten(1), _x, ops="Reshape"),
    Case("flatten behind", lambda x: x.flatten(-2), _x, ops="Reshape"),
    Case("flatten a scalar", lambda x: x.flatten(), _scalar, ops="Reshape"),
    Case("unflatten", lambda x: x.unflatten(-1, (2, -1)), _x, ops="Reshape", fixed=(2,)),
    Case("squeeze", lambda x: x.squeeze() * 2, _ones, ops="Squeeze Mul"),
    Case("squeeze a dim", lambda x: x.squeeze(1) * 2, _ones, ops="Squeeze Mul"),
    Case("squeeze no dim", lambda x: x.squeeze(0) * 2, _ones, ops="Mul"),
    Case("squeeze dims", lambda x: x.squeeze((-1, 0, 1)) * 2, _ones, ops="Squeeze Mul"),
    Case("squeeze a scalar", lambda x: x.squeeze(-1) * 2, _scalar, ops="Mul"),
    Case("squeeze_copy", lambda x: torch.squeeze_copy(x) * 2, _ones, ops="Squeeze Mul"),
    Case("squeeze_copy a dim", lambda x: torch.squeeze_copy(x, 1) * 2, _ones, ops="Squeeze Mul"),
    Case("squeeze_copy dims", lambda x: torch.squeeze_copy(x, (1, 3)) * 2, _ones, ops="Squeeze Mul"),
    Case("unsqueeze", lambda x: x.unsqueeze(-2), _x, ops="Unsqueeze"),
    Case("unsqueeze_copy", lambda x: torch.unsqueeze_copy(x, 0), _x, ops="Unsqueeze"),
    Case("atleast", lambda x: (torch.atleast_1d(x), torch.atleast_2d(x), torch.atleast_3d(x)), _scalar),
    Case("atleast of a vector", lambda x: (torch.atleast_2d(x[0, 0]), torch.atleast_3d(x[0, 0])), _x),
    Case("atleast of a matrix", lambda x: torch.atleast_3d(x[0]), _x),
    Case(
        "atleast of several",
        lambda x, y: (torch.atleast_1d(x, y), torch.atleast_2d(x[0, 0], y), torch.atleast_3d(x[0], y)),
        _two,
    ),
]

test_static, test_dynamic = both_ways(*CASES)


# Where sizes are symbolic, a constant target with 0 and -1, or Flatten, says it all.
LEAN = [
    Case("split heads", lambda x: x.view(x.shape[0], x.shape[1], 2, 2), _x, ops="Reshape", fixed=(2,)),
    Case("merge heads", lambda x: x.reshape(x.shape[0], x.shape[1], -1), _ones, ops="Reshape", fixed=(2,)),
    Case("rows", lambda x: x.reshape(-1, x.shape[-1]), _x, ops="Flatten"),
    Case("rows by their number", lambda x: x.reshape(x.shape[0] * x.shape[1], 4), _x, ops="Reshape", fixed=(2,)),
    Case("flatten", lambda x: x.flatten(1), _x, ops="Reshape"),
    Case("there and back", lambda x: x.flatten(0, 1).unflatten(0, x.shape[:2]).relu(), _x, ops="Relu"),
    Case("squares", lambda x: x.view(*x.shape[:2], 2, 2).transpose(1, 2), _x, ops="Reshape Transpose", fixed=(2,)),
]


@cases(*LEAN)
def test_no_shape_chains(case: Case) -> None:
    program = check(case, dynamic=True)
    assert program is not None
    assert ops(program) == case.ops
