# Every target but container works on a fresh Debian machine with Go and make.
# Variables can be set on the command line: make bench BENCH=Reserve COUNT=10

PKG ?= ./...
ARGS ?=
BENCH ?= .
COUNT ?= 5
FUZZTIME ?= 30s
TEST_TIMEOUT ?= 30m
FAULT ?= .
SCHEDULES ?= 3000
FIRST ?= 0
CHUNK ?= 2000
IMAGE ?= bursar

GOLANGCI_VERSION := v2.15.0
GOLANGCI := .bin/golangci-lint-$(GOLANGCI_VERSION)
GOVULNCHECK_VERSION := v1.9.0

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## run bursar bench, the main job, with ARGS="--duration 3s …"
	go run . bench $(ARGS)

.PHONY: test
test: redis cc ## run all tests with the race detector, shuffled; PKG=./local for one package
	go test -race -shuffle=on -timeout $(TEST_TIMEOUT) $(ARGS) $(PKG)

.PHONY: test-faults
test-faults: redis ## break Redis, the network and nodes while processes work; FAULT=Lagged for one fault
	go test -tags faults -count=1 -timeout $(TEST_TIMEOUT) -parallel 4 -run '$(FAULT)' $(ARGS) ./coordinator/faults

VALKEY := $(CURDIR)/.bin/valkey/valkey-server

.PHONY: test-valkey
test-valkey: valkey ## run the tests that use a server, on Debian's valkey-server
	BURSAR_REDIS_SERVER=$(VALKEY) go test -timeout $(TEST_TIMEOUT) -skip '^TestSimulation$$' $(ARGS) $(patsubst ./...,./coordinator/... ./bench/report,$(PKG))

.PHONY: test-valkey-faults
test-valkey-faults: valkey ## run test-faults on Debian's valkey-server
	BURSAR_REDIS_SERVER=$(VALKEY) $(MAKE) test-faults

.PHONY: test-sim
test-sim: ## simulate SCHEDULES=3000 of each mode from seed FIRST=0, then check that every patch is detected
	go test -count=1 -timeout $(TEST_TIMEOUT) -run '^TestSimulation' $(ARGS) ./coordinator/internal/lane -sim.first $(FIRST) -sim.schedules $(SCHEDULES)
	go test -tags faults -count=1 -timeout $(TEST_TIMEOUT) -run '^TestPatches' $(ARGS) ./coordinator/internal/lane

.PHONY: simulate
simulate: ## simulate SCHEDULES=3000 of each mode in chunks of CHUNK=2000; a later run of the same code continues
	@SCHEDULES=$(SCHEDULES) CHUNK=$(CHUNK) .ci/simulate

comma := ,
COVERED := ./coordinator,./coordinator/audit,./coordinator/cli,./coordinator/budget,./coordinator/internal/dispatch,./coordinator/internal/lane,./coordinator/internal/preflight,./coordinator/internal/store,./local

.PHONY: cover
cover: redis ## print the test coverage of the packages in COVERED; fail if one is below 85 %
	@profile=$$(mktemp) && trap 'rm -f "$$profile"' EXIT && \
	go test -timeout $(TEST_TIMEOUT) -coverpkg $(COVERED) -coverprofile "$$profile" $(ARGS) $(subst $(comma), ,$(COVERED)) && \
	.ci/cover "$$profile"

.PHONY: lint
lint: $(GOLANGCI) ## check format, vet, go.mod and the rules of .golangci.yml
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted, run gofmt -w:" $$unformatted; exit 1; }
	go vet -tags faults ./...
	go mod tidy -diff
	$(GOLANGCI) run --build-tags faults

# Systems on which nothing is run; linux/386 has 32-bit words.
CROSS := linux/386 darwin/arm64 windows/amd64

.PHONY: cross
cross: $(CROSS:%=cross/%) ## build the command, and vet every package with its tests, for other systems

cross/%:
	GOOS=$(*D) GOARCH=$(*F) CGO_ENABLED=0 go vet -tags faults ./...
	GOOS=$(*D) GOARCH=$(*F) CGO_ENABLED=0 go build -o /dev/null .

# .git is part of the context: bursar version reads the tag or the commit from it.
.PHONY: container
container: ## build the command's container IMAGE=bursar with podman, buildah or docker
	@for builder in podman buildah docker; do \
		if $$builder info >/dev/null 2>&1; then \
			exec $$builder build -f .ci/Containerfile -t $(IMAGE) .; \
		fi; \
	done; \
	echo "No working podman, buildah or docker was found: install one of them to build the container." >&2; exit 1

.PHONY: vuln
vuln: ## check for known vulnerabilities, or report that the database cannot be reached
	@.ci/vuln $(CURDIR)/.bin/govulncheck-$(GOVULNCHECK_VERSION) $(GOVULNCHECK_VERSION)

.PHONY: bench
bench: redis ## run each Go benchmark that matches BENCH=. COUNT=5 times, for benchstat
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -timeout 0 $(ARGS) $(PKG)

.PHONY: bench-check
bench-check: redis valgrind ## compare calls, bytes, allocations, instructions and ratios with bench/baseline.json
	go run ./bench/regress

.PHONY: bench-baseline
bench-baseline: redis valgrind ## write new measurements to bench/baseline.json; explain each change in the commit
	go run ./bench/regress -write

.PHONY: fuzz
fuzz: redis ## run every fuzz target for FUZZTIME=30s
	@FUZZTIME=$(FUZZTIME) .ci/fuzz $(PKG)

# Tools that the tests need in addition to Go: found, or installed if that is allowed.
.PHONY: redis cc valgrind valkey
redis cc valgrind:
	@.ci/provide $@

valkey: ## unpack Debian's valkey-server into .bin/valkey without installing it, and print its path
	@.ci/provide $@

$(GOLANGCI):
	GOBIN=$(CURDIR)/.bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv .bin/golangci-lint $@
