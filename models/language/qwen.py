"""Qwen2.5-VL through transformers: batches of conversations to replies, or to probabilities of words.

Pictures are prepared by qwen-vl-utils where it can be imported (it needs torchvision), else by the PIL image
processor of transformers, which scales them in the same way. Knows nothing about what is asked.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoTokenizer,
    Qwen2_5_VLForConditionalGeneration,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from models.language.tool import Bits, ConverseRequest, ConverseResult
from models.tool import ToolContext, ToolError
from models.weights import check_folder

IMAGE = "<|image_pad|>"
"""Stands in the text for a picture, and is then repeated once per patch that the model sees."""


@dataclass(frozen=True, slots=True)
class Qwen:
    """A loaded model with what makes its inputs."""

    network: Any
    tokenizer: Any
    image_processor: Any
    name: str

    def say(self, requests: Sequence[ConverseRequest], context: ToolContext) -> list[ConverseResult]:
        """The most probable next turn of each conversation, word by word (greedy).

        Raises:
            ToolError: a picture is not stored, or a conversation is longer than the model reads.
        """
        inputs = self._encode(requests, context)
        most = requests[0].max_tokens
        with torch.inference_mode():
            ids = self.network.generate(
                **inputs,
                max_new_tokens=most,
                do_sample=False,
                stopping_criteria=StoppingCriteriaList([_WhenCancelled(context)]),
            )
        said = ids[:, inputs["input_ids"].shape[1] :]
        pads = {self.tokenizer.pad_token_id, self.tokenizer.eos_token_id}
        results: list[ConverseResult] = []
        for row, mask in zip(said.tolist(), inputs["attention_mask"], strict=True):
            words = [token for token in row if token not in pads]
            results.append(
                ConverseResult(
                    text=self.tokenizer.decode(words, skip_special_tokens=True),
                    tokens_in=int(mask.sum()),
                    tokens_out=len(words),
                    complete=len(words) < most,
                )
            )
        return results

    def weigh(self, requests: Sequence[ConverseRequest], context: ToolContext) -> list[ConverseResult]:
        """How probable each choice is as the first word of the next turn, among the choices.

        A choice counts in lower and upper case, by its first token.

        Raises:
            ToolError: two choices begin with the same token; a picture is not stored.
        """
        inputs = self._encode(requests, context)
        context.check_cancelled()
        with torch.inference_mode():
            logits = self.network(**inputs, logits_to_keep=1).logits[:, -1].float()
        results: list[ConverseResult] = []
        for request, row, mask in zip(requests, logits, inputs["attention_mask"], strict=True):
            groups = [self._first_tokens(choice) for choice in request.choices]
            if len({token for group in groups for token in group}) < sum(map(len, groups)):
                raise ToolError(
                    f"{self.name} cannot tell {', '.join(map(repr, request.choices))} apart by their first "
                    "tokens: use other words"
                )
            scores = torch.stack([row[list(group)].logsumexp(0) for group in groups])
            results.append(
                ConverseResult(
                    chances=tuple(scores.softmax(0).tolist()), tokens_in=int(mask.sum()), tokens_out=1
                )
            )
        return results

    def _first_tokens(self, choice: str) -> frozenset[int]:
        spellings = (choice.lower(), choice.capitalize(), choice.upper())
        return frozenset(self.tokenizer(word, add_special_tokens=False).input_ids[0] for word in spellings)

    def _encode(self, requests: Sequence[ConverseRequest], context: ToolContext) -> dict[str, Tensor]:
        """The batch as the network takes it, rows padded on the left."""
        texts: list[str] = []
        pictures: list[Image.Image] = []
        for request in requests:
            texts.append(self._write(request))
            pictures += [
                _load(ref, request.image_side, context) for turn in request.turns for ref in turn.pictures
            ]
        inputs: dict[str, Tensor] = {}
        if pictures:
            seen = self.image_processor(images=pictures, return_tensors="pt")
            inputs = {"pixel_values": seen["pixel_values"], "image_grid_thw": seen["image_grid_thw"]}
            patches = iter((inputs["image_grid_thw"].prod(1) // self.image_processor.merge_size**2).tolist())
            texts = [_expand(text, patches) for text in texts]
        rows = self.tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
        most = self.network.config.text_config.max_position_embeddings
        if (length := rows["input_ids"].shape[1]) > most:
            raise ToolError(
                f"the conversation has {length:,} tokens and {self.name} reads {most:,}: shorten it"
            )
        inputs |= {"input_ids": rows["input_ids"], "attention_mask": rows["attention_mask"]}
        is_image = inputs["input_ids"] == self.network.config.image_token_id
        inputs["mm_token_type_ids"] = is_image.int()
        return {name: tensor.to(self.network.device) for name, tensor in inputs.items()}

    def _write(self, request: ConverseRequest) -> str:
        """The conversation by the model's chat template, one IMAGE for each picture."""
        messages: list[dict[str, Any]] = []
        for turn in request.turns:
            words = {"type": "text", "text": self._disarm(turn.text)}
            content = [*({"type": "image"} for _ in turn.pictures), words]
            messages.append({"role": turn.who, "content": content})
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _disarm(self, text: str) -> str:
        """The text with marks of pictures and turns as plain words: a prompt cannot end its own turn."""
        for mark in self.tokenizer.all_special_tokens:
            text = text.replace(mark, mark.replace("<|", "<").replace("|>", ">"))
        return text


class _WhenCancelled(StoppingCriteria):
    """Ends a batch between two tokens once nobody waits for it."""

    def __init__(self, context: ToolContext) -> None:
        self._context = context

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._context.check_cancelled()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def load_qwen(folder: Path, device: str, bits: Bits | None) -> Qwen:
    """A Qwen2.5-VL from safetensors: fp32 on a CPU, bf16 elsewhere, or in `bits` by bitsandbytes.

    Raises:
        ToolError: weights are missing or damaged, the model is another, or `bits` need what is not there.
    """
    check_folder(folder)
    for library in ("transformers", "qwen_vl_utils"):
        logging.getLogger(library).setLevel(logging.ERROR)
    kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
    if kind != "qwen2_5_vl":
        raise ToolError(f"{folder} holds a {kind!r} and this mind speaks with Qwen2.5-VL: name one of those")
    if bits in (4, 8) and not device.startswith("cuda"):
        raise ToolError(f"weights in {bits} bits need a CUDA device, not {device}: leave bits out")
    network = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder,
        dtype=torch.bfloat16 if bits == 16 or device != "cpu" else torch.float32,
        use_safetensors=True,
        local_files_only=True,
        **_quantised(bits),
    ).eval()
    if bits not in (4, 8):
        network = network.to(device)  # pyright: ignore[reportArgumentType]
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    processor = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True)
    return Qwen(network, tokenizer, processor, folder.name)


def _quantised(bits: Bits | None) -> dict[str, Any]:
    if bits not in (4, 8):
        return {}
    if find_spec("bitsandbytes") is None:
        raise ToolError(
            f"weights in {bits} bits need bitsandbytes: `pip install bitsandbytes`, or leave bits out"
        )
    from transformers import BitsAndBytesConfig

    config = (
        BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16, bnb_4bit_quant_type="nf4"
        )
        if bits == 4
        else BitsAndBytesConfig(load_in_8bit=True)
    )
    return {"quantization_config": config, "device_map": "cuda"}


def _load(ref: Any, side: int, context: ToolContext) -> Image.Image:
    picture = context.load_picture(ref)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    try:
        from qwen_vl_utils import fetch_image  # pyright: ignore[reportMissingImports]
    except (ImportError, RuntimeError):  # torchvision is missing, or does not fit a CPU's torch
        return picture
    return fetch_image({"image": picture})


def _expand(text: str, patches: Any) -> str:
    """Repeat each IMAGE as often as its picture has patches."""
    first, *rest = text.split(IMAGE)
    return first + "".join(IMAGE * next(patches) + part for part in rest)
