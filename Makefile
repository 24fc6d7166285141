# Everything a reader or an author does here. `make help` lists it.
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= out/demo
ARGS   ?=
LOCK   ?= requirements.lock
SETUP  := settings.ini setup.py pyproject.toml tools/setup_venv.sh $(LOCK)
export LOCK TORCH_INDEX

.DEFAULT_GOAL := help
.PHONY: help demo read test nbtest export notebooks lint lock site stills test-web bench clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.ready-demo  ## train a small model on drawn shapes and sample from it (about 4 minutes, no download of data)
	$(BIN)/python -m diffbook.demo --out $(OUT) $(ARGS)

read: $(VENV)/.ready-dev  ## open the chapters in Jupyter (nothing is run before you run it)
	$(BIN)/jupyter lab nbs $(ARGS)

test nbtest notebooks: export OMP_NUM_THREADS = 1  # faster than two for networks this small

test: $(VENV)/.ready-dev  ## run every notebook and every test (ARGS=... goes to pytest)
	$(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist worksteal $(ARGS)

nbtest: $(VENV)/.ready-dev  ## run every notebook the way nbdev does
	PATH="$(CURDIR)/$(BIN):$$PATH" nbdev_test --n_workers 2

export: $(VENV)/.ready-dev  ## number the notebooks and close their folded cells, write diffbook/*.py from them, then the stubs, the index of formulas and the glossary, and clean the notebooks
	$(BIN)/python -m tools.references
	$(BIN)/python tools/notebooks.py --close
	PATH="$(CURDIR)/$(BIN):$$PATH" nbdev_export
	PATH="$(CURDIR)/$(BIN):$$PATH" nbdev_clean
	$(BIN)/python tools/stubs.py
	$(BIN)/python -m tools.formulas
	$(BIN)/python -m tools.words

notebooks: $(VENV)/.ready-dev  ## run the notebooks and store their outputs (ARGS=nbs/12_schedules.ipynb for one)
	PATH="$(CURDIR)/$(BIN):$$PATH" python tools/notebooks.py $(ARGS)

lint: $(VENV)/.ready-dev  ## check style and types, as the hooks of .pre-commit-config.yaml do
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/stubs.py --check
	$(BIN)/python -m tools.formulas --check
	$(BIN)/python -m tools.words --check
	$(BIN)/python -m tools.references --check
	$(BIN)/python -m mypy --follow-imports=silent --ignore-missing-imports tests/typed

lock:  ## refresh requirements.lock: exact versions of everything (ARGS="'torch<2.16'" bounds one)
	$(or $(PYTHON),python3) tools/lock.py $(ARGS)

site: $(VENV)/.ready-dev  ## build the book as a web site in _docs (needs Quarto)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh tools/build_site.sh

stills: $(VENV)/.ready-web  ## draw what stands for each living figure on paper (needs Chromium; ARGS=playground for one)
	$(BIN)/python -m tools.live $(ARGS)

test-web: $(VENV)/.ready-web  ## open every living figure in a browser, and every page if `make site` was run (needs Chromium)
	$(BIN)/python -m pytest -q tests/web $(ARGS)

bench: $(VENV)/.ready-dev  ## run the benchmarks against other libraries; results go to benchmarks/
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## remove what the commands above made (keeps .venv)
	rm -rf _docs _proc build dist out diffbook.egg-info .ruff_cache .pytest_cache .hypothesis .quarto
	find diffbook tests nbs tools -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp says what is installed in it, so it is made once and again only when its sources change.
# LOCK=FILE takes the versions of another file, LOCK= the newest of everything, and keeps what is there; TORCH_INDEX=URL
# takes torch and torchvision from another index, such as that of the small builds without CUDA.
$(VENV)/.ready-demo: $(SETUP)
	@sh tools/setup_venv.sh $(VENV) demo

$(VENV)/.ready-dev: $(SETUP)
	@sh tools/setup_venv.sh $(VENV) dev

$(VENV)/.ready-web: $(SETUP)
	@sh tools/setup_venv.sh $(VENV) web
