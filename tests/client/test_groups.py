"""The standard commands by name: the same on both clients, and all of them."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

from poppo_ipc.client import _groups, _sync_groups
from poppo_ipc.commands import CommandSpec, encode_args
from poppo_ipc.commands.standard import STANDARD_COMMANDS, TaskSubmitArgs

VALUES: dict[str, Any] = {
    "str": "x",
    "str | None": "x",
    "int": 3,
    "bool": True,
    "Any": {"a": 1},
    "dict[str, Any]": {"a": 1},
    "dict[str, Any] | None": {"a": 1},
    "standard.TaskState | None": "failed",
    "standard.TaskSubmitArgs": TaskSubmitArgs("build"),
}


class Recorder:
    """Takes the place of a client, and remembers what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def call(self, spec: CommandSpec[Any, Any], args: Any = None) -> Any:
        assert isinstance(args, spec.args) or (args is None and not inspect.signature(spec.args).parameters)
        self.asked.append((spec.name, {} if args is None else encode_args(args)))

    stream = call

    def subscribe(self, *patterns: str) -> None:
        self.asked += [("events.subscribe", {}), ("events.unsubscribe", {})]  # at the end of the block


def methods(groups: Any) -> dict[str, inspect.Signature]:
    found = {}
    for group_name, group in vars(groups).items():
        for name, method in inspect.getmembers(group, inspect.ismethod):
            if not name.startswith("_"):
                found[f"{group_name}.{name}"] = inspect.signature(method)
    return found


def asked(groups: Any, recorder: Recorder) -> list[tuple[str, dict[str, Any]]]:
    for path, signature in methods(groups).items():
        group, name = path.split(".")
        args = [VALUES[each.annotation] for each in signature.parameters.values()]
        result = getattr(getattr(groups, group), name)(*args)
        if inspect.iscoroutine(result):
            with contextlib.suppress(StopIteration, TypeError):  # the recorder's None cannot be awaited
                result.send(None)
    return recorder.asked


def test_both_clients_have_the_same_methods() -> None:
    asynchronous = methods(_groups.Groups(Recorder()))  # type: ignore[arg-type]
    synchronous = methods(_sync_groups.SyncGroups(Recorder()))  # type: ignore[arg-type]
    assert list(asynchronous) == list(synchronous)
    for name, signature in asynchronous.items():
        assert list(signature.parameters.values()) == list(synchronous[name].parameters.values()), name


def test_every_standard_command_has_a_method_that_sends_what_it_takes() -> None:
    recorders = Recorder(), Recorder()
    asynchronous = asked(_groups.Groups(recorders[0]), recorders[0])  # type: ignore[arg-type]
    synchronous = asked(_sync_groups.SyncGroups(recorders[1]), recorders[1])  # type: ignore[arg-type]
    assert asynchronous == synchronous
    assert {name for name, _ in synchronous} == {spec.name for spec in STANDARD_COMMANDS}
    assert ("project.add", {"path": "x", "name": "x", "config": {"a": 1}}) in synchronous
    assert ("task.retry", {"taskId": "x"}) in synchronous
