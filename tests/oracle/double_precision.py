"""Runs transformers models entirely in double precision, and proves that it did.

transformers computes norms, rotary tables and softmax in float32 whatever the type of the weights: `model.double()`
alone is good to about 1e-7 only. `everywhere()` replaces, inside the modelling files, the name torch.float32 by
torch.float64 and Tensor.float by Tensor.double, so that the published code runs unchanged but for the type.
`only_double()` then watches every operation and fails on the first tensor of another floating type.
"""

import contextlib
import importlib

import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "glm")


def origin(script):
    """Metadata of a file of numbers: one entry only, because safetensors writes several in random order."""
    versions = f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"
    return {"made_by": f"{script}, {versions}"}


class DoubleTorch:
    """The torch module, except that its float32 is float64."""

    float32 = torch.float64
    float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@contextlib.contextmanager
def everywhere():
    """Builds and runs models in float64: parameters, tables, statistics."""
    modules = [importlib.import_module(f"transformers.models.{name}.modeling_{name}") for name in FAMILIES]
    modules.append(importlib.import_module("transformers.modeling_rope_utils"))
    single = torch.Tensor.float
    before = torch.get_default_dtype()
    for module in modules:
        module.torch = DoubleTorch()
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
        torch.Tensor.float = single
        for module in modules:
            module.torch = torch


class only_double(TorchDispatchMode):
    """Fails on any operation that reads or makes a floating tensor narrower than float64."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in torch.utils._pytree.tree_leaves((args, kwargs, result)):
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != torch.float64:
                raise AssertionError(f"{function} met a {value.dtype} tensor")
        return result
