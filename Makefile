# What people do here. It needs sh, coreutils, make, git and Python 3.11 or newer, and nothing else.

PYTHON ?= python3
PY := .venv/bin/python
ARGS ?=

# A stamp is named for the content of its lock, so a new lock, or a .venv that lost its Python, installs again.
sum = $(or $(firstword $(shell test -x $(PY) && cksum < $(1))),missing)
RUN_SET := .venv/.run-$(call sum,requirements.txt)
DEV_SET := .venv/.dev-$(call sum,requirements-dev.txt)
# Builds frontend/ into chat/static/app/ (or checks or tests it), with the Node on PATH or one in .venv.
PAGE = $(PY) chatproject/launch/page.py

.PHONY: help run test test-browser chaos bench check format lock clean
.DEFAULT_GOAL := help

help:
	@echo 'make run     start the chat server with everything it needs; Ctrl-C stops it'
	@echo '             PORT=8000 HOST=127.0.0.1 CHAT_DATA_DIR=.data (docs/operations/running.md)'
	@echo 'make test    run the tests (ARGS="tests/launch -x")'
	@echo 'make test-browser   of these, those of the page in a real browser, alone'
	@echo 'make chaos   break everything that can be broken, and count what users would notice (docs/guarantees.md)'
	@echo 'make bench   measure it beside its peers (NAME=send for one; WRITE=1 puts it into docs/performance.md)'
	@echo 'make check   lint, format, types, layers, migrations'
	@echo 'make format  put the code into its form'
	@echo 'make lock    pin what the .in files allow'
	@echo 'make clean   remove what was made, but neither .data nor your work'

# exec and $$PPID: the launcher is told which process make is, and stops when that one is gone.
run: $(RUN_SET)
	@$(PAGE) build
	@exec $(PY) -m chatproject.launch --parent $$PPID

# Three processes at once: those with servers of their own often wait. The second run: what is in one process on
# Postgres too, and what SQLite cannot show.
IN_ONE = tests/admin tests/api tests/chat tests/workers
APART = tests/chat/hostile tests/chat/servers tests/workers/llm tests/workers/modes
ON_POSTGRES = --database=postgres $(IN_ONE) $(APART:%=--ignore=%)
test: $(DEV_SET)
	@$(PAGE) build
	$(PY) -m pytest $(or $(ARGS),-n 3)
	$(if $(ARGS),,$(PY) -m pytest -n 2 $(ON_POSTGRES))
	$(if $(ARGS),,$(PAGE) test)
	$(if $(ARGS),,$(IN_BROWSER))

# In a process of its own: Playwright runs an event loop in the thread of the tests.
IN_BROWSER = $(PY) -m pytest -c tests/browser/pytest.ini tests/browser
test-browser: $(DEV_SET)
	@$(PAGE) build
	$(IN_BROWSER) $(ARGS)

# Half an hour: --database, --fault NAME, --seed N, --kills N, --minutes N, --out FOLDER, --write in ARGS.
chaos: $(DEV_SET)
	@$(PY) -m tests.chaos $(ARGS)

# The peers are installed into .venv/peers at the first run.
bench: $(DEV_SET)
	@$(PAGE) build
	$(PY) -m benchmarks $(NAME) $(if $(WRITE),--write) $(ARGS)

# mypy's plugin and manage.py load the settings: here, those of nobody's server.
check: export CHAT_ENV := local
check: export CHAT_DATA_DIR := .venv/.check
check: $(DEV_SET)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -c 'from importlinter.cli import lint_imports_command as check; check()'
	$(PY) manage.py makemigrations --check --dry-run
	$(PAGE) check

format: $(DEV_SET)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(PY) -m babel.messages.frontend --quiet compile --domain django --directory chat/locale

LOCK = $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock: $(DEV_SET)
	$(LOCK) $(ARGS) requirements.in -o requirements.txt
	$(LOCK) $(ARGS) requirements-dev.in -c requirements.txt -o requirements-dev.txt
	$(LOCK) $(ARGS) frontend/node.in -o frontend/node.txt
	for peer in benchmarks/peers/*/requirements.in; do $(LOCK) $(ARGS) $$peer -o $${peer%in}txt || exit; done

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -rf frontend/node_modules chat/static/app chat/static/.app-*
	$(PYTHON) -c 'import pathlib, shutil; [shutil.rmtree(p) for p in pathlib.Path().rglob("__pycache__")]'

.venv/.run-%:
	@$(PYTHON) chatproject/launch/install.py requirements.txt
	@touch .venv/.run-$$(cksum < requirements.txt | cut -d ' ' -f 1)

.venv/.dev-%:
	@$(PYTHON) chatproject/launch/install.py requirements-dev.txt
	@touch .venv/.run-$$(cksum < requirements.txt | cut -d ' ' -f 1)
	@touch .venv/.dev-$$(cksum < requirements-dev.txt | cut -d ' ' -f 1)
