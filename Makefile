# Everything a newcomer types. `make` alone prints this help.
.DEFAULT_GOAL := help
.PHONY: help setup sample weights demo repro pets ui check test lint docs lock clean
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
# Tests of one folder share what takes long to make, so they run in one of the two processes.
PYTEST := pytest -n 2 --dist loadgroup --no-loadscope-reorder --durations 20

help: ## show this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup sample weights ## the whole thing on the sample photos: install, data, weights, `dvc repro`
	dvc repro evaluate
	@scripts/first-look
	dvc repro
	@echo
	@echo "Done. Where to look:"
	@echo "  report/index.html       the atlas: every number and picture on one page"
	@echo "  dvc metrics show        the numbers ($(VENV)/bin is where dvc lives; 'source $(VENV)/bin/activate')"
	@echo "  dvc plots show          the pictures and curves as DVC draws them"
	@echo "  make ui                 the run in MLflow"

setup: $(VENV)/.installed ## make the virtual environment and install the locked requirements

$(VENV)/.installed: requirements.lock pyproject.toml
	@scripts/make-venv $(PYTHON) $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(BIN)/python scripts/offline-plots
	@touch $@

sample: setup ## make the sample photos in data/; with your own there (after `dvc add data`), back to the sample
	@scripts/bring-sample

weights: setup ## fetch the embedded Vision Transformer
	@vit-atlas weights

repro: setup ## `dvc repro` with the settings in params.yaml
	dvc repro

pets: setup ## the report's own experiment: Oxford-IIIT Pet, google/vit-base-patch16-384 (needs the hub and a GPU)
	vit-atlas data pets
	vit-atlas use data=pets model=vit_base_patch16_384
	dvc add data
	dvc exp run --name pets

ui: setup ## open MLflow on http://127.0.0.1:5000
	mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}"

lint: setup ## ruff, mypy, and whether dvc.yaml names the code that its stages run
	ruff check .
	ruff format --check .
	mypy
	scripts/update-deps --check

check: lint ## lint, then the tests that need no pipeline, browser or long training: the loop to work in
	$(PYTEST) -m "not slow"

test: lint docs ## lint, the documentation, all tests
	$(PYTEST)

docs: setup ## build the documentation into build/site; a broken link is an error
	mkdocs build --quiet --strict

lock: setup ## resolve pyproject.toml's ranges anew into requirements.lock (HASHES=1: with every file's hash)
	$(BIN)/pip install --quiet pip-tools
	@{ head -n 2 requirements.lock; $(BIN)/pip-compile --quiet --upgrade --all-extras --strip-extras --no-header --no-annotate \
	    --no-emit-options $(if $(HASHES),--generate-hashes) --output-file - pyproject.toml; } > requirements.new && \
	    mv requirements.new requirements.lock

clean: ## remove what the pipeline made (not data/, not the environment)
	rm -rf build report/index.html report/first_look.html plots/embeddings plots/attention plots/captions plots/interventions.png plots/suspects.png plots/compare plots/evaluate/mistakes.png explain \
	    dvc_plots .checkpoints .trunk-cache .verify-cache
