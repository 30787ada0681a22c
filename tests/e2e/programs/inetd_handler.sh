#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Answers one request on standard input and output; logs it to the file $1.
read -r method target version
while read -r line && [ "$line" != "$(printf '\r')" ]; do :; done
echo "{\"side\":\"server\",\"pid\":$$,\"method\":\"$method\",\"target\":\"$target\",\"status\":200,\"response_bytes\":6}" >>"$1"
printf 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Version: %s\r\n\r\nhello\n' "${version%?}"
