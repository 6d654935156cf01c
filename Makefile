# `make run` shows what the program does, `make test` checks it. Both install what they need first
# (Debian packages as root or with sudo, npm packages by lock file), so they work on a fresh
# Debian 12. A second call does only what is left to do.
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
DESTDIR ?=
KILLS ?= 10000
FUZZ_SECONDS ?= 60
HOURS ?= 1

RELEASE := build/release
BINARY := $(RELEASE)/litestream
WRITER := $(RELEASE)/litestream-writer
SOURCES := $(shell git ls-files '*.cc' '*.h' 2>/dev/null)

.PHONY: help
help:
	@echo 'make run [DB=path REPLICA=path]  a demonstration, or your own database to a directory'
	@echo 'make test                        build everything and run all tests'
	@echo 'make build                       $(BINARY)'
	@echo 'make install [PREFIX= DESTDIR=]  install it'
	@echo 'make bench [BENCH_FLAGS=]        measure, and compare with the limits of the machine'
	@echo 'make kill-test [KILLS=10000]     SIGKILL at random moments, then restore and compare'
	@echo 'make simulate [HOURS=1]          the engine in a simulated world, on all cores'
	@echo 'make mutants                     does the simulator find planted bugs?'
	@echo 'make fuzz [FUZZ_SECONDS=60]      each parser against damaged input; MINUTES= for long runs'
	@echo 'make sanitize                    all tests under address and thread sanitizers'
	@echo 'make lint                        clang thread-safety and static checks, tidy rules'
	@echo 'make format                      clang-format over the tree'
	@echo 'make deps | clean'

.PHONY: deps
deps:
	@tools/install_deps.sh

# Ninja configures again by itself when a CMakeLists.txt or the list of files changes.
build/%/build.ninja: | deps
	cmake --preset $*

.PHONY: build
build: deps $(RELEASE)/build.ninja
	cmake --build $(RELEASE) --target litestream -j $(JOBS)

.PHONY: run
run: deps $(RELEASE)/build.ninja
	cmake --build $(RELEASE) --target litestream litestream-writer -j $(JOBS)
	python3 tools/demo.py --binary $(BINARY) --writer $(WRITER) \
	  $(if $(DB),--db '$(DB)') $(if $(REPLICA),--replica '$(REPLICA)')

# ctest comes last, so that its summary is what one sees.
.PHONY: test
test: deps $(RELEASE)/build.ninja
	cmake --build $(RELEASE) -j $(JOBS)
	tools/run_fuzz.sh 5
	ctest --preset release -j $(JOBS)

.PHONY: fuzz
fuzz: deps
	tools/run_fuzz.sh $(FUZZ_SECONDS)

.PHONY: kill-test
kill-test: deps $(RELEASE)/build.ninja
	cmake --build $(RELEASE) --target litestream litestream-writer -j $(JOBS)
	python3 tests/stress/kill_test.py --binary $(BINARY) --writer $(WRITER) --kills $(KILLS) \
	  --jobs $$((2 * $(JOBS)))

.PHONY: simulate
simulate: deps $(RELEASE)/build.ninja
	cmake --build $(RELEASE) --target simulate -j $(JOBS)
	$(RELEASE)/tests/simulation/simulate --fresh --hours $(HOURS) --jobs $(JOBS)

.PHONY: mutants
mutants: deps $(RELEASE)/build.ninja
	cmake --build $(RELEASE) --target simulate_mutants -j $(JOBS)
	$(RELEASE)/tests/simulation/simulate_mutants

.PHONY: bench
bench: deps $(RELEASE)/build.ninja
	cmake --build $(RELEASE) -j $(JOBS)
	for program in $(RELEASE)/bench/*_bench; do "$$program" || exit; done
	python3 bench/run.py --binary $(BINARY) --writer $(WRITER) $(BENCH_FLAGS)

.PHONY: sanitize
sanitize: build/asan/build.ninja build/tsan/build.ninja
	cmake --build --preset asan -j $(JOBS)
	ctest --preset asan -j $(JOBS)
	cmake --build --preset tsan -j $(JOBS)
	ctest --preset tsan -j $(JOBS)

.PHONY: lint
lint: deps build/clang/build.ninja
	python3 tests/tidy/check.py .
	clang-format-14 --dry-run --Werror $(SOURCES)
	cmake --build --preset clang -j $(JOBS)

.PHONY: format
format: deps
	clang-format-14 -i $(SOURCES)

.PHONY: install
install: build
	DESTDIR='$(DESTDIR)' cmake --install $(RELEASE) --prefix '$(PREFIX)' --component litestream --strip

.PHONY: clean
clean:
	rm -rf build
