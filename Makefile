# Tool-Use DPO. `make` lists the targets. Every target makes its environment, .venv, first if it has to.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# make test JOBS=4            more notebooks at a time
# make test FLAGS="gpu slow"  run the cells with these flags too
JOBS ?= 2
FLAGS ?=

# make sft CONFIG=configs/nano-sft.yaml
CONFIG ?=
# make eval MODEL=runs/dpo DATA=data/triplets.jsonl OUT=runs/dpo.json
MODEL ?= nano
DATA ?= data/triplets.jsonl
OUT ?= runs/$(notdir $(MODEL)).json
# make compare RESULTS="runs/nano.json runs/dpo.json" REPORT=runs/report
RESULTS ?= $(wildcard runs/*.json)
REPORT ?= runs/report

.DEFAULT_GOAL := help
.PHONY: help install install-gpu demo data validate-data sft dpo eval compare test test-trust test-package test-docs test-tutorials sync readme docs package lab benchmark clean


help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

install: $(READY)  ## the environment, .venv: the package, its tools, its pinned versions
install-gpu: .venv/.ready-gpu  ## the same, with Unsloth and bitsandbytes

$(BIN)/python:
	$(PYTHON) -m venv .venv

$(READY): settings.ini setup.py constraints.txt | $(BIN)/python
	@echo "Installing into .venv (some minutes the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,ui]"
	@touch $@

.venv/.ready-gpu: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,ui,gpu]"
	@touch $@

demo: $(READY)  ## the whole job on the bundled base: demo/summary.json, demo/report.html
	$(BIN)/tool-use-dpo demo --out demo

data: $(READY)  ## data/triplets.jsonl, made again from the built-in catalogue
	$(BIN)/tool-use-dpo data --n 802 --seed 0 --out data/triplets.jsonl --force

validate-data: $(READY)  ## the gate and the leak audit over DATA
	$(BIN)/tool-use-dpo check --data $(DATA)

sft: $(READY)  ## the cold start, with CONFIG (configs/sft.yaml)
	$(BIN)/tool-use-dpo sft --config $(or $(CONFIG),configs/sft.yaml)

dpo: $(READY)  ## preference training, with CONFIG (configs/dpo.yaml)
	$(BIN)/tool-use-dpo dpo --config $(or $(CONFIG),configs/dpo.yaml)

eval: $(READY)  ## how often MODEL passes the schemas of DATA; writes OUT
	@mkdir -p $(dir $(OUT))
	$(BIN)/tool-use-dpo eval --model $(MODEL) --data $(DATA) --out $(OUT)

compare: $(READY)  ## RESULTS against each other; writes REPORT
	$(BIN)/tool-use-dpo compare $(RESULTS) --out $(REPORT)

test: $(READY)  ## run every notebook as a test
	$(BIN)/python tools/run_tests.py --jobs $(JOBS) --flags "$(FLAGS)"

test-trust: $(READY)  ## the long form of nbs/19_trust.ipynb: fuzzers, kills, full disks; at most half an hour
	$(BIN)/python tools/trust.py

test-package: $(READY)  ## build, install and use the package away from the checkout, the short demo included
	$(BIN)/python tools/run_tests.py nbs/19_package.ipynb --flags slow

test-docs: $(READY)  ## the site in _docs/: links, anchors, and every page in headless Chromium
	$(BIN)/python tools/docs/check.py

test-tutorials: $(READY)  ## run the tutorials at full length (make test: in short), with their times
	$(BIN)/python tools/run_tests.py --jobs $(JOBS) --full $(wildcard nbs/tutorials/*.ipynb)

sync: $(READY)  ## export, clean, render; fail if anything was out of step or is not committed
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean
	$(BIN)/python tools/readme.py
	$(BIN)/python tools/check_sync.py

readme: $(READY)  ## README.md from nbs/index.ipynb
	$(BIN)/python tools/readme.py

docs: $(READY)  ## the site, in _docs/
	$(BIN)/python tools/docs/build.py

package: $(READY)  ## wheel and sdist, in dist/
	rm -rf dist build
	$(BIN)/python -m build --no-isolation

lab: $(READY)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab nbs

benchmark: $(READY)  ## the scripts in benchmarks/ that take minutes; each says in its head what it measures
	@for script in data dpo_step demo_dpo evaluate errorscore tokens package; do \
	  echo "== $$script"; $(BIN)/python benchmarks/$$script.py || exit 1; done

clean:  ## remove what builds leave behind; keeps .venv, runs/ and demo/
	rm -rf _docs build dist *.egg-info .pytest_cache .hypothesis
	find . -path ./.venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -print | xargs rm -rf
