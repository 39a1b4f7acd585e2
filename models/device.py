"""Devices: which there are, the memory they draw on, and how torch runs on them.

Imports torch only where it is loaded already, except to look for accelerators. Knows nothing about tools.
"""

import gc
import sys
from contextlib import AbstractContextManager, nullcontext


def find_devices() -> tuple[str, ...]:
    """Every CUDA device, or the CPU where there is none. Imports torch, which takes seconds."""
    import torch

    return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count())) or ("cpu",)


def pool_of(device: str) -> str:
    """The memory that a device draws on, as torch names it: "cpu" for "cpu:1", "cuda:0" for "cuda:0"."""
    return "cpu" if device.partition(":")[0] == "cpu" else device


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of a library says that memory ran out, so that less work might fit."""
    if isinstance(error, MemoryError):
        return True
    says = str(error).lower()
    # torch.cuda.OutOfMemoryError is a RuntimeError; other backends raise it plain.
    return isinstance(error, RuntimeError) and ("out of memory" in says or "can't allocate memory" in says)


def return_memory() -> None:
    """Give the memory of dropped models and tensors back to the device."""
    gc.collect()  # pipelines hold reference cycles
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def inference(threads: int) -> AbstractContextManager[object]:
    """Torch's inference mode on `threads` CPU threads; nothing at all if torch is not in use."""
    if "torch" not in sys.modules:
        return nullcontext()
    import torch

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    return torch.inference_mode()
