# make install | demo | test | lint | docs | fuzz | proto | bench | clean
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo-output
SECONDS ?= 60
STAMP := $(VENV)/.installed

.PHONY: install demo test lint docs fuzz proto bench clean

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

docs: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c packaging/constraints.txt -e '.[docs]'
	$(BIN)/python -m docs.builder

fuzz: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c packaging/constraints.txt -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

proto: install
	PYTHON=$(CURDIR)/$(BIN)/python proto/generate.sh

# ROLE=coordinator, agent or gpu; PYTHON of the system, as machines have it that install the package
ROLE ?= coordinator
.PHONY: wheelhouse package package-test

wheelhouse:
	test -e build/$(ROLE)-wheels/SHA256SUMS || \
	    PYTHON=$(PYTHON) packaging/wheelhouse.sh $(ROLE) build/$(ROLE)-wheels

package: wheelhouse
	packaging/debian/build.sh build/$(ROLE)-wheels dist

package-test: install
	PYTHON=$(CURDIR)/$(BIN)/python WORK=build/package-test packaging/test.sh

bench: install
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) demo-output benchmark-output build dist site .cache .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
