// One job: its parameters, why it is as it is, the curves of all metrics, what it left, its attempts, and the last lines of its log.

import { get } from '../api.js';
import { ofJob } from '../actions.js';
import { Lines } from '../charts/curves.js';
import { el, fill, foreign, update } from '../dom.js';
import { Files } from '../files.js';
import { ago, between, clipped, duration, lasted, number, parameter } from '../format.js';
import { poll } from '../live.js';
import { badge, banner, choice, entitle, facts, liveness, mayChange, section, sentence, trail } from '../parts.js';
import { t } from '../strings.js';
import { LiveTable } from '../table.js';

const AGAIN_MS = 2_000;
const ENDED = new Set(['done', 'diverged', 'stopped', 'failed', 'cancelled']);

/** Fills the page. */
export async function show(main, sweepId, number) {
  const [sweep, job] = await Promise.all([get(`/sweeps/${sweepId}`), get(`/sweeps/${sweepId}/jobs/${number}`)]);
  entitle(`${t('job')} ${number} · ${sweep.name}`);
  const page = new Page(sweep, job);
  main.append(page.element);
  page.show(job);
  await page.readLog();
  page.start();
}

class Page {
  constructor(sweep, job) {
    Object.assign(this, { sweep, number: job.job });
    this.live = liveness();
    this.title = el('div', { class: 'caption' });
    this.notes = el('div');
    this.facts = el('div', { class: 'overview' });
    this.plots = el('div', { class: 'charts small' });
    this.byGroup = new Map();
    this.attempts = new LiveTable(t('attempts'), attemptColumns(), ({ attempt }) => attempt);
    this.attempts.element.classList.add('stacks');
    this.log = el('pre', { class: 'log', tabIndex: 0, 'aria-label': t('job_log') });
    this.logTools = el('div', { class: 'controls' });
    this.logSection = el('section', {}, el('div', { class: 'caption' }, el('h2', { text: t('job_log') }), this.logTools), this.log);
    this.files = new Files(sweep.id, job.job);
    this.attemptsSection = section(t('attempts'), this.attempts.element);
    this.element = el(
      'div',
      { class: 'page' },
      trail([t('sweeps'), '/'], [clipped(sweep.name, 60), `/sweeps/${sweep.id}`], [`${t('job')} ${job.job}`]),
      this.title,
      this.notes,
      this.facts,
      this.plots,
      this.files.element,
      this.attemptsSection,
      this.logSection,
    );
  }

  /** Asks again; seldom once the job has ended and nothing of it is on its way. */
  start() {
    this.again = poll(async () => {
      await this.read();
      return !ENDED.has(this.job.state) || this.job.weights === 'awaited';
    }, AGAIN_MS, this.live.set);
  }

  async read() {
    const { sweep } = this;
    const job = await this.news();
    // Epochs may tell of further metrics, and at its end it may be the best.
    const keys = Object.keys(job.epochs?.at(-1) ?? {}).join();
    if (job.state !== this.job.state || keys !== this.keys) this.sweep = await get(`/sweeps/${sweep.id}`);
    this.keys = keys;
    this.show(job);
    await this.readLog();
  }

  /** The job as it is, of which only new epochs are read; another attempt may have other ones. */
  async news() {
    const address = `/sweeps/${this.sweep.id}/jobs/${this.number}`;
    const known = this.job.epochs ?? [];
    const job = await get(`${address}?after=${known.at(-1)?.epoch ?? 0}`);
    if (job.attempts.length !== this.job.attempts.length) return get(address);
    return { ...job, epochs: [...known, ...(job.epochs ?? [])] };
  }

  show(job) {
    const { sweep } = this;
    this.job = job;
    if (job.state !== this.shownState) {
      this.shownState = job.state;
      const actions = mayChange(sweep) ? ofJob(sweep.id, job, () => this.again.now()) : [];
      fill(this.title, el('h1', { text: `${t('job')} ${job.job}` }), badge(job.state), this.live.element, el('div', { class: 'controls' }, actions));
    }
    update(this.notes, job.reason && banner(job.state === 'failed' ? 'bad' : 'note', t('reason'), clipped(job.reason, 4_000)), job.proposal && banner('note', t('proposal'), job.proposal));
    update(this.facts, results(sweep, job), chosen(sweep, job));
    this.showCurves(job.epochs ?? []);
    this.files.of(job);
    this.attemptsSection.hidden = !job.attempts.length;
    this.attempts.show([...job.attempts].reverse());
  }

  showCurves(epochs) {
    const { metrics: names, keys } = this.sweep;
    const keyOf = (metric) => keys.epochs[names.indexOf(metric)];
    const groups = grouped(names.filter((name) => epochs.some((epoch) => keyOf(name) in epoch)));
    for (const [name, metrics] of groups) {
      if (!this.byGroup.has(name)) {
        const lines = new Lines({ label: `${t('curves')}: ${clipped(name, 60)}`, height: 220 });
        this.byGroup.set(name, lines);
        this.plots.append(el('figure', {}, el('figcaption', {}, el('h2', {}, foreign(clipped(name, 60)))), lines.element));
      }
      const x = epochs.map(({ epoch }) => epoch);
      const series = metrics.map((metric) => ({ key: metric, title: clipped(metric, 60), note: number(epochs.at(-1)?.[keyOf(metric)]), x, y: epochs.map((epoch) => epoch[keyOf(metric)]) }));
      this.byGroup.get(name).show(series, { y: clipped(name, 60) });
    }
  }

  async readLog() {
    try {
      const { items } = await get(`/sweeps/${this.sweep.id}/jobs/${this.number}/logs`);
      this.showLog(items.filter(({ lines }) => lines.length));
    } catch (error) {
      fill(this.log, error.message);
    }
  }

  /** The last lines of an attempt: of the latest, unless the reader chose another. */
  showLog(items) {
    const attempts = items.map(({ attempt }) => attempt);
    if (attempts.join() !== this.logged) {
      this.logged = attempts.join();
      this.chosen = null;
      const options = [...attempts].reverse().map((attempt) => [String(attempt), String(attempt)]);
      fill(this.logTools, options.length > 1 && choice(t('attempt'), options, options[0][0], (attempt) => {
        this.chosen = Number(attempt);
        this.showLog(this.items);
      }));
    }
    this.items = items;
    const item = items.find(({ attempt }) => attempt === this.chosen) ?? items.at(-1);
    const text = item ? item.lines.join('\n') : t('no_log');
    if (text === this.log.textContent) return;
    // Whoever reads further up is left there.
    const isAtEnd = this.log.scrollTop + this.log.clientHeight >= this.log.scrollHeight - 8;
    this.log.textContent = text;
    if (isAtEnd) this.log.scrollTop = this.log.scrollHeight;
  }
}

/** Metrics of training and validation go together: `train_loss` with `val_loss`. */
function grouped(metrics) {
  const groups = new Map();
  for (const metric of metrics) {
    const name = /^(?:train|val|valid|validation|test)[_/](.+)$/.exec(metric)?.[1] ?? metric;
    groups.set(name, [...(groups.get(name) ?? []), metric]);
  }
  for (const group of groups.values()) group.sort((a, b) => b.startsWith('train') - a.startsWith('train'));
  return groups;
}

function results(sweep, job) {
  const { metric, metrics, keys } = sweep;
  const [last, best] = [keys.metrics[metrics.indexOf(metric.name)], keys.best].map((key) => number(job[key]));
  const isBest = metric.use === 'best';
  return el(
    'div',
    { class: 'card' },
    el('div', { class: 'card-head' }, el('h2', {}, foreign(clipped(metric.name, 60))), job.job === sweep.best_job && el('span', { class: 'badge', 'data-state': 'done', text: t('best_of_sweep') })),
    el('p', { class: 'headline' }, el('b', { class: 'figure', text: (isBest ? best : last) || t('none') }), isBest && el('span', { class: 'note', text: ` ${t('at_best_epoch')}` })),
    facts([
      isBest ? [t('last_value'), last] : [t('best_value'), best],
      [t('best_epoch'), number(job.best_epoch)],
      [t('epochs'), String(job.epochs_done)],
      [t('train_time'), duration(job.train_seconds)],
      [t('worker'), job.worker && foreign(clipped(job.worker, 200))],
      [t('pack_size'), job.pack_size > 1 ? String(job.pack_size) : null],
      [t('weights'), job.weights && t(`weights_${job.weights}`)],
    ]),
  );
}

function chosen(sweep, job) {
  const varying = new Set(sweep.varying);
  const values = Object.entries(job.parameters).sort(([a], [b]) => varying.has(b) - varying.has(a));
  const pair = ([name, value]) => [foreign(clipped(name, 100), varying.has(name) ? { class: 'foreign varies' } : {}), foreign(clipped(parameter(value), 1_000))];
  return el('div', { class: 'card' }, el('div', { class: 'card-head' }, el('h2', { text: t('parameters') })), facts(values.map(pair)));
}

function attemptColumns() {
  return [
    { label: t('attempt'), kind: 'number', render: ({ attempt }) => String(attempt) },
    { label: t('outcome'), render: ({ outcome }) => badge(outcome) },
    { label: t('worker'), render: ({ worker }) => foreign(clipped(worker, 200), { class: 'foreign clip' }) },
    { label: t('device'), render: ({ device, slot }) => foreign(device || `${t('slot')} ${slot}`) },
    { label: t('began'), render: ({ granted }) => ago(granted) },
    { label: t('time'), kind: 'number', render: ({ granted, ended }) => (ended ? duration(between(granted, ended)) : lasted(granted)) },
    { label: t('resumed'), kind: 'number', render: ({ resumed_epochs: resumed }) => (resumed ? String(resumed) : '') },
    { label: t('pack_size'), kind: 'number', render: ({ pack_size: size }) => (size > 1 ? String(size) : '') },
    { label: t('reason'), kind: 'text', render: ({ reason }) => (reason ? sentence(clipped(reason, 2_000)) : '') },
  ];
}
