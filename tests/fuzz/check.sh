#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a fuzz target over its corpus and then for some seconds; prints TAP.
# Usage: check.sh PROGRAM CORPUS DICTIONARY WORK_DIR SECONDS
program=$1 corpus=$2 dictionary=$3 work=$4 seconds=$5
mkdir -p "$work/found" "$work/artifacts"
name=$(basename "$program")
failed=0

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

number=0
"$program" -runs=0 -artifact_prefix="$work/artifacts/" "$corpus" >"$work/corpus.log" 2>&1
report $? "$work/corpus.log" "$name: corpus of $(find "$corpus" -type f | wc -l) inputs"
"$program" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=512 -max_len=4096 -dict="$dictionary" \
	-artifact_prefix="$work/artifacts/" "$work/found" "$corpus" >"$work/run.log" 2>&1
report $? "$work/run.log" "$name: $seconds seconds"
grep -E '^Done' "$work/run.log" | sed 's/^/# /'
echo "1..$number"
exit $failed
