// Scales of axes: even, logarithmic, or one place for each name; and the colours of ranks.

import { number, ticks } from '../format.js';
import { stride } from '../order.js';
import { evenTicks, logTicks } from './ticks.js';

/** From this many times the smallest value, an axis is logarithmic. */
const LOG_FROM = 100;
/** That of a parameter with many values is from so many times on, and where its values lie evenly on it. */
const LOG_FROM_IF_EVEN = 30;
/** Up to so many different numbers, an axis is marked at these and not at round ones. */
const MARKED_MAX = 8;
/** Whether numbers lie evenly on a logarithmic axis is asked of so many of them at most. */
const SAMPLE = 4_096;
/** The part of a logarithmic axis that zero has. */
const FOOT = 0.1;

/** Columns that count: as many jobs or epochs are as far apart everywhere. */
const COUNTS = ['job', 'epochs_done'];

/** A scale from values to places between 0 and 1. */
export class Scale {
  /** Of a column: of its numbers, or of its values where these are names. `isLog` says whether it is logarithmic; otherwise its numbers do. */
  constructor(column, { isLog, isForLarge } = {}) {
    const { numbers, values, isCategorical } = column;
    const names = isCategorical ? column.names : undefined;
    this.names = names;
    this.marks = !names && values?.length > 1 && values.length <= MARKED_MAX ? [...values].sort((a, b) => a - b) : undefined;
    let min = Infinity;
    let minPositive = Infinity;
    let max = -Infinity;
    this.lacks = false;
    for (let place = 0; place < numbers.length; place += 1) {
      const value = numbers[place];
      if (!Number.isFinite(value)) this.lacks = true;
      else {
        if (value < min) min = value;
        if (value > 0 && value < minPositive) minPositive = value;
        if (value > max) max = value;
      }
    }
    if (min > max) [min, max] = [0, 1];
    const isDrawn = isForLarge || (column.isParameter && !this.marks);
    const isFar = isDrawn ? isEvenByFactors(numbers, minPositive, max) : max / minPositive > LOG_FROM || isGeometric(this.marks?.filter((mark) => mark > 0));
    /** Whether its numbers have logarithms, but for zero. */
    this.canBeLog = !names && min >= 0 && max > 0;
    this.isLog = this.canBeLog && (isLog ?? (isFar && !COUNTS.includes(column.name)));
    /** Zero, which has no logarithm, has a place of its own below the others: many a rate or decay may be 0. */
    this.foot = this.isLog && min === 0 ? FOOT : 0;
    if (this.foot) min = minPositive;
    if (names) [min, max] = [-0.5, names.length - 0.5];
    else if (min === max) [min, max] = this.isLog ? [min / 2, max * 2] : [min - (Math.abs(min) || 1) / 2, max + (Math.abs(max) || 1) / 2];
    [this.min, this.max] = [min, max];
    this.from = this.isLog ? Math.log(min) : min;
    this.span = (this.isLog ? Math.log(max) : max) - this.from;
  }

  /** Makes room on both sides, as a part of the whole. */
  padded(part) {
    if (this.names) return this;
    this.from -= this.span * part;
    this.span *= 1 + 2 * part;
    const ends = [this.from, this.from + this.span];
    [this.min, this.max] = this.isLog ? ends.map(Math.exp) : ends;
    return this;
  }

  /** The place of a value; none that is finite where it has none. */
  at(value) {
    if (value === 0 && this.foot) return this.foot / 4;
    return this.foot + (1 - this.foot) * (((this.isLog ? Math.log(value) : value) - this.from) / this.span);
  }

  /** The places of many values. */
  places(values) {
    const places = new Float32Array(values.length);
    for (let row = 0; row < places.length; row += 1) places[row] = this.at(values[row]);
    return places;
  }

  /** The value at a place. */
  value(place) {
    if (place < this.foot) return 0;
    const value = this.from + (this.span * (place - this.foot)) / (1 - this.foot);
    return this.isLog ? Math.exp(value) : value;
  }

  /** A value as text. */
  text(value) {
    return this.names ? String(this.names[Math.round(value)] ?? '') : number(value, 3);
  }

  /** Round values on the axis, about `wanted` of them: {at, text}. */
  ticks(wanted) {
    const values = this.names ? this.nameTicks(wanted) : this.marks ? [...this.marks] : this.isLog ? logTicks(this.min, this.max, wanted) : evenTicks(this.min, this.max, wanted);
    if (this.foot && values[0] !== 0) values.unshift(0);
    const texts = this.names ? values.map((value) => this.text(value)) : ticks(values);
    return values.map((value, place) => ({ at: this.at(value), text: texts[place] }));
  }

  nameTicks(wanted) {
    const step = Math.ceil(this.names.length / Math.max(wanted, 12));
    return this.names.map((_, place) => place).filter((place) => place % step === 0);
  }
}

/** Whether numbers grow by the same factor, as 16, 32 and 64 do. */
function isGeometric(numbers) {
  if (!numbers || numbers.length < 3) return false;
  const factor = numbers[1] / numbers[0];
  return numbers.every((number, place) => place === 0 || Math.abs(number / numbers[place - 1] / factor - 1) < 0.01);
}

/** Whether numbers lie more evenly on a logarithmic axis than on an even one. Those drawn uniformly do not, however small one of them is. */
function isEvenByFactors(numbers, min, max) {
  if (!(max / min > LOG_FROM_IF_EVEN)) return false;
  let [even, byFactors, count] = [0, 0, 0];
  const asked = Math.min(numbers.length, SAMPLE);
  const step = stride(numbers.length);
  for (let place = 0; place < asked; place += 1) {
    const value = numbers[(place * step) % numbers.length];
    if (!(value > 0 && value <= max)) continue;
    even += (value - min) / (max - min);
    byFactors += Math.log(value / min) / Math.log(max / min);
    count += 1;
  }
  return Math.abs(byFactors / count - 0.5) < Math.abs(even / count - 0.5);
}

// Cividis, made for readers of all colour visions; its pale end is on the side of the theme's background.
const RAMP = [
  [0, 34, 78],
  [50, 63, 108],
  [98, 102, 112],
  [146, 141, 119],
  [200, 184, 102],
  [253, 231, 55],
];

/** How many colours ranks have. */
export const RANK_COLOURS = 24;

/** Colours from the best rank to the worst, as [red, green, blue]; the best stands out most. */
export function rankColours(isDark) {
  return Array.from({ length: RANK_COLOURS }, (_, place) => {
    const part = place / (RANK_COLOURS - 1);
    // The last bit of either end would vanish in the background.
    return ramp(isDark ? 1 - part * 0.82 : part * 0.86);
  });
}

function ramp(part) {
  const at = part * (RAMP.length - 1);
  const low = Math.min(RAMP.length - 2, Math.floor(at));
  const mixed = RAMP[low].map((from, place) => Math.round(from + (RAMP[low + 1][place] - from) * (at - low)));
  return mixed;
}

/** A colour as styles have it. */
export function css(triple) {
  return `rgb(${triple.join(' ')})`;
}

/** A colour such as #cfd5da as [red, green, blue]. */
export function triple(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** The place of a rank from 0 to 1 among the colours. */
export function rankColour(rank) {
  return Math.min(RANK_COLOURS - 1, Math.floor(rank * RANK_COLOURS));
}

/** Where a job stands within the room of a name, from -1 to 1, always the same. */
export function jitter(job) {
  return (Math.imul(job, 2654435761) >>> 0) / 2147483648 - 1;
}
