# What a person types here. Run `make` for the list.
.DEFAULT_GOAL := help
.PHONY: help setup up demo test lint check bench fmt

VENV := .venv
BIN := $(VENV)/bin
# What the environment is made from: nothing is done while none of it has changed.
INPUTS := uv.lock pyproject.toml $(wildcard */pyproject.toml services/*/pyproject.toml) \
	protos/hatch_build.py $(shell find protos/crm -name '*.proto')

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.complete ## Makes .venv with everything in it; quick when nothing has changed

$(VENV)/.complete: $(INPUTS) tools/setup.sh
	@tools/setup.sh
	@touch $@

up: setup ## Starts the whole system on this machine and prints its address
	@$(BIN)/crm up

demo: setup ## Fills a running system with sample data
	@$(BIN)/crm demo

test: setup ## Runs every test against real servers
	@tools/install_test_dependencies.sh
	@$(BIN)/pytest $(ARGS)

lint: setup ## Checks style, types, import rules and contracts
	@tools/lint.sh

check: ## Runs lint, then test
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test

bench: setup ## Measures throughput side by side with a hand-written reference
	@$(BIN)/python -m benchmarks

fmt: setup ## Formats and repairs what tools can repair
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format .
