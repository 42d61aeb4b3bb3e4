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

# pip refuses an editable install beside hashes, so the workbook itself comes second.
$(BIN)/.core: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(BIN)/python -c "open('$@', 'w').close()"

$(BIN)/.test: $(BIN)/.core locks/test.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/test.lock
	$(BIN)/python -c "open('$@', 'w').close()"

# One lock a group, so that one extra's pin does not hold all the others back. uv writes pins,
# markers and hashes, and no address.
COMPILE = $(BIN)/python -m uv pip compile pyproject.toml --quiet --universal --generate-hashes \
	--no-header --no-annotate
lock: $(BIN)/.test
	$(COMPILE) -o requirements.lock
	$(COMPILE) --extra test -c requirements.lock -o locks/test.lock
	for extra in $(EXTRAS); do $(COMPILE) --extra $$extra -o locks/$$extra.lock || exit 1; done
