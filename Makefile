# `make demo`, `make test` and `make docs` install what they need, on a machine with Python and pip.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
PYTEST := PATH="$(CURDIR)/$(BIN):$$PATH" pytest --dist loadfile --no-loadscope-reorder

.PHONY: demo test quick check style types tests test-train test-services docs lock clean

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

tests: .venv/installed # three workers on two cores, as tests often wait for processes
	$(PYTEST) -n 3 -m "not services"

test-train: .venv/train ## the tests of `selectllm evaluate` that train a tiny model
	$(PYTEST) tests/test_evaluate_train.py

test-services: .venv/services ## the tests with PostgreSQL, S3, SSH, MLflow, Prefect and Ray servers
	SELECTLLM_SERVICES=1 $(PYTEST) -n 2 tests/test_services_*.py tests/test_remote.py \
		tests/test_fetch_postgres.py tests/test_executor.py

docs: .venv/docs ## build the documentation into site/; a broken link or anchor is an error
	$(BIN)/python docs/make_reference.py
	$(BIN)/zensical build --strict --clean

lock: ## pin and hash every package again, for Python 3.11 to 3.13 (needs uv)
	requirements/lock.sh

clean: ## remove the environment; data and the journal stay
	rm -rf .venv

.venv/installed: pyproject.toml constraints.txt requirements/make.txt
	$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and 'SelectLLM needs Python 3.11 to 3.13; name one with PYTHON=python3.11')"
	$(PYTHON) -m venv .venv
	$(PIP) --no-deps --require-hashes -r requirements/make.txt
	$(PIP) -c constraints.txt torch # its files on PyTorch's index have other hashes than PyPI's
	$(PIP) --no-deps --no-build-isolation -e .
	cp flows/dvc/selectllm.pth .venv/lib/python3.*/site-packages/
	mkdir -p -m 700 .selectllm/dvc # for DVC's site cache, which would be open to all users elsewhere
	$(BIN)/dvc config --local core.site_cache_dir "$(CURDIR)/.selectllm/dvc"
	touch $@

.venv/train: .venv/installed
	$(PIP) --no-deps --require-hashes -r requirements/train.txt
	touch $@

.venv/services: .venv/installed
	sh tests/install_servers.sh
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[services]'
	touch $@

.venv/docs: .venv/installed
	$(PIP) --no-deps --require-hashes -r requirements/docs.txt
	touch $@
