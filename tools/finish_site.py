"""The last touch on the built site: chapters keep the numbers of their notebooks, and nothing is left broken.

    python -m tools.finish_site _docs

Quarto counts chapters from 1; here exercise 12-3 belongs to chapter 12. So the numbers in titles, captions and
references are mapped, and then the pages are searched for references that do not resolve and for foreign scripts.
"""

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
KINDS = 'Figure|Table|Equation|Section|Chapter|Listing'


def chapter_numbers(chapters):
    "Map Quarto's number of each chapter to its notebook's; notebooks that share a number get letters."
    names = [c for part in chapters if isinstance(part, dict) for c in part['chapters']]
    given = [str(int(name[:2])) for name in names]
    letters = {i: 'abc'[given[:i].count(n)] for i, n in enumerate(given) if given.count(n) > 1}
    return {str(i + 1): n + letters.get(i, '') for i, n in enumerate(given)}


def renumber(page, numbers):
    "Rewrite Quarto's chapter numbers in the places where Quarto writes them."

    def mapped(m):
        return m[1] + numbers.get(m[2], m[2]) + m[3]

    for pattern in (
        r"""(<span class=.chapter-number.>)(\d+)(</span>)""",
        r'(<title>)(\d+)(&nbsp; )',
        rf'(<figcaption[^>]*>\s*(?:<p>)?(?:{KINDS})&nbsp;)(\d+)(\.\d+)',
        rf'(class="quarto-xref"[^>]*>(?:{KINDS})&nbsp;<span>)(\d+)(\.\d+|</span>)',
        rf'(class="quarto-xref"[^>]*><span>(?:{KINDS})(?:&nbsp;| ))(\d+)(\.\d+|</span>)',
    ):
        page = re.sub(pattern, mapped, page)
    return EQUATION.sub(lambda m: equation(m, numbers), page)


# Quarto writes the number of an equation into its formula: 2em of space, then "(chapter.number)", then the formula ends.
NUMBER = r'<mspace width="2.0em"></mspace><mrow><mo[^>]*>\(</mo><mn>(\d+)\.(\d+)</mn><mo[^>]*>\)</mo></mrow>'
EQUATION = re.compile(
    r'<span id="(eq-[\w-]+)">(<math(?:(?!<math|</math).)*)' + NUMBER + r'((?:(?!<math).)*?</math>)</span>', re.S
)


def equation(m, numbers):
    "The formula, free to scroll, and its number at the right margin."
    id, formula, chapter, number, end = m.groups()
    end = re.sub(r'\\qquad\(\d+\.\d+\)', '', end)
    label = f'<span class="eq-number">({numbers.get(chapter, chapter)}.{number})</span>'
    return f'<span id="{id}" class="equation"><span class="formula">{formula}{end}</span>{label}</span>'


def problems(name, page):
    "What must not be left on a page."
    if m := re.search(r'\?@[\w-]+|<strong>\?[\w-]+\?</strong>|class="citeproc-not-found"', page):
        yield f'{name}: unresolved {m[0]}'
    for m in re.finditer(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', page):
        if 'rel="canonical"' not in m[0]:
            yield f'{name}: loads {m[1]} from another host'
    if re.search(NUMBER + r'</mrow><annotation', page):
        yield f'{name}: an equation number was left in its formula'
    if m := re.search(r'<span class="math[^"]*">\s*[\\$]', page):
        yield f'{name}: a formula that was not converted: {page[m.start() : m.start() + 120]}'


def broken_links(folder):
    pages = {p.name: p.read_text(encoding='utf-8') for p in folder.glob('*.html')}
    ids = {name: set(re.findall(r'\bid="([^"]+)"', page)) for name, page in pages.items()}
    for name, page in pages.items():
        for href in re.findall(r'<a[^>]+href="([^"]+)"', page):
            if re.match(r'[a-z]+:|javascript', href) or href == '#':
                continue
            target, _, anchor = href.removeprefix('./').partition('#')
            target = target or name
            if target not in pages and not (folder / target).exists():
                yield f'{name}: {href} leads nowhere'
            elif anchor and target in ids and anchor not in ids[target] and not anchor.startswith(('cb', '_')):
                yield f'{name}: {href}: no such anchor'


def main(folder):
    numbers = chapter_numbers(yaml.safe_load((ROOT / '_quarto.yml').read_text(encoding='utf-8'))['book']['chapters'])
    wrong = []
    for path in sorted(folder.glob('*.html')):
        page = renumber(path.read_text(encoding='utf-8'), numbers)
        path.write_text(page, encoding='utf-8')
        wrong += problems(path.name, page)
    search = folder / 'search.json'
    text = search.read_text(encoding='utf-8')
    text = re.sub(
        r"(<span class='chapter-number'>)(\d+)(</span>)", lambda m: m[1] + numbers.get(m[2], m[2]) + m[3], text
    )
    text = re.sub(r'("title": ")(\d+)(\u00a0)', lambda m: m[1] + numbers.get(m[2], m[2]) + m[3], text)
    search.write_text(text, encoding='utf-8')
    wrong += broken_links(folder)
    print('\n'.join(wrong))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main(Path(sys.argv[1])))
