# `make demo` makes a 3D asset from a sentence; `make test` runs the tests. Both set up .venv on their first call.
PYTHON ?= python3
PROMPT ?= a red mushroom
VENV := .venv
BIN := $(VENV)/bin
# On a machine without an NVIDIA driver the CPU build of torch is tried first: the default one brings gigabytes of CUDA.
CPU_TORCH := torch==2.13.0

.PHONY: demo test check clean

demo: $(VENV)/.installed
	$(BIN)/distill3d run dreamfusion prompt="$(PROMPT)"

test: $(VENV)/.installed-dev  # which starts many processes: each would compile the package where bytecode is not kept
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist loadscope

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "error: Python 3.10 or newer is needed; set PYTHON=..."; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "error: 'python3 -m venv' failed; on Debian and Ubuntu: apt install python3-venv"; exit 2; }

$(VENV)/.torch: | $(BIN)/python
	@command -v nvidia-smi >/dev/null 2>&1 || $(BIN)/python -m pip install -q "$(CPU_TORCH)+cpu" 2>/dev/null \
		|| echo "no CPU build of torch at hand; taking the default one"
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.torch
	$(BIN)/python -m pip install -q -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.torch
	$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf outputs build .pytest_cache .ruff_cache .mypy_cache
