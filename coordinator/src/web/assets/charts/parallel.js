// The parameters that vary and the objective as parallel axes, one line a job. Dragging along an axis leaves the jobs whose lines pass there;
// several such brushes on an axis leave those of any, and on several axes those of all.

import { Left, colour, el, fill, say } from '../dom.js';
import { clipped, count } from '../format.js';
import { atMost } from '../live.js';
import { ranks } from '../order.js';
import { choice } from '../parts.js';
import { t } from '../strings.js';
import { Axis, drawAxis } from './axis.js';
import { Brushes } from './brushes.js';
import { kinds } from './kinds.js';
import { Lines, RASTER_FROM, trace } from './lines.js';
import { jitter } from './scale.js';
import { Surface, colourRamp, note, open, spoken } from './surface.js';

const MARGIN = { left: 66, right: 50, top: 48, bottom: 26 };
/** Room between two axes; on narrow screens they stand closer, so that few of them need no scrolling. */
const AXIS_WIDTH_MIN = 96;
const AXIS_WIDTH_NARROW = 66;
const NARROW = 600;
const BRUSHED_MS = 400;
const GRAB = 16;
const SHARES = [100, 50, 25, 10, 5, 1];

/** The chart. */
export class Parallel {
  constructor(sweep, selection) {
    this.sweep = sweep;
    this.selection = selection;
    this.left = new Left(`parallel:${selection.key}`, { share: 100, brushes: {} });
    this.share = this.left.values.share;
    this.brushes = new Brushes(() => this.choose());
    this.surface = new Surface(3, () => this.draw(), {
      class: 'surface parallel',
      tabIndex: 0,
      role: 'application',
      'aria-roledescription': t('chart'),
      onpointerdown: (event) => this.press(event),
      onpointermove: (event) => this.move(event),
      onpointerup: (event) => this.release(event),
      onpointercancel: () => this.brushes.isDragging && this.brushes.release(),
      onpointerleave: () => !this.brushes.isDragging && this.selection.hover(null, this),
      onkeydown: (event) => this.key(event),
    });
    this.lines = new Lines(this.surface);
    this.controls = el('div', { class: 'controls' });
    this.count = el('span', { class: 'note', 'aria-live': 'polite' });
    const scrolls = el('div', { class: 'scrolls bare' }, this.surface.element);
    this.sideways = el('p', { class: 'note sideways', hidden: true, text: t('sideways') });
    const caption = el('figcaption', {}, el('h2', { text: t('parallel') }), this.controls);
    new ResizeObserver(() => (this.sideways.hidden = scrolls.scrollWidth <= scrolls.clientWidth)).observe(this.surface.element);
    this.element = el('figure', { class: 'wide' }, caption, this.sideways, scrolls, el('div', { class: 'under' }, this.count, el('span', { class: 'note ramp' }, t('worst'), colourRamp(), t('best'))));
    selection.on('hover', () => this.drawOver());
    selection.on('axes', () => this.columns && this.show(this.columns, this.metric));
    // Of very many lines only every now and then, so that there is something to see while a brush is dragged.
    const linesSoon = atMost(() => this.isPlaced && this.lines.draw(this), () => (this.columns.rows > RASTER_FROM ? BRUSHED_MS : 0));
    this.brushed = () => {
      // Otherwise all of it is drawn once it is on the screen.
      if (!this.isPlaced) return;
      this.drawOver();
      linesSoon();
    };
  }

  /** Whether the reader left it with some rows out. */
  get isBrushed() {
    return this.share < 100 || Object.values(this.left.values.brushes).some((ranges) => ranges.length);
  }

  /** Rows from the best to the worst, without those that have no objective. */
  get order() {
    return this.columns.order(this.metric.maximize);
  }

  /** Whether the axes of what is shown have their places: not before it is drawn. */
  get isPlaced() {
    return this.axes !== undefined && this.placed === this.axes;
  }

  /** Shows these columns. */
  show(columns, metric) {
    this.columns = columns;
    this.metric = metric;
    // Axes grow with what comes; brushes stay at their values.
    const brushed = this.axes ? this.brushes.values(this.axes) : this.left.values.brushes;
    const shown = [...columns.parameters, columns.get('objective')];
    this.axes = shown.map((column) => new Axis(column, column.isParameter ? column.label : metric.name, this.selection.axis(column, metric)));
    this.brushes.place(brushed, this.axes);
    const names = this.axes.map((axis) => axis.name).join('\n');
    if (names !== this.names) this.showControls();
    this.names = names;
    const apart = innerWidth < NARROW ? AXIS_WIDTH_NARROW : AXIS_WIDTH_MIN;
    this.surface.element.style.minWidth = `${MARGIN.left + MARGIN.right + (this.axes.length - 1) * apart}px`;
    this.surface.element.setAttribute('aria-label', t('parallel_label', { jobs: count(columns.rows), axes: this.axes.map((axis) => clipped(axis.label, 40)).join(', ') }));
    this.choose(true);
  }

  showControls() {
    const shares = SHARES.map((share) => [String(share), share === 100 ? t('all_jobs') : t('top_share', { share })]);
    const clear = () => {
      this.share = 100;
      this.brushes.clear();
      this.showControls();
      // The button is made anew and off: who pressed it goes on next to it.
      this.controls.querySelector('select').focus({ preventScroll: true });
    };
    this.clearing = el('button', { type: 'button', text: t('clear_brushes'), onclick: clear });
    fill(
      this.controls,
      choice(t('show'), shares, String(this.share), (share) => {
        this.share = Number(share);
        this.choose();
      }),
      this.brushes.form(() => this.axes),
      kinds(this.selection, () => this.axes),
      this.clearing,
    );
  }

  /** Decides which rows are left, and tells the others unless they are about to be shown anyway. */
  choose(isQuiet = false) {
    const { columns, axes, share } = this;
    if (!columns) return;
    this.left.keep({ share, brushes: this.brushes.values(axes) });
    const active = this.brushes.active(axes);
    this.clearing.disabled = !active.length && share === 100;
    if (!active.length && share === 100) {
      this.selection.choose(null, [], isQuiet);
    } else {
      const wanted = active.map(({ axis, ranges }) => this.brushes.wanted(axis, ranges));
      if (share < 100) wanted.push(this.best(share));
      const mask = new Uint8Array(columns.rows).fill(1);
      for (const { numbers, isLeft } of wanted) {
        for (let row = 0; row < mask.length; row += 1) if (mask[row] && !isLeft(numbers[row])) mask[row] = 0;
      }
      this.selection.choose(mask, wanted.map(({ where }) => where), isQuiet);
    }
    this.count.textContent = this.selection.mask
      ? t('brushed', { jobs: count(this.selection.count), all: count(columns.rows) })
      : t('brush_hint');
    if (isQuiet) this.surface.redraw();
    else this.brushed();
  }

  /** The best so many per cent; of equal ones all or none. */
  best(share) {
    const { columns, metric, order } = this;
    const limit = columns.objective[order[Math.ceil((order.length * share) / 100) - 1]] ?? NaN;
    const ranges = [metric.maximize ? [limit, null] : [null, limit]];
    const isLeft = metric.maximize ? (value) => value >= limit : (value) => value <= limit;
    return { numbers: columns.objective, isLeft, where: { column: 'objective', ranges } };
  }

  draw() {
    if (!this.columns) return;
    this.place();
    this.drawOver();
    this.lines.draw(this);
  }

  /** Where everything stands; as long as neither size nor data change, it stays there. */
  place() {
    const { width, height } = this.surface;
    if (this.isPlaced && this.placedAt === `${width} ${height}`) return;
    [this.placed, this.placedAt] = [this.axes, `${width} ${height}`];
    this.inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
    this.ranks = ranks(this.order, this.columns.objective);
    this.axes.forEach((axis, place) => {
      axis.x = MARGIN.left + (this.axes.length > 1 ? (place * this.inner.width) / (this.axes.length - 1) : this.inner.width / 2);
      axis.ys = this.crossings(axis);
    });
    this.surface.element.querySelectorAll('.grip').forEach((grip) => grip.remove());
    for (const { x } of this.axes) {
      const grip = el('div', { class: 'grip' });
      grip.style.left = `${x}px`;
      this.surface.element.insertBefore(grip, this.surface.note);
    }
  }

  /** Where each row crosses an axis. */
  crossings(axis) {
    const { job, rows } = this.columns;
    const { top } = MARGIN;
    const { height } = this.inner;
    const room = axis.scale.names ? 0.3 / axis.scale.names.length : 0;
    const ys = new Float32Array(rows);
    for (let row = 0; row < rows; row += 1) {
      const at = axis.parts[row];
      // What has no value ends below the axis.
      ys[row] = Number.isFinite(at) ? top + (1 - at - (room && jitter(job[row]) * room)) * height : top + height + 14;
    }
    return ys;
  }

  /** Axes, brushes, and the line that is pointed at. */
  drawOver() {
    if (!this.isPlaced) return;
    const layer = this.surface.clear(2);
    const row = this.selection.hovered === null ? -1 : this.columns.rowOf(this.selection.hovered);
    if (row >= 0) {
      layer.lineWidth = 5;
      layer.strokeStyle = colour('surface');
      layer.beginPath();
      trace(layer, this.axes, row);
      layer.stroke();
      layer.lineWidth = 2.5;
      layer.strokeStyle = colour('accent');
      layer.stroke();
    }
    layer.font = `11px ${colour('font')}`;
    const room = this.inner.width / Math.max(1, this.axes.length - 1) - 8;
    this.axes.forEach((axis, place) => {
      const end = place === 0 ? 'first' : place === this.axes.length - 1 ? 'last' : null;
      drawAxis(layer, axis, { end, room, margin: MARGIN, height: this.inner.height, brushes: this.brushes.of(axis.name) });
    });
    const isMine = row >= 0 && this.selection.by === this;
    this.surface.tell(isMine ? note(this.columns, row, this.metric) : null, ...(this.at ?? [0, 0]));
  }

  /** The axis at a place, or none. */
  axisAt(x) {
    return this.axes.find((axis) => Math.abs(axis.x - x) <= GRAB);
  }

  part(y) {
    return Math.max(0, Math.min(1, 1 - (y - MARGIN.top) / this.inner.height));
  }

  press(event) {
    const [x, y] = this.surface.point(event);
    const axis = this.isPlaced && this.axisAt(x);
    if (!axis || event.button !== 0) return;
    event.preventDefault();
    this.surface.element.focus({ preventScroll: true });
    this.surface.element.setPointerCapture(event.pointerId);
    this.brushes.press(axis.name, this.part(y));
  }

  move(event) {
    if (!this.isPlaced) return;
    const [x, y] = (this.at = this.surface.point(event));
    if (this.brushes.isDragging) {
      this.brushes.drag(this.part(y));
      return;
    }
    const row = this.nearest(x, y);
    this.selection.hover(row < 0 ? null : this.columns.job[row], this);
    if (row >= 0) this.drawOver();
  }

  release(event) {
    if (this.brushes.isDragging) this.brushes.release();
    else if (event.button === 0 && event.pointerType !== 'touch' && this.selection.hovered !== null) open(this.sweep, this.selection.hovered, event);
  }

  /** The row whose line passes nearest to a place, the best first, or -1. */
  nearest(x, y) {
    const next = this.axes.findIndex((axis) => axis.x >= x);
    if (next < 1) return -1;
    const [left, right] = [this.axes[next - 1], this.axes[next]];
    const part = (x - left.x) / (right.x - left.x);
    let found = -1;
    let least = 5;
    for (const row of this.order) {
      if (!this.selection.has(row)) continue;
      const distance = Math.abs(left.ys[row] * (1 - part) + right.ys[row] * part - y);
      if (distance < least) [found, least] = [row, distance];
      if (least < 0.5) break;
    }
    return found;
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const { hovered } = this.selection;
    if (event.key === 'Enter' && hovered !== null) open(this.sweep, hovered, event);
    if (event.key === 'Escape') this.selection.hover(null, this);
    if (!step || !this.columns?.rows || !this.order.length) return;
    event.preventDefault();
    let place = hovered === null ? (step > 0 ? -1 : this.order.length) : this.order.indexOf(this.columns.rowOf(hovered));
    do place += step;
    while (this.order[place] !== undefined && !this.selection.has(this.order[place]));
    const row = this.order[place];
    if (row === undefined) return;
    this.at = [MARGIN.left, MARGIN.top + 20];
    this.selection.hover(this.columns.job[row], this);
    say(spoken(this.columns, row, this.metric));
  }
}
