# SPDX-License-Identifier: Apache-2.0
"""Registry and runner of the cases; results as TAP on stdout."""

import fnmatch
import signal
import time
import traceback

CASE_SECONDS_MAX = 240

_cases = []


class Failure(Exception):
    """What a case saw is not what it expected; the text says both."""


class Skip(Exception):
    """The case cannot be judged on this machine; the text says what is missing."""


class _Timeout(Exception):
    pass


def case(function):
    """Decorator: function(t) is an end-to-end case; its doc string is its title."""
    _cases.append(function)
    return function


def check(condition, message):
    """Fail the running case with message unless condition holds."""
    if not condition:
        raise Failure(message)


def equal(got, expected, what):
    """Fail the running case unless got equals expected."""
    check(got == expected, f"{what}: expected {expected!r}, got {got!r}")


def _alarm(_signal, _frame):
    raise _Timeout()


def _matches(name, patterns):
    return not patterns or any(fnmatch.fnmatch(name, p) or p in name for p in patterns)


def _run_one(function, make_context):
    """Run one case; returns (ok, directive or None, diagnostic lines)."""
    context = make_context(function.__name__)
    ok, directive, lines = True, None, []
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(CASE_SECONDS_MAX)
    try:
        function(context)
    except Skip as reason:
        directive = f"SKIP {reason}"
    except Failure as failure:
        ok, lines = False, str(failure).splitlines()
    except _Timeout:
        ok, lines = False, [f"not done after {CASE_SECONDS_MAX} s", *traceback.format_exc().splitlines()[-12:]]
    except Exception:  # a crash of one case must not hide the others
        ok, lines = False, traceback.format_exc().splitlines()
    finally:
        signal.alarm(0)
        lines = context.diagnostics + lines + ([] if ok else context.evidence())
        context.close()
    return ok, directive, lines


def run(patterns, make_context):
    """Run the cases that match; prints TAP and returns the exit status."""
    selected = [f for f in _cases if _matches(f.__name__, patterns)]
    print(f"1..{len(selected)}", flush=True)
    failed = 0
    for number, function in enumerate(selected, 1):
        started = time.monotonic()
        ok, directive, lines = _run_one(function, make_context)
        failed += not ok
        suffix = f" # {directive}" if directive else ""
        print(f"{'ok' if ok else 'not ok'} {number} - {function.__name__}: {function.__doc__}{suffix}")
        for line in lines:
            print(f"# {line}")
        print(f"# {time.monotonic() - started:.1f} s", flush=True)
    if not selected:
        print("# no case has such a name")
    return 1 if failed or not selected else 0
