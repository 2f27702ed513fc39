// Two parameters against each other: what the jobs that are done reached in each cell, in the mean or at best, and how many they are.

import { Left, colour, el, fill, foreign, say } from '../dom.js';
import { clipped, column, count, number } from '../format.js';
import { choice } from '../parts.js';
import { t } from '../strings.js';
import { Side, reached, telling } from './cells.js';
import { RANK_COLOURS, Scale, css, rankColours } from './scale.js';
import { Surface, colourRamp, isDark, open } from './surface.js';

const MARGIN = { left: 92, right: 10, top: 6, bottom: 58 };
/** Room that a cell needs for its value, and for how many jobs it has below. */
const TEXT_WIDTH = 40;
const TEXT_HEIGHT = 17;
const COUNT_HEIGHT = 32;
/** Most room that a label of the horizontal axis takes. */
const LABEL_WIDTH_MAX = 120;

/** The chart. */
export class HeatMap {
  constructor(sweep, selection) {
    Object.assign(this, { sweep, selection });
    this.left = new Left(`heatmap:${selection.key}`, { across: null, down: null, measure: 'mean' });
    Object.assign(this, this.left.values);
    /** Whether the reader has chosen the parameters. */
    this.isChosen = this.across !== null;
    this.surface = new Surface(2, () => this.draw(), {
      class: 'surface heatmap',
      tabIndex: 0,
      role: 'application',
      'aria-roledescription': t('chart'),
      onpointermove: (event) => this.move(event),
      onpointerleave: () => this.point(null),
      onclick: (event) => this.click(event),
      onkeydown: (event) => this.key(event),
    });
    this.controls = el('div', { class: 'controls' });
    this.worst = el('span');
    this.best = el('span');
    this.note = el('span', { class: 'note' });
    this.scaled = el('span');
    const legend = el('span', { class: 'note ramp' }, this.worst, colourRamp(), this.best, this.scaled);
    this.element = el('figure', {}, el('figcaption', {}, el('h2', { text: t('heatmap') }), this.controls), this.surface.element, el('div', { class: 'under' }, this.note, legend));
    // A sweep of one parameter has no cells.
    for (const what of ['mask', 'axes']) selection.on(what, () => this.cells && this.arrange());
  }

  /** Shows these columns. */
  show(columns, metric) {
    Object.assign(this, { columns, metric });
    const { parameters } = columns;
    this.element.hidden = parameters.length < 2;
    if (this.element.hidden) return;
    const isThere = (name) => parameters.some((column) => column.name === name);
    // The first jobs say little of which tell most; who looks at a map keeps it.
    const isFree = !this.isChosen && !this.element.matches(':hover, :focus-within');
    if (isFree || !isThere(this.across) || !isThere(this.down)) this.chooseBy(columns);
    if (this.offered() !== this.shown) this.showControls();
    this.arrange();
  }

  /** The two parameters that tell most, until the reader chooses others. */
  chooseBy(columns) {
    const [across, down] = telling(columns, columns.isIn('done'));
    [this.across, this.down] = [across.name, down.name];
  }

  /** What there is to choose from, and what is chosen. */
  offered() {
    return [this.across, this.down, ...this.columns.parameters.map(({ name }) => name)].join('\n');
  }

  showControls() {
    this.shown = this.offered();
    const options = this.columns.parameters.map(({ name, label }) => [name, label]);
    const chosen = (key, other) => (name) => {
      // A parameter against itself says nothing: the two change places.
      if (this[other] === name) this[other] = this[key];
      this[key] = name;
      this.isChosen = true;
      this.keep();
      this.showControls();
      this.arrange();
      this.controls.querySelectorAll('select')[key === 'across' ? 0 : 1].focus();
    };
    const measures = [['mean', t('mean')], ['best', t('best')]];
    fill(
      this.controls,
      choice(t('horizontal'), options, this.across, chosen('across', 'down')),
      choice(t('vertical'), options, this.down, chosen('down', 'across')),
      choice(t('shows'), measures, this.measure, (measure) => {
        this.measure = measure;
        this.keep();
        this.arrange();
      }),
    );
  }

  keep() {
    const { across, down, measure, isChosen } = this;
    this.left.keep(isChosen ? { across, down, measure } : { measure });
  }

  /** What is in the cells. */
  arrange() {
    const { columns, metric, selection, measure } = this;
    this.sides = { across: new Side(columns.get(this.across)), down: new Side(columns.get(this.down)) };
    const isDone = columns.isIn('done');
    this.cells = reached(columns, this.sides.across, this.sides.down, metric.maximize, (row) => isDone(row) && selection.has(row));
    const values = [...this.cells.values()].map((cell) => cell[measure]).filter(Number.isFinite);
    [this.min, this.max] = [Math.min(...values), Math.max(...values)];
    // Colours follow the scale on which the other charts have the objective.
    const objective = columns.get('objective');
    this.scale = new Scale(objective, selection.axis(objective, metric));
    this.scaled.textContent = this.scale.isLog ? t('log') : '';
    this.written = column(values, 3, 0);
    const jobs = [...this.cells.values()].reduce((sum, cell) => sum + cell.count, 0);
    this.note.textContent = jobs ? t('cells', { jobs: count(jobs), cells: count(this.cells.size) }) : t('none_done');
    const [worst, best] = metric.maximize ? [this.min, this.max] : [this.max, this.min];
    this.worst.textContent = values.length ? this.written(worst) : t('worst');
    this.best.textContent = values.length ? this.written(best) : t('best');
    const { across, down } = this.sides;
    this.surface.element.setAttribute('aria-label', t('heatmap_label', { x: clipped(across.label, 60), y: clipped(down.label, 60), metric: clipped(metric.name, 60) }));
    this.pointed = this.pointed && this.cells.get(this.at(this.pointed.x, this.pointed.y));
    this.surface.element.style.height = `${Math.max(260, Math.min(420, MARGIN.top + MARGIN.bottom + down.length * 44))}px`;
    this.surface.redraw();
  }

  at(x, y) {
    return y * this.sides.across.length + x;
  }

  /** The place of a value among the colours, from the best. */
  shade(value) {
    const { min, max, metric, scale } = this;
    if (!Number.isFinite(value)) return RANK_COLOURS - 1;
    const [from, to, at] = [min, max, value].map((one) => scale.at(one));
    const part = to > from ? (at - from) / (to - from) : 1;
    // A mean of the cell may lie between 0 and the least value of a logarithmic scale.
    return Math.max(0, Math.min(RANK_COLOURS - 1, Math.floor((metric.maximize ? 1 - part : part) * RANK_COLOURS)));
  }

  draw() {
    if (!this.cells) return;
    const { surface, sides, measure } = this;
    const layer = surface.clear(0);
    this.size = {
      width: (surface.width - MARGIN.left - MARGIN.right) / sides.across.length,
      height: (surface.height - MARGIN.top - MARGIN.bottom) / sides.down.length,
    };
    const { width, height } = this.size;
    const colours = rankColours(isDark());
    layer.textAlign = 'center';
    layer.textBaseline = 'middle';
    for (let y = 0; y < sides.down.length; y += 1) {
      for (let x = 0; x < sides.across.length; x += 1) {
        const cell = this.cells.get(this.at(x, y));
        const [left, top] = this.corner(x, y);
        const shade = cell && colours[this.shade(cell[measure])];
        layer.fillStyle = shade ? css(shade) : colour('grid');
        layer.fillRect(left + 0.5, top + 0.5, Math.max(1, width - 1), Math.max(1, height - 1));
        if (cell && width >= TEXT_WIDTH && height >= TEXT_HEIGHT) this.write(layer, cell, left + width / 2, top + height / 2, shade);
      }
    }
    this.drawAxes(layer);
    this.drawOver();
  }

  /** The first row of the vertical side is at the bottom, as on other charts. */
  corner(x, y) {
    const { width, height } = this.size;
    return [MARGIN.left + x * width, MARGIN.top + (this.sides.down.length - 1 - y) * height];
  }

  /** The value of a cell, and how many jobs it has. */
  write(layer, cell, x, y, [red, green, blue]) {
    const isBright = 0.299 * red + 0.587 * green + 0.114 * blue > 140;
    const hasCount = this.size.height >= COUNT_HEIGHT;
    layer.fillStyle = isBright ? '#101418' : '#ffffff';
    layer.font = `600 12px ${colour('font')}`;
    layer.fillText(this.written(cell[this.measure]), x, hasCount ? y - 7 : y, this.size.width - 4);
    if (!hasCount) return;
    layer.font = `11px ${colour('font')}`;
    layer.fillText(t('cell_jobs', { jobs: count(cell.count) }), x, y + 8, this.size.width - 4);
  }

  drawAxes(layer) {
    const { surface, sides } = this;
    const { width, height } = this.size;
    layer.font = `11px ${colour('font')}`;
    layer.fillStyle = colour('muted');
    layer.textAlign = 'right';
    layer.textBaseline = 'middle';
    const everyDown = Math.ceil(14 / height);
    sides.down.texts.forEach((text, y) => {
      if (y % everyDown === 0) layer.fillText(text, MARGIN.left - 6, this.corner(0, y)[1] + height / 2, MARGIN.left - 26);
    });
    layer.textAlign = 'center';
    layer.textBaseline = 'top';
    const bottom = surface.height - MARGIN.bottom;
    // As many as have room next to each other.
    const widest = Math.max(...sides.across.texts.map((text) => layer.measureText(text).width));
    const everyAcross = Math.max(1, Math.ceil(Math.min(widest + 8, LABEL_WIDTH_MAX) / width));
    sides.across.texts.forEach((text, x) => {
      if (x % everyAcross !== 0) return;
      const room = width * everyAcross - 6;
      const half = Math.min(layer.measureText(text).width, room) / 2;
      layer.fillText(text, Math.min(MARGIN.left + (x + 0.5) * width, surface.width - half), bottom + 6, room);
    });
    layer.fillStyle = colour('text');
    layer.fillText(clipped(sides.across.label, 60), MARGIN.left + (surface.width - MARGIN.left - MARGIN.right) / 2, bottom + 26);
    layer.save();
    layer.translate(4, MARGIN.top + (bottom - MARGIN.top) / 2);
    layer.rotate(-Math.PI / 2);
    layer.fillText(clipped(sides.down.label, 60), 0, 0, bottom - MARGIN.top);
    layer.restore();
  }

  /** The cell that is pointed at. */
  drawOver() {
    const layer = this.surface.clear(1);
    const { pointed, size } = this;
    if (!pointed || !size) {
      this.surface.tell(null);
      return;
    }
    const [left, top] = this.corner(pointed.x, pointed.y);
    layer.strokeStyle = colour('text');
    layer.lineWidth = 2;
    layer.strokeRect(left + 1, top + 1, size.width - 2, size.height - 2);
    this.surface.tell(this.tip(pointed), left + size.width, top + size.height / 2);
  }

  tip({ x, y, count: jobs, mean, best, row }) {
    const { across, down } = this.sides;
    const pairs = [
      [across.label, across.texts[x]],
      [down.label, down.texts[y]],
      [t('jobs'), count(jobs)],
      [t('mean'), number(mean)],
      [t('best'), `${number(best)} (${t('job')} ${this.columns.job[row]})`],
    ];
    return el('dl', {}, pairs.map(([name, value]) => [el('dt', {}, foreign(clipped(name, 40))), el('dd', {}, foreign(value))]));
  }

  /** Points at a cell, or at none; the other charts show its best job. */
  point(cell) {
    if (cell === this.pointed) return;
    this.pointed = cell;
    this.selection.hover(cell ? this.columns.job[cell.row] : null, this);
    this.drawOver();
  }

  cellAt([x, y]) {
    if (!this.size) return null;
    const place = { x: Math.floor((x - MARGIN.left) / this.size.width), y: this.sides.down.length - 1 - Math.floor((y - MARGIN.top) / this.size.height) };
    const isIn = place.x >= 0 && place.x < this.sides.across.length && place.y >= 0 && place.y < this.sides.down.length;
    return (isIn && this.cells.get(this.at(place.x, place.y))) || null;
  }

  move(event) {
    this.point(this.cellAt(this.surface.point(event)));
  }

  /** Opens the best job of a cell. Where a finger points, the first touch shows the cell. */
  click(event) {
    const cell = this.cellAt(this.surface.point(event));
    if (!cell) return;
    if (event.pointerType === 'touch' && this.touched !== cell) {
      this.touched = cell;
      this.point(cell);
    } else open(this.sweep, this.columns.job[cell.row], event);
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.key === 'Enter' && this.pointed) open(this.sweep, this.columns.job[this.pointed.row], event);
    if (event.key === 'Escape') this.point(null);
    const step = steps[event.key];
    if (!step || !this.cells?.size) return;
    event.preventDefault();
    const cell = this.next(step);
    if (!cell) return;
    this.point(cell);
    const { across, down } = this.sides;
    say(`${across.label} ${across.texts[cell.x]}, ${down.label} ${down.texts[cell.y]}: ${t('cell_jobs', { jobs: count(cell.count) })}, ${t('mean')} ${number(cell.mean)}, ${t('best')} ${number(cell.best)}`);
  }

  /** The next cell with jobs in a direction; at first that at the lower left. */
  next([dx, dy]) {
    if (!this.pointed) return [...this.cells.values()].sort((a, b) => a.y - b.y || a.x - b.x)[0];
    let { x, y } = this.pointed;
    for (;;) {
      x += dx;
      y += dy;
      if (x < 0 || y < 0 || x >= this.sides.across.length || y >= this.sides.down.length) return null;
      const cell = this.cells.get(this.at(x, y));
      if (cell) return cell;
    }
  }
}
