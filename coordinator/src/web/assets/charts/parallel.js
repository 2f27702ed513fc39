// The parameters that vary and the objective as parallel axes, one line a job. Dragging along an axis leaves the jobs whose lines pass there;
// several such brushes on an axis leave those of any, and on several axes those of all.
//
// Lines are drawn in slices of a few milliseconds, the best first and the others behind them, so that a hundred thousand hold up nothing.

import { colour, el, fill, say } from '../dom.js';
import { clipped, count } from '../format.js';
import { best, ranks } from '../order.js';
import { choice } from '../parts.js';
import { t } from '../strings.js';
import { Brushes } from './brushes.js';
import { RANK_COLOURS, Scale, jitter, rankColour, rankColours } from './scale.js';
import { Surface, isDark, note, open, spoken } from './surface.js';

const MARGIN = { left: 50, right: 50, top: 40, bottom: 26 };
const AXIS_WIDTH_MIN = 92;
const SLICE_MS = 8;
const LINES_IN_PATH = 64;
const GRAB = 16;
const SHARES = [100, 50, 25, 10, 5, 1];

/** The chart. */
export class Parallel {
  constructor(sweep, selection) {
    this.sweep = sweep;
    this.selection = selection;
    this.share = 100;
    this.brushes = new Brushes(() => this.choose());
    this.surface = new Surface(3, () => this.draw(), {
      class: 'surface parallel',
      tabIndex: 0,
      role: 'application',
      'aria-roledescription': t('chart'),
      onpointerdown: (event) => this.press(event),
      onpointermove: (event) => this.move(event),
      onpointerup: (event) => this.release(event),
      onpointerleave: () => !this.brushes.isDragging && this.selection.hover(null, this),
      onkeydown: (event) => this.key(event),
    });
    this.controls = el('div', { class: 'controls' });
    this.count = el('span', { class: 'note', 'aria-live': 'polite' });
    const scrolls = el('div', { class: 'scrolls bare' }, this.surface.element);
    const caption = el('figcaption', {}, el('h2', { text: t('parallel') }), this.controls);
    this.element = el('figure', {}, caption, scrolls, el('div', { class: 'under' }, this.count, this.ramp()));
    selection.on('hover', () => this.drawOver());
  }

  /** What the colours mean. */
  ramp() {
    const bar = el('canvas', { width: 96, height: 8, 'aria-hidden': 'true' });
    const layer = bar.getContext('2d');
    rankColours(isDark()).forEach((one, place) => {
      layer.fillStyle = one;
      layer.fillRect(96 - (place + 1) * 4, 0, 4, 8);
    });
    return el('span', { class: 'note ramp' }, t('worst'), bar, t('best'));
  }

  /** Shows these columns. */
  show(columns, metric) {
    this.columns = columns;
    this.metric = metric;
    this.order = best(columns.objective, metric.maximize);
    this.ranks = ranks(this.order, columns.rows);
    const shown = [...columns.parameters, columns.get('objective')];
    this.axes = shown.map((column) => ({
      name: column.name,
      label: column.isParameter ? column.label : metric.name,
      numbers: column.numbers,
      scale: new Scale(column.numbers, column.isCategorical ? column.names : undefined),
    }));
    const names = this.axes.map((axis) => axis.name).join('\n');
    if (names !== this.names) this.showControls();
    this.names = names;
    this.surface.element.style.minWidth = `${MARGIN.left + MARGIN.right + (this.axes.length - 1) * AXIS_WIDTH_MIN}px`;
    this.surface.element.setAttribute('aria-label', t('parallel_label', { jobs: count(columns.rows), axes: this.axes.map((axis) => clipped(axis.label, 40)).join(', ') }));
    this.choose();
  }

  showControls() {
    const shares = SHARES.map((share) => [String(share), share === 100 ? t('all_jobs') : t('top_share', { share })]);
    const clear = () => {
      this.share = 100;
      this.brushes.clear();
      this.showControls();
    };
    this.clearing = el('button', { type: 'button', text: t('clear_brushes'), onclick: clear });
    fill(
      this.controls,
      choice(t('show'), shares, String(this.share), (share) => {
        this.share = Number(share);
        this.choose();
      }),
      this.brushes.form(this.axes),
      this.clearing,
    );
  }

  /** Tells the others which rows are left. */
  choose() {
    const { columns, axes, order, share } = this;
    if (!columns) return;
    const active = this.brushes.active(axes);
    this.clearing.disabled = !active.length && share === 100;
    if (!active.length && share === 100) {
      this.selection.choose(null);
    } else {
      const mask = new Uint8Array(columns.rows).fill(share === 100 ? 1 : 0);
      if (share < 100) for (const row of order.subarray(0, Math.ceil((order.length * share) / 100))) mask[row] = 1;
      for (const { axis, ranges } of active) {
        for (let row = 0; row < mask.length; row += 1) {
          const at = axis.scale.at(axis.numbers[row]);
          if (mask[row] && !ranges.some(([from, to]) => at >= from && at <= to)) mask[row] = 0;
        }
      }
      this.selection.choose(mask);
    }
    this.count.textContent = this.selection.mask
      ? t('brushed', { jobs: count(this.selection.count), all: count(columns.rows) })
      : t('brush_hint');
    this.surface.redraw();
  }

  draw() {
    if (!this.columns) return;
    const { width, height } = this.surface;
    this.inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
    this.axes.forEach((axis, place) => {
      axis.x = MARGIN.left + (this.axes.length > 1 ? (place * this.inner.width) / (this.axes.length - 1) : this.inner.width / 2);
      axis.room = axis.scale.names ? 0.3 / axis.scale.names.length : 0;
    });
    this.drawOver();
    this.drawLines();
  }

  y(axis, row) {
    const at = axis.scale.at(axis.numbers[row]);
    // What has no value ends below the axis.
    if (!Number.isFinite(at)) return MARGIN.top + this.inner.height + 14;
    const moved = axis.room ? at + jitter(this.columns.job[row]) * axis.room : at;
    return MARGIN.top + (1 - moved) * this.inner.height;
  }

  trace(layer, row) {
    this.axes.forEach((axis, place) => (place ? layer.lineTo(axis.x, this.y(axis, row)) : layer.moveTo(axis.x, this.y(axis, row))));
  }

  /** Rows to draw, from the best: chosen ones in the first layer from above, then the others, grey, in the lowest. */
  *pending() {
    const { selection, order, columns, ranks: rank } = this;
    for (const row of order) if (selection.has(row)) yield [1, rankColour(rank[row]), row];
    for (let row = 0; row < columns.rows; row += 1) if (Number.isNaN(rank[row]) && selection.has(row)) yield [1, RANK_COLOURS, row];
    if (selection.mask) for (const row of order) if (!selection.has(row)) yield [0, RANK_COLOURS, row];
  }

  drawLines() {
    const layers = [this.surface.clear(0), this.surface.clear(1)];
    const chosen = this.selection.mask ? this.selection.count : this.columns.rows;
    const alpha = chosen < 150 ? 0.9 : chosen < 1_500 ? 0.55 : chosen < 15_000 ? 0.3 : 0.16;
    const colours = [...rankColours(isDark()), colour('dim')];
    for (const layer of layers) {
      layer.globalCompositeOperation = 'destination-over';
      layer.lineWidth = chosen < 150 ? 1.5 : 1;
    }
    layers[0].globalAlpha = this.columns.rows < 1_500 ? 0.5 : 0.12;
    layers[1].globalAlpha = alpha;
    const rows = this.pending();
    const turn = (this.turn = {});
    const slice = () => {
      if (turn !== this.turn) return;
      const end = performance.now() + SLICE_MS;
      let isOver = false;
      while (!isOver && performance.now() < end) isOver = this.drawPath(layers, colours, rows);
      if (!isOver) requestAnimationFrame(slice);
    };
    slice();
  }

  /** Draws some lines of one colour as one path; whether these were the last. */
  drawPath(layers, colours, rows) {
    let last = null;
    for (let lines = 0; lines < LINES_IN_PATH; lines += 1) {
      const { value, done } = rows.next();
      if (last && (done || value[0] !== last[0] || value[1] !== last[1])) layers[last[0]].stroke();
      if (done) return true;
      const [place, shade, row] = value;
      if (!last || place !== last[0] || shade !== last[1]) {
        layers[place].beginPath();
        layers[place].strokeStyle = colours[shade];
      }
      this.trace(layers[place], row);
      last = value;
    }
    layers[last[0]].stroke();
    return false;
  }

  /** Axes, brushes, and the line that is pointed at. */
  drawOver() {
    if (!this.columns || !this.inner) return;
    const layer = this.surface.clear(2);
    const row = this.selection.hovered === null ? -1 : this.columns.rowOf(this.selection.hovered);
    if (row >= 0) {
      layer.lineWidth = 5;
      layer.strokeStyle = colour('surface');
      layer.beginPath();
      this.trace(layer, row);
      layer.stroke();
      layer.lineWidth = 2.5;
      layer.strokeStyle = colour('accent');
      layer.stroke();
    }
    layer.font = `11px ${colour('font')}`;
    this.axes.forEach((axis, place) => this.drawAxis(layer, axis, place));
    const isMine = row >= 0 && this.selection.by === this;
    this.surface.tell(isMine ? note(this.columns, row, this.metric) : null, ...(this.at ?? [0, 0]));
  }

  drawAxis(layer, axis, place) {
    const { top } = MARGIN;
    const { height } = this.inner;
    layer.strokeStyle = colour('muted');
    layer.lineWidth = 1;
    layer.strokeRect(Math.round(axis.x) + 0.5, top, 0, height);
    for (const [from, to] of this.brushes.of(axis.name)) {
      layer.fillStyle = colour('brush');
      layer.strokeStyle = colour('accent');
      layer.fillRect(axis.x - 7, top + (1 - to) * height, 14, (to - from) * height);
      layer.strokeRect(axis.x - 7, top + (1 - to) * height, 14, (to - from) * height);
    }
    const isLast = place === this.axes.length - 1;
    layer.textBaseline = 'middle';
    layer.textAlign = isLast ? 'left' : 'right';
    const side = isLast ? 8 : -8;
    for (const { at, text } of axis.scale.ticks(Math.max(2, Math.floor(height / 45)))) {
      this.label(layer, clipped(text, 12), axis.x + side, top + (1 - at) * height, 'muted');
    }
    if (axis.scale.lacks) this.label(layer, t('none'), axis.x + side, top + height + 14, 'muted');
    layer.textAlign = place === 0 ? 'left' : isLast ? 'right' : 'center';
    const shift = place === 0 ? -MARGIN.left + 4 : isLast ? MARGIN.right - 4 : 0;
    const label = clipped(axis.label, 16) + (axis.scale.isLog ? ` ${t('log')}` : '');
    this.label(layer, label, axis.x + shift, top - 22, 'text');
  }

  /** Text with an edge, so that it can be read above lines. */
  label(layer, text, x, y, shade) {
    layer.strokeStyle = colour('surface');
    layer.lineWidth = 3;
    layer.lineJoin = 'round';
    layer.strokeText(text, x, y);
    layer.fillStyle = colour(shade);
    layer.fillText(text, x, y);
  }

  /** The axis at a place, or none. */
  axisAt(x) {
    return this.axes?.find((axis) => Math.abs(axis.x - x) <= GRAB);
  }

  part(y) {
    return Math.max(0, Math.min(1, 1 - (y - MARGIN.top) / this.inner.height));
  }

  press(event) {
    const [x, y] = this.surface.point(event);
    const axis = this.axisAt(x);
    if (!axis || event.button !== 0) return;
    event.preventDefault();
    this.surface.element.focus({ preventScroll: true });
    this.surface.element.setPointerCapture(event.pointerId);
    this.brushes.press(axis.name, this.part(y));
  }

  move(event) {
    if (!this.inner) return;
    const [x, y] = (this.at = this.surface.point(event));
    if (this.brushes.isDragging) {
      this.brushes.drag(this.part(y));
      return;
    }
    this.surface.element.style.cursor = this.axisAt(x) ? 'ns-resize' : '';
    const row = this.nearest(x, y);
    this.selection.hover(row < 0 ? null : this.columns.job[row], this);
    if (row >= 0) this.drawOver();
  }

  release(event) {
    if (this.brushes.isDragging) this.brushes.release();
    else if (event.button === 0 && this.selection.hovered !== null) open(this.sweep, this.selection.hovered, event);
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
      const distance = Math.abs(this.y(left, row) * (1 - part) + this.y(right, row) * part - y);
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
    if (!step || !this.order?.length) return;
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
