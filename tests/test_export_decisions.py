"""What Python code asks of tensors and sizes while it is recorded: numbers, truths, lengths."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from exporter import ExportError, Program, export
from exporter.errors import FixedValuesWarning
from tests.lowering import session_of
from tests.running import Calling, agree


def _exported(function: Callable[..., Any], *inputs: Any, **options: Any) -> Program:
    program = export(Calling(function), inputs, **options)
    report = program.validate()
    assert report.passed, str(report)
    return program


def _sizes_in_a_tensor(x: Tensor) -> list[Tensor]:
    """As deformable DETR does: sizes go into a tensor, and come out of it as numbers."""
    shapes = torch.stack([torch.full((), x.shape[1]), torch.full((), 2 * x.shape[1])])
    first, second = shapes.tolist()
    return list(torch.cat([x, x, x], 1).split([first, second], 1))


def test_numbers_that_depend_on_sizes_alone_are_known() -> None:
    program = _exported(_sizes_in_a_tensor, torch.randn(2, 5), dynamic_shapes=({1: "n"},))
    assert program.report.decisions == []


def _checked(x: Tensor, lengths: Tensor) -> Tensor:
    if not lengths.max().item() <= 100:
        raise ValueError("too long")
    if x.isnan().any():
        raise ValueError("no numbers")
    return x * lengths[:, None]


def test_checks_of_values_are_passed() -> None:
    _exported(_checked, torch.randn(2, 5), torch.tensor([3, 5]))


def _either(x: Tensor) -> Tensor:
    return x + 1 if (x > 0).all() else x - 1


def test_a_decision_by_values_goes_both_ways() -> None:
    x = torch.randn(2, 5)
    export(Calling(_either), x).validate(inputs=[(x.abs() + 1,)]).check()


def _broken(x: Tensor) -> Tensor:
    if (x > 0).all():
        return x.reshape(7, 77)  # fails for a reason that is no check of the model's own
    return x - 1


def test_a_branch_that_cannot_be_recorded_is_no_check() -> None:
    with pytest.raises(ExportError, match="depends on a tensor's values"):
        export(Calling(_broken), torch.randn(2, 5))


def test_a_tensor_of_sizes_and_values_stays_open() -> None:
    def joined(x: Tensor) -> Tensor:
        return torch.tensor([x.shape[0], x.shape[1] + 1]) * torch.tensor([[x.argmax(), x.sum().long()]])

    _exported(joined, torch.randn(2, 5), dynamic_shapes=({0: "m", 1: "n"},))


def test_len_of_a_tensor_is_dynamic() -> None:
    _exported(lambda x: x.new_zeros(len(x), 3) + x.sum(), torch.randn(2, 5), dynamic_shapes=({0: "n"},))


def _in_chunks(x: Tensor) -> Tensor:
    """As EnCodec does: one chunk, as long as the whole."""
    length = x.shape[1]
    return torch.cat([x[:, start : start + length] for start in range(0, length, length)], 1)


def test_a_range_over_a_size_is_symbolic() -> None:
    program = _exported(_in_chunks, torch.randn(2, 5), dynamic_shapes=({1: "n"},))
    assert program.report.decisions == []


def _padded(x: Tensor) -> Tensor:
    """As Mimi does: whole strides, the padding computed in a tensor of floats."""
    frames = torch.ceil((x.shape[2] - torch.tensor(4.0)) / 4 + 1).to(torch.int64)
    y = nn.functional.pad(x, (0, frames * 4 - x.shape[2]))
    return y[..., : y.shape[-1] - 1]


def test_a_size_computed_in_a_tensor_of_floats_can_be_computed_with() -> None:
    _exported(_padded, torch.randn(2, 3, 10), dynamic_shapes=({2: "n"},))


@pytest.mark.parametrize("join", [torch.cat, torch.stack], ids=["cat", "stack"])
def test_all_parts_of_a_batch_together_are_the_batch(join: Callable[..., Tensor]) -> None:
    program = _exported(lambda x: join(list(x)), torch.randn(2, 5, 3), dynamic_shapes=({0: "n"},))
    assert program.report.decisions == []


def _all_parts(x: Tensor, mask: Tensor) -> Tensor:
    """As Idefics3 and Gemma 4 do: what belongs to each image, seen as rows, and put together again."""
    parts = [part.reshape(-1, part.shape[-1]) for part in x[mask].split(mask.sum(1).tolist())]
    return torch.cat(parts, 0)


def test_all_that_was_split_by_values_together_is_the_whole() -> None:
    inputs = torch.randn(2, 3, 5, 4), torch.tensor([[True, True, False], [True, False, False]])
    shapes = ({0: "batch"}, {0: "batch"})
    program = _exported(_all_parts, *inputs, dynamic_shapes=shapes)
    assert not {"Slice", "Concat"} & {node.op_type for node in program.model.graph}


def test_square_transposes_stay() -> None:
    _exported(lambda x: x.t() + torch.arange(4.0), torch.randn(4, 4))
    _exported(lambda x: x.transpose(1, 2) @ x, torch.randn(2, 3, 3))


def _patches(pixels: Tensor, grid: Tensor) -> Tensor:
    return torch.cat([part.reshape(h, w, -1).sum(0) for part, (h, w) in zip([pixels], grid.tolist(), strict=True)])


def test_an_input_that_holds_sizes_is_fixed_and_said() -> None:
    program = _exported(_patches, torch.randn(6, 3), torch.tensor([[2, 3]]))
    assert [str(c) for c in program.report.decisions] == [
        "inputs_1 == [[2, 3]] (fixed at sizes that the model's code reads from this input)"
    ]


def _taken(x: Tensor, places: Tensor) -> Tensor:
    """As UDOP does: rows and columns are tuples of numbers that tensors hold."""
    rows, columns = zip(*places, strict=True)
    kept = torch.full_like(x, True).bool()
    kept[rows, columns] = False
    return x * kept + x[rows, columns].sum()


def test_indices_are_tuples_of_elements() -> None:
    _exported(_taken, torch.randn(3, 4), torch.tensor([[0, 3], [2, 1]]))


def _marked(x: Tensor, ids: Tensor, marks: Tensor) -> Tensor:
    """As Qwen3-VL does: as many rows as elements are marked."""
    y = x.clone()
    y[ids > 7] = y[ids > 7] + marks
    return y


def test_a_mask_chooses_as_many_as_there_must_be() -> None:
    _exported(_marked, torch.randn(2, 4, 3), torch.tensor([[1, 9, 9, 2], [9, 3, 3, 3]]), torch.randn(3, 3))


def _merged(x: Tensor, lengths: Tensor) -> Tensor:
    """As encoders of sound do: the rows of all sounds, without what pads them, four at a time."""
    kept = x[torch.arange(x.shape[1]) < (lengths[:, None] + 3) // 4 * 4]
    return kept.reshape(-1, 4 * x.shape[2]).relu()


def test_a_mask_chooses_as_many_as_a_reshape_takes() -> None:
    _exported(_merged, torch.randn(2, 8, 3), torch.tensor([3, 8]))


def _rows(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """As VideoMAE does: each example has as many rows as the mask leaves of it."""
    rows = x[mask].reshape(x.shape[0], -1, 4)
    return rows * rows.shape[1] + x[:, :1], x[mask].view(x.shape[0], 3, 4)


def _pairs(x: Tensor) -> Tensor:
    """As SimCLR does: all but the diagonal, row by row."""
    return x[~torch.eye(x.shape[0], dtype=torch.bool)].view(x.shape[0], x.shape[0] - 1).softmax(-1)


def _numbers(x: Tensor, table: Tensor) -> Tensor:
    """As Gemma 4 does: which row of a table each vector is."""
    return (x[:, :, None] == table).all(-1).nonzero()[:, 2].view(x.shape[:2])


_MASK = torch.tensor([[1, 0, 1, 1, 0], [0, 1, 1, 1, 0]], dtype=torch.bool)
RESHAPED: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...], Any]] = {
    "rows": (_rows, (torch.randn(2, 5, 4), _MASK), {"x": {0: "batch"}, "mask": {0: "batch"}}),
    "pairs": (_pairs, (torch.randn(5, 5),), {"x": {0: "n", 1: "n"}}),
    "numbers": (_numbers, (torch.eye(4)[torch.tensor([[0, 2], [3, 1]])], torch.eye(4)), {"x": {0: "batch"}}),
}


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", RESHAPED)
def test_a_mask_chooses_as_many_as_a_view_has(name: str, dynamic: bool) -> None:
    function, inputs, shapes = RESHAPED[name]
    program = export(function, inputs, dynamic_shapes=shapes if dynamic else None)
    program.validate(inputs=[(inputs[0].flip(0), *inputs[1:])]).check()
    assert program.report.decisions == []


def test_a_mask_chooses_as_many_as_it_is_split_to() -> None:
    """As Molmo 2 does: the rows that are pooled, for each image as many as its grid has."""
    inputs = torch.randn(6, 4), torch.tensor([[1, 0], [-1, -1], [2, 3], [-1, 5], [0, 0], [4, -1]])
    _exported(lambda x, pooled: list(x[(pooled >= 0).any(1)].split([2, 3])), *inputs)


def _chosen(x: Tensor) -> Tensor:
    """As ViLT does: what is chosen of a mask that no input decides, though it is no small constant."""
    mask = nn.functional.interpolate(torch.ones(2, 1, 40, 40), size=(4, 4))[:, 0].long()
    rows = mask.flatten(1).nonzero()
    return torch.cat([x[:, : len(rows[rows[:, 0] == row])] for row in rows[:, 0].unique()], 1)


def test_what_no_input_decides_is_chosen_at_once() -> None:
    program = _exported(_chosen, torch.randn(2, 20), capture="record")
    assert program.model.graph.outputs[0].shape == [2, 32]


def _by_runs(ids: Tensor, kinds: Tensor, mask: Tensor) -> Tensor:
    """As Qwen2-VL does: what the kinds of tokens are, run by run, behind a mask."""
    places, start = [], 0
    for row, kept in zip(kinds, mask.bool(), strict=True):
        for kind, run in itertools.groupby(row[kept].tolist()):
            length = len(list(run))
            places.append(torch.arange(length) + start if kind == 0 else torch.full((length,), start))
            start += length if kind == 0 else 1
    result = torch.zeros_like(ids)
    result[mask.bool()] = torch.cat(places)
    return result + ids


def test_masks_and_kinds_by_which_code_decides_are_fixed_and_said() -> None:
    ids, kinds, mask = torch.tensor([[9, 8, 7, 6, 5]]), torch.tensor([[0, 0, 1, 1, 0]]), torch.tensor([[0, 1, 1, 1, 1]])
    with pytest.warns(FixedValuesWarning, match="inputs_2: is fixed at the example's values, by which .* _by_runs"):
        program = _exported(_by_runs, ids, kinds, mask)
    assert [str(c).partition(" (")[0] for c in program.report.decisions] == [
        "inputs_1 == [[0, 0, 1, 1, 0]]", "inputs_2 == [[0, 1, 1, 1, 1]]"
    ]  # fmt: skip


def test_ids_are_never_fixed() -> None:
    with pytest.raises(ExportError, match="depends on a tensor's values"):
        export(Calling(lambda ids: _by_runs(ids, ids, ids > 0)), torch.arange(9)[None] + 5)


def _around_images(ids: Tensor) -> Tensor:
    """As Qwen2.5-Omni does: places of a text, which a loop looks for images in."""
    count = (ids == 50).sum()
    tokens, places, start = ids[0].tolist(), [], 0
    for _ in range(count):
        end = tokens.index(50, start)
        places += [torch.arange(end - start) + start, torch.full((3,), end)]
        start = end + 1
    places.append(torch.arange(len(tokens) - start) + start)
    return torch.cat(places) * ids.sum()


def test_where_ids_are_those_that_code_looks_for_is_fixed_and_the_ids_are_not() -> None:
    ids, others = torch.tensor([[7, 50, 8, 9, 50, 6]]), torch.tensor([[17, 50, 8, 11, 50, 12]])
    with pytest.warns(FixedValuesWarning, match="ids: holds certain numbers where the example does, .* _around_images"):
        program = export(_around_images, (ids,))
    agree(program, session_of(program), Calling(_around_images), (others,))
    assert [decision.expression for decision in program.report.decisions] == ["ids: laid out as in the example"]


def test_torch_is_left_as_it_was() -> None:
    export(Calling(lambda x: x + 1), torch.randn(2, 5))
    assert torch.tensor([torch.tensor(3), torch.tensor(4)]).tolist() == [3, 4]
    assert len(torch.ones(3)) == 3


def _attention(x: Tensor, mask: Tensor | None = None, flag: bool = True) -> Tensor:
    causal = x.shape[0] > 1 and mask is None and flag
    if x.shape[1] > 3 or not flag:
        return x - 1 if causal else x + 1
    return x


@pytest.mark.parametrize(
    ("mask", "flag", "decided"),
    [(None, True, ["m > 1", "n > 3"]), (torch.ones(2), True, ["n > 3"]), (torch.ones(2), False, []), (None, False, [])],
)
@pytest.mark.skipif(sys.version_info < (3, 11), reason="columns of instructions are known from Python 3.11 on")
def test_a_condition_that_others_settle_decides_nothing(mask: Tensor | None, flag: bool, decided: list[str]) -> None:
    program = export(_attention, (torch.randn(4, 5), mask, flag), dynamic_shapes={"x": {0: "m", 1: "n"}})
    assert [decision.expression for decision in program.report.decisions] == decided


def test_the_report_in_words() -> None:
    program = export(_attention, (torch.randn(4, 5),), dynamic_shapes={"x": {0: "m", 1: "n"}})
    lines = str(program.report).splitlines()
    start = _attention.__code__.co_firstlineno
    assert lines[0] == "captured by record"
    assert lines[1] == f"holds where m > 1 (decided at {__file__}:{start + 1}, in _attention)"
    assert [line.split(":")[0] for line in lines[-4:]] == ["capture", "translation", "optimization", "total"]


def test_what_works_for_some_counts_alone_fixes_the_mask_that_counts() -> None:
    """As LFM2-VL does: rows of pixels without padding, whose number is the product of known sizes."""

    def grid(rows: Tensor, mask: Tensor) -> Tensor:
        kept = rows[: mask.sum()]
        return nn.functional.layer_norm(kept.reshape(2, 3, -1), (4,))

    inputs = (torch.randn(9, 4), torch.tensor([1] * 6 + [0] * 3))
    with pytest.warns(FixedValuesWarning, match="mask: is fixed at the example's values, by which .* grid"):
        program = export(grid, inputs)
    assert [str(node.op_type) for node in program.model.graph].count("LayerNormalization") == 1
    program.validate().check()


def test_results_that_a_mask_decides_are_those_of_the_example() -> None:
    """As Longformer's attentions: there are some of tokens that attend to all, where there are such tokens."""

    def attentions(x: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        return (x, x.sum(1)) if (mask > 1).any() else (x * mask,)

    inputs = (torch.randn(2, 3), torch.tensor([[1, 1, 0], [1, 1, 1]]))
    with pytest.warns(FixedValuesWarning, match="mask: is fixed at the example's values"):
        program = export(attentions, inputs)
    assert program.signature.output_names == ["output"]
    program.validate().check()
