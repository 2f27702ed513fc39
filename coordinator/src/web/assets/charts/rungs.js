// The rungs of early stopping: what each job had where jobs are compared, and what became of it; with a table of the rungs, and of the jobs of one.

import { get } from '../api.js';
import { colour, el, fill, say } from '../dom.js';
import { clipped, count, number } from '../format.js';
import { badge, choice, problem } from '../parts.js';
import { t } from '../strings.js';
import { LiveTable } from '../table.js';
import { Scale, jitter } from './scale.js';
import { Surface, open } from './surface.js';

const MARGIN = { left: 62, right: 16, top: 10, bottom: 40 };
const REACH = 10;
/** The part of a rung's room that its jobs are spread over. */
const SPREAD = 0.28;
const ROWS_MAX = 50;

/** Chart and tables. */
export class Rungs {
  constructor(sweep, selection) {
    Object.assign(this, { sweep, selection });
    this.surface = new Surface(2, () => this.draw(), {
      class: 'surface rungs',
      tabIndex: 0,
      role: 'application',
      'aria-roledescription': t('chart'),
      'aria-label': t('rungs_label'),
      onpointermove: (event) => this.move(event),
      onpointerleave: () => selection.hover(null, this),
      onclick: (event) => this.points && selection.hovered !== null && event.pointerType !== 'touch' && open(sweep, selection.hovered, event),
      onkeydown: (event) => this.key(event),
    });
    this.table = new LiveTable(t('rungs'), rungColumns(), ({ epoch }) => epoch);
    this.jobs = new LiveTable(t('jobs'), jobColumns(sweep), ({ job }) => job, (row, { job }) => {
      row.addEventListener('pointerenter', () => selection.hover(job, this));
      row.addEventListener('pointerleave', () => selection.hover(null, this));
    });
    this.controls = el('div', { class: 'controls' });
    this.wrong = el('div');
    this.note = el('p', { class: 'note', hidden: true });
    const legend = el('ul', { class: 'legend' }, ['went_on', 'paused', 'stopped'].map((outcome) => el('li', {}, el('i', { class: 'dot', 'data-state': stateOf(outcome) }), t(`rung_${outcome}`))));
    const tables = el('div', { class: 'rung-tables' }, this.table.element, el('div', { class: 'rung-jobs' }, this.jobs.element));
    this.element = el('figure', { class: 'wide', hidden: true }, el('figcaption', {}, el('h2', { text: t('rungs') }), legend, this.controls), this.wrong, this.surface.element, tables, this.note);
    selection.on('hover', () => this.drawHover());
  }

  /** Reads the rungs again. A sweep without early stopping has none. */
  async read(metric) {
    this.metric = metric;
    try {
      const { items, left_out: leftOut } = await get(`/sweeps/${this.sweep}/rungs`);
      fill(this.wrong);
      this.element.hidden = !items.length;
      if (items.length) this.show(items, leftOut);
    } catch (error) {
      fill(this.wrong, problem(error));
    }
  }

  show(items, leftOut) {
    this.items = items;
    this.note.hidden = !leftOut;
    this.note.textContent = t('rungs_left_out', { rungs: count(leftOut) });
    const epochs = items.map(({ epoch }) => epoch);
    if (!epochs.includes(this.chosen)) this.chosen = epochs.at(-1);
    if (epochs.join() !== this.epochs) {
      this.epochs = epochs.join();
      fill(this.controls, choice(t('rung_of'), epochs.map((epoch) => [String(epoch), t('epoch_number', { epoch: count(epoch) })]), String(this.chosen), (epoch) => {
        this.chosen = Number(epoch);
        this.showJobs();
      }));
    }
    this.table.show(items);
    this.showJobs();
    const values = items.flatMap(({ jobs, quartiles }) => [...jobs.map(({ value }) => value), ...(quartiles ?? [])]).filter((value) => typeof value === 'number');
    this.vertical = new Scale({ numbers: values }).padded(0.04);
    this.surface.redraw();
  }

  showJobs() {
    const { jobs } = this.items.find(({ epoch }) => epoch === this.chosen);
    this.jobs.show(jobs.slice(0, ROWS_MAX));
  }

  draw() {
    if (!this.items) return;
    const { surface, items, vertical } = this;
    const layer = surface.clear(0);
    const inner = { width: surface.width - MARGIN.left - MARGIN.right, height: surface.height - MARGIN.top - MARGIN.bottom };
    const step = inner.width / items.length;
    const y = (value) => MARGIN.top + (1 - vertical.at(value)) * inner.height;
    this.drawAxes(layer, inner, step);
    this.points = [];
    items.forEach(({ jobs, quartiles }, place) => {
      const middle = MARGIN.left + (place + 0.5) * step;
      if (quartiles) this.drawBox(layer, middle, Math.min(60, step * 0.7), quartiles.map((value) => (typeof value === 'number' ? y(value) : NaN)));
      for (const job of jobs) {
        if (typeof job.value !== 'number') continue;
        this.points.push({ ...job, place, x: middle + jitter(job.job) * Math.min(90, step * SPREAD), y: y(job.value) });
      }
    });
    // Who went on is drawn last.
    const order = [...this.points].sort((a, b) => (a.outcome === 'went_on') - (b.outcome === 'went_on'));
    layer.globalAlpha = 0.85;
    for (const point of order) {
      layer.fillStyle = colour(`state-${stateOf(point.outcome)}`);
      layer.beginPath();
      layer.arc(point.x, point.y, 3.5, 0, 2 * Math.PI);
      layer.fill();
    }
    layer.globalAlpha = 1;
    this.drawHover();
  }

  /** Where half of the jobs are, and their median. */
  drawBox(layer, middle, width, [, low, median, high]) {
    layer.fillStyle = colour('grid');
    if (Number.isFinite(low) && Number.isFinite(high)) layer.fillRect(middle - width / 2, high, width, Math.max(1, low - high));
    if (!Number.isFinite(median)) return;
    layer.fillStyle = colour('muted');
    layer.fillRect(middle - width / 2, median - 0.75, width, 1.5);
  }

  drawAxes(layer, inner, step) {
    layer.font = `11px ${colour('font')}`;
    layer.fillStyle = colour('muted');
    layer.strokeStyle = colour('grid');
    layer.lineWidth = 1;
    layer.textAlign = 'right';
    layer.textBaseline = 'middle';
    layer.beginPath();
    for (const { at, text } of this.vertical.ticks(5)) {
      const y = Math.round(MARGIN.top + (1 - at) * inner.height) + 0.5;
      layer.moveTo(MARGIN.left, y);
      layer.lineTo(MARGIN.left + inner.width, y);
      layer.fillText(text, MARGIN.left - 6, y);
    }
    layer.stroke();
    layer.textAlign = 'center';
    layer.textBaseline = 'top';
    const bottom = MARGIN.top + inner.height;
    const every = Math.ceil(34 / step);
    this.items.forEach(({ epoch }, place) => {
      if (place % every === 0) layer.fillText(count(epoch), MARGIN.left + (place + 0.5) * step, bottom + 6);
    });
    layer.fillStyle = colour('text');
    layer.fillText(t('compared_after'), MARGIN.left + inner.width / 2, bottom + 22, inner.width);
    layer.save();
    layer.translate(10, MARGIN.top + inner.height / 2);
    layer.rotate(-Math.PI / 2);
    layer.textBaseline = 'middle';
    layer.fillText(clipped(this.metric.name, 60), 0, 0, inner.height);
    layer.restore();
  }

  /** The way of the job that is pointed at, from rung to rung. */
  drawHover() {
    if (!this.points) return;
    const layer = this.surface.clear(1);
    const { hovered } = this.selection;
    const way = hovered === null ? [] : this.points.filter(({ job }) => job === hovered);
    layer.strokeStyle = colour('accent');
    layer.lineWidth = 2;
    layer.beginPath();
    way.forEach(({ x, y }, place) => (place ? layer.lineTo(x, y) : layer.moveTo(x, y)));
    layer.stroke();
    layer.strokeStyle = colour('text');
    for (const { x, y } of way) {
      layer.beginPath();
      layer.arc(x, y, 6, 0, 2 * Math.PI);
      layer.stroke();
    }
    const isMine = way.length > 0 && this.selection.by === this && this.pointed;
    const last = isMine ? (way.find(({ place }) => place === this.pointed.place) ?? way.at(-1)) : null;
    this.surface.tell(last && this.tip(last), last?.x, last?.y);
    this.surface.element.style.cursor = isMine ? 'pointer' : '';
  }

  tip({ job, value, outcome, place }) {
    const epoch = t('epoch_number', { epoch: count(this.items[place].epoch) });
    return [el('div', { class: 'tip-head' }, el('b', { text: `${t('job')} ${job}` }), badgeOf(outcome)), el('p', { text: `${epoch}: ${number(value)}` })];
  }

  move(event) {
    if (!this.points) return;
    const [x, y] = this.surface.point(event);
    let [found, least] = [null, REACH * REACH];
    for (const point of this.points) {
      const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (distance < least) [found, least] = [point, distance];
    }
    this.pointed = found;
    this.selection.hover(found?.job ?? null, this);
  }

  /** Left and right go from rung to rung, up and down from job to job. */
  key(event) {
    const { points, pointed } = this;
    if (event.key === 'Enter' && pointed) open(this.sweep, pointed.job, event);
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    if (!step || !points?.length) return;
    event.preventDefault();
    const place = Math.max(0, Math.min(this.items.length - 1, (pointed?.place ?? 0) + step[0]));
    const here = points.filter((point) => point.place === place).sort((a, b) => a.y - b.y);
    if (!here.length) return;
    const at = step[0] ? here.findIndex(({ job }) => job === pointed?.job) : here.findIndex((point) => point === pointed || (point.job === pointed?.job && point.place === place)) + step[1];
    this.pointed = here[Math.max(0, Math.min(here.length - 1, at))];
    this.selection.hover(this.pointed.job, this);
    this.drawHover();
    const { job, value, outcome } = this.pointed;
    say(`${t('epoch_number', { epoch: this.items[place].epoch })}, ${t('job')} ${job}: ${number(value)}, ${wordOf(outcome)}`);
  }
}

/** Outcomes have the colours of states: who went on that of those who are done. */
function stateOf(outcome) {
  return outcome === 'went_on' ? 'done' : outcome;
}

function wordOf(outcome) {
  return t(outcome === 'went_on' ? 'rung_went_on' : `state_${outcome}`);
}

function badgeOf(outcome) {
  const made = badge(stateOf(outcome));
  made.textContent = wordOf(outcome);
  return made;
}

function rungColumns() {
  const numbers = (key) => ({ label: t(`rung_${key}`), kind: 'number', render: (rung) => count(rung[key]) });
  const value = (label, of) => ({ label, kind: 'number', measure: ({ quartiles, jobs }) => of(quartiles, jobs) });
  return [
    { label: t('compared_after_epoch'), kind: 'number', render: ({ epoch }) => count(epoch) },
    numbers('reached'),
    numbers('went_on'),
    numbers('paused'),
    numbers('stopped'),
    value(t('best'), (_, jobs) => jobs[0]?.value),
    value(t('median'), (quartiles) => quartiles?.[2]),
  ];
}

function jobColumns(sweep) {
  return [
    { label: t('job'), kind: 'number', render: ({ job }) => el('a', { href: `/sweeps/${sweep}/jobs/${job}`, text: String(job) }) },
    { label: t('value'), kind: 'number', measure: ({ value }) => value ?? t('none') },
    { label: t('outcome'), render: ({ outcome }) => badgeOf(outcome) },
  ];
}
