"""From a training step back to the model alone, with other weights."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from exporter.pipeline import export

if TYPE_CHECKING:
    from exporter.program import Program
    from exporter.training.program import TrainingProgram


def inference_program(program: TrainingProgram, state_dict: dict[str, Any] | None, **options: Any) -> Program:
    """Export a copy of the trained module in eval mode, with the example and the dynamic dims of the step."""
    model = copy.deepcopy(program.reference).eval()
    if state_dict is not None:
        model.load_state_dict(state_dict)
    signature = program.signature
    args, kwargs = signature.unflatten(signature.leaves)
    for name in program.step.forward.targets:
        del kwargs[name]
    shapes = {
        name: {axis: dim.name for axis, dim in dims.items()}
        for name, dims, path in zip(signature.input_names, signature.dims, signature.paths, strict=True)
        if dims and path[0] not in program.step.forward.targets
    }
    return export(model, args, kwargs=kwargs, **{"dynamic_shapes": shapes or None, **options})
