// One sweep: what it does now, its best job, charts of all jobs, and their table. What happens comes as events; the columns that charts are
// drawn from are read again at most every few seconds.

import { columns as readColumns, complete, get, wholeColumns } from '../api.js';
import { ofSweep } from '../actions.js';
import { Curves } from '../best.js';
import { HeatMap } from '../charts/heatmap.js';
import { Parallel } from '../charts/parallel.js';
import { Rungs } from '../charts/rungs.js';
import { Scatter } from '../charts/scatter.js';
import { Timeline } from '../charts/timeline.js';
import { afterFrame, el, fill, foreign, staysPut, update, whenIdle, whenSeen } from '../dom.js';
import { ago, clipped, count, duration, lasted, number, parameter } from '../format.js';
import { JobsTable } from '../jobs.js';
import { RESTING_MS, atMost, follow, poll } from '../live.js';
import { Meaning } from '../meaning.js';
import { FINAL, banner, entitle, facts, legend, liveness, mayChange, ownersSlots, problem, progress, segments, sentence, sweepBadge, timeLeft, trail } from '../parts.js';
import { patiently } from '../patience.js';
import { Selection } from '../select.js';
import { t } from '../strings.js';
import { LiveTable } from '../table.js';

const COLUMNS_EVERY_MS = 3_000;
/** By what one end of a sweep differs from another. */
const END = ['state', 'ended', 'jobs', 'name'];
/** Large sweeps are read less often: a hundred thousand rows are some megabytes. */
const ROWS_A_SECOND = 10_000;

/** Fills the page. */
export async function show(main, id) {
  // Both are wanted at once; neither waits for the other.
  const columns = readColumns(id);
  // Where the sweep is not there, this is said once.
  columns.catch(() => {});
  const sweep = await get(`/sweeps/${id}`);
  const page = new Page(id, sweep);
  main.append(page.element);
  page.begin();
  await page.start(columns);
}

class Page {
  constructor(id, sweep) {
    Object.assign(this, { id, sweep });
    this.selection = new Selection(sweep);
    this.live = liveness();
    this.title = el('div', { class: 'caption' });
    this.overview = el('div', { class: 'overview' });
    this.reasons = el('div');
    this.wrong = el('div');
    this.read = patiently(() => this.ask(), this.wrong, COLUMNS_EVERY_MS);
    this.refresh = atMost(() => this.read(), () => Math.max(COLUMNS_EVERY_MS, (1000 * (this.columns?.rows ?? 0)) / ROWS_A_SECOND));
    /** How often something newer than an answer on its way was heard. */
    this.heard = 0;
    /** The first columns are on their way. */
    this.isStarting = true;
    this.beyond = el('div');
    this.running = new LiveTable(t('running_jobs'), runningColumns(id, this), ({ job }) => job, (row, { job }) => {
      row.addEventListener('pointerenter', () => this.selection.hover(job, this));
      row.addEventListener('pointerleave', () => this.selection.hover(null, this));
    });
    this.runningCount = el('span', { class: 'note' });
    this.runs = el('section', { hidden: true }, el('div', { class: 'caption' }, el('h2', { text: t('running_jobs') }), this.runningCount), this.running.element);
    this.scatter = new Scatter(id, this.selection);
    this.curves = new Curves(id, this.selection);
    this.parallel = new Parallel(id, this.selection);
    this.heatmap = new HeatMap(id, this.selection);
    this.meaning = new Meaning(id);
    this.rungs = new Rungs(id, this.selection);
    this.timeline = new Timeline({ sweep: id, selection: this.selection });
    // Of large sweeps it is the largest answer but for the columns.
    this.showTimeline = whenSeen(this.timeline.element, (sweep) => this.timeline.of(sweep));
    this.jobs = new JobsTable(id, this.selection);
    this.charts = el('div', { class: 'charts' }, this.scatter.element, this.curves.element, this.parallel.element, this.heatmap.element, this.meaning.element, this.rungs.element, this.timeline.element);
    const details = el('details', { class: 'specification' }, el('summary', {}, el('h2', { text: t('specification') })), el('pre', { tabIndex: 0 }, el('code', { text: sweep.specification ?? '' })));
    // Charts come later, and jobs that run come and go: who reads the table, or is about to press something there, keeps it.
    const tail = (this.tail = el('div', { class: 'tail', hidden: true }, this.jobs.element, this.exports(), details));
    staysPut(tail, [this.reasons, this.wrong, this.overview, this.runs, this.beyond, this.charts]);
    this.element = el('div', { class: 'page' }, trail([t('sweeps'), '/'], [clipped(sweep.name, 80)]), this.title, this.reasons, this.wrong, this.overview, this.runs, this.beyond, this.charts, tail);
  }

  /** Links to its results as files. */
  exports() {
    const link = (key, query) => el('a', { href: `/api/v1/sweeps/${this.id}/export?format=${query}`, download: '', text: t(key) });
    this.exportNote = el('span', { class: 'note' });
    const links = [link('export_jobs', 'csv'), link('export_epochs', 'csv&epochs=true'), link('export_json', 'json'), link('export_jobs_parquet', 'parquet'), link('export_epochs_parquet', 'parquet&epochs=true')];
    return el('section', { id: 'exports' }, el('h2', { text: t('exports') }), el('p', { class: 'links' }, links, this.exportNote));
  }

  /** Shows what is known before the columns come, and asks for the first page of the table meanwhile, which needs no brush. */
  begin() {
    this.showHead();
    if (!this.parallel.isBrushed) this.listed = this.jobs.show(this.sweep);
    this.follow();
  }

  /**
   * Shows the first columns, and asks for those of the parameters, which of a large sweep come after them. Without columns the rest of the page
   * is there, and they are asked for again.
   */
  async start(first) {
    // What the reader chose before decides which jobs are shown, and on which axes.
    const needsAll = this.parallel.isBrushed || this.scatter.isOfParameter;
    const columns = await first.then((columns) => (needsAll ? complete(this.id, columns) : columns)).catch(() => null);
    this.isStarting = false;
    if (columns) this.take(columns);
    else this.jobs.show(this.sweep);
    this.tail.hidden = false;
    if (this.heard || !this.columns) this.refresh();
    if (this.columns) afterFrame(() => this.complete(this.columns).catch((error) => fill(this.wrong, problem(error))));
  }

  /** Shows what is drawn of the parameters, unless they were there or other columns have come. */
  async complete(columns) {
    if (columns.isWhole || columns !== this.columns) return;
    const found = await complete(this.id, columns).catch(() => null);
    if (columns !== this.columns) return;
    if (!found) this.refresh();
    else if (found === columns) this.showCharts();
    else this.take(found);
  }

  /** Listens for what happens. Of a sweep that has ended, one looks now and then whether it goes on. */
  follow() {
    this.stop?.();
    if (FINAL.has(this.sweep.state)) {
      this.rest();
      return;
    }
    const changed = () => this.refresh();
    const handlers = { snapshot: (seen) => this.seen(seen), epoch: (seen) => this.epoch(seen), job: changed };
    let isFirst = true;
    this.stop = follow(`/api/v1/sweeps/${this.id}/events`, handlers, (state) => {
      this.live.set(state);
      // What happened while no one listened is not told again.
      if (state === 'live' && !isFirst) this.refresh();
      if (state === 'live') isFirst = false;
      if (state === 'ended') this.read().then(() => this.rest());
    });
  }

  /** A sweep that has ended may be tried again or extended by others. */
  rest() {
    this.stop?.();
    this.showRunning([], 0);
    // What was read of it last may be of different moments.
    let isSure = false;
    const look = async () => {
      const before = this.sweep;
      const sweep = await get(`/sweeps/${this.id}`);
      if (isSure && END.every((key) => sweep[key] === before[key])) return false;
      isSure = true;
      this.sweep = sweep;
      this.showHead();
      this.refresh();
      // It may have ended again by now.
      if (FINAL.has(sweep.state)) return false;
      this.follow();
      return true;
    };
    this.live.set('ended');
    this.stop = poll(look, RESTING_MS, null, RESTING_MS).stop;
  }

  showRunning(running, all) {
    this.running.show(running);
    this.runs.hidden = !running.length;
    this.runningCount.textContent = all > running.length ? t('running_shown', { shown: count(running.length), all: count(all) }) : '';
  }

  seen({ sweep, waiting, running, running_count: all }) {
    const hasChanged = JSON.stringify(this.last) !== JSON.stringify(sweep);
    this.heard += 1;
    this.last = sweep;
    Object.assign(this.sweep, sweep, { waiting });
    this.showRunning(running, all);
    if (!hasChanged) return;
    this.showHead();
    this.refresh();
  }

  epoch({ job }) {
    this.curves.touched(job);
    this.refresh();
  }

  /** Asks what has changed. Of two answers on their way the later question counts; what was heard meanwhile is newer than both. */
  async ask() {
    const turn = (this.turn = {});
    const { heard } = this;
    const sweep = await get(`/sweeps/${this.id}`);
    // After it, so that no end is known whose jobs are not.
    const columns = !this.isStarting && (await wholeColumns(this.id, this.columns));
    if (turn !== this.turn) return;
    this.sweep = heard === this.heard ? sweep : { ...sweep, ...this.last, waiting: this.sweep.waiting };
    this.showHead();
    if (columns) this.take(columns);
    // A job that failed again as before has the same columns, and another attempt in the table.
    else if (!this.isStarting) {
      // The parameters may have come with an answer to an earlier question, and jobs may be ranked otherwise.
      if (this.columns) this.showCharts();
      this.jobs.show(this.sweep);
    }
  }

  take(columns) {
    this.columns = columns;
    this.showCharts();
    // The first page may be on its way already.
    if (!this.listed) this.jobs.show(this.sweep);
    this.listed = null;
  }

  showHead() {
    const { sweep } = this;
    const then = (after) => {
      this.heard += 1;
      this.last = { ...this.last, ...after };
      Object.assign(this.sweep, after);
      this.showHead();
      this.follow();
      this.refresh();
    };
    const actions = mayChange(sweep) ? ofSweep(() => this.sweep, then) : [];
    // What is asked for stays where it is while its button has the focus.
    const state = [sweep.name, sweep.state, sweep.failed, sweep.cancelled].join();
    if (state !== this.shownState) {
      entitle(sweep.name);
      fill(this.title, el('h1', {}, foreign(clipped(sweep.name, 300))), sweepBadge(sweep), this.live.element, el('div', { class: 'controls' }, actions));
      this.shownState = state;
    }
    update(this.reasons, reasons(sweep));
    this.exportNote.textContent = FINAL.has(sweep.state) ? '' : t('export_now');
    update(this.overview, counts(sweep), best(this.id, sweep, this.selection));
  }

  /** Does something at once, but the first time when the first frame is drawn and the browser has time. */
  later(work) {
    if (this.isDrawn) work();
    else whenIdle(work);
    this.isDrawn = true;
  }

  /** What is further down the page: the analysis alone costs the server a second of a large sweep. */
  showBelow(hasValues) {
    const { columns, sweep } = this;
    if (hasValues) this.heatmap.show(columns, sweep.metric);
    this.meaning.read();
    this.rungs.read(sweep.metric);
    this.showTimeline(sweep);
  }

  showCharts() {
    const { columns, sweep } = this;
    const { isWhole } = columns;
    const charted = { columns, isWhole, metric: JSON.stringify(sweep.metric) };
    if (this.charted && Object.keys(charted).every((key) => charted[key] === this.charted[key])) return;
    this.charted = charted;
    const hasRows = columns.rows > 0;
    this.charts.hidden = !hasRows;
    const hasValues = columns.objective.some(Number.isFinite);
    update(this.beyond, beyond(columns, sweep), columns.leftOut > 0 && banner('note', '', t('columns_left_out', { jobs: count(columns.leftOut) })));
    // Without a value there is nothing to draw: their axes would say something else.
    for (const { element } of [this.parallel, this.scatter, this.curves]) element.hidden = !hasValues;
    this.heatmap.element.hidden = !hasValues || sweep.varying.length < 2;
    if (hasValues) {
      // The parallel coordinates decide which rows the others show.
      if (isWhole) this.parallel.show(columns, sweep.metric);
      this.scatter.show(columns, sweep.metric);
      this.curves.show(columns, sweep);
    }
    if (hasRows && isWhole) this.later(() => this.showBelow(hasValues));
  }
}

/** Says of how many jobs the charts cannot show the objective. */
function beyond(columns, { metric }) {
  const jobs = columns.beyond;
  return jobs > 0 && banner('note', '', t('beyond_columns', { jobs: count(jobs), metric: clipped(metric.name, 60) }));
}

/** Why nothing moves, or moves otherwise than one would think. */
function reasons(sweep) {
  const isFinal = FINAL.has(sweep.state);
  const unread = sweep.unread_parameters ?? [];
  return [
    sweep.why_stopped && banner('note', t('why_stopped'), sweep.why_stopped),
    !isFinal && sweep.waiting && waits(sweep),
    sweep.cannot_pause && banner('note', t('cannot_pause'), sweep.cannot_pause),
    unread.length > 0 && banner('note', t('unread'), clipped(unread.join(', '), 500)),
  ];
}

/** Where nothing runs, this is what one came to see; while jobs run, that others wait is as it must be. */
function waits({ running, waiting }) {
  return running > 0 ? banner('note', t('waiting'), waiting) : banner('stuck', t('nothing_moves'), waiting);
}

function counts(sweep) {
  const isFinal = FINAL.has(sweep.state);
  const ended = sweep.jobs - sweep.pending - sweep.running - sweep.paused;
  return el(
    'div',
    { class: 'card' },
    el('div', { class: 'card-head' }, el('h2', { text: t('jobs') }), el('b', { class: 'figure', text: t('ended_of', { ended: count(ended), all: count(sweep.jobs) }) })),
    segments(sweep),
    legend(sweep),
    facts([
      [t('owner'), sweep.owner && foreign(clipped(sweep.owner, 200))],
      [t('owners_slots'), ownersSlots(sweep)],
      [t('priority'), sweep.priority !== 0 || sweep.owner ? String(sweep.priority) : null],
      [t('created'), ago(sweep.created)],
      [t('ended'), ago(sweep.ended)],
      [t('time'), lasted(sweep.created, isFinal ? sweep.ended : null)],
      [t('time_left'), timeLeft('about', sweep)],
      [t('images'), sweep.images ? count(sweep.images) : null],
      [t('weights'), sweep.weights && sentence(sweep.weights), true],
    ]),
  );
}

function best(id, sweep, selection) {
  const { best_job: job, metric } = sweep;
  const goal = t(metric.maximize ? 'larger' : 'smaller', { metric: clipped(metric.name, 60) });
  const title = el('div', { class: 'card-head' }, el('h2', { text: t('best') }), el('span', { class: 'note' }, foreign(goal), metric.use === 'best' ? ` · ${t('at_best_epoch')}` : ''));
  if (job === null) return el('div', { class: 'card' }, title, el('p', { class: 'note', text: t(FINAL.has(sweep.state) ? 'none_done_at_all' : 'none_done') }));
  const values = Object.entries(sweep.best_parameters ?? {});
  const card = el(
    'div',
    { class: 'card' },
    title,
    el('p', { class: 'headline' }, el('b', { class: 'figure', text: number(sweep.best) }), sweep.best_trainings > 1 && el('span', { class: 'note', text: ` ${t('mean_of', { trainings: sweep.best_trainings })}` }), ' ', el('a', { href: `/sweeps/${id}/jobs/${job}`, text: `${t('job')} ${job}` })),
    facts(values.map(([name, value]) => [foreign(clipped(name, 60)), foreign(clipped(parameter(value), 200))])),
  );
  card.addEventListener('pointerenter', () => selection.hover(job));
  card.addEventListener('pointerleave', () => selection.hover(null));
  return card;
}

function runningColumns(id, page) {
  const metric = page.sweep.metric.name;
  return [
    { label: t('job'), kind: 'number', render: ({ job }) => el('a', { href: `/sweeps/${id}/jobs/${job}`, text: String(job) }) },
    { label: t('progress'), render: running },
    { label: clipped(metric, 60), kind: 'number', measure: ({ last }) => last?.metrics[metric] },
    { label: t('epoch_time'), kind: 'number', render: ({ last }) => duration(last?.epoch_seconds) },
    { label: t('attempt'), kind: 'number', render: ({ attempt }) => String(attempt) },
    { label: t('worker'), render: ({ worker }) => foreign(clipped(worker, 200), { class: 'foreign clip' }) },
    { label: t('device'), render: ({ device, slot }) => foreign(device || `${t('slot')} ${slot}`) },
  ];
}

function running({ epochs_done: done, epochs_total: total, fraction, preparing }) {
  if (preparing) return el('span', { class: 'note', text: t('preparing') });
  const label = total ? t('epochs_of', { done, total }) : t('epochs_done', { done });
  return el('div', { class: 'going' }, total ? progress((done + fraction) / total, label) : null, el('span', { text: label }));
}
