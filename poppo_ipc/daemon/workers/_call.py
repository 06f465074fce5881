"""Function tasks, in the worker: find the function, call it, check its result. Standard library and msgspec only."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from math import isfinite
from typing import Any, Final, NamedTuple

import msgspec

from poppo_ipc.daemon.workers._messages import MAX_FRAME_BYTES, NESTING, Target

__all__ = ["Result", "call_function", "failed"]

#: Bytes of an error's text. It is one line in lists and events; the traceback is in the output.
_ERROR_BYTES: Final = 2048

#: Bytes that a message needs around its result.
_OVERHEAD: Final = 8192

_MAIN: Final = "__mp_main__"
_NULL: Final = b"null"
_loaded: dict[Target, Callable[..., Any]] = {}


class Result(NamedTuple):
    """How a task ended in the worker: `value` is JSON."""

    ok: bool
    value: bytes
    error: str | None


def failed(error: str) -> Result:
    """A result that is an error only, brought into one line of bounded length."""
    line = " ".join(error.split())
    data = line.encode("utf-8", "backslashreplace")
    if len(data) > _ERROR_BYTES:
        data = data[: _ERROR_BYTES - 3] + "…".encode()
    return Result(False, _NULL, data.decode("utf-8", "ignore"))


def call_function(target: Target, payload: bytes | msgspec.Raw) -> Result:
    """Call what `target` names with the payload.

    Never raises on account of the function: what it raises becomes the error, SystemExit and KeyboardInterrupt too,
    and the traceback goes to `sys.stderr`.
    """
    try:
        function = _loaded.get(target)
        if function is None:
            function = _loaded[target] = _load(target)
    except BaseException as error:
        _print_traceback(error)
        return failed(f"Cannot import {target.qualname} of {target.file or target.module}: {describe(error)}")
    try:
        arguments = msgspec.json.decode(payload)
        if target.whole:
            value = _call(function, target.backend, (arguments,), {})
        elif arguments is None:
            value = _call(function, target.backend, (), {})
        elif type(arguments) is dict:
            value = _call(function, target.backend, (), arguments)
        else:
            return failed("The payload must be an object: its members are the function's keyword arguments")
        return _encode(value)
    except BaseException as error:
        _print_traceback(error)
        return failed(describe(error))


def _call(function: Callable[..., Any], backend: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if backend == "sync":
        return function(*args, **kwargs)
    if backend == "trio":
        import trio

        async def run() -> Any:
            return await function(*args, **kwargs)

        return trio.run(run)
    import asyncio

    return asyncio.run(function(*args, **kwargs))


def _load(target: Target) -> Callable[..., Any]:
    module = _load_main(target.file) if target.file is not None else importlib.import_module(target.module)
    found: Any = module
    for part in target.qualname.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{target.qualname} is no function")
    return found  # type: ignore[no-any-return]  # the check makes it a function of any kind


def _load_main(file: str) -> Any:
    """The daemon's main module, run under another name, so that what its `__main__` guard holds does not run."""
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_loader

    loaded = sys.modules.get(_MAIN)
    if loaded is not None:
        return loaded
    spec = spec_from_loader(_MAIN, SourceFileLoader(_MAIN, file))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[_MAIN] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[_MAIN]
        raise
    # Pickles made by the daemon name `__main__`.
    sys.modules["__main__"] = module
    return module


def _encode(value: Any) -> Result:
    if value is None:
        return Result(True, _NULL, None)
    problem = _json_problem(value, "$", 0)
    if problem is not None:
        return failed(f"The result is no JSON: {problem}")
    try:
        data = msgspec.json.encode(value)
    except (ValueError, OverflowError) as error:
        return failed(f"The result is no JSON: {error}")
    if len(data) > MAX_FRAME_BYTES - _OVERHEAD:
        return failed(f"The result has {len(data)} bytes of JSON, over the limit of {MAX_FRAME_BYTES - _OVERHEAD}")
    return Result(True, data, None)


def _json_problem(value: Any, path: str, depth: int) -> str | None:
    """What keeps `value` from being JSON, with its place; None where nothing does.

    msgspec alone would quietly turn dates, bytes, sets and NaN into something else.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return None
    if isinstance(value, float):
        return None if isfinite(value) else f"{path} is {value}"
    if depth >= NESTING:
        return f"it is nested deeper than {NESTING}, or contains itself"
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            problem = _json_problem(item, f"{path}[{index}]", depth + 1)
            if problem is not None:
                return problem
        return None
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                return f"{path} has a key of type {type(key).__name__}"
            problem = _json_problem(item, f"{path}.{key}", depth + 1)
            if problem is not None:
                return problem
        return None
    return f"{path} is of type {type(value).__name__}"


def describe(error: BaseException) -> str:
    """`Type: message`, or the type alone."""
    try:
        text = str(error)
    except Exception:
        text = "(its message cannot be shown)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _print_traceback(error: BaseException) -> None:
    """To `sys.stderr`, from the function on: the frames of this file tell an author nothing."""
    import traceback

    where = error.__traceback__
    while where is not None and where.tb_frame.f_code.co_filename == __file__:
        where = where.tb_next
    try:
        traceback.print_exception(type(error), error, where or error.__traceback__)
    except Exception as second:
        print(f"{type(error).__name__} (its traceback cannot be shown: {type(second).__name__})", file=sys.__stderr__)
