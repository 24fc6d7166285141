// needs mixture
// Ink in a box: drops spread by the chain of chapter 11, and Bayes' rule brings them back with one of four ideas of the crowd.
'use strict';
(() => {
  const live = globalThis.live, SIZE = 520, HEIGHT = 400, REACH = 3.4, N = 600, STEPS = 150, BETA = 0.03;

  // ---- arithmetic: a kernel sends a place to N(gain place + offset, var); a bump is {x, y, var, weight}; both axes have one variance
  const forward = { gain: Math.sqrt(1 - BETA), var: BETA, offset: [0, 0] };
  const marginal = (k, b) => ({ x: k.gain * b.x + k.offset[0], y: k.gain * b.y + k.offset[1], var: k.gain ** 2 * b.var + k.var, weight: b.weight });
  const jump = (steps) => {  // all of the steps in one
    const log = steps * Math.log1p(-BETA);
    return { gain: Math.exp(log / 2), var: -Math.expm1(log), offset: [0, 0] };
  };
  function reverse(k, bump) {  // Bayes' rule, where the crowd before the step was this bump
    const seen = marginal(k, bump), gain = k.gain * bump.var / seen.var;
    return { gain, var: k.var * bump.var / seen.var, offset: [bump.x - gain * seen.x, bump.y - gain * seen.y] };
  }
  // Where the grain at (x, y) was before the step, if the crowd was these bumps: the belief in each bump, and its kernel back.
  function beliefs(k, bumps, x, y) {
    const log = bumps.map((b) => { const s = marginal(k, b); return Math.log(b.weight / s.var) - ((x - s.x) ** 2 + (y - s.y) ** 2) / (2 * s.var); });
    const top = Math.max(...log), share = log.map((l) => Math.exp(l - top)), sum = share.reduce((a, b) => a + b);
    return bumps.map((b, j) => ({ share: share[j] / sum, kernel: reverse(k, b) }));
  }
  const CELLS = 110, EDGE = 8;
  function nats(bumps) {  // KL(bumps || N(0, I)), a sum over cells; a round bump is a product of two bells
    const h = 2 * EDGE / CELLS, at = Float64Array.from({ length: CELLS + 1 }, (_, i) => i * h - EDGE);
    const bell = (m, v) => at.map((x) => Math.exp(-((x - m) ** 2) / (2 * v)) / Math.sqrt(2 * Math.PI * v));
    const rows = bumps.map((b) => [bell(b.x, b.var).map((p) => p * b.weight), bell(b.y, b.var)]);
    let sum = 0;
    for (let i = 0; i <= CELLS; i++) for (let j = 0; j <= CELLS; j++) {
      let p = 0;
      for (const [across, up] of rows) p += across[i] * up[j];
      if (p > 1e-300) sum += p * (Math.log(2 * Math.PI * p) + (at[i] ** 2 + at[j] ** 2) / 2);
    }
    return sum * h * h;
  }
  function bell(bumps) {  // one round bump with the mean of all, and their spread
    const mean = (f) => bumps.reduce((sum, b) => sum + b.weight * f(b), 0), x = mean((b) => b.x), y = mean((b) => b.y);
    return { x, y, var: mean((b) => b.var + ((b.x - x) ** 2 + (b.y - y) ** 2) / 2), weight: 1 };
  }
  live.ink = { STEPS, BETA, forward, jump, marginal, reverse, beliefs, nats, bell };

  // ---- the figure
  const NOISE = { x: 0, y: 0, var: 1, weight: 1 };
  const START = 'each start', CROWD = 'the crowd', BELL = 'mean and spread', NOTHING = 'only noise';
  const DROPS = [[-0.7, 1.3], [-2, -0.5], [0.2, -1.4]], WEIGHTS = [0.3, 0.5, 0.2], VAR = 0.05;

  live.figure('ink', (frame) => {
    const { state } = frame, scale = SIZE / (2 * REACH), px = (x) => SIZE / 2 + x * scale, py = (y) => HEIGHT / 2 - y * scale;
    const linked = (frame.linked('drops') || '').split(',').map(Number);
    const drops = WEIGHTS.map((weight, j) => {
      const [x, y] = linked.length === 6 && linked.every((v) => Math.abs(v) <= 3) ? linked.slice(2 * j, 2 * j + 2) : DROPS[j];
      return { x, y, var: VAR, weight };
    });
    const chance = live.random(11), home = [], jitter = [];
    for (let i = 0; i < N; i++) { const u = chance.uniform(); home.push(i === 0 || u < 0.3 ? 0 : u < 0.8 ? 1 : 2); jitter.push(chance.normal(), chance.normal()); }
    let film, laws, curve, moved = null;

    const canvas = frame.canvas({ width: SIZE, height: HEIGHT, focus: true, draw: drawBox,
      label: 'A box of water: grey shade is the density of the ink, points are grains of it, those of the upper drop orange, and one large grain leaves its path. Drops can be moved by dragging, the largest one with the arrow keys.' });
    canvas.dataset.drag = '';
    frame.canvas({ width: SIZE, height: 150, draw: drawCurve, label: 'The nats between ink and pure noise: falling on the way forwards, and what the way back makes of them.' });
    const slider = frame.slider({ name: 'at', label: 'Step', max: 2 * STEPS, value: 25, big: true, show: (v) => v <= STEPS ? `${v} forwards` : `${2 * STEPS - v} going back` });
    frame.choice({ name: 'knows', label: 'The way back knows', options: [START, CROWD, BELL, NOTHING], value: CROWD });
    const roll = (from, to) => ({
      tick: (dt) => { film.clock = Math.min(film.clock + 40 * dt, to); frame.controls.at.set(Math.floor(film.clock)); tell(); return film.clock < to; },
      onstart: () => { film.clock = from; frame.controls.at.set(from); },
    });
    const players = [['Forwards', roll(0, STEPS)], ['Backwards', roll(STEPS, 2 * STEPS)]].map(([label, { tick, onstart }], i) =>
      frame.player(label, tick, { onstart: () => { players[1 - i].stop(); onstart(); } }));
    const still = () => players.forEach((p) => p.stop());
    frame.permalink(() => ({ drops: drops.flatMap((d) => [d.x.toFixed(2), d.y.toFixed(2)]).join(',') }));
    const say = frame.readout();

    function begin() { return Float64Array.from(jitter, (z, i) => (i % 2 ? drops[home[i >> 1]].y : drops[home[i >> 1]].x) + Math.sqrt(VAR) * z); }
    function renew() {  // the whole film, and its exact law at every step
      const noise = live.random(12), states = [begin()];
      for (let t = 0; t < STEPS; t++) states.push(states[t].map((x) => forward.gain * x + Math.sqrt(forward.var) * noise.normal()));
      laws = Array.from({ length: STEPS + 1 }, (_, t) => drops.map((b) => marginal(jump(t), b)));
      film = { states, clock: 0 };
      turn();
    }
    const crowd = { [CROWD]: () => drops, [BELL]: () => [bell(drops)], [NOTHING]: () => [NOISE] };
    function turn() {  // the way back, from where the way forwards ended
      const { states } = film, noise = live.random(18), first = states[0], right = state.knows === START || state.knows === CROWD;
      states.length = laws.length = STEPS + 1;
      for (let s = STEPS - 1; s >= 0; s--) {
        const x = states[states.length - 1], y = new Float64Array(2 * N), before = crowd[state.knows]?.().map((b) => marginal(jump(s), b));
        for (let i = 0; i < 2 * N; i += 2) {
          const began = before ?? [marginal(jump(s), { x: first[i], y: first[i + 1], var: 0, weight: 1 })];
          let u = noise.uniform(), j = 0;
          const found = beliefs(forward, began, x[i], x[i + 1]);
          while (j < found.length - 1 && u >= found[j].share) u -= found[j++].share;
          const { gain, var: left, offset } = found[j].kernel;
          for (const k of [0, 1]) y[i + k] = gain * x[i + k] + offset[k] + Math.sqrt(left) * noise.normal();
        }
        states.push(y);
        laws.push(right ? laws[s] : laws[laws.length - 1].map((b) => marginal(reverse(forward, before[0]), b)));
      }
      const there = laws.slice(0, STEPS + 1).map(nats);
      curve = [...there, ...(right ? there.slice(0, -1).reverse() : laws.slice(STEPS + 1).map(nats))];
    }
    const own = (x) => home.filter((h, i) => drops.every((d, j) => j === h || Math.hypot(x[2 * i] - d.x, x[2 * i + 1] - d.y) > Math.hypot(x[2 * i] - drops[h].x, x[2 * i + 1] - drops[h].y))).length / N;
    const step = () => state.at <= STEPS ? state.at : 2 * STEPS - state.at;
    function values() { return { nats: curve[state.at], gain: jump(step()).gain, own: own(film.states[state.at]), first: [...film.states[state.at].slice(0, 2)] }; }
    function tell() {
      const v = values(), there = state.at <= STEPS;
      say(`${there ? `After ${step()} steps forwards` : `Going back, at step ${step()}`}: ${v.nats.toFixed(3)} nats between ink and pure noise. `
        + (there ? `Each grain keeps √ᾱ = ${v.gain.toFixed(2)} of its start. ` : '') + `${Math.round(100 * v.own)}% of the grains are nearest to their own drop.`);
    }
    frame.changed = (name) => { if (name === 'knows') turn(); else still(); tell(); };

    function drawBox(c) {
      shade(c, moved ? drops : laws[state.at]);
      const x = moved ? begin() : film.states[state.at], mark = frame.colour('mark'), data = frame.colour('data'), trail = film.states.slice(state.at <= STEPS ? 0 : STEPS, state.at + 1);
      c.strokeStyle = frame.colour('faint');
      c.strokeRect(1, 1, SIZE - 2, HEIGHT - 2);
      home.forEach((h, i) => { c.fillStyle = h ? data : mark; if (i) dot(c, x[2 * i], x[2 * i + 1], 1.8); });
      c.strokeStyle = c.fillStyle = mark;
      c.lineWidth = 1;
      if (!moved) { c.beginPath(); trail.forEach((s, k) => k ? c.lineTo(px(s[0]), py(s[1])) : c.moveTo(px(s[0]), py(s[1]))); c.stroke(); }
      c.lineWidth = 2;
      const [a, b] = moved ? x : film.states[0];
      c.beginPath(); c.arc(px(a), py(b), 9, 0, 7); c.stroke();
      dot(c, x[0], x[1], 5);
    }
    function dot(c, x, y, r) { c.beginPath(); c.arc(px(x), py(y), r, 0, 7); c.fill(); }
    const image = document.createElement('canvas'), wide = 104, high = 80;
    image.width = wide; image.height = high;
    function shade(c, law) {  // ink thins as it spreads
      const x = new Float64Array(2 * wide * high), pen = image.getContext('2d'), p = pen.createImageData(wide, high), [r, g, b] = frame.colour('noise').match(/\w\w/g).map((h) => parseInt(h, 16));
      for (let i = 0; i < wide * high; i++) { x[2 * i] = (((i % wide) + 0.5) / wide * SIZE - SIZE / 2) / scale; x[2 * i + 1] = (HEIGHT / 2 - (Math.floor(i / wide) + 0.5) / high * HEIGHT) / scale; }
      const log = new live.Mixture(law.map((b) => ({ ...b, std: Math.sqrt(b.var) }))).logProb(x);
      for (let i = 0; i < log.length; i++) p.data.set([r, g, b, 200 * (1 - Math.exp(-2.2 * Math.exp(log[i])))], 4 * i);
      pen.putImageData(p, 0, 0);
      c.drawImage(image, 0, 0, SIZE, HEIGHT);
    }
    function drawCurve(c) {
      const left = 38, right = SIZE - 8, low = 118, top = 24, x = (k) => left + (right - left) * k / (2 * STEPS), y = (v) => low - (low - top) * v / curve[0];
      const line = (f, from, to, colour, width, dash = []) => { c.strokeStyle = frame.colour(colour); c.lineWidth = width; c.setLineDash(dash); c.beginPath(); for (let k = from; k <= to; k++) k > from ? c.lineTo(x(k), y(f(k))) : c.moveTo(x(k), y(f(k))); c.stroke(); c.setLineDash([]); };
      line(() => 0, 0, 2 * STEPS, 'noise', 1);
      c.strokeStyle = frame.colour('faint'); c.beginPath(); c.moveTo(x(STEPS), top); c.lineTo(x(STEPS), low); c.stroke();
      if (curve[2 * STEPS] < 0.99 * curve[0]) line((k) => curve[2 * STEPS - k], STEPS, 2 * STEPS, 'truth', 1.5, [2, 4]);
      line((k) => curve[k], 0, 2 * STEPS, 'faint', 2);
      line((k) => curve[k], 0, state.at, 'data', 3);
      c.fillStyle = frame.colour('data'); c.beginPath(); c.arc(x(state.at), y(curve[state.at]), 5, 0, 7); c.fill();
      c.fillStyle = frame.colour('ink');
      c.font = '15px system-ui, sans-serif';
      const write = (text, a, b, align = 'center') => { c.textAlign = align; c.fillText(text, a, b); };
      write('nats from pure noise: forwards', x(STEPS / 2), 14); write('and back', x(1.5 * STEPS), 14);
      for (const k of [0, 50, 100, 150, 200, 250, 300]) write(`${k <= STEPS ? k : 2 * STEPS - k}`, x(k), 136, k === 300 ? 'right' : 'center');
      for (const v of [0, Math.floor(curve[0])]) write(`${v}`, left - 8, y(v) + 5, 'right');
    }

    // Drops follow the pointer, and the largest the arrow keys.
    const put = (drop, x, y) => { drop.x = Math.max(-3, Math.min(3, x)); drop.y = Math.max(-2.3, Math.min(2.3, y)); };
    const where = (e) => { const [a, b] = frame.at(canvas, e, SIZE); return [(a - SIZE / 2) / scale, (HEIGHT / 2 - b) / scale]; };
    canvas.addEventListener('pointerdown', (e) => {
      const [x, y] = where(e), far = (d) => Math.hypot(d.x - x, d.y - y);
      moved = drops.reduce((best, d) => far(d) < far(best) ? d : best);
      canvas.setPointerCapture(e.pointerId);
      still();
      frame.controls.at.set(0);
      tell();
      put(moved, x, y);
      frame.paint();
    });
    canvas.addEventListener('pointermove', (e) => { if (moved) { put(moved, ...where(e)); frame.paint(); } });
    for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => { if (moved) { moved = null; renew(); tell(); frame.paint(); } });
    canvas.addEventListener('keydown', (e) => {
      const way = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[e.key];
      if (way) { e.preventDefault(); still(); put(drops[1], drops[1].x + way[0], drops[1].y + way[1]); renew(); tell(); frame.paint(); }
    });

    renew();
    tell();
    frame.values = values;
  });
})();
