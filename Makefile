# Every door. `make run` and `make test` need nothing before them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

MACHINE ?= machines/two-clusters.toml
# What `make run` copies into the machine and counts; by default the source of
# Rust's standard library, which the guest toolchain brought.
INPUT ?=
export MACHINE INPUT
BUILD_IMAGES := scripts/guest build --release -p node -p utility --features node/image,utility/image

.PHONY: help
help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

.PHONY: setup
setup: ## install what this machine lacks (Debian; elsewhere: say what to install)
	@scripts/setup

.PHONY: images
images: setup ## build what runs inside the VMs
	@$(BUILD_IMAGES)

.PHONY: host
host: setup ## build the cyanea command
	@cargo build --release -p launcher

.PHONY: run
run: host ## boot a machine, do real work on it, check the answer
	@scripts/run --check "$$MACHINE" "$$INPUT"
	@$(BUILD_IMAGES)
	@scripts/run "$$MACHINE" "$$INPUT"

.PHONY: check
check: setup ## format, lints as errors, direction of dependencies
	@scripts/check

.PHONY: test
test: images host ## all tests: host, models, one VM, whole machines with kills
	@scripts/test

.PHONY: fuzz
fuzz: setup ## run the fuzz targets: SECONDS=N each (60)
	@FUZZ_SECONDS=$(or $(SECONDS),60) scripts/fuzz

.PHONY: bench
bench: images host ## measure, as ratios to limits of the same run; writes target/bench/results.json
	@scripts/bench

.PHONY: bench-linux
bench-linux: images host ## the same against two Linux VMs over virtio-net; writes target/bench/results-linux.json
	@scripts/bench-linux

.PHONY: clean
clean: ## remove what was built
	@rm -rf target
