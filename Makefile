# Every target sets up what it needs in .venv.
VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= python3
export OMP_NUM_THREADS ?= 2

.PHONY: help demo test check types tests lowest docs parity sst prove bench fuzz clean

help:  ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

$(VENV)/.run: pyproject.toml constraints.txt
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --upgrade "pip>=25.1"
	$(PY) -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PY) -m pip install -q -c constraints.txt --group dev -e .
	touch $@

$(VENV)/.docs: $(VENV)/.run
	$(PY) -m pip install -q -c constraints.txt --group docs -e .
	touch $@

demo: $(VENV)/.run  ## train and audit on built-in text; no other input
	$(VENV)/bin/attnaudit demo

test: check types tests  ## lint, types, doctests and tests

check: $(VENV)/.dev  ## format, lint, dead code
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	@! $(VENV)/bin/vulture | grep '^src/'

types: $(VENV)/.dev  ## mypy strict on src/
	$(VENV)/bin/mypy

tests: $(VENV)/.dev  ## doctests and tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto

lowest:  ## the tests with the lowest versions that pyproject.toml allows, in a venv of their own
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install -q --upgrade "pip>=25.1"
	.venv-lowest/bin/python -m pip install -q -c constraints-lowest.txt --group dev -e .
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n auto

docs: $(VENV)/.docs  ## build the documentation, strictly
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

parity: $(VENV)/.dev  ## compare with the reference implementation's stored results
	$(PY) -m benchmarks.parity

sst: $(VENV)/.dev  ## train and audit SST, beside the published figures
	$(PY) -m benchmarks.sst

prove: $(VENV)/.dev  ## audit models whose right verdict is known by construction
	$(PY) -m benchmarks.proving_ground --workers 2 --record
	$(PY) -m benchmarks.proving_others

bench: $(VENV)/.dev  ## measure speed against the published procedures, and what it takes to start
	$(PY) -m benchmarks.bench
	$(PY) -m benchmarks.start

fuzz: $(VENV)/.dev  ## read 2,000 damaged inputs per reader
	$(PY) -m benchmarks.fuzz

clean:  ## remove what was made
	rm -rf $(VENV) .venv-lowest build site dist
