"""What does not run where, and why: the one list of it. `conftest.py` acts on it, and says how much was left out.

A key is a file, a test, or a test with its parameters, as pytest names them, below `tests`. A file that is named whole
is not even imported.
"""

from __future__ import annotations

ACTIVATION = "service managers hand over sockets on Unix only"
BENCHMARK = "the benchmarks measure Unix sockets, and ask Linux what processes use"
CONSOLE = "a console, and its keys, are Windows' own"
COST = "what a program has to load is bounded on Unix; a named pipe takes more, ctypes above all"
ACCESS_LISTS = "access lists are those of Windows"
FIFO = "a named pipe of Unix is a file that can be opened for reading; those of Windows are not"
HALF_CLOSE = "a named pipe of Windows is closed in both directions at once"
FILE_SIZE = "a limit on the size of files (RLIMIT_FSIZE) is one of Unix"
FORK = "a process is forked on Unix alone"
GROUPS = "groups and sessions of processes are those of Unix"
HANDLES = "the worker's channel is no descriptor on Windows, and survives that"
GUARDIAN = "what a job object does on Windows, a guardian does on Unix"
JOBS = "job objects and consoles are those of Windows"
MODES = "file modes, owners and sticky directories are those of Unix"
NAMES = "a name that is no text is one of Unix"
NODE = "there is no Node.js for Windows where these tests run; the small server in Python is checked all the same"
NO_LINKS = "wine finds nothing behind the symbolic links that it makes"
NO_FOLLOW = "on Windows a link is not told apart when it is opened (O_NOFOLLOW); the directory is its owner's alone"
NOTIFY = "a service manager that is told by a datagram socket is one of Linux"
OPEN_FILES = "a limit on open files (RLIMIT_NOFILE) is one of Unix"
READER = "Windows does not tell who writes nothing to a pipe that its reader has gone"
SHELLS = "it is about shells and programs of Unix"
SIGNALS = "a signal of another process (SIGTERM, SIGHUP) is one of Unix; a console's are in cli/test_console.py"
PROC = "what a process has open is read from /proc"
RELAY = "only Linux tells the order of writes to two pipes"
SOCKET_FILE = "a socket is a file on Unix; a named pipe is none"
PATHS = "the paths are those of Unix"
PIPES = "Unix has no named pipes of Windows"
TERMINAL = "a Unix terminal (pty) is what this looks at"
TICKS = (
    "Windows counts a process's time in ticks of 16 ms, too few to compare; the code measured is the same everywhere"
)
UNITS = "systemd and launchd are those of Unix; the Task Scheduler's file is looked at on every system"
UNIX_SOCKETS = "Python has no Unix sockets on Windows"
WINDOWS_PATHS = "the paths are those of Windows"

_DEFECTS = "testing/test_conformance.py::test_what_is_wrong_with_a_server_is_found_and_told"

#: About Unix itself.
ON_WINDOWS = {
    "cli/test_activation.py": ACTIVATION,
    "cli/test_bench_command.py::test_ctrl_c_shows_what_was_measured": SIGNALS,
    "cli/test_bench_command.py::test_in_a_terminal_it_draws": TERMINAL,
    "cli/test_call.py::test_ctrl_c_cancels_the_command_and_is_130": SIGNALS,
    "cli/test_completion.py::test_in_bash_itself": SHELLS,
    "cli/test_demo.py::test_a_temporary_directory_too_deep_for_a_socket_is_no_hindrance": SOCKET_FILE,
    "cli/test_demo.py::test_interrupted_it_leaves_nothing": SIGNALS,
    "cli/test_describe.py::test_on_a_terminal_the_list_is_a_table": TERMINAL,
    "cli/test_doctor.py::test_a_socket_that_was_left_behind": SOCKET_FILE,
    "cli/test_doctor.py::test_an_address_that_is_none_or_too_long": SOCKET_FILE,
    "cli/test_doctor.py::test_it_is_readable_on_a_terminal": TERMINAL,
    "cli/test_doctor.py::test_no_directory": SOCKET_FILE,
    "cli/test_doctor.py::test_no_socket_and_nothing_is_made": SOCKET_FILE,
    "cli/test_doctor.py::test_rights_that_are_too_wide": MODES,
    "cli/test_doctor.py::test_what_is_no_socket": SOCKET_FILE,
    "cli/test_doctor.py::test_who_holds_the_lock_is_found_without_taking_it": SOCKET_FILE,
    "cli/test_events.py::test_a_reader_that_goes_ends_it_quietly_though_nothing_happens": READER,
    "cli/test_events.py::test_ctrl_c_ends_it_quietly": SIGNALS,
    "cli/test_events.py::test_ctrl_c_ends_it_while_nobody_reads_what_it_writes": SIGNALS,
    "cli/test_events.py::test_in_a_terminal_it_is_text": TERMINAL,
    "cli/test_groups.py::test_a_daemon_has_gone_when_its_lock_is_free_too": SOCKET_FILE,
    "cli/test_groups.py::test_projects_on_a_terminal": TERMINAL,
    "cli/test_groups.py::test_status_on_a_terminal": TERMINAL,
    "cli/test_groups.py::test_the_log_is_followed_until_ctrl_c": TERMINAL,
    "cli/test_groups.py::test_the_log_is_text_on_a_terminal": TERMINAL,
    "cli/test_scripts.py": SHELLS,
    "cli/test_serve.py::test_a_path_too_long_for_a_socket_is_refused_with_its_length": SOCKET_FILE,
    "cli/test_serve.py::test_it_serves_until_a_signal_and_ends_in_order": SIGNALS,
    "cli/test_serve_daemon.py::test_a_second_signal_ends_it_at_once_though_a_task_runs": SIGNALS,
    "cli/test_serve_daemon.py::test_settings_are_read_again_on_sighup": SIGNALS,
    "cli/test_serve_daemon.py::test_the_service_manager_hears_how_it_is": ACTIVATION,
    "cli/test_service.py::test_files_that_say_something_else_are_left_alone[systemd]": UNITS,
    "cli/test_service.py::test_launchd_gets_a_property_list": UNITS,
    "cli/test_service.py::test_systemd_has_nothing_against_the_units": UNITS,
    "cli/test_service.py::test_the_printed_units_are_those_that_are_written": UNITS,
    "cli/test_service.py::test_the_units_socket_and_command_start_a_daemon_that_tells_systemd": ACTIVATION,
    "cli/test_service.py::test_the_wait_for_the_end_of_an_activated_daemon_does_not_activate_the_next": ACTIVATION,
    "cli/test_start.py::test_ctrl_c_ends_what_it_started": SIGNALS,
    "cli/test_start.py::test_it_runs_on_alone_with_nothing_of_whoever_started_it": TERMINAL,
    "cli/test_start.py::test_relative_paths_lead_where_they_were_typed": SHELLS,
    "cli/test_start.py::test_stop_says_on_a_terminal_what_it_waits_for_and_what_to_do": TERMINAL,
    "cli/test_start.py::test_the_end_of_the_terminal_leaves_it_alive": TERMINAL,
    "cli/test_start.py::test_what_speaks_otherwise_is_told_of_and_left_alone": UNIX_SOCKETS,
    "cli/test_steps.py::test_colours_and_a_bar_are_for_terminals": TERMINAL,
    "cli/test_tasks.py::test_a_run_passes_on_both_streams_and_the_exit_code": SHELLS,
    "cli/test_tasks.py::test_a_run_that_a_signal_ends_is_128_and_its_number": SIGNALS,
    "cli/test_tasks.py::test_ctrl_c_cancels_the_task": TERMINAL,
    "cli/test_tasks.py::test_on_a_terminal_a_task_keeps_its_colours_and_nothing_else": TERMINAL,
    "cli/test_tasks.py::test_options_of_the_program_need_no_dashes_before_it": SHELLS,
    "cli/test_tasks.py::test_sigterm_cancels_a_task_whose_submit_is_not_answered_yet": SIGNALS,
    "cli/test_tasks.py::test_sigterm_cancels_the_task": SIGNALS,
    "cli/test_terminal.py": TERMINAL,
    "cli/test_tokens.py::test_on_a_terminal_it_is_not_shown_either": TERMINAL,
    "cli/test_top.py::test_a_signal_leaves_the_terminal_as_it_was": TERMINAL,
    "cli/test_top.py::test_ctrl_c_leaves_the_terminal_as_it_was": TERMINAL,
    "cli/test_top.py::test_in_a_terminal_under_load_and_over_a_restart": TERMINAL,
    "cli/test_top.py::test_without_a_daemon_it_is_told_before_the_screen_is_taken": TERMINAL,
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
    "daemon/test_notify.py": NOTIFY,
    "daemon/whole/test_full_disk.py::test_served_with_files_that_cannot_be_written": FILE_SIZE,
    "daemon/workers/test_crashes.py::test_a_fork_that_holds_the_socket_cannot_hide_the_death": FORK,
    "daemon/workers/test_crashes.py::test_a_function_that_closes_every_descriptor_loses_its_worker": HANDLES,
    "daemon/workers/test_crashes.py::test_a_worker_that_cannot_be_watched_is_not_left_running": GUARDIAN,
    "daemon/workers/test_crashes.py::test_running_out_of_descriptors_at_any_step_is_survived": OPEN_FILES,
    "daemon/workers/test_guardian.py": GUARDIAN,
    "daemon/workers/test_jobs.py::test_a_fork_that_comes_back_ends_and_only_one_answer_counts": FORK,
    "daemon/workers/test_jobs.py::test_a_worker_leads_a_group_of_its_own": GROUPS,
    "daemon/workers/test_jobs.py::test_children_get_no_descriptor_of_the_worker": PROC,
    "daemon/workers/test_jobs.py::test_the_output_of_a_command_is_in_order": RELAY,
    "daemon/workers/test_macos.py": GUARDIAN,
    "daemon/workers/test_outliving.py::test_a_chain_of_forks_does_not_outrun_the_death_of_the_daemon": FORK,
    "daemon/workers/test_outliving.py::test_a_fork_of_the_daemon_that_lives_on_does_not_hide_its_death": FORK,
    "daemon/workers/test_outliving.py::test_a_killed_daemon_takes_everything_with_it[free]": GUARDIAN,
    "daemon/workers/test_outliving.py::test_a_worker_dies_with_its_guardian": GUARDIAN,
    "daemon/workers/test_relay.py": RELAY,
    "daemon/workers/test_stopping.py::test_sigterm_from_elsewhere_is_a_crash_of_a_busy_worker": SIGNALS,
    "protocol/test_codec.py::test_time_for_the_depth_is_linear_for_hostile_payloads": TICKS,
    "protocol/test_frames.py::test_time_for_a_large_frame_in_small_pieces_is_linear": TICKS,
    "scripts/test_bench.py": BENCHMARK,
    "scripts/test_measuring.py": BENCHMARK,
    "scripts/test_screens.py": TERMINAL,
    "server/test_clients.py::test_a_shortage_of_files_is_outlived": OPEN_FILES,
    "server/test_doorway.py": UNIX_SOCKETS,
    "server/test_stopping.py::test_the_socket_is_removed": SOCKET_FILE,
    "server/test_token_files.py::test_a_file_is_private_with_its_folder": MODES,
    "server/test_token_files.py::test_a_file_of_another_user_is_refused": MODES,
    "server/test_token_files.py::test_a_file_that_others_can_read_is_refused": MODES,
    "server/test_token_files.py::test_a_pipe_is_refused_at_once": FIFO,
    f"{_DEFECTS}[stays when the client has ended]": HALF_CLOSE,
    "testing/test_conformance.py::test_a_server_in_node": NODE,
    "testing/test_programs.py::test_a_process_that_a_signal_ends": SIGNALS,
    "testing/test_programs.py::test_paths_of_unix_are_normalized": PATHS,
    "testing/test_strict.py::test_a_socket_that_cannot_be_made_is_told": SOCKET_FILE,
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
    "cli/test_console.py": CONSOLE,
    "testing/test_programs.py::test_paths_of_windows_are_normalized": WINDOWS_PATHS,
    "cli/test_doctor.py::test_a_pipe_whose_daemon_was_killed": PIPES,
    "cli/test_doctor.py::test_nobody_listens_at_a_pipe_and_nothing_is_made": PIPES,
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
    "transport/test_private_windows.py": ACCESS_LISTS,
}
