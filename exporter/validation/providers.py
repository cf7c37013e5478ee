"""onnxruntime's execution providers by short names."""

from __future__ import annotations

import onnxruntime

from exporter.errors import InputError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "directml": "DmlExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "nnapi": "NnapiExecutionProvider",
    "tensorrt_rtx": "NvTensorRTRTXExecutionProvider",
    "dnnl": "DnnlExecutionProvider",
    "webnn": "WebNNExecutionProvider",
    "vitisai": "VitisAIExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
}


def provider_name(name: str) -> str:
    """Onnxruntime's name of a provider.

    Raises:
        InputError: there is none of that name.
    """
    full = PROVIDERS.get(name.lower(), name)
    if full not in onnxruntime.get_all_providers():
        raise InputError(f"providers: onnxruntime knows no {name!r}", hint=f"choose from {', '.join(PROVIDERS)}")
    return full


def is_available(full_name: str) -> bool:
    """Whether this build of onnxruntime has the provider."""
    return full_name in onnxruntime.get_available_providers()


def short_name(full_name: str) -> str:
    """The short name of one of onnxruntime's providers; its own where it has none."""
    return next((short for short, full in PROVIDERS.items() if full == full_name), full_name)
