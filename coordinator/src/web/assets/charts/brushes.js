// Ranges on the axes of the parallel coordinates, as parts of an axis from 0 to 1: made by dragging, moved, taken away by a click, or typed in.

import { el, fill, perFrame } from '../dom.js';
import { clipped } from '../format.js';
import { choice } from '../parts.js';
import { t } from '../strings.js';

/** A drag shorter than this part of an axis is a click. */
const CLICK = 0.012;
/** The ends of an axis belong to what reaches them, whatever rounding does. */
const OVER = 1e-6;

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

  /**
   * The ranges by the names of axes, as an axis has them later: as values, where null is an end of the axis, or as the names within, as
   * further ones may come between.
   */
  values(axes) {
    const end = (scale, part) => (part <= 0 || part >= 1 ? null : scale.value(part));
    const kept = ({ scale }, range) => (scale.names ? { names: within(scale, [range]) } : range.map((part) => end(scale, part)));
    return Object.fromEntries(this.active(axes).map(({ axis, ranges }) => [axis.name, ranges.map((range) => kept(axis, range))]));
  }

  /** Which numbers of an axis these ranges leave, and how the server is asked for them: by values, or of names by the names. */
  wanted({ name, numbers, scale, column }, ranges) {
    if (scale.names) {
      const values = within(scale, ranges);
      const places = new Set(values.map((value) => scale.names.indexOf(value)));
      return { numbers, isLeft: (place) => places.has(place), where: { column: name, values } };
    }
    const limits = ranges.map(([from, to]) => [from <= 0 ? null : column.between(scale.value(from)), to >= 1 ? null : column.between(scale.value(to))]);
    const isLeft = (value) => !Number.isNaN(value) && limits.some(([from, to]) => (from === null || value >= from) && (to === null || value <= to));
    return { numbers, isLeft, where: { column: name, ranges: limits } };
  }

  /** Takes ranges of values to where they are on these axes; those that are dragged stay where the pointer is. */
  place(values, axes) {
    const dragged = this.dragged?.name;
    for (const name of [...this.byAxis.keys()]) if (name !== dragged) this.byAxis.delete(name);
    // The scale of an axis without a range is not asked for, as it costs a walk through all rows.
    for (const axis of axes) {
      if (axis.name !== dragged) this.byAxis.set(axis.name, (values[axis.name] ?? []).flatMap((kept) => placed(axis.scale, kept)));
    }
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

  /** The same for those who type: an axis and from where to where. `now` gives the axes as they are. */
  form(now) {
    const range = el('span', { class: 'range' });
    let { name } = now()[0];
    const chosen = () => now().find((axis) => axis.name === name);
    const add = (from, to) => {
      const ends = [chosen().scale.at(from), chosen().scale.at(to)].sort((a, b) => a - b);
      if (ends.some((end) => Number.isNaN(end))) return;
      this.add(name, [ends[0] - OVER, ends[1] + OVER]);
      this.changed();
    };
    const show = () => fill(range, chosen().scale.names ? nameForm(chosen, add) : numberForm(chosen, add));
    const axis = choice(t('axis'), now().map((axis) => [axis.name, clipped(axis.label, 40)]), name, (other) => {
      name = other;
      show();
    });
    // Who opens it finds the values that there are by then.
    return el('details', { class: 'menu', ontoggle: ({ target }) => target.open && show() }, el('summary', { text: t('limit') }), el('div', { class: 'pane' }, axis, range));
  }
}

/** The names of an axis whose middles are within one of these ranges. */
function within(scale, ranges) {
  return scale.names.filter((_, place) => ranges.some(([from, to]) => scale.at(place) >= from && scale.at(place) <= to));
}

/** Where on an axis a range is that was kept: of values, as it is; of names, one around each that the axis has, and neighbours in one. */
function placed(scale, kept) {
  const isNames = Boolean(kept.names);
  // The axis of numbers became one of names, or was one of another sweep.
  if (isNames !== Boolean(scale.names)) return [];
  if (!isNames) {
    const [from, to] = kept;
    return [[from === null ? -OVER : scale.at(from), to === null ? 1 + OVER : scale.at(to)]];
  }
  const places = kept.names.map((name) => scale.names.indexOf(name)).filter((place) => place >= 0).sort((a, b) => a - b);
  const runs = [];
  for (const place of places) {
    if (runs.at(-1)?.[1] === place - 1) runs.at(-1)[1] = place;
    else runs.push([place, place]);
  }
  return runs.map(([first, last]) => [scale.at(first - 0.5) - OVER, scale.at(last + 0.5) + OVER]);
}

function nameForm(now, add) {
  const { names } = now().scale;
  const options = names.map((name, place) => [String(place), clipped(String(name), 60)]);
  let [chosen] = names;
  const limit = () => {
    const place = now().scale.names.indexOf(chosen);
    if (place >= 0) add(place - 0.5, place + 0.5);
  };
  const button = el('button', { type: 'button', text: t('add'), onclick: limit });
  return [choice(t('value'), options, '0', (place) => (chosen = names[place])), button];
}

function numberForm(now, add) {
  const axis = now();
  const input = (value) => el('input', { type: 'text', inputMode: 'decimal', size: 9, value: axis.scale.text(value) });
  const [from, to] = [input(axis.scale.foot ? 0 : axis.scale.min), input(axis.scale.max)];
  const limits = () => add(clamped(now(), from.value), clamped(now(), to.value));
  const button = el('button', { type: 'button', text: t('add'), onclick: limits });
  return [el('label', { class: 'choice' }, el('span', { text: t('from') }), from), el('label', { class: 'choice' }, el('span', { text: t('to') }), to), button];
}

function clamped({ scale }, text) {
  const value = Number(text);
  if (Number.isNaN(value) || text.trim() === '') return NaN;
  const least = scale.foot && value <= 0 ? 0 : scale.min;
  return Math.max(least, Math.min(scale.max, value));
}
