# SPDX-License-Identifier: Apache-2.0
"""The bytes that bodies are made of; programs/pattern.h makes the same ones."""

import hashlib

BLOCK_BYTES = 65521  # a prime: a slice put back at the wrong place does not fit


def _block():
    state, block = 1, bytearray(BLOCK_BYTES)
    for i in range(BLOCK_BYTES):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        block[i] = state >> 16 & 0xFF
    return bytes(block)


_BLOCK = _block()
_MORE = _BLOCK * 3


def pattern(size):
    """The first size bytes of the endless test pattern."""
    return (_BLOCK * (size // BLOCK_BYTES + 1))[:size]


def numbered_bodies(number):
    """The bodies (request, response) of exchange number of programs/pool.c."""
    request, response = number * 31 % BLOCK_BYTES, (number * 37 + 5) % BLOCK_BYTES
    return _MORE[request : request + number * 977 % 1500], _MORE[response : response + number * 1009 % 3000]


def tls_numbered_bodies(number):
    """The bodies (request, response) of exchange number of programs/tls_pool.c."""
    request, response = number * 31 % BLOCK_BYTES, (number * 37 + 5) % BLOCK_BYTES
    request_bytes = number * 7919 % 100000 if number % 8 == 1 else number * 977 % 1500
    response_bytes = number * 7927 % 100000 if number % 8 == 5 else number * 1009 % 3000
    return _MORE[request : request + request_bytes], _MORE[response : response + response_bytes]


def sha(data):
    """SHA-256 of data in hex."""
    return hashlib.sha256(data).hexdigest()
