"""Projects: directories that tasks belong to, which can be started and stopped."""

from poppo_ipc.daemon.projects._config import merge_config as merge_config
from poppo_ipc.daemon.projects._projects import Projects as Projects
from poppo_ipc.daemon.projects._router import projects_router as projects_router
