"""Binding args as a server does, in one call."""

from __future__ import annotations

from typing import Any

import pytest

from poppo_ipc.commands import Router
from poppo_ipc.errors import InvalidArgs


def bind(args_type: Any, args: Any) -> Any:
    """The instance of `args_type` that a handler gets for these args."""
    router = Router()

    @router.command("x", args=args_type)
    def handler(args):  # type: ignore[no-untyped-def]
        return args

    (value,), kwargs = router.commands["x"].bind(args)
    assert kwargs == {}
    return value


def refuse(args_type: Any, args: Any) -> tuple[str, str, str]:
    """Message, field and problem of the error that these args get."""
    with pytest.raises(InvalidArgs) as caught:
        bind(args_type, args)
    assert caught.value.details is not None
    return caught.value.message, caught.value.details["field"], caught.value.details["problem"]
