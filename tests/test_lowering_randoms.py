"""Random numbers: shapes, dtypes and distributions; the numbers themselves are the runtime's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from exporter import export
from tests.lowering import Case, cases, check, session_of
from tests.running import Calling

aten = torch.ops.aten


def _run(function: Callable[..., Any], x: torch.Tensor, dynamic: bool) -> list[np.ndarray]:
    """What the exported function gives; a dynamic one is run at the double of its sizes."""
    shapes = ({0: torch.export.Dim.DYNAMIC},) if dynamic else None
    onnxruntime.set_seed(1234)
    session = session_of(export(Calling(function).eval(), (x,), dynamic_shapes=shapes))
    given = torch.cat([x, x]) if dynamic else x
    results = session.run(None, {i.name: given.numpy() for i in session.get_inputs()})
    expected = torch.utils._pytree.tree_leaves(function(given))
    for got, want in zip(results, expected, strict=True):
        assert tuple(got.shape) == tuple(want.shape)
        assert got.dtype == want.numpy().dtype
    return results


def _x() -> torch.Tensor:
    return torch.full((100, 200), 0.3)


# The call, and the mean and standard deviation of what it draws.
DISTRIBUTIONS: dict[str, tuple[Callable[..., Any], float, float]] = {
    "rand": (lambda x: torch.rand(x.shape[0], 200), 0.5, 12**-0.5),
    "rand_double": (lambda x: torch.rand(x.shape[0], 200, dtype=torch.float64), 0.5, 12**-0.5),
    "rand_half": (lambda x: torch.rand(x.shape[0], 200, dtype=torch.float16), 0.5, 12**-0.5),
    "randn": (lambda x: torch.randn(x.shape[0], 200), 0, 1),
    "randn_without_generator": (lambda x: torch.randn((x.shape[0], 200), generator=None), 0, 1),
    "rand_like": (torch.rand_like, 0.5, 12**-0.5),
    "randn_like": (torch.randn_like, 0, 1),
    "randn_like_double": (lambda x: torch.randn_like(x, dtype=torch.float64), 0, 1),
    "uniform": (lambda x: x.clone().uniform_(-1, 3), 1, 4 * 12**-0.5),
    "normal_in_place": (lambda x: x.clone().normal_(2, 3), 2, 3),
    "normal_functional": (lambda x: aten.normal_functional(x, 2.0, 3.0), 2, 3),
    "normal_size": (lambda x: torch.normal(2.0, 3.0, (x.shape[0], 200)), 2, 3),
    "normal_mean": (lambda x: torch.normal(x, 3.0), 0.3, 3),
    "normal_deviation": (lambda x: torch.normal(2.0, x), 2, 0.3),
    "normal_deviation_around_0": (lambda x: torch.normal(0.0, x), 0, 0.3),
    "normal_tensors": (lambda x: torch.normal(x, x), 0.3, 0.3),
    "normal_tensors_broadcast": (lambda x: torch.normal(x, x[:1]), 0.3, 0.3),
    "exponential": (lambda x: x.clone().exponential_(2.0), 0.5, 0.5),
    "geometric": (lambda x: x.clone().geometric_(0.25), 4, 12**0.5),
    "log_normal": (lambda x: torch.log(x.clone().log_normal_(1.0, 0.5)), 1, 0.5),
    "cauchy": (lambda x: torch.atan((x.clone().cauchy_(2.0, 3.0) - 2) / 3), 0, 3.14159 * 12**-0.5),
    "bernoulli": (torch.bernoulli, 0.3, 0.21**0.5),
    "bernoulli_number": (lambda x: aten.bernoulli.p(x, 0.3), 0.3, 0.21**0.5),
    "bernoulli_tensor": (lambda x: aten.bernoulli.Tensor(x, x), 0.3, 0.21**0.5),
    "randint": (lambda x: torch.randint(10, (x.shape[0], 200)), 4.5, 8.25**0.5),
    "randint_low": (lambda x: torch.randint(-5, 5, (x.shape[0], 200), dtype=torch.int32), -0.5, 8.25**0.5),
    "randint_like": (lambda x: torch.randint_like(x, 10), 4.5, 8.25**0.5),
    "randint_like_low": (lambda x: torch.randint_like(x, -5, 5, dtype=torch.int64), -0.5, 8.25**0.5),
    "poisson": (lambda x: torch.poisson(x * 10), 3, 3**0.5),
    "multinomial": (lambda x: torch.multinomial(x[:, :4] * torch.tensor([1.0, 2.0, 0.0, 1.0]), 100, True), 1.25, 1.0897),
    "random_range": (lambda x: x.clone().random_(-5, 5), -0.5, 8.25**0.5),
    "random_below": (lambda x: x.long().random_(10), 4.5, 8.25**0.5),
    "random_any": (lambda x: x.to(torch.int8).random_() / 127, 0.5, 12**-0.5),
    "random_any_float": (lambda x: x.clone().random_() / 2**24, 0.5, 12**-0.5),
    "binomial": (lambda x: torch.binomial(torch.full_like(x, 10), x), 3, 2.1**0.5),
    "poisson_of_a_large_rate": (lambda x: torch.poisson(x * 1e6), 3e5, 3e5**0.5),
    "gamma": (lambda x: torch._standard_gamma(x * 10), 3, 3**0.5),
    "gamma_below_1": (torch._standard_gamma, 0.3, 0.3**0.5),
    "dirichlet": (lambda x: aten._sample_dirichlet(x.reshape(-1, 2) * 10), 0.5, 28**-0.5),
    "dropout": (lambda x: F.dropout(x, 0.25), 0.3, 0.3 * 3**-0.5),
    "dropout, then more": (lambda x: F.dropout(x, 0.25) + 1, 1.3, 0.3 * 3**-0.5),
    "dropout_between_layers": (lambda x: _layers_in_training(x)[0], 0.3, 0.3 * 3**-0.5),
    "alpha_dropout": (lambda x: F.alpha_dropout(torch.randn_like(x), 0.25, True), 0, 1),
    "rrelu": (lambda x: F.rrelu(-x, 0.1, 0.3, True), -0.06, 0.3 * 0.2 * 12**-0.5),
    "rrelu_with_noise": (lambda x: aten.rrelu_with_noise_functional(-x, x, 0.1, 0.3, True)[0], -0.06, 0.3 * 0.2 * 12**-0.5),
}  # fmt: skip


def _layers_in_training(x: torch.Tensor) -> Any:
    """Two recurrent layers that pass on what they get, with dropout between them."""
    size = x.shape[1]
    weights = [torch.eye(size), torch.zeros(size, size)] * 2
    return torch.rnn_relu(x.unsqueeze(1), torch.zeros(2, 1, size), weights, False, 2, 0.25, True, False, False)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distribution(name: str, dynamic: bool) -> None:
    function, mean, deviation = DISTRIBUTIONS[name]
    (result,) = _run(function, _x(), dynamic)
    drawn = result.astype(np.float64)
    assert abs(drawn.mean() - mean) < 5 * deviation / 100  # of 10000 numbers and more
    assert abs(drawn.std() - deviation) < 0.1 * deviation


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_permutation(dynamic: bool) -> None:
    (order,) = _run(lambda x: torch.randperm(x.shape[0]), _x(), dynamic)
    assert sorted(order.tolist()) == list(range(len(order)))
    assert order.tolist() != sorted(order.tolist())


def test_multinomial_without_replacement_draws_each_once() -> None:
    (drawn,) = _run(lambda x: torch.multinomial(x[:, :5], 5), _x(), False)
    assert (np.sort(drawn, axis=-1) == np.arange(5)).all()


def test_gamma_of_no_proper_shape_ends() -> None:
    (drawn,) = _run(torch._standard_gamma, torch.tensor([-2.0, float("inf"), float("nan"), 0.0]), False)
    np.testing.assert_array_equal(drawn, [np.nan, np.inf, np.nan, 0.0])


def test_two_draws_differ() -> None:
    first, second = _run(lambda x: (torch.rand(5), torch.rand(5)), _x(), False)
    assert (first != second).all()


def test_native_dropout() -> None:
    result, mask = _run(lambda x: tuple(aten.native_dropout(x, 0.25, True)), _x(), False)
    assert ((result != 0) == mask).all()
    assert abs(mask.mean() - 0.75) < 0.02


@pytest.mark.parametrize(
    "function",
    [lambda x: F.dropout2d(x, 0.5), lambda x: F.feature_alpha_dropout(x, 0.5, True)],
    ids=["dropout", "alpha_dropout"],
)
def test_whole_channels_are_dropped(function: Callable[..., Any]) -> None:
    (result,) = _run(function, torch.ones(20, 30, 4, 4), True)
    assert (result == result[:, :, :1, :1]).all()
    assert len(np.unique(result)) == 2


SAME = [
    Case("dropout", lambda x: F.dropout(x, 0.5, False) + 1, lambda: [_x()], ops="Add"),
    Case("dropout_all", lambda x: F.dropout(x, 1.0, True), lambda: [_x()]),
    Case("dropout_none", lambda x: F.dropout(x, 0.0, True) + 1, lambda: [_x()], ops="Add"),
    Case("native_dropout", lambda x: tuple(aten.native_dropout(x, 0.5, False)), lambda: [_x()]),
    Case("feature_dropout", lambda x: aten.feature_dropout(x, 0.5, False) + 1, lambda: [_x()], ops="Add"),
    Case("alpha_dropout", lambda x: F.alpha_dropout(x, 0.5, False) + 1, lambda: [_x()], ops="Add"),
    Case("alpha_dropout_all", lambda x: F.alpha_dropout(x, 1.0, True), lambda: [_x()]),
    Case("feature_alpha_dropout", lambda x: F.feature_alpha_dropout(x, 0.5, False) + 1, lambda: [_x()], ops="Add"),
    Case("rrelu_with_noise", lambda x: aten.rrelu_with_noise_functional(-x, x)[0], lambda: [_x()]),
]


@cases(*SAME)
def test_nothing_random(case: Case) -> None:
    check(case)
    check(case, dynamic=True)
