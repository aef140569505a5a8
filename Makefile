# `make` alone lists what there is.

PROFILE ?= release
MINUTES ?= 60
SEED ?= $(shell date +%s)
CARGO_TARGET_DIR ?= target
BUILT := $(CARGO_TARGET_DIR)/$(if $(filter dev test,$(PROFILE)),debug,$(PROFILE))

.DEFAULT_GOAL := help
.PHONY: help run test chaos docs

help: ## List the targets
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{ printf "  make %-6s %s\n", $$1, $$2 }'

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
