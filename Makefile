# Start with `make help`. Every target works in a fresh clone.
PYTHON ?= python3
PORT ?= 8000
WORKERS ?= 1
PACK ?=
EVALUATED := $(or $(PACK),$(VULTUS_PACK),compact)
LIVENESS_LABELS := $(or $(LABELS),$(or $(VULTUS_TEST_DATA),../shared/data)/liveness.csv)
EFFECTS_LABELS := $(or $(LABELS),$(or $(VULTUS_TEST_DATA),../shared/data)/pairs.csv)
VENV := .venv/bin
USUAL := jobs:read,jobs:write
QUICK := tests/unit tests/contract tests/architecture tests/watching
REAL := tests/soak tests/chaos tests/security tests/architecture/test_container_commands.py tests/integration tests/watching tests/containers tests/gpu
# these tests wait more than they compute, so more processes than cores are used
PROCESSES ?= 4
CORES := $(shell getconf _NPROCESSORS_ONLN)
MODELS := $(or $(VULTUS_MODELS_DIR),.data/models)
LOCK := $(VENV)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --quiet
export ORT_DISABLE_TELEMETRY := 1
# some images set it; then each of the hundreds of processes that tests start would compile the same files
unexport PYTHONDONTWRITEBYTECODE
# not $(abspath ...), which would split a folder name that contains spaces
export VULTUS_MODELS_DIR := $(if $(filter /%,$(firstword $(MODELS))),$(MODELS),$(CURDIR)/$(MODELS))
.DEFAULT_GOAL := help
.PHONY: help setup demo up test check lint types arch unit unit-worker unit-api unit-rest unit-contract integration chaos chaos-short containers watching soak fuzz sbom security bench preflight key models calibrate liveness-report effects detection-report lock snapshot clean dev-setup

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

setup:  ## install the environment, the locked dependencies and the compact model pack
	@$(PYTHON) tools/setup.py local

demo: setup  ## start the service, analyze one photo and show every step (IMAGE=path)
	@$(VENV)/python -m tools.launch demo

up: setup  ## run the service in the foreground (PORT=8000 WORKERS=1)
	@PORT=$(PORT) WORKERS=$(WORKERS) $(VENV)/python -m tools.launch up

test: dev-setup unit  ## run the quick tests, then those with a real broker, worker and models (PROCESSES=4)
	@$(MAKE) --no-print-directory integration

# one part more than cores, because some of these tests wait
check: dev-setup  ## lint, check types and import contracts, run the quick tests: about a minute
	@$(MAKE) --no-print-directory -j$$(($(CORES) + 1)) --output-sync unit lint arch types

dev-setup:
	@$(PYTHON) tools/setup.py dev

lint:
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check .

types:
	@$(VENV)/mypy

arch:
	@$(VENV)/lint-imports --config importlinter.toml --no-cache

unit:
	@$(MAKE) --no-print-directory --output-sync $(if $(filter -j%,$(MAKEFLAGS)),,-j$(CORES)) unit-worker unit-api unit-rest unit-contract

# Parts instead of pytest-xdist, whose processes would each collect all tests and report every one to another process.
unit-worker: PART = tests/unit/worker
unit-api: PART = tests/unit/api
unit-rest: PART = $(filter-out tests/contract,$(QUICK)) --ignore tests/unit/worker --ignore tests/unit/api
unit-contract: PART = tests/contract
unit-worker unit-api unit-rest unit-contract:
	@$(VENV)/python -m pytest -q -m "not integration" $(PART)

integration: dev-setup  ## run only the tests with a real broker, worker and models
	@$(VENV)/python -m pytest -q -n $(PROCESSES) --dist loadfile --no-loadscope-reorder -m "integration or security or gpu" $(REAL)

chaos-short: dev-setup  ## inject every fault into a real stack and verify all jobs: about 4 minutes (SEEDS=7 FAULT="worker killed")
	@$(VENV)/python -m tests.chaos.run --seeds $(or $(SEEDS),1) $(if $(FAULT),--only "$(FAULT)")

chaos: dev-setup  ## repeat this twelve times, with at least 50,000 jobs and 1,000 faults: about 50 minutes, result in bench/results
	@$(VENV)/python -m tests.chaos.run --seeds $(or $(SEEDS),1 2 3 4 5 6 7 8 9 10 11 12) --enough --keep bench/results

fuzz: dev-setup  ## fuzz the parsers of images, forms and headers (SECONDS=60 per target, four targets, SEED=1)
	@$(VENV)/python -m tests.fuzz --seconds $(or $(SECONDS),60) --seed $(or $(SEED),1)

containers: dev-setup  ## build the images, run the compose stack in containers and inject faults (FAULTS=15 WATCHING=1 GPU=1)
	@CONTAINERS=$(if $(OPTIONAL),optional,required) CONTAINERS_FAULTS=$(or $(FAULTS),15) $(if $(GPU),CONTAINERS_GPU=1) $(if $(WATCHING),CONTAINERS_WATCHING=1) $(VENV)/python -m tools.containers $(VENV)/python -m pytest -q -s tests/containers

watching: dev-setup  ## fire every alert with a real fault behind Debian's Prometheus and Alertmanager: several minutes
	@WATCHING_LIVE=1 $(VENV)/python -m pytest -q tests/watching

soak: dev-setup  ## run real models at 80 % of capacity for 30 minutes and detect leaks (MINUTES=5)
	@$(VENV)/python -m tests.soak.run --minutes $(or $(MINUTES),30)

security: dev-setup  ## check hostile input, limits, tenants, containers and dependencies: about ten minutes (SECONDS=20 ONLY=fuzzing)
	@$(VENV)/python -m tests.security.report --seconds $(or $(SECONDS),20) --only "$(ONLY)"

sbom: dev-setup  ## write a CycloneDX bill of materials for each image to .data/sbom
	@$(VENV)/python -m tools.sbom

bench: dev-setup  ## measure speed and memory: 14 to 20 minutes, report in bench/results
	@$(VENV)/python -m bench.run

preflight:  ## say what keeps `docker compose up` from starting the stack on this machine
	@$(PYTHON) -m tools.containers.preflight

key:  ## create an API key in the running compose stack and show it once (TENANT=acme SCOPES=jobs:read,jobs:write)
	@docker compose exec gateway python -m api.auth.keys_cli create --tenant $(or $(TENANT),default) --scopes "$(or $(SCOPES),$(USUAL))"

models: setup  ## list model packs, or install and verify one (PACK=buffalo_s)
	@$(VENV)/python -m worker.packs $(if $(PACK),install "$(PACK)",list)
	@$(if $(PACK),$(VENV)/python -m worker.packs verify "$(PACK)")

calibrate: setup  ## measure error rates and thresholds on your own pairs (PAIRS=pairs.csv IMAGES=folder PACK=compact OUT=folder)
	@test -n "$(PAIRS)" || { echo "set PAIRS to a table: make calibrate PAIRS=pairs.csv  (columns image1,image2,same or image,person; optionally group)"; exit 2; }
	@VULTUS_PACK="$(EVALUATED)" $(VENV)/python -m worker.evaluation pairs "$(PAIRS)" $(if $(IMAGES),--pictures "$(IMAGES)") --out "$(or $(OUT),.data/calibration)"

liveness-report: setup  ## measure APCER and BPCER on labelled pictures (LABELS=liveness.csv IMAGES=folder PACK=compact)
	@test -e "$(LIVENESS_LABELS)" || { echo "no labelled pictures at $(LIVENESS_LABELS): set LABELS to a table (columns image,label,attack), or VULTUS_TEST_DATA to their folder"; exit 1; }
	@VULTUS_PACK="$(EVALUATED)" $(VENV)/python -m worker.evaluation liveness "$(LIVENESS_LABELS)" $(if $(IMAGES),--pictures "$(IMAGES)")

effects: setup  ## measure how damage and quality gates affect decisions (LABELS=people.csv IMAGES=folder PACK=compact)
	@test -e "$(EFFECTS_LABELS)" || { echo "no labelled pictures at $(EFFECTS_LABELS): set LABELS to a table (columns image,person or image1,image2,same), or VULTUS_TEST_DATA to their folder"; exit 1; }
	@VULTUS_PACK="$(EVALUATED)" $(VENV)/python -m worker.evaluation effects "$(EFFECTS_LABELS)" $(if $(IMAGES),--pictures "$(IMAGES)")

detection-report: setup  ## coarse-to-fine against full detection on labeled pairs (PAIRS=pairs.csv IMAGES=folder PACK=compact)
	@test -e "$(or $(PAIRS),$(EFFECTS_LABELS))" || { echo "no labeled pairs: name a table (columns image1,image2,same) with PAIRS=, or their folder with VULTUS_TEST_DATA"; exit 1; }
	@VULTUS_PACK="$(EVALUATED)" $(VENV)/python -m worker.evaluation detection "$(or $(PAIRS),$(EFFECTS_LABELS))" $(if $(IMAGES),--pictures "$(IMAGES)")

snapshot: dev-setup  ## write the OpenAPI snapshot that the contract test compares with
	@$(VENV)/python -m tests.contract.snapshot

lock: dev-setup  ## resolve the dependencies again and lock them in requirements/
	@$(LOCK) --extra api --extra worker --extra cpu --extra openvino --extra local --extra dev -o requirements/dev.txt
	@$(LOCK) --extra api --extra worker --extra cpu --extra local -o requirements/local.txt
	@$(LOCK) --extra api -o requirements/api.txt
	@$(LOCK) --extra worker --extra cpu -o requirements/worker-cpu.txt
	@$(LOCK) --extra worker --extra cpu --extra openvino -o requirements/worker-openvino.txt
	@$(LOCK) --extra worker --extra gpu -o requirements/worker-gpu.txt

clean:  ## remove the environment, the data and all caches
	rm -rf .venv .data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
