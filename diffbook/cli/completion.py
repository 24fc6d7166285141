"""`diffbook completion`: what a shell can complete, written from the commands as they are, so that no Python runs at a Tab."""

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import typer

from diffbook.cli.app import app

SHELLS = ('bash', 'zsh', 'fish')
MODELS = ('sample', 'evaluate', 'export', 'push')  # commands that take a model first


class Option(NamedTuple):
    "An option of a command, as it is typed."

    names: tuple[str, ...]
    takes: bool  # a value
    values: tuple[str, ...]  # that are known
    help: str


@app.command()
def completion(shell: Annotated[str, typer.Argument(help=f'One of {", ".join(SHELLS)}.')]) -> None:
    """Print what lets a shell complete commands, options, names of models and files.

    Example, for bash: `diffbook completion bash > ~/.local/share/bash-completion/completions/diffbook`

    For zsh: `diffbook completion zsh >> ~/.zshrc`; for fish: `diffbook completion fish > ~/.config/fish/completions/diffbook.fish`
    """
    if shell not in SHELLS:
        raise ValueError(f'the shell is {shell}, expected {", ".join(SHELLS)}')
    print({'bash': bash, 'zsh': zsh, 'fish': fish}[shell](options()))


def known() -> dict[str, tuple[str, ...]]:
    "Options whose values have names."
    from diffbook.cli.export import TO
    from diffbook.cli.logs import LOGS
    from diffbook.cli.models import FEW, GRIDS, SOLVERS
    from diffbook.cli.pictures import FORMATS
    from diffbook.cli.train import METHOD_NAMES, RECIPE_NAMES, WORDS
    from diffbook.runs import CHANGES

    own = {
        'solver': (*SOLVERS, *FEW),
        'grid': tuple(GRIDS),
        'method': METHOD_NAMES,
        'recipe': RECIPE_NAMES,
        'to': TO,
        'log': tuple(LOGS),
        'device': ('cpu', 'cuda', 'mps'),
    }
    own |= {
        'each': tuple(suffix[1:] for suffix in FORMATS),
        'change': tuple(name.replace('_', '-') for name in CHANGES),
        'data': ('shapes', *downloads()),
        'init': zoo(),
        'upscale': zoo(),
    }
    return own | WORDS


def downloads() -> tuple[str, ...]:
    "The data sets that can be fetched."
    from diffbook.store.sets import SOURCES

    return tuple(SOURCES)


def zoo() -> tuple[str, ...]:
    "The models that come with the package."
    from importlib import resources
    from pathlib import Path

    return tuple(sorted(path.parent.name for path in Path(str(resources.files('diffbook'))).glob('zoo/*/model.safetensors')))


def options() -> dict[str, tuple[str, list[Option]]]:  # command -> what it does, and its options
    "Every command with its options, in the order of the help."
    root, values = typer.main.get_command(app), known()
    own = [option_of(p, {}) for p in root.params if p.name != 'help']
    found = {'': ('', own)}
    for name, command in root.commands.items():
        params = [p for p in command.params if any(o.startswith('-') for o in p.opts)]
        found[name] = ((command.help or '').split('\n')[0], [option_of(p, values) for p in params])
    return found


def option_of(p: Any, values: dict[str, tuple[str, ...]]) -> Option:
    flag = bool(getattr(p, 'is_flag', False))
    return Option((*p.opts, *p.secondary_opts), not flag, () if flag else tuple(values.get(p.name, ())), (getattr(p, 'help', None) or '').split('\n')[0])


def first(command: str) -> tuple[str, ...]:
    "What may come first after a command."
    return zoo() if command in MODELS else downloads() if command == 'data' else SHELLS if command == 'completion' else ()


def bash(found: dict[str, tuple[str, list[Option]]]) -> str:
    "A function for bash: after an option its values, after a dash options, else names and files."
    commands = [name for name in found if name]
    cases, words, starts = [], [], []
    for name in commands:
        for option in found[name][1]:
            if option.takes:
                what = f'-W "{" ".join(option.values)}"' if option.values else ''
                cases += [f'        "{name} {typed}") COMPREPLY=($(compgen {what} -f -- "$cur")); return;;' for typed in option.names]
        words.append(f'        {name}) words="{" ".join(word for option in (*found[""][1], *found[name][1]) for word in option.names)} --help";;')
        starts.append(f'        {name}) words="{" ".join(first(name))}";;')
    return '\n'.join([
        '# completion of diffbook, written by: diffbook completion bash', '_diffbook() {',
        '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" command="" word words=""',
        '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do', f'        case "$word" in {"|".join(commands)}) command="$word"; break;; esac', '    done',
        '    case "$command $prev" in', *cases, '    esac',
        '    if [[ -z "$command" ]]; then', f'        COMPREPLY=($(compgen -W "{" ".join(commands)} {" ".join(w for o in found[""][1] for w in o.names)} --help" -- "$cur")); return', '    fi',
        '    if [[ "$cur" == -* ]]; then', '        case "$command" in', *(f'    {line}' for line in words), '        esac', '        COMPREPLY=($(compgen -W "$words" -- "$cur")); return', '    fi',
        '    case "$command" in', *starts, '    esac', '    COMPREPLY=($(compgen -W "$words" -f -- "$cur"))', '}', 'complete -o filenames -F _diffbook diffbook',
    ])  # fmt: skip


def zsh(found: dict[str, tuple[str, list[Option]]]) -> str:
    "The same for zsh, which has a door for functions of bash."
    return 'autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n' + bash(found)


def fish(found: dict[str, tuple[str, list[Option]]]) -> str:
    "A line for each command and each option."
    return '\n'.join(['# completion of diffbook, written by: diffbook completion fish', *_lines(found)])


def _lines(found: dict[str, tuple[str, list[Option]]]) -> Iterator[str]:
    for name, (about, own) in found.items():
        where = f'-n "__fish_seen_subcommand_from {name}"' if name else ''
        if name:
            yield f"complete -c diffbook -f -n __fish_use_subcommand -a {name} -d '{_quoted(about)}'"
            if first(name):
                yield f"complete -c diffbook {where} -a '{' '.join(first(name))}'"
        for option in own:
            typed = ' '.join(f'-l {word[2:]}' if word.startswith('--') else f'-s {word[1:]}' for word in option.names)
            takes = f" -r -a '{' '.join(option.values)}'" if option.values else ' -r' if option.takes else ''
            yield f"complete -c diffbook {where} {typed}{takes} -d '{_quoted(option.help)}'"


def _quoted(text: str) -> str:
    return text.replace('`', '').replace('\\', '\\\\').replace("'", "\\'")[:100]
