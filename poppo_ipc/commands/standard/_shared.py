"""Types that several groups of standard commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from msgspec import Meta

from poppo_ipc.commands._fields import Arg

__all__ = ["Done", "Period", "ProjectId", "QueueName", "TaskId", "TaskState"]

#: The states of a task. Results have them as plain text, so that a newer server may know more of them.
TaskState = Literal["pending", "running", "completed", "failed", "cancelled"]

ProjectId = Annotated[str, Meta(min_length=1), Arg(message="Project ID required", doc="The id of the project.")]
TaskId = Annotated[str, Meta(min_length=1), Arg(message="Task ID required", doc="The id of the task.")]
QueueName = Annotated[str, Meta(min_length=1), Arg(doc="The name of one queue; all of them where none is given.")]
Period = Annotated[str, Meta(pattern=r"^[0-9]{1,9}[smhd]$"), Arg(doc="How far back, as a number and s, m, h or d: 5m.")]


@attrs.frozen
class Done:
    """What was done, in a sentence."""

    message: str
