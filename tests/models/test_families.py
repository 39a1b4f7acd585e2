"""Every family of pipelines that people use: saved, loaded by path, painted, watched, cancelled, refused."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memory.artifacts import Artifacts
from models.artifact import ArtifactRef
from models.cards import Backend, DiffusersCard, Lora, backend_of
from models.generate_image import GenerateImage
from models.painting import Painter
from models.picture_request import GenerateRequest
from models.pipelines import load_pipeline
from models.prompt_length import PromptTooLong
from models.tool import Progress, ToolCancelled, ToolContext, ToolError
from tests.models.families import CLIP_TOKENS, FAMILIES, T5_TOKENS, save_family

# numpy's complaint about how diffusers' schedulers turn a tensor into an array
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

GUIDED = [name for name in FAMILIES if name != "flux"]
LONGEST = {"sd15": CLIP_TOKENS, "sdxl": CLIP_TOKENS, "sana": 299}
"""In tokens, a start and an end mark included; the others read their T5's."""


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {name: save_family(name, root / name) for name in FAMILIES}


@pytest.fixture(scope="session")
def painters(folders: dict[str, Path]) -> dict[str, Any]:
    return {name: GenerateImage().load(str(folder), "cpu") for name, folder in folders.items()}


def ask(folder: Path, **changes: Any) -> GenerateRequest:
    parts: dict[str, Any] = {"prompt": "a red cube", "backend": str(folder), "seed": 1, "steps": 2}
    return GenerateRequest(**parts | {"width": 32, "height": 32} | changes)


def paint(
    painter: Painter, artifacts: Artifacts, *requests: GenerateRequest, **how: Any
) -> list[ArtifactRef]:
    context = ToolContext(artifacts, how.get("report", lambda p: None), how.get("check", lambda: None))
    return [result.picture for result in GenerateImage().run(painter, requests, context)]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_picture_is_its_request_and_seed(
    name: str, painters: dict[str, Any], folders: dict[str, Path], artifacts: Artifacts
) -> None:
    painter, folder = painters[name], folders[name]
    reports: list[Progress] = []
    first, other, wide = paint(
        painter, artifacts, ask(folder), ask(folder, seed=2), ask(folder, width=64), report=reports.append
    )
    assert paint(painter, artifacts, ask(folder)) == [first] and first.sha256 != other.sha256
    assert [(ref.width, ref.height, ref.seed) for ref in (first, wide)] == [(32, 32, 1), (64, 32, 1)]
    assert [(report.done, report.total) for report in reports] == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize("name", GUIDED)
def test_guidance_and_a_negative_prompt_are_heard(
    name: str, painters: dict[str, Any], folders: dict[str, Path], artifacts: Artifacts
) -> None:
    changes: list[dict[str, Any]] = [{"guidance": 1.0}, {"guidance": 5.0}]
    changes.append({"guidance": 5.0, "negative_prompt": "blue"})
    refs = paint(painters[name], artifacts, *(ask(folders[name], **change) for change in changes))
    assert len({ref.sha256 for ref in refs}) == 3
    assert '"negative_prompt": "blue"' in str(artifacts.sidecar(refs[2])).replace("'", '"')
    with pytest.raises(ToolError, match=r"hears a negative prompt only with a guidance above 1, not 1$"):
        paint(painters[name], artifacts, ask(folders[name], guidance=1.0, negative_prompt="blue"))


def test_distilled_guidance_takes_no_negative_prompt(
    painters: dict[str, Any], folders: dict[str, Path], artifacts: Artifacts
) -> None:
    flux = painters["flux"]
    weak, strong = paint(
        flux, artifacts, ask(folders["flux"], guidance=1.0), ask(folders["flux"], guidance=9.0)
    )
    assert weak.sha256 != strong.sha256
    with pytest.raises(ToolError, match="takes no negative prompt: leave 'blue' out"):
        paint(flux, artifacts, ask(folders["flux"], negative_prompt="blue"))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_picture_is_painted_anew_in_part_where_the_family_can(
    name: str, painters: dict[str, Any], folders: dict[str, Path], artifacts: Artifacts
) -> None:
    painter, folder = painters[name], folders[name]
    [first] = paint(painter, artifacts, ask(folder))
    little = ask(folder, seed=2, steps=6, edit_of=first, strength=0.3)
    if name in ("pixart", "sana"):  # diffusers has no image-to-image for them
        with pytest.raises(ToolError, match="paints from words alone and cannot edit a picture"):
            paint(painter, artifacts, little)
        return
    much = little.model_copy(update={"strength": 0.8})
    reports: list[Progress] = []
    refs = paint(painter, artifacts, little, much, report=reports.append)
    assert [report.total for report in reports] == [2 * 2] * 2 + [2 * 5] * 5
    assert paint(painter, artifacts, little) == refs[:1]

    def off(ref: ArtifactRef) -> float:
        pixels = [np.asarray(artifacts.load_image(each), float) for each in (first, ref)]
        return float(np.abs(pixels[0] - pixels[1]).mean())

    assert 0 < off(refs[0]) < off(refs[1])
    assert first.sha256 in str(artifacts.sidecar(refs[0])) and "'strength': 0.33" in str(
        artifacts.sidecar(refs[0])
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_painting_stops_between_steps(
    name: str, painters: dict[str, Any], folders: dict[str, Path], artifacts: Artifacts
) -> None:
    reports: list[Progress] = []

    def check() -> None:
        if len(reports) == 2:
            raise ToolCancelled("nobody waits")

    with pytest.raises(ToolCancelled):
        paint(painters[name], artifacts, ask(folders[name], steps=30), report=reports.append, check=check)
    assert len(reports) == 2


@pytest.mark.parametrize("name", FAMILIES)
def test_what_an_encoder_would_cut_is_refused(
    name: str, painters: dict[str, Any], folders: dict[str, Path], artifacts: Artifacts
) -> None:
    most = LONGEST.get(name, T5_TOKENS)
    paint(painters[name], artifacts, ask(folders[name], prompt="x" * (most - 2)))
    with pytest.raises(
        PromptTooLong, match=f"the prompt has {most + 1} tokens and .* reads {most}"
    ) as caught:
        paint(painters[name], artifacts, ask(folders[name], prompt="x" * (most - 1)))
    assert (caught.value.tokens, caught.value.limit) == (most + 1, most)
    elsewhere = pickle.loads(pickle.dumps(caught.value))
    assert str(elsewhere) == str(caught.value) and elsewhere.about_characters in (most - 2, most - 1)


def test_without_t5_sd3_reads_as_much_as_its_clips(
    folders: dict[str, Path], tmp_path: Path, artifacts: Artifacts
) -> None:
    from diffusers import StableDiffusion3Pipeline

    folder = tmp_path / "sd3"
    bare = StableDiffusion3Pipeline.from_pretrained(
        folders["sd3"], text_encoder_3=None, tokenizer_3=None, local_files_only=True
    )
    bare.save_pretrained(folder)
    painter = GenerateImage().load(str(folder), "cpu")
    paint(painter, artifacts, ask(folder, prompt="x" * (CLIP_TOKENS - 2)))
    with pytest.raises(PromptTooLong, match=f"reads {CLIP_TOKENS}"):
        paint(painter, artifacts, ask(folder, prompt="x" * (CLIP_TOKENS - 1)))


def test_what_a_safety_checker_blanks_is_an_error(folders: dict[str, Path], artifacts: Artifacts) -> None:
    painter = GenerateImage().load(str(folders["sd15"]), "cpu")
    assert isinstance(painter, Painter)

    class Strict:
        """Finds every picture unsafe; stands where a CLIP of 1.2 GB does."""

        dtype = painter.pipeline.unet.dtype

        def __call__(self, images: Any, clip_input: Any) -> tuple[Any, list[bool]]:
            return images * 0, [True] * len(images)

    class Extractor:
        def __call__(self, images: Any, return_tensors: str) -> Any:
            import torch
            from transformers import BatchFeature

            return BatchFeature({"pixel_values": torch.zeros(len(images), 3, 8, 8)})

    painter.pipeline.safety_checker, painter.pipeline.feature_extractor = Strict(), Extractor()
    with pytest.raises(
        ToolError, match=r"safety checker of .* blanked the picture of 'a red cube' with seed 1"
    ):
        paint(painter, artifacts, ask(folders["sd15"]))


def card(folder: Path, **changes: Any) -> Backend:
    return backend_of("mine", DiffusersCard(source=str(folder), **changes))


def test_the_card_chooses_scheduler_precision_and_tiles(folders: dict[str, Path]) -> None:
    import torch

    pipeline = load_pipeline(
        card(
            folders["sd15"],
            scheduler="DPMSolverMultistepScheduler",
            scheduler_config={"use_karras_sigmas": True},
            dtype="bf16",
            vae_tiling=True,
        ),
        "cpu",
    )
    assert type(pipeline.scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert pipeline.scheduler.config.use_karras_sigmas is True
    assert pipeline.scheduler.config.beta_schedule == "scaled_linear", "the rest is the pipeline's own"
    assert pipeline.unet.dtype == torch.bfloat16 and pipeline.vae.use_tiling


@pytest.mark.parametrize("name", ["flux", "sd3"])
def test_a_sampler_that_adds_noise_paints_a_request_the_same_each_time(
    name: str, folders: dict[str, Path], painters: dict[str, Any], artifacts: Artifacts
) -> None:
    backend = card(folders[name], scheduler_config={"stochastic_sampling": True})
    painter = Painter(backend, load_pipeline(backend, "cpu"))
    asked = ask(folders[name], steps=3)
    first, other, again = paint(painter, artifacts, asked, ask(folders[name], steps=3, seed=2), asked)
    [kept] = paint(painters[name], artifacts, asked)
    assert again == first and len({ref.sha256 for ref in (first, other, kept)}) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scheduler": "Magic"}, "has no scheduler 'Magic'; fitting: .*EulerDiscreteScheduler"),
        ({"scheduler_config": {"magic": 1}}, "DDIMScheduler has no setting 'magic'"),
        ({"offload": "model"}, "needs a CUDA device, not cpu: leave offload out"),
        ({"loras": (Lora(path="gone.safetensors"),)}, "no LoRA at 'gone.safetensors'"),
    ],
)
def test_a_card_that_does_not_fit_is_named(
    folders: dict[str, Path], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ToolError, match=f"^mine.*{words}"):
        load_pipeline(card(folders["sd15"], **changes), "cpu")


def test_pickled_weights_are_loaded_only_if_the_card_allows_it(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    folder = Path(shutil.copytree(folders["sd15"], tmp_path / "pickled"))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ToolError, match="pickled weights are refused"):
        load_pipeline(card(folder), "cpu")
    assert load_pipeline(card(folder, allow_pickle=True), "cpu").unet is not None


def test_adapters_speak_with_their_weights(
    folders: dict[str, Path], tmp_path: Path, artifacts: Artifacts
) -> None:
    import torch
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipeline = StableDiffusionPipeline.from_pretrained(
        folders["sd15"], safety_checker=None, local_files_only=True
    )
    pipeline.unet.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["to_q", "to_k"]))
    torch.manual_seed(0)
    for name, value in pipeline.unet.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(value, std=0.5)
    StableDiffusionPipeline.save_lora_weights(tmp_path, get_peft_model_state_dict(pipeline.unet))
    pictures = []
    for weight in (None, 0.0, 1.0):
        loras = () if weight is None else (Lora(path=str(tmp_path), weight=weight),)
        backend = card(folders["sd15"], loras=loras)
        painter = Painter(backend, load_pipeline(backend, "cpu"))
        pictures += paint(painter, artifacts, ask(folders["sd15"]))
    assert pictures[0].sha256 == pictures[1].sha256 != pictures[2].sha256
    file = next(tmp_path.glob("*.safetensors"))
    backend = card(folders["pixart"], loras=(Lora(path=str(file)),))
    with pytest.raises(ToolError, match="PixArtSigmaPipeline, which takes no LoRA"):
        load_pipeline(backend, "cpu")


def test_progress_of_a_second_order_scheduler_ends_at_its_total(
    folders: dict[str, Path], artifacts: Artifacts
) -> None:
    backend = card(folders["sd15"], scheduler="HeunDiscreteScheduler")
    painter, reports = Painter(backend, load_pipeline(backend, "cpu")), list[Progress]()
    paint(painter, artifacts, ask(folders["sd15"], steps=3), report=reports.append)
    assert len(reports) > 3 and reports[-1].done == reports[-1].total
