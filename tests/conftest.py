# SPDX-License-Identifier: Apache-2.0
"""Add the options of the test suite, and say on how many CPUs it runs."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --write-golden."""
    parser.addoption("--write-golden", action="store_true", help="rewrite expected reports and state counts")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run tests that write one after the other, since several of them write into one file."""
    return 0 if config.option.write_golden or getattr(config.option, "write_docs", False) else None
