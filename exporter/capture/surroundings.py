"""What a model's code finds while it is recorded, in place of what Python and torch have: all of it, in order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch

from exporter.capture.folding import seeds
from exporter.capture.handlers import set_data
from exporter.capture.loops.comprehensions import rolled_comprehension
from exporter.capture.loops.manner import Manner
from exporter.capture.loops.number_lists import NumberList, RepeatedTensors, repeated_lists
from exporter.capture.loops.number_types import listed, numbers
from exporter.capture.loops.rolling import rolled_loop
from exporter.capture.loops.rows import rows_together
from exporter.capture.loops.visits import visits
from exporter.capture.recorder import Recorder
from exporter.capture.replacements.encoders import padded_encoders
from exporter.capture.replacements.library_functions import replaced_functions
from exporter.capture.replacements.number_functions import open_numbers
from exporter.capture.replacements.python_builtins import extremes, lengths, ranges, tensors_of_parts
from exporter.capture.replacements.subscripts import getitem, setitem
from exporter.capture.replacements.torch_functions import (
    data_written,
    integer_bindings,
    module_calls,
    subscripts,
    tensors_as_sizes,
)
from exporter.capture.tensors import RecordedTensor
from exporter.capture.torch_internals import compiling, control_flow_as_called, script_calls, transforms_ended
from exporter.capture.torchscript import Script


def as_written(flags: int = 2) -> list[AbstractContextManager[Any]]:
    """What lets torch's and libraries' code run as it was written, for whoever traces it.

    Args:
        flags: how many of `is_compiling()` and `is_exporting()` are true.
    """
    return [
        transforms_ended(),
        compiling(flags),
        torch.compiler.set_stance("force_eager"),  # what the model compiled runs as it was written
        replaced_functions(),
        padded_encoders(),
    ]


def surroundings(
    recorder: Recorder, manner: Manner, call: Callable[..., Any], around: Callable[..., Any]
) -> list[AbstractContextManager[Any]]:
    """What is replaced while a model is recorded, and put back at the end, in reverse.

    Args:
        recorder: what it is recorded by.
        manner: how its code is run.
        call: takes overload, args and kwargs of calls with a size where torch's own binding wants a number.
        around: takes a module's call, the module and its arguments.
    """
    rolled = [partial(function, recorder, manner) for function in (rolled_loop, rolled_comprehension)]
    return [
        *as_written(manner.flags),
        subscripts(partial(getitem, recorder), partial(setitem, recorder)),
        data_written(partial(set_data, recorder)),
        integer_bindings(call),
        module_calls(around),
        control_flow_as_called(),
        lengths(RecordedTensor, NumberList, RepeatedTensors),
        tensors_of_parts(RecordedTensor),
        tensors_as_sizes(RecordedTensor),
        extremes(),
        ranges(*rolled, listed),
        repeated_lists(manner.roll, recorder),
        open_numbers(recorder),
        visits(recorder, manner),
        rows_together(recorder, manner),
        numbers(manner.symbolic_in or ()),
        script_calls(Script(recorder).call),
        seeds(recorder),
    ]
