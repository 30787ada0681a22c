# SPDX-License-Identifier: Apache-2.0
# Lists every field of the structs between the cdef markers of the given
# headers as F(struct, field), and S(struct) after the last of each.
function strip_comments(line,    start, end) {
	if (in_comment) {
		end = index(line, "*/")
		if (!end)
			return ""
		in_comment = 0
		line = substr(line, end + 2)
	}
	while (start = index(line, "/*")) {
		end = index(substr(line, start), "*/")
		if (!end) {
			in_comment = 1
			return substr(line, 1, start - 1)
		}
		line = substr(line, 1, start - 1) substr(line, start + end + 1)
	}
	return line
}
/\/\* cdef begin \*\// { shared = 1; next }
/\/\* cdef end \*\// { shared = 0; next }
!shared { next }
{ line = strip_comments($0) }
line ~ /^struct [a-z0-9_]+ \{/ { split(line, words, " "); name = words[2]; next }
name != "" && line ~ /^};/ { print "S(" name ")"; name = ""; next }
name != "" && match(line, /[a-z0-9_]+(\[[A-Za-z0-9_]+\])*;/) {
	field = substr(line, RSTART, RLENGTH - 1)
	sub(/\[.*/, "", field)
	print "F(" name ", " field ")"
}
