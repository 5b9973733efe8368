.DEFAULT_GOAL := help
PYTHON ?= python
.PHONY: help install test quick lint format types direction docs check figures report bench clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
install:  ## the project and all that its tests need, into the active environment
	$(PYTHON) -m pip install -e '.[test]'
test:  ## all tests
	$(PYTHON) -m pytest
quick:  ## the tests that take seconds
	$(PYTHON) -m pytest -m 'not slow'
lint:  ## style
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .
format:  ## mend style where a machine can
	$(PYTHON) -m ruff check --fix . ; $(PYTHON) -m ruff format .
types:  ## static types
	$(PYTHON) -m mypy bench methods datasets
direction:  ## who may import whom
	lint-imports --no-cache
docs:  ## fail when a generated number or table in a document is stale; the scripts alone write them
	$(PYTHON) results/findings.py --check && $(PYTHON) results/docs.py --check && $(PYTHON) results/studies.py --check
check:  ## all of the above in a fresh environment, as in CI
	.ci/run
figures:  ## draw every figure from the records in results/
	$(PYTHON) -m bench figures --reference
report:  ## one offline page from the published records
	$(PYTHON) -m bench report --reference --output report.html
bench:  ## the first comparison: three methods, two tests, three seeds
	$(PYTHON) -m bench run --method erm,ben,adabn --split coos7/test1,ottawa --seeds 3
clean:  ## remove caches and builds, never results
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
