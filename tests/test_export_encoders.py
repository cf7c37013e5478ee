"""`torch.nn.TransformerEncoder` with padding: what eager's fast path gives, zeros where the padding comes last."""

from __future__ import annotations

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from exporter import export

_LAST = torch.tensor([[0, 0, 0, 0, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]]).bool()
_PADDINGS = [_LAST, _LAST.flip(1), torch.zeros(3, 5).bool(), _LAST[:, :4], _LAST[:2]]


@pytest.mark.parametrize("front_end", ["record", "symbolic_trace"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.float32], ids=str)
@pytest.mark.parametrize("norm", [None, nn.LayerNorm(8)], ids=["no norm", "norm"])
def test_padded_places(front_end: str, dtype: torch.dtype, norm: nn.Module | None) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, norm=norm).eval()
    sizes = {0: "batch", 1: "seq"}
    program = export(
        encoder,
        (torch.randn(3, 5, 8),),
        kwargs={"src_key_padding_mask": _as(_LAST, dtype)},
        dynamic_shapes={"src": sizes, "src_key_padding_mask": sizes},
        capture=front_end,
    )
    session = onnxruntime.InferenceSession(program.to_proto().SerializeToString())
    for hidden in _PADDINGS:
        src, padding = torch.randn(*hidden.shape, 8), _as(hidden, dtype)
        (result,) = session.run(None, {"src": src.numpy(), "src_key_padding_mask": padding.numpy()})
        with torch.no_grad():
            expected = encoder(src, src_key_padding_mask=padding)
        torch.testing.assert_close(torch.from_numpy(result), expected, atol=1e-5, rtol=1e-5)


def _as(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    return hidden if dtype == torch.bool else torch.zeros(hidden.shape).masked_fill(hidden, float("-inf"))


def test_transformer_with_padding() -> None:
    model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True).eval()
    inputs = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    masks = {"src_key_padding_mask": _LAST, "memory_key_padding_mask": _LAST}
    assert export(model, inputs, kwargs=masks).validate().passed
