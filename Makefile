# SPDX-License-Identifier: Apache-2.0
CC ?= gcc
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -fPIC -fvisibility=default $(CFLAGS)

SOURCES = $(wildcard src/*.c)
OBJECTS = $(SOURCES:src/%.c=build/src/%.o)

.PHONY: all clean
all: build/libplainsight.so

build/libplainsight.so: $(OBJECTS)
	$(CC) -shared $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^

build/src/%.o: src/%.c $(wildcard src/*.h) probes/include/event.h
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

clean:
	rm -rf build
