// Any column against the objective, one point a job; with the training time, the jobs than which none is both quicker and better.

import { PARAMETER } from '../api.js';
import { Left, colour, el, fill, say } from '../dom.js';
import { count } from '../format.js';
import { pareto, rising } from '../order.js';
import { choice } from '../parts.js';
import { t } from '../strings.js';
import { kinds } from './kinds.js';
import { Cloud } from './raster.js';
import { Scale, jitter, triple } from './scale.js';
import { Surface, note, open, spoken } from './surface.js';

const MARGIN = { left: 62, right: 14, top: 12, bottom: 42 };
/** Pixels of a cell in which the nearest point is looked for, and how far it may be. */
const CELL = 12;
const REACH = 12;
/** With more points than this, pixels are drawn and not shapes: a canvas takes a call for each of those. */
const PIXELS_FROM = 4_000;
/** From how many points on they are smaller: [points, pixels]. Those below 5 pixels are squares. */
const SIZES = [
  [20_000, 2],
  [4_000, 3],
  [800, 5],
  [0, 7],
];

/** The chart. */
export class Scatter {
  constructor(sweep, selection) {
    this.sweep = sweep;
    this.selection = selection;
    this.left = new Left(`scatter:${selection.key}`, { x: 'train_seconds' });
    this.x = this.left.values.x;
    this.surface = new Surface(2, () => this.draw(), {
      class: 'surface scatter',
      tabIndex: 0,
      role: 'application',
      'aria-roledescription': t('chart'),
      onpointermove: (event) => this.point(event),
      onpointerleave: () => this.selection.hover(null, this),
      onclick: (event) => this.click(event),
      onkeydown: (event) => this.key(event),
    });
    this.controls = el('div', { class: 'controls' });
    this.front = el('span', { class: 'note' });
    this.element = el('figure', {}, el('figcaption', {}, el('h2', { text: t('scatter') }), this.controls), this.surface.element, this.front);
    selection.on('hover', () => this.drawHover());
    selection.on('mask', () => this.surface.redraw());
    selection.on('axes', () => this.columns && this.against(this.x));
  }

  /** Whether a parameter is on its axis, so that nothing is shown without it. */
  get isOfParameter() {
    return this.left.values.x.startsWith(PARAMETER);
  }

  /** Shows these columns. That those of the parameters have come makes no difference to what is drawn. */
  show(columns, metric) {
    const isNew = columns !== this.columns || metric !== this.metric;
    const wanted = this.left.values.x;
    this.columns = columns;
    this.metric = metric;
    if (isNew) this.byState = columns.rowsByState();
    const options = [
      ['train_seconds', t('train_time')],
      ['job', t('job_number')],
      ['epochs_done', t('epochs')],
      ...columns.varying.map(({ name, label }) => [name, label]),
    ];
    const names = options.map(([name]) => name).join();
    if (names !== this.names) {
      this.names = names;
      fill(this.controls, choice(t('horizontal'), options, options.some(([name]) => name === wanted) ? wanted : 'train_seconds', (x) => {
        this.left.keep({ x });
        this.against(x);
      }), kinds(this.selection, () => this.axes()));
    }
    // The reader may have chosen a parameter before they came.
    if (isNew || this.x !== wanted) this.against(wanted);
  }

  /** Its two axes, for their menu. */
  axes() {
    return [
      { name: this.x, label: this.title, scale: this.horizontal },
      { name: 'objective', label: this.metric.name, scale: this.vertical },
    ];
  }

  against(x) {
    this.x = this.columns.get(x) ? x : 'train_seconds';
    const { columns } = this;
    const column = columns.get(this.x);
    this.across = column.numbers;
    this.orders = {};
    const scale = (of) => new Scale(of, this.selection.axis(of, this.metric));
    this.horizontal = scale(column).padded(0.02);
    this.vertical = scale(columns.get('objective')).padded(0.04);
    this.pareto = this.x === 'train_seconds' ? pareto(columns.seconds, columns.objective, this.metric.maximize, columns.isIn('done')) : [];
    this.title = this.x === 'train_seconds' ? t('train_time_axis') : this.x === 'job' ? t('job_number') : this.x === 'epochs_done' ? t('epochs') : column.label;
    const shown = columns.withObjective;
    this.front.textContent = this.pareto.length ? t('front', { jobs: count(this.pareto.length) }) : t('points', { jobs: count(shown) });
    this.surface.element.setAttribute('aria-label', t('scatter_label', { jobs: count(shown), x: this.title, y: this.metric.name }));
    this.surface.redraw();
  }

  place() {
    const { width, height } = this.surface;
    const { columns, across, horizontal, vertical } = this;
    const inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
    const room = horizontal.names ? (0.32 * inner.width) / horizontal.names.length : 0;
    const xs = horizontal.places(across);
    const ys = vertical.places(columns.objective);
    for (let row = 0; row < columns.rows; row += 1) {
      // What is infinite has no place, as on a logarithmic axis nothing has that is not positive.
      xs[row] = Number.isFinite(xs[row]) ? MARGIN.left + xs[row] * inner.width + (room && jitter(columns.job[row]) * room) : NaN;
      ys[row] = Number.isFinite(ys[row]) ? MARGIN.top + (1 - ys[row]) * inner.height : NaN;
    }
    Object.assign(this, { xs, ys, inner });
    this.cells = null;
  }

  draw() {
    if (!this.columns) return;
    this.place();
    const layer = this.surface.clear(0);
    this.drawAxes(layer);
    const { selection, columns } = this;
    const size = SIZES.find(([from]) => columns.rows >= from)[1];
    const alpha = size < 3 ? 0.6 : 0.85;
    // Those that brushes leave lie above the others.
    const parts = this.byState.map(([state, rows]) => ({ shade: colour(`state-${state}`), alpha, rows, left: 1 }));
    if (selection.mask) parts.unshift({ shade: colour('dim'), alpha: 1, rows: Uint32Array.from(this.xs.keys()), left: 0 });
    if (columns.rows > PIXELS_FROM) this.drawPixels(layer, size, parts);
    else parts.forEach((part) => this.drawPoints(layer, size, part));
    this.drawFront(layer);
    this.drawHover();
  }

  /** Draws the points of some rows as squares of pixels. */
  drawPixels(layer, size, parts) {
    const { xs, ys, surface } = this;
    const { mask } = this.selection;
    const { density } = surface;
    const cloud = new Cloud(layer.canvas.width, layer.canvas.height, Math.max(1, Math.round(size * density)));
    for (const { shade, alpha, rows, left } of parts) {
      for (let place = 0; place < rows.length; place += 1) {
        const row = rows[place];
        // NaN is no place.
        if (xs[row] + ys[row] > 0 && (!mask || mask[row] === left)) cloud.point(xs[row] * density, ys[row] * density);
      }
      cloud.paint(triple(shade), alpha);
    }
    const canvas = el('canvas', { width: layer.canvas.width, height: layer.canvas.height });
    canvas.getContext('2d').putImageData(cloud.image, 0, 0);
    layer.drawImage(canvas, 0, 0, surface.width, surface.height);
  }

  /** Draws the points of some rows: of those that brushes leave (`left` is 1) or of the others (0). */
  drawPoints(layer, size, { shade, alpha, rows, left }) {
    const { xs, ys } = this;
    const { mask } = this.selection;
    layer.fillStyle = shade;
    layer.globalAlpha = alpha;
    const half = size / 2;
    layer.beginPath();
    for (const row of rows) {
      const [x, y] = [xs[row], ys[row]];
      // NaN is no place.
      if (!(x + y > 0) || (mask && mask[row] !== left)) continue;
      if (size < 5) layer.fillRect(x - half, y - half, size, size);
      else {
        layer.moveTo(x + half, y);
        layer.arc(x, y, half, 0, 2 * Math.PI);
      }
    }
    layer.fill();
    layer.globalAlpha = 1;
  }

  drawAxes(layer) {
    const { inner, horizontal, vertical } = this;
    const bottom = MARGIN.top + inner.height;
    layer.font = `11px ${colour('font')}`;
    layer.fillStyle = colour('muted');
    layer.strokeStyle = colour('grid');
    layer.lineWidth = 1;
    layer.textAlign = 'right';
    layer.textBaseline = 'middle';
    layer.beginPath();
    for (const { at, text } of vertical.ticks(6)) {
      const y = Math.round(MARGIN.top + (1 - at) * inner.height) + 0.5;
      layer.moveTo(MARGIN.left, y);
      layer.lineTo(MARGIN.left + inner.width, y);
      layer.fillText(text, MARGIN.left - 6, y, MARGIN.left - 18);
    }
    layer.textAlign = 'center';
    layer.textBaseline = 'top';
    const ticks = horizontal.ticks(Math.max(2, Math.floor(inner.width / 80)));
    for (const { at, text } of ticks) {
      const x = Math.round(MARGIN.left + at * inner.width) + 0.5;
      layer.moveTo(x, MARGIN.top);
      layer.lineTo(x, bottom);
      layer.fillText(text.slice(0, 40), x, bottom + 6, inner.width / ticks.length - 6);
    }
    layer.stroke();
    layer.fillStyle = colour('text');
    const title = (text, { isLog }) => (isLog ? `${text.slice(0, 80)} ${t('log')}` : text.slice(0, 80));
    layer.fillText(title(this.title, horizontal), MARGIN.left + inner.width / 2, bottom + 24, inner.width);
    layer.save();
    layer.translate(10, MARGIN.top + inner.height / 2);
    layer.rotate(-Math.PI / 2);
    layer.textBaseline = 'middle';
    layer.fillText(title(this.metric.name, vertical), 0, 0, inner.height);
    layer.restore();
  }

  drawFront(layer) {
    const { xs, ys } = this;
    if (!this.pareto.length) return;
    layer.strokeStyle = colour('text');
    layer.lineWidth = 1.25;
    layer.beginPath();
    this.pareto.forEach((row, place) => {
      if (place) {
        layer.lineTo(xs[row], ys[this.pareto[place - 1]]);
        layer.lineTo(xs[row], ys[row]);
      } else layer.moveTo(xs[row], ys[row]);
    });
    layer.stroke();
    for (const row of this.pareto) {
      layer.beginPath();
      layer.arc(xs[row], ys[row], 4.5, 0, 2 * Math.PI);
      layer.stroke();
    }
  }

  drawHover() {
    if (!this.columns || !this.xs) return;
    const layer = this.surface.clear(1);
    const row = this.selection.hovered === null ? -1 : this.columns.rowOf(this.selection.hovered);
    const [x, y] = [this.xs[row], this.ys[row]];
    const isSeen = row >= 0 && x + y > 0;
    if (isSeen) {
      layer.strokeStyle = colour('text');
      layer.lineWidth = 2;
      layer.beginPath();
      layer.arc(x, y, 7, 0, 2 * Math.PI);
      layer.stroke();
    }
    this.surface.tell(isSeen && this.selection.by === this ? note(this.columns, row, this.metric) : null, x, y);
    this.surface.element.style.cursor = isSeen ? 'pointer' : '';
  }

  /** The row of the point nearest to a place, or -1. Points are sorted into cells when first asked. */
  nearest(x, y) {
    this.cells ??= new Cells(this.xs, this.ys, this.surface.width);
    let found = -1;
    let least = REACH * REACH;
    this.cells.near(x, y, (row) => {
      const distance = (this.xs[row] - x) ** 2 + (this.ys[row] - y) ** 2;
      if (distance < least && this.selection.has(row)) [found, least] = [row, distance];
    });
    return found;
  }

  point(event) {
    if (!this.xs) return;
    const row = this.nearest(...this.surface.point(event));
    this.selection.hover(row < 0 ? null : this.columns.job[row], this);
  }

  /** Opens the job. Where a finger points, the first touch shows it. */
  click(event) {
    const { hovered } = this.selection;
    if (hovered === null) return;
    if (event.pointerType === 'touch' && this.touched !== hovered) this.touched = hovered;
    else open(this.sweep, hovered, event);
  }

  key(event) {
    const steps = { ArrowLeft: ['x', -1], ArrowRight: ['x', 1], ArrowDown: ['y', -1], ArrowUp: ['y', 1] };
    const hovered = this.selection.hovered;
    if (event.key === 'Enter' && hovered !== null) open(this.sweep, hovered, event);
    if (event.key === 'Escape') this.selection.hover(null, this);
    if (!steps[event.key] || !this.columns?.rows || !this.xs) return;
    event.preventDefault();
    const [axis, step] = steps[event.key];
    const row = this.next(axis, step, hovered === null ? -1 : this.columns.rowOf(hovered));
    if (row < 0) return;
    this.selection.hover(this.columns.job[row], this);
    say(spoken(this.columns, row, this.metric));
  }

  /** The next row by one of the axes that is drawn. */
  next(axis, step, row) {
    const order = (this.orders[axis] ??= rising(axis === 'x' ? this.across : this.columns.objective));
    let place = row < 0 ? (step > 0 ? -1 : order.length) : order.indexOf(row);
    do place += step;
    while (place >= 0 && place < order.length && !(this.xs[order[place]] + this.ys[order[place]] > 0 && this.selection.has(order[place])));
    return place >= 0 && place < order.length ? order[place] : -1;
  }
}

/** Points by the cells of a raster. */
class Cells {
  constructor(xs, ys, width) {
    this.across = Math.ceil(width / CELL) + 1;
    const cell = (row) => Math.floor(ys[row] / CELL) * this.across + Math.floor(xs[row] / CELL);
    const isIn = (row) => xs[row] + ys[row] > 0;
    let last = 0;
    for (let row = 0; row < xs.length; row += 1) if (isIn(row)) last = Math.max(last, cell(row));
    this.starts = new Uint32Array(last + 2);
    for (let row = 0; row < xs.length; row += 1) if (isIn(row)) this.starts[cell(row) + 1] += 1;
    for (let place = 1; place < this.starts.length; place += 1) this.starts[place] += this.starts[place - 1];
    this.rows = new Uint32Array(this.starts[last + 1]);
    const next = this.starts.slice();
    for (let row = 0; row < xs.length; row += 1) if (isIn(row)) this.rows[next[cell(row)]++] = row;
  }

  near(x, y, visit) {
    for (let down = Math.floor(y / CELL) - 1; down <= Math.floor(y / CELL) + 1; down += 1) {
      for (let across = Math.floor(x / CELL) - 1; across <= Math.floor(x / CELL) + 1; across += 1) {
        const cell = down * this.across + across;
        if (cell < 0 || cell + 1 >= this.starts.length || across < 0 || across >= this.across) continue;
        for (let place = this.starts[cell]; place < this.starts[cell + 1]; place += 1) visit(this.rows[place]);
      }
    }
  }
}
