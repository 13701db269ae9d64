# `make demo` and `make test` do the rest; `make` alone lists the targets.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint bench bench-quick crash flips fuzz orders planted format man clean ready ready-dev
# What a developer's shell points at must not reach the tests or a demonstration.
unexport PYTHONHOME PYTHONPATH FARKEEP_HOME FARKEEP_KEY_FILE FARKEEP_PASSPHRASE_FILE FARKEEP_DEBUG \
	FARKEEP_THREADS FARKEEP_NICE FARKEEP_IONICE

PYTHON := .venv/bin/python
ifndef SEED
SEED := $(shell od -An -N3 -tu4 /dev/urandom 2>/dev/null | tr -d ' ')
endif

# A missing system package is said in one line and no more: question mode (-q) ends with 1, runs and prints nothing.
ifneq ($(filter-out help clean,$(MAKECMDGOALS)),)
ifneq ($(shell scripts/setup check || echo missing),)
MAKEFLAGS += q
endif
endif

help: # this list
	@sed -n 's/^\([a-z-]*\):[^#]*# /  make \1\t/p' Makefile | expand -t 20

ready:
	@scripts/setup run

ready-dev:
	@scripts/setup dev

demo: ready # back up a part of this machine, change copies, restore, compare (KEEP=1 keeps what it made)
	@$(PYTHON) -m scripts.demo $(if $(KEEP),--keep)

test: lint # all checks and all tests
	$(PYTHON) -m pytest -n auto --maxprocesses 8 --dist worksteal

lint: ready-dev # style, types, and which part may import which
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache --config tests/arch/importlinter.ini

bench: ready-dev # measure beside restic and borg: about half an hour (bench/README.md)
	$(PYTHON) -m bench.driver

bench-quick: ready-dev # the same with small data sets, beside restic: a minute or two
	$(PYTHON) -m bench.driver --quick

crash: ready-dev # cut jobs off and let them fail at every call of the disk: about an hour (SEED=N repeats a run)
	@echo "seed $(SEED); again: make crash SEED=$(SEED)"
	FARKEEP_TEST_LONG=1 FARKEEP_TEST_SEED=$(SEED) $(PYTHON) -m pytest tests/invariants/test_0[1234578]_*.py tests/e2e/test_touched_files.py \
		-n auto --maxprocesses 8 --hypothesis-seed=$(SEED)

flips: ready-dev # change every bit of a small home, one at a time: hours (SEED=N repeats what is drawn)
	@echo "seed $(SEED); again: make flips SEED=$(SEED)"
	FARKEEP_TEST_LONG=1 FARKEEP_TEST_SEED=$(SEED) $(PYTHON) -m pytest tests/invariants/test_09_*.py \
		tests/invariants/test_10_*.py tests/invariants/test_11_*.py -n auto --maxprocesses 8

fuzz: ready-dev # feed every decoder for a minute each, new finds kept in tests/corpus (SEED=N, SECONDS=N)
	@echo "seed $(SEED); again: make fuzz SEED=$(SEED)"
	FARKEEP_TEST_LONG=1 FARKEEP_TEST_SEED=$(SEED) FARKEEP_FUZZ_SECONDS=$(or $(SECONDS),60) $(PYTHON) -m pytest \
		tests/invariants/test_22_decoders_are_bounded.py tests/invariants/test_22_bombs.py -n auto --maxprocesses 8

planted: ready-dev # make single lines of the product wrong, one at a time: each must be caught by its test
	$(PYTHON) -m tests.planted

orders: ready-dev # run jobs side by side in every order within bounds: many minutes (SEED=N repeats a run)
	@echo "seed $(SEED); again: make orders SEED=$(SEED)"
	FARKEEP_TEST_LONG=1 FARKEEP_TEST_SEED=$(SEED) $(PYTHON) -m pytest tests/invariants/test_06_skip_only_what_is_there.py \
		-n auto --maxprocesses 8

format: ready-dev # put imports in order and mend what ruff can
	.venv/bin/ruff check --fix

man: ready-dev # write the manual page docs/farkeep.1 anew from what the commands say of themselves
	@$(PYTHON) -m scripts.manual

clean: # remove everything that was made here, .venv too
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
