// Canvases one above the other, as sharp as the screen, that are drawn again when their size or the theme changes; and the note by the pointer.

import { el, fill, foreign, onTheme, perFrame, whenIdle } from '../dom.js';
import { clipped, duration, number, parameter } from '../format.js';
import { badge, problem } from '../parts.js';
import { t } from '../strings.js';
import { css, rankColours } from './scale.js';

const PARAMETERS_SHOWN_MAX = 12;
/** What is on the screen with less of it is drawn after the rest for the first time: there is little to see of it. */
const PART_SEEN = 0.25;

/**
 * Layers to draw on. `draw` is called when all of it has to be drawn, once it is on the screen or printed: what is further down may never be
 * looked at, and a hundred thousand lines take a while.
 */
export class Surface {
  constructor(layers, draw, properties) {
    this.layers = Array.from({ length: layers }, () => el('canvas', { 'aria-hidden': 'true' }).getContext('2d'));
    this.note = el('div', { class: 'tip', hidden: true });
    const canvases = this.layers.map((layer) => layer.canvas);
    this.element = el('div', { class: 'surface', ...properties }, canvases, this.note);
    this.width = 0;
    this.height = 0;
    /** Why nothing could be drawn. */
    this.wrong = el('div', { class: 'wrong' });
    this.element.append(this.wrong);
    /** How much of it is on the screen, from 0 to 1. */
    this.part = 0;
    /** Whether something has changed since it was drawn. */
    this.isDue = false;
    this.wasDrawn = false;
    this.soon = perFrame(() => this.part > 0 && this.now(draw));
    new IntersectionObserver((entries) => this.come(entries.at(-1)), { threshold: [0, PART_SEEN] }).observe(this.element);
    /** Whether all of it has to be drawn at once, and nothing later. */
    this.isPrinted = false;
    addEventListener('beforeprint', () => {
      // What was drawn may not be whole yet.
      this.isDue ||= this.wasDrawn;
      this.isPrinted = true;
      this.now(draw);
      this.isPrinted = false;
    });
    new ResizeObserver(() => this.resize()).observe(this.element);
    onTheme(() => this.redraw());
  }

  /** Draws it again with the next frame, once it is on the screen. */
  redraw() {
    this.isDue = true;
    if (this.part >= PART_SEEN || (this.part > 0 && this.wasDrawn)) this.soon();
    else if (this.part > 0) whenIdle(this.soon);
  }

  come({ isIntersecting, intersectionRatio }) {
    this.part = isIntersecting ? Math.max(intersectionRatio, Number.MIN_VALUE) : 0;
    if (this.isDue) this.redraw();
  }

  /** Draws what is due; what cannot be drawn is told in its place. */
  now(draw) {
    if (!this.isDue || this.width === 0) return;
    [this.isDue, this.wasDrawn] = [false, true];
    this.wrong.replaceChildren();
    try {
      draw();
    } catch (error) {
      this.wrong.append(problem(error));
    }
  }

  resize() {
    const { clientWidth, clientHeight } = this.element;
    const density = window.devicePixelRatio || 1;
    if (clientWidth === this.width && clientHeight === this.height && density === this.density) return;
    [this.width, this.height, this.density] = [clientWidth, clientHeight, density];
    for (const layer of this.layers) {
      layer.canvas.width = Math.round(clientWidth * density);
      layer.canvas.height = Math.round(clientHeight * density);
      layer.canvas.style.width = `${clientWidth}px`;
      layer.canvas.style.height = `${clientHeight}px`;
      layer.setTransform(density, 0, 0, density, 0, 0);
    }
    this.redraw();
  }

  /** A layer with nothing on it. */
  clear(place) {
    const layer = this.layers[place];
    layer.clearRect(0, 0, this.width, this.height);
    return layer;
  }

  /** Shows a note next to a point, or none. */
  tell(content, x, y) {
    this.note.hidden = !content;
    if (!content) return;
    fill(this.note, content);
    const { offsetWidth: width, offsetHeight: height } = this.note;
    const left = x + 14 + width > this.width ? x - 14 - width : x + 14;
    this.note.style.left = `${Math.max(0, Math.min(left, this.width - width))}px`;
    this.note.style.top = `${Math.max(0, Math.min(y - height / 2, this.height - height))}px`;
  }

  /** Where an event is. */
  point(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
}

/** What is known of the job in a row, for a note. */
export function note(columns, row, metric) {
  const values = columns.parameters.slice(0, PARAMETERS_SHOWN_MAX).map((column) => [column.label, column.valueOf(row)]);
  const pairs = [
    [metric.name, number(orNone(columns.objective[row]))],
    [t('train_time'), duration(columns.seconds[row])],
    ...values.map(([name, value]) => [name, typeof value === 'number' ? number(value) : parameter(value)]),
  ];
  const left = columns.parameters.length - values.length;
  return [
    el('div', { class: 'tip-head' }, el('b', { text: `${t('job')} ${columns.job[row]}` }), badge(columns.stateOf(row))),
    el('dl', {}, pairs.filter(([, value]) => value !== '').map(([name, value]) => [
      el('dt', {}, foreign(clipped(name, 40))),
      el('dd', {}, foreign(clipped(String(value), 60))),
    ])),
    left > 0 && el('p', { class: 'note', text: t('more_parameters', { left }) }),
  ];
}

/** The same in one line, for those who hear it. */
export function spoken(columns, row, metric) {
  const value = number(orNone(columns.objective[row])) || t('none');
  const parameters = columns.parameters.slice(0, 6).map((column) => `${clipped(column.label, 40)} ${clipped(parameter(column.valueOf(row)), 40)}`);
  return [`${t('job')} ${columns.job[row]}`, t(`state_${columns.stateOf(row)}`), `${metric.name} ${value}`, ...parameters].join(', ');
}

function orNone(value) {
  return Number.isNaN(value) ? null : value;
}

/** Opens a job as a link would. */
export function open(sweep, job, event) {
  const address = `/sweeps/${sweep}/jobs/${job}`;
  if (event.ctrlKey || event.metaKey || event.button === 1) window.open(address, '_blank', 'noopener');
  else location.assign(address);
}

/** A strip of the colours of ranks, from the worst to the best, that follows the theme. */
export function colourRamp() {
  const canvas = el('canvas', { width: 96, height: 8, 'aria-hidden': 'true' });
  const draw = () => {
    const layer = canvas.getContext('2d');
    const { width, height } = canvas;
    const colours = rankColours(isDark());
    const step = width / colours.length;
    colours.forEach((one, place) => {
      layer.fillStyle = css(one);
      layer.fillRect(width - (place + 1) * step, 0, step, height);
    });
  };
  draw();
  onTheme(draw);
  return canvas;
}

/** Whether the dark theme is on. */
export function isDark() {
  return matchMedia('(prefers-color-scheme: dark)').matches;
}

/** As much of a text as fits into so many pixels. */
export function fitted(layer, text, room) {
  let most = Math.min(text.length, 60);
  while (most > 3 && layer.measureText(clipped(text, most)).width > room) most -= 1;
  return clipped(text, most);
}
