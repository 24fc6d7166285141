// needs mixture, data/garments
// Noise a picture: one slider carries a garment from data to noise. The same moment is shown three times: as a point in the plane
// of the two scales, as a log signal-to-noise ratio, and as the picture itself.
'use strict';
(() => {
  const live = globalThis.live, { names, side, pixels } = live.data.garments, COUNT = side * side;
  const SCHEDULES = { cosine: live.schedules.cosine, straight: live.schedules.straight, 'DDPM, linear': live.tables.linear };
  const TOP = 8;  // the log SNR is drawn from -TOP to TOP

  // ---- arithmetic
  const bytes = Uint8Array.from(atob(pixels), (letter) => letter.charCodeAt(0));
  const garment = (k) => Float64Array.from(bytes.subarray(k * COUNT, (k + 1) * COUNT), (b) => b / 127.5 - 1);
  const eps = (() => { const chance = live.random(12); return Float64Array.from({ length: COUNT }, () => chance.normal()); })();
  function moment(schedule, t) {
    const alpha = schedule.alpha(t), sigma = schedule.sigma(t);
    return { alpha, sigma, angle: Math.atan2(sigma, alpha), logSnr: 2 * (Math.log(alpha) - Math.log(sigma)) };
  }
  const mixed = ({ alpha, sigma }, x0) => x0.map((value, i) => alpha * value + sigma * eps[i]);

  // ---- words
  const degrees = (angle) => `${(angle * 180 / Math.PI).toFixed(0)}°`;
  const signed = (v) => !Number.isFinite(v) || Math.abs(v) > 50 ? (v > 0 ? '∞' : '−∞') : v.toFixed(1).replace('-', '−').replace(/^−0\.0$/, '0.0');

  live.figure('noise-picture', (frame) => {
    const { state } = frame, { text, line, dot } = frame.pen(), narrow = frame.host.clientWidth < 600;
    const [width, height, plane, curve, shown] = narrow
      ? [330, 450, [178, 24, 146, 146], [34, 260, 290, 156], [1, 24, 146, 146]]  // x, y, width, height of the three pictures
      : [780, 330, [22, 30, 226, 226], [306, 30, 206, 226], [552, 30, 226, 226]];
    let x0, now, x;

    frame.canvas({ width, height, draw, label: 'Three views of one moment between data and noise: the point of the two scales on its way, the log signal-to-noise ratio over time, and the noisy garment.' });
    frame.slider({ name: 't', label: 'time t', max: 1, step: 0.001, value: 0.3, show: (v) => v.toFixed(2), big: true });
    frame.choice({ name: 'schedule', label: 'Schedule', options: Object.keys(SCHEDULES), value: 'cosine' });
    frame.choice({ name: 'garment', label: 'Garment', options: names, value: 'boot' });
    frame.player('Add noise', (dt) => { const t = Math.min(state.t + dt / 6, 1); frame.set('t', Math.round(1000 * t) / 1000); return t < 1; }, { onstart: () => frame.set('t', 0) });
    frame.permalink();
    const say = frame.readout();

    function renew() {
      x0 = garment(names.indexOf(state.garment));
      now = moment(SCHEDULES[state.schedule], state.t);
      x = mixed(now, x0);
      const power = Math.exp(now.logSnr), more = power > 1 ? power : 1 / power;
      say(`${now.alpha.toFixed(2)} of the garment, ${now.sigma.toFixed(2)} of the noise: an angle of ${degrees(now.angle)}, a log SNR of ${signed(now.logSnr)}. `
        + (more > 1e6 ? `There is ${power > 1 ? 'no noise' : 'nothing left of the garment'}.` : more < 1.02 ? 'Signal and noise are equally strong.'
          : `The ${power > 1 ? 'signal' : 'noise'} has ${more < 10 ? more.toFixed(1) : Math.round(more).toLocaleString('en')} times the power of the ${power > 1 ? 'noise' : 'signal'}.`));
    }
    frame.changed = renew;

    function draw(c) {
      drawPlane(c, ...plane);
      drawCurve(c, ...curve);
      drawPicture(c, ...shown);
    }

    function drawPlane(c, left, top, w, h) {  // where the two scales stand
      const px = (a) => left + a * (w - 12), py = (s) => top + h - s * (h - 12), origin = [px(0), py(0)];
      text(c, `angle ${degrees(now.angle)}`, left, top - 8, { bold: true });
      line(c, [[px(0), py(1.05)], origin, [px(1.05), py(0)]], 'faint', 1);
      c.strokeStyle = frame.colour('faint'); c.beginPath(); c.arc(...origin, px(1) - px(0), -Math.PI / 2, 0); c.stroke();
      for (let k = 0; k <= 20; k++) { const m = moment(SCHEDULES[state.schedule], k / 20); dot(c, px(m.alpha), py(m.sigma), 2.6, 'ink'); }
      line(c, [origin, [px(now.alpha), py(now.sigma)]], 'mark');
      c.beginPath(); c.arc(...origin, 30, -now.angle, 0); c.stroke();
      line(c, [origin, [px(now.alpha), py(0)]], 'data', 5);
      line(c, [[px(now.alpha), py(0)], [px(now.alpha), py(now.sigma)]], 'noise', 5);
      dot(c, px(now.alpha), py(now.sigma), 7, 'mark');
      text(c, 'data →', px(1.05), py(0) + 19, { align: 'right', colour: 'data' });
      c.save(); c.translate(left - 9, py(1.05)); c.rotate(-Math.PI / 2);
      text(c, 'noise →', 0, 0, { align: 'right' });
      c.restore();
    }
    function drawCurve(c, left, top, w, h) {  // log SNR over time, all schedules
      const px = (t) => left + t * w, py = (v) => top + h * (0.5 - Math.max(-TOP, Math.min(TOP, v)) / (2 * TOP));
      text(c, `log SNR ${signed(now.logSnr)}`, left, top - 8, { bold: true });
      for (const v of [-8, -4, 0, 4, 8]) {
        line(c, [[left, py(v)], [left + w, py(v)]], v ? 'line' : 'faint', 1);
        text(c, `${v}`.replace('-', '−'), left - 6, py(v) + 4, { align: 'right', size: 12 });
      }
      for (const [name, schedule] of Object.entries(SCHEDULES)) {
        const points = Array.from({ length: 201 }, (_, k) => [k / 200, moment(schedule, k / 200).logSnr]).filter(([, v]) => Math.abs(v) <= TOP);
        line(c, points.map(([t, v]) => [px(t), py(v)]), name === state.schedule ? 'ink' : 'faint', name === state.schedule ? 2 : 1.2);
      }
      line(c, [[px(state.t), top], [px(state.t), top + h]], 'mark', 1);
      dot(c, px(state.t), py(now.logSnr), 7, 'mark');
      text(c, 'more signal', left + w - 4, top + 16, { align: 'right', colour: 'data' });
      text(c, 'more noise', left + 6, top + h - 8);
      text(c, 'data, t = 0', left, top + h + 19, { size: 12 });
      text(c, 't = 1, noise', left + w, top + h + 19, { align: 'right', size: 12 });
    }
    const small = document.createElement('canvas'), pen = small.getContext('2d');
    small.width = small.height = side;
    function stamp(c, values, reach, left, top, size) {  // grey values between -reach and reach
      const image = pen.createImageData(side, side);
      values.forEach((v, i) => { const grey = 127.5 * (1 + v / reach); image.data.set([grey, grey, grey, 255], 4 * i); });
      pen.putImageData(image, 0, 0);
      c.imageSmoothingEnabled = false;
      c.drawImage(small, left, top, size, size);
    }
    function drawPicture(c, left, top, w, h) {
      text(c, 'the noisy picture', left, top - 8, { bold: true });
      stamp(c, x, Math.hypot(now.alpha, 2 * now.sigma), left, top, w);
      c.strokeStyle = frame.colour('mark'); c.lineWidth = 2; c.strokeRect(left, top, w, h);
      const size = narrow ? 36 : 44, row = top + h + 12, middle = row + size / 2 + 5, wide = narrow ? 50 : 56, half = wide + size + (narrow ? 18 : 16);
      for (const [k, values, reach, share, colour] of [[0, x0, 1, now.alpha, 'data'], [1, eps, 2, now.sigma, 'noise']]) {
        const place = left + wide - (narrow ? 3 : 8) + k * half;
        text(c, `${k ? '+ ' : ''}${share.toFixed(2)} ×`, place - 5, middle, { align: 'right', size: narrow ? 12 : 13 });
        stamp(c, values, reach, place, row, size);
        line(c, [[place, row + size + 5], [place + size * Math.min(share, 1), row + size + 5]], colour, 4);
      }
    }

    renew();
    frame.values = () => ({ ...now, x: [...x], x0: [...x0], eps: [...eps] });
  });
})();
