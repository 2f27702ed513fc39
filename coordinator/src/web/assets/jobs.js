// The table of a sweep's jobs. The server sorts and filters all of them and sends the visible page, so that a sweep of any size costs a
// browser no more than a hundred rows.

import { Left, el, fill, foreign, remember, remembered, update } from './dom.js';
import { get } from './api.js';
import { clipped, column, count, duration, number, parameter } from './format.js';
import { atMost } from './live.js';
import { JOB_STATES, badge, problem, sentence } from './parts.js';
import { t } from './strings.js';
import { cell, heading } from './table.js';

const PAGE = 50;
/** Parameters that are shown unless the reader chooses others. */
const SHOWN_MAX = 8;
const TYPING_MS = 200;
/** How often the table follows a brush that is dragged. */
const BRUSHED_MS = 300;

/** The table. */
export class JobsTable {
  constructor(sweep, selection) {
    Object.assign(this, { id: sweep, selection });
    this.left = new Left(`jobs:${selection.key}`, { sort: { name: 'objective', way: 0 }, states: [], text: '', page: 1 });
    const { sort, states, text, page } = this.left.values;
    Object.assign(this, { sort, text, page });
    this.states = new Set(states);
    this.unborn = null;
    /** What writes the measurements of each column of the page. */
    this.written = new Map();
    this.head = el('tr');
    this.body = el('tbody');
    this.tools = el('div', { class: 'controls' });
    this.stateTools = el('div', { class: 'chips', role: 'group', 'aria-label': t('filter_state') });
    this.pager = el('nav', { class: 'pager', 'aria-label': t('pages_of_table') });
    this.wrong = el('div');
    this.box = el('div', { class: 'scrolls', tabIndex: 0, role: 'region', 'aria-label': t('jobs') }, el('table', { class: 'jobs' }, el('thead', {}, this.head), this.body));
    this.element = el('section', { id: 'jobs' }, el('div', { class: 'caption' }, el('h2', { text: t('jobs') }), this.tools), this.stateTools, this.wrong, this.box, this.pager);
    this.body.addEventListener('pointerover', (event) => this.selection.hover(jobOf(event.target), this));
    this.body.addEventListener('focusin', (event) => this.selection.hover(jobOf(event.target), this));
    this.box.addEventListener('pointerleave', () => this.selection.hover(null, this));
    selection.on('hover', (job) => this.mark(job));
    const brushed = atMost(() => this.restart(), () => BRUSHED_MS);
    selection.on('mask', () => this.sweep && brushed());
  }

  /** Shows the jobs of this sweep as they are now. */
  async show(sweep) {
    const { varying, metrics } = sweep;
    this.sweep = sweep;
    this.usual = new Set(['objective', 'epochs_done', 'train_seconds', 'worker', 'reason', ...varying.slice(0, SHOWN_MAX).map((name) => `parameter:${name}`)]);
    // What the reader did to them, so that parameters that come later are shown.
    const { added, hidden } = remembered(`columns:${this.selection.key}`, { added: [], hidden: [] });
    this.shown = new Set([...this.usual, ...added].filter((name) => !hidden.includes(name)));
    this.sort.way ||= sweep.metric.maximize ? -1 : 1;
    const names = [...varying, ...metrics].join('\n');
    if (!this.search) this.showTools();
    else if (names !== this.names) this.showChooser();
    this.names = names;
    if (!this.isListingUnborn) await this.ask();
  }

  /** All columns there are. */
  list() {
    const { id, sweep } = this;
    const { metric, varying, metrics, keys } = sweep;
    // A parameter may have the name of a metric, and one metric that of another at its best.
    const keyOf = (name) => keys.metrics[metrics.indexOf(name)];
    const isBest = metric.use === 'best';
    const measured = (key) => (job) => this.measured(key, job[key]);
    return [
      { name: 'job', label: t('job'), kind: 'number', sorts: true, render: ({ job }) => el('a', { href: `/sweeps/${id}/jobs/${job}`, text: String(job) }) },
      { name: 'state', label: t('state'), sorts: true, render: ({ state }) => badge(state) },
      { name: 'objective', label: isBest ? `${metric.name} (${t('best')})` : metric.name, kind: 'number', sorts: true, render: measured(isBest ? keys.best : keyOf(metric.name)) },
      ...varying.map((name) => ({ name: `parameter:${name}`, label: name, kind: this.isNumber(name) ? 'number' : null, sorts: true, render: ({ parameters }) => value(parameters[name]) })),
      { name: 'epochs_done', label: t('epochs'), kind: 'number', sorts: true, render: ({ epochs_done: done }) => String(done) },
      { name: 'train_seconds', label: t('train_time'), kind: 'number', sorts: true, render: ({ train_seconds: seconds }) => duration(seconds) },
      ...metrics.filter((name) => isBest || name !== metric.name).map((name) => ({ name: `metric:${name}`, label: name, kind: 'number', sorts: true, render: measured(keyOf(name)) })),
      { name: 'best_epoch', label: t('best_epoch'), kind: 'number', sorts: true, render: ({ best_epoch: epoch }) => number(epoch) },
      { name: 'attempts', label: t('attempts'), kind: 'number', sorts: true, render: ({ attempts }) => number(attempts) },
      { name: 'worker', label: t('worker'), sorts: true, render: ({ worker }) => foreign(worker, { class: 'foreign clip' }) },
      { name: 'reason', label: t('reason'), render: ({ reason }) => sentence(clipped(reason, 300), { class: 'foreign clip wide', title: clipped(reason, 2_000) }) },
    ];
  }

  /** A measurement that jobs have by this key, with the decimals of its column. */
  measured(key, value) {
    // A map, as users name metrics as they like: an object would already have a `valueOf`.
    if (!this.written.has(key)) this.written.set(key, column((this.items ?? []).map((job) => job[key])));
    return this.written.get(key)(value);
  }

  /** Whether a parameter is a number in all jobs of the page. */
  isNumber(name) {
    return this.items?.some(({ parameters }) => typeof parameters[name] === 'number') && this.items.every(({ parameters }) => ['number', 'undefined'].includes(typeof parameters[name]));
  }

  showTools() {
    let timer = 0;
    const search = (this.search = el('input', {
      type: 'search',
      value: this.text,
      placeholder: t('filter_text'),
      'aria-label': t('filter_text'),
      title: t('filter_help'),
      oninput: () => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          this.text = search.value.trim();
          this.restart();
        }, TYPING_MS);
      },
    }));
    this.chooser = el('div', { class: 'pane checks' });
    const chooser = el('details', { class: 'menu' }, el('summary', { text: t('columns') }), this.chooser);
    fill(this.tools, search, chooser);
    this.showChooser();
  }

  showChooser() {
    const one = ({ name, label }) => {
      const change = (event) => {
        if (event.target.checked) this.shown.add(name);
        else this.shown.delete(name);
        const usual = [...this.usual];
        remember(`columns:${this.selection.key}`, { added: [...this.shown].filter((one) => !this.usual.has(one)), hidden: usual.filter((one) => !this.shown.has(one)) });
        this.render();
      };
      return el('label', {}, el('input', { type: 'checkbox', checked: this.shown.has(name), onchange: change }), foreign(clipped(label, 60)));
    };
    fill(this.chooser, this.list().filter(({ name }) => name !== 'job' && name !== 'state').map(one));
  }

  /** From the first page, as other jobs match. */
  restart() {
    this.page = 1;
    this.isListingUnborn = false;
    this.unborn = null;
    return this.ask();
  }

  /** Asks for the page. Of two answers on their way the later question counts. */
  async ask() {
    const turn = (this.turn = {});
    const { sort, states, text, selection } = this;
    const query = new URLSearchParams({ sort: sort.name, order: sort.way < 0 ? 'descending' : 'ascending', page: this.page, rows: PAGE });
    if (states.size) query.set('state', [...states].join());
    if (text) query.set('text', text);
    if (selection.where.length) query.set('where', JSON.stringify(selection.where));
    this.box.setAttribute('aria-busy', 'true');
    try {
      const page = await get(`/sweeps/${this.id}/table?${query}`);
      if (turn !== this.turn) return;
      Object.assign(this, { found: page, items: page.items, page: page.page, written: new Map() });
      fill(this.wrong);
      this.showStates();
      this.render();
    } catch (error) {
      if (turn === this.turn) fill(this.wrong, problem(error));
    } finally {
      if (turn === this.turn) this.box.setAttribute('aria-busy', 'false');
    }
  }

  /** Buttons of states with how many jobs are in them. */
  showStates() {
    const { states: counts, left_out: leftOut } = this.found;
    const chip = (state) => {
      const found = counts[state] ?? 0;
      if (!found && !this.states.has(state)) return null;
      const toggle = () => {
        if (!this.states.delete(state)) this.states.add(state);
        this.showStates();
        this.restart();
      };
      return el('button', { type: 'button', class: 'chip', 'data-chip': state, 'aria-pressed': String(this.states.has(state)), onclick: toggle }, el('i', { class: 'dot', 'data-state': state }), t(`state_${state}`), ' ', el('b', { text: count(found) }));
    };
    const known = Object.values(counts).reduce((sum, jobs) => sum + jobs, 0);
    const unborn = this.sweep.jobs - known - leftOut;
    const list = unborn > 0 && el('button', { type: 'button', class: 'link', onclick: () => this.listUnborn(), text: t('not_begun', { jobs: count(unborn) }) });
    const left = leftOut > 0 && el('span', { class: 'note', text: t('left_out', { jobs: count(leftOut) }) });
    const held = document.activeElement?.closest?.('.chips') === this.stateTools ? document.activeElement.dataset.chip : null;
    // Who is about to press a button that has not changed does press it.
    update(this.stateTools, JOB_STATES.map(chip), list, left);
    if (held) this.stateTools.querySelector(`[data-chip=${held}]`)?.focus();
  }

  async sortBy(name) {
    const falls = this.sort.name === name ? this.sort.way > 0 : name === 'objective' && this.sweep.metric.maximize;
    this.sort = { name, way: falls ? -1 : 1 };
    await this.restart();
    this.head.querySelector(`[data-column="${CSS.escape(name)}"] button`)?.focus();
  }

  render() {
    if (!this.found) return;
    if (this.unborn) {
      this.renderUnborn(this.unborn);
      return;
    }
    const list = this.list().filter(({ name }) => name === 'job' || name === 'state' || this.shown.has(name));
    const order = (name) => (this.sort.name === name ? this.sort.way : 0);
    update(this.head, list.map((column) => {
      const made = heading(column, order(column.name), () => this.sortBy(column.name));
      made.dataset.column = column.name;
      return made;
    }));
    this.marked?.classList.remove('is-hovered');
    update(this.body, this.items.map((job) => el('tr', { 'data-job': job.job }, list.map((column) => cell(column, job)))));
    if (!this.items.length) fill(this.body, el('tr', {}, el('td', { colSpan: list.length, class: 'empty', text: t(Object.keys(this.found.states).length ? 'no_match' : 'no_jobs_yet') })));
    this.mark(this.selection.hovered);
    this.left.keep({ sort: this.sort, states: [...this.states], text: this.text, page: this.page });
    this.showPager();
  }

  showPager() {
    const { page, pages, matching } = this.found;
    const first = (page - 1) * PAGE + 1;
    const range = el('span', { class: 'range', text: matching ? t('rows_of', { from: count(first), to: count(Math.min(matching, first + PAGE - 1)), all: count(matching) }) : '' });
    if (pages === 1) {
      update(this.pager, range);
      return;
    }
    const go = (to) => {
      this.page = Math.max(1, Math.min(pages, to || 1));
      this.ask();
    };
    const button = (label, to, isOff) => el('button', { type: 'button', text: label, disabled: isOff, onclick: () => go(to) });
    const input = el('input', { type: 'number', min: 1, max: pages, value: page, 'aria-label': t('page'), onchange: () => go(Number(input.value)) });
    const held = [...this.pager.querySelectorAll('button, input')].indexOf(document.activeElement);
    fill(
      this.pager,
      button(t('first'), 1, page === 1),
      button(t('previous'), page - 1, page === 1),
      el('label', { class: 'choice' }, el('span', { text: t('page') }), input, el('span', { text: `/ ${count(pages)}` })),
      button(t('next'), page + 1, page === pages),
      button(t('last'), pages, page === pages),
      range,
    );
    if (held >= 0) this.pager.querySelectorAll('button, input')[held]?.focus({ preventScroll: true });
  }

  /** Lists the jobs that have not begun, page by page from the server. */
  async listUnborn(after = '') {
    const turn = (this.turn = {});
    // What comes meanwhile does not take its place.
    this.isListingUnborn = true;
    try {
      const page = await get(`/sweeps/${this.id}/jobs?begun=false&rows=${PAGE}${after && `&after=${encodeURIComponent(after)}`}`);
      if (turn !== this.turn) return;
      this.unborn = page;
      fill(this.wrong);
      this.render();
      this.pager.querySelector('button').focus({ preventScroll: true });
    } catch (error) {
      if (turn !== this.turn) return;
      this.isListingUnborn = this.unborn !== null;
      fill(this.wrong, problem(error));
    }
  }

  renderUnborn({ items, next }) {
    const names = [...new Set(items.flatMap((job) => Object.keys(job.parameters)))].slice(0, 20);
    const isNumber = (name) => items.some((job) => typeof job.parameters[name] === 'number');
    const columns = [
      { label: t('job'), kind: 'number', render: (job) => el('a', { href: `/sweeps/${this.id}/jobs/${job.job}`, text: String(job.job) }) },
      { label: t('state'), render: (job) => badge(job.state) },
      ...names.map((name) => ({ label: name, kind: isNumber(name) ? 'number' : null, render: (job) => value(job.parameters[name]) })),
    ];
    fill(this.head, columns.map((column) => heading(column)));
    fill(this.body, items.map((job) => el('tr', {}, columns.map((column) => cell(column, job)))));
    if (!items.length) fill(this.body, el('tr', {}, el('td', { colSpan: columns.length, class: 'empty', text: t('all_begun') })));
    const back = el('button', { type: 'button', text: t('back_to_jobs'), onclick: () => this.restart() });
    const more = el('button', { type: 'button', text: t('next'), disabled: !next, onclick: () => this.listUnborn(next) });
    fill(this.pager, back, more);
  }

  mark(job) {
    if (this.marked) this.marked.classList.remove('is-hovered');
    this.marked = job === null ? null : this.body.querySelector(`[data-job="${job}"]`);
    this.marked?.classList.add('is-hovered');
  }
}

function jobOf(target) {
  const row = target.closest('tr');
  return row?.dataset.job ? Number(row.dataset.job) : null;
}

/** A parameter with as many digits as a table has room for; all of it is the title. */
function value(value) {
  const text = typeof value === 'number' ? number(value) : parameter(value);
  const whole = typeof value === 'number' ? String(value) : text;
  return foreign(clipped(text, 200), { class: 'foreign clip', title: text !== whole || text.length > 24 ? clipped(whole, 2_000) : null });
}
