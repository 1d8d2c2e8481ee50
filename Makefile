.PHONY: install check test lint format slow bench

install:  ## the package and what its checks need
	pip install -c constraints.txt ".[test,dev]"

check: lint test  ## everything a change must pass

lint:  ## style and types
	ruff check .
	ruff format --check .
	mypy

test:  ## the tests
	pytest -n 2

format:  ## put the code into the house style
	ruff check --fix .
	ruff format .

slow:  ## tests that need minutes or the papers' datasets
	pytest -m slow

bench:  ## speed, side by side
	python benchmarks/federated_epoch.py
	python benchmarks/geometric_median.py
