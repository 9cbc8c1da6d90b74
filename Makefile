PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/bash
SEED ?= $(shell echo $$RANDOM)

.PHONY: demo test test-releases test-python test-dates test-order lint protos protos-check docs notebooks bench soak clean

demo: .venv/demo
	$(BIN)/python -m imgframe.cli demo

test: .venv/dev lint protos-check
	$(BIN)/pytest
	tools/check_wheel

test-releases: .venv/dev
	$(BIN)/pytest -m "other_release and not soak"

test-python: .venv/dev
	$(BIN)/python tools/test_python.py

test-dates: .venv/dev
	$(BIN)/python tools/test_dates.py

test-order: .venv/dev
	$(BIN)/pytest --random-order --random-order-seed=$(SEED)

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/stub.py --check

protos: .venv/dev
	$(BIN)/python tools/gen_protos.py

protos-check: .venv/dev
	$(BIN)/python tools/gen_protos.py --check

docs: .venv/dev
	$(BIN)/python tools/stub.py
	$(BIN)/python tools/pages.py
	$(BIN)/python tools/site.py out/site
	@echo Open out/site/index.html

notebooks: .venv/dev
	$(BIN)/python tools/notebooks.py

bench: .venv/dev
	$(BIN)/python -m benchmarks

soak: .venv/dev
	$(BIN)/pytest -m soak --timeout 0

.venv/pip: 
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

.venv/demo: pyproject.toml | .venv/pip
	$(BIN)/python -m pip install --quiet -e .
	$(BIN)/python -m compileall -q imgframe
	touch $@

.venv/dev: pyproject.toml | .venv/pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	$(BIN)/python -m compileall -q imgframe
	touch $@ .venv/demo

clean:
	rm -rf .venv .cache dist build
