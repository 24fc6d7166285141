// What a page of the book does by itself: what is too wide shrinks or says so, second readings fold, chapters that were read are marked,
// and a symbol under the pointer lights up in formulas and code. Without this file everything is there, open, and still.
'use strict';
(() => {
  const store = {
    get(key) { try { return JSON.parse(localStorage.getItem(`diffbook-${key}`)); } catch { return null; } },
    set(key, value) { try { localStorage.setItem(`diffbook-${key}`, JSON.stringify(value)); } catch { /* a private window */ } },
  };
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const main = document.querySelector('main');
  if (!main) return;

  // A formula that is too wide becomes smaller, down to three quarters; what is wider still scrolls, with a shadow at the cut edge.
  function fit() {
    for (const box of all('.equation > .formula', main)) {
      box.style.fontSize = '';
      if (box.scrollWidth > box.clientWidth + 1) box.style.fontSize = `${Math.max(0.75, (box.clientWidth - 2) / box.scrollWidth)}em`;
    }
    for (const math of all('math:not([display=block])', main)) {  // a formula in a sentence cannot break: it gets a box of its own
      const home = math.closest('p, li, td, th, dd, summary, figcaption');
      if (home && !math.parentNode.classList.contains('long-inline') && math.getBoundingClientRect().width > home.clientWidth && home.clientWidth > 0) {
        const box = document.createElement('span');
        box.className = 'long-inline';
        math.replaceWith(box);
        box.append(math);
      }
    }
    for (const [selector, what] of [['.equation > .formula', 'Formula'], ['p:has(> math[display])', 'Formula'], ['.long-inline', 'Formula'], ['pre', 'Code'], ['table', 'Table'], ['.wide-figure', 'Figure']]) {
      for (const box of all(selector, main)) {
        const over = box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== 'visible';
        box.classList.toggle('scrolls', over);
        if (over) { box.tabIndex = 0; box.setAttribute('role', 'region'); box.setAttribute('aria-label', `${what}, scrolls sideways`); } else if (box.getAttribute('aria-label')?.endsWith('scrolls sideways')) {
          for (const name of ['tabindex', 'role', 'aria-label']) box.removeAttribute(name);
        }
      }
    }
  }
  let width = 0;
  addEventListener('resize', () => { if (innerWidth !== width) { width = innerWidth; fit(); } });
  addEventListener('load', () => { width = innerWidth; fit(); document.fonts?.ready.then(fit); });
  main.addEventListener('toggle', fit, true);  // what was folded had no width

  // Second readings are folded until somebody asks, follows a link into one, or searches the page.
  for (const section of all('section.level2', main)) {
    const head = section.querySelector('h2');
    if (!head || !/\(second reading\)/.test(head.textContent)) continue;
    const body = document.createElement('div'), button = document.createElement('button');
    body.append(...[...section.childNodes].filter((node) => node !== head));
    body.className = 'second-reading';
    button.type = 'button';
    button.className = 'unfold';
    const show = (open) => {
      if (open) body.removeAttribute('hidden'); else body.setAttribute('hidden', 'until-found');
      button.setAttribute('aria-expanded', open);
      button.textContent = open ? 'Fold this section' : `Read on: ${Math.max(1, Math.round(words(body) / 180))} min`;
      if (open) fit();
    };
    const words = (node) => node.textContent.split(/\s+/).length * 0.6;
    button.addEventListener('click', () => { show(body.hasAttribute('hidden')); store.set('second', !body.hasAttribute('hidden')); });
    body.addEventListener('beforematch', () => show(true));
    section.append(button, body);
    show(store.get('second') === true);
    section.unfold = () => show(true);
  }
  const toHash = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    target.closest('section.level2')?.unfold?.();
    for (let fold = target.closest('details'); fold; fold = fold.parentElement.closest('details')) fold.open = true;
    target.scrollIntoView();
  };
  addEventListener('hashchange', toHash);
  if (location.hash) toHash();
  addEventListener('beforeprint', () => all('section.level2', main).forEach((section) => section.unfold?.()));

  // How far: a thin line on top; a chapter read to its end is marked in the sidebar, here only.
  const page = location.pathname.split('/').pop() || 'index.html', line = document.createElement('div');
  line.className = 'reading-line';
  line.setAttribute('aria-hidden', 'true');
  document.body.append(line);
  const read = new Set(store.get('read') || []);
  const pageOf = (a) => new URL(a.href, location.href).pathname.split('/').pop();
  const mark = () => all('#quarto-sidebar a.sidebar-link[href]').forEach((a) => a.classList.toggle('was-read', read.has(pageOf(a))));
  addEventListener('scroll', () => {
    const share = scrollY / Math.max(1, document.documentElement.scrollHeight - innerHeight);
    line.style.transform = `scaleX(${Math.min(1, share)})`;
    if (share > 0.9 && !read.has(page) && document.documentElement.scrollHeight > 3 * innerHeight) { read.add(page); store.set('read', [...read]); mark(); }
  }, { passive: true });
  mark();

  // A path that was chosen on the first page stays marked in the sidebar.
  const chosen = store.get('path');
  for (const row of all('table tr', main)) {
    const links = all('a[href]', row).map(pageOf), name = row.querySelector('td strong');
    if (page !== 'index.html' || !name || links.length < 2) continue;
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'unfold';
    const tell = () => { button.textContent = store.get('path')?.name === name.textContent ? 'My path' : 'Follow'; };
    button.addEventListener('click', () => { store.set('path', store.get('path')?.name === name.textContent ? null : { name: name.textContent, pages: links }); all('.unfold', main).forEach((b) => b.tell?.()); path(); });
    button.tell = tell;
    tell();
    name.parentElement.append(document.createElement('br'), button);
  }
  function path() {
    const pages = store.get('path')?.pages || [];
    all('#quarto-sidebar a.sidebar-link[href]').forEach((a) => a.classList.toggle('on-path', pages.includes(pageOf(a))));
  }
  if (chosen || page === 'index.html') path();

  // A letter under the pointer lights up wherever the chapter writes it, in formulas and, by its name, in code.
  const NAMES = { α: 'alpha', β: 'beta', γ: 'gamma', ε: 'eps', σ: 'sigma', η: 'eta', λ: 'lam', κ: 'kappa', μ: 'mean', τ: 'tau', θ: 'theta', ω: 'omega', φ: 'phi', ρ: 'rho' };
  const highlight = globalThis.Highlight && CSS.highlights;
  let lit = '';
  main.addEventListener('pointerover', (event) => {
    const letter = event.target.closest?.('mi')?.textContent ?? '';
    const plain = letter.normalize('NFKD');
    if (plain === lit) return;
    lit = plain;
    for (const old of all('mi.lit', main)) old.classList.remove('lit');
    highlight?.delete('symbol');
    if (!plain || plain.length > 1) return;
    for (const mi of all('mi', main)) if (mi.textContent.normalize('NFKD') === plain) mi.classList.add('lit');
    if (!highlight) return;
    const word = new RegExp(`(?<![\\w])${NAMES[plain] ?? plain}(?![a-z])`, 'g'), ranges = [];
    for (const code of all('pre.sourceCode code', main)) {
      const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
      for (let node; (node = walker.nextNode());) for (const m of node.data.matchAll(word)) { const range = new Range(); range.setStart(node, m.index); range.setEnd(node, m.index + m[0].length); ranges.push(range); }
    }
    highlight.set('symbol', new Highlight(...ranges));
  });
})();
