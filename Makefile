# Two commands on a machine with Python 3.11 or 3.12 and a shell; everything lands in .venv.
#
#   make quickstart   train, evaluate and listen to a small model on this machine
#   make objectives   train on every objective of speech and text at once, and score each;
#                     then USE=understanding (translation, matching, speaking) finetunes for that use;
#                     USE=answering, and after it spoken_answering, begin anew
#   make transfer     does pretraining without labels help where labels are few? with and without, three seeds
#   make plan-all     every size of model compiled for TPU slices that are not at hand
#   make test         every test but whole runs that are killed or launched, which the next two have
#   make test-faults  runs killed, damaged, filled up and held up in every way, against ones that nothing happened to
#   make test-launching  whole runs by the launcher, on this machine and on a Slurm of its own, where there is one
#   make check        formatting, lint, types and the quick tests
#   make golden       renew the texts of what every recipe means (tests/contracts/golden)
#   make site         the documentation as a site of pages, in site/
#   make constraints  renew the pinned versions of every dependency

PYTHONS := $(PYTHON) python3.11 python3.12 python3 python
UV_VERSION := 0.13.9
BIN := .venv/bin
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help quickstart objectives transfer plan-all test test-faults test-launching check lint types quick golden site constraints clean

help:
	@sed -n 's/^#   //p' Makefile

# XLA's temporaries are new memory at every step of a CPU. In large pages, and kept in a few heaps rather than given back
# to the system, which would clear them again, they spare a third of its time. In one heap threads wait for each other.
KEEP_MEMORY := GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.arena_max=4:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8589934592

quickstart: .venv/ready
	$(KEEP_MEMORY) $(BIN)/python -m speechlm_jax.quickstart

objectives: .venv/ready
	$(KEEP_MEMORY) $(BIN)/speechlm experiment --gin_file=gin_configs/recipes/objectives$(USE:%=_%).gin

transfer: .venv/ready
	$(KEEP_MEMORY) $(BIN)/python -m speechlm_jax.transfer

plan-all: .venv/ready
	$(BIN)/python benchmarks/plans.py

test: .venv/ready
	$(BIN)/python -m pytest -n $(WORKERS) -m "not faults"

test-faults: .venv/ready
	SPEECHLM_FAULTS=runs/faults $(BIN)/python -m pytest -v -n $(WORKERS) --dist=worksteal -o faulthandler_timeout=900 tests/faults
	$(KEEP_MEMORY) $(BIN)/python benchmarks/safeguards.py --into runs/faults/summary.json
	$(BIN)/python benchmarks/reliability.py runs/faults/summary.json

test-launching: .venv/ready
	$(BIN)/python -m pytest -v -n $(WORKERS) --dist=worksteal tests/launching/test_slurm.py tests/launching/test_local.py

check: lint types quick

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/ready
	$(BIN)/pyright

quick: .venv/ready
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

# uv resolves and installs many times faster than pip; pip alone does as well where uv has no build. Bytecode is
# written here, as pip does: where PYTHONDONTWRITEBYTECODE is set, every process would compile TensorFlow anew.
.venv/ready: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing into .venv: one to several minutes, 3 GB, once"
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); then \
	    $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt \
	        --editable '.[test]'; \
	else \
	    echo "uv==$(UV_VERSION) cannot be installed here; pip takes its place"; \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'; \
	fi
	@touch $@

# A shim of a version manager may stand on PATH and not run, so each candidate is tried.
.venv/bin/python:
	@for python in $(PYTHONS); do \
	    if "$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
	        2>/dev/null; then \
	        echo "making .venv with $$("$$python" -c 'import sys; print(sys.executable)')"; \
	        exec "$$python" -m venv --clear .venv; \
	    fi; \
	done; \
	echo "Python 3.11 or 3.12 with its venv module is needed, and none was found among: $(strip $(PYTHONS))." >&2; \
	echo "Install one (on Debian and Ubuntu: python3.11 and python3.11-venv), or name it: make PYTHON=/path/to/python3.11 test" >&2; \
	exit 1

golden: .venv/ready
	RENEW_GOLDEN=1 $(BIN)/python -m pytest -q tests/contracts/test_golden.py tests/contracts/test_collectives.py tests/contracts/test_settings_reference.py tests/launching/test_dry_runs.py

site: .venv/ready
	$(BIN)/mkdocs build --quiet

constraints: .venv/ready
	$(BIN)/uv pip compile --upgrade --universal --python-version 3.11 --all-extras --no-annotate --custom-compile-command "make constraints" \
	    pyproject.toml --output-file constraints.txt

clean:
	rm -rf .venv build dist *.egg-info
