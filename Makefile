# make demo       serve the model that ships on http://127.0.0.1:8000 (PORT=9000 for another port), without TensorFlow
# make unit       set up an environment without a training framework, and run the tests that need none
# make test       set up what all tests need; linters, types and all tests, with the coverage of lines and branches;
#                 make test ARGS="tests/test_metrics.py -k ece" runs these tests alone
# make check-all  what is too slow for CI as well: the documentation, hostile inputs, 10,000 mutants of a model file
# make docs       build the documentation as a site, in site/, with the notebooks as they run in quick mode
# make lint       linters, contracts of imports and types alone
# make train      set up the training environment, for `.venv/train/bin/lince train …`
# make serve      set up the serving environment alone
# make notebook   open the training notebook in Jupyter, in the language of LANG, English or Portuguese (LANG=pt);
#                 QUICK=1: minutes, not hours
# make notebook-pages  execute it in quick mode, into notebooks/work/*.html, if it has changed
# make lock       write requirements/*.txt anew
# make clean      remove the environments

PYTHON ?= python3
PORT ?= 8000
# Processes that the tests run in; each has its own cache and free ports.
JOBS ?= 2
VENV := .venv
PIP = -m pip --disable-pip-version-check $(QUIET) install
QUIET := -q
TESTED := $(VENV)/test/bin/python

.PHONY: help demo unit test check-all docs train serve notebook notebook-pages lint lock clean

# The first target, which `make` alone takes: the list on top of this file.
help:
	@sed -n '/^$$/q; s/^# //p' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/serve/ready
	$(VENV)/serve/bin/lince serve --port $(PORT)

unit: $(VENV)/unit/ready
	$(VENV)/unit/bin/python -m pytest --unit $(ARGS)

test: $(VENV)/test/ready $(VENV)/clients/ready $(if $(ARGS),,lint)
ifdef ARGS
	$(TESTED) -m pytest $(ARGS)
else
	$(TESTED) -m coverage erase
	$(TESTED) -m coverage run -m pytest -n $(JOBS) --dist loadfile
	$(TESTED) -m coverage combine -q
	$(TESTED) -m coverage report --skip-covered
	$(TESTED) tests/coverage_totals.py
endif

check-all: test docs
	$(TESTED) benchmarks/hostile_inputs.py
	$(TESTED) benchmarks/model_mutants.py --mutants 10000 --processes $(JOBS)

lint: $(VENV)/test/ready
	$(VENV)/test/bin/ruff check .
	$(VENV)/test/bin/ruff format --check .
	$(VENV)/test/bin/lint-imports
	$(TESTED) -m mypy

docs: $(VENV)/docs/ready notebook-pages
	NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs build --strict --quiet
	@echo "Open site/index.html in a browser."

train: $(VENV)/train/ready
	@echo "Ready. Next, with a folder that holds a folder of pictures for each class:"
	@echo "  . $(VENV)/train/bin/activate                so that lince is found in this terminal"
	@echo "  lince data check my-images/               what is in there, and what cannot be read"
	@echo "  lince train my-images/ --name pets        minutes with a few hundred photographs"
	@echo "  lince serve runs/pets                     a page at http://127.0.0.1:8000"

# What takes minutes says what it does, and lets pip show each download.
TENSORFLOW := $(VENV)/train/ready $(VENV)/test/ready $(VENV)/baselines/ready
$(TENSORFLOW): QUIET :=
$(TENSORFLOW): WHAT := : TensorFlow, Keras and more. 400 MB to download, 2 GB on disk; a minute beside the download

serve: $(VENV)/serve/ready

# Jupyter opens copies, which it may change; a copy that is there is kept.
NOTEBOOKS := $(patsubst notebooks/%.py,notebooks/work/%.ipynb,$(wildcard notebooks/training*.py))
notebook: $(NOTEBOOKS)
	LINCE_NOTEBOOK_QUICK=$(QUICK) $(VENV)/notebook/bin/jupyter lab notebooks/work/training$(if $(filter pt%,$(LANG)),.pt-BR).ipynb

notebooks/work/%.ipynb: | $(VENV)/notebook/ready
	mkdir -p notebooks/work
	$(VENV)/notebook/bin/jupytext --quiet --to ipynb --output $@ notebooks/$*.py

notebook-pages: $(NOTEBOOKS:.ipynb=.html)

notebooks/work/%.html: notebooks/%.py notebooks/render.py | $(VENV)/notebook/ready
	mkdir -p notebooks/work
	$(VENV)/notebook/bin/python notebooks/render.py $< $@

# Without this line, make removes `ready` after a notebook, as a file that nothing else needs.
.PRECIOUS: $(VENV)/%/ready

# An environment is ready when everything in its lock, and the package itself, is in; the empty file `ready` says so.
$(VENV)/%/ready: requirements/%.txt pyproject.toml
	@echo "Setting up $(VENV)/$* (once)$(WHAT) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lince needs Python 3.11 or newer: make PYTHON=python3.12")'
	rm -rf $(VENV)/$*
	$(PYTHON) -m venv $(VENV)/$*
	$(VENV)/$*/bin/python $(PIP) --require-hashes -r requirements/$*.txt
	$(VENV)/$*/bin/python $(PIP) --no-deps --no-build-isolation -e .
	touch $@

# Clients that others wrote, and what builds the documentation. The package is not in these.
$(VENV)/clients/ready $(VENV)/docs/ready: $(VENV)/%/ready: requirements/%.txt
	@echo "Setting up $(VENV)/$* (once) …"
	rm -rf $(VENV)/$*
	$(PYTHON) -m venv $(VENV)/$*
	$(VENV)/$*/bin/python $(PIP) --require-hashes -r requirements/$*.txt
	touch $@

LOCK := uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	--python-version 3.11
COMPILE := $(LOCK) pyproject.toml --group build --extra serve --extra client --extra feedback
lock:
	$(COMPILE) --extra train --extra batch --group test -o requirements/test.txt
	$(COMPILE) --extra train -c requirements/test.txt -o requirements/train.txt
	$(COMPILE) --extra train --group baselines -c requirements/test.txt -o requirements/baselines.txt
	$(COMPILE) --extra train --group notebook -c requirements/test.txt -o requirements/notebook.txt
	$(COMPILE) --group unit -c requirements/test.txt -o requirements/unit.txt
	$(COMPILE) -c requirements/test.txt -o requirements/serve.txt
	$(COMPILE) --group peers -c requirements/test.txt -o requirements/peers.txt
	$(LOCK) --group clients -o requirements/clients.txt
	$(LOCK) --group docs -c requirements/test.txt -o requirements/docs.txt
	$(COMPILE) --group unit --resolution lowest-direct -o requirements/lowest.txt

clean:
	rm -rf $(VENV)
