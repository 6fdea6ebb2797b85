# The one entry for people and CI. Every target does its own set-up; `make help` lists them.
ARGS    ?=
SOURCES := $(shell find src bench test -name '*.ts' 2>/dev/null)
NATIVE  := $(wildcard native/*.c native/*.h native/Makefile)
PREFIX  ?= /usr/local
UNITS   := $(PREFIX)/lib/systemd/system
SHARE   := $(DESTDIR)$(PREFIX)/lib/twill
# what moves frames through the card
SANITIZED := test/card test/differential test/netns
# its start-up time is ours
unexport NODE_EXTRA_CA_CERTS

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## two hosts and five pods on this machine: every path proved with real traffic (KEEP=1 leaves it up)
	@scripts/setup.sh demo
	@bin/twill demo $(ARGS)

test: build ## every test, those in network namespaces included; ARGS="test/cli" for some
	@scripts/setup.sh test
	@node scripts/test.mjs $(ARGS)

test-asan: build ## tests with real traffic on a build of the card with address and undefined-behaviour sanitizers
	@$(MAKE) -s -C native asan
	@env $$($(MAKE) -s -C native asan-env) node scripts/test.mjs $(or $(ARGS),$(SANITIZED))

bench: build bench-tools ## measure Twill beside the others, 20 minutes (ARGS=--quick: 3); a page in bench/results
	@scripts/setup.sh bench
	@bin/twill bench $(ARGS)

bench-deps: ## install what bench compares with: Open vSwitch, vde, tinc, iptables, nftables
	@scripts/setup.sh bench-deps

bench-check: build bench-tools ## a quick run's ratios against bench/baseline.json; FILE=… for one that was made
	@scripts/setup.sh bench
	@bin/twill bench --check $(FILE)

bench-captures: build bench-tools ## a slice of every workload, each checksum verified by tshark
	@scripts/setup.sh bench
	@scripts/setup.sh test
	@bin/twill bench --captures $(ARGS)

bench-report: build ## the page and docs/performance.md of the newest results, or of FILE=…
	@bin/twill bench --report $(or $(FILE),$(lastword $(sort $(wildcard bench/results/*.json))),bench/results)

bench-tools: ## traffic source and sink, and bare forwarders to compare with: bench/build
	@$(MAKE) -s -C bench

check: build ## format, lint, types, layers, C without a warning
	@[ -t 1 ] || plain=--colors=off; node_modules/.bin/biome ci $$plain
	@$(MAKE) -s -B -C native EXTRA=-Werror
	@$(MAKE) -s -B -C bench EXTRA=-Werror
	@sh -n bin/twill && sh -n scripts/setup.sh && sh -n scripts/packages.sh && bash -n .ci/run
	@layers="$(wildcard test/layers.test.ts test/*/layers.test.ts)"; \
	  [ -z "$$layers" ] || node_modules/.bin/vitest run --reporter=dot $$layers
	@echo "check: clean"

build: native/build/twill.node dist/.stamp ## the addon and the program

node_modules/.stamp: package-lock.json
	@scripts/setup.sh build
	@scripts/packages.sh
	@touch $@

native/build/twill.node: node_modules/.stamp $(NATIVE)
	@scripts/setup.sh build
	@$(MAKE) -s -C native
	@touch $@

dist/.stamp: node_modules/.stamp tsconfig.json $(SOURCES)
	@node_modules/.bin/tsc
	@touch $@

install: build ## copy the program to PREFIX (default /usr/local)
	@mkdir -p $(SHARE)/bin $(SHARE)/dist $(SHARE)/native/build $(DESTDIR)$(PREFIX)/bin
	@cp -R dist/src $(SHARE)/dist/
	@cp -R examples package.json package-lock.json LICENSE README.md $(SHARE)/
	@cp native/Makefile native/*.[ch] $(SHARE)/native/
	@cp native/build/twill.node $(SHARE)/native/build/
	@cp bin/twill $(SHARE)/bin/
	@cd $(SHARE) && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error
	@if [ -d node_modules/raw-socket/build ]; then cp -R node_modules/raw-socket/build $(SHARE)/node_modules/raw-socket/; fi
	@ln -sf $(PREFIX)/lib/twill/bin/twill $(DESTDIR)$(PREFIX)/bin/twill
	@mkdir -p $(DESTDIR)$(UNITS)
	@sed 's|/usr/lib/twill/|$(PREFIX)/lib/twill/|' systemd/twill.service >$(DESTDIR)$(UNITS)/twill.service
	@echo "installed: $(DESTDIR)$(PREFIX)/bin/twill"

uninstall: ## remove what install copied
	@rm -rf $(SHARE) $(DESTDIR)$(PREFIX)/bin/twill $(DESTDIR)$(UNITS)/twill.service

clean: ## remove what build made
	@rm -rf dist native/build bench/build

.PHONY: help demo test test-asan bench bench-deps bench-check bench-captures bench-report bench-tools check build install uninstall clean
