"""How soon a reader on a slow connection sees a page of the built site: first contentful paint on an emulated slow 4G.

    python -m benchmarks.first_paint                          # a page of each kind, after `make site`
    python -m benchmarks.first_paint --pages index.html unet.html --n 5

A phone's window, an empty cache, 150 ms to the host and 1.6 Mbit/s down, the numbers of Chromium's "slow 4G". The browser runs on this
machine, so its processor counts in; the least of n is nearest to that of an idle one, and the median is beside it. Needs what
`make test-web` needs.
"""

import argparse
import json
from pathlib import Path
from statistics import median

from benchmarks.measure import machine
from diffbook.store.files import write_whole
from tools.live import browser, served

ROOT = Path(__file__).resolve().parents[1]
PAGES = ['index.html', 'first_model.html', 'gaussian.html', 'unet.html', 'samplers.html', 'guidance.html', 'vae.html', 'flow_matching.html', 'play.html']
LINE = {'offline': False, 'latency': 150, 'downloadThroughput': 1.6e6 / 8, 'uploadThroughput': 0.75e6 / 8}


def paint(chromium, address: str) -> float:
    "Seconds until something is seen, of one visit."
    context = chromium.new_context(viewport={'width': 390, 'height': 844})
    page = context.new_page()
    line = context.new_cdp_session(page)
    line.send('Network.enable')
    line.send('Network.emulateNetworkConditions', LINE)
    page.goto(address, wait_until='load', timeout=120_000)
    seconds = page.evaluate('performance.getEntriesByName("first-contentful-paint")[0].startTime') / 1000
    context.close()
    return round(seconds, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--site', type=Path, default=ROOT / '_docs')
    parser.add_argument('--pages', nargs='+', default=PAGES)
    parser.add_argument('--n', type=int, default=3)
    parser.add_argument('--out', type=Path, default=ROOT / 'benchmarks' / 'results' / 'first_paint.json')
    args = parser.parse_args()
    if missing := [name for name in args.pages if not (args.site / name).exists()]:
        parser.error(f'{args.site} has no {", ".join(missing)}: make site builds it')
    rows = {}
    with browser() as chromium, served(args.site) as address:
        for name in args.pages:
            rows[name] = [paint(chromium, f'{address}/{name}') for _ in range(args.n)]
            print(f'{name:24} least {min(rows[name]):.2f} s, median {median(rows[name]):.2f} s')
    found = {'command': 'python -m benchmarks.first_paint', 'seconds': rows, 'line': LINE, 'machine': machine()}
    write_whole(args.out, json.dumps(found, indent=1).encode() + b'\n')


if __name__ == '__main__':
    main()
