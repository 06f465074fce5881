"""What a handler's signature says, and which handlers are refused."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import pytest
from msgspec import Meta

from poppo_ipc.commands import Arg, Command, CommandSpec, Context, Kind, NoArgs, Router
from poppo_ipc.errors import DeclarationError, InvalidArgs

if TYPE_CHECKING:
    from poppo_ipc.commands import Context as Ctx


@attrs.frozen
class GreetArgs:
    user_name: str


@attrs.frozen
class Greeting:
    text_said: str


GREET = CommandSpec("greet", GreetArgs, Greeting, summary="Greet.", idempotent=True, scope="social")
WATCH: CommandSpec[NoArgs, None] = CommandSpec("watch", NoArgs, type(None), item=Greeting)

CTX: Any = object()


def declare(handler: Any, name: Any = "x", **options: Any) -> Command:
    router = Router()
    assert router.command(name, **options)(handler) is handler
    (command,) = router.commands.values()
    return command


def run(command: Command, args: dict[str, Any]) -> Any:
    return command.start(CTX, command.bind(args))


def test_parameters_are_the_fields() -> None:
    def add(ctx: Any, project_path: str, /, name: str | None = None, *, tags: list[str] = [], n: int = 1) -> Any:  # noqa: B006
        return ctx, project_path, name, tags, n

    command = declare(add)
    assert run(command, {"projectPath": "p"}) == (CTX, "p", None, [], 1)
    assert run(command, {"projectPath": "p", "name": "n", "tags": ["t"], "n": 2}) == (CTX, "p", "n", ["t"], 2)
    with pytest.raises(InvalidArgs, match="Missing argument 'projectPath'"):
        command.bind({})
    with pytest.raises(InvalidArgs, match="Unknown argument 'ctx'"):
        command.bind({"projectPath": "p", "ctx": 1})


def test_a_parameter_may_carry_its_text_doc_and_bounds() -> None:
    def scale(count: Annotated[int, Meta(ge=0), Arg(message="Invalid worker count", doc="How many.")]) -> int:
        return count

    command = declare(scale)
    assert run(command, {"count": 0}) == 0
    with pytest.raises(InvalidArgs, match=r"^Invalid worker count$"):
        command.bind({"count": -1})
    assert command.args_model.schema()["properties"]["count"] == {
        "type": "integer",
        "minimum": 0,
        "description": "How many.",
    }


def test_a_hole_before_a_value_that_was_given_is_left_to_the_function() -> None:
    def holes(a: int = 1, b: tuple[int, ...] = (2,), c: int = 3) -> Any:
        return a, b, c

    assert run(declare(holes), {"c": 9}) == (1, (2,), 9)
    assert run(declare(holes), {"b": [5]}) == (1, (5,), 3)
    assert run(declare(holes), {}) == (1, (2,), 3)


def test_one_parameter_of_an_attrs_class_takes_all_args() -> None:
    assert run(declare(lambda args: args, args=GreetArgs), {"userName": "a"}) == GreetArgs("a")

    def greet(ctx: Context, request: GreetArgs) -> Greeting:
        return Greeting(request.user_name)

    assert run(declare(greet), {"userName": "a"}) == Greeting("a")

    def by_name(*, request: GreetArgs) -> Greeting:
        return Greeting(request.user_name)

    assert run(declare(by_name), {"userName": "b"}) == Greeting("b")


def test_an_attrs_class_that_is_optional_or_not_alone_is_a_field() -> None:
    def optional(greet: GreetArgs = GreetArgs("nobody")) -> Any:
        return greet

    assert run(declare(optional), {}) == GreetArgs("nobody")
    assert run(declare(optional), {"greet": {"userName": "a"}}) == GreetArgs("a")

    def two(greet: GreetArgs, n: int) -> Any:
        return greet, n

    assert run(declare(two), {"greet": {"userName": "a"}, "n": 1}) == (GreetArgs("a"), 1)


def test_args_as_a_dict_is_the_object_as_it_came() -> None:
    def raw(ctx: Any, args: dict[str, Any]) -> Any:
        return args

    given = {"any_name": [1]}
    command = declare(raw)
    assert run(command, given) is given
    assert command.args_model.schema() == {"type": "object"}
    with pytest.raises(InvalidArgs):
        command.bind([])  # type: ignore[arg-type]

    def other(config: dict[str, Any]) -> Any:
        return config

    assert run(declare(other), {"config": {"a": 1}}) == {"a": 1}


def test_a_command_without_args_takes_an_empty_object_alone() -> None:
    command = declare(lambda: 1)
    assert run(command, {}) == 1
    wrong: list[Any] = [[], None, {"a": 1}]
    for args in wrong:
        with pytest.raises(InvalidArgs):
            command.bind(args)


def test_the_context_is_found_by_name_or_annotation() -> None:
    def by_name(ctx: Ctx) -> Any:
        return ctx

    def by_type(context: Context) -> Any:
        return context

    def by_string(c: Context, n: int = 1) -> Any:
        return c, n

    def unresolved(c: nowhere.Context, n: int = 1) -> Any:  # type: ignore[name-defined]
        return c, n

    assert run(declare(unresolved), {"n": 2}) == (CTX, 2)

    def without(context: int = 1) -> Any:
        return context

    assert run(declare(by_name), {}) is CTX
    assert run(declare(by_type), {}) is CTX
    assert run(declare(by_string), {"n": 2}) == (CTX, 2)
    assert run(declare(without), {"context": 2}) == 2
    assert not declare(without).takes_ctx


class Handlers:
    async def method(self, ctx: Context, n: int) -> int:
        return n

    async def __call__(self, ctx: Context, n: int) -> int:
        return n


async def coroutine(ctx: Context, n: int) -> int:
    return n


async def stream(ctx: Context, n: int) -> AsyncIterator[Greeting]:
    yield Greeting("a")


async def generator(n: int) -> AsyncGenerator[int, None]:
    yield n


def plain(n: int) -> int:
    return n


@pytest.mark.parametrize(
    ("handler", "options", "kind"),
    [
        (coroutine, {}, Kind.ASYNC),
        (Handlers().method, {}, Kind.ASYNC),
        (Handlers(), {}, Kind.ASYNC),
        (functools.partial(coroutine, n=1), {}, Kind.ASYNC),
        (plain, {}, Kind.SYNC),
        (plain, {"thread": True}, Kind.THREAD),
        (stream, {}, Kind.STREAM),
        (generator, {}, Kind.STREAM),
    ],
)
def test_the_kind_is_that_of_the_function(handler: Any, options: Any, kind: Kind) -> None:
    command = declare(handler, **options)
    assert command.kind is kind
    assert command.streaming is (kind is Kind.STREAM)
    assert command.bind({"n": 3}) in [((3,), {}), ((), {"n": 3})]


def test_a_generator_has_items_and_no_result() -> None:
    command = declare(stream)
    assert command.result_model is None
    assert command.encode_item(Greeting("a")) == {"textSaid": "a"}
    assert declare(generator).item_model is not None


def test_streaming_is_said_where_items_are_sent_by_the_context() -> None:
    command = declare(coroutine, streaming=True)
    assert (command.kind, command.streaming, command.item_model) == (Kind.ASYNC, True, None)
    assert declare(coroutine, item=Greeting).streaming


async def no_annotation(value) -> None: ...  # type: ignore[no-untyped-def]
async def var_args(*values: int) -> None: ...
async def var_kwargs(**values: int) -> None: ...
async def nowhere(value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
async def impossible(value: complex) -> None: ...
async def bad_result() -> complex:
    return 1j


def plain_generator() -> Any:
    yield 1


async def bad_stream() -> Any:
    yield 1


async def wrong_args(args: Greeting) -> Greeting:
    return args


async def wrong_result(args: GreetArgs) -> GreetArgs:
    return args


async def two(a: str, b: str) -> Greeting:
    return Greeting(a + b)


async def wrong_item() -> AsyncIterator[int]:
    yield 1


async def streams(args: GreetArgs) -> AsyncIterator[Greeting]:
    yield Greeting("a")


@pytest.mark.parametrize(
    ("handler", "name", "options", "said"),
    [
        (no_annotation, "x", {}, "parameter 'value' of its handler has no annotation"),
        (var_args, "x", {}, r"takes \*values"),
        (var_kwargs, "x", {}, r"takes \*values"),
        (nowhere, "x", {}, "'value'.*cannot be resolved"),
        (impossible, "x", {}, "'value' of x: JSON cannot carry a complex"),
        (bad_result, "x", {}, "result of x: JSON cannot carry a complex"),
        (plain_generator, "x", {}, "a plain generator cannot stream"),
        (bad_stream, "x", {}, "annotate its generator with AsyncIterator"),
        (coroutine, "x", {"thread": True}, "thread=True is for a plain def"),
        (stream, "x", {"thread": True}, "thread=True is for a plain def"),
        (stream, "x", {"streaming": False}, "do not say streaming=False"),
        (1, "x", {}, "is not callable"),
        (wrong_args, GREET, {}, "takes Greeting, but its args are GreetArgs"),
        (wrong_result, GREET, {}, "its result is declared as Greeting, but annotated GreetArgs"),
        (two, GREET, {}, "must take its args, GreetArgs, as one parameter"),
        (wrong_item, WATCH, {}, "its items is declared as Greeting, but annotated int"),
        (streams, GREET, {}, "a generator has no result, but its spec declares Greeting"),
        (plain, "x", {"result": str}, "its result is declared as str, but annotated int"),
    ],
)
def test_a_handler_that_cannot_answer_is_refused(handler: Any, name: Any, options: Any, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        declare(handler, name, **options)


def test_a_spec_says_everything() -> None:
    def greet(args):  # type: ignore[no-untyped-def]
        return Greeting(args.user_name)

    command = declare(greet, GREET)
    assert (command.name, command.summary, command.idempotent, command.scope) == ("greet", "Greet.", True, "social")
    assert command.encode_result(run(command, {"userName": "a"})) == {"textSaid": "a"}

    async def watch() -> AsyncIterator[Greeting]:
        yield Greeting("a")

    command = declare(watch, WATCH)
    assert command.bind({}) == ((), {})
    assert command.streaming
    with pytest.raises(InvalidArgs):
        command.bind({"a": 1})


def test_a_spec_lets_a_handler_return_a_dict() -> None:
    def greet(args: GreetArgs) -> dict[str, Any]:
        return {"textSaid": "a", "more": 1}

    command = declare(greet, GREET)
    assert command.encode_result(run(command, {"userName": "a"})) == {"textSaid": "a", "more": 1}


@pytest.mark.parametrize("args", [int, "x", list[int], None])
def test_a_spec_needs_an_attrs_class_for_its_args(args: Any) -> None:
    with pytest.raises(DeclarationError):
        CommandSpec("x", args, int)


def test_nothing_of_the_handler_runs_before_the_args_fit() -> None:
    called = []

    def handler(n: int) -> None:
        called.append(n)

    command = declare(handler)
    with pytest.raises(InvalidArgs):
        command.bind({"n": "x"})
    bound = command.bind({"n": 1})
    assert called == []
    command.start(CTX, bound)
    assert called == [1]
