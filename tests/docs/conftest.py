# SPDX-License-Identifier: Apache-2.0
"""Give the tests of the documentation their option and their workshop."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-docs",
        action="store_true",
        default=False,
        help="write what commands and refusals really say into README.md and docs/*.md, in place",
    )


@pytest.fixture
def write_docs(request: pytest.FixtureRequest) -> bool:
    """Tell whether outputs are to be written, not compared."""
    return bool(request.config.getoption("--write-docs", default=False))
