#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs fuzz targets, each over its corpus and then on; prints TAP.
# Target NAME is BUILD_DIR/fuzz_NAME with corpus/NAME and, if there is one, NAME.dict.
# Usage: check.sh BUILD_DIR SECONDS NAME...
# SECONDS 0: so many runs from the corpus alone with a fixed seed, so that the same sources give the same result twice.
build=$1 seconds=$2
fixed_runs=60000
shift 2
failed=0
number=0

report() { # STATUS LOG TITLE
	number=$((number + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $number - $3"
	else
		echo "not ok $number - $3"
		tail -n 40 "$2" | sed 's/^/# /'
		failed=1
	fi
}

for name in "$@"; do
	program=$build/fuzz_$name corpus=corpus/$name work=$build/$name
	mkdir -p "$work/found" "$work/artifacts"
	"$program" -runs=0 -artifact_prefix="$work/artifacts/" "$corpus" >"$work/corpus.log" 2>&1
	report $? "$work/corpus.log" "fuzz_$name: corpus of $(find "$corpus" -type f | wc -l) inputs"
	set -- -max_len=4096
	[ "$name" != elf ] || set -- -max_len=10240 # headers and tables of a small library
	[ ! -f "$name.dict" ] || set -- "$@" -dict="$name.dict"
	if [ "$seconds" -eq 0 ]; then
		what="$fixed_runs runs"
		rm -rf "$work/fresh" && mkdir "$work/fresh"
		set -- "$@" -seed=1 -runs="$fixed_runs" -timeout=60 "$work/fresh" "$corpus"
	else
		what="$seconds seconds"
		set -- "$@" -max_total_time="$seconds" -timeout=5 "$work/found" "$corpus"
	fi
	"$program" -rss_limit_mb=512 -artifact_prefix="$work/artifacts/" "$@" >"$work/run.log" 2>&1
	report $? "$work/run.log" "fuzz_$name: $what"
	grep -E '^Done' "$work/run.log" | sed 's/^/# /'
done

# Each difference that fuzz_http1_diff.c accepts has an example that shows it and is described.
explain() { # FILE; libFuzzer may run an input twice
	PS_EXPLAIN=1 "$build/fuzz_http1_diff" "$1" 2>&1 | sed -n 's/^difference //p' | sort -u
}
if [ -x "$build/fuzz_http1_diff" ]; then
	named=$build/differences.named shown=$build/differences.shown described=$build/differences.described
	sed -n '/difference_names\[\]/,/};/p' fuzz_http1_diff.c | grep -o '"[a-z-]*"' | tr -d '"' | sort >"$named"
	sed -n 's/^### //p' ../../docs/http1-differences.md | sort >"$described"
	for file in corpus/http1_diff/difference-*; do
		[ "$(explain "$file")" != "${file##*difference-}" ] || echo "${file##*difference-}"
	done | sort >"$shown"
	diff "$named" "$shown" >"$build/differences.log"
	report $? "$build/differences.log" "fuzz_http1_diff: each of $(wc -l <"$named") differences has an example"
	diff "$named" "$described" >"$build/differences.log"
	report $? "$build/differences.log" "fuzz_http1_diff: docs/http1-differences.md describes each"
fi
echo "1..$number"
exit $failed
