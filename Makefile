# Needs Python 3.11 (with venv), make and sh; everything else is installed into .venv from requirements.txt.
.POSIX:
.DEFAULT_GOAL := help
.PHONY: help venv lock up demo stop status link join-key hold check-partner test test-long bench lint

PYTHON = python3.11
BIN = .venv/bin
RUN = PYTHONPATH=include:plugins $(BIN)/python
INSTALLED = .venv/installed
ARGS =

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

venv: $(INSTALLED) ## the virtual environment, from the lock

# The lock names uv's version and hashes; pip installs that uv, and uv the rest (pip alone takes minutes).
$(INSTALLED): requirements.txt include/stack/python_version.py
	@$(PYTHON) -c "" 2>/dev/null || { echo "Python 3.11 is needed: $(PYTHON) cannot be run." >&2; exit 1; }
	@$(PYTHON) include/stack/python_version.py
	@echo "Making the virtual environment .venv from requirements.txt ..."
	@test -x $(BIN)/python && $(BIN)/python include/stack/python_version.py 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@awk '/^uv==/ {inside = 1} inside {print} inside && !/\\$$/ {exit}' requirements.txt > .venv/uv.txt
	@test -x $(BIN)/pip || $(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .venv/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --system-certs --require-hashes requirements.txt
	@touch $(INSTALLED)

lock: $(INSTALLED) ## solve requirements.in anew into requirements.txt (UPGRADE=--upgrade for newer versions)
	$(BIN)/uv pip compile --quiet --system-certs --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(UPGRADE) \
	  requirements.in -o requirements.txt

up: $(INSTALLED) ## start the database and Airflow (PARTNER_SYNC_ADMIN_URL=... for a PostgreSQL of your own)
	@$(RUN) -m stack.up

demo: $(INSTALLED) ## the same with two practice partners, weeks of visits, and runs to look at
	@$(RUN) -m stack.demo

stop: ## end everything that was started, and nothing else
	@if test -x $(BIN)/python; then $(RUN) -m stack.stop; else echo "Nothing was running."; fi

status: $(INSTALLED) ## what runs, how healthy it is, where to log in
	@$(RUN) -m stack.status

link: $(INSTALLED) ## join an organization to a partner; `make link HELP=1` explains
	@$(RUN) -m stack.link $(if $(HELP),--help)

join-key: $(INSTALLED) ## say what a partner calls one of our rows; `make join-key HELP=1` explains
	@$(RUN) -m stack.join_key $(if $(HELP),--help)

hold: $(INSTALLED) ## PARTNER=<slug> REASON=<why>: let no call leave (RESUME=1 without REASON: let them go); `make hold HELP=1` explains
	@$(RUN) -m stack.hold $(if $(HELP),--help)

check-partner: $(INSTALLED) ## PARTNER=<slug>: connect, list, show the first rows masked, make the pool
	@$(RUN) -m stack.check_partner $(if $(HELP),--help)

test: $(INSTALLED) ## the suite; starts what it needs by itself (ARGS="-k name" chooses)
	@$(BIN)/pytest -m "not long" -n 2 --dist loadgroup --no-loadscope-reorder $(ARGS)

test-long: $(INSTALLED) ## faults and long runs, and the pages in a browser (as root it installs Debian's chromium)
	@command -v "$${CHROMIUM:-chromium}" >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null \
	  || { apt-get update -q && apt-get install -qy --no-install-recommends chromium fonts-ipafont-gothic; } >/dev/null \
	  || echo "Chromium could not be installed; the tests of the pages in a browser will fail." >&2
	@$(BIN)/pytest -m long $(ARGS) || test $$? -eq 5

bench: $(INSTALLED) ## the figures of the README
	@PYTHONPATH=include:plugins:tests $(BIN)/python -m benchmarks $(ARGS)

lint: $(INSTALLED) ## ruff, mypy and the import contract
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@PYTHONPATH=include:plugins $(BIN)/mypy
	@PYTHONPATH=include:plugins $(BIN)/lint-imports
