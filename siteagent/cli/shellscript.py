"""Completion scripts, made from the commands and their options.

bash and zsh share tables (functions that print words); what they have in common with fish is that snapshots are asked
for with `farkeep snapshots --names`, only when a home is known, for no longer than two seconds, and without a word on
the terminal whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from siteagent.cli.grammar import Described, Option, describe, global_options
from siteagent.cli.parser import COMMANDS

_FILES = frozenset({"FILE", "F", "P", "PATH"})
_FOLDERS = frozenset({"DIR", "H"})
_WORDS = {"CLASS": "idle best-effort:0 best-effort:7", "WHEN": ""}


def _kind(value: str) -> str:
    """What a value is: `files`, `folders`, `snapshots`, words to choose from, or nothing that is known."""
    if value in _FILES:
        return "files"
    if value in _FOLDERS:
        return "folders"
    if value.startswith("SNAP"):
        return "snapshots"
    return value.replace("|", " ") if "|" in value else _WORDS.get(value, "")


def _described() -> list[Described]:
    return [describe(name) for name in COMMANDS]


def _names(options: Iterable[Option]) -> str:
    return " ".join(name for option in options for name in option.names)


def _case(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"        {pattern}) echo '{words}' ;;" for pattern, words in rows if words)


def _value_rows(commands: list[Described]) -> list[tuple[str, str]]:
    """Which options take a value, by the kind of the value (`-` when nothing is known about it)."""
    by_kind: dict[str, set[str]] = {}
    for option in [*global_options(), *(option for command in commands for option in command.options)]:
        # --wait may stand without its number, so what follows is no value to be sure.
        if option.value and option.names and "--wait" not in option.names:
            by_kind.setdefault(_kind(option.value) or "-", set()).update(option.names)
    return [("|".join(sorted(names)), kind) for kind, names in sorted(by_kind.items())]


def _argument_kind(command: Described) -> str:
    return next((_kind(option.value) for option in command.options if option.is_argument), "")


def _tables() -> str:
    commands = _described()
    groups: dict[str, list[str]] = {}
    for name in COMMANDS:
        if " " in name:
            groups.setdefault(name.split()[0], []).append(name.split()[1])
    first = " ".join(dict.fromkeys(name.split()[0] for name in COMMANDS))
    options = _case((f"'{command.name}'", _names(command.options)) for command in commands)
    arguments = _case((f"'{command.name}'", _argument_kind(command)) for command in commands)
    return _TABLES.format(
        first=first, groups=_case((group, " ".join(actions)) for group, actions in groups.items()),
        everywhere=_names(global_options()), options=options, arguments=arguments, values=_case(_value_rows(commands)),
    )  # fmt: skip


def bash() -> str:
    """The script for bash 4.4 and later."""
    return f"# Completion of farkeep for bash: source <(farkeep completion bash)\n{_tables()}{_BASH}"


def zsh() -> str:
    """The script for zsh, to be sourced after compinit or kept as _farkeep in a folder of fpath."""
    return f"#compdef farkeep\n# Completion of farkeep for zsh: source <(farkeep completion zsh)\n{_tables()}{_ZSH}"


def fish() -> str:
    """The script for fish 3.1 and later."""
    commands = _described()
    valued = " ".join(names.replace("|", " ") for names, _ in _value_rows(commands))
    lines = [_FISH_HEAD.replace("{valued}", valued).rstrip("\n")]
    for name in dict.fromkeys(name.split()[0] for name in COMMANDS):
        summary = COMMANDS[name].summary if name in COMMANDS else "more commands"
        lines.append(f"complete -c farkeep -n __farkeep_at -a {name} -d {_quoted(summary)}")
    for name, command in COMMANDS.items():
        group, _, action = name.partition(" ")
        if action:
            lines.append(f"complete -c farkeep -n '__farkeep_at {group}' -a {action} -d {_quoted(command.summary)}")
    lines += [_fish_option("", option) for option in global_options()]
    for each in commands:
        condition = f" -n '__farkeep_in {each.name}'"
        lines += [_fish_option(condition, option) for option in each.options if option.names]
        if kind := _argument_kind(each):
            lines.append(f"complete -c farkeep{condition} {_fish_value(kind)}")
    return "\n".join([*lines, ""])


def _fish_option(condition: str, option: Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    has_value = option.value and "--wait" not in option.names
    value = f" -r {_fish_value(_kind(option.value))}" if has_value else ""
    return f"complete -c farkeep{condition} {names}{value} -d {_quoted(option.help)}"


def _fish_value(kind: str) -> str:
    if kind == "files":
        return "-F"
    commands = {"snapshots": "(__farkeep_snapshots)", "folders": "(__fish_complete_directories (commandline -ct))"}
    return f"-f -a {_quoted(commands.get(kind, kind))}" if kind else "-f"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: dict[str, Callable[[], str]] = {"bash": bash, "zsh": zsh, "fish": fish}

_TABLES = """
__farkeep_commands() {{
    case "$1" in
        '') echo '{first}' ;;
{groups}
    esac
}}

__farkeep_options() {{
    echo '{everywhere}'
    case "$1" in
{options}
    esac
}}

__farkeep_arguments() {{
    case "$1" in
{arguments}
    esac
}}

__farkeep_values() {{
    case "$1" in
{values}
    esac
}}

# What may follow: (command so far) (word before) (word so far)
__farkeep_kind() {{
    local kind
    kind=$(__farkeep_values "$2")
    if [ -n "$kind" ]; then
        echo "$kind"
    elif [ "${{3#-}}" != "$3" ]; then
        __farkeep_options "$1"
    else
        kind=$(__farkeep_commands "$1")
        echo "${{kind:-$(__farkeep_arguments "$1")}}"
    fi
}}

__farkeep_snapshots() {{
    [ -n "$1" ] || return 0
    if command -v timeout >/dev/null 2>&1; then
        timeout 2 farkeep --home "$1" snapshots --names </dev/null 2>/dev/null
    else
        farkeep --home "$1" snapshots --names </dev/null 2>/dev/null
    fi
}}
"""

_BASH = """
__farkeep() {
    local line=${COMP_LINE:0:COMP_POINT} current='' before='' name='' home=${FARKEEP_HOME-} kind='' word candidate cut
    local -a given=()
    read -ra given <<<"$line"
    if [[ $line != *[[:space:]] && ${#given[@]} -gt 0 ]]; then
        current=${given[-1]}
        unset 'given[-1]'
    fi
    for word in "${given[@]:1}"; do
        if [[ $before == --home ]]; then home=$word; fi
        if [[ $word == --home=* ]]; then home=${word#--home=}; fi
        if [[ $word != -* && -z $(__farkeep_values "$before") ]]; then
            if [[ -z $name || " $(__farkeep_commands "$name") " == *" $word "* ]]; then name="${name:+$name }$word"; fi
        fi
        before=$word
    done
    home=${home/#\\~/$HOME}
    COMPREPLY=()
    kind=$(__farkeep_kind "$name" "$before" "$current")
    case "$kind" in
        files) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        folders) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        snapshots) kind=$(__farkeep_snapshots "$home") ;;&
        ''|-|files|folders) ;;
        *)
            # The shell takes what follows one of these characters for a word of its own.
            cut=${current%"${current##*[@:=]}"}
            for candidate in $kind; do
                if [[ $candidate == "$current"* ]]; then COMPREPLY+=("${candidate#"$cut"}"); fi
            done ;;
    esac
}
complete -F __farkeep farkeep
"""

_ZSH = """
_farkeep() {
    local name='' before='' home=${FARKEEP_HOME-} kind='' word current=${words[CURRENT]}
    local -a candidates
    for word in "${(@)words[2,CURRENT-1]}"; do
        if [[ $before == --home ]]; then home=${~word}; fi
        if [[ $word == --home=* ]]; then home=${word#--home=}; fi
        if [[ $word != -* && -z "$(__farkeep_values "$before")" ]]; then
            if [[ -z $name || " $(__farkeep_commands "$name") " == *" $word "* ]]; then name="${name:+$name }$word"; fi
        fi
        before=$word
    done
    kind=$(__farkeep_kind "$name" "$before" "$current")
    case $kind in
        files) _files ;;
        folders) _files -/ ;;
        ''|-) ;;
        *)
            if [[ $kind == snapshots ]]; then kind=$(__farkeep_snapshots "$home"); fi
            candidates=(${=kind})
            compadd -a candidates ;;
    esac
}
if [ "$funcstack[1]" = "_farkeep" ]; then
    _farkeep "$@"
elif whence compdef >/dev/null; then
    compdef _farkeep farkeep
fi
"""

_FISH_HEAD = """# Completion of farkeep for fish: farkeep completion fish | source
function __farkeep_words
    set -l before
    for word in (commandline -opc)[2..-1]
        if not contains -- "$before" {valued}; and not string match -q -- '-*' $word
            echo $word
        end
        set before $word
    end
end

function __farkeep_at
    set -l given (__farkeep_words)
    test "$given" = "$argv"
end

function __farkeep_in
    set -l given (__farkeep_words)
    string match -q -- "$argv *" "$given "
end

function __farkeep_snapshots
    set -l home $FARKEEP_HOME
    set -l given (commandline -opc)
    for at in (seq (count $given))
        if test "$given[$at]" = --home; and set -q given[(math $at + 1)]
            set home $given[(math $at + 1)]
        end
    end
    test -n "$home"; or return 0
    if command -q timeout
        timeout 2 farkeep --home "$home" snapshots --names </dev/null 2>/dev/null
    else
        farkeep --home "$home" snapshots --names </dev/null 2>/dev/null
    end
end

complete -c farkeep -f
"""
