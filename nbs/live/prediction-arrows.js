// needs mixture
// What a network is asked for, as arrows in the plane of data and noise. The area between the arrow of the input and the arrow of the
// target, the determinant, decides whether the answer can be turned into data, and how an error of the answer arrives there.
'use strict';
(() => {
  const live = globalThis.live, TRUTH = [0.7, 0.5];  // one pair of data and noise
  const SCHEDULES = { cosine: live.schedules.cosine, straight: live.schedules.straight, 'DDPM, linear': live.tables.linear };

  // ---- arithmetic: a prediction is a pair (a, b), its target a x0 + b eps
  const PREDICTIONS = { 'noise (eps)': () => [0, 1], 'data (x0)': () => [1, 0], v: (alpha, sigma) => [-sigma, alpha] };
  const LOOK = { 'noise (eps)': ['eps', 'noise'], 'data (x0)': ['x0', 'data'], v: ['v', 'other'] };  // label and colour
  function prediction(name, schedule, t) {
    const alpha = schedule.alpha(t), sigma = schedule.sigma(t), [a, b] = PREDICTIONS[name](alpha, sigma), determinant = alpha * b - sigma * a;
    return { alpha, sigma, a, b, determinant, amplification: sigma === 0 ? 0 : sigma / Math.abs(determinant) };
  }
  function solve({ alpha, sigma, a, b, determinant }, x, y) {  // the pair of data and noise behind an input x and an answer y
    const x0 = sigma === 0 ? x / alpha : (b * x - sigma * y) / determinant;
    return [x0, (x - alpha * x0) / sigma];
  }
  const mix = ([a, b], [x0, eps]) => a * x0 + b * eps;

  const rounded = (v) => (!Number.isFinite(v) ? '∞' : v === 0 ? '0' : Math.abs(v) < 100 ? v.toPrecision(2) : v.toFixed(0)).replace('-', '−');

  live.figure('prediction-arrows', (frame) => {
    const { state } = frame, { text, line, area, dot } = frame.pen(), narrow = frame.host.clientWidth < 600;
    const [width, height, arrows, pairs, growth] = narrow
      ? [330, 508, [4, 24, 318, 210], [16, 288, 150, 150], [214, 288, 106, 150]]  // left, top, width, height
      : [780, 306, [4, 30, 300, 206], [330, 30, 206, 206], [596, 30, 172, 206]];
    let now, x, y, wrong;

    frame.canvas({ width, height, draw, label: 'Left: the arrow of the input and the arrow of the target in the plane of data and noise, with the area between them. Middle: the line of pairs that have this input and the band of pairs that have this answer, which cross in the estimate. Right: how an error grows, over time.' });
    frame.slider({ name: 't', label: 'time t', max: 1, step: 0.001, value: 0.7, show: (v) => v.toFixed(3).replace(/0$/, ''), big: true });
    frame.choice({ name: 'asked', label: 'Asked for', options: Object.keys(PREDICTIONS), value: 'noise (eps)' });
    frame.slider({ name: 'error', label: 'answer off by', max: 0.5, step: 0.01, value: 0.2, show: (v) => `± ${v.toFixed(2)}` });
    frame.choice({ name: 'schedule', label: 'Schedule', options: Object.keys(SCHEDULES), value: 'cosine' });
    frame.player('Add noise', (dt) => { const t = Math.min(state.t + dt / 6, 1); frame.set('t', Math.round(1000 * t) / 1000); return t < 1; }, { onstart: () => frame.set('t', 0) });
    frame.permalink();
    const say = frame.readout();

    function renew() {
      now = prediction(state.asked, SCHEDULES[state.schedule], state.t);
      x = mix([now.alpha, now.sigma], TRUTH);
      y = mix([now.a, now.b], TRUTH);
      wrong = solve(now, x, y + state.error);
      say(now.sigma === 0 ? 'No noise yet: the input is the data, whatever the network says.'
        : now.determinant === 0 ? `The determinant is 0: the two arrows lie on one line, and the answer says nothing of the data that the input has not said.`
          : `The determinant is ${rounded(now.determinant)}. An answer that is off by ${state.error.toFixed(2)} gives data that are off by ${rounded(state.error * now.amplification)}, ${rounded(now.amplification)} times as much.`);
    }
    frame.changed = renew;

    function arrow(c, from, to, colour, wide) {
      const angle = Math.atan2(to[1] - from[1], to[0] - from[0]), head = 4 + 2.5 * wide, end = [to[0] - head * 0.7 * Math.cos(angle), to[1] - head * 0.7 * Math.sin(angle)];
      line(c, [from, end], colour, wide);
      area(c, [to, ...[2.7, -2.7].map((turn) => [to[0] + head * Math.cos(angle + turn), to[1] + head * Math.sin(angle + turn)])], colour, 1);
    }

    function draw(c) {
      drawArrows(c, ...arrows);
      drawPairs(c, ...pairs);
      drawGrowth(c, ...growth);
    }
    function drawArrows(c, left, top, w, h) {
      const unit = Math.min(w / 3.35, h / 2.15), at = ([a, b]) => [left + (a + 1.22) * unit, top + h - (b + 0.04) * unit];
      const input = [now.alpha, now.sigma], target = [now.a, now.b], [label, colour] = LOOK[state.asked];
      text(c, `determinant ${rounded(now.determinant)}`, left, top - 8, { bold: true });
      line(c, [at([-1.2, 0]), at([2.1, 0])], 'faint', 1);
      line(c, [at([0, 0]), at([0, 2.05])], 'faint', 1);
      area(c, [at([0, 0]), at(input), at([input[0] + target[0], input[1] + target[1]]), at(target)], colour, 0.22);
      const taken = [input, target];
      const name = (place, other, words, colour) => {  // beyond the tip, and away from the other arrow
        const [dx, dy] = [place[0] - other[0], place[1] - other[1]], far = Math.hypot(dx, dy);
        const push = far > 0.02 ? [dx / far, dy / far] : (other === target ? [1, -1] : [-1, 1]).map((s, k) => s * Math.abs(place[1 - k]));
        const [px, py] = at([1.08 * place[0] + 0.1 * push[0], 1.08 * place[1] + 0.13 * push[1]]);
        text(c, words, px, py + 4, { align: Math.abs(push[0]) < 0.5 ? 'center' : push[0] > 0 ? 'left' : 'right', colour, bold: true });
      };
      for (const other of Object.keys(PREDICTIONS)) {
        const place = PREDICTIONS[other](...input);
        if (other === state.asked) continue;
        arrow(c, at([0, 0]), at(place), LOOK[other][1], 1.2);
        if (taken.every((t) => Math.hypot(t[0] - place[0], t[1] - place[1]) > 0.3)) {
          const [px, py] = at([1.1 * place[0], Math.max(1.1 * place[1], 0.12)]);
          text(c, LOOK[other][0], px, py + 4, { align: 'center', size: 12, colour: LOOK[other][1] === 'noise' ? 'ink' : LOOK[other][1] });
          taken.push(place);
        }
      }
      arrow(c, at([0, 0]), at(target), colour, 3.2);
      arrow(c, at([0, 0]), at(input), 'ink', 3.2);
      name(target, input, label, colour === 'noise' ? 'ink' : colour);
      name(input, target, 'input', 'ink');
      text(c, 'data →', left + w, top + h + 17, { align: 'right', colour: 'data' });
      text(c, 'noise ↑', at([0, 0])[0] - 6, top + 22, { align: 'right' });
    }
    function drawPairs(c, left, top, w, h) {  // two equations for two unknowns, and an error in one of them
      const REACH = 2, at = ([p, q]) => [left + w / 2 + p * w / 2 / REACH, top + h / 2 - q * h / 2 / REACH];
      const along = ([a, b], value) => {  // two far points of the line a x0 + b eps = value
        const size = a * a + b * b, foot = [a * value / size, b * value / size], far = 9 / Math.sqrt(size);
        return [[foot[0] - b * far, foot[1] + a * far], [foot[0] + b * far, foot[1] - a * far]];
      };
      const input = [now.alpha, now.sigma], target = [now.a, now.b], off = state.error * now.amplification;
      text(c, `error in x0: ± ${rounded(off || 0)}`, left, top - 8, { bold: true });
      c.save();
      c.beginPath(); c.rect(left, top, w, h); c.clip();
      const [low, high] = [y - state.error, y + state.error].map((value) => along(target, value).map(at));
      area(c, [...low, ...high.reverse()], LOOK[state.asked][1], 0.3);
      line(c, along(target, y).map(at), LOOK[state.asked][1], 1.5);
      line(c, along(input, x).map(at), 'ink', 2);
      const ends = [-1, 1].map((sign) => {  // where the line of the input leaves the band
        if (now.determinant === 0 && now.sigma > 0) return [sign * 9, x / now.sigma];
        const shift = sign * Math.min(off, 9);
        return [TRUTH[0] + shift, now.sigma > 0 ? TRUTH[1] - shift * now.alpha / now.sigma : TRUTH[1]];
      });
      if (now.sigma > 0) line(c, ends.map(at), 'mark', 5);
      for (const end of ends) line(c, [at(end), [at(end)[0], top + h]], 'mark', 1.5, [3, 4]);
      line(c, ends.map((end) => [at(end)[0], top + h - 3]), 'mark', 6);
      dot(c, ...at(TRUTH), 6, 'truth');
      c.restore();
      line(c, [[left, top], [left, top + h], [left + w, top + h]], 'faint', 1);
      text(c, 'x0 →', left + w, top + h + 17, { align: 'right', colour: 'data' });
      c.save(); c.translate(left - 5, top); c.rotate(-Math.PI / 2); text(c, 'eps →', 0, 0, { align: 'right' }); c.restore();
      const legend = [['ink', 'pairs with this input'], [LOOK[state.asked][1], 'pairs with this answer'], ['truth', 'the true pair']];
      legend.forEach(([colour, words], k) => {
        const lx = narrow ? 4 + (k % 2) * 168 : left + k * 160 - 4, ly = top + h + (narrow ? 40 + 19 * Math.floor(k / 2) : 44);
        c.fillStyle = frame.colour(colour); c.fillRect(lx, ly - 6, 14, 4);
        text(c, words, lx + 20, ly, { size: 12 });
      });
    }
    function drawGrowth(c, left, top, w, h) {  // how errors grow, over time
      const px = (t) => left + t * w, py = (v) => top + h * (0.5 - Math.max(-2, Math.min(2, Math.log10(v))) / 4);
      text(c, narrow ? `times ${rounded(now.amplification)}` : `amplification ${rounded(now.amplification)}`, left, top - 8, { bold: true });
      for (const v of [0.01, 0.1, 1, 10, 100]) {
        line(c, [[left, py(v)], [left + w, py(v)]], v === 1 ? 'faint' : 'line', 1);
        text(c, `${v}`, left - 6, py(v) + 4, { align: 'right', size: 12 });
      }
      const names = Object.keys(PREDICTIONS).filter((name) => name !== state.asked);
      for (const name of [...names, state.asked]) {
        const curve = Array.from({ length: 199 }, (_, k) => (k + 1) / 200).map((t) => [t, prediction(name, SCHEDULES[state.schedule], t).amplification]);
        line(c, curve.filter(([, v]) => v >= 0.01 && v <= 100).map(([t, v]) => [px(t), py(v)]), LOOK[name][1], name === state.asked ? 3 : 1.2);
      }
      dot(c, px(state.t), py(now.amplification), 6, 'mark');
      text(c, 't = 0', left, top + h + 17, { size: 12 });
      text(c, 't = 1', left + w, top + h + 17, { align: 'right', size: 12 });
    }

    renew();
    frame.values = () => ({ ...now, x, y, wrong, truth: TRUTH });
  });
})();
