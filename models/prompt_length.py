"""Does a prompt fit a pipeline's tokenizer? Too long is refused with the numbers, never cut.

Knows nothing about what the words mean.
"""

import inspect
from typing import Any, Self

from models.cards import Backend
from models.tool import ToolError


class PromptTooLong(ToolError):
    """The prompt has `tokens` and the backend reads `limit`: nothing is cut in silence."""

    def __init__(self, backend: str, prompt: str, tokens: int, limit: int) -> None:
        super().__init__(
            f"the prompt has {tokens} tokens and {backend} reads {limit}: "
            f"shorten it, it starts {prompt[:60]!r}"
        )
        self.prompt = prompt
        self.tokens = tokens
        self.limit = limit
        self._parts = (backend, prompt, tokens, limit)

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, int, int]]:
        """Made anew from its parts in another process."""
        return type(self), self._parts

    @property
    def about_characters(self) -> int:
        """How many characters of such words the backend would read."""
        return max(1, len(self.prompt) * self.limit // self.tokens)


def text_tokenizer(backend: Backend, pipeline: Any) -> tuple[Any, int]:
    """The tokenizer that carries the whole text, and how many tokens it may give, special tokens included.

    Pipelines with several text encoders read the text with the longest of them and take a short summary from
    the others: Flux and SD3 read hundreds of T5 tokens and pool the first 77 CLIP tokens. A tokenizer whose
    encoder was left out (SD3 without T5) carries nothing, so there CLIP's 77 are the limit, as they are for
    SD 1.5 and SDXL.
    """
    parts = pipeline.components
    tokenizers = [
        part
        for name, part in parts.items()
        if name.startswith("tokenizer")
        and part is not None
        and parts.get(name.replace("tokenizer", "text_encoder")) is not None
    ]
    longest = max(tokenizers, key=lambda tokenizer: tokenizer.model_max_length)
    most = min(longest.model_max_length, _bound(backend, pipeline, longest))
    # SANA keeps one place for the start of its own instruction.
    return longest, most - 1 if _takes(pipeline, "complex_human_instruction") else most


def read_length(backend: Backend, pipeline: Any) -> int:
    """The `max_sequence_length` to paint with, in tokens, for pipelines that take one."""
    longest, _ = text_tokenizer(backend, pipeline)
    return min(longest.model_max_length, _bound(backend, pipeline, longest))


def _bound(backend: Backend, pipeline: Any, longest: Any) -> int:
    """What the card allows, or else the pipeline by default; a shorter tokenizer bounds it further."""
    asked = inspect.signature(pipeline.__call__).parameters.get("max_sequence_length")
    return backend.max_prompt_tokens or (asked.default if asked else longest.model_max_length)


def _takes(pipeline: Any, parameter: str) -> bool:
    return parameter in inspect.signature(pipeline.__call__).parameters


def check_prompt(backend: Backend, pipeline: Any, prompt: str) -> None:
    """Refuse a prompt that the backend would cut, or paint as something else.

    Raises:
        PromptTooLong: the prompt has too many tokens.
        ToolError: it has words outside a closed vocabulary.
    """
    tokenizer, most = text_tokenizer(backend, pipeline)
    ids: list[int] = tokenizer(prompt, verbose=False).input_ids
    if len(ids) > most:
        raise PromptTooLong(backend.name, prompt, len(ids), most)
    if backend.closed_vocabulary and tokenizer.unk_token_id in ids:
        offsets: list[tuple[int, int]] = tokenizer(prompt, return_offsets_mapping=True).offset_mapping
        spans = [span for token, span in zip(ids, offsets, strict=True) if token == tokenizer.unk_token_id]
        unknown = dict.fromkeys(prompt[start:end] for start, end in spans)
        raise ToolError(
            f"{backend.name} does not know {', '.join(map(repr, unknown))}: use words of its small world, "
            "or a real backend such as black-forest-labs/FLUX.1-schnell"
        )
