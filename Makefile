# `make` lists what there is. Cargo.lock is law: everything runs with --locked.
# CARGO_TARGET_DIR is respected, by cargo itself and here.

.DEFAULT_GOAL := help
# One step after the other: they share the build directory, and their output is read from top to bottom.
.NOTPARALLEL:
.PHONY: help build dist run test pages doc kills mixed faults fuzz bench bench-short bench-slow bench-counting bench-lists bench-refused tools fmt clippy house check deny sbom clean-tools

ARCHITECTURE := $(or $(CARGO_TARGET_DIR),target)/architecture-tests
SBOM := $(or $(CARGO_TARGET_DIR),target)/resullm.cdx.json

define heading
@printf '\n== %s\n' '$(1)'
endef

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## a binary that is built fast: target/release/resullm
	cargo build --release --locked

dist: ## the binary to deploy, optimised as a whole: target/dist/resullm
	cargo build --profile dist --locked

run: ## the gateway on localhost:3000, with the bundled gateway.yaml
	cargo run --release --locked

test: tools fmt clippy doc deny ## everything: tools, format, lints, documentation, dependencies, all tests; stops at the first failure
	$(call heading,tests)
	cargo test --locked
	$(call heading,fuzzing)
	tests/tools/fuzz.sh --if-built

pages: ## the commands of all pages, compared with what these show; PAGE=docs/api.md for one
	cargo test --locked --test it -- docs:: --show-output

kills: ## two hundred rounds of kill -9 of one of two instances, in either mode
	KILL_ROUNDS=200 cargo test --locked --test it -- exact::kills --nocapture

mixed: ## the release before and this one on one Redis, under load; the first time builds the former for minutes
	tests/tools/install-redis.sh
	tests/tools/mixed.sh

faults: tools ## what breaks or breaks in, at full length; prints a table of cases
	tests/tools/faults.sh

fuzz: ## arbitrary bytes for every reader, FUZZ_SECONDS each (60); the first time builds for minutes
	$(call heading,fuzzing)
	tests/tools/install-fuzz.sh
	tests/tools/fuzz.sh

bench: dist ## the gateway beside its peers, half an hour; writes bench/RESULTS.md
	bench/peers/install.sh
	cd bench && cargo run --release --locked -- run

bench-short: dist ## the same in three minutes, printed only
	bench/peers/install.sh
	cd bench && cargo run --release --locked -- run --short

bench-slow: dist ## with the peers that take their time; printed only
	bench/peers/install.sh --slow
	cd bench && cargo run --release --locked -- run --all --scenarios plain-1,plain-16,stream-16 --rounds 3

bench-counting: ## what counting tokens costs a byte, by kind and size of text; printed only
	cargo bench --locked --bench counting

bench-lists: ## a page of keys and of people among 100,000, on the embedded store; printed only
	cargo bench --locked --bench lists

bench-refused: dist ## one tenant's calls while another's are refused; printed only
	cd bench && cargo run --release --locked -- refused

check: house fmt clippy ## the quick part: architecture, format, lints

tools: ## what the tests need besides cargo: redis-server, strace, curl, jq, nginx, Caddy, systemd-analyze, Chromium, promtool, libfaketime, client programs, tokenizers, readers of bodies, Schemathesis, cargo-deny
	$(call heading,tools)
	tests/tools/install-redis.sh
	tests/tools/install-program.sh strace
	tests/tools/install-program.sh curl
	tests/tools/install-program.sh jq
	tests/tools/install-server.sh nginx
	tests/tools/install-server.sh caddy
	tests/tools/install-server.sh systemd-analyze
	tests/tools/install-browser.sh
	tests/tools/install-promtool.sh
	tests/tools/install-faketime.sh
	tests/tools/install-sdks.sh
	tests/tools/install-readers.sh
	tests/tools/install-conformance.sh
	tests/tools/install-deny.sh

fmt: ## is everything formatted?
	$(call heading,format)
	cargo fmt --check
	cargo fmt --check --manifest-path bench/Cargo.toml
	cargo fmt --check --manifest-path fuzz/Cargo.toml

clippy: ## lints; a warning is an error
	$(call heading,lints)
	cargo clippy --locked --all-targets -- -D warnings

doc: ## the documentation of the sources; a warning is an error
	$(call heading,documentation)
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --document-private-items --locked

# These tests read text and use std alone, so they do not wait for the crate to build.
house: ## the boundaries between the folders
	$(call heading,architecture)
	@mkdir -p $(dir $(ARCHITECTURE))
	CARGO_MANIFEST_DIR='$(CURDIR)' rustc --edition 2024 --test tests/architecture.rs -o '$(ARCHITECTURE)'
	'$(ARCHITECTURE)' --quiet

deny: ## licences, sources and advisories of the dependencies
	$(call heading,dependencies)
	tests/tools/install-deny.sh
	tests/tools/deny.sh

sbom: ## what the release binary is made from, as CycloneDX: target/resullm.cdx.json
	tests/tools/sbom.py '$(SBOM)'

clean-tools: ## forget the tools that the tests downloaded
	rm -rf .tools
