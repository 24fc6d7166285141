"""Write diffbook/zoo/emoji.json: which emoji there are, where each was published, and a digest of every file.

The lists of `diffbook data emoji --download` come from this script, run over checkouts of the two repositories at the
commits below:

    python tools/list_emoji.py --noto ../noto-emoji --fluent ../fluent-emoji-optimized
"""

import argparse
import hashlib
import json
import re
import unicodedata
from pathlib import Path

SOURCES = {
    'noto': {
        'repository': 'googlefonts/noto-emoji',
        'commit': 'b3e3051a088047d19fd4d49b1c3ac42fb8c3aaf8',
        'licence': 'Apache-2.0 and SIL OFL 1.1, (c) Google LLC',
    },
    'fluent-3d': {
        'repository': 'laurentlahmy/fluent-emoji-optimized',
        'commit': '7907b9bd2393b66efa8dd3973c8d340df657ac8c',
        'licence': 'MIT, (c) Microsoft Corporation',
    },
}
GROUPS = ('smileys & emotion', 'people & body', 'components', 'animals & nature', 'food & drink', 'travel & places', 'activities', 'objects', 'symbols', 'flags')  # fmt: skip


def names(folder):
    "Base, name and group of every emoji without a skin tone, as Emojibase lists them."
    known = {}
    for file in ('data.raw.2.json', 'data.raw.json'):  # the second knows the letters of the flags
        for entry in json.loads((folder / 'inputs/emojibase' / file).read_text(encoding='utf-8')):
            base = '-'.join(f'{int(c, 16):x}' for c in entry['hexcode'].split('-') if c != 'FE0F')
            known.setdefault(base, (entry['label'], entry.get('group', 2)))
    return known


OTHER = {  # folders with another name
    'keycap: #': 'keycap: hash', 'keycap: *': 'keycap: asterisk', 'smiling face with open hands': 'hugging face',
    'enraged face': 'pouting face', 'face with crossed-out eyes': 'knocked-out face',
}  # fmt: skip


def plain(name):
    "A name as folders may spell it: no capital letters, no punctuation."
    return re.sub('[^a-z0-9]', '', unicodedata.normalize('NFKD', OTHER.get(name, name)).lower())


def collect(noto, fluent):
    "One row an emoji (base, name, group, folder in fluent-3d, digest of the file in each set) and one digest a set."
    folders = {plain(p.name): p.name for p in (fluent / 'assets').iterdir()}
    rows, total = [], {style: hashlib.sha256() for style in SOURCES}
    for base, (name, group) in sorted(names(fluent).items()):
        folder = folders.get(plain(name), '')
        files = noto / f'png/128/emoji_u{"_".join(c.zfill(4) for c in base.split("-"))}.png', fluent / f'assets/{folder}/Default/3D_128.webp'
        digests = []
        for file, digest in zip(files, total.values()):
            content = file.read_bytes() if file.is_file() else b''
            digest.update(content)
            digests.append(hashlib.sha256(content).hexdigest()[:16] if content else '')
        if any(digests):
            rows.append((base, name, group, folder if digests[1] else '', *digests))
    return rows, {style: digest.hexdigest() for style, digest in total.items()}


def pixels(rows, folders):
    "The digest of the 64 x 64 images of each set, in the order of the rows."
    from diffbook.store import emoji

    emoji._emoji_list = lambda: {'emoji': rows}
    return {
        style: hashlib.sha256(b''.join(emoji._shrink_emoji((folder / row['path']).read_bytes()).tobytes() for row in emoji._emoji_rows(style))).hexdigest()
        for style, folder in zip(SOURCES, folders)
    }  # fmt: skip


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--noto', type=Path, required=True, help='a checkout of googlefonts/noto-emoji')
    parser.add_argument('--fluent', type=Path, required=True, help='a checkout of laurentlahmy/fluent-emoji-optimized')
    parser.add_argument('--out', type=Path, default=Path('diffbook/zoo/emoji.json'))
    options = parser.parse_args()
    rows, files = collect(options.noto, options.fluent)
    seen = pixels(rows, (options.noto, options.fluent))
    for style, about in SOURCES.items():
        about |= {'files': files[style], 'pixels': seen[style]}
    head = {'sources': SOURCES, 'names': 'Emojibase, English, MIT, (c) Miles Johnson', 'groups': GROUPS}
    lines = ',\n'.join(json.dumps(row, ensure_ascii=False) for row in rows)
    text = json.dumps(head, ensure_ascii=False, indent=1)[:-2] + f',\n "emoji": [\n{lines}\n]}}\n'
    options.out.write_text(text, encoding='utf-8')
    print(f'{options.out}: {len(rows)} emoji; ' + ', '.join(f'{sum(bool(r[4 + k]) for r in rows)} of {s}' for k, s in enumerate(SOURCES)))
