.PHONY: install check test lint format docs slow bench

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

docs:  ## the documentation with the API reference: docs/build/docs/index.html
	python -m sphinx -q -W --keep-going -c docs . docs/build

slow:  ## tests that need minutes or the papers' datasets
	pytest -m slow

bench:  ## speed, side by side
	python benchmarks/federated_epoch.py
	python benchmarks/geometric_median.py
