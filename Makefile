# Each target is a line or two that a person could type. `make lab` opens the workbook, `make test`
# proves it; both set up `.venv` first, and again when a lock or pyproject.toml has changed.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN = .venv/Scripts
PYTHON = py -3
else
BIN = .venv/bin
endif
EXTRAS = cluster deep spark mlflow dvc

.PHONY: lab dash test check lock
lab: $(BIN)/.core
	$(BIN)/python -m mlsys lab

dash: $(BIN)/.core
	$(BIN)/python -m mlsys dash

test: $(BIN)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(BIN)/.test
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mlsys lint

# uv installs in seconds what takes pip two minutes; where it has no access, pip does it. Both check
# the hashes, and refuse an editable install beside them: the workbook itself comes second.
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet
UV = $(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python
INSTALL = $(UV) --require-hashes -r $(1) \
	|| $(PIP) install --require-hashes -r $(1)

$(BIN)/.core: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) install --require-hashes -r locks/setup.lock
	$(call INSTALL,requirements.lock)
	$(PIP) install --no-deps --editable .
	$(BIN)/python -c "open('$@', 'w').close()"

$(BIN)/.test: $(BIN)/.core locks/test.lock
	$(call INSTALL,locks/test.lock)
	$(BIN)/python -c "open('$@', 'w').close()"

# One lock a group, so that one extra's pin does not hold all the others back. uv writes pins,
# markers and hashes, and no address.
COMPILE = $(BIN)/python -m uv pip compile --quiet --universal --generate-hashes --no-header \
	--no-annotate
lock: $(BIN)/.core
	$(COMPILE) --group setup -o locks/setup.lock
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) pyproject.toml --extra test -c requirements.lock -o locks/test.lock
	for extra in $(EXTRAS); do \
		$(COMPILE) pyproject.toml --extra $$extra -o locks/$$extra.lock || exit 1; done
