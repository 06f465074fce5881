"""What does not run where, and why: the one list of it. `conftest.py` acts on it, and says how much was left out.

A key is a file, a test, or a test with its parameters, as pytest names them, below `tests`. A file that is named whole
is not even imported.
"""

from __future__ import annotations

ACTIVATION = "service managers hand over sockets on Unix only"
BENCHMARK = "the benchmarks measure Unix sockets, and ask Linux what processes use"
COST = "what a program costs the processor is bounded on Unix; under wine there is more to start"
ACCESS_LISTS = "access lists are those of Windows"
FIFO = "a named pipe of Unix is a file that can be opened for reading; those of Windows are not"
FORK = "a process is forked on Unix alone"
GROUPS = "groups and sessions of processes are those of Unix"
HANDLES = "the worker's channel is no descriptor on Windows, and survives that"
GUARDIAN = "what a job object does on Windows, a guardian does on Unix"
JOBS = "job objects and consoles are those of Windows"
MODES = "file modes, owners and sticky directories are those of Unix"
NAMES = "a name that is no text is one of Unix"
NO_LINKS = "wine finds nothing behind the symbolic links that it makes"
NO_FOLLOW = "on Windows a link is not told apart when it is opened (O_NOFOLLOW); the directory is its owner's alone"
OPEN_FILES = "a limit on open files (RLIMIT_NOFILE) is one of Unix"
PROC = "what a process has open is read from /proc"
RELAY = "only Linux tells the order of writes to two pipes"
SIGTERM = "a signal from another process (SIGTERM) is one of Unix"
SOCKET_FILE = "a socket is a file on Unix; a named pipe is none"
PATHS = "the paths are those of Unix"
PIPES = "Unix has no named pipes of Windows"
TERMINAL = "a Unix terminal (pty) is what this looks at"
TICKS = (
    "Windows counts a process's time in ticks of 16 ms, too few to compare; the code measured is the same everywhere"
)
UNIX_SOCKETS = "Python has no Unix sockets on Windows"
WINDOWS_PATHS = "the paths are those of Windows"

#: About Unix itself.
ON_WINDOWS = {
    "client/test_import_cost.py::test_one_call_in_a_cold_interpreter": COST,
    "client/test_or_start.py::test_a_file_in_its_place_is_left_alone": SOCKET_FILE,
    "client/test_or_start.py::test_a_socket_that_was_left_behind_is_no_daemon": SOCKET_FILE,
    "client/test_or_start.py::test_the_end_of_the_terminal_leaves_the_daemon_alive": TERMINAL,
    "client/test_token.py::test_a_file_that_others_can_open_is_refused": MODES,
    "client/test_token.py::test_a_pipe_is_refused_at_once": FIFO,
    "client/test_token.py::test_another_users_file_is_refused": MODES,
    "daemon/projects/test_projects.py::test_a_directory_is_one_project_behind_a_link": NO_LINKS,
    "daemon/projects/test_projects.py::test_a_directory_whose_name_is_no_text_is_refused": NAMES,
    "daemon/store/test_files.py::test_a_lock_file_that_leads_elsewhere_is_not_followed": NO_FOLLOW,
    "daemon/store/test_files.py::test_a_pipe_in_its_place_is_refused": FIFO,
    "daemon/workers/test_crashes.py::test_a_fork_that_holds_the_socket_cannot_hide_the_death": FORK,
    "daemon/workers/test_crashes.py::test_a_function_that_closes_every_descriptor_loses_its_worker": HANDLES,
    "daemon/workers/test_crashes.py::test_a_worker_that_cannot_be_watched_is_not_left_running": GUARDIAN,
    "daemon/workers/test_crashes.py::test_running_out_of_descriptors_at_any_step_is_survived": OPEN_FILES,
    "daemon/workers/test_guardian.py": GUARDIAN,
    "daemon/workers/test_jobs.py::test_a_fork_that_comes_back_ends_and_only_one_answer_counts": FORK,
    "daemon/workers/test_jobs.py::test_a_worker_leads_a_group_of_its_own": GROUPS,
    "daemon/workers/test_jobs.py::test_children_get_no_descriptor_of_the_worker": PROC,
    "daemon/workers/test_outliving.py::test_a_chain_of_forks_does_not_outrun_the_death_of_the_daemon": FORK,
    "daemon/workers/test_outliving.py::test_a_fork_of_the_daemon_that_lives_on_does_not_hide_its_death": FORK,
    "daemon/workers/test_outliving.py::test_a_killed_daemon_takes_everything_with_it[free]": GUARDIAN,
    "daemon/workers/test_outliving.py::test_a_worker_dies_with_its_guardian": GUARDIAN,
    "daemon/workers/test_relay.py": RELAY,
    "daemon/workers/test_stopping.py::test_sigterm_from_elsewhere_is_a_crash_of_a_busy_worker": SIGTERM,
    "protocol/test_codec.py::test_time_for_the_depth_is_linear_for_hostile_payloads": TICKS,
    "protocol/test_frames.py::test_time_for_a_large_frame_in_small_pieces_is_linear": TICKS,
    "scripts/test_bench.py": BENCHMARK,
    "scripts/test_measuring.py": BENCHMARK,
    "scripts/test_screens.py": TERMINAL,
    "server/test_clients.py::test_a_shortage_of_files_is_outlived": OPEN_FILES,
    "server/test_stopping.py::test_the_socket_is_removed": SOCKET_FILE,
    "server/test_token_files.py::test_a_file_is_private_with_its_folder": MODES,
    "server/test_token_files.py::test_a_file_of_another_user_is_refused": MODES,
    "server/test_token_files.py::test_a_file_that_others_can_read_is_refused": MODES,
    "server/test_token_files.py::test_a_pipe_is_refused_at_once": FIFO,
    "transport/test_activation.py": ACTIVATION,
    "transport/test_address.py::test_home_and_working_directory": PATHS,
    "transport/test_address.py::test_a_relative_path_without_a_working_directory": PATHS,
    "transport/test_address.py::test_paths_of_unix": PATHS,
    "transport/test_address.py::test_what_unix_refuses": PATHS,
    "transport/test_claim.py": SOCKET_FILE,
    "transport/test_claim_binding.py": SOCKET_FILE,
    "transport/test_claim_healing.py": SOCKET_FILE,
    "transport/test_directory.py": MODES,
    "transport/test_shortage.py::test_accept_itself_raises_the_shortage": UNIX_SOCKETS,
    "transport/test_shortage.py::test_a_server_outlives_a_lack_of_file_descriptors": OPEN_FILES,
    "transport/test_unix_connect.py": UNIX_SOCKETS,
    "transport/test_unix_listener.py": UNIX_SOCKETS,
    "transport/test_unix_peer.py": UNIX_SOCKETS,
    "transport/test_unix_stream.py": UNIX_SOCKETS,
}

#: About Windows itself.
ON_UNIX = {
    "daemon/workers/test_windows.py": JOBS,
    "transport/test_address.py::test_paths_of_windows": WINDOWS_PATHS,
    "transport/test_address.py::test_windows_takes_a_bare_name_from_the_working_directory": WINDOWS_PATHS,
    "transport/test_pipe_asyncio.py": PIPES,
    "transport/test_pipe_blocking.py": PIPES,
    "transport/test_pipe_claim.py": PIPES,
    "transport/test_pipe_connect.py": PIPES,
    "transport/test_pipe_listener.py": PIPES,
    "transport/test_pipe_security.py": PIPES,
    "transport/test_pipe_server.py": PIPES,
    "transport/test_pipe_stream.py": PIPES,
    "transport/test_win32_files.py": ACCESS_LISTS,
}
