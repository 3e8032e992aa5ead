# Everything runs in .venv, which the first target makes. Another interpreter: make test PYTHON=python3.12
# More options for pip: PIP_ARGS, for example an index of torch builds without CUDA.
PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(PIP_ARGS)
PYTEST = $(BIN)/python -m pytest
ZOO := src/saddlepoint/models/zoo

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-gpu check format coverage zoo pictures gallery docs bench clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

.venv/.made: constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("saddlepoint needs Python 3.11 or newer, this is %d.%d; try make PYTHON=python3.11" % sys.version_info[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) pip
	touch $@

.venv/.cli: .venv/.made pyproject.toml
	$(PIP) --editable '.[cli]'
	touch $@

.venv/.dev: .venv/.cli
	$(PIP) --editable '.[cli,train,images,detect]' --group dev
	touch $@

.venv/.docs: .venv/.dev
	$(PIP) --group docs
	touch $@

.venv/.peers: .venv/.dev benchmarks/constraints.txt # two without their dependencies, which ask for torchvision, and so for another torch
	$(PIP) --constraint benchmarks/constraints.txt foolbox adversarial-robustness-toolbox pyautoattack
	$(PIP) --constraint benchmarks/constraints.txt --no-deps torchattacks adv-lib
	touch $@

demo: .venv/.cli ## Attack two digit classifiers and write a report (about a minute, after the installation)
	rm -rf runs/demo
	$(BIN)/saddlepoint evaluate zoo:mnist-standard zoo:mnist-pgd mnist10k:test --norm linf --eps 0.3 --rows 500 --threads 1 --out runs/demo

test: .venv/.dev ## Run the tests, without the slow ones and those for a GPU
	$(PYTEST) --numprocesses auto

test-slow: .venv/.peers ## Run the slow tests, some of them against other libraries
	$(PYTEST) -m 'slow and not gpu'

test-gpu: .venv/.dev ## Run the tests that need a GPU
	$(PYTEST) -m gpu

check: .venv/.dev ## Check format, lint, types, the direction of imports, and doctests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	$(PYTEST) --doctest-modules src/saddlepoint

format: .venv/.dev ## Write the format, and repair what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

coverage: .venv/.dev ## Run the tests and list the lines and branches that none reaches
	$(PYTEST) --cov --cov-report=term

zoo: .venv/.cli ## Train the embedded models again (over two hours; fashion-mnist must be installed)
	rm -f $(ZOO)/*.safetensors # what is there is not trained again
	$(BIN)/saddlepoint train standard --threads 2 --out $(ZOO)/mnist-standard.safetensors
	$(BIN)/saddlepoint train pgd --threads 2 --out $(ZOO)/mnist-pgd.safetensors
	$(BIN)/saddlepoint train standard --net LeNet --epochs 20 --threads 1 --out $(ZOO)/mnist-lenet.safetensors
	$(BIN)/saddlepoint train standard --data fashion-mnist --threads 1 --out $(ZOO)/fashion-standard.safetensors
	$(BIN)/saddlepoint train pgd --data fashion-mnist --epochs 20 --threads 1 --out $(ZOO)/fashion-pgd.safetensors
	$(BIN)/saddlepoint train fgsm-mixed --data fashion-mnist --epochs 8 --threads 1 --out $(ZOO)/fashion-fgsm-mixed.safetensors
	$(BIN)/saddlepoint train fast-fashion --threads 1 --out $(ZOO)/fashion-fast.safetensors
	$(BIN)/saddlepoint train trades --data fashion-mnist --epochs 8 --threads 1 --out $(ZOO)/fashion-trades.safetensors
	$(BIN)/saddlepoint train defensive-distillation --data fashion-mnist --epochs 8 --threads 1 --out $(ZOO)/fashion-distilled.safetensors
	$(BIN)/saddlepoint train standard --data photopatch10 --net PoolCNN --epochs 30 --threads 1 --out $(ZOO)/photopatch-standard.safetensors
	$(BIN)/saddlepoint train pgd --data photopatch10 --net PoolCNN --threads 1 --out $(ZOO)/photopatch-pgd.safetensors
	$(BIN)/saddlepoint train standard --net LeakyCNN --threads 1 --out $(ZOO)/mnist-leaky.safetensors
	$(BIN)/saddlepoint train standard --net LeakyCNN --data fashion-mnist --threads 1 --out $(ZOO)/fashion-leaky.safetensors
	$(BIN)/saddlepoint train rce --threads 1 --out $(ZOO)/mnist-rce.safetensors
	$(BIN)/saddlepoint train rce --data fashion-mnist --threads 1 --out $(ZOO)/fashion-rce.safetensors
	rm -f $(ZOO)/*.training.html $(ZOO)/*.training.json $(ZOO)/*.teacher.* # the models and their cards are what is kept

pictures: .venv/.dev ## Draw what each attack and each filter does, for the documentation (a few minutes; goes on where it was)
	$(BIN)/python docs/_pictures/attacks.py
	$(BIN)/python docs/_pictures/colour.py
	$(BIN)/python docs/_pictures/filters.py
	$(BIN)/python docs/_pictures/universal.py
	$(BIN)/python docs/_pictures/advgan.py

gallery: .venv/.dev ## Draw the same eight photographs under every attack, for the documentation (a few minutes; goes on where it was)
	$(BIN)/python docs/_pictures/gallery.py

docs: .venv/.docs ## Build the documentation into site/
	$(BIN)/mkdocs build --strict

bench: .venv/.peers ## Measure speed and strength, also against other libraries (hours on one core; goes on where it was)
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/efficiency.py
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/minimum_norm.py
	$(BIN)/python benchmarks/autoattack.py
	$(BIN)/python benchmarks/cascade.py
	$(BIN)/python benchmarks/black_box.py
	$(BIN)/python benchmarks/universal.py
	$(BIN)/python benchmarks/advgan.py
	$(BIN)/python benchmarks/perceptual.py
	$(BIN)/python benchmarks/transfer.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/filters.py
	$(BIN)/python benchmarks/detection.py

clean: ## Remove what was built, but neither .venv nor runs/
	rm -rf build dist site .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
