// Learning curves by uPlot: a line a job (or a metric), with a legend of our own, as its lines are jobs that other charts point at, too.

import { colour, el, foreign, onTheme, say, svg, update } from '../dom.js';
import { number, ticks } from '../format.js';
import { problem } from '../parts.js';
import { t } from '../strings.js';
import { evenRange, evenTicks, logRange, logTicks } from './ticks.js';

/** From this many times the smallest value, values are drawn on a logarithmic axis. */
const LOG_FROM = 100;

// Okabe and Ito's colours, which readers of all colour visions can tell apart; after them the same with dashes.
const COLOURS = 7;
/** Room for one tick, along the horizontal axis and the vertical one; and for the numbers of the latter, with what is free next to them. */
const TICK_WIDTH = 64;
const TICK_HEIGHT = 38;
const NUMBERS_WIDTH_MIN = 44;
const NUMBERS_GAP = 8;
/** A drag over fewer pixels is a click; and how long a click waits for a second one, which shows the whole again. */
const DRAG = 5;
const DOUBLE_MS = 350;
/** A step that uPlot takes for any: it looks for one before it asks for our ticks. */
const ANY_STEP = 1e308;
/** What texts are measured with. */
const ruler = el('canvas').getContext('2d');
const DASHES = [[], [7, 3], [2, 3]];

/** Lines over a common axis. `onHover(key)` hears of which line is pointed at, `onOpen(key, event)` of a click. */
export class Lines {
  constructor({ onHover, onOpen, label, height = 300, x = t('epoch') }) {
    Object.assign(this, { onHover, onOpen, height, x });
    this.series = [];
    this.plot = null;
    this.focused = null;
    /** The part of the horizontal axis that the reader chose, {min, max}; null for all of it. */
    this.zoom = null;
    this.host = el('div', {
      class: 'lines',
      tabIndex: 0,
      role: 'application',
      'aria-roledescription': t('chart'),
      'aria-label': label,
      onkeydown: (event) => this.key(event),
      onclick: (event) => this.click(event),
    });
    this.value = el('p', { class: 'note value' });
    this.legend = el('ul', { class: 'legend lines-legend' });
    this.unzoom = el('button', { type: 'button', class: 'unzoom', hidden: true, text: t('show_whole'), onclick: () => this.whole() });
    this.element = el('div', { class: 'lines-box' }, this.host, this.unzoom, this.value, this.legend);
    this.host.style.minHeight = `${height}px`;
    new ResizeObserver(() => this.plot?.setSize({ width: this.host.clientWidth, height })).observe(this.host);
    onTheme(() => this.draw());
  }

  /**
   * Shows lines: {key, title, note, x: [...], y: [...]}, all in order of x. `isStepped`: values hold until the next. Of the x axis, `isLog`, and
   * `isWhole`: it counts something.
   */
  async show(series, { y, x, isStepped = false, isLog = false, isWhole = true }) {
    this.uPlot ??= (await import('../uplot.js')).default;
    // A part of one axis is no part of another.
    if (isLog !== (this.isLog ?? isLog) || (x ?? this.x) !== this.x) this.zoomTo(null);
    Object.assign(this, { series, y, x: x ?? this.x, isStepped, isLog, isWhole });
    this.data = joined(series);
    this.isLogY = isWide(this.data.slice(1));
    // While only values are added, what is drawn stays where it is.
    const shape = JSON.stringify([series.map((line) => [line.key, line.title]), y, isLog, this.isLogY]);
    if (this.plot && shape === this.shape) this.attempt(() => this.plot.batch(() => this.renew()));
    else this.draw();
    this.shape = shape;
    this.showLegend();
  }

  /** Puts the data into what is drawn, which shows the same part of the axis as before. */
  renew() {
    this.plot.setData(this.data, !this.zoom);
    if (this.zoom) this.plot.setScale('x', { ...this.zoom });
  }

  /** Shows a part of the horizontal axis, or all of it. */
  zoomTo(zoom) {
    this.zoom = zoom;
    this.unzoom.hidden = !zoom;
    if (this.plot) this.attempt(() => this.plot.batch(() => this.renew()));
  }

  /** All of the axis. The button that asked for it goes: the keyboard goes on in the chart. */
  whole() {
    clearTimeout(this.opening);
    if (!this.zoom) return;
    if (document.activeElement === this.unzoom) this.host.focus({ preventScroll: true });
    this.zoomTo(null);
  }

  /** The reader has dragged over a part. */
  selected(plot) {
    const { left, width } = plot.select;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    const [min, max] = [left, left + width].map((at) => plot.posToVal(at, 'x'));
    if (max > min) this.zoomTo({ min, max });
  }

  /** Opens what is pointed at; of two clicks, where they show the whole, the first opens nothing. */
  click(event) {
    clearTimeout(this.opening);
    const { focused } = this;
    if (event.pointerType === 'touch' || focused === null || !this.onOpen) return;
    if (!this.zoom) this.onOpen(focused, event);
    else if (event.detail < 2) this.opening = setTimeout(() => this.onOpen(focused, event), DOUBLE_MS);
  }

  draw() {
    if (!this.uPlot) return;
    this.clear();
    if (!this.series.length) return;
    this.attempt(() => {
      this.plot = new this.uPlot(this.options(), this.data, this.host);
      // At once, and not after this function, where no one hears of an error.
      this.plot.batch(() => {});
    });
  }

  clear() {
    this.plot?.destroy();
    this.plot = null;
    this.host.replaceChildren();
  }

  /** Draws; what cannot be drawn is told in its place. */
  attempt(draw) {
    try {
      draw();
    } catch (error) {
      this.clear();
      this.host.append(problem(error));
    }
  }

  options() {
    const font = `11px ${colour('font')}`;
    const axis = { stroke: colour('muted'), grid: { stroke: colour('grid'), width: 1 }, ticks: { show: false }, font, labelFont: font, labelSize: 16, labelGap: 0, incrs: () => [ANY_STEP], filter: (_, splits) => splits, values: (_, values) => ticks(values) };
    const split = (isLog, isWhole, length, room) => (plot, _, min, max) => {
      const wanted = Math.max(2, Math.floor(length() / room));
      return isLog ? logTicks(min, max, wanted, isWhole) : evenTicks(min, max, wanted, isWhole);
    };
    const { height, isLog, isLogY, isWhole } = this;
    const ranged = (range) => (_, min, max) => (typeof min === 'number' ? range(min, max) : [null, null]);
    return {
      width: this.host.clientWidth,
      height,
      legend: { show: false },
      padding: [10, 22, 0, 0],
      cursor: { focus: { prox: 24 }, drag: { x: true, y: false, dist: DRAG, setScale: false }, points: { size: 6 }, bind: { dblclick: () => () => this.whole() } },
      focus: { alpha: 0.25 },
      scales: {
        x: { time: false, distr: isLog ? 3 : 1, range: isLog ? ranged(logRange) : undefined, ...this.zoom },
        y: { distr: isLogY ? 3 : 1, range: ranged(isLogY ? logRange : evenRange) },
      },
      axes: [
        { ...axis, splits: split(isLog, isWhole, () => this.host.clientWidth, TICK_WIDTH), label: this.x, size: 26 },
        { ...axis, splits: split(isLogY, false, () => height, TICK_HEIGHT), label: this.y, size: (_, texts) => NUMBERS_GAP + numbersWidth(texts, font) },
      ],
      series: [{}, ...this.series.map((_, place) => this.line(place))],
      hooks: { setSeries: [(plot, place) => this.pointed(place)], setCursor: [(plot) => this.tell(plot)], setSelect: [(plot) => this.selected(plot)] },
    };
  }

  line(place) {
    const few = this.series[place].x.length < 25;
    const points = { show: few && !this.isStepped, size: 4, fill: lineColour(place) };
    const paths = this.isStepped ? this.uPlot.paths.stepped({ align: 1 }) : undefined;
    return { stroke: lineColour(place), width: 1.75, dash: lineDash(place), spanGaps: false, paths, points };
  }

  pointed(place) {
    const key = place ? (this.series[place - 1]?.key ?? null) : null;
    if (key === this.focused || this.isTold) return;
    this.focused = key;
    this.mark();
    this.onHover?.(key);
  }

  tell(plot) {
    const at = plot.cursor.idx;
    const place = this.series.findIndex((line) => line.key === this.focused);
    const value = at === null || at === undefined || place < 0 ? undefined : this.data[place + 1][at];
    this.value.textContent = value === undefined || value === null ? '' : `${this.series[place].title}, ${this.x} ${number(this.data[0][at])}: ${number(value)}`;
  }

  /** Points at a line from outside, or at none. */
  point(key) {
    const place = this.series.findIndex((line) => line.key === key);
    if (!this.plot || key === this.focused) return;
    this.focused = place < 0 ? null : key;
    this.isTold = true;
    this.plot.setSeries(place < 0 ? null : place + 1, { focus: place >= 0 });
    this.isTold = false;
    this.mark();
  }

  mark() {
    for (const item of this.legend.children) item.classList.toggle('is-hovered', item.dataset.key === String(this.focused));
  }

  showLegend() {
    const items = this.series.map((line, place) => {
      const shown = [key(place), el('b', {}, foreign(line.title)), line.note && foreign(line.note, { class: 'foreign note' })];
      const content = line.href ? el('a', { href: line.href }, shown) : shown;
      const hover = (to) => () => {
        this.point(to);
        this.onHover?.(to);
      };
      return el('li', { 'data-key': line.key, onpointerenter: hover(line.key), onpointerleave: hover(null) }, content);
    });
    update(this.legend, items);
    // With fewer lines, what stands below stays where it is.
    this.legend.style.minHeight = `${this.legend.offsetHeight}px`;
    this.mark();
  }

  key(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === 'Escape') this.whole();
    if (event.key === 'Enter' && this.focused !== null) this.onOpen?.(this.focused, event);
    if ((!step && !along) || !this.series.length) return;
    event.preventDefault();
    const place = this.series.findIndex((line) => line.key === this.focused);
    const count = this.series.length;
    const line = this.series[step ? (place < 0 ? (step > 0 ? 0 : count - 1) : (place + step + count) % count) : Math.max(0, place)];
    this.at = Math.max(0, Math.min(line.x.length - 1, along ? (this.at ?? -1) + along : (this.at ?? line.x.length - 1)));
    this.point(line.key);
    this.onHover?.(line.key);
    const text = `${line.title}, ${this.x} ${line.x[this.at]}: ${number(line.y[this.at]) || t('none')}`;
    this.value.textContent = text;
    say(`${text}. ${line.note ?? ''}`);
  }
}

/** How wide the longest number of the vertical axis is. */
function numbersWidth(texts, font) {
  ruler.font = font;
  return Math.max(NUMBERS_WIDTH_MIN, ...(texts ?? []).map((text) => Math.ceil(ruler.measureText(text).width)));
}

/** The colour of a line. */
function lineColour(place) {
  return colour(`line-${place % COLOURS}`);
}

function lineDash(place) {
  return DASHES[Math.floor(place / COLOURS) % DASHES.length];
}

/** A line's colour and dashes, for the legend. */
function key(place) {
  const line = svg('line', { x1: 0, y1: 4, x2: 22, y2: 4, 'stroke-width': 2, 'stroke-dasharray': lineDash(place).join(' ') || 'none', stroke: `var(--line-${place % COLOURS})` });
  return svg('svg', { class: 'key', viewBox: '0 0 22 8', 'aria-hidden': 'true' }, line);
}

/** Lines with a common x, as uPlot wants them. */
function joined(series) {
  const xs = [...new Set(series.flatMap((line) => [...line.x]))].sort((a, b) => a - b);
  const place = new Map(xs.map((x, at) => [x, at]));
  const columns = series.map((line) => {
    const column = new Array(xs.length).fill(undefined);
    line.x.forEach((x, at) => (column[place.get(x)] = finite(line.y[at])));
    return column;
  });
  return [xs, ...columns];
}

/** Whether values are positive and far apart, so that a logarithmic axis shows them better. */
function isWide(columns) {
  let [min, max] = [Infinity, 0];
  for (const column of columns) {
    for (const value of column) {
      if (typeof value !== 'number') continue;
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
  }
  return min > 0 && max / min > LOG_FROM;
}

/** JSON has texts for what is no number. */
function finite(value) {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}
