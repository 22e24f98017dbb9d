# Python >= 3.11, pip and make are all that has to be there.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# Two workers on two cores: threads inside each would make both wait.
export OMP_NUM_THREADS = 1
export PYTHONWARNINGS = ignore::ResourceWarning

.PHONY: help book serve test lint pair notebooks site labs slides evidence bench lock publish clean setup
.NOTPARALLEL:

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

book: notebooks site ## execute what has changed, build the site
	@echo "The book: file://$(CURDIR)/_build/html/index.html"

serve: book ## the same, then show it on 127.0.0.1
	@$(PY) tools/serve.py

test: lint check-pair book ## everything: lint, notebooks, site, tests, doctests, browser
	@$(PY) -m pytest -n 2 --dist loadfile

lint: setup ## ruff and mypy
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy

pair: setup ## write the .ipynb beside every chapter
	@$(PY) book/_ext/notebooks.py pair

MASTERS := $(patsubst %/lab.py,%,$(wildcard labs/*/lab.py))

labs: setup ## build and prove every lab in labs/
ifneq ($(MASTERS),)
	@$(VENV)/bin/rlcourse lab build $(MASTERS)
	@$(VENV)/bin/rlcourse lab check $(MASTERS)
else
	@echo "labs: none in labs/; begin one with  $(VENV)/bin/rlcourse lab new NAME"
endif

slides: book ## lecture slides, a deck a chapter, in _build/html/slides
	@$(PY) tools/slides.py

evidence: setup ## measure every contract whose result is missing or stale
	@$(VENV)/bin/rlcourse evidence run --all

bench: setup ## side by side with other libraries, in an environment of their own
	@$(PY) tools/environment.py create .venv-bench benchmarks/requirements.txt
	@PYTHONPATH=. .venv-bench/bin/python benchmarks/tables.py
	@PYTHONPATH=. .venv-bench/bin/python benchmarks/bandits.py
	@PYTHONPATH=. .venv-bench/bin/python benchmarks/playground.py
	@$(PY) benchmarks/grading.py
	@PYTHONPATH=. .venv-bench/bin/python -W ignore benchmarks/recommender.py
	@PYTHONPATH=. .venv-bench/bin/python benchmarks/deep.py --out book/evidence/libraries.json
	@PYTHONPATH=. .venv-bench/bin/python -W ignore benchmarks/atari.py --out book/evidence/atari_speed.json

lock: setup ## resolve requirements.lock and environment.yml anew
	@$(PY) tools/environment.py lock

publish: setup ## set the published address: make publish URL=https://github.com/OWNER/REPOSITORY
	$(if $(filter undefined,$(origin URL)),$(error which address? URL=... (URL= unsets it)))
	@$(PY) book/_ext/notebooks.py publish "$(URL)"

clean: ## remove what was built (not .venv)
	@rm -rf _build build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

check-pair: setup
	@$(PY) book/_ext/notebooks.py pair --check

notebooks: setup
	@$(PY) book/_ext/notebooks.py execute

# From nothing, each time: Sphinx does not see all that a page is made of (results, tests).
site: setup
	@echo "site: building (seconds)"
	@rm -rf _build/html _build/.doctrees
	@$(VENV)/bin/jupyter-book build . -W -n --keep-going -q >_build/site.log || \
	  { cat _build/site.log; exit 1; }

setup:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "The book needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one:  make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) tools/environment.py create $(VENV) requirements.lock --package
