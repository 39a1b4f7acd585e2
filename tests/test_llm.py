"""A real small language model behind a real server: `make llm` fetches it, `make test-llm` runs this.

It reads text only, so it takes prompts apart, proposes and explains while the embedded critic looks. What it
gets right is printed; only what it reaches with room to spare is asserted.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from agents.decompose import DECOMPOSE, DecomposeRequest
from agents.embedded_reading import make_sentences
from agents.evidence import Error, Sentence, apply_edits
from agents.patterns import patterns_for
from agents.propose import PROPOSE, PatternChoice, ProposeRequest
from agents.reading.card import EndpointCard
from agents.reading.endpoint import EndpointSpeaker
from agents.reading.mind import ReadingMind
from agents.reading.quotes import overlap
from agents.reading.replies import Forgetful
from agents.role import MindError
from diorama.families import Case, geneval_cases
from diorama.lexemes import UnknownWords, Unparsable
from diorama.parsing import parse
from diorama.vocabulary import load_vocabulary
from memory.artifacts import Artifacts
from models.threads import choose_threads
from scripts.get_llm import PYTHON, WEIGHTS

ROOT = Path(__file__).parents[1]
PROMPTS = int(os.environ.get("LLM_PROMPTS", "60"))
"""Fewer are quicker: 60 take a quarter of an hour on two free cores."""
pytestmark = [pytest.mark.llm, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of llama.cpp's server with the model."""
    assert WEIGHTS.is_file() and PYTHON.is_file(), "run `make llm` first"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = str(choose_threads())
    command = [str(PYTHON), "-m", "llama_cpp.server", "--model", str(WEIGHTS), "--port", str(port)]
    command += ["--n_ctx", "8192", "--n_threads", threads, "--n_threads_batch", threads]
    with (
        (tmp_path_factory.mktemp("llm") / "server.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as running,
    ):
        url = f"http://127.0.0.1:{port}/v1"
        try:
            _wait_for(url, running)
            yield url
        finally:
            running.kill()  # a reply in the making would hold a gentler end up


def _wait_for(url: str, running: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert running.poll() is None, "the server ended by itself"
        try:
            urllib.request.urlopen(f"{url}/models", timeout=2).close()
        except OSError:
            time.sleep(1)
        else:
            return
    raise AssertionError("the server did not answer within five minutes")


@pytest.fixture
async def mind(server: str, tmp_path: Path) -> AsyncGenerator[ReadingMind]:
    card = EndpointCard(base_url=server, concurrency=1, max_tokens=1024, timeout=600)
    async with EndpointSpeaker("local", card, Artifacts(tmp_path), Forgetful()) as speaker:
        yield ReadingMind("local", speaker)


def cases() -> list[Case]:
    found = geneval_cases(load_vocabulary())
    return found[:: len(found) // PROMPTS][:PROMPTS]


def objects(sentences: tuple[Sentence, ...]) -> list[Sentence]:
    return [sentence for sentence in sentences if sentence.kind == "object"]


def is_apart(case: Case, sentences: tuple[Sentence, ...]) -> bool:
    """One sentence for each object and no other, on its words."""
    wanted, found = objects(make_sentences(case.prompt)), objects(sentences)
    met = [[mine for mine in found if overlap(mine.span, gold.span)] for gold in wanted]
    return len(found) == len(wanted) and all(len(mine) == 1 for mine in met)


async def test_it_takes_prompts_apart(mind: ReadingMind) -> None:
    right, answered, began = 0, 0, time.monotonic()
    for case in cases():
        try:
            reply = await mind.ask(DECOMPOSE, DecomposeRequest(prompt=case.prompt))
        except MindError as error:
            print(f"no: {case.prompt}: {error}")
            continue
        answered += 1
        right += is_apart(case, reply.sentences)
    seconds = (time.monotonic() - began) / PROMPTS
    print(f"decompose: understood {answered} and right {right} of {PROMPTS}, {seconds:.1f} s each")
    assert answered >= PROMPTS * 0.8 and right >= PROMPTS * 0.5


def planted(case: Case, sentences: tuple[Sentence, ...]) -> Error:
    first = objects(sentences)[0]
    kind = {"counting": "count", "colors": "colour", "color_attr": "colour"}.get(case.family, "missing")
    return Error.model_validate(
        {
            "id": "e1",
            "kind": kind,
            "target": first.text,
            "description": f"{first.text}: it was painted wrong",
            "sentence_ids": (first.id,),
            "severity": 0.9,
            "sources": ("vqa",),
            "span": first.span,
        }
    )


def keeps_meaning(case: Case, prompt: str) -> bool:
    try:
        return parse(prompt).graph == case.graph
    except (UnknownWords, Unparsable):
        return False


async def test_it_proposes_edits(mind: ReadingMind) -> None:
    answered = candidates = kept = 0
    for case in cases():
        sentences = make_sentences(case.prompt)
        error = planted(case, sentences)
        request = ProposeRequest(
            prompt=case.prompt,
            original_prompt=case.prompt,
            sentences=sentences,
            errors=(error,),
            patterns=tuple(PatternChoice(name=p.name, weight=1.0) for p in patterns_for(error.kind)[:4]),
            tried=(case.prompt,),
            count=3,
        )
        try:
            reply = await mind.ask(PROPOSE, request)
        except MindError as fault:
            print(f"no: {case.prompt}: {fault}")
            continue
        answered += 1
        for proposal in reply.proposals:
            candidates += 1
            kept += keeps_meaning(case, apply_edits(case.prompt, proposal.edits))
    print(
        f"propose: understood {answered} of {PROMPTS}; of {candidates} candidates {kept} surely mean the same"
    )
    assert answered >= PROMPTS * 0.3


def test_a_whole_refinement_with_it(server: str, tmp_path: Path) -> None:
    roles = {f"MAULSTICK_MINDS__{role}": "local" for role in ("DECOMPOSE", "PROPOSE", "MERGE", "EXPLAIN")}
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAULSTICK_")}
    env |= {**roles, "MAULSTICK_ENDPOINTS__LOCAL__BASE_URL": server, "MAULSTICK_HOME": str(tmp_path)}
    env |= {"MAULSTICK_ENDPOINTS__LOCAL__TIMEOUT": "600", "MAULSTICK_ENDPOINTS__LOCAL__CONCURRENCY": "1"}
    command = [sys.executable, str(ROOT / "app.py"), "refine", "a red cube to the left of two blue spheres"]
    done = subprocess.run(
        [*command, "--images", "8", "--json"],
        env=env,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    print(json.dumps(result, indent=1))
    assert result["status"] in ("satisfied", "budget", "plateau")
    assert result["minds"]["tokens_out"] > 0 and result["explanation"]
