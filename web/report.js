'use strict';
// The page of `ergon eval --report`: everything it shows is in the JSON beside it.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const r = data.result, s = data.settings, page = document.getElementById('page');
  const percent = (x, digits = 1) => x == null ? '–' : (100 * x).toFixed(digits) + ' %';
  const figure = x => x == null ? '–' : x === 0 ? '0' : Math.abs(x) >= 100 ? x.toFixed(0) : String(Number(x.toPrecision(3)));
  const count = x => x == null ? '–' : x.toLocaleString('en');
  const range = (i, show) => i ? `${show(i[0])} to ${show(i[1])}` : '';
  const within = (text, i, show) => i ? `${text} (${show(i[0])} – ${show(i[1])})` : text;
  const el = (tag, attributes = {}, ...children) => {
    const e = Object.assign(document.createElement(tag), attributes);
    e.append(...children.filter(c => c != null));
    return e;
  };
  const table = (caption, head, rows, best = -1) => el('div', { className: 'wide' }, el('table', {},
    el('caption', { className: 'soft', textContent: caption, style: 'text-align:left;padding-bottom:6px' }),
    el('thead', {}, el('tr', {}, ...head.map(h => el('th', { scope: 'col', textContent: h })))),
    el('tbody', {}, ...rows.map((row, i) => el('tr', { className: i === best ? 'best' : '' },
      ...row.map((cell, j) => el(j ? 'td' : 'th', { scope: j ? '' : 'row', textContent: cell })))))));
  const section = (title, text, ...children) => {
    const part = el('section', {}, el('h2', { textContent: title }), el('p', { className: 'soft', textContent: text }), ...children);
    page.append(part);
    return part;
  };

  const charts = [];
  // Colours follow the system's theme, so charts are made from functions and made again when it changes.
  const chart = (label, make, square = false) => {
    const canvas = el('canvas');
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', label);
    charts.push({ canvas, make, drawn: null });
    return el('div', { className: square ? 'chart square' : 'chart' }, canvas);
  };
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
  const draw = () => {
    Chart.defaults.color = colour('soft');
    Chart.defaults.borderColor = colour('grid');
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 13;
    Chart.defaults.animation = false;
    Chart.defaults.maintainAspectRatio = false;
    for (const c of charts) {
      c.drawn?.destroy();
      c.drawn = new Chart(c.canvas, c.make());
    }
  };

  // Intervals as bars through points, and names beside them where nothing else stands.
  const whiskers = {
    id: 'whiskers',
    afterDatasetsDraw(chart) {
      const { ctx, scales: { x, y } } = chart;
      chart.data.datasets.forEach((set, i) => {
        if (!set.whiskers || !chart.isDatasetVisible(i)) return;
        ctx.save();
        ctx.strokeStyle = set.borderColor;
        ctx.lineWidth = 1.5;
        ctx.globalAlpha = .7;
        set.whiskers.forEach((w, j) => {
          if (!w) return;
          const at = x.getPixelForValue(set.data[j].x), low = y.getPixelForValue(w[0]), high = y.getPixelForValue(w[1]);
          ctx.beginPath();
          ctx.moveTo(at, low); ctx.lineTo(at, high);
          ctx.moveTo(at - 4, low); ctx.lineTo(at + 4, low);
          ctx.moveTo(at - 4, high); ctx.lineTo(at + 4, high);
          ctx.stroke();
        });
        ctx.restore();
      });
    }
  };
  const names = {
    id: 'names',
    afterDatasetsDraw(chart) {
      const { ctx, chartArea: area } = chart, taken = [];
      ctx.save();
      ctx.font = `13px ${Chart.defaults.font.family}`;
      ctx.fillStyle = colour('ink');
      ctx.textBaseline = 'middle';
      const points = chart.data.datasets.flatMap((set, i) => (set.names || []).map((name, j) => ({ name, at: chart.getDatasetMeta(i).data[j] })));
      for (const { at } of points) taken.push([at.x - 7, at.y - 7, at.x + 7, at.y + 7]);
      chart.data.datasets.forEach((set, i) => (set.whiskers || []).forEach((w, j) => {
        const at = chart.getDatasetMeta(i).data[j].x;
        taken.push([at - 4, chart.scales.y.getPixelForValue(w[1]), at + 4, chart.scales.y.getPixelForValue(w[0])]);
      }));
      const free = b => b[0] >= area.left && b[2] <= area.right && b[1] >= area.top && b[3] <= area.bottom
        && !taken.some(t => t[0] < b[2] && t[2] > b[0] && t[1] < b[3] && t[3] > b[1]);
      for (const { name, at } of points) {
        const w = ctx.measureText(name).width, h = 9;
        const places = [0, -18, 18, -36, 36, -54, 54, -72, 72, -90, 90, -108, 108].flatMap(dy => [[12, dy], [-12 - w, dy]]);
        const box = places.map(([dx, dy]) => [at.x + dx, at.y + dy - h, at.x + dx + w, at.y + dy + h]).find(free);
        if (!box) continue;
        taken.push(box);
        ctx.fillText(name, box[0], (box[1] + box[3]) / 2);
        const far = Math.abs((box[1] + box[3]) / 2 - at.y) > 25;
        if (far) {
          ctx.strokeStyle = colour('soft');
          ctx.lineWidth = 1;
          ctx.beginPath(); ctx.moveTo(at.x, at.y); ctx.lineTo(box[0] > at.x ? box[0] - 3 : box[2] + 3, (box[1] + box[3]) / 2); ctx.stroke();
        }
      }
      ctx.restore();
    }
  };
  const axis = (title, more = {}) => ({ title: { display: true, text: title, color: colour('ink') }, grid: { color: colour('grid') }, ticks: { color: colour('soft'), ...(more.ticks || {}) }, ...Object.fromEntries(Object.entries(more).filter(([k]) => k !== 'ticks')) });
  const share = { ticks: { callback: v => Math.round(100 * v) + ' %' } };
  const legend = skip => ({ labels: { color: colour('ink'), usePointStyle: true, boxHeight: 7, filter: item => !skip(item.text) } });

  // What was measured, on what.
  const modelled = (r.energy_source || '').includes('modelled');
  page.append(
    el('h1', { textContent: `${data.model} on ${r.task}` }),
    el('p', { className: 'soft', textContent: `${count(r.items)} problems${data.data ? ` of ${data.data}` : ''}, ${count(r.samples)} ${r.samples === 1 ? 'answer' : 'answers'} each at temperature ${r.temperature}, seed ${r.seed}, on ${r.devices.join(', ')}` }));
  const cards = [
    ['Accuracy', percent(r.accuracy), `${r.policy}; ${range(r.intervals.accuracy, percent)}`],
    ...(r.samples > 1 && Object.keys(r.pass_at_k).length > 1 ? [[`pass@${Object.keys(r.pass_at_k).at(-1)}`, percent(Object.values(r.pass_at_k).at(-1)), range(r.intervals['pass@' + Object.keys(r.pass_at_k).at(-1)], percent)]] : []),
    ['Energy', r.joules == null ? 'unknown' : figure(r.joules) + ' J', r.joules == null ? (r.energy ? r.energy.reason : 'not metered') : `${r.energy.watts == null ? '' : figure(r.energy.watts) + ' W mean, '}${r.energy_source}`],
    ['Energy a problem', r.policies[0].joules == null ? '–' : figure(r.policies[0].joules) + ' J', range(r.intervals.joules_per_problem, x => figure(x))],
    ['IPJ', figure(r.ipj), r.intervals.ipj ? `right answers a joule; ${range(r.intervals.ipj, figure)}` : 'right answers a joule'],
    ['IPW', figure(r.ipw), r.intervals.ipw ? `accuracy a watt; ${range(r.intervals.ipw, figure)}` : 'accuracy a watt'],
    ['Tokens', count(r.completion_tokens), `generated; ${count(r.prompt_tokens)} of prompts`],
    ['Time', figure(r.seconds) + ' s', `${figure(r.completion_tokens / r.seconds)} tokens a second`],
  ];
  page.append(el('div', { className: 'cards' }, ...cards.map(([name, value, more]) => el('div', { className: 'card' }, el('span', { textContent: name }), el('b', { textContent: value }), el('span', { textContent: more })))));
  const notes = [
    modelled ? `Joules are modelled (${r.energy_source}), not measured: ${r.energy.reason || 'this machine has no meter that can be read'}.` : null,
    r.skipped ? `${count(r.skipped)} problems were left out: the context has no room for an answer.` : null,
    r.bad_lines ? `${count(r.bad_lines)} malformed lines of the data set were left out.` : null,
    r.verifier_failures ? `The verifier gave no verdict on ${count(r.verifier_failures)} answers; they count as not passed.` : null,
    data.live ? `The policy ended each problem's draws itself, so that coverage is known for the draws only that every problem has.` : null,
  ].filter(Boolean);
  for (const text of notes) page.append(el('p', { className: 'note', textContent: text }));

  // Coverage.
  const ks = Object.keys(r.pass_at_k).map(Number);
  if (ks.length > 1) {
    const fitted = [...r.laws].sort((a, b) => Math.abs(a.held_out_error) - Math.abs(b.held_out_error));
    const tints = ['orange', 'green', 'purple', 'soft'];
    const dashes = [[], [6, 4], [2, 3], [8, 3, 2, 3]];
    const last = ks.at(-1);
    const inside = law => law.curve.map(p => ({ x: p.k, y: p.value }));
    const laws = { Qeil: 'QEIL: 1 − exp(−α Sᵇ)', Brown: 'Brown: exp(a Sᵇ)', BetaBinomial: 'beta-binomial', Mixture: 'mixture of chances' };
    section('Coverage: a problem is solved by at least one of k answers',
      `Unbiased pass@k with 95 % intervals by bootstrap over problems${fitted.length ? `, laws fitted to all ${last} draws, and beyond ${last} what they foretell; the band is the 95 % interval of the one with the least held-out error` : ''}.`,
      chart(`Coverage from ${percent(r.pass_at_k[ks[0]])} with ${ks[0]} answer to ${percent(r.pass_at_k[last])} with ${last}; the table below has every point.`, () => ({
        type: 'line',
        data: {
          datasets: [
            { label: 'measured', data: ks.map(k => ({ x: k, y: r.pass_at_k[k] })), whiskers: ks.map(k => r.intervals['pass@' + k]), borderColor: colour('blue'), backgroundColor: colour('blue'), pointRadius: 5, showLine: false, clip: false, order: 0 },
            ...(fitted.length ? [
              { label: 'low', data: fitted[0].curve.map(p => ({ x: p.k, y: p.low })), borderWidth: 0, pointRadius: 0, fill: false, order: 9 },
              { label: 'band', data: fitted[0].curve.map(p => ({ x: p.k, y: p.high })), borderWidth: 0, pointRadius: 0, fill: '-1', backgroundColor: colour('band'), order: 9 },
            ] : []),
            ...fitted.map((law, i) => ({ label: laws[law.law] || law.law, data: inside(law), borderColor: colour(tints[i]), backgroundColor: colour(tints[i]), pointRadius: 0, pointStyle: 'line', borderWidth: i ? 1.5 : 2.5, borderDash: dashes[i], order: 1, cubicInterpolationMode: 'monotone',
              segment: { borderDash: ctx => ctx.p0.parsed.x >= last ? [2, 4] : dashes[i] } })),
          ]
        },
        options: {
          interaction: { mode: 'nearest', intersect: false },
          scales: {
            x: axis('answers drawn, k', { type: 'logarithmic', min: .93, max: fitted.length ? 4 * last : last * 1.1, afterBuildTicks: a => { a.ticks = Array.from({ length: 31 }, (_, i) => ({ value: 2 ** i })).filter(t => t.value <= a.max); }, ticks: { callback: v => String(v) } }),
            y: axis('problems solved', { min: 0, max: 1, ...share }),
          },
          plugins: {
            legend: legend(t => t === 'low' || t === 'band'),
            tooltip: { filter: t => !['low', 'band'].includes(t.dataset.label), callbacks: { title: t => t.length ? `k = ${t[0].parsed.x}` : '', label: t => `${t.dataset.label}: ${percent(t.parsed.y)}` } },
          }
        },
        plugins: [whiskers]
      })),
      el('details', { open: true }, el('summary', { textContent: 'As a table' }),
        table('pass@k', ['k', 'measured', '95 % interval', ...fitted.map(l => laws[l.law] || l.law)], ks.map(k => [String(k), percent(r.pass_at_k[k]), range(r.intervals['pass@' + k], percent), ...fitted.map(l => percent(l.curve.find(p => p.k === k)?.value))])),
        fitted.length ? table(`Laws; held-out error: fitted to the first ${Math.floor(last / 2)} draws, foretold less measured coverage of ${last}`, ['law', 'parameters', 'held-out error', `foretold for ${4 * last}`, '95 % interval'],
          fitted.map(l => { const end = l.curve.at(-1); return [laws[l.law] || l.law, l.description, (l.held_out_error > 0 ? '+' : '') + l.held_out_error.toFixed(1) + ' points', percent(end.value), range([end.low, end.high], percent)]; })) : null));
  }

  // Policies.
  const metered = r.policies.every(p => p.joules != null);
  const cost = p => metered ? p.joules : p.tokens;
  const front = r.policies.filter(p => !r.policies.some(q => q !== p && cost(q) <= cost(p) && q.accuracy >= p.accuracy && (cost(q) < cost(p) || q.accuracy > p.accuracy)));
  if (r.policies.length > 1) {
    const spots = new Map();
    for (const p of r.policies) {
      const key = cost(p) + ' ' + p.accuracy;
      spots.set(key, [...(spots.get(key) || []), p]);
    }
    const points = [...spots.values()], edge = [...front].sort((a, b) => cost(a) - cost(b));
    const unit = metered ? 'joules a problem' : 'tokens a problem';
    section(metered ? 'Policies: accuracy against energy' : 'Policies: accuracy against tokens',
      `Each policy was shown the same draws, one by one, and pays for those up to where it stopped${metered ? '; their joules are what those draws took' : ''}. No policy is better in both than one on the line. Dashed: the majority vote of fewer draws.`,
      chart(`${r.policies.length} policies; on the front: ${edge.map(p => `${p.policy} (${percent(p.accuracy)}, ${figure(cost(p))} ${metered ? 'J' : 'tokens'})`).join(', ')}. The table below has all.`, () => ({
        type: 'scatter',
        data: {
          datasets: [
            { label: 'policies', data: points.map(g => ({ x: cost(g[0]), y: g[0].accuracy })), names: points.map(g => g.map(p => p.policy).join(', ')), whiskers: points.map(g => g[0].accuracy_interval),
              borderColor: colour('blue'), backgroundColor: points.map(g => g.some(p => front.includes(p)) ? colour('orange') : colour('blue')), pointBorderColor: points.map(g => g.some(p => front.includes(p)) ? colour('orange') : colour('blue')), pointRadius: points.map(g => g.some(p => front.includes(p)) ? 7 : 5), pointHoverRadius: 8 },
            ...(r.votes.length && (!metered || r.votes.every(v => v.joules != null)) ? [{ label: 'vote', type: 'line', data: r.votes.map(v => ({ x: cost(v), y: v.accuracy })), draws: r.votes.map(v => v.k), borderColor: colour('soft'), backgroundColor: colour('soft'), borderWidth: 1.5, borderDash: [4, 4], pointRadius: 3 }] : []),
            { label: 'front', type: 'line', data: edge.map(p => ({ x: cost(p), y: p.accuracy })), borderColor: colour('orange'), borderWidth: 2, pointRadius: 0, stepped: true },
          ]
        },
        options: {
          scales: { x: axis(unit, { beginAtZero: true, grace: '12%' }), y: axis('accuracy', { ...share, suggestedMin: Math.max(0, Math.min(...r.policies.map(p => p.accuracy_interval[0])) - .03), suggestedMax: Math.min(1, Math.max(...r.policies.map(p => p.accuracy_interval[1])) + .03) }) },
          plugins: { legend: { display: false }, tooltip: { filter: t => t.dataset.label !== 'front', callbacks: { label: t => `${t.dataset.names?.[t.dataIndex] ?? `vote of ${t.dataset.draws[t.dataIndex]}`}: ${percent(t.parsed.y)}, ${figure(t.parsed.x)} ${unit}` } } }
        },
        plugins: [whiskers, names]
      })));
  }
  const best = r.policies.length > 1 && metered ? r.policies.reduce((b, p, i) => p.ipj > r.policies[b].ipj ? i : b, 0) : -1;
  section('IPW, IPJ, ECE and PPP', best >= 0 ? 'The most right answers a joule stand out.' : 'What the joules bought.',
    table('Energy a problem and efficiency of each policy, with 95 % intervals', ['policy', 'accuracy', 'draws', 'tokens', 'J a problem', 'IPW, 1/W', 'IPJ, 1/J', 'ECE, 1/J'],
      r.policies.map(p => [p.policy, within(percent(p.accuracy), p.accuracy_interval, x => (100 * x).toFixed(1)), figure(p.draws), figure(p.tokens), within(figure(p.joules), p.joules_interval, figure), figure(p.ipw), within(figure(p.ipj), p.ipj_interval, figure), figure(p.ece)]), best),
    el('p', { style: 'margin-top:12px', textContent: r.ppp == null ? 'PPP needs the price of the machine (--price).' : `PPP: ${figure(r.ppp)} tokens a joule and dollar.` }),
    el('dl', {},
      ...[['IPW', 'accuracy over mean power. It rewards slow devices of low power, so IPJ stands beside it.'], ['IPJ', 'accuracy over the mean energy of a problem: right answers a joule.'],
        ['ECE', 'energy-coverage efficiency: share of problems that one of the draws solves, over the energy of those draws. Not a calibration error.'],
        ['PPP', 'tokens a second over price and power.'], ['Energy', `of prompt, answers${r.verifier_failures != null && s.answers ? ', verifier where a meter sees it' : ''} and idle draw meanwhile; source: ${r.energy_source || 'none'}.`]]
        .flatMap(([t, d]) => [el('dt', { textContent: t }), el('dd', { textContent: d })])));

  // Calibration.
  if (r.calibrations.length) {
    const tints = ['blue', 'orange'];
    section('Reliability: are answers as often right as their confidence says?', `Ten bins, with 95 % intervals; on the diagonal confidence is right. Calibration error: ${r.calibrations.map(c => `${c.confidence} ${(100 * c.error).toFixed(1)} points`).join('; ')}.`,
      chart(`Reliability diagram; ${r.calibrations.map(c => `${c.confidence}: calibration error ${(100 * c.error).toFixed(1)} points`).join(', ')}. The table below has the bins.`, () => ({
        type: 'line',
        data: {
          datasets: [
            { label: 'as it should be', data: [{ x: 0, y: 0 }, { x: 1, y: 1 }], borderColor: colour('soft'), borderDash: [5, 5], borderWidth: 1.5, pointRadius: 0, pointStyle: 'line' },
            ...r.calibrations.map((c, i) => ({ label: c.confidence, data: c.bins.map(b => ({ x: b.confidence, y: b.right })), whiskers: c.bins.map(b => b.right_interval), counts: c.bins.map(b => b.count), borderColor: colour(tints[i]), backgroundColor: colour(tints[i]), pointRadius: c.bins.map(b => 3 + 7 * Math.sqrt(b.count / r.items)), pointStyle: ['circle', 'rect'][i], borderWidth: 2 })),
          ]
        },
        options: {
          scales: { x: axis('confidence', { type: 'linear', min: 0, max: 1, ...share }), y: axis('right', { min: 0, max: 1, ...share }) },
          plugins: { legend: legend(() => false), tooltip: { filter: t => t.datasetIndex > 0, callbacks: { title: () => '', label: t => `${t.dataset.label} ${percent(t.parsed.x)}: ${percent(t.parsed.y)} of ${t.dataset.counts[t.dataIndex]} right` } } }
        },
        plugins: [whiskers]
      }), true),
      el('details', {}, el('summary', { textContent: 'As tables' }), ...r.calibrations.map(c => table(`Confidence: ${c.confidence}`, ['mean confidence', 'answers', 'right', '95 % interval'], c.bins.map(b => [percent(b.confidence), count(b.count), percent(b.right), range(b.right_interval, percent)])))));
  }

  // Settings.
  const settings = [
    ['Task', r.task], ['Data set', data.data ? `${data.data} (${s.data})` : 'generated'], ['Model', s.model_fingerprint ? `${data.model} (${s.model_fingerprint})` : data.model],
    ['Engine', r.engine], ['Devices', r.devices.join(', ')], ['Context', count(s.context)], ['Keys and values', s.kv_type], ['Problems', `${count(r.items)}${r.skipped ? `, ${count(r.skipped)} left out` : ''}`],
    ['Draws', `${count(r.samples)} a problem${s.max_tokens ? `, ${count(s.max_tokens)} tokens each at most` : ''}`], ['Temperature', String(r.temperature)], ['Seed', String(r.seed)],
    ['Options', s.scores ? 'the one whose text is likeliest' : null], ['Answers', s.answers], ['Policies', r.policies.map(p => p.policy).join(', ')],
    ['Source of energy', r.energy ? `${r.energy_source || 'none'}${r.energy.quality ? `, ${r.energy.quality}` : ''}${r.energy.reason ? `: ${r.energy.reason}` : ''}` : 'not metered'],
  ].filter(([, v]) => v);
  section('Settings', 'What the draws depend on.', el('table', { className: 'settings' }, el('tbody', {}, ...settings.map(([k, v]) => el('tr', {}, el('th', { scope: 'row', textContent: k }), el('td', { textContent: v }))))));
  page.append(el('footer', { textContent: 'Written by ergon eval. Charts: Chart.js, MIT licence, © Chart.js Contributors.' }));

  draw();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
})();
