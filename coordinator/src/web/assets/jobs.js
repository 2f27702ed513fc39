// The table of a sweep's jobs: sorted and filtered here over the columns of all jobs; the jobs of the visible page are then read exactly.

import { Left, el, fill, foreign, remember, remembered, update } from './dom.js';
import { get } from './api.js';
import { clipped, count, duration, number, parameter } from './format.js';
import { falling, rising } from './order.js';
import { atMost } from './live.js';
import { matcher } from './match.js';
import { JOB_STATES, badge, problem } from './parts.js';
import { t } from './strings.js';
import { cell, heading } from './table.js';

const PAGE = 100;
/** Parameters that are shown unless the reader chooses others. */
const SHOWN_MAX = 8;
/** Jobs that are kept as they were read. */
const EXACT_MAX = 2_000;
const TYPING_MS = 150;
/** How often the table follows a brush that is dragged. */
const BRUSHED_MS = 200;
/** What a job's own keys are, so that the others are its metrics. */
const OWN = new Set(['job', 'parameters', 'state', 'attempts', 'worker', 'epochs_done', 'train_seconds', 'pack_size', 'best_epoch', 'weights', 'reason']);

/** The table. */
export class JobsTable {
  constructor(sweep, selection) {
    Object.assign(this, { sweep, selection });
    this.left = new Left(`jobs:${sweep}`, { sort: { name: 'objective', way: 0 }, states: [], text: '', page: 0 });
    const { sort, states, text, page } = this.left.values;
    Object.assign(this, { sort, text, page });
    this.states = new Set(states);
    this.exact = new Map();
    this.fresh = new Set();
    this.metrics = [];
    this.head = el('tr');
    this.body = el('tbody');
    this.tools = el('div', { class: 'controls' });
    this.stateTools = el('div', { class: 'chips', role: 'group', 'aria-label': t('filter_state') });
    this.pager = el('nav', { class: 'pager', 'aria-label': t('pages_of_table') });
    this.wrong = el('div');
    const box = el('div', { class: 'scrolls', tabIndex: 0, role: 'region', 'aria-label': t('jobs') }, el('table', { class: 'jobs' }, el('thead', {}, this.head), this.body));
    this.element = el('section', { id: 'jobs' }, el('div', { class: 'caption' }, el('h2', { text: t('jobs') }), this.tools), this.stateTools, this.wrong, box, this.pager);
    this.body.addEventListener('pointerover', (event) => this.selection.hover(jobOf(event.target), this));
    this.body.addEventListener('focusin', (event) => this.selection.hover(jobOf(event.target), this));
    box.addEventListener('pointerleave', () => this.selection.hover(null, this));
    selection.on('hover', (job) => this.mark(job));
    const brushed = atMost(() => this.arrange(true), () => BRUSHED_MS);
    selection.on('mask', () => this.columns && brushed());
  }

  /** Shows the jobs of these columns. */
  show(columns, sweep) {
    Object.assign(this, { columns, metric: sweep.metric, counts: sweep });
    const names = columns.parameters.map((column) => column.name);
    this.shown = new Set(remembered(`columns:${this.sweep}`, ['objective', 'epochs_done', 'train_seconds', 'worker', 'reason', ...names.slice(0, SHOWN_MAX)]));
    this.sort.way ||= sweep.metric.maximize ? -1 : 1;
    if (!this.search) this.showTools();
    else if (names.join() !== this.names) this.showChooser();
    this.names = names.join();
    // What was read stays until it is read again, so that nothing flickers.
    this.fresh.clear();
    if (this.exact.size > EXACT_MAX) this.exact.clear();
    this.showStates();
    if (!this.isListingUnborn) this.arrange(false);
  }

  /** All columns there are; those with a `sorts` are sorted by the columns of all jobs. */
  list() {
    const { columns, sweep, metric } = this;
    const exact = (row) => this.exact.get(columns.job[row]);
    const measure = (row, key, data) => number(exact(row)?.[key] ?? (data && !Number.isNaN(data[row]) ? data[row] : null));
    return [
      { name: 'job', label: t('job'), kind: 'number', sorts: columns.job, render: (row) => el('a', { href: `/sweeps/${sweep}/jobs/${columns.job[row]}`, text: String(columns.job[row]) }) },
      { name: 'state', label: t('state'), sorts: columns.state.numbers, render: (row) => badge(this.fresh.has(columns.job[row]) ? exact(row).state : columns.stateOf(row)) },
      { name: 'objective', label: metric.use === 'best' ? `${metric.name} (${t('best')})` : metric.name, kind: 'number', sorts: columns.objective, render: (row) => number(Number.isNaN(columns.objective[row]) ? null : columns.objective[row]) },
      ...columns.parameters.map((column) => ({
        name: column.name,
        label: column.label,
        kind: column.isCategorical ? null : 'number',
        sorts: column.numbers,
        render: (row) => value(exact(row)?.parameters[column.label] ?? column.valueOf(row)),
      })),
      { name: 'epochs_done', label: t('epochs'), kind: 'number', sorts: columns.get('epochs_done').numbers, render: (row) => String(columns.get('epochs_done').data[row]) },
      { name: 'train_seconds', label: t('train_time'), kind: 'number', sorts: columns.seconds, render: (row) => duration(columns.seconds[row]) },
      ...this.metrics.map((key) => ({ name: `metric:${key}`, label: key, kind: 'number', render: (row) => measure(row, key) })),
      { name: 'best_epoch', label: t('best_epoch'), kind: 'number', render: (row) => number(exact(row)?.best_epoch) },
      { name: 'attempts', label: t('attempts'), kind: 'number', render: (row) => number(exact(row)?.attempts) },
      { name: 'worker', label: t('worker'), render: (row) => foreign(exact(row)?.worker ?? '', { class: 'foreign clip' }) },
      { name: 'reason', label: t('reason'), render: (row) => foreign(clipped(exact(row)?.reason ?? '', 300), { class: 'foreign clip wide', title: clipped(exact(row)?.reason ?? '', 2_000), lang: 'en' }) },
    ];
  }

  showTools() {
    let timer = 0;
    const search = (this.search = el('input', {
      type: 'search',
      value: this.text,
      placeholder: t('filter_text'),
      'aria-label': t('filter_text'),
      oninput: () => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          this.text = search.value.trim().toLowerCase();
          this.arrange(true);
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
        remember(`columns:${this.sweep}`, [...this.shown]);
        this.render();
      };
      return el('label', {}, el('input', { type: 'checkbox', checked: this.shown.has(name), onchange: change }), foreign(clipped(label, 60)));
    };
    fill(this.chooser, this.list().filter(({ name }) => name !== 'job' && name !== 'state').map(one));
  }

  /** Buttons of states with how many jobs are in them. */
  showStates() {
    const { columns } = this;
    const counts = new Uint32Array(256);
    for (const state of columns.state.data) counts[state] += 1;
    const chip = (state) => {
      const found = counts[columns.state.values.indexOf(state)];
      if (!found && !this.states.has(state)) return null;
      const toggle = () => {
        if (!this.states.delete(state)) this.states.add(state);
        this.showStates();
        this.stateTools.querySelector(`[data-chip=${state}]`)?.focus();
        this.arrange(true);
      };
      return el('button', { type: 'button', class: 'chip', 'data-chip': state, 'aria-pressed': String(this.states.has(state)), onclick: toggle }, el('i', { class: 'dot', 'data-state': state }), t(`state_${state}`), ' ', el('b', { text: count(found) }));
    };
    const unborn = this.counts.jobs - columns.rows - columns.leftOut;
    const list = unborn > 0 && el('button', { type: 'button', class: 'link', onclick: () => this.listUnborn(), text: t('not_begun', { jobs: count(unborn) }) });
    const leftOut = columns.leftOut > 0 && el('span', { class: 'note', text: t('left_out', { jobs: count(columns.leftOut) }) });
    const held = document.activeElement?.closest?.('.chips') === this.stateTools ? document.activeElement.dataset.chip : null;
    fill(this.stateTools, JOB_STATES.map(chip), list, leftOut);
    if (held) this.stateTools.querySelector(`[data-chip=${held}]`)?.focus();
  }

  /** Which rows there are, in which order. */
  arrange(fromStart) {
    const { columns, states, text, selection } = this;
    const wanted = new Set([...states].map((state) => columns.state.values.indexOf(state)));
    const matches = text ? matcher(columns, text) : null;
    const { data } = columns.state;
    this.rows = this.order().filter((row) => selection.has(row) && (!wanted.size || wanted.has(data[row])) && (!matches || matches(row)));
    this.isListingUnborn = false;
    if (fromStart) this.page = 0;
    this.page = Math.min(this.page, Math.max(0, Math.ceil(this.rows.length / PAGE) - 1));
    this.render();
    this.readExact();
  }

  /** All rows as they are sorted: kept, as brushes ask for it with every move. */
  order() {
    const { name, way } = this.sort;
    const key = `${name} ${way}`;
    if (this.ordered?.key !== key || this.ordered.columns !== this.columns) {
      const by = this.list().find((column) => column.name === name)?.sorts ?? this.columns.job;
      this.ordered = { key, columns: this.columns, rows: way < 0 ? falling(by) : rising(by) };
    }
    return this.ordered.rows;
  }

  sortBy(name) {
    const falls = this.sort.name === name ? this.sort.way > 0 : name === 'objective' && this.metric.maximize;
    this.sort = { name, way: falls ? -1 : 1 };
    this.arrange(true);
    this.head.querySelector(`[data-column="${CSS.escape(name)}"] button`)?.focus();
  }

  render() {
    const list = this.list().filter(({ name }) => name === 'job' || name === 'state' || this.shown.has(name));
    const order = (name) => (this.sort.name === name ? this.sort.way : 0);
    update(this.head, list.map((column) => {
      const made = heading(column, order(column.name), () => this.sortBy(column.name));
      made.dataset.column = column.name;
      return made;
    }));
    const visible = [...this.rows.subarray(this.page * PAGE, (this.page + 1) * PAGE)];
    this.marked?.classList.remove('is-hovered');
    update(this.body, visible.map((row) => el('tr', { 'data-job': this.columns.job[row] }, list.map((column) => cell(column, row)))));
    if (!visible.length) fill(this.body, el('tr', {}, el('td', { colSpan: list.length, class: 'empty', text: t(this.columns.rows ? 'no_match' : 'no_jobs_yet') })));
    this.mark(this.selection.hovered);
    this.left.keep({ sort: this.sort, states: [...this.states], text: this.text, page: this.page });
    this.showPager(this.rows.length);
  }

  showPager(rows) {
    const pages = Math.max(1, Math.ceil(rows / PAGE));
    const first = this.page * PAGE + 1;
    const go = (page) => () => {
      this.page = page;
      this.render();
      this.readExact();
    };
    const button = (label, page, isOff) => el('button', { type: 'button', text: label, disabled: isOff, onclick: go(page) });
    const range = el('span', { text: rows ? t('rows_of', { from: count(first), to: count(Math.min(rows, first + PAGE - 1)), all: count(rows) }) : '' });
    if (pages === 1) {
      fill(this.pager, range);
      return;
    }
    fill(
      this.pager,
      button(t('first'), 0, this.page === 0),
      button(t('previous'), this.page - 1, this.page === 0),
      range,
      button(t('next'), this.page + 1, this.page >= pages - 1),
      button(t('last'), pages - 1, this.page >= pages - 1),
    );
  }

  /** Reads what the columns do not have, of the visible page. */
  async readExact() {
    const wanted = [...this.rows.subarray(this.page * PAGE, (this.page + 1) * PAGE)].map((row) => this.columns.job[row]).filter((job) => !this.fresh.has(job));
    if (!wanted.length) return;
    const turn = (this.turn = {});
    try {
      const { items } = await get(`/sweeps/${this.sweep}/jobs?jobs=${wanted.join()}`);
      if (turn !== this.turn) return;
      for (const job of items) {
        this.exact.set(job.job, job);
        this.fresh.add(job.job);
      }
      fill(this.wrong);
      this.findMetrics(items[0]);
      this.render();
    } catch (error) {
      if (turn === this.turn) fill(this.wrong, problem(error));
    }
  }

  /** The metrics of the sweep are what a job has besides its own keys and its parameters. */
  findMetrics(job) {
    if (this.metrics.length || !job) return;
    const shown = this.metric.use === 'best' ? `best_${this.metric.name}` : this.metric.name;
    const isMetric = (key) => !OWN.has(key) && !(key in job.parameters) && !this.columns.get(`parameter:${key}`) && key !== shown;
    this.metrics = Object.keys(job).filter((key) => isMetric(key) && (job[key] === null || typeof job[key] === 'number' || NUMBER_TEXTS.has(job[key])));
    this.showChooser();
  }

  /** Lists the jobs that have not begun, page by page from the server. */
  async listUnborn(after = '') {
    try {
      const { items, next } = await get(`/sweeps/${this.sweep}/jobs?state=pending&rows=${PAGE}${after && `&after=${encodeURIComponent(after)}`}`);
      this.isListingUnborn = true;
      const names = [...new Set(items.flatMap((job) => Object.keys(job.parameters)))].slice(0, 20);
      const isNumber = (name) => items.some((job) => typeof job.parameters[name] === 'number');
      const columns = [
        { label: t('job'), kind: 'number', render: (job) => el('a', { href: `/sweeps/${this.sweep}/jobs/${job.job}`, text: String(job.job) }) },
        { label: t('state'), render: (job) => badge(job.state) },
        ...names.map((name) => ({ label: name, kind: isNumber(name) ? 'number' : null, render: (job) => value(job.parameters[name]) })),
      ];
      fill(this.head, columns.map((column) => heading(column)));
      fill(this.body, items.map((job) => el('tr', {}, columns.map((column) => cell(column, job)))));
      const back = el('button', { type: 'button', text: t('back_to_jobs'), onclick: () => this.arrange(true) });
      const more = el('button', { type: 'button', text: t('next'), disabled: !next, onclick: () => this.listUnborn(next) });
      fill(this.pager, back, more);
      back.focus();
    } catch (error) {
      fill(this.wrong, problem(error));
    }
  }

  mark(job) {
    if (this.marked) this.marked.classList.remove('is-hovered');
    this.marked = job === null ? null : this.body.querySelector(`[data-job="${job}"]`);
    this.marked?.classList.add('is-hovered');
  }
}

const NUMBER_TEXTS = new Set(['nan', 'inf', '-inf']);

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
