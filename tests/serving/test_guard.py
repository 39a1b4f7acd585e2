"""The start-up guard names another distribution that owns one of our package names."""

import os
import subprocess
import sys
from pathlib import Path

import app

ROOT = Path(__file__).parents[2]


def _install_foreign_agents(folder: Path) -> None:
    (folder / "agents").mkdir(parents=True)
    (folder / "agents" / "__init__.py").write_text("raise SystemExit('the foreign package was imported')\n")
    info = folder / "openai_agents-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: openai-agents\nVersion: 1.0\n")
    (info / "RECORD").write_text("agents/__init__.py,,\nopenai_agents-1.0.dist-info/METADATA,,\n")


def test_a_foreign_agents_package_is_named_before_it_is_imported(tmp_path: Path):
    _install_foreign_agents(tmp_path)
    paths = [str(tmp_path), str(ROOT)]
    script = f"import sys; sys.path[:0] = {paths!r}; import app; sys.exit(app.run(['doctor']))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "MAULSTICK_HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert "pip uninstall openai-agents" in line
    assert str(tmp_path / "agents") in line


def test_our_own_packages_pass():
    assert app.check_rooms(ROOT) is None


def test_a_missing_package_is_named(tmp_path: Path):
    assert "'agents'" in str(app.check_rooms(tmp_path))
