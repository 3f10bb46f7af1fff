"""``toowl completion``: let a shell complete commands, options and sessions."""

from __future__ import annotations

from toowl.commands._options import Parser, command_parser

SUMMARY = "print the completion script for a shell"


def parser() -> Parser:
    made = command_parser(
        "completion",
        SUMMARY,
        usage="toowl completion bash|zsh|fish",
        description="""Print a script that lets a shell complete commands, options and names of sessions. Its first
        lines say how to keep it.""",
        examples=(
            ("source <(toowl completion bash)", "in ~/.bashrc; the same with zsh in ~/.zshrc"),
            ("toowl completion fish > ~/.config/fish/completions/toowl.fish", ""),
        ),
    )
    made.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    from toowl.completion import script

    print(script(args.shell), end="")
    return 0
