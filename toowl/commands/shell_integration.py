"""``toowl shell-integration``: let a shell and its session know of each other."""

from __future__ import annotations

from toowl.commands._options import Parser, command_parser

SUMMARY = "print what lets a shell work with its session"


def parser() -> Parser:
    made = command_parser(
        "shell-integration",
        SUMMARY,
        usage="toowl shell-integration bash|zsh|fish",
        description="""Print a script, to be loaded by the last line of a shell's settings. In a session it marks
        prompts and the output of commands, tells the shell's folder, puts the session's name before the prompt
        (TOOWL_PROMPT='({}) ' has it otherwise, TOOWL_PROMPT= not at all), and takes over DISPLAY, SSH_CONNECTION and
        the like from the terminal that was attached last. Outside of a session it does nothing. What else stands in
        your settings goes on working.""",
        examples=(
            ('[ -z "${TOOWL_SESSION-}" ] || eval "$(toowl shell-integration bash)"', "in ~/.bashrc"),
            ('[[ -z ${TOOWL_SESSION-} ]] || eval "$(toowl shell-integration zsh)"', "in ~/.zshrc"),
            (
                'test -n "$TOOWL_SESSION"; and toowl shell-integration fish | source',
                "in ~/.config/fish/config.fish",
            ),
        ),
    )
    made.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    from toowl.shells import script

    print(script(args.shell), end="")
    return 0
