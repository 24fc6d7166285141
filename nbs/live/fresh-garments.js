// needs mixture, unet
// A network in the page: garments that nobody has drawn before, from fresh noise, by a U-Net that runs where it is read. Left, the
// noisy pictures on their way; right, what the network takes them for; below, the film of one of them. The weights, data/denoiser, come
// when they are asked for.
'use strict';
(() => {
  const live = globalThis.live, SIDE = 28, SIZE = SIDE * SIDE, schedule = live.schedules.cosine;

  // How unlike pictures are: the standard deviation of a pixel over the pictures, by its root mean square over the pixels.
  function spread(x) {
    const n = x.length / SIZE;
    let total = 0;
    for (let p = 0; p < SIZE; p++) {
      let sum = 0, squares = 0;
      for (let i = p; i < x.length; i += SIZE) { sum += x[i]; squares += x[i] * x[i]; }
      total += (squares - sum * sum / n) / (n - 1);
    }
    return Math.sqrt(Math.max(total, 0) / SIZE);
  }
  const REAL = 0.59;  // the same of the training pictures
  const gaussian = (seed) => { const chance = live.random(seed); return (n) => Float32Array.from({ length: n }, () => chance.normal()); };

  live.figure('fresh-garments', (frame) => {
    const { state } = frame, narrow = frame.host.clientWidth < 600;
    const WIDTH = narrow ? 330 : 640, GAP = narrow ? 14 : 24, GRID = (WIDTH - GAP) / 2, TOP = 24, FRAMES = narrow ? 6 : 10, SMALL = (WIDTH - 2 * (FRAMES - 1)) / FRAMES;
    const FILM = TOP + GRID + 34, HEIGHT = FILM + 2 * SMALL + 24;
    let asker = null, turn = 0, film = null, chosen = +(frame.linked('chosen') ?? 0), seed = +(frame.linked('seed') ?? 1), seconds = 0;

    const canvas = frame.canvas({ width: WIDTH, height: HEIGHT, draw, focus: true,
      label: 'Two grids of pictures, noisy on the left and what the network takes them for on the right; below them the film of one picture, which can be chosen by a click or with the arrow keys.' });
    const main = frame.button('', () => { if (busy()) stop(); else walk(1 + Math.floor(Math.random() * 1e9)); });
    const again = frame.button('Same noise again', () => walk(seed));
    main.classList.add('live-main');
    frame.slider({ name: 'steps', label: 'Steps', values: [1, 2, 3, 5, 8, 10, 12, 16, 20, 30, 50], value: 20, big: true });
    frame.slider({ name: 'count', label: 'Garments', values: [4, 16, 64], value: 16 });
    frame.choice({ name: 'solver', label: 'Sampler', options: ['DDIM', 'ancestral'], value: 'DDIM' });
    frame.slider({ name: 'at', label: 'Step shown', max: 1, step: 0.01, value: 0, show: (v) => film ? `t = ${film.times[place(v)].toFixed(2)}` : 't = 1.00' });
    frame.permalink(() => ({ seed, chosen }));
    const say = frame.readout();

    const busy = () => film.running;
    const place = (v) => Math.min(Math.round(v * (film.times.length - 1)), film.states.length - 1);
    const show = (v) => frame.controls.at.set(v);
    function label() { main.textContent = busy() ? 'Stop' : `Draw ${state.count} garments`; again.disabled = busy(); }
    function stop() { turn++; film.running = false; label(); say(`Stopped after ${film.states.length - 1} of ${film.times.length - 1} steps.`); }
    function lay(running = false) {  // noise, and nothing else yet
      const n = state.count, times = live.grids.uniform(schedule, state.steps);
      chosen = Math.min(chosen, n - 1);
      film = { n, times, states: [gaussian(seed)(n * SIZE)], guesses: [], running };
      label();
      frame.paint();
    }
    frame.changed = (name) => { if (busy()) return; label(); if (name === 'count') lay(); };

    // ---- the walk
    async function bring() {
      say('The network is on its way to your page.');
      await live.load('data/denoiser');
      return live.askers(live.data.denoiser, Math.max(1, Math.min(4, (navigator.hardwareConcurrency || 2) - 1)));
    }
    async function walk(from) {
      const mine = ++turn;
      seed = from;
      lay(true);
      show(0);
      const own = film, { n, times, states: [x] } = film, steps = times.length - 1;
      const ask = await (asker ??= bring()).catch((error) => { asker = null; stop(); say(`The network could not be loaded: ${error.message}.`); });
      if (mine !== turn) return;
      say(`${n} pictures of noise on their way, ${steps} ${steps === 1 ? 'step' : 'steps'} of ${state.solver}.`);
      const begun = performance.now();
      own.states = await live.walkPictures({ ask, schedule, solver: live.solvers[state.solver], times, x, size: SIZE, noise: gaussian(from + 1e9), tell(k, now, x0) {
        if (mine !== turn) return false;
        own.guesses[k] = x0;
        if (own.states.length === k) { own.states.push(now); if (!live.calm()) show(k / steps); }
        frame.paint();
      } });
      if (mine !== turn) return;
      seconds = (performance.now() - begun) / 1000;
      film.running = false;
      show(1);
      label();
      tell();
      frame.paint();
    }
    function tell() {
      const calls = film.n * (film.times.length - 1), far = spread(film.states[film.states.length - 1]);
      say(`${film.n} garments from noise of your own: ${calls.toLocaleString('en')} calls of the network, ${seconds.toFixed(1)} seconds in this page. `
        + `They differ from one another by ${far.toFixed(2)}, real garments by ${REAL.toFixed(2)} (standard deviation of a pixel).`);
    }

    // ---- the drawing
    const sheet = document.createElement('canvas');
    sheet.width = sheet.height = SIDE;
    function picture(c, values, i, x, y, size) {
      const pen = sheet.getContext('2d'), p = pen.createImageData(SIDE, SIDE);
      for (let q = 0; q < SIZE; q++) { const v = values[i * SIZE + q] * 127.5 + 127.5; p.data[4 * q] = p.data[4 * q + 1] = p.data[4 * q + 2] = v; p.data[4 * q + 3] = 255; }
      pen.putImageData(p, 0, 0);
      c.imageSmoothingEnabled = false;
      c.drawImage(sheet, x, y, size, size);
    }
    const words = (c, text, x, y, { align = 'left', colour = 'ink', bold = false } = {}) => {
      c.font = `${bold ? '600 ' : ''}13px system-ui, sans-serif`;
      c.textAlign = align; c.fillStyle = frame.colour(colour); c.fillText(text, x, y);
    };
    const guess = (k) => film.guesses[k] ?? film.states[k];  // at the end there is nothing left to guess
    function grid(c, values, left) {
      const across = Math.sqrt(film.n), cell = GRID / across, rim = across > 4 ? 1 : 2;
      for (let i = 0; i < across * across; i++) {
        const x = left + (i % across) * cell, y = TOP + Math.floor(i / across) * cell;
        if (values) picture(c, values, i, x + rim / 2, y + rim / 2, cell - rim);
        else { c.fillStyle = frame.colour('faint'); c.globalAlpha = 0.25; c.fillRect(x + rim / 2, y + rim / 2, cell - rim, cell - rim); c.globalAlpha = 1; }
        if (i === chosen) { c.strokeStyle = frame.colour('mark'); c.lineWidth = 2.5; c.strokeRect(x + 1, y + 1, cell - 2, cell - 2); }
      }
    }
    function draw(c) {
      const right = GRID + GAP, k = place(state.at), t = film.times[k];
      words(c, t === 0 ? 'What came out' : `${narrow ? 'Noisy' : 'Noisy pictures'}, t = ${t.toFixed(2)}`, 0, 14, { bold: true });
      words(c, narrow ? 'The network\'s guess' : 'What the network takes them for', right, 14, { bold: true });
      grid(c, film.states[k], 0);
      grid(c, film.guesses.length ? guess(k) : null, right);
      words(c, film.guesses.length ? 'The film of the picture in the frame' : narrow ? 'So far there is only noise.' : 'So far there is only noise. Press the button.', 0, FILM - 10, { bold: true });
      if (!film.guesses.length) return;
      const steps = film.times.length - 1, columns = Math.min(FRAMES, steps + 1);
      for (let j = 0; j < columns; j++) {
        const at = columns > 1 ? Math.round(j * steps / (columns - 1)) : 0, x = j * (SMALL + 2);
        if (at >= film.states.length) break;
        picture(c, film.states[at], chosen, x, FILM, SMALL);
        if (guess(at)) picture(c, guess(at), chosen, x, FILM + SMALL + 2, SMALL);
        const here = j === Math.round(k * (columns - 1) / steps);
        words(c, film.times[at].toFixed(2).replace(/^0/, ''), x + SMALL / 2, FILM + 2 * SMALL + 17, { align: 'center', colour: here ? 'mark' : 'ink', bold: here });
      }
    }

    // ---- which picture is in the frame
    const choose = (i) => { if (i >= 0 && i < film.n) { chosen = i; frame.paint(); } };
    canvas.addEventListener('pointerdown', (e) => {
      const [x, y] = frame.at(canvas, e, WIDTH), across = Math.sqrt(film.n), cell = GRID / across, left = x > GRID + GAP / 2 ? GRID + GAP : 0;
      const column = Math.floor((x - left) / cell), row = Math.floor((y - TOP) / cell);
      if (column >= 0 && column < across && row >= 0 && row < across) choose(row * across + column);
    });
    canvas.addEventListener('keydown', (e) => {
      const across = Math.sqrt(film.n), step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[e.key];
      if (step) { e.preventDefault(); choose(chosen + step); }
    });

    lay();
    say('Nothing is drawn yet. The network has 400 thousand weights, a byte each; they come when you press the button.');
    frame.walk = walk;
    frame.pose = () => walk(seed).then(() => show(0.5));  // for the still: half way
    frame.values = () => ({ seed, chosen, seconds, at: state.at, count: film.n, steps: film.times.length - 1, differ: spread(film.states[film.states.length - 1]), busy: busy() });
    frame.film = () => film;
  });
})();
