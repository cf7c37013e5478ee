"""Weights as ONNX tensors that stay where they are until they are written."""

from __future__ import annotations

import onnx_ir as ir
import torch
from onnx_ir import tensor_adapters


def weight(tensor: torch.Tensor, name: str) -> ir.Tensor:
    """A torch tensor seen as an ONNX one; its bytes are read when they are written, never before.

    A complex tensor is a real one with a last dimension of 2.
    """
    tensor = tensor.detach()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor_adapters.TorchTensor(tensor.resolve_neg(), name=name)
