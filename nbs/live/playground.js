// needs mixture
// The playground: a mixture in the plane, drawn by the reader, and particles that a sampler walks from noise into it.
'use strict';
(() => {
  const live = globalThis.live, SIZE = 520, REACH = 2.6, N = 1000, SHOWN = 400;
  const px = (v) => SIZE / 2 + v * SIZE / (2 * REACH), unit = (p) => (p - SIZE / 2) * 2 * REACH / SIZE;
  const circle = (n, r, std) => Array.from({ length: n }, (_, k) => ({ x: r * Math.cos(2 * Math.PI * k / n), y: r * Math.sin(2 * Math.PI * k / n), std, weight: 1 }));
  const moon = (sign) => Array.from({ length: 9 }, (_, k) => { const a = Math.PI * k / 8; return { x: sign * (1.1 * Math.cos(a) - 0.55), y: sign * (1.1 * Math.sin(a) - 0.35), std: 0.13, weight: 1 }; });
  const DATA = {
    'eight on a ring': circle(8, 1.5, 0.15),
    'two moons': [...moon(1), ...moon(-1)],
    'unequal three': [{ x: -1.4, y: -0.7, std: 0.25, weight: 5 }, { x: 1.3, y: -0.9, std: 0.25, weight: 3 }, { x: 0.2, y: 1.4, std: 0.25, weight: 2 }],
    'grid of nine': [-1.5, 0, 1.5].flatMap((x) => [-1.5, 0, 1.5].map((y) => ({ x, y, std: 0.12, weight: 1 }))),
  };
  const OWN = 'your drawing';
  const pack = (bumps) => bumps.map((b) => [b.x, b.y].map((v) => v.toFixed(2)).join(',')).join(';');
  const unpack = (text) => (text || '').split(';').map((pair) => pair.split(',').map(Number)).filter((p) => p.length === 2 && p.every((v) => Math.abs(v) <= REACH))
    .slice(0, 200).map(([x, y]) => ({ x, y, std: 0.15, weight: 1 }));

  live.figure('playground', (frame) => {
    const { state } = frame;
    let own = unpack(frame.linked('bumps')), drawing = false, shownAt = 0, dragged = null;
    let mixture, schedule, times, states, exact, distance, floor, marked, measured;
    const start = new Float64Array(2 * N);
    { const chance = live.random(1); for (let i = 0; i < 2 * N; i++) start[i] = chance.normal(); }
    start[0] = frame.linked('x') ? +frame.linked('x') : 0.3; start[1] = frame.linked('y') ? +frame.linked('y') : 0.55;

    const canvas = frame.canvas({ width: SIZE, height: SIZE, focus: true, draw,
      label: 'The plane: grey shading is the density of noisy data, arrows are its score, dots are particles, and one large particle can be moved by dragging or with the arrow keys.' });
    canvas.dataset.drag = '';
    frame.choice({ name: 'data', label: 'Data', options: [...Object.keys(DATA), OWN], value: 'eight on a ring' });
    frame.choice({ name: 'solver', label: 'Sampler', options: Object.keys(live.solvers), value: 'DDIM' });
    frame.slider({ name: 'steps', label: 'Steps', values: [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 50, 64, 100], value: 10 });
    frame.slider({ name: 'eta', label: 'eta (DDIM)', max: 1, step: 0.05, value: 0, show: (v) => v.toFixed(2) });
    frame.choice({ name: 'grid', label: 'Grid', options: Object.keys(live.grids), value: 'uniform' });
    frame.choice({ name: 'schedule', label: 'Schedule', options: Object.keys(live.schedules), value: 'cosine' });
    const slider = frame.slider({ name: 'at', label: 'Step shown', max: 1, step: 0.001, value: 1, show: (v) => `t = ${times ? timeOf(v).toFixed(2) : '0'}` });
    frame.tick({ name: 'arrows', label: 'score arrows', value: true });
    const player = frame.player('Walk', (dt) => { const v = Math.min(state.at + dt / 3, 1); frame.controls.at.set(v); return v < 1; }, { onstart: () => frame.controls.at.set(0) });
    const draws = frame.button('Draw your own', () => { own = []; frame.set('data', OWN); canvas.focus(); });
    frame.permalink(() => ({ x: start[0].toFixed(3), y: start[1].toFixed(3), ...(state.data === OWN ? { bumps: pack(own) } : {}) }));
    const say = frame.readout();

    const place = (v) => v * (states.length - 1);  // where the film stands, in steps
    function timeOf(v) { const k = Math.min(Math.floor(place(v)), times.length - 2), part = place(v) - k; return times[k] + part * (times[k + 1] - times[k]); }
    const noiseFrom = (seed) => { const chance = live.random(seed); return (n) => { const z = new Float64Array(n); for (let i = 0; i < n; i++) z[i] = chance.normal(); return z; }; };
    const run = (x) => live.walk({ mixture, schedule, times, x, solver: live.solvers[state.solver], eta: state.eta, noise: noiseFrom(7) });

    function data() { return state.data === OWN ? own : DATA[state.data]; }
    function renew() {  // the data, the schedule or the rule changed
      const bumps = data().length ? data() : [{ x: 0, y: 0, std: 0.15, weight: 1 }];
      mixture = new live.Mixture(bumps);
      schedule = live.schedules[state.schedule];
      times = live.grids[state.grid](schedule, state.steps);
      states = run(start);
      distance = live.slicedDistance(mixture);
      floor = 0;
      for (let seed = 0; seed < 8; seed++) floor += distance(mixture.sample(N, live.random(100 + seed))) / 8;
      mark();
    }
    function mark() {  // the large particle: its walk, and the exact path by Heun in many steps
      const x = start.slice(0, 2), fine = live.grids['log SNR'](schedule, 200);
      exact = live.walk({ mixture, schedule, times: fine, x, solver: live.solvers.Heun });
      marked = states.map((s) => [s[0], s[1]]);
    }
    frame.changed = (name) => {
      if (name === 'at' || name === 'arrows') return;
      renew();
      tell();
    };
    const random = () => state.solver === 'ancestral' || (state.solver === 'DDIM' && state.eta > 0);
    function tell() {
      const end = states[states.length - 1], far = Math.hypot(end[0] - exact[exact.length - 1][0], end[1] - exact[exact.length - 1][1]);
      measured = { distance: distance(end), floor, far, calls: state.steps * (state.solver === 'Heun' ? 2 : 1) - (state.solver === 'Heun' ? 1 : 0) };
      say(`Distance to the exact distribution: ${measured.distance.toFixed(3)}; a cloud of ${N} exact draws has ${floor.toFixed(3)}. `
        + `${measured.calls} ${measured.calls === 1 ? 'call' : 'calls'} of the denoiser. `
        + (random() ? 'Fresh noise decides where the marked particle ends.' : `The marked particle ends ${far.toFixed(2)} from where its exact path does.`));
    }

    function draw(c) {
      const t = timeOf(state.at), alpha = schedule.alpha(t), sigma = schedule.sigma(t);
      shade(c, alpha, sigma);
      if (state.arrows) arrows(c, alpha, Math.max(sigma, 0.05));
      const k = Math.min(Math.floor(place(state.at)), states.length - 2), part = place(state.at) - k, now = states[k], next = states[k + 1];
      c.fillStyle = frame.colour('data');
      c.globalAlpha = 0.75;
      for (let i = 2; i < 2 * SHOWN; i += 2) dot(c, now[i] + part * (next[i] - now[i]), now[i + 1] + part * (next[i + 1] - now[i + 1]), 2.2);
      c.globalAlpha = 1;
      if (!random()) line(c, exact.map((s) => [s[0], s[1]]), frame.colour('truth'), [2, 4]);
      line(c, marked, frame.colour('mark'));
      c.fillStyle = frame.colour('mark');
      for (const [x, y] of marked) dot(c, x, y, 2.5);
      dot(c, now[0] + part * (next[0] - now[0]), now[1] + part * (next[1] - now[1]), 7);
      if (state.data === OWN && own.length < 3) {
        c.fillStyle = frame.colour('ink');
        c.textAlign = 'center';
        c.fillText('Press and move: you are painting the data', SIZE / 2, 24);
      }
    }
    function dot(c, x, y, r) { c.beginPath(); c.arc(px(x), px(-y), r, 0, 7); c.fill(); }
    function line(c, points, colour, dash = []) {
      c.strokeStyle = colour; c.setLineDash(dash); c.beginPath();
      points.forEach(([x, y], i) => i ? c.lineTo(px(x), px(-y)) : c.moveTo(px(x), px(-y)));
      c.stroke(); c.setLineDash([]);
    }
    const cells = 65, image = document.createElement('canvas');
    image.width = image.height = cells;
    function shade(c, alpha, sigma) {  // the density of x_t, darkest where it is largest
      const x = new Float64Array(2 * cells * cells);
      for (let r = 0, i = 0; r < cells; r++) for (let q = 0; q < cells; q++) { x[i++] = (2 * q / (cells - 1) - 1) * REACH; x[i++] = (1 - 2 * r / (cells - 1)) * REACH; }
      const log = mixture.logProb(x, alpha, Math.max(sigma, 0.03)), top = log.reduce((a, b) => Math.max(a, b)), pen = image.getContext('2d'), p = pen.createImageData(cells, cells);
      const ink = document.body.classList.contains('quarto-dark') || document.documentElement.classList.contains('live-dark') ? 235 : 20;
      for (let i = 0; i < log.length; i++) { p.data.set([ink, ink, ink, 90 * Math.exp(0.6 * (log[i] - top))], 4 * i); }
      pen.putImageData(p, 0, 0);
      c.drawImage(image, 0, 0, SIZE, SIZE);
    }
    function arrows(c, alpha, sigma) {  // the score times sigma, so that lengths are readable at every level
      const places = [];
      for (let a = -2.4; a < 2.5; a += 0.4) for (let b = -2.4; b < 2.5; b += 0.4) places.push(a, b);
      const x = Float64Array.from(places), s = mixture.score(x, alpha, sigma);
      c.strokeStyle = frame.colour('faint');
      c.lineWidth = 1.2;
      for (let i = 0; i < x.length; i += 2) {
        const size = Math.hypot(s[i], s[i + 1]) * sigma, length = 0.3 * Math.tanh(size), dx = s[i] * sigma / (size || 1) * length, dy = s[i + 1] * sigma / (size || 1) * length;
        const [x1, y1, x2, y2] = [px(x[i]), px(-x[i + 1]), px(x[i] + dx), px(-x[i + 1] - dy)], angle = Math.atan2(y2 - y1, x2 - x1), head = Math.min(5, 30 * length);
        c.beginPath(); c.moveTo(x1, y1); c.lineTo(x2, y2);
        for (const turn of [2.6, -2.6]) { c.moveTo(x2, y2); c.lineTo(x2 + head * Math.cos(angle + turn), y2 + head * Math.sin(angle + turn)); }
        c.stroke();
      }
      c.lineWidth = 1.5;
    }

    // The pointer paints data in the drawing, and moves the large particle elsewhere.
    const moveTo = (x, y) => {
      start[0] = Math.max(-REACH, Math.min(REACH, x)); start[1] = Math.max(-REACH, Math.min(REACH, y));
      states = run(start); mark(); tell(); frame.paint();
    };
    const paintAt = (x, y) => { if (own.length < 200 && !own.some((b) => Math.hypot(b.x - x, b.y - y) < 0.12)) { own.push({ x, y, std: 0.15, weight: 1 }); mixture = new live.Mixture(own); frame.paint(); } };
    const where = (e) => { const [a, b] = frame.at(canvas, e, SIZE); return [unit(a), -unit(b)]; };
    canvas.addEventListener('pointerdown', (e) => {
      const [x, y] = where(e), k = Math.round(place(state.at)), near = Math.hypot(states[k][0] - x, states[k][1] - y) < 0.35 || Math.hypot(start[0] - x, start[1] - y) < 0.35;
      canvas.setPointerCapture(e.pointerId);
      player.stop();
      if (state.data === OWN && !near) { drawing = true; paintAt(x, y); } else if (near) { dragged = true; frame.set('at', 0); moveTo(x, y); }
    });
    canvas.addEventListener('pointermove', (e) => { if (drawing) paintAt(...where(e)); else if (dragged) moveTo(...where(e)); });
    for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => {
      if (drawing) { drawing = false; renew(); tell(); }
      if (dragged) { dragged = null; frame.set('at', 1); }
      frame.paint();
    });
    canvas.addEventListener('keydown', (e) => {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[e.key];
      if (step) { e.preventDefault(); moveTo(start[0] + step[0], start[1] + step[1]); }
    });

    renew();
    frame.controls.at.set(1);
    tell();
    frame.values = () => ({ ...measured, start: [start[0], start[1]], end: [...states[states.length - 1].slice(0, 2)], times });
  });
})();
