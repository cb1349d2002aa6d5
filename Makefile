# make demo    serve the model that ships, on http://127.0.0.1:$(PORT), from an environment of its own (no TensorFlow)
# make test    set up what the tests need, and run all of them
# make train   set up the training environment, for `.venv/train/bin/lince train …`
# make serve   set up the serving environment alone
# make lint    the linters alone
# make lock    write requirements/*.txt anew
# make clean   remove the environments

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
PIP := -m pip --disable-pip-version-check -q install

.PHONY: demo test train serve lint lock clean

demo: $(VENV)/serve/ready
	$(VENV)/serve/bin/lince serve --port $(PORT)

test: $(VENV)/test/ready lint
	$(VENV)/test/bin/python -m pytest $(ARGS)

lint: $(VENV)/test/ready
	$(VENV)/test/bin/ruff check .
	$(VENV)/test/bin/ruff format --check .
	$(VENV)/test/bin/lint-imports

train: $(VENV)/train/ready

serve: $(VENV)/serve/ready

# An environment is ready when everything in its lock, and the package itself, is in; the empty file `ready` says so.
$(VENV)/%/ready: requirements/%.txt pyproject.toml
	@echo "Setting up $(VENV)/$* (once) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lince needs Python 3.11 or newer: make PYTHON=python3.12")'
	rm -rf $(VENV)/$*
	$(PYTHON) -m venv $(VENV)/$*
	$(VENV)/$*/bin/python $(PIP) --require-hashes -r requirements/$*.txt
	$(VENV)/$*/bin/python $(PIP) --no-deps --no-build-isolation -e .
	touch $@

COMPILE := uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	--python-version 3.11 pyproject.toml --group build --extra serve
lock:
	$(COMPILE) --extra train --group test -o requirements/test.txt
	$(COMPILE) --extra train -c requirements/test.txt -o requirements/train.txt
	$(COMPILE) --group unit -c requirements/test.txt -o requirements/unit.txt
	$(COMPILE) -c requirements/test.txt -o requirements/serve.txt
	$(COMPILE) --group unit --resolution lowest-direct -o requirements/lowest.txt

clean:
	rm -rf $(VENV)
