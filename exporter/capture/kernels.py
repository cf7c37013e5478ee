"""What an overload returns for tensors without memory: specs in, specs out, each call once.

torch's own meta kernels answer; a second call with the same sizes is answered from a cache, so that
a model of many equal layers asks once a layer kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from exporter.capture.tensors import Spec
from exporter.capture.torch_internals import storage_of, tree_map

aten = torch.ops.aten


class Outcome(NamedTuple):
    """What a call returns: specs in the order of its tensor results, and how they nest.

    `template` is the result with each tensor replaced by its index among `specs`; `aliases` tells
    for each the index of the tensor argument whose memory it shares, or None.
    """

    specs: tuple[Spec, ...]
    template: Any
    aliases: tuple[int | None, ...]


class _Slot(NamedTuple):
    place: int


def call_meta(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Outcome:
    """Ask the meta kernel.  In `args` and `kwargs`, specs stand for the tensors."""
    metas: list[torch.Tensor] = []

    def meta(argument: Any) -> Any:
        if type(argument) is Spec:
            metas.append(argument.meta())
            return metas[-1]
        if type(argument) in (list, tuple):
            return [meta(item) for item in argument]
        return argument

    args = [meta(argument) for argument in args]
    kwargs = {name: meta(argument) for name, argument in kwargs.items()}
    if kwargs.get("device") is not None or func in _FACTORIES:
        kwargs["device"] = torch.device("meta")
    if kwargs.get("pin_memory"):
        del kwargs["pin_memory"]
    return outcome_of(_run(func, args, kwargs), metas)


def outcome_of(result: Any, arguments: Sequence[torch.Tensor]) -> Outcome:
    """Describe what a kernel returned for `arguments`."""
    specs: list[Spec] = []
    aliases: list[int | None] = []
    memory = {storage_of(argument): i for i, argument in reversed([*enumerate(arguments)])}

    def describe(item: Any) -> Any:
        if not isinstance(item, torch.Tensor):
            return item
        specs.append(Spec(tuple(item.shape), item.stride(), item.dtype))
        aliases.append(memory.get(storage_of(item)))
        return _Slot(len(specs) - 1)

    template = tree_map(describe, result)
    return Outcome(tuple(specs), template, tuple(aliases))


def fill(template: Any, tensors: Sequence[Any]) -> Any:
    """The result that `template` describes, with `tensors` in their places."""
    if type(template) is _Slot:
        return tensors[template.place]
    if isinstance(template, (list, tuple)):
        return type(template)(fill(item, tensors) for item in template)
    return template


_NORMALIZATIONS = {aten._native_batch_norm_legit_functional.default, aten._batch_norm_with_update_functional.default}


def _check_channels(input: torch.Tensor, weight: Any, bias: Any, running_mean: torch.Tensor | None, *_: Any) -> None:
    """Refuse running statistics of another number of channels, which the meta kernels let pass."""
    if running_mean is not None and running_mean.shape[0] != input.shape[1]:
        raise RuntimeError(f"running_mean must have {input.shape[1]} elements, got {running_mean.shape[0]}")


def _run(func: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if func in _NORMALIZATIONS:
        _check_channels(*args)
    special = SPECIAL.get(func)
    if special is not None:
        return special(*args, **kwargs)
    try:
        return func(*args, **kwargs)
    except NotImplementedError:
        return _run_on_zeros(func, args, kwargs)


def _run_on_zeros(func: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """What the CPU kernel makes of zeros, for the few overloads without a meta kernel."""

    def real(item: Any) -> Any:
        return torch.zeros(item.shape, dtype=item.dtype) if isinstance(item, torch.Tensor) else item

    if kwargs.get("device") is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    result = func(*tree_map(real, args), **tree_map(real, kwargs))
    return tree_map(lambda t: t.to("meta") if isinstance(t, torch.Tensor) else t, result)


_FACTORIES = frozenset(
    overload
    for name in [
        "zeros", "ones", "empty", "full", "rand", "randn", "randint", "randperm", "arange", "linspace", "logspace",
        "eye", "scalar_tensor", "empty_strided", "tril_indices", "triu_indices", "hann_window", "hamming_window",
        "blackman_window", "bartlett_window", "kaiser_window", "fft_fftfreq", "fft_rfftfreq",
    ]
    for overload in (getattr(getattr(aten, name), overload_name) for overload_name in getattr(aten, name).overloads())
    if any(argument.name == "device" for argument in overload._schema.arguments)
)  # fmt: skip

# Shape functions of ours, in place of torch's.
SPECIAL: dict[Any, Callable[..., Any]] = {}


def special(*overloads: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a shape function of ours where torch's is missing, slow or wrong."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        SPECIAL.update(dict.fromkeys(overloads, function))
        return function

    return register


@special(aten.view.default, aten._unsafe_view.default, aten.view_copy.default)
def _view(tensor: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """A view where the strides allow one, else a copy: strides decide nothing."""
    return tensor.reshape(size)


@special(aten.view_as.default)
def _view_as(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(other.shape)


@special(aten.nansum.default, aten.nanmean.default)
def _nan_reduction(
    tensor: torch.Tensor, dim: int | list[int] | None = None, keepdim: bool = False,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:  # fmt: skip
    """[*S] -> [*S] without the dims; no dims are all of them, which torch's own takes for none."""
    return tensor.sum(None if dim == [] else dim, keepdim, dtype=dtype)


@special(
    aten.__lshift__.Tensor, aten.__lshift__.Scalar, aten.__rshift__.Tensor, aten.__rshift__.Scalar,
    aten.bitwise_left_shift.Tensor, aten.bitwise_left_shift.Tensor_Scalar,
    aten.bitwise_right_shift.Tensor, aten.bitwise_right_shift.Tensor_Scalar,
)  # fmt: skip
def _shift(tensor: torch.Tensor, other: Any) -> torch.Tensor:
    """[*A], [*B] -> broadcast; torch's own takes no bool tensors, its CPU kernels do."""
    return tensor + other


@special(aten.pow.Tensor_Scalar)
def _power(tensor: torch.Tensor, exponent: Any) -> torch.Tensor:
    """[*S] -> [*S]; torch's own takes the exponent True for an integer, its CPU kernel does not."""
    return torch.empty_like(tensor, dtype=torch.result_type(tensor, exponent))


@special(aten.select.int)
def _select(tensor: torch.Tensor, dim: int, index: int) -> torch.Tensor:
    """[*L, a, *R] -> [*L, *R]; an index that depends on values may be anything at a sample."""
    size = tensor.shape[dim]
    return tensor.select(dim, index if -size <= index < size else 0)


@special(aten.narrow.default, aten.narrow.Tensor)
def _narrow(tensor: torch.Tensor, dim: int, start: int | torch.Tensor, length: int) -> torch.Tensor:
    """[*L, a, *R] -> [*L, length, *R], wherever it starts."""
    return stretched(tensor, dim, length)


def stretched(tensor: torch.Tensor, dim: int, length: int) -> torch.Tensor:
    """A view of the tensor with another size along a dim."""
    shape = list(tensor.shape)
    shape[dim] = length
    return tensor.select(dim, 0).unsqueeze(dim).expand(shape) if tensor.shape[dim] else tensor


@special(aten.scaled_dot_product_attention.default)
def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    """[*B, L, E], [*B, S, E], [*B, S, Ev] -> [*B, L, Ev]; the math path asks for nothing else."""
    batch = query.shape[:-2]
    for other in (key, value):
        if batch != other.shape[:-2] and not __.get("enable_gqa") and len(_) < 6:
            batch = torch.broadcast_shapes(batch, other.shape[:-2])
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(f"attention of shapes {query.shape}, {key.shape}, {value.shape}")
    return query.new_empty((*batch, query.shape[-2], value.shape[-1]))


@special(aten.native_layer_norm.default)
def _native_layer_norm(
    input: torch.Tensor, normalized_shape: Sequence[int], weight: Any, bias: Any, eps: float
) -> tuple[torch.Tensor, ...]:
    """[*L, *N] -> [*L, *N] and two of [*L, 1...] in the dtype of the weight; torch's own has them in float32."""
    if any(other is not None and other.shape != input.shape[-len(normalized_shape) :] for other in (weight, bias)):
        raise RuntimeError(f"weights of another shape than {tuple(normalized_shape)}")
    kept = weight if weight is not None else bias if bias is not None else input
    sizes = [*input.shape[: input.ndim - len(normalized_shape)], *[1] * len(normalized_shape)]
    return torch.empty_like(input), kept.new_empty(sizes), kept.new_empty(sizes)


@special(aten.native_batch_norm.default)
def _native_batch_norm(
    input: torch.Tensor, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, *_: float
) -> tuple[torch.Tensor, ...]:
    """[N, C, *S] and the statistics that were taken: [C] each in training, else none, which torch's own forgets."""
    by_channel = [other for other in (weight, bias, running_mean, running_var) if other is not None]
    if any(other.shape[0] != input.shape[1] for other in by_channel):
        raise RuntimeError(f"weights and statistics of other than {input.shape[1]} channels")
    kept = next((other for other in (weight, running_mean) if other is not None), input)
    count = input.shape[1] if training else 0
    return torch.empty_like(input), kept.new_empty((count,)), kept.new_empty((count,))


@special(aten._native_batch_norm_legit_functional.default)
def _native_batch_norm_functional(
    input: torch.Tensor, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, *_: float
) -> tuple[torch.Tensor, ...]:
    """The same, and the running statistics after it."""
    results = _native_batch_norm(input, weight, bias, running_mean, running_var, training)
    return (*results, torch.empty_like(running_mean), torch.empty_like(running_var))


@special(aten._native_batch_norm_legit_no_training.default)
def _native_batch_norm_no_training(
    input: torch.Tensor, weight: Any, bias: Any, running_mean: Any, running_var: Any, *_: float
) -> tuple[torch.Tensor, ...]:
    """The same without training."""
    return _native_batch_norm(input, weight, bias, running_mean, running_var, False)


@special(aten._native_batch_norm_legit.no_stats)
def _native_batch_norm_no_stats(
    input: torch.Tensor, weight: Any, bias: Any, training: bool, *_: float
) -> tuple[torch.Tensor, ...]:
    """The same without running statistics, in training."""
    return _native_batch_norm(input, weight, bias, None, None, True)


@special(aten._batch_norm_no_update.default)
def _batch_norm_no_update(
    input: torch.Tensor, weight: Any, bias: Any, running_mean: Any, running_var: Any, *_: float
) -> tuple[torch.Tensor, ...]:
    """The same without training, with an empty reserve."""
    results = _native_batch_norm(input, weight, bias, running_mean, running_var, False)
    return (*results, input.new_empty((0,), dtype=torch.uint8))


@special(aten._masked_softmax.default)
def _masked_softmax(
    input: torch.Tensor, mask: torch.Tensor, dim: int | None = None, mask_type: int | None = None
) -> torch.Tensor:  # fmt: skip
    """[*S] and a mask [L, L], [B, L] or [*S] -> [*S]; torch has none."""
    wanted = {0: input.shape[-2:], 1: (input.shape[0], input.shape[-1])}.get(2 if mask_type is None else mask_type)
    if tuple(mask.shape) != tuple(input.shape if wanted is None else wanted):
        raise RuntimeError(f"mask of shape {tuple(mask.shape)} for scores of shape {tuple(input.shape)}")
    return torch.empty_like(input)


@special(aten._batch_norm_with_update_functional.default)
def _batch_norm_with_update(
    input: torch.Tensor, weight: Any, bias: Any, running_mean: Any, running_var: Any, *_: float
) -> tuple[torch.Tensor, ...]:
    """The same in training, with an empty reserve in between."""
    results = _native_batch_norm_functional(input, weight, bias, running_mean, running_var, True)
    return (*results[:3], input.new_empty((0,), dtype=torch.uint8), *results[3:])


@special(aten.ctc_loss.Tensor, aten.ctc_loss.IntList)
def _ctc_loss(
    log_probs: torch.Tensor, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: int = 1,
    zero_infinity: bool = False,
) -> torch.Tensor:  # fmt: skip
    """[T, N, C] or [T, C] -> [] or [N]; torch's own looks into the lengths."""
    rows = [n for n in (targets, input_lengths, target_lengths) if isinstance(n, torch.Tensor)]
    if log_probs.ndim == 3 and any(n.shape[0] != log_probs.shape[1] for n in rows[targets.ndim == 1 :]):
        raise RuntimeError(f"targets and lengths of other than {log_probs.shape[1]} sequences")
    return log_probs.new_empty(log_probs.shape[1:-1] if reduction == 0 else ())


@special(aten.istft.default)
def _istft(
    spectrum: torch.Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: torch.Tensor | None = None, center: bool = True, normalized: bool = False, onesided: bool | None = None,
    length: int | None = None, return_complex: bool = False,
) -> torch.Tensor:  # fmt: skip
    """[*B, n, F] -> [*B, T]; torch's own asks for values of the window."""
    if length is None:
        length = n_fft + (spectrum.shape[-1] - 1) * (hop_length or n_fft // 4)
        length -= n_fft // 2 * 2 if center else 0
    dtype = spectrum.dtype if return_complex else spectrum.real.dtype
    return spectrum.new_empty((*spectrum.shape[:-2], length), dtype=dtype)


@special(aten.linalg_lstsq.default)
def _lstsq(
    matrix: torch.Tensor, right: torch.Tensor, rcond: float | None = None, *, driver: str | None = None
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    """[*B, N, M], [*B, N, K] -> [*B, M, K], and what comes with it where the matrix is of full rank."""
    *batch, count, columns = matrix.shape
    is_vector = right.ndim < matrix.ndim
    width = () if is_vector else right.shape[-1:]
    has_errors = driver not in (None, "gelsy") and count > columns
    return (
        matrix.new_empty((*batch, columns, *width)),
        matrix.new_empty((*batch, *(width or (1,))) if has_errors else (0,)),
        matrix.new_empty((0,) if driver == "gels" else batch, dtype=torch.int64),
        matrix.new_empty((*batch, min(count, columns)) if driver in ("gelsd", "gelss") else (0,)),
    )


@special(aten.cov.default)
def _cov(variables: torch.Tensor, **_: object) -> torch.Tensor:
    """[V, N] -> [V, V], one variable -> []; torch's own asks for values of the weights."""
    count = variables.shape[0] if variables.ndim == 2 else 1
    dtype = variables.dtype if variables.dtype.is_floating_point else torch.get_default_dtype()
    return variables.new_empty([] if count == 1 else [count, count], dtype=dtype)


@special(aten._grouped_mm.default)
def _grouped_mm(
    rows: torch.Tensor, matrices: torch.Tensor, offs: torch.Tensor | None = None, bias: torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor:  # fmt: skip
    """[*G, T, K], [G, K, N] -> [*G, T, N] of any dtype; torch's own asks for bfloat16, its CPU kernel does not."""
    return rows.new_empty((*rows.shape[:-1], matrices.shape[-1]), dtype=out_dtype)


def _recurrent_result(
    input: torch.Tensor, states: Sequence[torch.Tensor], layers: int, bidirectional: bool, batch_first: bool
) -> torch.Tensor:
    if input.ndim == 3 and any(state.shape[1] != input.shape[0 if batch_first else 1] for state in states):
        raise RuntimeError(f"initial states of {states[0].shape[1]} sequences beside an input of {tuple(input.shape)}")
    directions = 2 if bidirectional else 1
    width = states[0].shape[-1] * directions
    return input.new_empty((*input.shape[:-1], width))


@special(aten.lstm.input)
def _lstm(
    input: torch.Tensor, hx: Sequence[torch.Tensor], params: Sequence[torch.Tensor], has_biases: bool,
    num_layers: int, dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    output = _recurrent_result(input, hx, num_layers, bidirectional, batch_first)
    return output, torch.empty_like(hx[0]), torch.empty_like(hx[1])


@special(aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input)
def _rnn(
    input: torch.Tensor, hx: torch.Tensor, params: Sequence[torch.Tensor], has_biases: bool,
    num_layers: int, dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    return _recurrent_result(input, [hx], num_layers, bidirectional, batch_first), torch.empty_like(hx)


@special(aten.lstm.data)
def _lstm_packed(
    data: torch.Tensor, batch_sizes: torch.Tensor, hx: Sequence[torch.Tensor], params: Sequence[torch.Tensor],
    has_biases: bool, num_layers: int, dropout: float, train: bool, bidirectional: bool,
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    output = _recurrent_result(data, hx, num_layers, bidirectional, False)
    return output, torch.empty_like(hx[0]), torch.empty_like(hx[1])


@special(aten.gru.data, aten.rnn_tanh.data, aten.rnn_relu.data)
def _rnn_packed(
    data: torch.Tensor, batch_sizes: torch.Tensor, hx: torch.Tensor, params: Sequence[torch.Tensor],
    has_biases: bool, num_layers: int, dropout: float, train: bool, bidirectional: bool,
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    return _recurrent_result(data, [hx], num_layers, bidirectional, False), torch.empty_like(hx)


@special(aten.threshold_backward.default, aten.relu.default, aten.sigmoid_backward.default)
def _like_the_first(first: torch.Tensor, *_: object) -> torch.Tensor:
    """[*S] -> [*S]; torch's own is a formula in Python."""
    return torch.empty_like(first)


@special(aten.convolution_backward.default)
def _convolution_backward(
    grad: torch.Tensor, input: torch.Tensor, weight: torch.Tensor, bias_sizes: Any, stride: Any, padding: Any,
    dilation: Any, transposed: Any, output_padding: Any, groups: Any, mask: Sequence[bool],
) -> tuple[torch.Tensor | None, ...]:  # fmt: skip
    """The gradients that are asked for, each of the shape of what it is a gradient of."""
    bias = None if bias_sizes is None else grad.new_empty(bias_sizes)
    return tuple(x.new_empty(x.shape) if wanted and x is not None else None
                 for x, wanted in zip((input, weight, bias), mask, strict=True))  # fmt: skip


@special(aten.native_batch_norm_backward.default)
def _native_batch_norm_backward(
    grad: torch.Tensor, input: torch.Tensor, weight: torch.Tensor | None, *rest: Any
) -> tuple[torch.Tensor | None, ...]:  # fmt: skip
    """The gradients that are asked for, of [N, C, *S] and twice [C]."""
    kept = input if weight is None else weight
    shapes = [input.shape, (input.shape[1],), (input.shape[1],)]
    return tuple(x.new_empty(shape) if wanted else None
                 for x, shape, wanted in zip((input, kept, kept), shapes, rest[-1], strict=True))  # fmt: skip


class Kernels:
    """The cache before the meta kernels, for one recording."""

    def __init__(self) -> None:
        self._known: dict[Any, Outcome] = {}

    def outcome(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Outcome:
        """What `func` returns; `args` and `kwargs` hold specs for the tensors."""
        key = (func, _key(args), _key(list(kwargs.items())) if kwargs else None)
        try:
            known = self._known.get(key)
        except TypeError:  # an argument that cannot be hashed
            return call_meta(func, args, kwargs)
        if known is None:
            known = self._known[key] = call_meta(func, args, kwargs)
        return known


def _key(arguments: Sequence[Any]) -> tuple[Any, ...]:
    """A key in which 1, 1.0 and True are three things."""
    return tuple(
        _key(argument) if type(argument) in (list, tuple)
        else argument if type(argument) in _PLAIN
        else (type(argument), argument)
        for argument in arguments
    )  # fmt: skip


_PLAIN = (Spec, int, str, type(None), torch.dtype)
