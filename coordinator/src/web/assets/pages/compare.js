// Sweeps next to each other: their counts and best configurations, and how good the best job was after so many jobs and so many seconds of training.

import { columns as readColumns, get, passes } from '../api.js';
import { Lines } from '../charts/curves.js';
import { Compared } from '../compared.js';
import { el, foreign, update } from '../dom.js';
import { clipped, column, count, duration, number, parameters } from '../format.js';
import { poll } from '../live.js';
import { FINAL, banner, entitle, liveness, problem, segments, sweepBadge, trail } from '../parts.js';
import { t } from '../strings.js';
import { LiveTable } from '../table.js';

const SWEEPS_MAX = 12;
const AGAIN_MS = 5_000;
/** Points of a curve beyond which no screen shows more. */
const POINTS_MAX = 1_500;
/** From this ratio between the longest and the shortest curve, their axis is logarithmic. */
const LOG_FROM = 20;

/** Fills the page. */
export async function show(main) {
  entitle(t('compare'));
  const asked = new URLSearchParams(location.search).get('sweeps') ?? '';
  const ids = [...new Set(asked.split(',').map(Number).filter((id) => Number.isSafeInteger(id) && id > 0))];
  const live = liveness();
  main.append(trail([t('sweeps'), '/'], [t('compare')]), el('div', { class: 'caption' }, el('h1', { text: t('compare') }), live.element));
  if (ids.length < 2) main.append(el('p', { class: 'note', text: t('compare_hint') }));
  if (ids.length > SWEEPS_MAX) main.append(banner('note', '', t('compare_most', { most: SWEEPS_MAX })));
  const wrong = el('div', { class: 'wraps' });
  const notes = el('div', { class: 'wraps' });
  const table = new LiveTable(t('compare'), tableColumns(), ({ sweep }) => sweep.id);
  const charts = ['jobs', 'seconds'].map((by) => new Chart(by));
  const compared = new Compared();
  const drawn = el('div', { class: 'page' }, el('div', { class: 'charts' }, charts.map(({ element }) => element)), el('p', { class: 'note', text: t('compare_order') }));
  const body = el('div', { class: 'page', hidden: true }, table.element, compared.element, drawn);
  main.append(wrong, notes, body);
  const known = new Map();
  const ask = async () => {
    const found = await Promise.allSettled(ids.slice(0, SWEEPS_MAX).map((id) => read(id, known)));
    const wrongs = found.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
    update(wrong, wrongs.map(problem));
    // What was shown stays while a coordinator does not answer, or not for all of them.
    const passing = wrongs.find(passes);
    if (passing) throw passing;
    const sweeps = found.filter(({ status }) => status === 'fulfilled').map(({ value }) => value);
    body.hidden = !sweeps.length;
    if (!sweeps.length) return false;
    const metrics = new Set(sweeps.map(({ sweep }) => `${sweep.metric.name} ${sweep.metric.maximize} ${sweep.metric.use}`));
    const cut = sweeps.filter(({ leftOut }) => leftOut > 0);
    const large = sweeps.filter(({ beyond }) => beyond > 0);
    update(notes, metrics.size > 1 && banner('note', '', t('compare_metrics')), cut.map(({ sweep, leftOut }) => banner('note', '', t('compare_jobs_left_out', { sweep: sweep.id, jobs: count(leftOut) }))), large.map(({ sweep, beyond }) => banner('note', '', t('compare_beyond', { sweep: sweep.id, jobs: count(beyond) }))));
    // On one axis they would say something else.
    drawn.hidden = metrics.size > 1;
    const show = () => {
      const all = sweeps.map((one) => ({ ...one, compared: sweeps.length < 2 ? alone(one) : compared.of(one.sweep.id) }));
      const deviations = column(all.map((one) => one.compared?.deviation), 2);
      table.show(all.map((one) => ({ ...one, deviation: deviations(one.compared?.deviation) })));
    };
    show();
    await Promise.all([...(drawn.hidden ? [] : charts.map((chart) => chart.show(sweeps))), compared.read(sweeps)]);
    show();
    return sweeps.some(({ sweep }) => !FINAL.has(sweep.state));
  };
  // The first answers are waited for, whatever they are; what follows comes by itself.
  await new Promise((answered) => {
    poll(ask, AGAIN_MS, (...said) => {
      live.set(...said);
      answered();
    });
  });
}

/** A sweep with its history; that of columns that have not changed is the one that is known. */
async function read(id, known) {
  const [sweep, columns] = await Promise.all([get(`/sweeps/${id}`), readColumns(id, known.get(id))]);
  if (columns) known.set(id, { version: columns.version, ...history(columns, sweep.metric.maximize) });
  return { sweep, ...known.get(id) };
}

/** The best value so far, after each job that is done, by their numbers. */
function history(columns, maximize) {
  const all = { jobs: [], seconds: [], best: [] };
  let [best, done, seconds] = [NaN, 0, 0];
  const { seconds: times, packSizes } = columns;
  const isDone = columns.isIn('done');
  for (let row = 0; row < columns.rows; row += 1) {
    // Jobs of a pack were trained in the same time.
    if (!Number.isNaN(times[row])) seconds += times[row] / packSizes[row];
    if (!isDone(row) || !Number.isFinite(columns.objective[row])) continue;
    const value = columns.objective[row];
    done += 1;
    const isBetter = Number.isNaN(best) || (maximize ? value > best : value < best);
    if (isBetter) best = value;
    // Few points are enough where nothing changes.
    if (!isBetter && row !== columns.rows - 1 && done % Math.ceil(columns.rows / POINTS_MAX) !== 0) continue;
    all.jobs.push(done);
    all.seconds.push(seconds);
    all.best.push(best);
  }
  return { ...all, total: seconds, leftOut: columns.leftOut, beyond: columns.beyond };
}

/** The best values over `jobs` or `seconds`. */
class Chart {
  constructor(by) {
    this.by = by;
    this.x = t(by === 'jobs' ? 'jobs_done' : 'train_time_axis');
    const title = t(by === 'jobs' ? 'best_by_jobs' : 'best_by_seconds');
    this.lines = new Lines({ label: title, x: this.x });
    this.element = el('figure', {}, el('figcaption', {}, el('h2', { text: title })), this.lines.element);
  }

  show(sweeps) {
    const series = sweeps.map((one) => ({
      key: one.sweep.id,
      title: `${one.sweep.id} ${clipped(one.sweep.name, 40)}`,
      note: number(one.best.at(-1)),
      href: `/sweeps/${one.sweep.id}`,
      x: one[this.by],
      y: one.best,
    }));
    // Of a small sweep next to a large one there would be nothing to see.
    const ends = sweeps.map((one) => one[this.by].at(-1) ?? 1);
    const isLog = Math.max(...ends) / Math.min(...ends) > LOG_FROM;
    return this.lines.show(series, { y: clipped(sweeps[0].sweep.metric.name, 60), x: this.x, isStepped: true, isLog, isWhole: this.by === 'jobs' });
  }
}

/** The best of a sweep that is compared with no other. */
function alone({ sweep: { id, best, best_job, best_parameters }, total }) {
  return { id, best, best_job, best_parameters, deviation: null, trainings: null, train_seconds: total };
}

function tableColumns() {
  return [
    { label: t('number'), kind: 'number', render: ({ sweep }) => String(sweep.id) },
    { label: t('name'), render: ({ sweep }) => el('a', { class: 'clip wide', href: `/sweeps/${sweep.id}`, title: clipped(sweep.name, 500) }, foreign(clipped(sweep.name, 200))) },
    { label: t('state'), render: ({ sweep }) => sweepBadge(sweep) },
    { label: t('jobs'), render: ({ sweep }) => [segments(sweep), el('span', { class: 'note' }, counts(sweep))] },
    { label: t('best'), measure: ({ compared }) => compared?.best, render: best },
    { label: t('trainings'), kind: 'number', render: ({ compared }) => compared && compared.trainings !== null && count(compared.trainings) },
    { label: t('train_time'), kind: 'number', render: ({ compared, total }) => duration(compared?.train_seconds ?? total) },
  ];
}

/** How many jobs are done, and how many ended otherwise. */
function counts({ done, stopped, diverged, failed, jobs }) {
  const others = [['stopped', stopped], ['diverged', diverged], ['failed', failed]].filter(([, of]) => of > 0);
  return [t('done_of', { done: count(done), all: count(jobs) }), ...others.map(([state, of]) => `${t(`state_${state}`)} ${count(of)}`)].join(' · ');
}

/** The best value with its deviation, and the job that has it. */
function best({ sweep, compared, deviation }, written) {
  if (!compared) return null;
  const { id, best_job: job, best_parameters: values } = compared;
  if (job === null) return el('span', { class: 'note', text: t(FINAL.has(sweep.state) ? 'none_done_at_all' : 'none_done') });
  return [
    el('b', { class: 'figure', text: written }),
    deviation && el('span', { class: 'note', text: ` ± ${deviation}` }),
    ' ',
    foreign(clipped(sweep.metric.name, 40), { class: 'foreign note' }),
    el('div', { class: 'note clip wide point', title: parameters(values, 30) }, el('a', { href: `/sweeps/${id}/jobs/${job}`, text: `${t('job')} ${job}` }), ' ', foreign(parameters(values))),
  ];
}
