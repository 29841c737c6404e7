# Every chore of the project. `make help` lists them; CI calls the same names.
# Overridable: CARGO, CARGO_TARGET_DIR, RUSTFLAGS and the like, PYTHON, FUZZ_SECONDS, STAGE_TIMEOUT.

CARGO ?= cargo
PYTHON ?= python3
CARGO_TARGET_DIR ?= target
FUZZ_SECONDS ?= 600
export CARGO PYTHON CARGO_TARGET_DIR

# The stages of `make test`, in order: each is a target of this file that reports its counts.
STAGES := lint test-unit test-wire test-e2e corpus test-fuzz test-testbed test-kubernetes test-conformance
# Crates whose tests are a stage of their own.
WIRE := server
E2E := e2e
KUBERNETES := e2e-kubernetes

summary = $(PYTHON) tools/test-summary

.DEFAULT_GOAL := help
.PHONY: help run tools test test-unit test-wire test-e2e test-fuzz corpus fuzz bench lint clean \
  testbed test-testbed test-kubernetes bench-kubernetes test-conformance conformance play

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: tools ## Build, install Envoy if missing, and run the quickstart example
	$(CARGO) build --release --package ferrogate
	@"$(CARGO_TARGET_DIR)/release/ferrogate" certificate shop.example.com '*.example.com' localhost \
	  --secret quickstart-tls --file examples/quickstart/tls.yaml
	@exec "$(CARGO_TARGET_DIR)/release/ferrogate" run --listen 127.0.0.1 --echo 127.0.0.1:3000 examples/quickstart

tools: ## Install Envoy into .tools (checked by digest, no root)
	@$(PYTHON) tools/install-envoy

test: ## Run all stages; the last line is their sum
	+@$(summary) --record "$(CARGO_TARGET_DIR)/test-summary.txt" \
	  $(foreach stage,$(STAGES),"$(stage:test-%=%)=$(MAKE) --no-print-directory $(stage)")

lint: ## Formatting, clippy with warnings denied, house rules
	@$(summary) "fmt=$(CARGO) fmt --all --check" \
	  "clippy=$(CARGO) clippy --workspace --all-targets -- -D warnings" \
	  "tidy=$(CARGO) run --quiet --package xtask -- tidy"

test-unit: tools ## Unit and integration tests of all crates but those below
	@$(PYTHON) tools/rust-tests --except $(WIRE) $(E2E) $(KUBERNETES)

test-wire: tools ## The xDS server against scripted Envoys
	@$(PYTHON) tools/rust-tests $(WIRE)

test-e2e: tools ## The whole binary with real Envoy and real traffic
	@$(PYTHON) tools/rust-tests $(E2E)

# The test bed's own scripts look for what was built here.
export TESTBED_TARGET := $(abspath $(CARGO_TARGET_DIR))

testbed: ## Build the Kubernetes test bed (Go; the first time 15 minutes of CPU)
	@e2e/testbed/install
	e2e/build

# A command in a test bed of its own, once all that it needs is built. Where no bed can be brought up, the stage says
# what is missing and counts nothing.
in_bed = @if e2e/testbed/able; then \
  $(MAKE) --no-print-directory tools testbed && $(PYTHON) tools/rust-tests --build && $(1); \
  else echo "0 passed, 0 failed"; fi

test-testbed: ## The test bed itself: a real API server, Pods as processes (needs root and Go; else it is skipped)
	$(call in_bed,e2e/test)

test-kubernetes: ## A whole installation under test in a bed of its own (needs root and Go; else it is skipped)
	$(call in_bed,RUST_TEST_THREADS=1 e2e/kubernetes $(PYTHON) tools/rust-tests $(KUBERNETES))

bench-kubernetes: ## Figures of a whole installation, written to docs/benchmarks.md (needs root and Go)
	$(CARGO) build --release --package ferrogate
	$(call in_bed,FERROGATE="$(abspath $(CARGO_TARGET_DIR))/release/ferrogate" FERROGATE_FIGURES="$(abspath docs/benchmarks.md)" \
	  RUST_TEST_NOCAPTURE=1 e2e/kubernetes $(PYTHON) tools/rust-tests $(KUBERNETES) -- figures)

test-conformance: ## The official conformance suite in both deploy modes (needs root and Go; else it is skipped)
	$(call in_bed,{ e2e/conform; first=$$?; MODE=GatewayNamespace e2e/conform && [ $$first -eq 0 ]; })

conformance: ## The suite, and its report to docs/conformance; MODE=GatewayNamespace for the other mode
	$(call in_bed,REPORT=docs/conformance/$(if $(filter GatewayNamespace,$(MODE)),gateway-namespace,default).yaml e2e/conform)

play: tools testbed ## A cluster on this machine with Ferrogate in it and the quickstart applied, until Ctrl-C
	@$(PYTHON) tools/rust-tests --build
	@"$(TESTBED_TARGET)/debug/ferrogate" manifests > "$(TESTBED_TARGET)/e2e/install.yaml"
	@FERROGATE="$(TESTBED_TARGET)/debug/ferrogate" e2e/play "$(TESTBED_TARGET)/e2e/install.yaml" examples/kubernetes

corpus: ## Compare with Envoy Gateway's status and xDS (needs the corpus folder)
	@$(PYTHON) tools/rust-tests --build
	@$(PYTHON) tools/corpus "$(CARGO_TARGET_DIR)/debug/ferrogate"

fuzz: ## Run each fuzz target for FUZZ_SECONDS (600)
	@$(PYTHON) tools/fuzz $(FUZZ_SECONDS)

test-fuzz: ## Each fuzz target for a few seconds
	@$(PYTHON) tools/fuzz 15

bench: ## Measure the engine; writes docs/benchmarks.md
	$(CARGO) run --release --package benches

clean: ## Remove what was built (Envoy in .tools stays)
	$(CARGO) clean
