// One of several parallel axes: where jobs cross it, its line, its ticks and names on plates, and what is brushed along it.

import { colour } from '../dom.js';
import { clipped } from '../format.js';
import { t } from '../strings.js';
import { Scale } from './scale.js';
import { fitted } from './surface.js';

/** An axis of a column. What costs a walk through all rows is done when someone asks: a chart that is never scrolled to needs none of it. */
export class Axis {
  /** `kind` says how its scale is, as that takes it. */
  constructor(column, label, kind) {
    Object.assign(this, { column, label, kind });
    this.name = column.name;
  }

  get numbers() {
    return this.column.numbers;
  }

  get scale() {
    return (this.scaled ??= new Scale(this.column, this.kind));
  }

  /** The place of each row on it, between 0 and 1; none that is finite where it has none. */
  get parts() {
    return (this.made ??= this.scale.places(this.numbers));
  }
}

/** Draws an axis, which knows its place. `end` says whether it is the `first` or the `last`, whose names stand within the chart's margins; `room` is that of a name. */
export function drawAxis(layer, axis, { end, room, margin, height, brushes }) {
  const { top, left, right } = margin;
  const isLast = end === 'last';
  layer.strokeStyle = colour('muted');
  layer.lineWidth = 1;
  layer.strokeRect(Math.round(axis.x) + 0.5, top, 0, height);
  for (const [from, to] of brushes) {
    layer.fillStyle = colour('brush');
    layer.strokeStyle = colour('accent');
    layer.fillRect(axis.x - 7, top + (1 - to) * height, 14, (to - from) * height);
    layer.strokeRect(axis.x - 7, top + (1 - to) * height, 14, (to - from) * height);
  }
  layer.textBaseline = 'middle';
  layer.textAlign = isLast ? 'left' : 'right';
  const side = isLast ? 8 : -8;
  for (const { at, text } of axis.scale.ticks(Math.max(2, Math.floor(height / 45)))) {
    label(layer, clipped(text, 14), axis.x + side, top + (1 - at) * height, 'muted', (isLast ? right : left) - 12);
  }
  if (axis.scale.lacks) label(layer, t('none'), axis.x + side, top + height + 14, 'muted');
  layer.textAlign = { first: 'left', last: 'right' }[end] ?? 'center';
  const shift = { first: 4 - left, last: right - 4 }[end] ?? 0;
  label(layer, fitted(layer, axis.label, room), axis.x + shift, top - 34, 'text');
  if (axis.scale.isLog) label(layer, t('log'), axis.x + shift, top - 19, 'muted');
}

/** Text on a plate that hides the lines behind it; narrower letters where it would be wider than `room`. */
function label(layer, text, x, y, shade, room = Infinity) {
  const width = Math.min(layer.measureText(text).width, room);
  const left = layer.textAlign === 'right' ? x - width : layer.textAlign === 'center' ? x - width / 2 : x;
  layer.fillStyle = colour('surface');
  layer.beginPath();
  layer.roundRect(left - 3, y - 8, width + 6, 16, 3);
  layer.fill();
  layer.fillStyle = colour(shade);
  layer.fillText(text, x, y, width);
}
