"""Living figures: what a page loads for each, and the stills that stand for them on paper and in Jupyter.

    python -m tools.live                # draws nbs/images/live/NAME.png of every figure, in a browser
    python -m tools.live playground     # of one

A figure NAME is nbs/live/NAME.js, whose first line may name other files that it needs (`// needs mixture, data/garments`). A chapter
shows it by a <div class="live" id="live-NAME" data-live="NAME"> around the still. A figure that is shown with several data has a file
nbs/live/data/NAME-WHICH.js for each: <div class="live" id="live-film-32" data-live="film" data-film="32">, and its still and tests go by
NAME-WHICH. Stills need what `make test-web` needs.
"""

import argparse
import gzip
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from diffbook.store.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
NBS, LIVE = ROOT / 'nbs', ROOT / 'nbs' / 'live'
SHARED = ('live', 'mixture', 'unet')  # no figures of their own
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run']
CHROMIUM = ('/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome')


def figures() -> list[str]:
    "Names of all living figures."
    return sorted(p.stem for p in LIVE.glob('*.js') if p.stem not in SHARED)


def shown() -> list[str]:
    "Names of all that chapters show: NAME, or NAME-WHICH for each file of data of a figure that has several."
    return [each for name in figures() for each in sorted(p.stem for p in (LIVE / 'data').glob(f'{name}-*.js')) or [name]]


def needs(name: str) -> list[str]:
    "What must be loaded before a file, in order, and the file itself."
    found: list[str] = []
    said = re.match(r'// needs (.+)', (LIVE / f'{name}.js').read_text(encoding='utf-8'))
    for other in [w.strip() for w in said[1].split(',')] if said else []:
        found += [f for f in needs(other) if f not in found]
    return [*found, name]


def scripts(names: list[str], prefix: str = 'live/') -> str:
    "What goes into the head of a page with these figures."
    files = list(dict.fromkeys(['live', *(f for name in names for f in needs(name))]))
    return '\n'.join([f'<link rel="stylesheet" href="{prefix}live.css">', *(f'<script src="{prefix}{f}.js" defer></script>' for f in files)])


def with_scripts(page: str) -> str:
    "A page with what its living figures need."
    names = list(dict.fromkeys(re.findall(r'data-live="([\w-]+)"', page)))
    return page.replace('</head>', scripts(names) + '\n</head>', 1) if names else page


def alone(name: str, dark: bool = False) -> str:
    "A page with one figure and nothing else, for tests and stills."
    look = ' class="quarto-dark"' if dark else ''
    figure = next(f for f in figures() if name == f or name.startswith(f'{f}-') and name in shown())
    which = f' data-{figure}="{name[len(figure) + 1 :]}"' if name != figure else ''
    host = f'<div class="live" id="live-{name}" data-live="{figure}"{which}></div>'
    head = f'<meta charset="utf-8"><title>{name}</title>{scripts([figure], (LIVE.as_uri() + "/"))}'
    return f'<!doctype html><html lang="en"><head>{head}</head><body{look}><main>{host}</main></body></html>'


@contextmanager
def browser() -> Iterator:
    "Chromium of the distribution, driven by playwright."
    from playwright.sync_api import sync_playwright

    path = next((p for p in CHROMIUM if Path(p).exists()), None)
    if path is None:
        raise FileNotFoundError(f'no Chromium at {", ".join(CHROMIUM)}: install it from the distribution, such as apt-get install chromium')
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


class Pages(SimpleHTTPRequestHandler):
    "Files of a folder, text compressed, as a host of pages sends them."

    protocol_version = 'HTTP/1.1'

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path.partition('?')[0]))
        if not path.is_file():
            return self.send_error(404)
        content, text = path.read_bytes(), path.suffix in ('.html', '.css', '.js', '.json', '.svg')
        self.send_response(200)
        self.send_header('Content-Type', self.guess_type(str(path)))
        if text:
            content = gzip.compress(content)
            self.send_header('Content-Encoding', 'gzip')
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    "The address of a host, on this machine alone, that sends the files of a folder."
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Pages, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        server.server_close()


def main() -> None:
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME', help='figures; all if none is named')
    names = parser.parse_args().names or shown()
    page_file = ROOT / 'out' / 'still.html'
    page_file.parent.mkdir(exist_ok=True)
    with browser() as chromium:
        for name in names:
            page_file.write_text(alone(name), encoding='utf-8')
            page = chromium.new_page(viewport={'width': 800, 'height': 900}, device_scale_factor=1.5, reduced_motion='reduce')
            page.goto(page_file.as_uri())
            page.wait_for_function('document.querySelector("[data-live]").frame')
            page.evaluate('document.querySelector("[data-live]").frame.ready?.()')  # what takes longer than a moment
            page.evaluate('document.querySelector("[data-live]").frame.pose?.()')  # what a reader would do first
            page.wait_for_timeout(500)
            picture = Image.open(io.BytesIO(page.locator('.live-body').screenshot())).convert('RGB')
            for colours in (128, 32, 12):  # as many as a small file allows
                picture.quantize(colours, kmeans=1).save(file := io.BytesIO(), 'PNG', optimize=True)
                if len(file.getvalue()) < 80_000:
                    break
            write_whole(NBS / 'images' / 'live' / f'{name}.png', file.getvalue())
            print(f'{name}: {len(file.getvalue()):,} bytes')
            page.close()


if __name__ == '__main__':
    main()
