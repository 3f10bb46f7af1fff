# toowl in bash. As the last line of ~/.bashrc:
#   [ -z "${TOOWL_SESSION-}" ] || eval "$(toowl shell-integration bash)"

if [[ $- == *i* && -n ${TOOWL_SESSION-} && ${TERM-} != dumb && ${_toowl_shell-} != "$$" ]]; then

_toowl_shell=$$
_toowl_file=${TOOWL_RUNTIME_DIR-}/following/$TOOWL_SESSION.env
_toowl_stamp= _toowl_folder= _toowl_url= _toowl_ran=
_toowl_head='\[\e]133;A\a\]'
_toowl_tail='\[\e]133;B\a\]'
# Expanded after a command was read and before it runs, so it can note that one does, without a DEBUG trap.
_toowl_ps0='${_toowl_ran:$((_toowl_ran=1,0)):0}\e]133;C\a'

# What the terminal that was attached last has in its environment, if that is news.
_toowl_environment() {
    local stamp line
    if [[ ! -r $_toowl_file ]]; then
        return 0
    fi
    {
        builtin read -r stamp || :
        if [[ $stamp != "$_toowl_stamp" ]]; then
            _toowl_stamp=$stamp
            while IFS= builtin read -r line; do
                case $line in
                    *=*) builtin export "$line" || : ;;
                    ?*) builtin unset -v "$line" || : ;;
                esac
            done
        fi
    } <"$_toowl_file" 2>/dev/null
    return 0
}

# $PWD as in a URL, byte by byte.
_toowl_locate() {
    local LC_ALL=C path=$PWD url= char code at
    _toowl_folder=$PWD
    for ((at = 0; at < ${#path}; at++)); do
        char=${path:at:1}
        case $char in
            [a-zA-Z0-9/._~-]) url+=$char ;;
            *)
                builtin printf -v code %02X "'$char"
                url+=%${code: -2} # of a byte above 7F it makes a negative number
                ;;
        esac
    done
    _toowl_url=$url
}

# The last of what runs before a prompt: whatever makes a new PS1 has done so.
_toowl_prompt() {
    local ended=${1-$?} name lead= rest=${PS1-}
    if [[ $_toowl_ran ]]; then
        _toowl_ran=
        builtin printf '\e]133;D;%s\a' "$ended" >&2
    fi
    _toowl_environment
    if [[ $PWD != "$_toowl_folder" ]]; then
        _toowl_locate
    fi
    builtin printf '\e]7;file://%s%s\a' "${HOSTNAME-}" "$_toowl_url" >&2

    # Ours may be anywhere in there by now: virtualenv puts something before it.
    rest=${rest//"$_toowl_head"/}
    name=${TOOWL_NAME:-$TOOWL_SESSION}
    name=${name//[^[:alnum:]_.@:+-]/}
    _toowl_head='\[\e]133;A\a\]'${TOOWL_PROMPT-"[{}] "}
    _toowl_head=${_toowl_head//"{}"/$name}
    rest=${rest//"$_toowl_head"/} # of the shell that this one was started in, if it exports PS1
    rest=${rest//"$_toowl_tail"/}
    while [[ $rest == '\n'* || $rest == $'\n'* ]]; do # an empty line before a prompt stays one
        if [[ $rest == '\n'* ]]; then
            lead+='\n' rest=${rest#??}
        else
            lead+=$'\n' rest=${rest#?}
        fi
    done
    PS1=$lead$_toowl_head$rest$_toowl_tail
    if [[ ${PS0-} != *"$_toowl_ps0"* ]]; then
        PS0=${PS0-}$_toowl_ps0
    fi
    if ((_toowl_array)); then
        _toowl_queue
    fi
    return 0
}

# Have it run behind whatever has come since.
_toowl_queue() {
    if [[ ${bash_preexec_imported-}${__bp_imported-} ]]; then
        # It takes what runs behind its own for a command of the user.
        if [[ ${precmd_functions[*]-} != *_toowl_prompt ]]; then
            _toowl_take_out precmd_functions
            precmd_functions+=(_toowl_prompt)
        fi
        _toowl_take_out PROMPT_COMMAND
    elif [[ ${PROMPT_COMMAND[*]-} != *_toowl_prompt ]]; then
        _toowl_take_out PROMPT_COMMAND
        PROMPT_COMMAND+=(_toowl_prompt) # each of them finds $? as it was
    fi
}

_toowl_take_out() {
    local -n _toowl_list=$1
    local each
    local -a others=()
    for each in "${_toowl_list[@]}"; do
        if [[ $each && $each != _toowl_prompt ]]; then
            others+=("$each")
        fi
    done
    _toowl_list=("${others[@]}")
}

# Gives $? back, for what comes next. With -e that would end the shell.
_toowl_keep() {
    if [[ $- == *e* ]]; then
        return 0
    fi
    return "$_toowl_ended"
}

_toowl_environment
_toowl_array=$((BASH_VERSINFO[0] > 5 || BASH_VERSINFO[0] == 5 && BASH_VERSINFO[1] > 0)) # of PROMPT_COMMAND
if ((_toowl_array)); then
    _toowl_queue
else
    PROMPT_COMMAND='_toowl_ended=$?; _toowl_keep'$'\n'${PROMPT_COMMAND:+$PROMPT_COMMAND$'\n'}'_toowl_prompt "$_toowl_ended"'
fi

fi
