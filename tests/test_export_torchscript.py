"""TorchScript given to export, whole or as a part: its loops and conditions, lists, dicts, sizes and classes."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from exporter import export
from exporter.errors import CaptureError, ModelError
from tests.lowering import Case, both_ways, compare, session_of


def _x(*shape: int) -> Callable[[], list[torch.Tensor]]:
    return lambda: [torch.randn(shape)]


@torch.jit.script
def grow(x, times: int):
    for i in range(times):
        x = x * 1.1 + i
    return x


@torch.jit.script
def by_sum(x):
    mean = x.mean()
    if bool(mean > 1):
        y, k = x * 2, 1
    elif bool(mean > 0):
        y, k = x * 3, 2
    else:
        y, k = x - 4, 3
    return y + k, k


@torch.jit.script
def nested(x):
    for i in range(x.size(0)):
        for j in range(x.size(1)):
            x = x + i * j
    return x


@torch.jit.script
def local_lists(x):
    y = x[0]
    for i in range(x.size(0)):
        parts = [y]
        parts.extend([y + 1, y * 2])
        parts += [x[i]]
        y = torch.stack(parts).sum(0) * 0.3
    return y


@torch.jit.script
def added_to(x):
    rows: list[torch.Tensor] = []
    for i in range(x.size(0)):
        rows += [x[i] * 2]
    return torch.stack(rows)


@torch.jit.script
def changed_containers(x):
    places = [3, 1, 2]
    places.sort()
    places.remove(2)
    places.insert(0, 7)
    del places[1]
    tensors = {"a": x, "b": x + 1}
    tensors["c"] = tensors.pop("a") * 2
    del tensors["b"]
    return tensors["c"] * places[0] + tensors.setdefault("d", x) + len(tensors)


@torch.jit.script
def largest(x):
    best: torch.Tensor | None = None
    for i in range(x.size(0)):
        if best is None:
            best = x[i]
        else:
            best = torch.max(best, x[i])
    assert best is not None
    return best


@torch.jit.script
def beams(x):
    """Two beams, whose sequences are longer after each round."""
    scores, sequences = torch.zeros(2), torch.zeros(2, 1, dtype=torch.long)
    for time in range(x.size(0)):
        scores, places = (scores.unsqueeze(1) + x[time].log_softmax(-1)).view(-1).topk(2)
        beam = torch.div(places, x.size(1), rounding_mode="floor")
        sequences = torch.cat([sequences[beam], (places % x.size(1)).unsqueeze(1)], 1)
    return sequences, scores


@torch.jit.script
def greedy(x):
    """Tokens are appended until the last of the classes comes."""
    token, tokens = torch.zeros(1, dtype=torch.long), [torch.zeros(1, dtype=torch.long)]
    place = 0
    while place < x.size(0) and int(token[0]) != x.size(1) - 1:
        token = (x[place] + token).argmax(-1, keepdim=True)
        tokens.append(token)
        place += 1
    return torch.cat(tokens), len(tokens)


@torch.jit.script
def cut_by_value(x):
    if bool(x.mean() > 0):
        y = x[1:] * 2
    else:
        y = x[:1]
    return y + 1


@torch.jit.script
def over_parts(x):
    rows, total = x.unbind(0), torch.zeros_like(x[0])
    for i, row in enumerate(rows):
        total = total + row * i
    doubled = [row * 2 for row in rows]
    return total, rows[-1], torch.stack(doubled), len(rows)


@torch.jit.script
def until(x, limit: int = 6):
    rounds = 0
    done = False
    while rounds < limit and not done:
        x = x * 2
        done = bool(x.abs().max() > 30)
        rounds += 1
    return x, rounds


@torch.jit.script
def leave_early(x):
    for i in range(x.size(0)):
        if bool(x[i].sum() > 1):
            break
        x = x + i
    if x.size(0) > 4:
        return x.sum(0)
    return x.mean(0)


@torch.jit.script
def backwards(x):
    rows: list[torch.Tensor] = []
    for i in range(x.size(0) - 1, -1, -1):
        rows.append(x[i] * i)
    return torch.stack(rows)


@torch.jit.script
def write_rows(x):
    y, z = torch.zeros_like(x), x.clone()
    for i in range(x.size(0)):
        y[i] = x[i] * i
    if bool(x.sum() > 0):
        z.add_(1)
    else:
        z[0] = 0.0
    return y, z


@torch.jit.script
def containers(x):
    rows: list[torch.Tensor] = []
    for row in x.unbind(0):
        rows.append(row * 2)
    rows.insert(0, rows[0])
    rows.pop()
    rows[1] = rows[1] + 1
    table: dict[str, torch.Tensor] = {}
    for i in range(3):
        table[str(i)] = x * i
    if "1" in table:
        table["x"] = table["1"] + 1
    sizes: list[int] = []
    for i in range(x.dim()):
        sizes.append(x.size(i))
    return torch.cat(rows[1:]), torch.stack([v for k, v in table.items()]), torch.zeros(sizes), len(rows)


@torch.jit.script
def numbers(x, mode: str = "a"):
    assert x.dim() == 2, "must be a matrix"
    if bool(x.isnan().any()):
        raise RuntimeError("NaN")
    scale = float(x.size(0)) / max(x.size(1), 2) + math.sqrt(2.0) + math.floor(2.7)
    if mode in ["a", "b"]:
        x = x * scale
    return x, x.size(0) % 2, int(x.sum().item()), x.view(x.size(0), -1, 2)


@torch.jit.script
def casts(x):
    return x.to(torch.int64), x.half(), x.to(x.device), x.type_as(x.long()), torch.tensor([1, 2]), torch.tensor(3.5)


@torch.jit.script
class Pair:
    def __init__(self, left: torch.Tensor):
        self.left = left
        self.right = left * 2

    def total(self):
        return self.left + self.right


@torch.jit.script
def with_class(x):
    pair = Pair(x)
    return pair.total() - pair.right


class Point(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


class Structures(nn.Module):
    """Optional arguments, and a named tuple as result."""

    def forward(
        self, x: torch.Tensor, table: dict[str, torch.Tensor] | None = None,
        pair: tuple[torch.Tensor, int] | None = None,
    ) -> Point:  # fmt: skip
        if table is not None:
            x = x + table["a"]
        if pair is not None:
            x = x * pair[0] + pair[1]
        return Point(x, x * 2)


class Cells(nn.Module):
    """A cell over time, the outputs in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = torch.zeros(x.size(1), 5)
        rows: list[torch.Tensor] = []
        for t in range(x.size(0)):
            h = self.cell(x[t], h)
            rows.append(h)
        return torch.stack(rows), h


class Packed(nn.Module):
    """A layer over packed sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(5, 6)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        output, _ = self.layer(pack_padded_sequence(x, lengths))
        return pad_packed_sequence(output)[0]


class Layers(nn.Module):
    """Layers in a list and in a dict, and a method of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
        self.last = nn.ModuleDict({"relu": nn.ReLU(), "drop": nn.Dropout()})

    @torch.jit.export
    def first(self, x: torch.Tensor) -> torch.Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x) + i
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for layer in self.last.values():
            x = layer(x)
        return x


class Counting(nn.Module):
    """A buffer that is replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total = self.total + x.sum(0)
        return x + self.total


class Attention(nn.Module):
    """What has a path of its own in eval mode, which traces hold."""

    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=norm_first)

    def forward(self, x: torch.Tensor):  # what it returns, TorchScript knows best
        y, weights = self.attention(x, x, x)
        return self.layer(y), weights


class Resized(nn.Module):
    """Sizes that a trace reads off its example."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        n, c, h, w = x.shape
        z = F.interpolate(x, size=y.shape[2:], mode="bilinear")
        return z, x.reshape(n, c, h * w).mT, x[:, :, : h // 2], torch.zeros(n, h) + c, F.pad(x, [1, 1, 0, 2], "reflect")


def _conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Dropout(), nn.Linear(4, 2),
    ).eval()  # fmt: skip


def _traced(module: nn.Module, *shapes: tuple[int, ...]) -> nn.Module:
    with torch.no_grad():
        return torch.jit.trace(module.eval(), tuple(torch.randn(shape) for shape in shapes), check_trace=False)


def _traced_encoder() -> nn.Module:
    """Not by its fast path, which it takes where there are no gradients."""
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # of sizes that it compares
        return torch.jit.trace(encoder, torch.randn(2, 5, 8), check_trace=False)


def _loaded(module: nn.Module) -> nn.Module:
    memory = io.BytesIO()
    torch.jit.save(torch.jit.script(module), memory)
    memory.seek(0)
    return torch.jit.load(memory)


_X = _x(3, 4)

CASES = [
    Case("loop", lambda x: grow(x, 3) + 1, _X),
    Case("loop_over_size", lambda x: grow(x, x.shape[0]), _X),
    Case("nested_loops", nested, _X),
    Case("branches_by_value", by_sum, _X),
    Case("while", until, _X),
    Case("early_leave", leave_early, _x(5, 4)),
    Case("appended_backwards", backwards, _X),
    Case("lists_of_a_round", local_lists, _X),
    Case("added_to_a_list", added_to, _X),
    Case("changed_containers", changed_containers, _X),
    Case("none_before_the_first_round", largest, _X),
    Case("grows_by_rounds", beams, _x(5, 7), fixed=(1,)),
    Case("appends_until", greedy, _x(6, 5), fixed=(1,)),
    Case("branches_of_other_sizes", cut_by_value, _X),
    Case("over_parts", over_parts, _X),
    Case("writes_in_loops", write_rows, _X),
    Case("containers", containers, _X, fixed=(0,)),
    Case("numbers", numbers, _X, fixed=(1,)),
    Case("casts", casts, _X),
    Case("class", with_class, _X),
    Case("structures", lambda x, y, z: torch.jit.script(Structures())(x, {"a": y}, (z, 3)),
         lambda: [torch.randn(3, 4) for _ in range(3)], dynamic=False),
    Case("cells", torch.jit.script(Cells()), _x(6, 3, 4), fixed=(2,)),
    Case("packed", torch.jit.script(Packed().eval()), lambda: [torch.randn(5, 3, 5), torch.tensor([5, 3, 2])],
         dynamic=False),
    Case("layers", torch.jit.script(Layers().eval()), _X, fixed=(1,)),
    Case("method", torch.jit.script(Layers().eval()).first, _X, fixed=(1,)),
    Case("script_net", torch.jit.script(_conv_net()), _x(2, 3, 8, 8), fixed=(1,)),
    Case("traced_net", _traced(_conv_net(), (2, 3, 8, 8)), _x(2, 3, 8, 8), fixed=(1,)),
    Case("frozen_net", torch.jit.freeze(torch.jit.script(_conv_net())), _x(2, 3, 8, 8), fixed=(1,)),
    Case("traced_sizes", _traced(Resized(), (2, 3, 4, 5), (2, 3, 7, 9)),
         lambda: [torch.randn(2, 3, 4, 5), torch.randn(2, 3, 7, 9)]),
    Case("traced_function", torch.jit.trace(lambda x: x.view(x.size(0) * 2, -1) * 3, torch.randn(2, 4)), _X,
         fixed=(1,)),
    Case("script_attention", torch.jit.script(Attention(True).eval()), _x(2, 5, 8), fixed=(2,)),
    Case("traced_attention", _traced(Attention(True), (2, 5, 8)), _x(2, 5, 8), fixed=(2,)),
    Case("traced_encoder", _traced_encoder(), _x(2, 5, 8), fixed=(2,)),
    Case("traced_attention_norm_last", _traced(Attention(False), (2, 5, 8)), _x(2, 5, 8), fixed=(2,)),
]  # fmt: skip

test_static, test_dynamic = both_ways(*CASES)


def test_both_branches_are_in_the_model() -> None:
    session = session_of(export(lambda x: by_sum(x), (torch.ones(2, 3),)))
    for value in (2.0, 0.5, -1.0):
        compare(session, by_sum, (torch.full((2, 3), value),))


def test_loops_go_on_until_their_condition() -> None:
    session = session_of(export(lambda x: until(x), (torch.ones(2, 3),)))
    for value in (1.0, 100.0, 0.001):
        compare(session, until, (torch.full((2, 3), value),))


def test_names_and_parameters_are_those_of_the_module() -> None:
    program = export(torch.jit.script(Layers().eval()), (torch.zeros(2, 4),), dynamic_shapes={"x": {0: "n"}})
    assert [value.name for value in program.model.graph.inputs] == ["x"]
    assert set(program.model.graph.initializers) >= {"layers.0.weight", "layers.1.weight", "layers.0.bias"}
    program.validate().check()


def test_a_loaded_module_with_a_buffer_that_is_replaced() -> None:
    program = export(_loaded(Counting()), (torch.randn(3, 4),), dynamic_shapes={"x": {0: "n"}})
    x = torch.randn(5, 4)
    compare(session_of(program), _loaded(Counting()), (x,))


class Legacy(torch.jit.ScriptModule):
    """A module by inheritance."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    @torch.jit.script_method
    def forward(self, x, scale: float = 2.0):
        return x * self.weight * scale + x.shape[0]


def test_a_script_module_by_inheritance() -> None:
    program = export(Legacy(), {"x": torch.randn(3, 4), "scale": 3.0}, dynamic_shapes={"x": {0: "n"}})
    program.validate().check()


@torch.jit.script
def longer(x):
    out = x[:1]
    for i in range(x.size(0)):
        out = torch.cat([out, x[i : i + 1]])
    return out


def test_what_a_loop_carries_may_grow_in_each_round() -> None:
    program = export(longer, (torch.randn(3, 4),), dynamic_shapes={"x": {0: "n"}})
    program.validate(sizes=[{"n": 1}, {"n": 6}]).check()


@torch.jit.script
def deeper(x):
    for _ in range(x.size(0)):
        x = x.unsqueeze(0)
    return x


def test_what_a_loop_carries_keeps_its_rank() -> None:
    with pytest.raises(CaptureError, match="what a scan carries, before and after a round, must be of the same"):
        export(deeper, (torch.randn(3, 4),), dynamic_shapes={"x": {0: "n"}})


@pytest.mark.parametrize("stop", [0, 2, 4])
def test_a_list_that_grows_until_a_value_is_as_long_as_in_eager(stop: int) -> None:
    program = export(greedy, (torch.randn(6, 5),), dynamic_shapes=({0: "time"},))
    scores = torch.zeros(6, 5)
    scores[stop, 4], scores[:, 0] = 9.0, 1.0
    report = program.validate(inputs=[(scores,)])
    report.check()
    assert greedy(scores)[1] == stop + 2


def test_an_element_of_a_list_that_a_loop_appended_to() -> None:
    @torch.jit.script
    def first_of(x):
        rows = [x[0]]
        while bool(rows[-1].sum() < 10):
            rows.append(rows[-1] + 1)
        return rows[1]

    with pytest.raises(CaptureError):
        export(first_of, (torch.zeros(3, 2),))


def test_a_scripted_module_without_forward() -> None:
    with pytest.raises(ModelError, match=r"must have a forward\(\) that can be called"):
        export(torch.jit.script(nn.LSTM(4, 3)), (torch.randn(5, 2, 4),))
