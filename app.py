"""The only entry: `maulstick ...` when installed, `python app.py ...` in the project's folder.

Each command reads its words and hands over to `serving`; a library is imported by the command that needs it.
"""

import os
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

ENVIRONMENT = {
    "LANGGRAPH_STRICT_MSGPACK": "true",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ANONYMIZED_TELEMETRY": "False",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "RAY_USAGE_STATS_ENABLED": "0",
    "LANGSMITH_TRACING": "false",
    "TOKENIZERS_PARALLELISM": "false",
    # They tell of optional packages that painting does not use; stderr is for what the user can mend.
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    # Batches give each picture the pixels that it has alone (models/generate_image.py).
    "MKL_CBWR": "AUTO,STRICT",
}
"""Read once by libraries on their first import. What the user has set stands.

`HF_HUB_OFFLINE=0` lets a backend be fetched: nothing is downloaded unasked.
"""

ROOMS = ("agents", "diorama", "evaluation", "graphs", "memory", "models", "serving", "settings")

cli = typer.Typer(
    name="maulstick",
    help="Has a prompt painted, looks at the picture, and repaints until it shows what was asked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
runs = typer.Typer(help="What was run: list, show, resume, replay.", no_args_is_help=True)
backends = typer.Typer(help="What can paint.", no_args_is_help=True)
train = typer.Typer(help="Train the small models that are shipped.", no_args_is_help=True)
evaluate = typer.Typer(help="Measure against ground truth, by the judge.", no_args_is_help=True)
cli.add_typer(runs, name="runs")
cli.add_typer(backends, name="backends")
cli.add_typer(train, name="train")
cli.add_typer(evaluate, name="evaluate")
convert = typer.Typer(help="Official checkpoints to networks of ours.", no_args_is_help=True)
cli.add_typer(convert, name="convert")

Prompt = Annotated[str, typer.Argument(help="What the picture should show.", show_default=False)]
Backend = Annotated[str | None, typer.Option(help="Who paints: a name, a folder, or owner/name on the hub.")]
Seed = Annotated[int, typer.Option(help="Decides every random draw.")]
Out = Annotated[Path | None, typer.Option(help="A folder for the pictures.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Name = Annotated[str, typer.Argument(help="A backend's name.", show_default=False)]
RunId = Annotated[str, typer.Argument(help="A run's id (see `maulstick runs list`).", show_default=False)]


@cli.command()
def refine(
    prompt: Prompt,
    backend: Backend = None,
    mind: Annotated[str | None, typer.Option(help="Who plays the roles.")] = None,
    images: Annotated[int, typer.Option(help="How many pictures may be painted.")] = 24,
    seed: Seed = 0,
    out: Out = None,
    as_json: AsJson = False,
    touch_up: Annotated[
        bool, typer.Option(help="Paint small things of the right picture once more, from close up.")
    ] = True,
) -> int:
    """Paint a prompt until the picture shows what it says."""
    from serving.refining import refine_prompt

    return refine_prompt(prompt, backend, mind, images, seed, out, as_json, touch_up)


@cli.command()
def generate(
    prompt: Prompt,
    backend: Backend = None,
    images: Annotated[int, typer.Option(help="How many pictures, with seeds counting up.")] = 1,
    seed: Seed = 0,
    sketches: Annotated[
        int,
        typer.Option(
            min=0, max=16, help="So many pictures of each on its way, written to --out as they come."
        ),
    ] = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> int:
    """Paint a prompt as it stands, without looking at what came out."""
    from serving.generating import generate_pictures

    return generate_pictures(prompt, backend, images, seed, sketches, out, as_json)


@runs.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    status: Annotated[str | None, typer.Option(help="Only runs that ended so, or `interrupted`.")] = None,
    as_json: AsJson = False,
) -> int:
    """The newest runs."""
    from serving.runs import print_runs

    return print_runs(limit, status, as_json)


@runs.command("show")
def show_run(run_id: RunId, as_json: AsJson = False) -> int:
    """One run: how it went and how it ended."""
    from serving.runs import print_run

    return print_run(run_id, as_json)


@runs.command("prune")
def prune_runs(as_json: AsJson = False) -> int:
    """Forget the steps of ended runs; their pictures, results and events stay."""
    from serving.pruning import prune_runs

    return prune_runs(as_json)


@runs.command("resume")
def resume_run(run_id: RunId, out: Out = None, as_json: AsJson = False) -> int:
    """Go on with a run that was stopped, or deliver again what an ended one made."""
    from serving.refining import resume_refinement

    return resume_refinement(run_id, out, as_json)


@runs.command("replay")
def replay_run(run_id: RunId, out: Out = None, as_json: AsJson = False) -> int:
    """Do a run again from the beginning and tell whether it came out the same."""
    from serving.refining import replay_refinement

    return replay_refinement(run_id, out, as_json)


@backends.command("list")
def list_backends(as_json: AsJson = False) -> int:
    """Backends that are known by name, and whether their weights are here."""
    from serving.backends import print_backends

    return print_backends(as_json)


@backends.command("show")
def show_backend(name: Name, as_json: AsJson = False) -> int:
    """What a backend is set to, and what it can do."""
    from serving.backends import show_backend

    return show_backend(name, as_json)


@backends.command("add")
def add_backend(
    name: Name,
    source: Annotated[str, typer.Argument(help="A folder, owner/name on the hub, or an endpoint's URL.")],
    kind: Annotated[str, typer.Option(help="diffusers or openai-images.")] = "diffusers",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of its card; may come again.")
    ] = None,
) -> int:
    """Name a generator of your own in maulstick.toml."""
    from serving.backends import add_backend

    return add_backend(name, source, kind, settings or [])


@backends.command("remove")
def remove_backend(name: Name) -> int:
    """Take a generator out of maulstick.toml; its weights stay."""
    from serving.backends import remove_backend

    return remove_backend(name)


@backends.command("test")
def test_backend(name: Name, as_json: AsJson = False) -> int:
    """Paint one picture in two steps."""
    from serving.backends import try_backend

    return try_backend(name, as_json)


@backends.command("export")
def export_backend(
    name: Name, file: Annotated[Path, typer.Argument(help="A *.safetensors file to write.")]
) -> int:
    """Write a backend's denoiser as one file with the key names that ComfyUI reads."""
    from serving.backends import export_backend

    return export_backend(name, file)


@cli.command()
def prune(
    backend: Annotated[str, typer.Argument(help="The backend to prune.", show_default=False)],
    method: Annotated[str, typer.Option(help="obs, magnitude, wanda, l1 or random.")] = "obs",
    pattern: Annotated[
        str, typer.Option(help="unstructured, structured, or N:M: N zeros among M.")
    ] = "unstructured",
    sparsity: Annotated[
        str | None, typer.Option(help="The share that goes; several: 0.3,0.4.", show_default=False)
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="A file with a prompt a line.", show_default=False)
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="How many of the prompts.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps in calibration.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="Guidance in calibration.")] = None,
    schedule: Annotated[str, typer.Option(help="How much each step counts.")] = "log_decrease",
    memory: Annotated[str, typer.Option(help="For Hessians, at a time.")] = "8GiB",
    packages: Annotated[int | None, typer.Option(min=1, help="This many, instead of by memory.")] = None,
    trajectory: Annotated[
        str, typer.Option(help="Inputs of the dense path, recorded once; or anew by what is pruned so far.")
    ] = "dense",
    blocks: Annotated[str | None, typer.Option(help="FIRST:END; other blocks stay dense.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Prompts at a time.")] = 4,
    on_disk: Annotated[bool, typer.Option("--on-disk", help="Keep activations in files.")] = False,
    seed: Seed = 0,
    out: Annotated[str | None, typer.Option(help="The new backend's name.", show_default=False)] = None,
    as_json: AsJson = False,
) -> int:
    """Make a smaller, faster or sparser backend of a diffusion backend."""
    from serving.prune import prune_backend

    how = {"method": method, "schedule": schedule, "trajectory": trajectory}
    return prune_backend(
        backend, pattern, sparsity, calibration, count, memory, packages, blocks, out, seed, batch, steps,
        guidance, on_disk, as_json, **how,
    )  # fmt: skip


@cli.command()
def depth(
    picture: Annotated[Path, typer.Argument(help="A picture file.", show_default=False)],
    model: Annotated[str, typer.Option(help="A depth network's folder.")] = "embedded",
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps, 4 unless the network regresses.", show_default=False)
    ] = None,
    ensemble: Annotated[int, typer.Option(help="So many samples are fitted together.")] = 1,
    seed: Seed = 0,
    side: Annotated[
        int | None, typer.Option(help="Longer side to look at in pixels; 0: its own.", show_default=False)
    ] = None,
    tile: Annotated[
        int | None, typer.Option(help="Longest side of a tile, for large pictures.", show_default=False)
    ] = None,
    points: Annotated[
        Path | None, typer.Option("--ply", help="A .ply or .glb file for the points.", show_default=False)
    ] = None,
    view: Annotated[
        Path | None, typer.Option(help="An HTML page that shows the points.", show_default=False)
    ] = None,
    fov: Annotated[
        float | None,
        typer.Option(help="Horizontal field of view in degrees, instead of EXIF's.", show_default=False),
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> int:
    """Say how far each pixel of a picture is, and make points of it."""
    from serving.depth import estimate_depth

    return estimate_depth(picture, model, steps, ensemble, seed, side, tile, out, points, view, fov, as_json)


@convert.command("ppd")
def convert_ppd(
    official: Annotated[Path, typer.Argument(help="A .pth or .safetensors file.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="A folder to write.", show_default=False)],
    semantics: Annotated[
        str | None, typer.Option(help="What it was trained with: dinov2 or moge2.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A JSON file of sizes that must agree.", show_default=False)
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(help="depth_anything_v2_vitl.pth, or a folder of DINOv2's.", show_default=False),
    ] = None,
) -> int:
    """Make a network, or with --encoder a pipeline, of an official checkpoint of Pixel-Perfect Depth."""
    from serving.depth import convert_checkpoint

    return convert_checkpoint(official, out, semantics, config, encoder)


@train.command("depth")
def train_depth(
    profile: Annotated[str, typer.Option(help="tiny (seconds), cpu (hours) or gpu (one H100).")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Where; by default below MAULSTICK_HOME.")] = None,
    variant: Annotated[
        str, typer.Option(help="full, or to compare with: plain, flat, direct, latent.")
    ] = "full",
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the profile's own length.")] = None,
    scenes: Annotated[int | None, typer.Option(min=1, help="How many pictures are rendered.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --out.")] = False,
    vocabulary: Annotated[
        str | None, typer.Option(help="Words to teach instead of the profile's.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="A folder with rgb/ and depth/ to train on instead.", show_default=False),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="What --variant direct trained, to go on or to learn to diffuse from.", show_default=False
        ),
    ] = None,
) -> int:
    """Train a depth network on the diorama, or on pictures with depth of your own."""
    from serving.depth import train_depth

    return train_depth(profile, out, variant, steps, scenes, resume, vocabulary, data, start)


@train.command("embedded")
def train_embedded(
    part: Annotated[
        str, typer.Option(help="autoencoder, decoder, critic, judge, painter, tuning or sharpening.")
    ],
    profile: Annotated[str, typer.Option(help="tiny (seconds), cpu (hours) or gpu (one H100).")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Where; by default below MAULSTICK_HOME.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the profile's own length.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --out.")] = False,
    start: Annotated[
        Path | None, typer.Option(help="What was trained before, to go on from.", show_default=False)
    ] = None,
    reread: Annotated[
        bool, typer.Option("--reread", help="With --start: learn to read anew, then go on painting.")
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Faster painter steps; needs a C++ compiler.")
    ] = False,
    processes: Annotated[int, typer.Option(min=1, help="Cores that train it together.")] = 1,
    vocabulary: Annotated[
        str | None, typer.Option(help="Words to teach instead of the profile's.", show_default=False)
    ] = None,
    crew: Annotated[int, typer.Option(min=0, help="Processes that render ahead for an accelerator.")] = 0,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="End after so long, not after so many steps.")
    ] = None,
) -> int:
    """Train one part of the embedded models on the diorama."""
    from serving.training import train_part

    return train_part(
        part, profile, out, steps, resume, start, reread, compiled, processes, vocabulary, crew, minutes
    )


@evaluate.command("memory")
def evaluate_memory(
    train: Annotated[int, typer.Option(min=1, help="Prompts that warm the memory.")] = 100,
    count: Annotated[int, typer.Option(min=1, help="Held-out prompts that it is measured on.")] = 100,
    images: Annotated[int, typer.Option(min=1, max=1000, help="Pictures per prompt at most.")] = 24,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="The memory and the report; a second call goes on.")] = Path(
        "out/memory"
    ),
    as_json: AsJson = False,
) -> int:
    """How many pictures a memory of earlier runs saves."""
    from serving.evaluating_memory import evaluate_memory

    return evaluate_memory(train, count, images, seed, out, as_json)


@evaluate.command("diorama")
def evaluate_diorama(
    prompts: Annotated[str, typer.Option(help="heldout, train or geneval (its own prompts).")] = "heldout",
    images: Annotated[int, typer.Option(min=1, max=1000, help="Pictures per prompt and arm.")] = 12,
    count: Annotated[int, typer.Option(min=1, help="Prompts in all.")] = 200,
    arms: Annotated[str, typer.Option(help="What to compare.")] = "single,best_of_n,rewrite_best_of_n,loop",
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Outcomes and report; a second call goes on.")] = Path(
        "out/diorama"
    ),
    as_json: AsJson = False,
) -> int:
    """Held-out prompts whose meaning is known exactly, at equal picture budgets."""
    from serving.evaluating import evaluate_diorama

    return evaluate_diorama(prompts, images, count, arms, seed, out, as_json)


@evaluate.command("depth")
def evaluate_depth(
    dataset: Annotated[str, typer.Argument(help="nyuv2, kitti, eth3d, scannet, diode or hypersim.")],
    path: Annotated[Path, typer.Argument(help="Its folder, or a list in it.", show_default=False)],
    model: Annotated[str, typer.Option(help="A depth network's folder.")] = "embedded",
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps, 4 unless the network regresses.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many pictures, spread evenly.", show_default=False)
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="plain, or official: clips to the largest true depth, a leak.")
    ] = "plain",
    side: Annotated[
        int | None, typer.Option(help="Longer side to look at in pixels; 0: its own.", show_default=False)
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Rows and report; a second call goes on. out/depth-DATASET.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """A depth network on a benchmark of the field: AbsRel, delta, and distances at edges."""
    from serving.depth_evaluation import evaluate_depth

    return evaluate_depth(dataset, path, model, steps, limit, protocol, side, seed, out, as_json)


@cli.command()
def doctor(as_json: AsJson = False) -> int:
    """Versions, devices, weights, vocabulary, disk, stores, and what is wrong (exit code 1)."""
    from serving.diagnosis import report_health

    return report_health(as_json)


def check_rooms(root: Path) -> str | None:
    """What is wrong if a package of ours would be imported from elsewhere than `root`; None if nothing is."""
    for room in ROOMS:
        spec = util.find_spec(room)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        if found in (root / room / "__init__.py", root / f"{room}.py"):
            continue
        if found is None:
            return f"the package {room!r} is missing beside {root / 'app.py'}: install maulstick again"
        owners = [name for name in metadata.packages_distributions().get(room, ()) if name != "maulstick"]
        way_out = f"run `pip uninstall {' '.join(owners)}`" if owners else "move it away"
        place = f"the package {room!r} at {found.parent} hides maulstick's own"
        return f"{place}: {way_out}, or give maulstick a virtual environment of its own"
    return None


def run(arguments: list[str]) -> int:
    """Carry out one command line; gives the exit code. 2 is what the user can mend, told in one line."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if fault := check_rooms(Path(__file__).resolve().parent):
        print(f"maulstick: {fault}", file=sys.stderr)
        return 2
    from serving.failures import describe_failure

    try:
        return cli(arguments, prog_name="maulstick", standalone_mode=False) or 0
    except TyperException as error:
        print(f"maulstick: {error.format_message()}", file=sys.stderr)
        return 2
    except Exception as error:
        if (line := describe_failure(error)) is None:
            raise
        print(f"maulstick: {line}", file=sys.stderr)
        return 2


def main() -> None:
    """The command `maulstick`."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
