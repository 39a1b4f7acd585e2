"""Runs the README's and the docs' `bash` and `python` blocks as a reader would: in an empty folder.

`make` lines are tried with `make -n` in the project's folder. Blocks of any other kind are not for running.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from settings import load_settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = [
    pytest.param(language, code, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, (language, code) in enumerate(
        re.findall(r"^```(bash|python)\n(.*?)^```", page.read_text(), re.S | re.M)
    )
]
MAY_FAIL = {"maulstick doctor --json": 1}
"""The exit code that a command may also end with: the doctor of a machine that lacks something says 1."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("language", "code"), SNIPPETS)
def test_a_snippet_runs(language: str, code: str, tmp_path: Path):
    if language == "python":
        _run([sys.executable, "-c", code], tmp_path)
        return
    for line in code.replace("\\\n", " ").splitlines():
        if line.startswith("make "):
            _run(["make", "-n", *line.split()[1:]], ROOT)
        elif line.strip():
            _run(["bash", "-euc", line], tmp_path, MAY_FAIL.get(line, 0))


def test_configurations_in_the_docs_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocks = [
        code for page in PAGES for code in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.S | re.M)
    ]
    assert blocks
    for number, code in enumerate(block for block in blocks if block.startswith("# maulstick.toml")):
        (path := tmp_path / f"{number}.toml").write_text(code)
        monkeypatch.setenv("MAULSTICK_CONFIG", str(path))
        load_settings()


def _run(command: list[str], folder: Path, also: int = 0) -> None:
    # `maulstick` and `python` are those of the environment that runs the tests.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "MAULSTICK_HOME": str(folder / "home")}
    if folder == ROOT:
        del env["MAULSTICK_HOME"]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode in (0, also), (
        f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    )


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"
