"""What every finished page gets beside its text: head and buttons, the search index, the notebooks to download.

tools/finish_site.py calls this on the pages that Quarto has made.
"""

import json
import re
import shutil
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path

from tools import book

ROOT = Path(__file__).resolve().parents[1]
# Before anything is painted: the reader's choice of theme, or the system's. The dark sheet comes later in the page, so it wins.
THEME = """<script>
(() => {
  const key = 'quarto-color-scheme', dark = matchMedia('(prefers-color-scheme: dark)').matches, file = location.protocol === 'file:';
  let said = null;
  try { said = file ? null : localStorage.getItem(key); if (!file && (!said || localStorage.getItem('diffbook-system'))) { localStorage.setItem('diffbook-system', '1'); localStorage.setItem(key, said = dark ? 'alternate' : 'default'); } } catch {}
  if (said === 'alternate' || (file && dark)) document.querySelectorAll('link.quarto-color-alternate').forEach((link) => { link.rel = 'stylesheet'; });
  addEventListener('click', (e) => { if (e.target.closest('.quarto-color-scheme-toggle')) try { localStorage.removeItem('diffbook-system'); } catch {} }, true);
  if (file && dark) addEventListener('load', () => window.quartoToggleColorScheme?.());
})();
</script>"""  # fmt: skip


def with_head(name: str, page: str, site: str) -> str:
    "A page with its address, card, icon and script, and a link that skips the sidebar."
    title = unescape(re.search(r'<title>(.*?)</title>', page, re.S)[1]).replace('\xa0', ' ')
    line = re.search(r'<div class="chapter-line">\s*<p>(.*?)</p>', page, re.S)
    about = ' '.join(unescape(re.sub(r'<annotation.*?</annotation>|<[^>]+>', '', line[1], flags=re.S)).split()) if line else None
    address = f'{site}/' if name == 'index.html' else f'{site}/{name}'
    if about:
        page = re.sub(r'(<meta name="description" content=")[^"]*', lambda m: m[1] + escape(about), page, count=1)
    described = about or unescape(re.search(r'<meta name="description" content="([^"]*)"', page)[1])
    tags = {
        'og:title': title,
        'og:description': described,
        'og:url': address,
        'og:type': 'article',
        'og:site_name': 'diffbook',
        'og:image': f'{site}/images/card.png',
    }
    head = [
        f'<link rel="canonical" href="{address}">',
        '<link rel="icon" type="image/svg+xml" href="images/icon.svg">',
        *(f'<meta property="{key}" content="{escape(value)}">' for key, value in tags.items()),
        '<meta name="twitter:card" content="summary_large_image">',
        '<script src="styles/page.js" defer></script>',
        THEME,
    ]
    page = page.replace('<body', '\n'.join(head) + '\n<body', 1) if '</head>' not in page else page.replace('</head>', '\n'.join(head) + '\n</head>', 1)
    page = re.sub(r'<script src="(site_libs/[^"]+)"></script>', r'<script src="\1" defer></script>', page)  # what is read comes first
    page = re.sub(r'(<body[^>]*>)', r'\1\n<a class="skip-link" href="#quarto-document-content">Skip to the text</a>', page, count=1)
    page = re.sub(r'download="(\d\d_\w+\.ipynb)" href="#notebook"', r'download="\1" href="notebooks/\1"', page)  # a path that Quarto would look for
    return page.replace('href="./"', 'href="./index.html"')


class Sections(HTMLParser):
    "The words of a page by section, without code, scripts and the TeX behind formulas."

    LEFT_OUT = ('script', 'style', 'pre', 'annotation', 'nav', 'button', 'select', 'figcaption')

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[dict] = [{'id': '', 'head': '', 'text': []}]
        self.out, self.main, self.in_head, self.depth = 0, False, False, 0

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        self.main = self.main or tag == 'main'
        self.out += tag in self.LEFT_OUT
        if tag == 'section' and 'level2' in (said.get('class') or ''):
            self.found.append({'id': said.get('id') or '', 'head': '', 'text': []})
        self.in_head = self.in_head or tag in ('h1', 'h2')

    def handle_endtag(self, tag):
        self.out -= tag in self.LEFT_OUT
        if tag in ('h1', 'h2'):
            self.in_head = False
        if tag == 'main':
            self.main = False

    def handle_data(self, data):
        if self.main and not self.out:
            if self.in_head:
                self.found[-1]['head'] += data
            else:
                self.found[-1]['text'].append(data)


def entries(name: str, page: str, crumbs: list[str]) -> list[dict]:
    "What the search knows of a page: one entry for each section."
    parser = Sections()
    parser.feed(page)
    title = ' '.join(parser.found[0]['head'].split())
    made = []
    for part in parser.found:
        href = f'{name}#{part["id"]}' if part['id'] else name
        text = ' '.join(''.join(part['text']).split())
        if text:
            head = ' '.join(part['head'].split()) if part['id'] else ''
            made.append({'objectID': href, 'href': href, 'title': title, 'section': head, 'text': text, 'crumbs': crumbs})
    return made


def word_entries() -> list[dict]:
    "An entry for each word of the glossary, under all its names."
    told, made = json.loads((ROOT / 'nbs' / 'words.json').read_text(encoding='utf-8')), []
    for term in (book.Term(**entry) for entry in told['words']):
        href = f'words.html#{term.slug}'
        names = [term.word, *filter(None, (w.strip() for w in term.papers.split(';')))]
        said = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', f'{" ".join(names)}: {term.meaning}')
        made.append(
            {'objectID': href, 'href': href, 'title': 'Words', 'section': ' · '.join(names), 'text': re.sub(r'[$*`\\{}]', '', said), 'crumbs': ['Appendix']}
        )
    for k, row in enumerate(told['notation']):
        said = re.sub(r'[$*`\\{}]', '', f'{row["read"]}, {row["read"].replace("-", " ")}: {row["meaning"]}')
        made.append(
            {
                'objectID': f'words.html#notation-{k}',
                'href': 'words.html#notation',
                'title': 'Notation',
                'section': row['read'],
                'text': said,
                'crumbs': ['Appendix'],
            }
        )
    return made


def notebooks(folder: Path) -> None:
    "Copies of the notebooks, which a reader can save."
    (folder / 'notebooks').mkdir(exist_ok=True)
    for path in sorted((ROOT / 'nbs').glob('[0-9][0-9]_*.ipynb')):
        shutil.copyfile(path, folder / 'notebooks' / path.name)
