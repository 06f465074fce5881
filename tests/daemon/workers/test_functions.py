"""What can be registered, and what the package exports."""

from __future__ import annotations

import ast
import functools
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from poppo_ipc.daemon import workers
from poppo_ipc.daemon.workers import Functions, PoolOptions, TaskContext, current_task
from poppo_ipc.errors import DeclarationError, NotFound

from . import functions


def _local() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


def _positional(a: int, b: int, /) -> None: ...


def _generator() -> Any:
    yield 1


async def _async_generator() -> Any:
    yield 1


@functools.wraps(functions.noop)
def _wrapper() -> None: ...


_lambda = lambda: None  # noqa: E731


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (_lambda, "which a worker cannot import"),
        (_local(), "which a worker cannot import"),
        (functools.partial(functions.noop), "is no function"),
        (_wrapper, "so a worker would run something else"),
        (_positional, "'a' cannot be given by name"),
        (_generator, "is a generator"),
        (_async_generator, "is a generator"),
        (3, "is no function"),
    ],
)
def test_what_a_worker_could_not_run_is_refused_when_it_is_registered(function: Any, problem: str) -> None:
    registry = Functions()
    with pytest.raises(DeclarationError, match=problem):
        registry.register("f", function)
    assert registry.names == ()


def test_names_are_unique_and_command_is_taken() -> None:
    registry = Functions()
    registry.register("noop", functions.noop)
    for name in ("noop", "command", ""):
        with pytest.raises(DeclarationError, match="empty or taken"):
            registry.register(name, functions.noop)
    with pytest.raises(DeclarationError, match="backend"):
        registry.register("other", functions.noop, backend="curio")  # type: ignore[arg-type]
    assert registry.names == ("noop",)
    with pytest.raises(NotFound):
        registry.get("other")


@pytest.mark.parametrize(
    ("function", "backend", "whole"),
    [
        (functions.add, "sync", False),
        (functions.echo, "sync", True),
        (functions.size_of, "sync", True),
        (functions.fail, "sync", False),
        (functions.trio_sum, "asyncio", False),
    ],
)
def test_how_a_function_is_called_is_decided_when_it_is_registered(function: Any, backend: str, whole: bool) -> None:
    registry = Functions()
    registry.register("f", function, backend="asyncio")
    target = registry.get("f").target
    assert (target.module, target.qualname, target.file) == (functions.__name__, function.__name__, None)
    assert (target.backend, target.whole) == (backend, whole)


def test_there_is_no_current_task_outside_a_worker() -> None:
    with pytest.raises(LookupError, match="No task runs"):
        current_task()
    assert TaskContext("t", 1) == TaskContext("t", 1)


@pytest.mark.parametrize("wrong", [{"count": -1}, {"kill_grace": 0.0}, {"max_tasks": 0}, {"max_bytes": -5}])
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PoolOptions(**wrong)


def test_the_lazy_names_are_those_that_type_checkers_see() -> None:
    tree = ast.parse(Path(workers.__file__ or "").read_text())
    declared = {
        alias.asname: (node.module or "").rpartition(".")[2]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert declared == workers._HOMES
    for name, home in declared.items():
        assert getattr(workers, name) is getattr(importlib.import_module(f"{workers.__name__}.{home}"), str(name))
    with pytest.raises(AttributeError):
        workers.nothing  # noqa: B018


def test_importing_the_package_loads_no_trio() -> None:
    code = "import sys, poppo_ipc.daemon.workers as w; w.current_task; sys.exit('trio' in sys.modules)"
    root = str(Path(workers.__file__ or "").parents[3])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
