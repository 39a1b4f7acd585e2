"""Devices: which there are, the memory they draw on, how they fail, and how torch runs on them.

Imports torch only where it is loaded already, except to look for accelerators. Knows nothing about tools.
"""

import gc
import logging
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import cast

_LOG = logging.getLogger(__name__)
_NVIDIA_CARDS = Path("/proc/driver/nvidia/gpus")
"""One folder per card of the driver, whatever torch makes of them."""


def find_devices() -> tuple[str, ...]:
    """Every CUDA device, or the CPU where there is none, which is logged. Imports torch, which takes
    seconds.
    """
    import torch

    found = tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    if not found:
        cards = len(list(_NVIDIA_CARDS.iterdir())) if _NVIDIA_CARDS.is_dir() else 0
        level, message = explain_cpu(cards, mps=torch.backends.mps.is_available())
        _LOG.log(level, message)
    return found or ("cpu",)


def explain_cpu(cards: int, *, mps: bool) -> tuple[int, str]:
    """How loud (a level of `logging`) and in which words to say that models run on the CPU.

    A warning where the machine has something faster: `cards` NVIDIA cards that torch does not see, or a Mac's
    GPU.
    """
    if cards:
        return logging.WARNING, (
            f"the machine has {cards} NVIDIA card(s) and torch sees none, so models run on the CPU, many "
            "times slower: install a torch that suits the driver, look at CUDA_VISIBLE_DEVICES, or set "
            "MAULSTICK_DEVICE=cpu if this is meant"
        )
    if mps:
        return (
            logging.WARNING,
            "models run on the CPU; this Mac has a GPU: set MAULSTICK_DEVICE=mps to use it",
        )
    return logging.INFO, "no accelerator was found: models run on the CPU"


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


def is_device_lost(error: Exception) -> bool:
    """Whether an error says that this process cannot use the accelerator any more, whatever it does.

    After a fault on the card (an illegal access, a failed assertion, a card that fell off its bus) CUDA
    answers every later call of the process with the same error.
    """
    says = str(error).lower()
    fatal = ("cuda error:", "hip error:", "device-side assert", "unspecified launch failure")
    return isinstance(error, RuntimeError) and not is_out_of_memory(error) and any(f in says for f in fatal)


def allocated_bytes(device: str) -> int | None:
    """What torch holds on an accelerator for tensors, in bytes. None for the CPU, whose other workers and
    libraries cannot be told apart, and where torch is not loaded.
    """
    if "torch" not in sys.modules or not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.memory_allocated(device) if torch.cuda.is_available() else None


def tensor_bytes(model: object) -> int:
    """What the parameters and buffers of a loaded model take, in bytes, each storage once.

    Looks into modules, dataclasses, dicts, sequences and diffusers pipelines (`components`). 0: none found.
    """
    if "torch" not in sys.modules:
        return 0
    import torch

    storages: dict[int, int] = {}
    met: set[int] = set()

    def look(part: object) -> None:
        if id(part) in met or isinstance(part, str | bytes | int | float | None):
            return
        met.add(id(part))
        if isinstance(part, torch.Tensor):
            storage = part.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(part, torch.nn.Module):
            for tensor in (*part.parameters(), *part.buffers()):
                look(tensor)
        elif isinstance(part, dict):
            for value in cast(dict[object, object], part).values():
                look(value)
        elif isinstance(part, list | tuple):
            for value in cast(list[object], part):
                look(value)
        elif is_dataclass(part):
            for field in fields(part):
                look(getattr(part, field.name))
        elif isinstance(components := getattr(part, "components", None), dict):
            look(cast(object, components))

    look(model)
    return sum(storages.values())


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
