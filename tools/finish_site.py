"""The last touch on the built site: chapters keep the numbers of their notebooks, and nothing is left broken.

    python -m tools.finish_site _docs

Quarto counts chapters from 1; here exercise 12-3 belongs to chapter 12. So the numbers in titles, captions and
references are mapped, and then the pages are searched for references that do not resolve and for foreign scripts.
"""

import ast
import json
import re
import sys
from pathlib import Path

import yaml

from tools import live, web

ROOT = Path(__file__).parent.parent
KINDS = 'Figure|Table|Equation|Section|Chapter|Listing'
# Where Quarto 1.5 writes a chapter's number: (what it is, the mark of such a place, the place with the number in it).
PLACES = [
    (
        'chapter numbers in titles and the sidebar',
        'class=.chapter-number.',
        r"""(<span class=.chapter-number.>)(\d+)(</span>)""",
    ),
    ("the chapter's number in the title of the page", '<title>', r'(<title>)(\d+)(&nbsp; )'),
    ('numbers of captions', '<figcaption', rf'(<figcaption[^>]*>\s*(?:<p>)?(?:{KINDS})&nbsp;)(\d+)(\.\d+)'),
    (
        'numbers of references',
        'class="quarto-xref"',
        rf'(class="quarto-xref"[^>]*>(?:<span>)?(?:{KINDS})(?:&nbsp;| )(?:<span>)?)(\d+)(\.\d+|</span>)',
    ),
]


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

    for _, _, pattern in PLACES:
        page = re.sub(pattern, mapped, page)
    for combining, alone in ACCENTS.items():
        page = page.replace(f'<mo accent="true">{combining}</mo>', f'<mo accent="true">{alone}</mo>')
    return EQUATION.sub(lambda m: equation(m, numbers), page)


# Pandoc's accents are characters that combine with the one before; over a letter of a formula browsers draw them too far left.
ACCENTS = {'\u0307': '\u02d9', '\u0303': '~'}  # the dot and the tilde
# Quarto writes the number of an equation into its formula: 2em of space, then "(chapter.number)", then the formula ends.
NUMBER = r'<mspace width="2.0em"></mspace><mrow><mo[^>]*>\(</mo><mn>(\d+)\.(\d+)</mn><mo[^>]*>\)</mo></mrow>'
EQUATION = re.compile(r'<span id="(eq-[\w-]+)">(<math(?:(?!<math|</math).)*)' + NUMBER + r'((?:(?!<math).)*?</math>)</span>', re.S)


def equation(m, numbers):
    "The formula, free to scroll, and its number at the right margin."
    id, formula, chapter, number, end = m.groups()
    end = re.sub(r'\\qquad\(\d+\.\d+\)', '', end)
    label = f'<span class="eq-number">({numbers.get(chapter, chapter)}.{number})</span>'
    return f'<span id="{id}" class="equation"><span class="formula">{formula}{end}</span>{label}</span>'


def own_links(name, page, site, anchors):
    """Turn nbdev's links for `names` in the text, which go to the published site, into links within these pages.

    nbdev takes the first module that has such a name. A page's own definition goes first; a name that the page's module
    has from elsewhere, or whose definition is not shown, is no link. `anchors` are the ids of each page.
    """

    def mended(m):
        target, word = m['page'], m['anchor']
        if word in anchors.get(name, ()):
            return f'<a href="#{word}">{m["code"]}</a>'
        shown = word in anchors.get(target, ()) and (target == name or word not in exported(name))
        return f'<a href="{target}#{word}">{m["code"]}</a>' if shown else m['code']

    link = rf'<a href="{re.escape(site)}/(?P<page>\w+\.html)#(?P<anchor>[\w.]+)"[^>]*>(?P<code><code>[^<]*</code>)</a>'
    page = re.sub(rf'\[(<code>[^<]*</code>)\]\({re.escape(site)}/[^)\s]*\)', r'\1', page)  # of a name that was a link already
    return re.sub(link, mended, page)


def exported(name):
    "What the module of a page offers, in small letters."
    path = ROOT / 'diffbook' / f'{Path(name).stem}.py'
    for node in ast.parse(path.read_text(encoding='utf-8')).body if path.exists() else ():
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '__all__':
            return {word.lower() for word in ast.literal_eval(node.value)}
    return set()


def let_wide_figures_scroll(page, folder):
    "Wrap figures of several panels side by side, which a phone would shrink until nothing can be read."

    def wrapped(m):
        path = folder / m[1]
        head = path.read_bytes()[:24] if path.suffix == '.png' and path.exists() else bytes(24)
        width, height = int.from_bytes(head[16:20], 'big'), int.from_bytes(head[20:24], 'big')
        return f'<span class="wide-figure">{m[0]}</span>' if width > 2.1 * height > 0 else m[0]

    return re.sub(r'<img src="([^"]+)" class="img-fluid figure-img"[^>]*>', wrapped, page)


def say_what_figures_show(page):
    "Give a picture that has no text in its place the number and the first sentence of its caption, for readers who do not see it."

    def named(m):
        caption = re.search(r'<figcaption[^>]*>(.*?)</figcaption>', m[0], re.S)
        if not caption:
            return m[0]
        text = re.sub(r'<annotation.*?</annotation>|<[^>]+>', '', caption[1], flags=re.S).replace('"', '&quot;')
        said = re.split(r'(?<=[.?!]) ', ' '.join(text.replace('&nbsp;', ' ').split()))[0]
        return re.sub(r'<img (?![^>]*\balt=)([^>]*?)( ?/?>)', lambda i: f'<img {i[1]} alt="{said}"{i[2]}', m[0])

    return re.sub(r'<figure\b.*?</figure>', named, page, flags=re.S)


def strange(name, page):
    "Where a page of a chapter, fresh from Quarto, does not look as this file expects."
    if 'class="equation"' in page:
        yield f'{name}: it was finished before; build the site anew'
    for what, mark, pattern in (*PLACES, ('numbers of equations', 'id="eq-', EQUATION)):
        there, found = len(re.findall(mark, page)), len(re.findall(pattern, page))
        if there != found or (not there and what.startswith(('chapter', 'the chapter'))):
            yield f'{name}: {what}: {there} places, and {found} of them as Quarto 1.5 writes them'


def refuse_strange(pages, chapters):
    "Stop before anything is written if Quarto's pages have another form."
    wrong = [line for name in chapters for line in (strange(name, pages[name]) if name in pages else [f'{name} is missing'])]
    if wrong:
        made = sorted({m for page in pages.values() for m in re.findall(r'name="generator" content="([^"]+)"', page)})
        sys.exit('\n'.join([
            'The pages are not what tools/finish_site.py expects, and none was changed.',
            f'It was written for the HTML of Quarto 1.5.57; these pages were made by {", ".join(made) or "something unknown"}.',
            'Use that version, or change PLACES and EQUATION there.', *wrong[:20]]))  # fmt: skip


def problems(name, page):
    "What must not be left on a page."
    if m := re.search(r'\?@[\w-]+|<strong>\?[\w-]+\?</strong>|class="citeproc-not-found"', page):
        yield f'{name}: unresolved {m[0]}'
    for m in re.finditer(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', page):
        if 'rel="canonical"' not in m[0]:
            yield f'{name}: loads {m[1]} from another host'
    ids = [id for id in re.findall(r'<[^>]* id="([^"]+)"', page) if not id.startswith('quarto-')]
    if twice := sorted({id for id in ids if ids.count(id) > 1}):
        yield f'{name}: more than one place has the anchor {", ".join(twice)}'
    if m := re.search(r'\]\(https?://[^)\s]+\)', re.sub(r'<(pre|code|script|annotation)\b.*?</\1>', '', page, flags=re.S)):
        yield f'{name}: a link that was not made: {page[max(m.start() - 60, 0) : m.end()]}'
    if re.search(NUMBER + r'</mrow><annotation', page):
        yield f'{name}: an equation number was left in its formula'
    if m := re.search(r'<span class="math[^"]*">\s*[\\$]', page):
        yield f'{name}: a formula that was not converted: {page[m.start() : m.start() + 120]}'


def broken_links(folder):
    pages = {p.name: p.read_text(encoding='utf-8') for p in folder.glob('*.html')}
    ids = {name: set(re.findall(r'\bid="([^"]+)"', page)) for name, page in pages.items()}
    for name, page in pages.items():
        for href in re.findall(r'<a[^>]+href="([^"]+)"', page):
            if re.match(r'[a-z]+:|javascript|/', href) or href == '#':
                continue
            target, _, anchor = href.removeprefix('./').partition('#')
            target = target or name
            if target not in pages and not (folder / target).exists():
                yield f'{name}: {href} leads nowhere'
            elif anchor and target in ids and anchor not in ids[target] and not anchor.startswith(('cb', '_')):
                yield f'{name}: {href}: no such anchor'


def main(folder):
    book = yaml.safe_load((ROOT / '_quarto.yml').read_text(encoding='utf-8'))['book']
    chapters, site = book['chapters'], book['site-url']
    numbers = chapter_numbers(chapters)
    pages = {path.name: path.read_text(encoding='utf-8') for path in folder.glob('*.html')}
    names = [c for part in chapters if isinstance(part, dict) for c in part['chapters']]
    refuse_strange(pages, [f'{Path(c).stem[3:]}.html' for c in names])
    wrong = []
    anchors = {name: set(re.findall(r'\bid="([^"]+)"', page)) for name, page in pages.items()}
    web.notebooks(folder)
    index = []
    crumbs = {f'{Path(c).stem[3:]}.html': part['part'] for part in chapters if isinstance(part, dict) for c in part['chapters']}
    for path in sorted(folder.glob('*.html')):
        page = pages[path.name]
        if 'id="quarto-content"' in page:  # not those that are alone, such as play.html
            page = let_wide_figures_scroll(renumber(page, numbers), folder)
            page = say_what_figures_show(own_links(path.name, page, site, anchors))
            page = web.with_head(path.name, live.with_scripts(page), site)
            index += web.entries(path.name, page, [crumbs[path.name]] if path.name in crumbs else [])
            path.write_text(page, encoding='utf-8')
        wrong += problems(path.name, page)
    index += web.word_entries()
    (folder / 'search.json').write_text(json.dumps(index, ensure_ascii=False), encoding='utf-8')
    wrong += broken_links(folder)
    print('\n'.join(wrong))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main(Path(sys.argv[1])))
