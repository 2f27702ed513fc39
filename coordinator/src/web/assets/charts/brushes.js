// Ranges on the axes of the parallel coordinates, as parts of an axis from 0 to 1: made by dragging, moved, taken away by a click, or typed in.

import { el, fill, perFrame } from '../dom.js';
import { clipped } from '../format.js';
import { choice } from '../parts.js';
import { t } from '../strings.js';

/** A drag shorter than this part of an axis is a click. */
const CLICK = 0.012;

/** All brushes. `onChange` is called once a frame while one is dragged. */
export class Brushes {
  constructor(onChange) {
    this.byAxis = new Map();
    this.changed = perFrame(onChange);
    this.dragged = null;
  }

  get isDragging() {
    return this.dragged !== null;
  }

  /** The ranges on an axis. */
  of(name) {
    return this.byAxis.get(name) ?? [];
  }

  /** The axes that have any, with their ranges. */
  active(axes) {
    return axes.map((axis) => ({ axis, ranges: this.of(axis.name) })).filter(({ ranges }) => ranges.length);
  }

  /** Takes all away. */
  clear() {
    this.byAxis.clear();
    this.changed();
  }

  add(name, range) {
    this.byAxis.set(name, [...this.of(name), range]);
  }

  remove(name, range) {
    this.byAxis.set(name, this.of(name).filter((other) => other !== range));
  }

  /** Begins a new brush, or to move the one that is there. */
  press(name, at) {
    const there = this.of(name).find(([from, to]) => at >= from && at <= to);
    const range = there ?? [at, at];
    this.dragged = { name, range, from: at, was: [...range], isNew: !there, isMoved: false };
  }

  /** Goes on to here. */
  drag(at) {
    const { name, range, from, was, isNew, isMoved } = this.dragged;
    if (!isMoved && Math.abs(at - from) <= CLICK) return;
    if (!isMoved && isNew) this.add(name, range);
    this.dragged.isMoved = true;
    if (isNew) [range[0], range[1]] = [Math.min(from, at), Math.max(from, at)];
    else {
      const shift = Math.max(-was[0], Math.min(1 - was[1], at - from));
      [range[0], range[1]] = [was[0] + shift, was[1] + shift];
    }
    this.changed();
  }

  /** Ends; a click takes the brush away that it hits. */
  release() {
    const { name, range, isMoved, isNew } = this.dragged;
    if (!isMoved && !isNew) this.remove(name, range);
    this.dragged = null;
    this.changed();
  }

  /** The same for those who type: an axis and from where to where. */
  form(axes) {
    const range = el('span', { class: 'range' });
    let chosen = axes[0];
    const add = (from, to) => {
      const ends = [chosen.scale.at(from), chosen.scale.at(to)].sort((a, b) => a - b);
      if (ends.some((end) => Number.isNaN(end))) return;
      // The ends themselves belong to it, whatever rounding does.
      this.add(chosen.name, [ends[0] - 1e-6, ends[1] + 1e-6]);
      this.changed();
    };
    const show = () => fill(range, chosen.scale.names ? nameForm(chosen, add) : numberForm(chosen, add));
    const options = axes.map((axis) => [axis.name, clipped(axis.label, 40)]);
    const axis = choice(t('axis'), options, chosen.name, (name) => {
      chosen = axes.find((axis) => axis.name === name);
      show();
    });
    show();
    return el('details', { class: 'menu' }, el('summary', { text: t('limit') }), el('div', { class: 'pane' }, axis, range));
  }
}

function nameForm(axis, add) {
  const options = axis.scale.names.map((name, place) => [String(place), clipped(String(name), 60)]);
  let chosen = 0;
  const button = el('button', { type: 'button', text: t('add'), onclick: () => add(chosen - 0.5, chosen + 0.5) });
  return [choice(t('value'), options, '0', (place) => (chosen = Number(place))), button];
}

function numberForm(axis, add) {
  const input = (value) => el('input', { type: 'text', inputMode: 'decimal', size: 9, value: axis.scale.text(value) });
  const [from, to] = [input(axis.scale.foot ? 0 : axis.scale.min), input(axis.scale.max)];
  const limits = () => add(clamped(axis, from.value), clamped(axis, to.value));
  const button = el('button', { type: 'button', text: t('add'), onclick: limits });
  return [el('label', { class: 'choice' }, el('span', { text: t('from') }), from), el('label', { class: 'choice' }, el('span', { text: t('to') }), to), button];
}

function clamped({ scale }, text) {
  const value = Number(text);
  if (Number.isNaN(value) || text.trim() === '') return NaN;
  const least = scale.foot && value <= 0 ? 0 : scale.min;
  return Math.max(least, Math.min(scale.max, value));
}
