# Every target makes the environment that it needs, from nothing but Python (3.11 or later), pip and make.
# PYTHON chooses the interpreter, ARGS is passed on:  make test PYTHON=python3.13 ARGS='-k matmul'

PYTHON ?= python3

.PHONY: help run test lint oracle bench bench-gpu clean
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/ready ## Train a network on handwritten digits; pictures in runs/digits
	.venv/bin/python examples/digits_mlp.py $(ARGS)

test: .venv/ready ## Run the tests, all but those that need TensorFlow
	.venv/bin/python -m pytest -n 2 --ignore=tests/tensorflow $(ARGS)

lint: .venv/ready ## Check style, types and layers
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/basedpyright --pythonpath .venv/bin/python
	.venv/bin/lint-imports

oracle: .venv-oracle/ready ## Compare with real TensorFlow
	.venv-oracle/bin/python -m pytest tests/tensorflow $(ARGS)

bench: .venv-bench/ready ## Measure against the other frameworks, about ten minutes; writes docs/benchmarks.md
	.venv-bench/bin/python benchmarks/run.py $(or $(ARGS),--cores 1 2)

bench-gpu: .venv-bench-gpu/ready ## The same on an NVIDIA GPU, eight minutes; sections of their own
	.venv-bench-gpu/bin/python benchmarks/run.py --device gpu $(ARGS)

clean: ## Remove all that these targets made
	rm -rf .venv .venv-oracle .venv-bench .venv-bench-gpu runs .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# An environment is made anew from its extras whenever they may have changed.
.venv/ready: EXTRAS = dev
.venv-oracle/ready: EXTRAS = oracle
.venv-bench/ready: EXTRAS = bench
.venv-bench-gpu/ready: EXTRAS = bench-gpu
.venv/ready .venv-oracle/ready .venv-bench/ready .venv-bench-gpu/ready: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@
