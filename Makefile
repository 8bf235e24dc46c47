# Every target sets up what it needs; `make` alone lists them. PYTHON=python3.12 chooses another.
BIN := .venv/bin
export PYTHON

# What some tests use from the system, as command:Debian-package.
TEST_TOOLS = redis-server:redis-server dig:bind9-dnsutils kdig:knot-dnsutils drill:ldnsutils unbound:unbound \
	go:golang-go go:golang-golang-x-mod-dev nft:nftables conntrack:conntrack ip:iproute2 sysctl:procps

# What bench-peers compares with, as command:Debian-package.
PEERS = dnsperf:dnsperf dnsdist:dnsdist unbound:unbound pdns_recursor:pdns-recursor \
	kresd:knot-resolver named:bind9

.PHONY: help build check fix test long bench bench-peers demo clean dev tools

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

build: ## set up .venv and build the programs into it
	@.ci/bootstrap run

dev:
	@.ci/bootstrap dev

tools:
	@.ci/bootstrap tools $(TEST_TOOLS)

# cython-lint calls pycodestyle by its bare name.
check: dev ## lint, format check, types, Cython lint, proto lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(if $(wildcard native/*.pyx),PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint native)
	$(if $(wildcard proto/enforcer/v1/*.proto),$(BIN)/buf lint proto)

fix: dev ## what the linters can correct by themselves
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Tests wait a third of their time: one worker more than there are processors. A file's tests stay
# together, but for the thousand rounds, whose installations go side by side; their logs: build/chaos/.
test: check tools ## check, then every test but the long ones
	$(BIN)/python -m pytest -n $$(($$(nproc) + 1)) --dist loadfile $(ARGS)

long: dev tools ## the tests of minutes: examples drawn anew, killing a thousand times, cutting, robbing, fuzzing with sanitisers, bad weather, a million names
	$(BIN)/python -m pytest -m "hypothesis and not long" --hypothesis-profile=others -q -n $$(($$(nproc) + 1))
	$(BIN)/python -m pytest -m long -v -n $$(($$(nproc) + 1)) --dist loadfile $(ARGS)

bench: tools ## measure; ARGS= goes to `python -m bench`
	@.ci/bootstrap bench
	$(BIN)/python -m bench $(ARGS)

bench-peers: dev ## the gate beside other servers on one core, 20 minutes; ARGS=--quick for two
	@.ci/bootstrap tools $(PEERS)
	$(BIN)/python -m bench.peers $(ARGS)

demo: build ## the whole path on loopback; KEEP=1 leaves it running
	@$(BIN)/enforcer demo $(if $(filter-out 0,$(KEEP)),--keep) $(ARGS)

clean: ## remove what was built and cached; .venv stays
	rm -rf build dist demo *.egg-info enforcer/v1 .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -f native/*.c native/*.html enforcer/_native/*.so
	find . -path ./.venv -prune -o -name __pycache__ -prune -exec rm -rf {} +
