# `make demo` and `make test` need Python 3.11+, pip and make; both are safe to run again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-training test-browser test-all check docs models bench clean help

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml twin/__init__.py | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e .
	@touch $@

$(VENV)/.dev: pyproject.toml twin/__init__.py | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@ $(VENV)/.base

$(VENV)/.browser: $(VENV)/.dev
	$(BIN)/python -m pip install -q -e '.[dev,browser]'
	@touch $@

.venv-training/.ready: pyproject.toml
	@test -x .venv-training/bin/python || $(PYTHON) -m venv .venv-training
	.venv-training/bin/python -m pip install -q torch==2.13.0
	.venv-training/bin/python -m pip install -q -e '.[training,dev]'
	@touch $@

## make demo           install, index the sample corpus, ask three questions, serve the page
demo: $(VENV)/.base
	@TWIN_TENANT=demo $(BIN)/python scripts/demo.py

## make models         fetch the local chat model (93 MB), which some tests use
models: $(VENV)/.base
	@$(BIN)/twin models pull smollm2 || echo "the tests that need smollm2 will be skipped"

## make test           the default suite: no torch, no browser, no other server
test: $(VENV)/.dev models
	$(BIN)/python -m pytest -n 2 --dist loadfile

## make test-training  what needs torch, in an environment of its own (.venv-training)
test-training: .venv-training/.ready
	.venv-training/bin/twin models pull minilm-fp32
	.venv-training/bin/python -m pytest -m training -rs
	.venv-training/bin/python -m pytest tests/test_imports.py -k pull_in

## make test-browser   the page in headless Chromium
test-browser: $(VENV)/.browser
	$(BIN)/python -m pytest -m browser

## make check          lint, format, types, import direction
check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py tests/test_docs.py

## make docs           write the documents that come from code (settings, .env.example)
docs: $(VENV)/.base
	$(BIN)/python scripts/write_settings_docs.py

## make bench          speed and memory, with the figures that docs/results.md quotes
bench: $(VENV)/.base
	$(BIN)/python scripts/bench_ingest.py
	$(BIN)/python scripts/bench_retrieval.py
	@TWIN_TENANT=bench $(BIN)/twin ingest -q examples/corpus
	TWIN_TENANT=bench $(BIN)/python scripts/bench_ask.py

clean:
	rm -rf $(VENV) .venv-training build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
