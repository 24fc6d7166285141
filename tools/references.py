"""Numbers and links that read the same in a notebook and on the site.

    python -m tools.references            # write them into every notebook, where they are missing or have moved
    python -m tools.references --check    # end with 1 if a notebook is out of step

An author writes as for the site, `$$ ... $$ {#eq-chapter-name}` under an equation and `@eq-chapter-name`, `@fig-name` or
`@sec-chapter` in the text. In Jupyter and Colab nobody would see a number. So this tool writes the number into the formula,
`\\tag{12.3}`, with an anchor behind it, a link with words for each reference, `[Equation 12.3](#eq-chapter-name)`, and the
number of a figure into its cell, `#| fig-number: Figure 12.1`. The site is made from the short form, which `short` gives
back: nothing is written twice. `make export` runs this; a test holds the notebooks in step.
"""

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Code and formulas, in which nothing is a reference. A displayed equation is taken with what follows it.
CODE = r'^(?:`{3,}|~{3,}).*?^(?:`{3,}|~{3,})[ \t]*$|(?<!`)`+(?!`)[^\n]*?`+'
WRITTEN = re.compile(rf'(?P<code>{CODE})|\$\$(?P<tex>.+?)\$\$(?:[ \t]*\{{#(?P<eq>eq-[\w-]+)\}})?|(?<![\w.@/])@(?P<ref>(?:eq|fig|sec)-[\w-]*\w)', re.M | re.S)
TAGGED = re.compile(r' \\tag\{[\d.]+\}(\s*)\$\$ <a id="(eq-[\w-]+)"></a>')
LINKED = re.compile(r'\[(?:Equation|Figure) [\d.]+\]\((?:\w+\.ipynb)?#((?:eq|fig)-[\w-]+)\)')
CHAPTER = re.compile(r'\[Chapter \d+\]\(\d\d_(\w+)\.ipynb\)')
LABEL = re.compile(r'^#\|\s*label:\s*(fig-[\w-]+)\s*$', re.M)
NUMBERED = re.compile(r'^#\| fig-number: .*\n', re.M)


def short(kind: str, source: str) -> str:
    "The source of a cell as its author wrote it: `{#eq-...}`, `@eq-...`, `@fig-...`, `@sec-...`, no numbers."
    if kind == 'code':
        return NUMBERED.sub('', source) if '#| fig-number' in source else source
    source = TAGGED.sub(r'\1$$ {#\2}', source)
    return CHAPTER.sub(r'@sec-\1', LINKED.sub(r'@\1', source))


def labels(chapters: dict[str, list[tuple[str, str]]]) -> dict[str, tuple[str, str]]:
    "Label -> (name of its notebook, 'Equation 12.3'), from the cells (kind, source) of every notebook; sources may be of either form."
    found = {}
    for name, cells in chapters.items():
        chapter, counts = int(name[:2]), {'Equation': 0, 'Figure': 0}
        found[f'sec-{name[3:-6]}'] = (name, f'Chapter {chapter}')
        for kind, source in cells:
            source = short(kind, source)
            ids = LABEL.findall(source) if kind == 'code' else [m['eq'] for m in WRITTEN.finditer(source) if m['eq']]
            for id in ids:
                word = 'Figure' if kind == 'code' else 'Equation'
                counts[word] += 1
                found[id] = (name, f'{word} {chapter}.{counts[word]}')
    return found


def full(kind: str, source: str, name: str, known: dict[str, tuple[str, str]]) -> str:
    "The source of a cell with its numbers and links; what is not known stays as it is, for a test to find."
    source = short(kind, source)
    if kind == 'code':
        source = source.replace('#| code-fold: true\n', '#| fold\n')  # Quarto's own mark would stay in the exported module
        return LABEL.sub(lambda m: m[0] + (f'\n#| fig-number: {known[m[1]][1]}' if m[1] in known else ''), source)

    def written(m):
        if m['eq'] in known:
            tex, space = re.fullmatch(r'(.*?)(\s*)', m['tex'], re.S).groups()
            return f'$${tex} \\tag{{{known[m["eq"]][1].split()[1]}}}{space}$$ <a id="{m["eq"]}"></a>'
        if m['ref'] not in known:
            return m[0]
        owner, said = known[m['ref']]
        if m['ref'].startswith('sec-'):
            return f'[{said}]({owner})'
        return f'[{said}]({"" if owner == name else owner}#{m["ref"]})'

    return WRITTEN.sub(written, source)


def write_notebook(path: Path, nb: dict) -> None:
    "Write a notebook as nbdev does, whole or not at all."
    from diffbook.store.files import write_whole

    write_whole(path, (json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + '\n').encode())


def rewrite(folder: Path, write: bool = True) -> list[str]:
    "Bring the notebooks of a folder in step; the names of those that were not."
    paths = sorted(folder.glob('[0-9][0-9]_*.ipynb'))
    books = {p.name: json.loads(p.read_text(encoding='utf-8')) for p in paths}
    known = labels({name: [(c['cell_type'], ''.join(c['source'])) for c in nb['cells']] for name, nb in books.items()})
    changed = []
    for path in paths:
        nb, moved = books[path.name], False
        for cell in nb['cells']:
            source = ''.join(cell['source'])
            new = full(cell['cell_type'], source, path.name, known)
            if new != source:
                cell['source'], moved = new.splitlines(keepends=True), True
        if moved:
            changed.append(path.name)
            if write:
                write_notebook(path, nb)
    return changed


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing, end with 1 if a notebook is out of step')
    args = parser.parse_args(words)
    changed = rewrite(ROOT / 'nbs', write=not args.check)
    print('\n'.join(changed) if changed else 'all numbers and links are in step')
    return 1 if changed and args.check else 0


if __name__ == '__main__':
    sys.exit(main())
