# SPDX-License-Identifier: Apache-2.0
"""Measure what the documentation claims; each module is a command: `python -m benchmarks.NAME`."""
