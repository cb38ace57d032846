# SPDX-License-Identifier: Apache-2.0
"""Add the options of the test suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --write-golden."""
    parser.addoption("--write-golden", action="store_true", help="rewrite expected reports and state counts")
