#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs test programs, each argument one, and joins their TAP into one stream.
# The label says which build the programs belong to.
# Usage: check.sh LABEL:PROGRAM...
count=0
failed=0
for arg in "$@"; do
	label=${arg%%:*}
	program=${arg#*:}
	output=$("$program")
	status=$?
	lines=$(printf '%s\n' "$output" | grep -c -E '^(not )?ok ')
	printf '%s\n' "$output" | awk -v n="$count" -v label="$label" '
		/^1\.\./ { next }
		/^(not )?ok / { sub(/ok [0-9]+ - /, "ok " ++n " - " label ": ") }
		{ print }'
	count=$((count + lines))
	if [ "$status" -ne 0 ]; then
		failed=1
		count=$((count + 1))
		echo "not ok $count - $label: $(basename "$program") exited with status $status"
	fi
done
echo "1..$count"
exit $failed
