# SPDX-License-Identifier: Apache-2.0
#
#   make              build the helper module
#   make deps         install what building, running and the demo need (Debian packages; root)
#   make demo         trace a web server and curl for a few seconds (root)
#   make deps-test    install what the tests need: Debian packages, npm packages into build/npm (root)
#   make check        run all tests (root); tests/run NAME... runs some
#   make install      into DESTDIR and PREFIX; make uninstall takes it away again
CC ?= gcc
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -pthread -D_GNU_SOURCE -Wall -Wextra -Werror -fPIC -fvisibility=default $(CFLAGS)

PREFIX ?= /usr/local
DESTDIR ?=
TREE = $(DESTDIR)$(PREFIX)/lib/plainsight
BIN = $(DESTDIR)$(PREFIX)/bin
MAN = $(DESTDIR)$(PREFIX)/share/man/man8
DOC = $(DESTDIR)$(PREFIX)/share/doc/plainsight

DEPS_BUILD = gcc libbrotli-dev libc6-dev libcapstone-dev libhyperscan-dev libpcre2-dev libzstd-dev make nettle-dev \
	uthash-dev zlib1g-dev
DEPS_RUN = libbpfcc libbrotli1 libcurl4 libhyperscan5 libnettle8 libpcre2-8-0 libzstd1 lua-argparse lua-cjson luajit \
	zlib1g
LIBS = -lbrotlidec -lhs -lm -lnettle -lpcre2-8 -lz -lzstd
DEPS_DEMO = curl nginx openssl

SOURCES = $(wildcard src/*.c)
OBJECTS = $(SOURCES:src/%.c=build/src/%.o)
TOOLS = $(wildcard tools/*)
TOOL_NAMES = $(TOOLS:tools/%=%)

.PHONY: all deps list-deps-build list-deps-run deps-test demo check lint install install-rock install-tree uninstall clean
all: build/libplainsight.so

build/libplainsight.so: $(OBJECTS)
	$(CC) -shared $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

build/src/%.o: src/%.c $(wildcard src/*.h) probes/include/event.h
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

deps:
	scripts/apt-install $(DEPS_BUILD) $(DEPS_RUN) $(DEPS_DEMO)

# For those who install them in their own way, such as deploy/Dockerfile.
list-deps-build:
	@echo $(DEPS_BUILD)

list-deps-run:
	@echo $(DEPS_RUN)

deps-test: deps
	scripts/apt-install $$(grep -hv '^#' tests/*/packages.txt | sort -u)
	scripts/npm-install

demo: all
	@examples/demo

check:
	@tests/run

lint:
	@tests/run lint

install: install-tree
	install -d $(BIN)
	for tool in $(TOOL_NAMES); do ln -sf ../lib/plainsight/tools/$$tool $(BIN)/$$tool || exit 1; done

# LuaRocks copies what it finds in bin/ and lib/ of a rock somewhere else: no relative link holds, and TREE is another.
install-rock: install-tree
	install -d $(BIN)
	for tool in $(TOOL_NAMES); do \
		printf '#!/bin/sh\nexec "%s/tools/%s" "$$@"\n' '$(TREE)' "$$tool" >$(BIN)/$$tool && \
		chmod 755 $(BIN)/$$tool || exit 1; \
	done

# The installed tree has the layout of the checkout (lua/plainsight/paths.lua).
install-tree: all
	for file in $$(find lua probes -type f) src/plainsight*.h; do \
		install -D -m 644 $$file $(TREE)/$$file || exit 1; \
	done
	install -D -m 755 -t $(TREE)/tools $(TOOLS)
	install -D -m 755 -t $(TREE)/build build/libplainsight.so
	install -D -m 644 -t $(MAN) man/*.8
	install -D -m 644 -t $(DOC) README.md LICENSE docs/export.md docs/json.md docs/recording.md examples/*.txt \
		examples/*.psrec

uninstall:
	rm -rf $(TREE) $(DOC)
	for tool in $(TOOL_NAMES); do rm -f $(BIN)/$$tool $(MAN)/$$tool.8; done

clean:
	rm -rf build
