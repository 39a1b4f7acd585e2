"""Pictures to depth: `PixelPerfectDepthPipeline`, to be called as Marigold's depth pipeline is.

Source: paper section 3.1 and the official inference. It differs where the official code brings flying pixels
back: depth comes in the resolution that it was painted in, or resized without mixing near and far.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor

from models.pixel_perfect_depth.ensembles import average, fitted
from models.pixel_perfect_depth.modeling import PixelPerfectTransformer2DModel
from models.pixel_perfect_depth.output import PixelPerfectDepthOutput
from models.pixel_perfect_depth.resizing import AREA, resize_picture, size_by_area, size_by_side
from models.pixel_perfect_depth.schedule import TIMESTEPS, sigmas
from models.pixel_perfect_depth.semantics import encode_semantics, encoder_width
from models.pixel_perfect_depth.tiling import Tile, blend, tiles
from models.pixel_perfect_depth.upsampling import RESAMPLINGS, Resampling, resample

OutputType = Literal["np", "pt"]
STEPS = 4
"""As in the paper."""


class PixelPerfectDepthPipeline(DiffusionPipeline):
    """Depth by flow matching in pixels.

    Args:
        transformer: the network.
        scheduler: a flow-matching scheduler with shift 1.
        semantic_encoder: what `encode_semantics` can read; None for a network without semantics.
        default_area: pixels that a picture is resized to (None: its own size, in whole tokens).

    Raises:
        ValueError: the encoder's tokens have another width than the network takes.
    """

    model_cpu_offload_seq = "semantic_encoder->transformer"
    _optional_components = ["semantic_encoder"]  # noqa: RUF012 - diffusers reads it so

    def __init__(
        self,
        transformer: PixelPerfectTransformer2DModel,
        scheduler: FlowMatchEulerDiscreteScheduler,
        semantic_encoder: Any = None,
        default_area: int | None = AREA,
    ) -> None:
        super().__init__()
        wanted = transformer.config["semantic_dim"]
        width = 0 if semantic_encoder is None else encoder_width(semantic_encoder)
        if width != wanted:
            raise ValueError(
                f"the network takes semantic tokens of {wanted} channels and the encoder gives {width}: they "
                "were not trained together"
            )
        for network in (transformer, semantic_encoder):
            if network is not None:
                network.eval()
        self.register_modules(transformer=transformer, scheduler=scheduler, semantic_encoder=semantic_encoder)
        self.register_to_config(default_area=default_area)

    @torch.no_grad()
    def __call__(
        self,
        image: Image.Image | Sequence[Image.Image],
        num_inference_steps: int | None = None,
        ensemble_size: int = 1,
        processing_resolution: int | None = None,
        match_input_resolution: bool = False,
        resample_method_output: Resampling = "nearest",
        tile_size: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        latents: Tensor | None = None,
        output_type: OutputType = "np",
        callback_on_step_end: Callable[[Any, int, int], None] | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Estimate depth.

        Args:
            image: a PIL picture or several of one size.
            num_inference_steps: Euler steps (None: 4). A network that predicts the sample takes one pass, no
                noise, and no ensemble.
            ensemble_size: so many samples, fitted to the first and averaged.
            processing_resolution: longer side in pixels that pictures are looked at in; 0 is their own size,
                None the area that the network was trained for.
            match_input_resolution: resize the depth to the picture's own size.
            resample_method_output: how; "bilinear" brings flying pixels back.
            tile_size: longest side of a tile; pictures that are looked at in more are cut into overlapping
                tiles, which are fitted to a depth of the whole. None: never.
            generator: of the noise; one a picture, for results that do not depend on batch mates.
            latents: the noise itself, (N * ensemble_size, 1, h, w); not with tiles.
            output_type: "np" or "pt".
            callback_on_step_end: is given the pipeline, the step from 1 on, and how many there are.
            return_dict: False gives (prediction, uncertainty).

        Raises:
            ValueError: an argument does not suit.
        """
        pictures = [image] if isinstance(image, Image.Image) else list(image)
        self.check_inputs(
            pictures, num_inference_steps, ensemble_size, processing_resolution, resample_method_output,
            generator, latents, output_type, tile_size,
        )  # fmt: skip
        steps = self.default_steps if num_inference_steps is None else num_inference_steps
        height, width = self.processing_size(pictures[0], processing_resolution)
        pixels = self.prepare_pictures(pictures, height, width)
        cut = tiles(height, width, tile_size, self.transformer.token_size) if tile_size else []
        samples: list[Tensor] = []
        for number in range(ensemble_size):
            given = (
                None if latents is None else latents[number * len(pictures) : (number + 1) * len(pictures)]
            )
            watch = self._watch(callback_on_step_end, steps, number, ensemble_size)
            if len(cut) > 1:
                samples.append(self._tiled(pixels, cut, steps, generator, watch))
            else:
                noise = self.prepare_latents(pixels, given, generator)
                samples.append(self.denoise(pixels, noise, steps, watch))
        depth, spread = average(samples)
        if match_input_resolution:
            size = (pictures[0].height, pictures[0].width)
            full = torch.stack([resize_picture(picture, *size) for picture in pictures]).to(depth)
            depth = resample(depth, size, resample_method_output, full)
            spread = None if spread is None else resample(spread, size, resample_method_output, full)
        self.maybe_free_model_hooks()
        found = self._deliver(depth, output_type), self._deliver(spread, output_type)
        return PixelPerfectDepthOutput(*found) if return_dict else found

    @property
    def regresses(self) -> bool:
        """Whether the network says depth itself, in one pass."""
        return self.transformer.config["prediction"] == "sample"

    @property
    def default_steps(self) -> int:
        """Euler steps where none are named; passes of a network that regresses."""
        return 1 if self.regresses else STEPS

    def check_inputs(
        self,
        pictures: Sequence[Any],
        num_inference_steps: int | None,
        ensemble_size: int,
        processing_resolution: int | None,
        resample_method_output: str,
        generator: Any,
        latents: Tensor | None,
        output_type: str,
        tile_size: int | None,
    ) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: an argument does not suit.
        """
        if not pictures or not all(isinstance(picture, Image.Image) for picture in pictures):
            raise ValueError("depth is estimated of PIL pictures, one or several")
        if len(sizes := {picture.size for picture in pictures}) > 1:
            raise ValueError(f"the pictures of one call have one size, not {sorted(sizes)}")
        if modes := {picture.mode for picture in pictures} - {"RGB"}:
            raise ValueError(f"pictures are RGB, not {', '.join(sorted(modes))}: open them by `open_picture`")
        once = num_inference_steps in (None, 1) and ensemble_size == 1 and latents is None
        if self.regresses and not once:
            raise ValueError(
                "this network says depth in one pass, the same each time: leave steps, ensemble and noise out"
            )
        if ensemble_size < 1:
            raise ValueError(f"an ensemble has one sample at least, not {ensemble_size}")
        if processing_resolution is not None and processing_resolution < 0:
            raise ValueError(f"pictures cannot be looked at in {processing_resolution} pixels")
        if resample_method_output not in RESAMPLINGS:
            raise ValueError(f"depth is resized by {', '.join(RESAMPLINGS)}, not {resample_method_output!r}")
        if output_type not in get_args(OutputType):
            raise ValueError(f"depth is given as {' or '.join(get_args(OutputType))}, not {output_type!r}")
        if not isinstance(generator, torch.Generator | None) and len(generator) != len(pictures):
            raise ValueError(f"{len(generator)} generators for {len(pictures)} pictures")
        if latents is not None and tile_size is not None:
            raise ValueError("tiles have noise of their own: leave latents out, or tile_size")

    def processing_size(self, picture: Image.Image, resolution: int | None) -> tuple[int, int]:
        """(height, width) that a picture is looked at in."""
        token = self.transformer.token_size
        height, width = picture.height, picture.width
        area = self.config["default_area"]
        if resolution is None and area is not None:
            return size_by_area(height, width, area, token)
        return size_by_side(height, width, resolution or max(height, width), token)

    def prepare_pictures(self, pictures: Sequence[Image.Image], height: int, width: int) -> Tensor:
        """(N, 3, height, width) in 0..1 on the pipeline's device."""
        pixels = torch.stack([resize_picture(picture, height, width) for picture in pictures])
        return pixels.to(self._execution_device)

    def prepare_latents(self, pixels: Tensor, latents: Tensor | None, generator: Any) -> Tensor:
        """The noise (N, 1, height, width), float32.

        Raises:
            ValueError: it was given in another shape.
        """
        shape = (len(pixels), self.transformer.depth_channels, *pixels.shape[-2:])
        if latents is None:
            generators = list(generator) if isinstance(generator, Sequence) else generator
            return randn_tensor(shape, generator=generators, device=pixels.device, dtype=torch.float32)
        if tuple(latents.shape) != shape:
            raise ValueError(f"the noise is {tuple(latents.shape)}, and these pictures take {shape}")
        return latents.to(pixels.device, torch.float32)

    def denoise(
        self, pixels: Tensor, noise: Tensor, steps: int, watch: Callable[[int], None] | None = None
    ) -> Tensor:
        """Relative depths (N, 1, height, width) of pictures in 0..1; the state stays in float32."""
        network = self.transformer
        given = network.prepare((pixels - 0.5).to(network.dtype), self.encode(pixels))
        if self.regresses:
            nothing = torch.zeros_like(noise, dtype=network.dtype)
            depth = network.denoise(nothing, given, network.modulate([TIMESTEPS])[0]).float() + 0.5
            if watch is not None:
                watch(1)
            return depth
        self.scheduler.set_timesteps(sigmas=sigmas(steps), device=pixels.device)
        latent = noise
        modulations = network.modulate(self.scheduler.timesteps)
        for number, (timestep, modulation) in enumerate(
            zip(self.scheduler.timesteps, modulations, strict=True), 1
        ):
            velocity = network.denoise(latent.to(network.dtype), given, modulation)
            latent = self.scheduler.step(velocity.float(), timestep, latent, return_dict=False)[0]
            if watch is not None:
                watch(number)
        return latent + 0.5

    def encode(self, pixels: Tensor) -> Tensor | None:
        """Semantic tokens of pictures in 0..1, in the network's type: one for each square of two patches,
        whether the network has a cascade or not.
        """
        if self.semantic_encoder is None:
            return None
        cell = 2 * self.transformer.config["patch_size"]
        rows, columns = (max(1, round(side / cell)) for side in pixels.shape[-2:])
        dtype = next(self.semantic_encoder.parameters()).dtype
        tokens = encode_semantics(self.semantic_encoder, pixels.to(dtype), rows, columns)
        return tokens.to(self.transformer.dtype)

    def _tiled(
        self,
        pixels: Tensor,
        cut: Sequence[Tile],
        steps: int,
        generator: Any,
        watch: Callable[[int], None] | None,
    ) -> Tensor:
        """Depth of the whole in a tile's size, then of each tile, fitted to the whole and blended."""
        height, width = pixels.shape[-2:]
        largest = max(max(tile.height, tile.width) for tile in cut)
        small = size_by_side(height, width, largest, self.transformer.token_size)
        view = torch.nn.functional.interpolate(pixels, small, mode="area")
        whole = self.denoise(view, self.prepare_latents(view, None, generator), steps)
        whole = resample(whole, (height, width), "nearest")
        found: list[Tensor] = []
        for tile in cut:
            part = tile.of(pixels)
            depth = self.denoise(part, self.prepare_latents(part, None, generator), steps, watch)
            found.append(fitted(depth, tile.of(whole)))
        return blend(found, cut, height, width)

    @staticmethod
    def _watch(
        callback: Callable[[Any, int, int], None] | None, steps: int, sample: int, samples: int
    ) -> Callable[[int], None] | None:
        if callback is None:
            return None
        return lambda step: callback(None, sample * steps + step, samples * steps)

    @staticmethod
    def _deliver(depth: Tensor | None, output_type: OutputType) -> Any:
        if depth is None or output_type == "pt":
            return depth
        return np.ascontiguousarray(depth.permute(0, 2, 3, 1).float().cpu().numpy())

    @classmethod
    def from_folder(
        cls, folder: Path | str, dtype: torch.dtype = torch.float32
    ) -> "PixelPerfectDepthPipeline":
        """The pipeline that `save_pretrained` wrote; see `folders.load_pipeline`."""
        from models.pixel_perfect_depth.folders import load_pipeline

        return load_pipeline(Path(folder), dtype)
