# Everything starts here: `make compare` sets up and runs the main job, `make test` sets up and runs the tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed$(if $(CPU),-cpu)
# The programs in .venv begin with its path, which the stamp holds: where the checkout was moved, they are made anew.
HERE := $(shell cd $(VENV) 2>/dev/null && pwd -P)
STAMPED := $(shell cat $(STAMP) 2>/dev/null)
INSTALL := $(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt
ARGS ?=
# The certificates that the machine trusts, as pip does: networks with a proxy of their own need it.
export UV_SYSTEM_CERTS := true
# Images of containers forbid Python to keep bytecode. Every process would then compile its libraries, for seven seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup compare ui show serve stop test bench bench-mlp bench-transfer bench-pipeline bench-gpu bench-quick simulate \
	pictures lint endurance endurance-long fuzz format pins clean

help: ## List what can be made.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Create .venv with the pinned requirements; CPU=1 for PyTorch without the libraries for GPUs.

# PyTorch's own index has a build for CPUs, a third of the size, and one for each driver of a GPU. uv takes what this
# machine needs; where the index cannot be reached, the build is the registry's.
ifneq ($(STAMPED),)
ifneq ($(STAMPED),$(HERE))
CLEAR := --clear
.PHONY: $(STAMP)
endif
endif
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is too old: triptych needs Python 3.11 or newer; name one with make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(CLEAR) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@set -e; build=$(if $(CPU),cpu,auto); \
	if UV_HTTP_RETRIES=0 $(INSTALL) --dry-run --reinstall --quiet --no-deps --torch-backend $$build torch torchvision 2>/dev/null; then \
		from="--torch-backend $$build"; \
	elif [ -n "$(CPU)" ]; then \
		echo "CPU=1 needs PyTorch's own index, which cannot be reached: run make without it" >&2; exit 2; \
	else from=; fi; \
	echo "Installing PyTorch and about 200 packages: 1 GB on disk for a CPU; with the libraries for NVIDIA's GPUs" \
		"6 GB, of which 3.4 GB are downloaded"; \
	$(INSTALL) $$from $(if $(CPU),--reinstall-package torch --reinstall-package torchvision) --editable . --group dev
	@(cd $(VENV) && pwd -P) | tee $@ >$(VENV)/.installed

compare: setup ## Train the panels of the digits side by side; ARGS="--preset photos --data DIR" for others.
	$(BIN)/triptych compare $(ARGS)

show: setup ## Print the last comparison of each board.
	@$(BIN)/triptych show $(ARGS)

ui: setup ## Serve MLflow's pages on the local store, with the links to the last comparisons; MLFLOW_PORT=5000.
	@BIN=$(BIN) mlflow/serve.sh ui

serve: setup ## Start Prefect, MLflow and a worker on this machine; PREFECT_PORT=4200 MLFLOW_PORT=5000.
	@BIN=$(BIN) mlflow/serve.sh start

stop: ## End what `make serve` started.
	@BIN=$(BIN) mlflow/serve.sh stop

bench: bench-mlp bench-transfer bench-pipeline ## Measure everything that has a target.

bench-mlp: setup ## Measure the two MLPs against their peers; about four minutes.
	$(BIN)/python bench/numpy_mlp.py $(ARGS)
	$(BIN)/python bench/torch_mlp.py $(ARGS)

bench-transfer: setup ## Measure transfer against the tutorial's loop; needs the photos and weights.
	$(BIN)/python bench/transfer.py $(ARGS)

bench-pipeline: setup ## Measure what the pipeline adds to its trainers, also after 3,000 nights and of large boards.
	$(BIN)/python bench/large_boards.py $(ARGS)
	$(BIN)/python bench/pipeline.py $(ARGS)
	$(BIN)/python bench/nights.py $(ARGS)
	$(BIN)/python bench/history.py $(ARGS)
	$(BIN)/python bench/cross_validation.py
	$(BIN)/python bench/labels.py

bench-gpu: setup ## Measure what a GPU adds; needs one.
	$(BIN)/python bench/gpu.py

simulate: setup ## Simulate what the statistics, the gate, the alarm and the splits promise; about four minutes.
	$(BIN)/python bench/simulate.py $(ARGS)

pictures: setup ## Make the README's pictures anew; needs Debian's chromium.
	PYTHONPATH=tests $(BIN)/python docs/pictures.py

bench-quick: ## The networks alone, with fewer repetitions, in under two minutes.
	$(MAKE) bench-mlp bench-transfer ARGS=--quick

lint: setup ## Check style, types and who imports whom.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint ## Check everything but what takes minutes, on two to four cores.
	$(BIN)/pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile $(ARGS)

ENDURANCE := --numprocesses=2 --dist=loadfile

endurance: setup ## Kill, crowd and starve the pipeline, and run the README; about eight minutes.
	$(BIN)/pytest -m "endurance and not long" $(ENDURANCE) $(ARGS)

endurance-long: setup ## The same with whole nights, a team's servers and all of the documentation; half an hour.
	$(BIN)/pytest -m endurance $(ENDURANCE) $(ARGS)

fuzz: setup ## Read data as nobody would lay them out, for ten minutes or FUZZ_SECONDS.
	FUZZ_SECONDS=$${FUZZ_SECONDS:-600} $(BIN)/pytest -m endurance tests/endurance/test_fuzz.py $(ARGS)

format: setup ## Mend what can be mended of style.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

pins: setup ## Write constraints.txt anew from pyproject.toml.
	$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --group dev --universal \
		--no-header --no-annotate --output-file constraints.txt

clean: ## Remove the environment and what tools left behind; the store and the cache stay.
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build src/*.egg-info
