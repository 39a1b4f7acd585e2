"""The wheel holds everything that runs, and nothing that does not."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_an_installed_wheel_runs_from_anywhere(tmp_path: Path):
    source = tmp_path / "source"
    # From a copy: setuptools leaves a build/ behind, whose stale files the next wheel would take in.
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "dist", "out", "*.egg-info", "__pycache__")
    )
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"app.py", "settings.py", "diorama/vocabulary.toml", "agents/patterns.toml"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/"))]
    shipped = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "models/embedded/weights").rglob("*")
        if path.is_file()
    }
    assert shipped <= set(names)

    # Its own environment, with the dependencies of this one: only maulstick itself is installed.
    venv.create(tmp_path / "venv", with_pip=True)
    [site] = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = tmp_path / "venv" / "bin" / "python"
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--force-reinstall",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    done = subprocess.run(
        [str(tmp_path / "venv" / "bin" / "maulstick"), "doctor", "--json"],
        env={**os.environ, "MAULSTICK_HOME": str(tmp_path / "home")},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    report = json.loads(done.stdout)
    assert all(Path(part["path"]).is_relative_to(site) for part in report["weights"])
    assert report["versions"]["maulstick"] == "0.1.0"
