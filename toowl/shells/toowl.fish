# toowl in fish. As the last line of ~/.config/fish/config.fish:
#   test -n "$TOOWL_SESSION"; and toowl shell-integration fish | source

if status is-interactive; and test -n "$TOOWL_SESSION"; and test "$TERM" != dumb; and not functions -q __toowl_before

set -g __toowl_file "$TOOWL_RUNTIME_DIR/following/$TOOWL_SESSION.env"
set -g __toowl_stamp ''
set -g __toowl_described 'the prompt of a toowl session'

# fish 4 tells its folder, and where its prompts and outputs begin, by itself; but not where what is typed begins.
if string match -qr '^[0-3]\.' -- $version
    function __toowl_preexec --on-event fish_preexec
        printf '\e]133;C\a'
    end
    function __toowl_postexec --on-event fish_postexec
        printf '\e]133;D;%s\a' $status
    end
    # The mark of a prompt begins a line, so it is before the mode that vi's keys show.
    function __toowl_locate --on-event fish_prompt
        printf '\e]7;file://%s%s\a\e]133;A\a' $hostname (string escape --style=url -- $PWD)
    end
end

# What the terminal that was attached last has in its environment, if that is news.
function __toowl_environment
    test -r $__toowl_file; or return
    set -l stamp
    read stamp <$__toowl_file
    test "$stamp" != "$__toowl_stamp"; or return
    set -g __toowl_stamp $stamp
    while read -l --delimiter \n line
        set -l parts (string split -m 1 = -- $line)
        if set -q parts[2]
            set -gx $parts[1] $parts[2]
        else if set -q parts[1]; and string match -qr '^\w+$' -- $parts[1]
            set -e $parts[1]
        end
    end <$__toowl_file
end

# Somebody may have attached since the prompt.
function __toowl_begun --on-event fish_preexec
    __toowl_environment
end

# Before each prompt: whoever has defined one since gets ours around it.
function __toowl_before --on-event fish_prompt
    __toowl_environment
    test "$(functions -Dv fish_prompt)[5]" != "$__toowl_described"; or return
    functions -q __toowl_fish_prompt; and functions -e __toowl_fish_prompt
    functions -c fish_prompt __toowl_fish_prompt
    function fish_prompt --description $__toowl_described
        # First, so that it sees $status and $pipestatus as they were.
        set -l lines (__toowl_fish_prompt)
        set -l name $TOOWL_SESSION
        test -n "$TOOWL_NAME"; and set name (string replace -ar '[^\w.@:+-]' '' -- $TOOWL_NAME)
        set -l format '[{}] '
        set -q TOOWL_PROMPT; and set format $TOOWL_PROMPT
        while set -q lines[2]; and test -z "$lines[1]" # an empty line before a prompt stays one
            echo
            set -e lines[1]
        end
        printf %s (string replace -a '{}' $name -- $format) $lines[1]
        set -q lines[2]; and printf '\n%s' $lines[2..]
        printf '\e]133;B\a'
    end
end

__toowl_environment

end
