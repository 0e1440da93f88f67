# The tasks of this project. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
FUZZ_SECONDS ?= 30
BOOTSTRAP := target/demo/asp-events
ASPCTL := target/debug/aspctl
SEEDS ?= 2000
# Overrides the user's setting: the demo and the tests expect the program there.
export CARGO_TARGET_DIR := $(CURDIR)/target

# Tools are installed into ignored folders of the project, at pinned versions.
export SAM_CLI_TELEMETRY := 0
PY := .venv/bin/python
VENV := .venv/.done
SAM_VENV := .venv-sam/.done
CHECKOV_VENV := .venv-checkov/.done
CONSUMERS_VENV := .venv-consumers/.done
NODE_TOOLS := tools/consumers/node_modules
HAS_NPM := $(shell command -v npm 2>/dev/null)
DENY := .tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
FUZZ := .tools/cargo-fuzz-$(CARGO_FUZZ_VERSION)/bin/cargo-fuzz
# No sanitizer: it needs a nightly compiler and finds faults of unsafe code, which is forbidden.
FUZZ_BUILD := --sanitizer none --target-dir target/fuzz
FUZZ_OPTIONS = -max_total_time=$(FUZZ_SECONDS) -timeout=10 -dict=fuzz/json.dict -print_final_stats=1 -verbosity=0
CHECK_PYTHON := $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, and this is " + sys.version.split()[0] + "; name another with make PYTHON=…")'
WITH_BUILD_TOOLS := PATH="$(CURDIR)/.venv-build/bin:$$PATH"

# The processor of the function: arm64 or x86_64. A deployment sets it in the template, too.
ARCH ?= arm64
CHECK_ARCH = case "$(ARCH)" in arm64|x86_64) ;; *) echo "ARCH must be arm64 or x86_64, not $(ARCH)"; exit 2 ;; esac
TARGET = $(if $(filter arm64,$(ARCH)),aarch64,x86_64)-unknown-linux-gnu
PACKAGE = target/lambda/$(ARCH)
# The C library of the oldest Linux on which the released aspctl runs, such as RHEL 8.
OLDEST_GLIBC := 2.28
# Outside of git, as in a source archive, the package's version. Not of a repository around this folder.
ASP_EVENTS_VERSION ?= $(or $(shell git --git-dir=.git describe --tags --always --dirty 2>/dev/null),$(shell awk -F'"' '/^version = / { print $$2; exit }' Cargo.toml))
CARGO_LAMBDA = $(WITH_BUILD_TOOLS) ASP_EVENTS_VERSION=$(ASP_EVENTS_VERSION) cargo lambda build --release
# Builds a function for Lambda and packages it: $(call build-function,asp-events)
define build-function
	@$(CHECK_ARCH)
	$(CARGO_LAMBDA) --locked $(if $(filter arm64,$(ARCH)),--arm64,--x86-64) --package $(1) --bin $(1) --lambda-dir $(PACKAGE)
	@$(PYTHON) tools/package.py --function $(1) --arch $(ARCH) --version $(ASP_EVENTS_VERSION) --binary $(PACKAGE)/$(1)/bootstrap --into $(PACKAGE)
endef
# An environment of samconfig.toml; empty: your own stack.
ENVIRONMENT ?=
DEPLOY = PATH="$(CURDIR)/.venv-sam/bin:$$PATH" .venv-sam/bin/python tools/deploy.py $(if $(ENVIRONMENT),--environment $(ENVIRONMENT))

##@ Start here

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

DEMO = ASPCTL=target/demo/aspctl $(PY) tests/stack/demo.py --bootstrap $(BOOTSTRAP)
.PHONY: demo-programs
demo-programs: $(VENV)
	@echo "Building the function and aspctl (the first time takes some minutes) …"
	@cargo build --locked --profile demo --package asp-events
	@cargo build --locked --profile demo --package aspctl

.PHONY: demo
demo: demo-programs ## Deploy to a local stack, send every sample event, subscribe a stand-in for Alexa (KEEP=1: leave both running)
	@$(DEMO) $(if $(KEEP),--keep)

.PHONY: playground
playground: demo-programs ## Leave a local stack and a stand-in for Alexa running, and show ten commands of aspctl there
	@$(DEMO) --tour

.PHONY: demo-stop
demo-stop: ## Stop what make demo KEEP=1 or make playground left running
	@test ! -x $(PY) || $(PY) tests/stack/kept.py stop

# e2e and tool mostly wait; therefore they run in parallel, and so do the files of tool.
.PHONY: test
test: fmt house lint unit docs deny template consumers ## Run every check
	@$(MAKE) -j2 $(addprefix --,$(filter output-sync,$(.FEATURES))) e2e tool
	@echo "All checks passed."

##@ The checks, one by one

.PHONY: fmt
fmt: ## Formatting of the Rust code
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo fmt --check --all --manifest-path benches/Cargo.toml

.PHONY: house
house: ## Rules of the house: layers, names, line lengths, commands and links in documents
	cd tests && $(PYTHON) -m unittest discover -v -s house -t .

.PHONY: lint
lint: ## Clippy, pedantic, no warnings
	cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: unit
unit: ## Unit, property and wire-level tests
	cargo test --locked --workspace

.PHONY: schemas
schemas: $(CONSUMERS_VENV) $(if $(HAS_NPM),$(NODE_TOOLS)/.done) ## Write the JSON Schemas of messages and of aspctl's output, the AsyncAPI document and the types into schemas/ (make unit and make consumers fail while they are out of date)
	ASP_EVENTS_WRITE_SCHEMAS=1 cargo test --locked --workspace --lib message::
	ASP_EVENTS_WRITE_SCHEMAS=1 cargo test --locked --workspace --bin aspctl output_schema::
	.venv-consumers/bin/python tools/consumers/generate.py

.PHONY: alarm-table
alarm-table: $(VENV) ## Write the table of what each alarm does into docs/operations.md (make e2e fails while it is out of date)
	$(PY) tests/stack/alarm_table.py

# What they show of a run is in tools/pictures/recorded. The run of a retry waits for a quarter of an
# hour; RECORD="demo doctor" records only these.
.PHONY: pictures
pictures: $(if $(RECORD),$(VENV)) ## Draw the pictures of the documents (make house fails while one is out of date); RECORD=1 records their runs first
	$(if $(RECORD),@$(MAKE) demo)
	$(if $(RECORD),@ASPCTL=target/demo/aspctl $(PY) tools/pictures/record.py $(filter-out 1,$(RECORD)))
	@$(PYTHON) tools/pictures/draw.py

.PHONY: docs
docs: ## Documentation builds without warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

.PHONY: deny
deny: $(DENY) ## Dependency policy: licences, banned crates, sources
	$(DENY) check bans
	$(DENY) --workspace check licenses sources

.PHONY: template
template: $(SAM_VENV) $(CHECKOV_VENV) ## Lint the SAM template: cfn-lint with cfn-lint-serverless, sam validate, checkov
	.venv-sam/bin/cfn-lint
	AWS_DEFAULT_REGION=us-east-1 .venv-sam/bin/sam validate --lint
	AWS_DEFAULT_REGION=us-east-1 .venv-sam/bin/sam validate --lint --template-file renewal/template.yaml
	.venv-checkov/bin/checkov --config-file .checkov.yaml

# AsyncAPI's parser and the tools for TypeScript come from npm. Without it, their tests are skipped.
.PHONY: consumers
consumers: $(CONSUMERS_VENV) $(if $(HAS_NPM),$(NODE_TOOLS)/.done) ## What consumers get: AsyncAPI document, types, and the examples of docs/consumers.md
	$(if $(HAS_NPM),,@echo "npm is missing: AsyncAPI's parser and the tests for TypeScript are left out. Install Node.js 20 or newer.")
	.venv-consumers/bin/python -m unittest discover -v -s tests/consumers

.PHONY: e2e
e2e: $(VENV) $(SAM_VENV) .venv-build/.done .venv-emulator/.done ## The template on a local stack, from the events topic to the queues
	cargo build --locked --profile demo --package asp-events
	ASP_EVENTS_BOOTSTRAP=$(BOOTSTRAP) ASPCTL=$(ASPCTL) $(PY) -m unittest discover -v -s tests/stack

.PHONY: tool
tool: $(VENV) ## aspctl against the local stack and a stand-in for Alexa
	cargo build --locked --profile demo --package asp-events
	cargo test --locked --workspace --no-run
	cd tests/aspctl && ls test_*.py | ASP_EVENTS_BOOTSTRAP=$(CURDIR)/$(BOOTSTRAP) ASPCTL=$(CURDIR)/$(ASPCTL) \
		xargs -n 1 -P 2 $(CURDIR)/$(PY) -m unittest discover -v -s . -p

.PHONY: prove
prove: ## Print the fault matrix, the crash matrix, a backlog and the flat memory
	cargo test --locked --workspace --test function -- \
		--nocapture --test-threads 1 \
		whatever_goes_wrong killed_at_any_call a_backlog memory_stays_flat

# Worlds of the simulation, each from one seed. SEED=n replays one, with a trace.
.PHONY: simulate
simulate: ## Simulate whole worlds around the function: make simulate SEEDS=20000, or SEED=7 for a trace
	@SIMULATION_SEEDS=$(SEEDS) SIMULATION_FIRST=$(FIRST) SIMULATION_SEED=$(SEED) \
		cargo test --locked --workspace --test simulation -- --nocapture every_world

.PHONY: defects
defects: ## Have the simulation find deliberate defects, of which DEFECTS="…" names some (many minutes)
	@$(PYTHON) tests/simulation/defects.py $(DEFECTS)

# What is built lands in target/bench, of locked versions. docs/performance.md has the figures of
# the last run with RECORD=1.
.PHONY: bench
bench: ## Measure the function beside others that do the same (many minutes): QUICK=1, or RECORD=1 to write docs/performance.md
	@$(CHECK_PYTHON)
	@$(PYTHON) benches/bench.py $(if $(QUICK),--quick) $(if $(AGAINST),--against $(AGAINST)) \
		$(if $(RECORD),--record)

# In the CI workflow, and not part of `make test`: the first build takes some minutes.
.PHONY: guard
guard: ## Compare with the recorded figures: instructions of parsing and routing (needs valgrind), bytes of the arm64 zip
	$(PYTHON) tools/guard.py

.PHONY: figures
figures: ## Record the figures that make unit and make guard compare: allocations, bytes, instructions, the size of the zip
	ASP_EVENTS_WRITE_FIGURES=1 cargo test --locked --workspace --test guard
	$(PYTHON) tools/guard.py --write

.PHONY: audit
audit: $(DENY) ## Known vulnerabilities in dependencies (needs the network; not part of `make test`)
	$(DENY) --workspace check advisories

# The first folder receives inputs that increase coverage; the others are only read. Input that
# breaks something is in fuzz/artifacts. After the fix, add it to fuzz/corpus, which `make unit`
# checks.
.PHONY: fuzz
fuzz: $(FUZZ) ## Look for input that breaks the envelope or the event, FUZZ_SECONDS=30 each (not part of `make test`)
	@mkdir -p target/fuzz/corpus/envelope target/fuzz/corpus/event
	@$(PYTHON) fuzz/seeds.py target/fuzz/seeds
	$(FUZZ) run $(FUZZ_BUILD) envelope target/fuzz/corpus/envelope fuzz/corpus/envelope events -- $(FUZZ_OPTIONS)
	$(FUZZ) run $(FUZZ_BUILD) event target/fuzz/corpus/event fuzz/corpus/event target/fuzz/seeds -- $(FUZZ_OPTIONS)

##@ Build, deploy, run

.PHONY: build
build: .venv-build/.done ## Build the function for Lambda: make build ARCH=x86_64 (default: arm64); zip and template in target/lambda/
	$(call build-function,asp-events)

.PHONY: build-renewal
build-renewal: .venv-build/.done ## Build the scheduled renewal for Lambda, as make build does the function
	$(call build-function,asp-renewal)

# Without ENVIRONMENT, your own stack: asks at the first time, and remembers in samconfig.local.toml.
.PHONY: deploy
deploy: build $(SAM_VENV) ## Build, deploy to AWS and check that the function starts; no questions with ENVIRONMENT=test or production
	@$(DEPLOY) deploy --template $(PACKAGE)/template-$(ARCH).yaml --version $(ASP_EVENTS_VERSION) $(if $(GUIDED),--guided)

# A stack of its own beside the deployed one: docs/renewal.md. Its first deployment needs FILE and
# SECRET, the ARNs of the subscriptions file and of the credentials; later ones keep them.
.PHONY: deploy-renewal
deploy-renewal: build-renewal $(SAM_VENV) ## Deploy the scheduled renewal: make deploy-renewal FILE=arn:… SECRET=arn:… (PARAMETERS="IntervalHours=6 …")
	@PATH="$(CURDIR)/.venv-sam/bin:$$PATH" .venv-sam/bin/python tools/deploy_renewal.py $(if $(ENVIRONMENT),--environment $(ENVIRONMENT)) \
		--template $(PACKAGE)/renewal-template-$(ARCH).yaml \
		$(if $(FILE),SubscriptionsArn=$(FILE)) $(if $(SECRET),LoginSecretArn=$(SECRET)) $(PARAMETERS)

.PHONY: rollback
rollback: $(SAM_VENV) ## Deploy again what the last make deploy replaced: code, template and parameters
	@$(DEPLOY) rollback

.PHONY: aspctl-binary
aspctl-binary: .venv-build/.done ## Build aspctl for other Linux machines: make aspctl-binary ARCH=x86_64 (default: arm64)
	@$(CHECK_ARCH)
	$(CARGO_LAMBDA) --locked --disable-optimizations --target $(TARGET).$(OLDEST_GLIBC) --package aspctl --bin aspctl --lambda-dir $(PACKAGE)

.PHONY: release
release: ## Build everything that a release consists of into target/dist (six optimized programs: many minutes)
	@rm -rf target/dist
	@$(MAKE) build build-renewal aspctl-binary ARCH=arm64
	@$(MAKE) build build-renewal aspctl-binary ARCH=x86_64
	@cargo build --locked --profile demo --package aspctl
	@$(PYTHON) tools/release.py --version $(ASP_EVENTS_VERSION) --packages target/lambda --aspctl target/demo/aspctl --into target/dist

# Where cargo installs programs, and where a shell and man look for the files of a user. With PREFIX
# (or CARGO_INSTALL_ROOT) everything is in one folder.
INSTALL_PREFIX := $(or $(PREFIX),$(CARGO_INSTALL_ROOT))
INSTALL_ROOT = $(or $(INSTALL_PREFIX),$(CARGO_HOME),$(HOME)/.cargo)
INSTALL_SHARE = $(if $(INSTALL_PREFIX),$(INSTALL_PREFIX)/share,$(or $(XDG_DATA_HOME),$(HOME)/.local/share))
INSTALL = $(PYTHON) tools/install.py --root "$(INSTALL_ROOT)" --share "$(INSTALL_SHARE)"

.PHONY: install
install: ## Build aspctl and install it with completions and man pages into ~/.cargo/bin and ~/.local/share, or PREFIX=… (9 minutes on two cores)
	@$(CHECK_PYTHON)
	cargo install --locked --path aspctl --root "$(INSTALL_ROOT)"
	@$(INSTALL) install

.PHONY: uninstall
uninstall: ## Remove what make install installed
	@$(INSTALL) uninstall
	@cargo uninstall --root "$(INSTALL_ROOT)" aspctl

.PHONY: watch
watch: ## Run the function from the working copy against the stack of `make demo KEEP=1`
	@test -f target/local.env || { echo "No stack to run against: first run make demo KEEP=1"; exit 2; }
	@$(MAKE) --quiet .venv-build/.done
	@echo "Compiles at the first make invoke. Ctrl-C ends it."
	$(WITH_BUILD_TOOLS) cargo lambda watch --invoke-address 127.0.0.1 --env-file target/local.env

.PHONY: invoke
invoke: ## Send a sample to the function of `make watch`: make invoke EVENT=events/greeting.json
	@test -n "$(EVENT)" || { echo "Which event? For example: make invoke EVENT=events/greeting.json"; exit 2; }
	@$(MAKE) --quiet .venv-build/.done
	$(WITH_BUILD_TOOLS) cargo lambda invoke asp-events --invoke-address 127.0.0.1 --data-file $(EVENT)

.PHONY: clean
clean: ## Remove everything that was built or installed in this folder
	@test ! -e target/local.json || $(MAKE) demo-stop
	rm -rf target .venv .venv-sam .venv-checkov .venv-build .venv-emulator .venv-consumers $(NODE_TOOLS) .tools .aws-sam

# Installed once, and again when the pinned versions change.

$(VENV): tests/stack/requirements.txt
	@$(CHECK_PYTHON)
	@echo "Installing the local stack into .venv …"
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(SAM_VENV): tests/stack/requirements-sam.txt
	@$(CHECK_PYTHON)
	@echo "Installing the SAM CLI and the template's linter into .venv-sam …"
	@rm -rf .venv-sam && $(PYTHON) -m venv .venv-sam
	@.venv-sam/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# Of checkov's packages only a part is ever imported: --no-compile halves the installation.
$(CHECKOV_VENV): tests/stack/requirements-checkov.txt
	@$(CHECK_PYTHON)
	@echo "Installing checkov into .venv-checkov …"
	@rm -rf .venv-checkov && $(PYTHON) -m venv .venv-checkov
	@.venv-checkov/bin/pip install --quiet --disable-pip-version-check --no-compile --requirement $<
	@touch $@

.venv-build/.done: tests/stack/requirements-build.txt
	@$(CHECK_PYTHON)
	@echo "Installing cargo-lambda and its cross compiler into .venv-build …"
	@rm -rf .venv-build && $(PYTHON) -m venv .venv-build
	@.venv-build/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# Without dependencies: the file lists all that are needed, and says why.
.venv-emulator/.done: tests/stack/requirements-emulator.txt
	@$(CHECK_PYTHON)
	@echo "Installing the second local stack into .venv-emulator …"
	@rm -rf .venv-emulator && $(PYTHON) -m venv .venv-emulator
	@.venv-emulator/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	@touch $@

$(CONSUMERS_VENV): tests/consumers/requirements.txt
	@$(CHECK_PYTHON)
	@echo "Installing the generator of the types for Python into .venv-consumers …"
	@rm -rf .venv-consumers && $(PYTHON) -m venv .venv-consumers
	@.venv-consumers/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(NODE_TOOLS)/.done: tools/consumers/package-lock.json tools/consumers/package.json
	@echo "Installing AsyncAPI's parser and the tools for TypeScript into $(NODE_TOOLS) …"
	@npm ci --loglevel error --prefix tools/consumers
	@touch $@

$(DENY):
	@echo "Installing cargo-deny into .tools (two minutes) …"
	@CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --version $(CARGO_DENY_VERSION) \
		--root .tools/cargo-deny-$(CARGO_DENY_VERSION) --target-dir .tools/target cargo-deny
	@rm -rf .tools/target

$(FUZZ):
	@echo "Installing cargo-fuzz into .tools (a minute) …"
	@CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --version $(CARGO_FUZZ_VERSION) \
		--root .tools/cargo-fuzz-$(CARGO_FUZZ_VERSION) --target-dir .tools/target cargo-fuzz
	@rm -rf .tools/target
