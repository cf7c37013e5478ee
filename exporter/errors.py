"""What can go wrong, one class a problem.  Users catch `ExportError` alone.

ExportError
├── InputError              the arguments of export() do not fit the model or each other
├── ModelError              the model itself fails in eager
├── InvalidModelError       an ONNX file is none, or no runtime could execute it
├── CaptureError            the Python code cannot be recorded
│   ├── DataDependentError  it decides by the values of a tensor
│   └── DynamicShapeError   it does not work, or is fixed, at another size of a dynamic dim
├── LoweringError           an overload cannot be expressed
│   ├── MissingRuleError    there is no rule for it, nor a decomposition
│   └── UnsupportedArgument it has a rule, but not for this argument
├── OpsetError              the opset asked for cannot be given
├── LossError               the loss of a training step is no number, or depends on no parameter
├── GradientError           a parameter gets no gradient
├── OptimizerError          an optimizer, or an option of it, is not supported
├── SaveError               the file cannot be written
├── ManifestError           the manifest of models to check, or what it names, is not as it must be
├── BaselineError           the baseline that models are compared with cannot be read or written
└── ValidationError         the ONNX model and eager disagree, or a runtime refuses the model

What is right and yet not what was asked for is said by a warning, all of them an `ExportWarning`:
`warnings.simplefilter("error", ExportWarning)` makes errors of them.

ExportWarning
├── FixedDimWarning         a dynamic dim without a name became static
├── FixedValuesWarning      the example's values of an input became part of the model
└── SymbolicWarning         the `symbolic` of a `torch.autograd.Function` is not used
"""

from __future__ import annotations

from aten_lowering.errors import (
    ExportError,
    LoweringError,
    MissingRuleError,
    OpsetError,
    UnsupportedArgument,
)

__all__ = [
    "BaselineError",
    "CaptureError",
    "DataDependentError",
    "DynamicShapeError",
    "ExportError",
    "ExportWarning",
    "FixedDimWarning",
    "FixedValuesWarning",
    "GradientError",
    "InputError",
    "InvalidModelError",
    "LossError",
    "LoweringError",
    "ManifestError",
    "MissingRuleError",
    "ModelError",
    "OpsetError",
    "OptimizerError",
    "SaveError",
    "SymbolicWarning",
    "UnsupportedArgument",
    "ValidationError",
]


class InputError(ExportError):
    """The arguments of export() do not fit the model or each other."""


class ModelError(ExportError):
    """The model itself fails on the example inputs, in eager PyTorch."""


class InvalidModelError(ExportError):
    """An ONNX file holds no model, or one that no runtime could execute."""


class CaptureError(ExportError):
    """The model's Python code cannot be recorded."""


class DataDependentError(CaptureError):
    """The model's Python code decides by the values of a tensor.

    Attributes:
        inputs: the inputs whose values decide it, where these are all masks, or tell of what kind each element is.
        layouts: beside them, the inputs of integers that decide it by where they hold given numbers alone.
    """

    inputs: frozenset[str] = frozenset()
    layouts: frozenset[str] = frozenset()


class DynamicShapeError(CaptureError):
    """The model does not work, or is fixed, at another size of a dynamic dim."""


class LossError(ExportError):
    """The loss of a training step is no number, or depends on no parameter."""


class GradientError(ExportError):
    """A parameter that is to be trained gets no gradient."""


class OptimizerError(ExportError):
    """An optimizer, or an option of it, is not supported."""


class SaveError(ExportError):
    """A file cannot be written."""


class ValidationError(ExportError):
    """The ONNX model and eager disagree, or a runtime refuses the model."""


class ManifestError(ExportError):
    """The manifest of models to check, or what it names, is not as it must be."""


class BaselineError(ExportError):
    """The baseline that models are compared with cannot be read or written."""


class ExportWarning(UserWarning):
    """The model is right, and yet not all that was asked for."""


class FixedDimWarning(ExportWarning):
    """A dynamic dim without a name became static, because the model works at no other size."""


class FixedValuesWarning(ExportWarning):
    """The example's values of an input became part of the model, whose Python code decides by them."""


class SymbolicWarning(ExportWarning):
    """The `symbolic` of a `torch.autograd.Function` is not used; its `forward` is exported."""
