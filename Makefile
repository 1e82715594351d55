# The two commands of the README are `demo` and `test`. Each makes its own virtual environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check bench docs install lock clean

install: $(STAMP)

$(STAMP): pyproject.toml requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements-dev.lock -e '.[dev]'
	touch $(STAMP)

demo: install  ## run a bundled example on this repository with the offline agent
	$(BIN)/callsheet run examples/tour/workflow.js --backend offline --yes
	@echo
	@echo "Look at it:      $(BIN)/callsheet watch last     or     $(BIN)/callsheet report last --open"
	@echo "For your shell:  . $(BIN)/activate     then callsheet is a command, in any folder"

check: install  ## style, types, who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check  ## everything that must hold before a change lands
	$(BIN)/pytest -q -n logical --maxprocesses 4 --dist worksteal

bench: install  ## figures against the raw client on the same loopback service
	$(BIN)/python -m tests.bench

docs: install  ## the reference pages anew, and the site of docs/ in site/
	$(BIN)/python docs/references.py
	$(BIN)/python -m mkdocs build --strict

lock:  ## write the versions that development and CI use
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --extra dev --no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
