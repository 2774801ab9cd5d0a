# Vultus: `make help` is the front door. Everything runs from a fresh clone.
PYTHON ?= python3
PORT ?= 8000
WORKERS ?= 1
PACK ?=
EVALUATED := $(or $(PACK),$(VULTUS_PACK),compact)
LIVENESS_LABELS := $(or $(LABELS),$(or $(VULTUS_TEST_DATA),../shared/data)/liveness.csv)
EFFECTS_LABELS := $(or $(LABELS),$(or $(VULTUS_TEST_DATA),../shared/data)/pairs.csv)
VENV := .venv/bin
USUAL := jobs:read,jobs:write
QUICK := tests/unit tests/contract tests/architecture
# in the order in which they start: the longest first, so that no process ends long after the others
REAL := tests/soak tests/chaos tests/security tests/architecture/test_container_commands.py tests/integration tests/containers tests/gpu
# these wait more than they compute, so they take more processes than there are cores
PROCESSES ?= 4
MODELS := $(or $(VULTUS_MODELS_DIR),.data/models)
LOCK := $(VENV)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --quiet
export ORT_DISABLE_TELEMETRY := 1
# not $(abspath ...), which takes a folder with spaces in its name for several
export VULTUS_MODELS_DIR := $(if $(filter /%,$(firstword $(MODELS))),$(MODELS),$(CURDIR)/$(MODELS))
.DEFAULT_GOAL := help
.PHONY: help setup demo up test check lint types arch unit integration chaos chaos-short containers soak fuzz sbom security bench key models calibrate liveness-report effects lock snapshot clean dev-setup

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

setup:  ## install the environment, the locked dependencies and the compact model pack
	@$(PYTHON) tools/setup.py local

demo: setup  ## one real photo through the real service (IMAGE=path for your own)
	@$(VENV)/python -m tools.launch demo

up: setup  ## run the service in the foreground (PORT=8000 WORKERS=1)
	@PORT=$(PORT) WORKERS=$(WORKERS) $(VENV)/python -m tools.launch up

test: dev-setup unit integration  ## the quick suite, then everything with a real broker, worker and models (PROCESSES=4)

check: dev-setup lint types arch unit  ## lint, types, import contracts, quick tests: about a minute

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
	@$(VENV)/python -m pytest -q -n auto --dist worksteal -m "not integration" $(QUICK)

integration: dev-setup  ## only the tests with a real broker, worker and models
	@$(VENV)/python -m pytest -q -n $(PROCESSES) --dist loadfile --no-loadscope-reorder -m "integration or security or gpu" $(REAL)

chaos-short: dev-setup  ## every fault once over a real stack, then many at once, then an oracle: about 4 minutes (SEEDS=7, FAULT="worker killed")
	@$(VENV)/python -m tests.chaos.run --seeds $(or $(SEEDS),1) $(if $(FAULT),--only "$(FAULT)")

chaos: dev-setup  ## twelve such storms, 50,000 jobs and 1,000 faults at least: about 50 minutes, one result in bench/results
	@$(VENV)/python -m tests.chaos.run --seeds $(or $(SEEDS),1 2 3 4 5 6 7 8 9 10 11 12) --enough --keep bench/results

fuzz: dev-setup  ## fuzz what reads images, forms and headers: SECONDS=60 for each of four targets, SEED=1
	@$(VENV)/python -m tests.fuzz --seconds $(or $(SECONDS),60) --seed $(or $(SEED),1)

containers: dev-setup  ## build the images, run the compose stack in real containers and break it (FAULTS=15)
	@CONTAINERS_FAULTS=$(or $(FAULTS),15) $(VENV)/python -m tools.containers $(VENV)/python -m pytest -q -s tests/containers

soak: dev-setup  ## half an hour at 80 of 100 of what it can do, real models: does anything grow? (MINUTES=5 for less)
	@$(VENV)/python -m tests.soak.run --minutes $(or $(MINUTES),30)

security: dev-setup  ## hostile input, limits, tenants, containers, dependencies: one table, about ten minutes (SECONDS=20 ONLY=fuzzing)
	@$(VENV)/python -m tests.security.report --seconds $(or $(SECONDS),20) --only "$(ONLY)"

sbom: dev-setup  ## write what each image is made of (CycloneDX) to .data/sbom
	@$(VENV)/python -m tools.sbom

bench: dev-setup  ## measure speed and memory: about 14 minutes, one report in bench/results
	@$(VENV)/python -m bench.run

key:  ## make an API key in the running compose stack, shown this once (TENANT=acme SCOPES=jobs:read,jobs:write)
	@docker compose exec gateway python -m api.auth.keys_cli create --tenant $(or $(TENANT),default) --scopes "$(or $(SCOPES),$(USUAL))"

models: setup  ## list model packs, or install and verify one (PACK=buffalo_s)
	@$(VENV)/python -m worker.packs $(if $(PACK),install "$(PACK)",list)
	@$(if $(PACK),$(VENV)/python -m worker.packs verify "$(PACK)")

calibrate: setup  ## error rates and thresholds from your own pairs (PAIRS=pairs.csv IMAGES=folder PACK=compact OUT=folder)
	@test -n "$(PAIRS)" || { echo "name a table: make calibrate PAIRS=pairs.csv  (columns image1,image2,same or image,person; group where known)"; exit 2; }
	@VULTUS_PACK="$(EVALUATED)" $(VENV)/python -m worker.evaluation pairs "$(PAIRS)" $(if $(IMAGES),--pictures "$(IMAGES)") --out "$(or $(OUT),.data/calibration)"

liveness-report: setup  ## APCER and BPCER on labelled pictures (LABELS=liveness.csv IMAGES=folder PACK=compact)
	@test -e "$(LIVENESS_LABELS)" || { echo "no labelled pictures at $(LIVENESS_LABELS): name a table (columns image,label,attack) with LABELS=, or their folder with VULTUS_TEST_DATA"; exit 1; }
	@VULTUS_PACK="$(EVALUATED)" $(VENV)/python -m worker.evaluation liveness "$(LIVENESS_LABELS)" $(if $(IMAGES),--pictures "$(IMAGES)")

effects: setup  ## what damage and quality gates do to decisions on labelled pictures (LABELS=people.csv IMAGES=folder PACK=compact)
	@test -e "$(EFFECTS_LABELS)" || { echo "no labelled pictures at $(EFFECTS_LABELS): name a table (columns image,person or image1,image2,same) with LABELS=, or their folder with VULTUS_TEST_DATA"; exit 1; }
	@VULTUS_PACK="$(EVALUATED)" $(VENV)/python -m worker.evaluation effects "$(EFFECTS_LABELS)" $(if $(IMAGES),--pictures "$(IMAGES)")

snapshot: dev-setup  ## write the OpenAPI document that the contract test compares with
	@$(VENV)/python -m tests.contract.snapshot

lock: dev-setup  ## resolve the dependencies again into requirements/
	@$(LOCK) --extra api --extra worker --extra cpu --extra openvino --extra local --extra dev -o requirements/dev.txt
	@$(LOCK) --extra api --extra worker --extra cpu --extra local -o requirements/local.txt
	@$(LOCK) --extra api -o requirements/api.txt
	@$(LOCK) --extra worker --extra cpu -o requirements/worker-cpu.txt
	@$(LOCK) --extra worker --extra cpu --extra openvino -o requirements/worker-openvino.txt
	@$(LOCK) --extra worker --extra gpu -o requirements/worker-gpu.txt

clean:  ## remove the environment, the data and every cache
	rm -rf .venv .data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
