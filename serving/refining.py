"""The commands `refine`, `runs resume` and `runs replay`: run, show, deliver, and end well when interrupted.

Knows neither nodes nor models.
"""

import asyncio
import json
import shlex
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from langgraph.runtime import RunControl
from pydantic import ValidationError
from rich.console import Console

from agents.metering import Spent
from graphs.events import Event, Started
from graphs.interruption import drained_by_signals
from graphs.request import Budget, RefineRequest, RefineResult
from graphs.run import OnEvent, load_request, load_state, refine, replay, resume
from models.backends import resolve
from serving.assembly import Workshop, open_workshop
from serving.configuration import configure
from serving.delivery import Delivery, deliver, summarise
from serving.failures import UserError, describe_validation
from serving.home import check_writable
from serving.runs import open_home
from serving.terminal import watch
from settings import Settings

Work = Callable[[Workshop, OnEvent, RunControl], Awaitable[RefineResult]]
INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells count it (128 + SIGINT)."""


def refine_prompt(
    prompt: str,
    backend: str | None,
    mind: str | None,
    images: int,
    seed: int,
    out: Path | None,
    as_json: bool,
    touch_up: bool = False,
) -> int:
    """Refine a prompt from the beginning."""
    settings = configure()
    request = make_request(prompt, backend or settings.backend, mind or settings.mind, images, seed, touch_up)
    return _carry_out(
        settings,
        request,
        lambda shop, tell, control: refine(request, shop.studio, shop.home, tell, control=control),
        out,
        as_json,
    )


def resume_refinement(run_id: str, out: Path | None, as_json: bool) -> int:
    """Go on with a run."""
    settings = configure()
    return _carry_out(
        settings,
        _find_request(settings, run_id),
        lambda shop, tell, control: resume(run_id, shop.studio, shop.home, tell, control=control),
        out,
        as_json,
    )


def replay_refinement(run_id: str, out: Path | None, as_json: bool) -> int:
    """Do a run again as a new one."""
    settings = configure()
    request = _find_request(settings, run_id)

    async def work(shop: Workshop, tell: OnEvent, control: RunControl) -> RefineResult:
        try:
            await load_state(run_id, shop.home)
        except LookupError as error:
            raise UserError(str(error)) from error
        return await replay(run_id, shop.studio, shop.home, tell, control=control)

    return _carry_out(settings, request, work, out, as_json)


def make_request(
    prompt: str, backend: str, mind: str, images: int, seed: int, touch_up: bool = False
) -> RefineRequest:
    """What was asked, checked as far as it can be before any work.

    Raises:
        UserError: the prompt, the number of pictures or the seed is not allowed.
        ToolError: nothing paints under the name `backend`.
    """
    try:
        request = RefineRequest(
            prompt=prompt,
            backend=backend,
            mind=mind,
            seed=seed,
            budget=Budget(pictures=images),
            touch_up=touch_up,
        )
    except ValidationError as error:
        raise UserError(describe_validation(error)) from error
    resolve(backend)
    return request


def _find_request(settings: Settings, run_id: str) -> RefineRequest:
    with open_home(settings) as home:
        try:
            return load_request(run_id, home)
        except LookupError as error:
            raise UserError(str(error)) from error


def _carry_out(
    settings: Settings, request: RefineRequest, work: Work, out: Path | None, as_json: bool
) -> int:
    if out:
        check_writable(out, "--out")
    started: list[str] = []
    try:
        finished = asyncio.run(_work_and_tell(settings, request, work, out, as_json, started))
    except (KeyboardInterrupt, asyncio.CancelledError):
        finished = False
    if finished:
        return 0
    if started:
        where = f" --out {shlex.quote(str(out))}" if out else ""
        command = f"maulstick runs resume {started[0]}{where}"
        print(f"stopped; nothing is lost. Go on with: {command}", file=sys.stderr)
    return INTERRUPTED


async def _work_and_tell(
    settings: Settings,
    request: RefineRequest,
    work: Work,
    out: Path | None,
    as_json: bool,
    started: list[str],
) -> bool:
    """Run, deliver and print; False if somebody stopped it. `started` gets the run's id once it has one."""
    console = Console(quiet=as_json)
    control = RunControl()
    async with open_workshop(settings, request.mind, request.backend) as workshop:
        with watch(console) as show, drained_by_signals(control):

            def hear(event: Event) -> None:
                if isinstance(event, Started):
                    started.append(event.run_id)
                show(event)

            result = await work(workshop, hear, control)
        if result.status == "cancelled":
            return False
        if result.picture is None:
            raise UserError(result.explanation)
        state = await load_state(result.run_id, workshop.home)
        delivery = deliver(workshop, state, result, result.picture, out)
    if as_json:
        print(json.dumps(summarise(result, result.picture, delivery), ensure_ascii=False))
    else:
        _print_result(console, result, delivery)
    return True


def describe_spent(result: RefineResult) -> str:
    """What the minds of a run took, in one line."""
    spent = result.spent
    text = f"{result.mind_calls} calls, {spent.cached} from the cache, {spent.asked_again} asked again"
    if spent.tokens:
        text += f"; {spent.tokens_in:,} tokens in, {spent.tokens_out:,} out"
    return f"{text}; cost {spent.cost:.4f}" if spent.cost else text


def _print_result(console: Console, result: RefineResult, delivery: Delivery) -> None:
    console.print()
    console.print(result.explanation, markup=False, highlight=False)
    for note in result.notes:
        console.print(f"note: {note}", markup=False, highlight=False, style="yellow")
    if result.final_prompt != result.prompt:
        console.print(f"painted as: {result.final_prompt}", markup=False, highlight=False, soft_wrap=True)
    if result.spent != Spent():
        console.print(f"minds:   {describe_spent(result)}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"picture: {delivery.picture}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"sheet:   {delivery.sheet}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"run:     {result.run_id}", markup=False, highlight=False, soft_wrap=True)
