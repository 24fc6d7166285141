"""Count what CLIP's published vocabulary makes of some words and sentences.

    python tools/measure_tokens.py

Reads clip-bpe/ in the data root (merges.txt and vocab.json as published with openai/clip-vit-large-patch14)
and writes diffbook/measured/tokens.json.
"""

import argparse
import hashlib
import json
from pathlib import Path

from diffbook.data import data_root
from diffbook.shapes import draw_shapes
from diffbook.text import END, SPECIAL, clip_tokenizer, words

MEASURED = Path(__file__).resolve().parent.parent / 'diffbook' / 'measured'
WORDS = 'astronaut strawberry photorealistic greenish redder uneasy mistrust unionized denoising diffusion triangle cyan 🍓 🦷 1024'.split()
SENTENCES = {  # the first sentence of the Universal Declaration of Human Rights
    'English': 'All human beings are born free and equal in dignity and rights.',
    'Spanish': 'Todos los seres humanos nacen libres e iguales en dignidad y derechos.',
    'German': 'Alle Menschen sind frei und gleich an Würde und Rechten geboren.',
    'French': 'Tous les êtres humains naissent libres et égaux en dignité et en droits.',
    'Chinese': '人人生而自由,在尊严和权利上一律平等。',
    'Japanese': 'すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。',
    'Russian': 'Все люди рождаются свободными и равными в своём достоинстве и правах.',
    'Hindi': 'सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।',
    'Greek': 'Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.',
}


def measure(folder: Path) -> dict:
    tokenizer, captions = clip_tokenizer(folder), draw_shapes(2000).captions
    spelled = lambda text: [bytes_of(tokenizer, i) for i in tokenizer.encode(text)]
    learned = tokenizer.pieces[512 : -len(SPECIAL)]
    known = {word for text in captions for word in words(text)}
    return {
        'command': 'python tools/measure_tokens.py',
        'merges_sha256': hashlib.sha256((folder / 'merges.txt').read_bytes()).hexdigest(),
        'pieces': len(tokenizer.pieces),
        'start': tokenizer.start,
        'end': tokenizer.end,
        'ending_a_word': sum(piece.endswith(END) for piece in learned),
        'longest': sorted((p for p in learned if p.isascii()), key=lambda p: (-len(p), p))[:4],
        'words': {word: spelled(word) for word in WORDS},
        'sentences': {name: {'characters': len(text), 'bytes': len(text.encode()), 'tokens': len(tokenizer.encode(text))} for name, text in SENTENCES.items()},
        'caption_words': len(known),
        'caption_words_in_pieces': sorted(word for word in known if len(tokenizer.encode(word)) > 1),
        'longest_caption': max(len(tokenizer.encode(text)) for text in captions),
    }


def bytes_of(tokenizer, i: int) -> str:
    "A piece as people write it where its bytes are whole characters, else the bytes."
    piece = tokenizer.pieces[i]
    text = tokenizer.decode([i])
    return piece if '\ufffd' in text else text + END * piece.endswith(END)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-root')
    folder = data_root(parser.parse_args().data_root) / 'clip-bpe'
    found = json.dumps(measure(folder), indent=1, ensure_ascii=False, sort_keys=True)
    (MEASURED / 'tokens.json').write_text(found + '\n', encoding='utf-8')
    print(f'wrote {MEASURED.name}/tokens.json')


if __name__ == '__main__':
    main()
