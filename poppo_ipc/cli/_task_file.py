"""The file by which Windows' Task Scheduler runs the daemon for a user. Pure text.

Not a Windows service: those run for the machine, under an account of the system's, and are installed by an
administrator. A task that begins when its user logs on is what a user unit of systemd is elsewhere.
See https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema
"""

from __future__ import annotations

import subprocess
from typing import Final
from xml.sax.saxutils import escape

from poppo_ipc.cli._units import Service

__all__ = ["TASK_NAME", "task_files"]

TASK_NAME: Final = "poppo-ipc"

_TASK: Final = """\
<?xml version="1.0"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>poppo-ipc daemon</Description>
  </RegistrationInfo>
  <Triggers>
    <LogonTrigger>
      <Enabled>true</Enabled>
      <UserId>{user}</UserId>
    </LogonTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>{user}</UserId>
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure>
      <Interval>PT1M</Interval>
      <Count>999</Count>
    </RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{command}</Command>
      <Arguments>{arguments}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


def task_files(service: Service, user: str) -> dict[str, str]:
    """A task that begins when `user` logs on, and again a minute after a failure, by its file's name."""
    program, *rest = [*service.command, *service.arguments, f"--socket={service.socket}"]
    text = _TASK.format(
        user=escape(user),
        command=escape(program),
        arguments=escape(subprocess.list2cmdline(rest)),
    )
    return {f"{TASK_NAME}.xml": text}
