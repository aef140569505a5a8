# `make` alone lists what there is.

PROFILE ?= release
MINUTES ?= 60
SEED ?= $(shell date +%s)
CARGO_TARGET_DIR ?= target
BUILT := $(CARGO_TARGET_DIR)/$(if $(filter dev test,$(PROFILE)),debug,$(PROFILE))

.DEFAULT_GOAL := help
.PHONY: help run test chaos docs bench bench-cluster bench-peers

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{ printf "  make %-13s %s\n", $$1, $$2 }'

run: ## Build and serve with something to try; data in ./fanfare-data (PROFILE=dev builds faster)
	cargo build --locked --profile $(PROFILE) -p fanfare
	exec $(BUILT)/fanfare serve --demo

test: ## Install what the tests need, then check formatting, lints and every test
	tests/run.sh

chaos: ## Kill, stop and cut nodes and engines at random under traffic (MINUTES=60 SEED=…)
	CHAOS_MINUTES=$(MINUTES) CHAOS_SEED=$(SEED) tests/run.sh chaos

docs: ## Make the OpenAPI document and the reference pages from the code again
	cargo build --workspace --all-targets --locked
	$(CARGO_TARGET_DIR)/debug/fanfare openapi > openapi/openapi.json.new
	mv openapi/openapi.json.new openapi/openapi.json
	for page in errors metrics configuration; do \
	  $(CARGO_TARGET_DIR)/debug/fanfare docs $$page > docs/$$page.md.new && mv docs/$$page.md.new docs/$$page.md || exit 1; \
	done

bench: ## Measure speed and memory beside the limit of the machine, with the engines inside; under 5 minutes
	cargo build --release --workspace --locked
	$(CARGO_TARGET_DIR)/release/fanfare-bench suite --json $(CARGO_TARGET_DIR)/bench.json

bench-cluster: ## The same on production engines, with two gateways
	cargo build --release --workspace --locked
	GATEWAYS=1 bench/on-production.sh run gateways
	GATEWAYS=2 bench/on-production.sh run gateways
	GATEWAYS=2 bench/on-production.sh run flat-out

bench-peers: ## The same beside Sockudo and Nchan, which are installed
	cargo build --release --workspace --locked
	bench/beside-peers.sh --json $(CARGO_TARGET_DIR)/bench-peers.json
