# `make` alone lists the targets. What each needs is installed into .venv, from requirements.lock.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# What nbval holds against its stored outputs; one notebook is enough where `make same` ran.
NBVAL ?= notebooks
BOOK := $(PY) -m claimbook

# What would break, or change, the processes that are started here; `claimbook` and the tests keep
# more away from the kernels (src/claimbook/surroundings.py).
KEPT_AWAY := PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONOPTIMIZE PYTHONWARNINGS PYTHONINSPECT PYTHONSAFEPATH
unexport $(KEPT_AWAY)

# An environment is named by the content of what it was made from (and by where it lies, which its
# commands remember): when that changes, or an installation was interrupted, it is installed again.
MADE_FROM := $(shell { cat requirements.lock pyproject.toml; pwd; } | cksum | tr ' ' -)
INSTALLED := $(VENV)/installed
# SAELens needs an older TransformerLens than ours, and so an environment of its own; the other
# packages that `make bench` measures live there too.
SAELENS := _build/saelens-venv
SAELENS_PINS := tests/saelens/requirements.in tests/saelens/requirements.lock
SAELENS_INSTALLED := $(SAELENS)/installed-$(shell cat $(SAELENS_PINS) | cksum | tr ' ' -)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help doctor book same again pdf links test lab variants refresh check format matrix letters proof dictionaries leaderboard saelens profile bench shots lock clean

help:
	@echo 'make TARGET, where TARGET is one of:'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

book: $(INSTALLED)/book-$(MADE_FROM) ## build the book; what was made from other text, code or pins runs again; with PARAMETERS=mine.yaml one with other values
	@$(BOOK) build $(if $(PARAMETERS),--parameters '$(PARAMETERS)')

pdf: $(INSTALLED)/pdf-$(MADE_FROM) ## build the book, and print it into one PDF, with the browser that is installed
	@$(BOOK) build
	@$(BOOK) pdf

test: $(INSTALLED)/test-$(MADE_FROM) ## run all tests: units, every notebook against its stored outputs, the built book in a browser
	@$(BOOK) build
	@$(PY) -m pytest --numprocesses 2 --dist loadfile --nbval tests $(NBVAL)

same: $(INSTALLED)/book-$(MADE_FROM) ## run every notebook that did not run here, and hold all against what is committed, byte for byte
	@$(BOOK) same

lab: $(INSTALLED)/lab-$(MADE_FROM) ## open the notebooks in JupyterLab, each paired with its text
	@$(PY) -m jupyter lab --ServerApp.root_dir=. --ServerApp.preferred_dir=notebooks

variants: $(INSTALLED)/book-$(MADE_FROM) ## run every notebook with other parameters, and print a table of how each went
	@OMP_NUM_THREADS=1 $(PY) tests/variants.py

refresh: $(INSTALLED)/book-$(MADE_FROM) ## run every notebook again and rewrite the stored outputs and the list of claims
	@$(BOOK) refresh --all

check: $(INSTALLED)/test-$(MADE_FROM) $(INSTALLED)/dev-$(MADE_FROM) ## lint, formatting, spelling, types, layers, and the notebooks as they are stored
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(VENV)/bin/codespell
	@rm -rf _build/types && $(PY) -m jupytext --quiet --to '../_build/types//py:percent' notebooks/*.md
	@$(PY) -m mypy src tests conftest.py benchmarks
	@$(PY) -m mypy --allow-untyped-defs --allow-redefinition-new --local-partial-types _build/types/*.py
	@$(VENV)/bin/lint-imports --no-logo
	@$(BOOK) pairs
	@$(BOOK) outputs

again: $(INSTALLED)/book-$(MADE_FROM) ## run the chapters about several models with five other seeds, and write what they claim
	@$(BOOK) again --seeds 5 6 7 8 9 -- 02_training 03_attention 05_mechanism 07_attribution 08_circuits 09_mlp 14_reference

links: $(INSTALLED)/book-$(MADE_FROM) ## ask every address that the book links to whether it is there (needs a network)
	@$(BOOK) links

format: $(INSTALLED)/dev-$(MADE_FROM) ## format the Python files, and the code in the notebooks' texts
	@$(PY) -m ruff format . --exclude notebooks
	@$(PY) -m jupytext --quiet --pipe '$(PY) -m ruff format -' notebooks/*.md

matrix: $(INSTALLED)/test-$(MADE_FROM) ## run the tests as on three kinds of CPU, with one thread and with two
	@$(BOOK) build
	@$(PY) tests/matrix.py

letters: $(INSTALLED)/book-$(MADE_FROM) ## train and test every model with withheld letters, and write their table
	@OMP_NUM_THREADS=1 $(PY) -m palindrome_lens.circuits.threshold

proof: $(INSTALLED)/book-$(MADE_FROM) ## train, prove or refute, and check the models of the chapter on the proof, and write the result
	@OMP_NUM_THREADS=1 $(PY) -m palindrome_lens.proofs.results

dictionaries: $(INSTALLED)/book-$(MADE_FROM) ## train and test the dictionaries of several transformers and seeds, and write their tables
	@for each in repeats kinds verdicts; do OMP_NUM_THREADS=1 $(PY) -m palindrome_lens.dictionary.$$each || exit 1; done

leaderboard: $(INSTALLED)/book-$(MADE_FROM) ## train and score every autoencoder of the leaderboard, and write its two tables
	@OMP_NUM_THREADS=1 $(PY) -m palindrome_lens.sae.standings

saelens: $(INSTALLED)/book-$(MADE_FROM) $(SAELENS_INSTALLED) ## hold exported and imported autoencoders against SAELens, and write the result
	@OMP_NUM_THREADS=1 PYTHONPATH=tests $(PY) -m saelens.round_trip $(SAELENS)/bin/python

profile: $(INSTALLED)/book-$(MADE_FROM) ## run every notebook with nothing trained before, and say which cells and functions cost most
	@rm -rf _build/profile
	@OMP_NUM_THREADS=1 PALINDROME_LENS_STORE='$(CURDIR)/_build/profile' $(BOOK) profile

bench: $(INSTALLED)/book-$(MADE_FROM) $(SAELENS_INSTALLED) ## measure what things cost, beside other packages, and write it
	@OMP_NUM_THREADS=1 $(PY) -m benchmarks $(SAELENS)/bin/python

shots: $(INSTALLED)/test-$(MADE_FROM) ## picture every page of the built book, to look at
	@PYTHONPATH=tests $(PY) -m browser.shots

lock: $(INSTALLED)/dev-$(MADE_FROM) ## write both files of pinned versions anew after a change of the dependencies
	@$(call pin,--all-extras pyproject.toml,requirements.lock)
	@$(call pin,$(firstword $(SAELENS_PINS)),$(lastword $(SAELENS_PINS)))

# What is pinned stays where it still fits: the present file is where piptools begins. A build of
# one variant (torch 2.13.0+cpu) is found on some machines only; the version is on all.
define pin
mkdir -p _build && cp $(2) _build/requirements.lock && \
  $(PY) -m piptools compile --quiet --strip-extras --no-header --no-emit-find-links \
    --no-emit-index-url --no-emit-trusted-host --output-file _build/requirements.lock $(1) && \
  sed 's/^\(torch==[0-9.]*\)+.*$$/\1/' _build/requirements.lock > _build/requirements.lock.new && \
  mv _build/requirements.lock.new $(2)
endef

clean: ## remove everything that was built; the environment stays (.venv)
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .grimp_cache

doctor: ## say what a bug report needs, and what is known to go wrong here; works without an environment
	@$(there_is_python)
	@$(PYTHON) -c 'import sys; sys.path.insert(0, "src"); from claimbook.doctor import main; sys.exit(main(sys.argv[1:]))' \
	  $(foreach name,$(KEPT_AWAY),$(if $($(name)),'$(name)=$($(name))'))

define there_is_python
command -v $(PYTHON) > /dev/null || { \
  echo 'Python 3.11 or newer is needed, and $(PYTHON) was not found: make PYTHON=/path/to/python3'; \
  exit 1; }
endef

$(VENV)/created:
	@$(there_is_python)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1):" \
	    'make PYTHON=/path/to/python3'; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(SAELENS_INSTALLED): $(VENV)/created
	@echo 'Installing SAELens and its peers into $(SAELENS); this takes a few minutes ...'
	@$(PYTHON) -m venv --clear $(SAELENS)
	@$(SAELENS)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --requirement $(firstword $(SAELENS_PINS)) --constraint $(lastword $(SAELENS_PINS))
	@# Nothing here uses it, and where torch is a CPU build its own build cannot be loaded.
	@$(SAELENS)/bin/python -m pip uninstall --quiet --yes torchvision
	@touch $@

# Of several that would install at once, in two terminals or by `make -j`, one does, and the others
# then look again at what is left to do.
ifndef INSTALLING
define IN_TURN
import fcntl, subprocess, sys
with open("_build/install.lock", "w") as lock:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Waiting for another make to finish installing ...", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    sys.exit(subprocess.call(sys.argv[1:], close_fds=False))
endef
export IN_TURN

$(INSTALLED)/%-$(MADE_FROM):
	@$(there_is_python)
	@mkdir -p _build
	@$(PYTHON) -c "$$IN_TURN" $(MAKE) --no-print-directory INSTALLING=yes $@
else
# The stamps of other environments go first: from then on theirs is no longer what lies in .venv.
# pip notes where the packages lie as a full path, which no Python can read that takes an umlaut in
# it for something else (LC_ALL=C); a path from the file's own folder is always plain.
$(INSTALLED)/%-$(MADE_FROM): $(VENV)/created
	@mkdir -p $(INSTALLED)
	@find $(INSTALLED) -type f ! -name '*-$(MADE_FROM)' -exec rm {} +
	@echo 'Installing what "$*" needs into $(VENV); the first time this takes a few minutes ...'
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint requirements.lock \
	  --editable '.$(if $(filter book,$*),,[$*])'
	@for path in $(VENV)/lib/python*/site-packages/_editable_impl_palindrome_lens.pth; do \
	  echo ../../../../src > "$$path" || exit 1; done
	@touch $@
endif
