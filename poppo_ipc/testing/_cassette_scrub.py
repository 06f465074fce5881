"""Taking out of a recording what is secret, and what is another each time.

What the server made (ids, times) is replaced by values of the same kind, the same for the same, and in the same order:
a client that is played to works with those. Events are numbered from 1, as how many there were before is another thing
each time. What the client made is replaced by a placeholder, `<uuid-1>`, which stands
for whatever the client has in its place when it is played to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from poppo_ipc.testing._cassette_tape import Entry, Message, Tape, Track

__all__ = ["PLACEHOLDERS", "TOKEN", "replaced", "scrubbed", "walked"]

TOKEN: Final = "<token>"
#: Arguments by these names hold secrets wherever they are.
SECRETS: Final = frozenset({"token", "password", "secret", "apikey", "api_key"})
_UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?"
_OWN_ID: Final = r"(?<![\w-])[a-z]-[0-9a-hjkmnp-tv-z]{16}(?![\w-])"
_CHANGING: Final = re.compile(f"(?P<uuid>{_UUID})|(?P<time>{_TIME})|(?P<id>{_OWN_ID})")
#: What a placeholder of a kind may stand for.
PLACEHOLDERS: Final = {"uuid": _UUID, "time": _TIME, "id": _OWN_ID}
_START: Final = datetime(2000, 1, 1, tzinfo=UTC)
#: Unix milliseconds of the years 2020 to 2100.
_MILLISECONDS: Final = range(1_577_836_800_000, 4_102_444_800_000)
#: Numbers by these names are of one process alone.
_NUMBERS: Final = frozenset({"pid", "uptime"})
#: Texts by these names are of one run of the server.
_NAMED: Final = {"epoch": "epoch", "subscriptionId": "subscription", "idempotencyKey": "key"}
_DROPPED: Final = frozenset({"ping", "pong", "credit"})
_UNSAID: Final = ("timestamp", "timeoutMs", "clientNonce")

Change = Callable[[Any, str], Any]


def walked(value: Any, change: Change, name: str = "") -> Any:
    """The value with every text and number in it as `change(value, name)` gives it; `name` is that of its entry."""
    if isinstance(value, dict):
        return {key: walked(each, change, key) for key, each in value.items()}
    if isinstance(value, list):
        return [walked(each, change, name) for each in value]
    return change(value, name)


def replaced(value: Any, texts: Mapping[str, str]) -> Any:
    """The value with these texts replaced wherever they stand in one, the longest first."""
    order = sorted((text for text in texts if text), key=len, reverse=True)

    def change(each: Any, name: str) -> Any:
        if isinstance(each, str):
            for text in order:
                each = each.replace(text, texts[text])
        return each

    return walked(value, change)


def scrubbed(
    tape: Tape,
    *,
    token: str | None,
    replace: Mapping[str, str],
    secrets: Collection[str],
    scrub: Callable[[Message], Message] | None,
) -> Tape:
    """The tape as it may be kept: see the head of this file, and `Cassette` for the arguments."""
    texts = dict(replace)
    if token:
        texts[token] = TOKEN
    names = _Names(SECRETS | {each.lower() for each in secrets})
    tracks = [Track(_plain(track.entries)) for track in tape.tracks]
    for track in tracks:
        for entry in track.entries:
            if entry.message is not None:
                entry.message = replaced(entry.message, texts)
    names.read(entry for track in tracks for entry in track.entries)
    for track in tracks:
        for entry in track.entries:
            if entry.message is not None:
                entry.message = names.written(entry.message)
                if scrub is not None:
                    entry.message = scrub(entry.message)
    return Tape(tracks)


def _plain(entries: Iterable[Entry]) -> list[Entry]:
    """What matters of a connection: without pings and the like, with ids counted from 1."""
    ids: dict[str, str] = {}
    ended: set[str] = set()
    found = []
    for entry in entries:
        if entry.message is None:
            found.append(Entry(entry.side, None))
            continue
        request_id = entry.request_id
        if entry.kind in _DROPPED or (entry.kind == "cancel" and request_id in ended):
            continue
        message = {name: value for name, value in entry.message.items() if name not in _UNSAID}
        if message.get("version") == "1.0.0":
            del message["version"]
        if request_id is not None:
            if entry.side == "client":
                ids.setdefault(request_id, str(len(ids) + 1))
            message["id"] = ids.get(request_id, request_id)
        if entry.kind in ("response", "error") and request_id is not None:
            ended.add(request_id)
        for name, text in (("nonce", "<nonce>"), ("proof", "<proof>"), ("sessionId", "<session>")):
            if name in message and entry.kind in ("welcome", "auth", "auth-success"):
                message[name] = text
        found.append(Entry(entry.side, message))
    return found


def _place(message: Message) -> dict[str, Any] | None:
    """The object in a message whose `seq` is a place in the server's numbering of events."""
    found: Any = None
    match message:
        case {"type": "auth-success" | "event"}:
            found = message
        case {"type": "response", "result": {"subscriptionId": _} as result}:
            found = result
        case {"type": "command", "command": "events.subscribe", "args": {"since": since}}:
            found = since
    return found if isinstance(found, dict) and type(found.get("seq")) is int else None


class _Names:
    """What stands for each changing value."""

    def __init__(self, secrets: Collection[str]) -> None:
        self._secrets = secrets
        self._texts: dict[str, str] = {}
        self._named: dict[str, str] = {}
        self._times: dict[str | int, datetime] = {}
        self._counts: dict[str, int] = {}
        self._seqs: dict[int, int] = {}

    def read(self, entries: Iterable[Entry]) -> None:
        """Find them all; whoever says one first has made it."""
        seqs = set[int]()
        for entry in entries:
            if entry.message is not None:
                self._by_server = entry.side == "server"
                walked(entry.message, self._found)
                if (place := _place(entry.message)) is not None:
                    seqs.add(place["seq"])
        self._seqs = {seq: number for number, seq in enumerate(sorted(seqs), 1)}
        for number, (text, _) in enumerate(sorted(self._times.items(), key=lambda item: item[1])):
            moment = _START + timedelta(seconds=number)
            if isinstance(text, str):
                self._texts[text] = _like(text, moment)
            else:
                self._named[f"ms {text}"] = str(int(moment.timestamp() * 1000))

    def written(self, message: Message) -> Message:
        """The message with what stands for them."""
        found: Message = walked(message, self._given)
        if (place := _place(found)) is not None:
            place["seq"] = self._seqs[place["seq"]]
        return found

    def _found(self, value: Any, name: str) -> Any:
        if name in _NAMED and isinstance(value, str):
            self._named.setdefault(value, self._next(_NAMED[name], "{}-{}"))
        elif isinstance(value, str):
            for match in _CHANGING.finditer(value):
                self._keep(match[0], match.lastgroup or "")
        elif type(value) is int and value in _MILLISECONDS:
            self._times[value] = datetime.fromtimestamp(value / 1000, UTC)
        return value

    def _keep(self, text: str, kind: str) -> None:
        if text in self._texts or text in self._times:
            return
        if not self._by_server:
            self._texts[text] = self._next(kind, "<{}-{}>")
        elif kind == "uuid":
            self._texts[text] = self._next(kind, "00000000-0000-4000-8000-{1:012d}")
        elif kind == "id":
            self._texts[text] = text[:2] + self._next(kind, "{1:016d}")
        else:
            moment = datetime.fromisoformat(text)
            self._times[text] = moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def _next(self, kind: str, form: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return form.format(kind, self._counts[kind])

    def _given(self, value: Any, name: str) -> Any:
        if name.lower() in self._secrets and isinstance(value, str) and value != TOKEN:
            return "<secret>"
        if isinstance(value, str):
            if name in _NAMED:
                return self._named[value]
            return _CHANGING.sub(lambda match: self._texts.get(match[0], match[0]), value)
        if type(value) is int and f"ms {value}" in self._named:
            return int(self._named[f"ms {value}"])
        if name in _NUMBERS and isinstance(value, int | float) and not isinstance(value, bool):
            return 0
        return value


def _like(text: str, moment: datetime) -> str:
    """The moment, written as that time is."""
    fraction = "." + "0" * (len(text.partition(".")[2].rstrip("Z").split("+")[0].split("-")[0])) if "." in text else ""
    zone = "Z" if text.endswith("Z") else "+00:00" if re.search(r"[+-]\d\d:\d\d$", text) else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{zone}"
