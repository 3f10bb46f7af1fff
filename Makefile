# Each of these is one command, and CI runs exactly these.
#
#   make run     a session in this terminal that survives its daemon
#   make test    the suite                       make lint   ruff, mypy
#   make e2e     what needs root and a systemd   make demo   the promise, shown without a terminal
#   make bench   toowl beside tmux, screen, dtach, into docs/performance.md; ARGS="--only echo,text" for a part
#   make bench-quick  ratios to tmux now, beside those that are committed: did something become slower?
#   make soak    everything killed at random for MINUTES=10, with SEED=…; JSON=FILE for the figures
#   make docs    man pages and command reference  make clean  everything made here, gone

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# The suite runs with four workers: most of it waits for processes, and two cores are the least that CI gives. What
# needs root and a systemd runs alone.
PYTEST := $(BIN)/python -m pytest
ARGS ?=
MINUTES ?= 10

# What parts of the suite run against, or need.
TOOLS := tmux asciinema dtach screen strace vim nvim zsh fish ssh-agent dbus-daemon systemctl man setsid

.PHONY: run test lint e2e soak bench bench-quick demo docs clean lacks
.DEFAULT_GOAL := run

run: $(VENV)/.installed
	@TOOWLD_PERSISTENT_SESSIONS=1 $(BIN)/toowl $(ARGS)

test: $(VENV)/.tested lacks
	$(PYTEST) -n 4 --dist worksteal -m "not e2e" $(ARGS)

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

e2e: $(VENV)/.tested lacks
	$(PYTEST) -m e2e $(ARGS)

soak: $(VENV)/.tested
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(JSON),--json $(JSON)) $(ARGS)

bench: $(VENV)/.installed
	@$(BIN)/python -m bench run $(ARGS)

bench-quick: $(VENV)/.installed
	@$(BIN)/python -m bench quick $(ARGS)

demo: $(VENV)/.installed
	@$(BIN)/python packaging/demo.py

docs: $(VENV)/.installed
	$(BIN)/python docs/generate.py

lacks:
	@lacks=; for tool in $(TOOLS); do command -v $$tool >/dev/null || lacks="$$lacks $$tool"; done; \
	 [ -z "$$lacks" ] || echo "this machine lacks$$lacks: tests that need one of them are skipped"

# The stamps: installed again only when what is to be installed, or how, changes. The install is editable, so that a
# change in the code needs none. The `toowl` that a pip before 25.2 writes imports re, which takes half as long as the
# interpreter itself needs to start.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

$(VENV)/.installed: pyproject.toml Makefile | $(VENV)/bin/python
	@echo "installing toowl into $(VENV) …"
	@$(PIP_INSTALL) 'pip>=25.2'
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.tested: pyproject.toml Makefile | $(VENV)/bin/python
	@echo "installing toowl and what its tests need into $(VENV) …"
	@$(PIP_INSTALL) 'pip>=25.2'
	@$(PIP_INSTALL) --editable '.[test,lint]'
	@touch $@ $(VENV)/.installed

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "toowl needs Python 3.11 or newer; install it: apt install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	 { echo "toowl needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version); say make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	 { echo "$(PYTHON) can't make a virtual environment; install it: apt install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
