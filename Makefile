# `make demo` and `make test` do all the set-up they need on a machine with Python and pip.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := PATH="$(CURDIR)/$(BIN):$$PATH" pytest --dist loadfile --no-loadscope-reorder

.PHONY: demo test quick check style types tests lock clean

demo: .venv/installed ## run the sample from pool to selection
	$(BIN)/selectllm run

test: .venv/installed style ## every check and every test; types while tests wait
	@$(MAKE) --no-print-directory --jobs 2 types tests

quick: .venv/installed style ## the checks and tests that take a minute
	$(PYTEST) -n 2 -m "not slow"

check: .venv/installed style types ## format, lint, spelling, types

style: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell

types: .venv/installed
	$(BIN)/mypy

tests: .venv/installed # three workers for two cores: they wait for processes half of the time
	$(PYTEST) -n 3

lock: ## pin every package anew, for Python 3.11 to 3.13 (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--upgrade --output-file constraints.txt pyproject.toml

clean: ## forget the environment; data and the journal stay
	rm -rf .venv

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and 'SelectLLM needs Python 3.11 to 3.13; name one with PYTHON=python3.11')"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev,local]'
	touch $@
