.DEFAULT_GOAL := help
PYTHON ?= python
.PHONY: help install test quick lint format types direction docs document site check figures report first bench clean attack

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
install:  ## install the project and its test dependencies
	$(PYTHON) -m pip install -e '.[test]'
test:  ## run the suite
	$(PYTHON) -m pytest
quick:  ## run the tests that take seconds
	$(PYTHON) -m pytest -m 'not slow and not docs and not attack'
lint:  ## check style
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .
format:  ## fix style
	$(PYTHON) -m ruff check --fix . ; $(PYTHON) -m ruff format .
types:  ## check types
	$(PYTHON) -m mypy bench methods datasets
direction:  ## check the import contracts
	lint-imports --no-cache
docs:  ## fail if a generated document is stale
	$(PYTHON) results/findings.py --check && $(PYTHON) results/studies.py --check && $(PYTHON) results/docs.py --check && $(PYTHON) results/regimes.py --check
document:  ## write all generated documents
	$(PYTHON) results/findings.py && $(PYTHON) results/studies.py && $(PYTHON) results/docs.py && $(PYTHON) results/regimes.py
site: docs  ## build the documentation site in build/site; stale documents fail
	$(PYTHON) docs/site
check:  ## run what CI runs, in a fresh environment
	.ci/run
attack:  ## the long forms of the attacks on records, kills, inputs, processes and copies; hours
	$(PYTHON) -m tests.attack.records 2000
	$(PYTHON) -m tests.attack.kills 500
	$(PYTHON) -m tests.attack.inputs 10000
	$(PYTHON) -m tests.attack.concurrency
	$(PYTHON) -m tests.attack.soak
	$(PYTHON) -m pytest tests/runs/test_isolation.py
figures:  ## draw all figures from the published records
	$(PYTHON) -m bench figures --reference
report:  ## write the offline report of the published records
	$(PYTHON) -m bench report --reference --output report.html
first:  ## run the first comparison: three methods, two tests, three seeds
	$(PYTHON) -m bench run --method erm,ben,adabn --split coos7/test1,ottawa --seeds 3
bench:  ## run all benchmarks, one after another, and write docs/benchmarks.md
	@for file in tests/benchmarks/[a-z]*.py; do \
	  name=$$(basename $$file .py); echo "== $$name"; \
	  OMP_NUM_THREADS=1 $(PYTHON) -m tests.benchmarks.$$name || echo "$$name: exit code $$?"; \
	done
	$(PYTHON) -m tests.benchmarks._page
clean:  ## remove caches and builds, never results
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
