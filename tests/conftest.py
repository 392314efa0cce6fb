"""Where the machine is known to have what a marked test needs, skipping it is a failure.

`CI_REQUIRE` names the markers, with commas between them.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

REQUIRED = frozenset(filter(None, os.environ.get("CI_REQUIRE", "").split(",")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and any(map(item.get_closest_marker, REQUIRED)):
        report.outcome = "failed"
        report.longrepr = f"skipped, and CI_REQUIRE forbids it: {report.longrepr}"
    return report
