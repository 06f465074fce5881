"""The pytest plugin's part for whole programs: recorded daemons, command lines, and the checks of servers."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from poppo_ipc.testing import Cassette, CliResult

__all__ = ["cassette", "poppo_cassette", "poppo_conformance", "run_cli"]

_FAILED: Final = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options for recording, and for the checks of a server."""
    group = parser.getgroup("poppo_ipc")
    group.addoption(
        "--poppo-record",
        choices=["once", "new", "none", "all"],
        help="what cassettes record: once (where there is none; the default, unless POPPO_RECORD says otherwise), new "
        "(also what a cassette does not have), none, all (everything anew)",
    )
    group.addoption(
        "--poppo-record-from",
        metavar="ADDRESS",
        help="the daemon to record, whose token POPPO_TOKEN holds; a new one of its own for each test by default",
    )
    group.addoption("--poppo-socket", metavar="ADDRESS", help="the server that poppo_ipc.testing.conformance checks")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether the test has failed: what it came to is not kept then."""
    report = yield
    if report.when == "call" and report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture
def poppo_cassette() -> dict[str, Any]:
    """Further arguments of `Cassette` for the fixture `cassette`: `upstream`, `secrets`, `scrub`. Override it."""
    return {}


@pytest.fixture
def cassette(request: pytest.FixtureRequest, poppo_cassette: dict[str, Any]) -> Iterator[Cassette]:
    """The daemon's part of this test, from `cassettes/MODULE/TEST.json` beside the test file, or recorded to it.

    `<tmp_path>` stands in it for the test's temporary directory, where the test has one.
    """
    from poppo_ipc.client import token_from_environment
    from poppo_ipc.testing import Cassette

    options: dict[str, Any] = {"mode": request.config.getoption("--poppo-record")}
    source = request.config.getoption("--poppo-record-from")
    if source is not None:
        options |= {"upstream": source, "token": token_from_environment()}
    options |= poppo_cassette
    if "tmp_path" in request.fixturenames:
        tmp_path: Path = request.getfixturevalue("tmp_path")
        options["replace"] = {str(tmp_path): "<tmp_path>", **options.get("replace", {})}
    tape = Cassette(_place(request), **options)
    tape.start()
    failed = True
    try:
        yield tape
        failed = request.node.stash.get(_FAILED, False)
    finally:
        tape.stop(keep=not failed)
    if not failed:
        tape.verify()


def _place(request: pytest.FixtureRequest) -> Path:
    cls = request.node.getparent(pytest.Class)
    name = request.node.name if cls is None else f"{cls.name}.{request.node.name}"
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-")
    return Path(request.path.parent, "cassettes", request.path.stem, f"{plain}.json")


@pytest.fixture
def run_cli() -> Callable[..., CliResult]:
    """`poppo_ipc.testing.run_cli`: runs a command-line program, which finds the test's daemon by the environment."""
    from poppo_ipc.testing import run_cli as run

    return run


@pytest.fixture
def poppo_conformance(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The server that is checked: `address` and `token`, `patience`, `roles` and so on as `check_server` has them."""
    from poppo_ipc.client import token_from_environment

    address = request.config.getoption("--poppo-socket")
    if address is None:
        raise pytest.UsageError("name the server to check with --poppo-socket PATH")
    return {"address": address, "token": token_from_environment()}
