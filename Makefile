# Two commands do all the set-up: `make rehearse` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.PHONY: help setup rehearse test test-crash check lock bench bench-postgres bench-objects clean

help:
	@echo "make rehearse    a whole migration, on embedded servers, under load (options: ARGS=\"--scenario window\")"
	@echo "make test        the tests"
	@echo "make test-crash  real kills at random moments of every scenario (about 30 minutes)"
	@echo "make check       lint, types, layers"
	@echo "make bench       the figures, measured and printed"
	@echo "make bench-postgres  the PostgreSQL plane beside its peers, on about 1 GB"
	@echo "make bench-objects  the objects plane beside rclone (a part of it: ARGS=\"small\")"
	@echo "make lock        resolve requirements.txt again"

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

rehearse: $(READY)
	@$(BIN)/tidegate rehearse $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -m "not rehearsal" --numprocesses 3 --dist worksteal $(ARGS)
	$(BIN)/python -m pytest -m rehearsal --numprocesses 2 $(ARGS)

test-crash: $(READY)
	$(BIN)/python -m pytest tests/crash tests/postgres/test_runs.py tests/postgres/test_resume.py \
	  tests/objects/test_kills.py tests/cli/test_worker.py --run-slow $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m bench.rehearsal $(ARGS)

bench-postgres: $(READY)
	$(BIN)/python -m bench.postgres $(ARGS)

bench-objects: $(READY)
	$(BIN)/python -m bench.objects $(ARGS)

lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade -o requirements.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis dist
