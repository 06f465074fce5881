"""The tables, as a list of migrations: number N brings a database from version N to N + 1. Only ever add to it."""

from __future__ import annotations

from typing import Final

__all__ = ["APPLICATION_ID", "MIGRATIONS", "VERSION"]

#: "POPO" in ASCII: what tells our files from other people's (SQLite file format, offset 68).
APPLICATION_ID: Final = 0x504F504F

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        frame BLOB NOT NULL
    );

    CREATE TABLE answers (
        principal TEXT NOT NULL,
        key TEXT NOT NULL,
        command TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        result BLOB,
        error TEXT,
        expires_ms INTEGER NOT NULL,
        PRIMARY KEY (principal, key)
    ) WITHOUT ROWID;
    CREATE INDEX answers_expire ON answers (expires_ms);

    CREATE TABLE projects (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        path TEXT NOT NULL UNIQUE,
        config TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('active', 'inactive')),
        enabled INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        active_ms INTEGER
    );

    CREATE TABLE queues (name TEXT PRIMARY KEY, paused INTEGER NOT NULL) WITHOUT ROWID;

    CREATE TABLE tasks (
        id TEXT PRIMARY KEY,
        number INTEGER NOT NULL UNIQUE,
        type TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
        project_id TEXT,
        queue TEXT NOT NULL,
        payload TEXT NOT NULL,
        priority INTEGER NOT NULL,
        timeout_ms INTEGER,
        max_attempts INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        due_ms INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        started_ms INTEGER,
        completed_ms INTEGER,
        worker_id TEXT,
        result TEXT,
        error TEXT,
        retry_of TEXT,
        submit_key TEXT UNIQUE,
        unwanted INTEGER NOT NULL DEFAULT 0,
        output_bytes INTEGER NOT NULL DEFAULT 0,
        output_end INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX tasks_by_status ON tasks (status, number);
    CREATE INDEX tasks_by_project ON tasks (project_id, status);
    CREATE INDEX tasks_by_end ON tasks (completed_ms) WHERE completed_ms IS NOT NULL;

    CREATE TABLE attempts (
        task_id TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
        attempt INTEGER NOT NULL,
        worker_id TEXT,
        started_ms INTEGER NOT NULL,
        ended_ms INTEGER,
        ending TEXT,
        error TEXT,
        PRIMARY KEY (task_id, attempt)
    ) WITHOUT ROWID;

    CREATE TABLE output (
        task_id TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
        part INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        stream TEXT NOT NULL,
        text TEXT NOT NULL,
        PRIMARY KEY (task_id, part)
    ) WITHOUT ROWID;
    """,
)

VERSION: Final = len(MIGRATIONS)
