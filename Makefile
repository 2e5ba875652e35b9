# Tocsin: one program, three stages. Targets:
#
#   make demo               the main job on this machine: mock broker, private Redis, a day in four minutes
#   make test               every test there is, with ASan and UBSan; starts a Kafka, a registry and a Redis of its own
#   make all                build/tocsin (release)
#   make unit               unit, golden, property and fuzz-corpus tests alone (fast)
#   make sim SEED=1 SEEDS=1000   the simulator: the whole spine under crashes, aborts and rebalances
#   make soak               the kill matrix on a real broker, whole, and a catch-up of 12 M events
#   make bench              figures against references in the same run, tables and plots in build/bench
#   make check-conformance  what needs ../shared and promtool 3
#   make fuzz TARGET=x MUTATIONS=100000   seeded mutations of a target's corpus under the sanitizers
#   make lint               what may include what, and what stands at the top
#   make format             clang-format over what changed
#   make install PREFIX=/usr/local
#   make clean
#
# Variables: SANITIZE=address,undefined | thread | (none)   V=1 to see commands   JOBS=n

SHELL := /bin/bash
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules
SANITIZE ?=
PREFIX ?= /usr/local
SEED ?= 1
SEEDS ?= 1000
MUTATIONS ?= 100000
JOBS ?= $(shell nproc)
ifeq ($(V),)
Q := @
endif

VARIANT := $(if $(findstring address,$(SANITIZE)),asan,$(if $(findstring thread,$(SANITIZE)),tsan,release))
O := build/$(VARIANT)
TEST_SANITIZE := address,undefined

PKGS := rdkafka avro-c hiredis jansson yaml-0.1 libmicrohttpd re2 libxxhash libcurl
CC := gcc
CXX := g++
WARN := -Wall -Wextra -Wdeclaration-after-statement -Wformat-security -Wold-style-definition \
        -Wpointer-arith -Wstrict-prototypes -Wvla -Wwrite-strings -Wmissing-prototypes \
        -Wshadow -Wundef
ifneq ($(CI),)
WARN += -Werror
endif
OPT := $(if $(SANITIZE),-O1 -fno-omit-frame-pointer,-O2)
SAN := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all)
# -ffp-contract=off: the same bits on every machine, with or without fused multiply-add.
CPPFLAGS += -D_GNU_SOURCE -Iinclude -Isrc $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS += -std=c11 -g $(OPT) -ffp-contract=off -fno-strict-aliasing -include src/base/banned.h $(WARN) $(SAN)
CXXFLAGS += -std=c++17 -g $(OPT) $(SAN)
# TLS to Redis where hiredis has it: its own library since 1.0; Debian's 0.14 has none.
ifeq ($(shell pkg-config --exists 'hiredis_ssl >= 1.1' openssl 2>/dev/null && echo yes),yes)
PKGS += hiredis_ssl openssl
CPPFLAGS += -DTSN_REDIS_TLS
endif
LDLIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lsnappy -lz -lstdc++ -lm -lpthread
CORE_LDLIBS := $(shell pkg-config --libs avro-c jansson yaml-0.1 re2 libxxhash 2>/dev/null) -lstdc++ -lm -lpthread

CORE_DIRS := base model config metrics codec promql series patterns ingest rules detect respond replay
SHELL_DIRS := kafka store registry notify http app demo
CORE_SRC := $(foreach d,$(CORE_DIRS),$(wildcard src/$(d)/*.c) $(wildcard src/$(d)/*.cc))
SHELL_SRC := $(foreach d,$(SHELL_DIRS),$(wildcard src/$(d)/*.c))
CLI_SRC := $(wildcard src/cli/*.c)
obj = $(patsubst %,$(O)/%.o,$(basename $(1)))
CORE_OBJ := $(call obj,$(CORE_SRC))
SHELL_OBJ := $(call obj,$(SHELL_SRC)) $(O)/gen/topics_builtin.o $(O)/gen/rules_builtin.o
CLI_OBJ := $(call obj,$(CLI_SRC))
CORE_LIB := $(O)/libtocsin_core.a
SHELL_LIB := $(O)/libtocsin_shell.a

# A test binary per file. unit, prop, sim, fuzz link the core alone; it and bench may use the shell.
UNIT_BIN := $(patsubst tests/%.c,$(O)/tests/%,$(wildcard tests/unit/test_*.c tests/prop/prop_*.c))
SIM_BIN := $(patsubst tests/%.c,$(O)/tests/%,$(wildcard tests/sim/sim_*.c))
FUZZ_BIN := $(patsubst tests/%.c,$(O)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
IT_BIN := $(patsubst tests/%.c,$(O)/tests/%,$(wildcard tests/it/it_*.c))
BENCH_BIN := $(patsubst tests/%.c,$(O)/tests/%,$(wildcard tests/bench/bench_*.c))
SIM_LIB_OBJ := $(call obj,$(wildcard tests/sim/lib_*.c))
IT_LIB_OBJ := $(call obj,$(wildcard tests/it/lib_*.c))
# The stages over a Kafka in memory (tests/tsan), for ThreadSanitizer: what is linked has none of src/kafka.
TSAN_BIN := $(patsubst tests/%.c,$(O)/tests/%,$(wildcard tests/tsan/tsan_*.c))
TSAN_LIB_OBJ := $(call obj,$(filter-out $(wildcard tests/tsan/tsan_*.c),$(wildcard tests/tsan/*.c)))
TSAN_SHELL_OBJ := $(call obj,$(foreach d,app store registry http,$(wildcard src/$(d)/*.c)) src/cli/logs_input.c src/cli/config_file.c src/cli/options.c)
BENCH_LIB_OBJ := $(call obj,$(wildcard tests/bench/lib_*.c))

.PHONY: help all unit test-bins tsan-bins demo test sim soak bench check-conformance lint format fuzz install clean deps
.SECONDARY:

all: build/tocsin

build/tocsin: $(if $(SANITIZE),,$(O)/tocsin)
	$(Q)ln -sf $(VARIANT)/tocsin $@

help:
	@sed -n '/^# Tocsin/,/^$$/p' Makefile | sed 's/^# \{0,1\}//'

deps:
	$(Q)tests/deps.sh

$(O)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC  $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(O)/%.o: %.cc
	@mkdir -p $(@D)
	@echo "  CXX $<"
	$(Q)$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c $< -o $@

# The declarations of topics/ travel in the program: each file as text, in order of the names.
TOPIC_FILES := $(sort $(wildcard topics/*.yaml))
$(O)/gen/topics_builtin.c: $(TOPIC_FILES) Makefile
	@mkdir -p $(@D)
	@echo "  GEN $@"
	$(Q)( echo '#include "kafka/topics_builtin.h"'; \
	  echo 'const struct tsn_topic_file tsn_topic_files[] = {'; \
	  for f in $(TOPIC_FILES); do echo "{ \"$$f\","; sed 's/\\/\\\\/g; s/"/\\"/g; s/.*/"&\\n"/' $$f; echo '},'; done; \
	  echo '};'; echo 'const size_t tsn_topic_file_count = $(words $(TOPIC_FILES));' ) >$@
# And the rules that the demo is about.
RULE_FILES := docker/rules/logs.yaml docker/rules/omninode.yaml
$(O)/gen/rules_builtin.c: $(RULE_FILES) Makefile
	@mkdir -p $(@D)
	@echo "  GEN $@"
	$(Q)( echo '#include "demo/services.h"'; \
	  echo 'const struct tsn_rule_file tsn_rule_files[] = {'; \
	  for f in $(RULE_FILES); do echo "{ \"$$(basename $$f)\","; sed 's/\\/\\\\/g; s/"/\\"/g; s/.*/"&\\n"/' $$f; echo '},'; done; \
	  echo '};'; echo 'const size_t tsn_rule_file_count = $(words $(RULE_FILES));' ) >$@
$(O)/gen/%.o: $(O)/gen/%.c
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(CORE_LIB): $(CORE_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^
$(SHELL_LIB): $(SHELL_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^

$(O)/tocsin: $(CLI_OBJ) $(SHELL_LIB) $(CORE_LIB)
	@echo "  LD  $@"
	$(Q)$(CC) $(SAN) -rdynamic -o $@ $(CLI_OBJ) $(SHELL_LIB) $(CORE_LIB) $(LDLIBS)

# The demo's generator is as pure as the core, though it stands above it.
$(O)/tests/unit/test_demo: $(call obj,src/demo/scenario.c src/demo/generate.c src/demo/judge.c)
$(O)/tests/unit/%: $(O)/tests/unit/%.o $(CORE_LIB)
	$(Q)$(CC) $(SAN) -o $@ $(filter %.o,$^) $(CORE_LIB) $(CORE_LDLIBS) -lcmocka
$(O)/tests/prop/%: $(O)/tests/prop/%.o $(CORE_LIB)
	$(Q)$(CC) $(SAN) -o $@ $< $(CORE_LIB) $(CORE_LDLIBS) -lcmocka
$(O)/tests/sim/%: $(O)/tests/sim/%.o $(SIM_LIB_OBJ) $(CORE_LIB)
	$(Q)$(CC) $(SAN) -o $@ $< $(SIM_LIB_OBJ) $(CORE_LIB) $(CORE_LDLIBS) -lcmocka
# A fuzz target defines LLVMFuzzerTestOneInput; the normal build replays the corpus through it.
$(O)/tests/fuzz/%: $(O)/tests/fuzz/%.o $(O)/tests/fuzz/driver.o $(CORE_LIB)
	$(Q)$(CC) $(SAN) -o $@ $< $(O)/tests/fuzz/driver.o $(CORE_LIB) $(CORE_LDLIBS)
# fuzz_fake_x: what the stages read of our own topics, over the Kafka in memory of tests/tsan.
$(O)/tests/fuzz/fuzz_fake_%: $(O)/tests/fuzz/fuzz_fake_%.o $(O)/tests/fuzz/driver.o $(call obj,$(wildcard tests/tsan/fake_*.c)) $(TSAN_SHELL_OBJ) $(CORE_LIB)
	$(Q)$(CC) $(SAN) -o $@ $(filter %.o,$^) $(CORE_LIB) $(LDLIBS)
# fuzz_shell_x: decoders that stand in the shell or on the command line.
$(O)/tests/fuzz/fuzz_shell_%: $(O)/tests/fuzz/fuzz_shell_%.o $(O)/tests/fuzz/driver.o $(CLI_OBJ) $(SHELL_LIB) $(CORE_LIB)
	$(Q)$(CC) $(SAN) -o $@ $< $(O)/tests/fuzz/driver.o $(filter-out %/main.o,$(CLI_OBJ)) $(SHELL_LIB) $(CORE_LIB) $(LDLIBS)
$(O)/tests/it/%: $(O)/tests/it/%.o $(IT_LIB_OBJ) $(SHELL_LIB) $(CORE_LIB)
	$(Q)$(CC) $(SAN) -o $@ $< $(IT_LIB_OBJ) $(SHELL_LIB) $(CORE_LIB) $(LDLIBS) -lcmocka
$(O)/tests/tsan/%: $(O)/tests/tsan/%.o $(TSAN_LIB_OBJ) $(TSAN_SHELL_OBJ) $(CORE_LIB)
	$(Q)$(CC) $(SAN) -o $@ $< $(TSAN_LIB_OBJ) $(TSAN_SHELL_OBJ) $(CORE_LIB) $(LDLIBS)
$(O)/tests/bench/%: $(O)/tests/bench/%.o $(BENCH_LIB_OBJ) $(SHELL_LIB) $(CORE_LIB)
	$(Q)$(CC) $(SAN) -o $@ $< $(BENCH_LIB_OBJ) $(SHELL_LIB) $(CORE_LIB) $(LDLIBS) -lyajl

tsan-bins: $(TSAN_BIN)
test-bins: $(O)/tocsin $(UNIT_BIN) $(SIM_BIN) $(FUZZ_BIN) $(IT_BIN)
bench-bins: $(BENCH_BIN)

unit:
	$(Q)$(MAKE) -j$(JOBS) SANITIZE=$(TEST_SANITIZE) test-bins
	$(Q)tests/run.sh unit

test: deps
	$(Q)$(MAKE) -j$(JOBS) SANITIZE=$(TEST_SANITIZE) test-bins
	$(Q)$(MAKE) -j$(JOBS) all $(addprefix build/release/,$(patsubst $(O)/%,%,$(SIM_BIN)) tests/prop/prop_plan tests/prop/prop_churn tests/bench/bench_parts tests/bench/bench_plan)
	$(Q)$(MAKE) -j$(JOBS) SANITIZE=thread tsan-bins
	$(Q)tests/run.sh all

demo: deps
	$(Q)$(MAKE) -j$(JOBS) all
	$(Q)build/tocsin demo $(DEMO_ARGS)

sim:
	$(Q)$(MAKE) -j$(JOBS) $(addprefix build/release/,$(patsubst $(O)/%,%,$(SIM_BIN)))
	$(Q)for s in $(patsubst $(O)/%,build/release/%,$(SIM_BIN)); do $$s --seed $(SEED) --seeds $(SEEDS) || exit 1; done

soak: deps
	@test -x tests/it/soak.py || { echo 'make soak: the kill matrix is not written yet'; exit 1; }
	$(Q)$(MAKE) -j$(JOBS) all
	$(Q)tests/it/soak.py
	$(Q)tests/it/services.sh start kafka redis && { tests/it/it_catchup.py build/tocsin 12000000; rc=$$?; tests/it/services.sh stop; exit $$rc; }

bench:
	$(Q)tests/deps.sh bench
	$(Q)$(MAKE) -j$(JOBS) all $(if $(BENCH_BIN),bench-bins)
	$(Q)for b in $(BENCH_BIN) tests/bench/bench_*.sh; do $$b || exit 1; done

check-conformance: deps
	$(Q)$(MAKE) -j$(JOBS) all
	$(Q)tests/conformance.sh

fuzz:
	$(Q)$(MAKE) -j$(JOBS) SANITIZE=$(TEST_SANITIZE) test-bins
	$(Q)build/asan/tests/fuzz/fuzz_$(TARGET) tests/fuzz/corpus/$(TARGET) --mutate $(MUTATIONS) --seed $(SEED)

lint:
	$(Q)tests/lint.sh

format:
	$(Q)git diff --name-only --diff-filter=ACM HEAD -- '*.c' '*.h' | xargs -r clang-format -i

install: all
	install -D -m 755 $(shell readlink -f build/tocsin 2>/dev/null) $(DESTDIR)$(PREFIX)/bin/tocsin
	$(Q)for d in schemas topics docker/rules; do \
	  for f in $$(find $$d -type f); do install -D -m 644 $$f $(DESTDIR)$(PREFIX)/share/tocsin/$$f; done; done

clean:
	rm -rf build

-include $(CORE_OBJ:.o=.d) $(SHELL_OBJ:.o=.d) $(CLI_OBJ:.o=.d)
-include $(wildcard $(O)/tests/*/*.d)
