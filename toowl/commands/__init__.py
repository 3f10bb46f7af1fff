"""The commands of ``toowl``, one module each, imported only when called.

Each module has ``SUMMARY`` (one line), ``parser()`` (the single source of its ``--help``, of the man page, of
``docs/cli.md`` and of the shell completions) and ``run(argv)``, which returns the exit status. ``COMMANDS``
names them all; `toowl.cli` dispatches.

Modules with a leading underscore are what several commands share. This file imports nothing, so that
``toowl ls`` starts in little more than the time of a bare interpreter.
"""

#: Command to module, in the order in which the help lists them.
COMMANDS = {
    "new": "new",
    "attach": "attach",
    "switch": "switch",
    "ls": "ls",
    "info": "info",
    "rename": "rename",
    "tag": "tag",
    "set": "set",
    "clients": "clients",
    "detach": "detach",
    "kill": "kill",
    "rm": "rm",
    "start": "start",
    "restart": "restart",
    "restore": "restore",
    "reconnect": "reconnect",
    "resize": "resize",
    "send": "send",
    "exec": "exec",
    "run": "run",
    "wait": "wait",
    "events": "events",
    "audit": "audit",
    "capture": "capture",
    "snapshot": "snapshot",
    "logs": "logs",
    "search": "search",
    "export": "export",
    "env": "env",
    "shell-integration": "shell_integration",
    "config": "config",
    "completion": "completion",
    "version": "version",
    "help": "help",
}

#: Other words for a command.
ALIASES = {"a": "attach", "-h": "help", "--help": "help", "-V": "version", "--version": "version"}
