# make install | demo | test | lint | fuzz | proto | bench | wheelhouse | package | package-test | clean
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo-output
SECONDS ?= 60
ROLE ?= coordinator
STAMP := $(VENV)/.installed

.PHONY: install demo test lint fuzz proto bench wheelhouse package package-test clean

install: $(STAMP)

$(STAMP): pyproject.toml packaging/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    -c packaging/constraints.txt -e '.[agent,dev]'
	touch $@

demo: install
	$(BIN)/ff-agent demo --out $(OUT)

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHON=$(CURDIR)/$(BIN)/python packaging/check-stubs.sh

fuzz: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c packaging/constraints.txt -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

proto: install
	PYTHON=$(CURDIR)/$(BIN)/python proto/generate.sh

bench: install
	$(BIN)/python -m benchmarks

wheelhouse: install
	PYTHON=$(CURDIR)/$(BIN)/python packaging/wheelhouse.sh $(ROLE) build/$(ROLE)-wheels

package:
	test -e build/$(ROLE)-wheels/SHA256SUMS || $(MAKE) wheelhouse
	packaging/debian/build.sh build/$(ROLE)-wheels dist

package-test: install
	PYTHON=$(CURDIR)/$(BIN)/python WORK=build/package-test packaging/test.sh

clean:
	rm -rf $(VENV) demo-output benchmark-output build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
