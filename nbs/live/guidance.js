// needs mixture
// What guidance does: two classes on a line, whose every answer is exact. Particles fall from noise to data under the guided flow,
// and arrive somewhere else than the density that guidance is said to sample.
'use strict';
(() => {
  const live = globalThis.live, N = 1000, V = 0.25, PATHS = 37;  // the classes are N(1, V) and N(-1, V), half of the world each

  // ---- arithmetic
  const rate = (t) => 0.1 + 19.9 * t, integral = (t) => (0.1 + rate(t)) / 2 * t;  // of the linear schedule, and from 0 to t
  const schedule = {
    alpha: (t) => Math.exp(-integral(t) / 2), sigma: (t) => Math.sqrt(-Math.expm1(-integral(t))),
    alphaDot: (t) => -rate(t) / 2 * schedule.alpha(t), sigmaDot: (t) => rate(t) / 2 * schedule.alpha(t) ** 2 / schedule.sigma(t),
    timeAt: (level) => (Math.sqrt(0.01 + 39.8 * Math.log1p(level * level)) - 0.1) / 19.9,  // integral(t) = log(1 + level^2)
  };
  const RULES = { constant: (scale) => scale, falling: (scale, t) => 1 + (scale - 1) * (1 - schedule.sigma(t)) ** 2 };

  // The estimate without the class, and `scale` times the step from it to the estimate with the class.
  function guided(scale, low, high, rule = RULES.constant) {
    return (x, t) => {
      const a = schedule.alpha(t), total = a * a * V + schedule.sigma(t) ** 2, s = t < low || t > high ? 1 : rule(scale, t);
      const estimate = (z, side) => side + a * V / total * (z - a * side);
      return x.map((z) => { const away = estimate(z, Math.tanh(a * z / total)); return away + s * (estimate(z, 1) - away); });
    };
  }
  // Follow each step of a solver by `count` steps of Langevin's at the new time.
  const settled = (solver, count, size, noise) => (schedule, denoise, x, t, s, memory) => {
    let y = solver(schedule, denoise, x, t, s, memory);
    const a = schedule.alpha(s), sigma = schedule.sigma(s);
    for (let k = 0; sigma > 0 && k < count; k++) {
      const x0 = denoise(y, s), z = noise(y.length);
      y = y.map((v, i) => v + size * (a * x0[i] - v) + sigma * Math.sqrt(2 * size) * z[i]);
    }
    return y;
  };
  // Noise at even quantiles: the flow on a line keeps their order.
  function even(n) {
    return Float64Array.from({ length: n }, (_, i) => {
      let low = -9, high = 9;
      for (let k = 0; k < 60; k++) { const middle = (low + high) / 2; if (1 + live.erf(middle / Math.SQRT2) < (2 * i + 1) / n) low = middle; else high = middle; }
      return (low + high) / 2;
    });
  }
  const CELLS = 45000, place = (i) => -3 + 9 * i / CELLS, bell = (z) => Math.exp(-z * z / (2 * V)) / Math.sqrt(2 * Math.PI * V);
  const classAt = (x) => bell(x - 1), worldAt = (x) => (bell(x - 1) + bell(x + 1)) / 2;
  // p(x) p(class | x)^scale, normalised: its density and its distribution function.
  function promise(scale) {
    const mass = Float64Array.from({ length: CELLS + 1 }, (_, i) => { const x = place(i); return worldAt(x) * (1 + Math.exp(-2 * x / V)) ** -scale; });
    const sum = mass.reduce((a, b) => a + b), below = new Float64Array(mass.length);
    mass.forEach((m, i) => { below[i] = m / sum + (i ? below[i - 1] : 0); });
    const at = (u) => { let low = 0, high = CELLS; while (low < high) { const middle = low + high >> 1; if (below[middle] < u) low = middle + 1; else high = middle; } return place(low); };
    return { density: (x) => worldAt(x) * (1 + Math.exp(-2 * x / V)) ** -scale / (sum * 9 / CELLS), at, quantiles: (n) => Float64Array.from({ length: n }, (_, i) => at((i + 0.5) / n)) };
  }
  const mean = (x) => x.reduce((a, b) => a + b) / x.length, std = (x) => { const m = mean(x); return Math.sqrt(x.reduce((a, b) => a + (b - m) ** 2, 0) / (x.length - 1)); };
  const distance = (x, goal) => { const y = Float64Array.from(x).sort(); return y.reduce((a, b, i) => a + Math.abs(b - goal[i]), 0) / y.length; };  // W1, by equal quantiles

  const kept = [];  // the noise of the settling: drawn once, so that a slider changes nothing but what it says
  const noise = (n) => { const z = kept[noise.turn] ??= (() => { const chance = live.random(1000 + noise.turn); return Float64Array.from({ length: n }, chance.normal); })(); noise.turn++; return z; };
  const SAMPLERS = {
    'constant scale': { rule: RULES.constant, solver: live.solvers.Heun, steps: 200 },
    'falling scale': { rule: RULES.falling, solver: live.solvers.Heun, steps: 200 },
    'constant, settled': { rule: RULES.constant, solver: settled(live.solvers.DDIM, 16, 0.3, noise), steps: 60 },
  };
  live.guidance = { schedule, guided, settled, even, promise, RULES, distance };

  live.figure('guidance', (frame) => {
    const { state } = frame, { text, line } = frame.pen(), narrow = frame.host.clientWidth < 600, [width, height] = narrow ? [340, 430] : [640, 450];
    const TOP = 14, DATA = Math.round(height * 0.5), BASE = height - 24, HIGH = BASE - DATA - 30, left = narrow ? 8 : 64, right = width - 8;
    const px = (x) => left + (x + 2.7) * (right - left) / 6.1, py = (t) => DATA - t * (DATA - TOP);
    const start = even(N), shown = Array.from({ length: PATHS }, (_, k) => Math.round((k + 0.5) * N / PATHS - 0.5));
    let times, states, goal, target, fair, measured;

    frame.canvas({ width, height, draw, label: 'Above, paths of particles from noise down to data, with the times of guidance shaded. Below, on the same line, the histogram of the particles beside the promised density and the class.' });
    frame.slider({ name: 'scale', label: 'scale s', max: 10, step: 0.25, value: 4, show: (v) => `${v}`, big: true });
    frame.slider({ name: 'low', label: 'guide from t', max: 1, step: 0.05, value: 0, show: (v) => v.toFixed(2) });
    frame.slider({ name: 'high', label: 'up to t', max: 1, step: 0.05, value: 1, show: (v) => v.toFixed(2) });
    frame.choice({ name: 'sampler', label: 'Sampler', options: Object.keys(SAMPLERS), value: 'constant scale' });
    frame.slider({ name: 'at', label: 'time shown', max: 1, step: 0.005, value: 1, show: (v) => `t = ${(1 - v).toFixed(2)}` });
    frame.player('Let them fall', (dt) => { const v = Math.min(state.at + dt / 4, 1); frame.controls.at.set(v); return v < 1; }, { onstart: () => frame.controls.at.set(0) });
    frame.permalink();
    const say = frame.readout();

    function renew() {
      const { rule, solver, steps } = SAMPLERS[state.sampler];
      noise.turn = 0;
      times = live.grids.Karras(schedule, steps);
      states = live.walk({ schedule, solver, times, x: start, denoise: guided(state.scale, state.low, state.high, rule) });
      target = promise(state.scale);
      goal = target.quantiles(N);
      const x0 = states.at(-1), plain = promise(1).quantiles(N);
      fair = 0;
      for (let seed = 0; seed < 8; seed++) { const chance = live.random(50 + seed); fair += distance(goal.map(() => target.at(chance.uniform())), goal) / 8; }
      measured = { distance: distance(x0, goal), plain: distance(plain, goal), floor: fair, mean: mean(x0), std: std(x0), goalMean: mean(goal), goalStd: std(goal) };
      const two = (m, d) => `${m.toFixed(2)} ± ${d.toFixed(2)}`.replace('-', '−');
      say(`The particles lie at ${two(measured.mean, measured.std)}, promised is ${two(measured.goalMean, measured.goalStd)}. They are ${measured.distance.toFixed(3)} from the promise. `
        + `The class, not guided at all, is ${measured.plain.toFixed(3)} from it; a thousand fair draws of the promise are ${fair.toFixed(3)} from it.`);
    }
    frame.changed = (name) => { if (name !== 'at') renew(); };

    // States at any time, between two of the walk.
    function statesAt(t) {
      let k = 0;
      while (k < times.length - 2 && times[k + 1] > t) k++;
      const part = (times[k] - t) / (times[k] - times[k + 1]);
      return states[k].map((x, i) => x + part * (states[k + 1][i] - x));
    }

    function draw(c) {
      const now = 1 - state.at, x = statesAt(now);
      drawPaths(c, x, now);
      drawDensities(c, x);
    }
    function drawPaths(c, x, now) {
      if (state.low <= state.high && state.scale !== 1) {  // where it is guided
        c.fillStyle = frame.colour('other'); c.globalAlpha = 0.13;
        c.fillRect(left, py(state.high), right - left, py(state.low) - py(state.high)); c.globalAlpha = 1;
        if (state.high - state.low > 0.08) text(c, 'guided', right - 6, py(state.high) + 17, { colour: 'other', align: 'right' });
      }
      const chance = SAMPLERS[state.sampler].steps === 60, drawn = shown.filter((_, k) => !chance || k % 5 === 3);  // paths that chance bends cross each other
      c.save(); c.beginPath(); c.rect(left, TOP, right - left, DATA - TOP + 4); c.clip();
      c.globalAlpha = 0.4;
      for (const i of drawn) {
        const points = [];
        for (let k = 0; k < times.length; k++) if (times[k] >= now && (chance || k % 2 === 0 || k > times.length - 3)) points.push([px(states[k][i]), py(times[k])]);
        line(c, [...points, [px(x[i]), py(now)]], 'data', 1.1);
      }
      c.globalAlpha = 1;
      c.fillStyle = frame.colour('data');
      for (const i of shown) { c.beginPath(); c.arc(px(x[i]), py(now), 2.6, 0, 7); c.fill(); }
      c.restore();
      line(c, [[left, py(0)], [right, py(0)]], 'faint', 1);
      if (narrow) { text(c, 'noise, t = 1', left + 2, TOP + 12); text(c, 'data, t = 0', left + 2, py(0) - 6); return; }
      for (const [t, words] of [[1, 'noise, 1'], [0.5, 't = 0.5'], [0, 'data, 0']]) text(c, words, left - 8, py(t) + 5, { align: 'right' });
    }
    const BINS = 61, cell = 6.1 / BINS;
    function drawDensities(c, x) {
      const bars = new Float64Array(BINS);
      for (const v of x) { const k = Math.floor((v + 2.7) / cell); if (k >= 0 && k < BINS) bars[k] += 1 / (N * cell); }
      const line1 = Array.from({ length: 245 }, (_, i) => -2.7 + 6.1 * i / 244), top = Math.max(1.05, ...bars, ...line1.map(target.density)), y = (p) => BASE - p / top * HIGH;
      const curve = (f) => line1.map((v) => [px(v), y(f(v))]), area = (points, colour, alpha) => {
        c.fillStyle = frame.colour(colour); c.globalAlpha = alpha; c.beginPath(); c.moveTo(px(-2.7), BASE);
        for (const p of points) c.lineTo(...p);
        c.lineTo(px(3.4), BASE); c.fill(); c.globalAlpha = 1;
      };
      area(curve(worldAt), 'noise', 0.22);
      c.fillStyle = frame.colour('data'); c.globalAlpha = 0.55;
      bars.forEach((p, k) => p && c.fillRect(px(-2.7 + k * cell) + 0.5, y(p), px(cell) - px(0) - 1, BASE - y(p)));
      c.globalAlpha = 1;
      line(c, curve(classAt), 'ink', 1.3, [2, 4]);
      line(c, curve(target.density), 'truth', 2.6);
      line(c, [[left, BASE], [right, BASE]], 'faint', 1);
      for (let v = -2; v <= 3; v++) text(c, `${v}`.replace('-', '−'), px(v), BASE + 17, { align: 'center' });
      [['promised', 'truth', 3], [state.at < 1 ? 'now' : 'sampled', 'data', 9], ['the class', 'ink', 1.3, [2, 4]], ['all data', 'noise', 9]].forEach(([words, colour, wide, dash], k) => {
        const h = DATA + 20 + 19 * k;
        c.lineCap = 'butt';
        line(c, [[left + 2, h], [left + 22, h]], colour, wide, dash);
        c.lineCap = 'round';
        text(c, words, left + 29, h + 4);
      });
      if (state.at === 1 && Math.abs(measured.mean - measured.goalMean) > 0.12) {  // from the mean of the promise to that of the particles
        const [a, b, h] = [px(measured.goalMean), px(measured.mean), DATA + 14], way = Math.sign(b - a) * 6;
        line(c, [[a, h - 6], [a, h + 6]], 'mark', 2);
        line(c, [[a, h], [b, h]], 'mark', 2);
        line(c, [[b - way, h - 5], [b, h], [b - way, h + 5]], 'mark', 2);
        text(c, `W₁ ${measured.distance.toFixed(2)}`, Math.max(a, b) + 8, h + 5, { colour: 'mark', bold: true });
      }
    }

    renew();
    frame.values = () => ({ ...measured, x0: [...states.at(-1)], times });
  });
})();
