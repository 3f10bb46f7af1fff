# toowl in zsh. As the last line of ~/.zshrc:
#   [[ -z ${TOOWL_SESSION-} ]] || eval "$(toowl shell-integration zsh)"

if [[ -o interactive && -n ${TOOWL_SESSION-} && ${TERM-} != dumb && ${_toowl_shell-} != $$ ]]; then

typeset -g _toowl_shell=$$
typeset -g _toowl_file=${TOOWL_RUNTIME_DIR-}/following/$TOOWL_SESSION.env
typeset -g _toowl_stamp= _toowl_folder= _toowl_url= _toowl_ran=
typeset -g _toowl_head=$'%{\e]133;A\a%}' _toowl_tail=$'%{\e]133;B\a%}'

# What the terminal that was attached last has in its environment, if that is news.
_toowl_environment() {
    emulate -L zsh
    setopt no_err_exit no_err_return
    local stamp line
    [[ -r $_toowl_file ]] || return 0
    {
        builtin read -r stamp
        if [[ $stamp != $_toowl_stamp ]]; then
            _toowl_stamp=$stamp
            while IFS= builtin read -r line; do
                case $line in
                    (*=*) builtin export "$line" ;;
                    (?*) builtin unset "$line" ;;
                esac
            done
        fi
    } <$_toowl_file 2>/dev/null
    return 0
}

# $PWD as in a URL, byte by byte.
_toowl_locate() {
    emulate -L zsh
    setopt no_multibyte extended_glob
    local MATCH MBEGIN MEND
    _toowl_folder=$PWD
    _toowl_url=${PWD//(#m)[^a-zA-Z0-9\/._~-]/%${(l:2::0:)$(([##16]#MATCH))}}
}

_toowl_preexec() {
    _toowl_environment # somebody may have attached since the prompt
    _toowl_ran=1
    builtin print -n '\e]133;C\a' >&2
}

# The last of what runs before a prompt: whatever makes a new PS1 has done so.
_toowl_precmd() {
    local ended=$?
    emulate -L zsh
    setopt no_err_exit no_err_return
    local name lead= rest=${PS1-}
    if [[ -n $_toowl_ran ]]; then
        _toowl_ran=
        builtin print -n "\e]133;D;$ended\a" >&2
    fi
    _toowl_environment
    [[ $PWD == $_toowl_folder ]] || _toowl_locate
    builtin print -rn $'\e]7;file://'"${HOST-}$_toowl_url"$'\a' >&2

    # Ours may be anywhere in there by now: virtualenv puts something before it.
    rest=${rest//"$_toowl_head"/}
    name=${TOOWL_NAME:-$TOOWL_SESSION}
    name=${name//[^[:alnum:]_.@:+-]/}
    _toowl_head=$'%{\e]133;A\a%}'${${TOOWL_PROMPT-"[{}] "}//"{}"/$name}
    rest=${rest//"$_toowl_head"/} # of the shell that this one was started in, if it exports PS1
    rest=${rest//"$_toowl_tail"/}
    while [[ $rest == $'\n'* ]]; do # an empty line before a prompt stays one
        lead+=$'\n' rest=${rest#?}
    done
    PS1=$lead$_toowl_head$rest$_toowl_tail
    [[ $precmd_functions[-1] == _toowl_precmd ]] ||
        precmd_functions=(${precmd_functions:#_toowl_precmd} _toowl_precmd)
    return 0
}

_toowl_environment
typeset -ga precmd_functions preexec_functions
precmd_functions+=(_toowl_precmd)
preexec_functions+=(_toowl_preexec)

fi
