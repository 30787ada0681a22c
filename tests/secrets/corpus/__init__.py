# SPDX-License-Identifier: Apache-2.0
"""Exchanges with labelled secrets, and with what only looks like them. See tests/secrets/run."""
