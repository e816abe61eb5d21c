# Everything that is done with this repository. On a bare machine `make demo` and `make test` need Python >= 3.11 and
# nothing else: the first target that needs it makes the virtual environment .venv, from constraints.txt.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.lossc-ready
ARGS   :=

BENCHMARKS = $(patsubst benchmarks/%.py,benchmarks.%,$(shell grep -l '^if __name__' benchmarks/*.py))

.DEFAULT_GOAL := help
.PHONY: help demo test test-targets lint types bench fidelity-quick fidelity wheel-test ci setup clean distclean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "; print "make TARGET [ARGS=\"...\"] [PYTHON=python3.12]\n"} \
	  /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(STAMP) ## compile three losses of the thesis, train with the files, show the results
	@$(BIN)/lossc demo --out out/demo $(ARGS)

test: $(STAMP) ## run the whole test suite, on two cores
	@$(BIN)/python -m pytest -n 2 $(ARGS)

test-targets: $(STAMP) ## run exported losses in JAX, Keras, ONNX, XGBoost, ...: installs these libraries (extra `targets`)
	@$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt --no-build-isolation -e ".[dev,targets]"
	@# timm wants a torchvision that fits the build of torch; the tests read some of its files, which do not
	@$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt --no-deps timm
	@LOSSC_TARGETS=all $(BIN)/python -m pytest -n 2 tests/targets tests/compiler/test_export.py $(ARGS)

lint: $(STAMP) ## check style and common mistakes (ruff)
	@$(BIN)/ruff check . $(ARGS)
	@$(BIN)/ruff format --check --quiet .

types: $(STAMP) ## check types, strictly (mypy)
	@$(BIN)/mypy $(ARGS)

bench: $(STAMP) ## measure against the budgets; ARGS=--write puts the tables into benchmarks/RESULTS.md
	@set -e; for module in $(BENCHMARKS); do $(BIN)/python -m $$module $(ARGS); done

fidelity-quick: $(STAMP) ## our figures beside the thesis's, in minutes; LOSSC_DATA=FOLDER names the data sets
	@$(BIN)/python -m benchmarks.fidelity --quick --workers 2 $(ARGS)

fidelity: $(STAMP) ## the same with the thesis's settings: days; killed, it goes on; ARGS="--only diabetes --minutes 60"
	@$(BIN)/python -m benchmarks.fidelity --full --workers 2 $(ARGS)

wheel-test: $(STAMP) ## build the wheel, install it in a new environment, use it from outside the checkout
	@.ci/wheel-test $(BIN)/python

ci: ## run all that continuous integration runs
	@.ci/run

setup: $(STAMP) ## make the virtual environment .venv (done by the others when needed)

clean: ## remove caches, builds and the demo's output
	rm -rf build dist out *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## remove .venv too
	rm -rf $(VENV)

$(STAMP): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "error: there is no '$(PYTHON)'; install Python 3.11 or newer, or say which: make $(MAKECMDGOALS) PYTHON=..." >&2; \
	  exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: lossc needs Python 3.11 or newer, and '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1);" \
	    "say which to use: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" .ci/environment.py $(VENV) $(STAMP)
