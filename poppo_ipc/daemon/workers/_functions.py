"""The functions that tasks can name, each known by where a worker can import it."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_origin

from attrs import frozen

from poppo_ipc.daemon.workers._messages import Backend, Target
from poppo_ipc.daemon.workers._model import COMMAND
from poppo_ipc.errors import DeclarationError, NotFound

__all__ = ["FunctionRef", "Functions"]


@frozen(kw_only=True)
class FunctionRef:
    """Where a worker finds a function, and how it calls it."""

    name: str
    target: Target


class Functions:
    """The registry of task functions.

    A worker is a process of its own, so a function must be found by importing its module: no lambda, no closure,
    nothing that exists only in the daemon's memory. A function of the main module is found by that module's file,
    which a worker runs under the name `__mp_main__`, as `multiprocessing` does: guard what only the daemon is to do
    with `if __name__ == "__main__":`.
    """

    def __init__(self) -> None:
        self._refs: dict[str, FunctionRef] = {}

    def register(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        backend: Literal["trio", "asyncio"] = "trio",
    ) -> None:
        """Let tasks name `function` by `name`.

        A task's payload becomes its keyword arguments; a function of a single parameter that is named `payload`, or
        annotated as a dict, gets the payload whole. An `async def` runs on `backend`, in a loop of its own.

        Raises:
            DeclarationError: the name is taken or empty, or a worker could not import or call the function.
        """
        if not name or name == COMMAND or name in self._refs:
            raise DeclarationError(f"A task function cannot be named {name!r}: the name is empty or taken")
        if backend not in ("trio", "asyncio"):
            raise DeclarationError(f"Task function {name!r}: the backend must be 'trio' or 'asyncio', not {backend!r}")
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise DeclarationError(f"Task function {name!r} is a generator; return a list instead")
        module, qualname, file = _whereabouts(name, function)
        runs_on: Backend = backend if inspect.iscoroutinefunction(function) else "sync"
        whole = _takes_whole(name, function)
        target = Target(module=module, qualname=qualname, file=file, backend=runs_on, whole=whole)
        self._refs[name] = FunctionRef(name=name, target=target)

    def get(self, name: str) -> FunctionRef:
        """Where the function of this name is. Raises NotFound."""
        ref = self._refs.get(name)
        if ref is None:
            raise NotFound(f"No task function is named {name!r}", {"type": name, "known": sorted(self._refs)})
        return ref

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are registered, in that order."""
        return tuple(self._refs)


def _whereabouts(name: str, function: Callable[..., Any]) -> tuple[str, str, str | None]:
    """The module, qualified name and, for the main module, file under which a worker finds `function`."""
    module_name = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if not callable(function) or not isinstance(module_name, str) or not isinstance(qualname, str):
        raise DeclarationError(f"Task function {name!r} is no function: give a function or class of a module")
    if "<" in qualname:
        raise DeclarationError(
            f"Task function {name!r} is {qualname} of {module_name}, which a worker cannot import: "
            "define it at the top level of a module"
        )
    module = sys.modules.get(module_name)
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is not function:
        raise DeclarationError(
            f"Task function {name!r} is not what {module_name}.{qualname} names, so a worker would run something else"
        )
    if module_name != "__main__":
        return module_name, qualname, None
    spec = getattr(module, "__spec__", None)
    if spec is not None:
        # `python -m package.module`: importable by its real name.
        return str(spec.name), qualname, None
    file = getattr(module, "__file__", None)
    if not file:
        raise DeclarationError(f"Task function {name!r} was typed in, not loaded from a file: no worker can import it")
    return "__main__", qualname, os.path.abspath(file)


def _takes_whole(name: str, function: Callable[..., Any]) -> bool:
    """Whether the payload is the function's one argument. Raises DeclarationError where it cannot be called."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise DeclarationError(f"Task function {name!r} has no signature that could be read") from error
    if len(parameters) == 1 and parameters[0].kind not in (
        inspect.Parameter.VAR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.KEYWORD_ONLY,
    ):
        parameter = parameters[0]
        if parameter.name == "payload" or _is_dict(parameter.annotation):
            return True
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and parameter.default is inspect.Parameter.empty:
            raise DeclarationError(f"Task function {name!r}: {parameter.name!r} cannot be given by name")
    return False


def _is_dict(annotation: Any) -> bool:
    if isinstance(annotation, str):
        # `from __future__ import annotations` leaves text.
        return annotation.partition("[")[0].rpartition(".")[2] in ("dict", "Dict", "Mapping")
    plain = get_origin(annotation) or annotation
    return plain is dict or plain is Mapping
