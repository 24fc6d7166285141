"""Write the glossary and the notation page from nbs/words.json, and lead readers to it.

    python -m tools.words               # writes nbs/91_words.qmd
    python -m tools.words --check       # ends with 1 if it is out of step
    python -m tools.words --missing     # each first use of a word that nothing explains, in chapters of the first and second path
    python -m tools.words --link 12 20  # in two chapters: links such uses, and the bold words that the chapter explains, to the glossary

An entry of the file says what the book's word means, what papers call it (cut by semicolons), its symbol and the chapter
that explains it. `pattern` is a regular expression for its look in a sentence, where the word itself will not do; an empty
one says that the word has everyday senses too, and is not looked for. `make export` writes the page; a test holds it in step.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from tools import book, references

ROOT = Path(__file__).resolve().parents[1]
SOURCE, PAGE = ROOT / 'nbs' / 'words.json', ROOT / 'nbs' / '91_words.qmd'

HEAD = """---
output-file: words.html
---

<!-- Written by tools/words.py from words.json. -->

# Words {{#sec-words}}

::: {{.chapter-line}}
The words of this book, what papers call the same things, and the symbols
:::

{count} words, each with the chapter that explains it. A word of the house, one that you will find in no paper, says so. If you come from a paper, look for its word in [the second list](#from-papers); if you come from a formula, look for its symbol in [the third](#notation).

## The words of the book {{#book}}
"""


def home(chapter: int, names: dict[int, str]) -> str:
    "A link to a chapter, by its number."
    return f'[{chapter:02d}]({names[chapter]})'


def entries(terms: list[book.Term], names: dict[int, str]) -> list[str]:
    "The glossary, in the order of the alphabet."
    lines = []
    for term in sorted(terms, key=lambda term: (term.slug, term.word)):
        symbol = f' · {term.symbol}' if term.symbol else ''
        papers = f' *In papers:* {term.papers}.' if term.papers else ''
        lines += ['', f'**[{term.word}]{{#{term.slug}}}**{symbol} · {home(term.chapter, names)}', '', f':   {term.meaning}{papers}']
    return lines


def papers(terms: list[book.Term]) -> list[str]:
    "What papers say, and the book's word for it."
    said: dict[str, list[str]] = {}
    for term in terms:
        for word in filter(None, (w.strip() for w in term.papers.split(';'))):
            said.setdefault(word, []).append(f'[{term.word}](#{term.slug})')
    lines = ['', '## From the words of papers {#from-papers}', '', '| papers say | here |', '|:-----|:-----|']
    return lines + [f'| {word} | {", ".join(said[word])} |' for word in sorted(said, key=lambda word: (word.lower(), word))]


def notation(rows: list[dict], names: dict[int, str]) -> list[str]:
    "The symbols, how to read them aloud, and what they are called in code."
    lines = ['', '## Notation {#notation}', '', '| symbol | read | meaning | in code | chapter |', '|:---|:----|:-----------|:------|:--|']
    for row in rows:
        code = f'`{row["code"]}`' if row['code'] else ''
        lines.append(f'| ${row["symbol"]}$ | {row["read"]} | {row["meaning"]} | {code} | {home(row["chapter"], names)} |')
    return lines


def page(nbs: Path = ROOT / 'nbs') -> str:
    "The whole page."
    names = {int(path.name[:2]): path.name for path in sorted(nbs.glob('[0-9][0-9]_*.ipynb'))}
    told = json.loads((nbs / 'words.json').read_text(encoding='utf-8'))
    terms = [book.Term(**entry) for entry in told['words']]
    return '\n'.join([HEAD.format(count=len(terms)).rstrip(), *entries(terms, names), *papers(terms), *notation(told['notation'], names)]) + '\n'


HIDDEN = [
    book.FENCE,
    book.COMMENT,
    book.INLINE_CODE,
    book.DISPLAY,
    book.INLINE,
    book.SOLUTION,
    book.LINK,
    book.REFERENCE,
    book.CITATION,
    re.compile(r'^#+ .*$|\*\*.+?\*\*', re.M),
]


def masked(text: str) -> str:
    "The text, as long as before, without what no link may stand in."
    for pattern in HIDDEN:
        text = pattern.sub(lambda m: re.sub(r'[^\n]', '\0', m[0]), text)
    return text


def linked(text: str, term: book.Term) -> str:
    "The text with the first use of a term as a link to the glossary; unchanged if there is no place for one."
    m = term.form.search(masked(text))
    return text if m is None else f'{text[: m.start()]}[{m[0]}](91_words.qmd#{term.slug}){text[m.end() :]}'


def with_links(chapter: book.Chapter, contents: book.Book) -> dict[int, str]:
    "The cells of a chapter that change, by index: words that nothing explains, and bold words that it explains, become links."
    sources = {c.index: c.source for c in chapter.markdown}
    for c, _, term in book.unexplained(chapter, contents):
        sources[c.index] = linked(sources[c.index], term)
    for term in (term for term in contents.terms if term.chapter == chapter.number):
        bold = re.compile(rf'(?<!\[)\*\*({re.escape(term.word)}s?)\*\*(?!\])', re.I)
        for c in chapter.markdown:
            if f'(91_words.qmd#{term.slug})' in ''.join(sources.values()) or c.id == 'box':
                continue
            sources[c.index] = bold.sub(rf'[**\1**](91_words.qmd#{term.slug})', sources[c.index], count=1)
    return {c.index: sources[c.index] for c in chapter.markdown if sources[c.index] != c.source}


def link(chapter: book.Chapter, contents: book.Book) -> int:
    "Write the links into the notebook; return how many cells changed."
    changes, raw = with_links(chapter, contents), json.loads(chapter.path.read_text(encoding='utf-8'))
    for k, text in changes.items():
        raw['cells'][k]['source'] = text.splitlines(keepends=True) if isinstance(raw['cells'][k]['source'], list) else text
    if changes:
        references.write_notebook(chapter.path, raw)
    return len(changes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing; end with 1 if the page is out of step')
    parser.add_argument('--missing', action='store_true', help='list words that are used before they are explained')
    parser.add_argument('--link', type=int, nargs='+', metavar='CHAPTER', help='link such words to the glossary')
    args, text = parser.parse_args(), page()
    if args.missing or args.link:
        contents = book.Book(ROOT / 'nbs')
        for chapter in contents.chapters:
            if args.link and chapter.number in args.link:
                print(f'{chapter.name}: {link(chapter, contents)} cells changed')
            for c, _, term in book.unexplained(chapter, contents) if args.missing else ():
                print(f'{c.where}: {term.word} (chapter {term.chapter:02d})')
        if args.link:  # the cells that changed are in their short form
            references.rewrite(ROOT / 'nbs')
        return
    if not PAGE.exists() or PAGE.read_text(encoding='utf-8') != text:
        if args.check:
            sys.exit(f'out of step: {PAGE.relative_to(ROOT)}; run: make export')
        PAGE.write_text(text, encoding='utf-8')


if __name__ == '__main__':
    main()
