"""Embeddings, bags of them, one-hot vectors."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from tests.lowering import Case, both_ways

aten = torch.ops.aten
MODES = ["sum", "mean", "max"]


def _table(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    return [torch.randint(0, 10, (3, 4)), torch.randn(10, 5).to(dtype)]


def _bags() -> list[torch.Tensor]:
    """The second bag is empty."""
    return [torch.tensor([1, 2, 3, 4, 1, 7, 9]), torch.randn(10, 5), torch.tensor([0, 3, 3, 5])]


def _indices() -> list[torch.Tensor]:
    return [torch.randint(0, 6, (3, 4))]


CASES = [
    Case("embedding", F.embedding, _table, ops="Gather"),
    Case("embedding with padding", partial(F.embedding, padding_idx=2), _table, ops="Gather"),
    Case("embedding of a scalar", lambda i, w: F.embedding(i[0, 0], w), _table),
    Case("embedding of halves", F.embedding, partial(_table, torch.float16), ops="Gather"),
    Case("embedding_renorm", lambda i, w: F.embedding(i, w + 0, max_norm=1.5), _table),
    Case("embedding_renorm of order 1", lambda i, w: aten.embedding_renorm(w, i[0], 2.0, 1.0), _table),
    *[
        Case(f"embedding_bag of rows, {m}", partial(F.embedding_bag, mode=m), _table, fixed=(1,), dynamic=False)
        for m in MODES
    ],
    *[Case(f"embedding_bag, {m}", partial(F.embedding_bag, mode=m), _bags, dynamic=False) for m in MODES],
    *[
        Case(f"embedding_bag with padding, {m}", partial(F.embedding_bag, mode=m, padding_idx=1), _bags, dynamic=False)
        for m in MODES
    ],
    *[
        Case(
            f"embedding_bag with the last offset, {m}",
            lambda i, w, o, m=m: F.embedding_bag(i, w, torch.tensor([0, 3, 3, 7]), mode=m, include_last_offset=True),
            _bags,
            dynamic=False,
        )
        for m in MODES
    ],
    Case(
        "embedding_bag of open rows",
        lambda i: F.embedding_bag(i, torch.arange(30.0).reshape(10, 3), mode="mean"),
        _indices,
    ),
    Case("embedding_bag of open bags", lambda i, w: F.embedding_bag(i[0], w, torch.tensor([0, 1])), _table),
    Case("weighted embedding_bag", lambda i, w: F.embedding_bag(i, w, mode="sum", per_sample_weights=i / 10), _table),
    Case("embedding_bag of halves", lambda i, w, o: F.embedding_bag(i, w.half(), o, mode="sum"), _bags, dynamic=False),
    Case("aten.embedding_bag", lambda i, w, o: aten.embedding_bag.default(w, i, o)[0], _bags, dynamic=False),
    Case("_embedding_bag", lambda i, w, o: aten._embedding_bag(w, i, o, False, 1)[0], _bags, dynamic=False),
    Case(
        "_embedding_bag_forward_only",
        lambda i, w, o: aten._embedding_bag_forward_only(w, i, o, False, 2, padding_idx=3)[0],
        _bags,
        dynamic=False,
    ),
    Case("one_hot", lambda i: F.one_hot(i, 8), _indices, ops="OneHot"),
    Case("one_hot of the greatest", F.one_hot, _indices),
    Case("one_hot of a scalar", lambda i: F.one_hot(i[0, 0], 6), _indices),
]

test_static, test_dynamic = both_ways(*CASES)
