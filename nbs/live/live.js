// The frame of every living figure: a canvas that is sharp and knows the page's colours, controls that a keyboard reaches, a clock
// that rests when nobody looks, and a link that holds the state. A figure is a function of this frame: live.figure(name, make).
'use strict';
(() => {
  const live = globalThis.live ??= {};
  const makers = {}, brought = {}, here = document.currentScript.src;
  const calm = matchMedia('(prefers-reduced-motion: reduce)');

  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
      else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : value);
    }
    node.append(...children);
    return node;
  }

  class Frame {
    constructor(host) {
      this.host = host;
      this.variant = host.dataset[host.dataset.live];  // of a figure that a page shows with other data: data-film="32"
      this.name = this.variant ? `${host.dataset.live}-${this.variant}` : host.dataset.live;
      this.state = {};  // what the controls say, and what the figure keeps
      this.controls = {};
      this.painters = [];
      this.changed = () => {};
      this.still = host.querySelector('img');
      this.body = element('div', { class: 'live-body', role: 'group', 'aria-label': `Living figure: ${this.name}` });
      this.panel = element('div', { class: 'live-panel' });
      this.stage = element('div', { class: 'live-stage' }, this.body, this.panel);  // takes the place of the still; captions stay below
      let place = this.still;
      while (place && place.parentNode !== host) place = place.parentNode;
      if (place) { place.classList.add('live-still'); place.after(this.stage); } else host.append(this.stage);
      this.link = new URLSearchParams(location.search);
      this.seen = true;
      if ('IntersectionObserver' in globalThis) new IntersectionObserver(([e]) => { this.seen = e.isIntersecting; if (this.seen) this.paint(); }).observe(host);
      const repaint = () => this.paint();
      new MutationObserver(repaint).observe(document.body, { attributes: true, attributeFilter: ['class'] });
      matchMedia('(prefers-color-scheme: dark)').addEventListener('change', repaint);
    }

    // A colour of the page: ink, faint, paper, data, noise, mark, truth, other.
    colour(name) { return getComputedStyle(this.host).getPropertyValue(`--live-${name}`).trim(); }

    // The strokes that figures share, each on a context c: words that stay readable over lines, lines and areas through points, dots.
    pen() {
      const through = (c, points) => { c.beginPath(); for (const [x, y] of points) c.lineTo(x, y); };
      const text = (c, words, x, y, { colour = 'ink', align = 'left', bold = false, size = 13 } = {}) => {
        c.font = `${bold ? '600 ' : ''}${size}px system-ui, sans-serif`;
        c.textAlign = align; c.lineWidth = 4; c.strokeStyle = this.colour('paper'); c.strokeText(words, x, y);
        c.fillStyle = this.colour(colour); c.fillText(words, x, y);
        return c.measureText(words).width;
      };
      const line = (c, points, colour, wide = 1.5, dash = []) => {
        c.strokeStyle = this.colour(colour); c.lineWidth = wide; c.setLineDash(dash); through(c, points); c.stroke(); c.setLineDash([]);
      };
      const area = (c, points, colour, alpha = 1) => {
        c.fillStyle = this.colour(colour); c.globalAlpha = alpha; through(c, points); c.fill(); c.globalAlpha = 1;
      };
      const dot = (c, x, y, r, colour) => { c.fillStyle = this.colour(colour); c.beginPath(); c.arc(x, y, r, 0, 7); c.fill(); };
      return { text, line, area, dot };
    }

    // A canvas of `width` by `height` units (a unit is a pixel where there is room); draw(context) paints it anew.
    canvas({ width, height, label, draw, focus = false }) {
      const canvas = element('canvas', { role: 'img', 'aria-label': label, tabindex: focus ? 0 : undefined, style: `aspect-ratio: ${width} / ${height}; max-width: ${width}px` });
      this.body.append(canvas);
      const context = canvas.getContext('2d');
      this.painters.push(() => {
        const shown = canvas.clientWidth || width, scale = Math.max(1, globalThis.devicePixelRatio || 1) * shown / width;
        if (canvas.width !== Math.round(width * scale)) { canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale); }
        context.setTransform(scale, 0, 0, scale, 0, 0);
        context.clearRect(0, 0, width, height);
        context.lineWidth = 1.5;
        context.lineCap = context.lineJoin = 'round';
        context.font = '13px system-ui, sans-serif';
        draw(context);
      });
      if ('ResizeObserver' in globalThis) new ResizeObserver(() => this.paint()).observe(canvas);
      return canvas;
    }

    // Where a pointer is, in units of the canvas.
    at(canvas, event, width) {
      const box = canvas.getBoundingClientRect(), scale = width / box.width;
      return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    }

    // Paint in the next frame of the screen, once however often it is asked for.
    paint() {
      if (this.waiting || !this.seen) return;
      this.waiting = true;
      requestAnimationFrame(() => { this.waiting = false; for (const painter of this.painters) painter(); });
    }

    #keep(name, control, read, write, first) {
      const linked = this.link.get(`${this.name}.${name}`);
      this.controls[name] = { control, set: (value) => { write(value); this.state[name] = read(); } };
      this.controls[name].set(linked ?? first);
      control.addEventListener('input', () => { this.state[name] = read(); this.changed(name); this.paint(); });
    }

    // A slider over numbers from min to max, or over a list of values. The one that matters most is `big`: as wide as the figure.
    slider({ name, label, min = 0, max, step = 1, values, value, show = (v) => `${v}`, big = false }) {
      const shown = element('output'), input = element('input', { type: 'range', min: values ? 0 : min, max: values ? values.length - 1 : max, step: values ? 1 : step, 'aria-label': label });
      const read = () => values ? values[+input.value] : +input.value;
      const tell = () => { shown.textContent = show(read()); input.setAttribute('aria-valuetext', shown.textContent); };
      const write = (v) => { input.value = values ? Math.max(0, values.findIndex((w) => `${w}` === `${v}`)) : v; tell(); };
      input.addEventListener('input', tell);
      this.panel.append(element('label', { class: big ? 'live-control live-big' : 'live-control' }, element('span', {}, label), input, shown));
      this.#keep(name, input, read, write, value);
      return input;
    }

    // One of several words.
    choice({ name, label, options, value, big = false }) {
      const select = element('select', { 'aria-label': label }, ...options.map((o) => element('option', { value: o }, o)));
      this.panel.append(element('label', { class: big ? 'live-control live-big' : 'live-control' }, element('span', {}, label), select));
      this.#keep(name, select, () => select.value, (v) => { select.value = options.includes(v) ? v : value; }, value);
      return select;
    }

    // Yes or no.
    tick({ name, label, value = false }) {
      const input = element('input', { type: 'checkbox' });
      this.panel.append(element('label', { class: 'live-control live-tick' }, input, element('span', {}, label)));
      this.#keep(name, input, () => input.checked, (v) => { input.checked = v === true || v === 'true'; }, value);
      return input;
    }

    button(label, act) {
      const button = element('button', { type: 'button', onclick: act }, label);
      (this.buttons ??= this.panel.appendChild(element('div', { class: 'live-buttons' }))).append(button);
      return button;
    }

    // A line of numbers under the figure, read aloud when it has come to rest.
    readout() {
      const line = element('p', { class: 'live-readout', role: 'status', 'aria-live': 'polite' });
      this.stage.append(line);
      return (text) => { if (line.textContent !== text) line.textContent = text; };
    }

    // A button that plays: tick(seconds since the last) returns whether it goes on. It rests out of sight.
    player(label, tick, { onstart = () => {} } = {}) {
      let running = false, last = 0;
      const stop = () => { running = false; button.textContent = label; button.setAttribute('aria-pressed', 'false'); };
      const frame = (now) => {
        if (!running) return;
        const dt = Math.min((now - last) / 1000, 0.1);
        last = now;
        if (this.seen && !document.hidden && tick(dt) === false) stop();
        this.paint();
        if (running) requestAnimationFrame(frame);
      };
      const start = () => {
        onstart();
        if (calm.matches) { while (tick(0.1) !== false); this.paint(); return; }  // to its end at once
        running = true;
        last = performance.now();
        button.textContent = 'Stop';
        button.setAttribute('aria-pressed', 'true');
        requestAnimationFrame(frame);
      };
      const button = this.button(label, () => running ? stop() : start());
      button.setAttribute('aria-pressed', 'false');
      return { start, stop, get running() { return running; } };
    }

    // A button that copies an address which holds the state of the controls.
    permalink(more = () => ({})) {
      const button = this.button('Copy link', async () => {
        const query = new URLSearchParams();
        for (const name of Object.keys(this.controls)) query.set(`${this.name}.${name}`, this.state[name]);
        for (const [name, value] of Object.entries(more())) query.set(`${this.name}.${name}`, value);
        const address = `${location.href.split(/[?#]/)[0]}?${query}${this.host.id ? `#${this.host.id}` : ''}`;
        history.replaceState(null, '', address);
        try { await navigator.clipboard.writeText(address); button.textContent = 'Copied'; } catch { button.textContent = 'In the address bar'; }
        setTimeout(() => { button.textContent = 'Copy link'; }, 1600);
      });
    }

    linked(name) { return this.link.get(`${this.name}.${name}`); }

    // Set a control as a reader would (for tests and for buttons that lead somewhere).
    set(name, value) { this.controls[name].set(value); this.changed(name); this.paint(); }
  }

  live.element = element;
  // Bring a file that only some readers need, such as data/denoiser: live.load(name) resolves when it is there.
  live.load = (name) => brought[name] ??= new Promise((resolve, reject) => {
    document.head.append(element('script', { src: new URL(`${name}.js`, here).href, onload: resolve, onerror: () => reject(new Error(`${name} did not come`)) }));
  });
  live.calm = () => calm.matches;
  live.figure = (name, make) => { makers[name] = make; };
  const start = () => {
    for (const host of document.querySelectorAll('[data-live]')) {
      const make = makers[host.dataset.live];
      if (!make || host.frame) continue;
      host.frame = new Frame(host);
      make(host.frame);
      host.frame.paint();
    }
  };
  if (document.readyState === 'complete') start(); else document.addEventListener('DOMContentLoaded', start);  // after all deferred scripts
})();
