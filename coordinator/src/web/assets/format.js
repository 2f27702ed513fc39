// Numbers, durations and times as people read them.

import { everyNowAndAgain, now } from './clock.js';
import { el } from './dom.js';
import { isJapanese, language, t } from './strings.js';

const counts = new Intl.NumberFormat(language);
const moments = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'medium' });
const relative = new Intl.RelativeTimeFormat(language, { numeric: 'always', style: 'short' });

/** How many. */
export function count(number) {
  return counts.format(number);
}

/** A date and time of the reader's own clock. */
export function dateAndTime(time) {
  return moments.format(new Date(time));
}

/** Longest small number that is written without an exponent: 0.00005, as in sweep files, and not 5e-5. */
const PLAIN_CHARACTERS_MAX = 8;

/** A p-value after its sign, as a report writes it: below 0.0001 its digits say nothing. */
export function probability(p) {
  if (p < 0.0001) return '< 0.0001';
  // Three decimals would not tell on which side of 0.05 it lies.
  return `= ${p.toFixed(p < 0.001 || (p >= 0.045 && p < 0.055) ? 4 : 3)}`;
}

/** A difference, one less the other, as how much better the one is, with its interval. */
export function gain({ difference, interval }, maximize) {
  if (maximize || difference === null) return { difference, interval };
  // No -0.
  return { difference: 0 - difference, interval: interval && { low: 0 - interval.high, high: 0 - interval.low } };
}

/** A measurement with five significant digits; texts such as `nan`, which JSON has no numbers for, as they are. */
export function number(value, digits = 5) {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'number') return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e12) return String(value);
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : Number.isNaN(value) ? 'nan' : '-inf';
  const size = Math.abs(value);
  if (size !== 0 && size < 1e-4) {
    const plain = String(Number(value.toPrecision(digits)));
    if (!plain.includes('e') && plain.length <= PLAIN_CHARACTERS_MAX + (value < 0)) return plain;
  }
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) {
    return exponential(value, digits);
  }
  // What stands before the point is never rounded.
  const whole = Math.floor(Math.log10(size)) + 1;
  return String(Number(value.toPrecision(Math.max(digits, whole))));
}

/**
 * What writes the measurements of a column: all with as many decimals as the largest needs for so many significant digits, so that they stand
 * digit below digit; with up to `more` where different ones would look equal. What these decimals show too little of is written as a number by
 * itself, as commands and reports do.
 */
export function column(values, digits = 5, more = 4) {
  const all = values.filter((value) => typeof value === 'number' && Number.isFinite(value));
  const largest = Math.max(...all.map(Math.abs));
  if (!all.length || all.every(Number.isInteger) || largest < 1e-4 || largest >= 1e7) return apart(all, digits, more);
  const least = Math.max(0, digits - 1 - Math.floor(Math.log10(largest)));
  const most = least + more;
  const different = new Set(all).size;
  let decimals = least;
  while (decimals < most && new Set(all.map(fixed(decimals, digits))).size < different) decimals += 1;
  return fixed(decimals, digits);
}

/**
 * What writes a value and the ends of its interval: all with as many decimals as the largest needs for so many significant digits, or as the
 * smallest needs for two. Where no number of decimals suits them, each by itself.
 */
export function even(values, digits = 5) {
  const sizes = values.filter((value) => typeof value === 'number' && Number.isFinite(value)).map(Math.abs);
  const largest = Math.max(0, ...sizes);
  if (largest < 1e-4 || largest >= 1e7 || sizes.every(Number.isInteger)) return (value) => number(value, digits);
  // What is smaller yet is nothing but rounding.
  const smallest = Math.min(...sizes.filter((size) => size > largest * 1e-6));
  const needed = (size, shown) => shown - 1 - Math.floor(Math.log10(size));
  const decimals = Math.min(8, Math.max(0, needed(largest, digits), needed(smallest, 2)));
  return (value) => (typeof value === 'number' && Number.isFinite(value) ? value.toFixed(decimals).replace(/^-(0\.?0*)$/, '$1') : number(value, digits));
}

/** What writes numbers with so many significant digits, or with up to `more` where different ones would look equal. */
function apart(all, digits, more) {
  const different = new Set(all).size;
  let shown = digits;
  while (shown < digits + more && new Set(all.map((value) => number(value, shown))).size < different) shown += 1;
  return (value) => number(value, shown);
}

/** What writes numbers with so many decimals, and with significant digits what has fewer than two of them there. */
function fixed(decimals, digits) {
  const least = 10 ** (1 - decimals);
  return (value) => (typeof value === 'number' && Number.isFinite(value) && (value === 0 || Math.abs(value) >= least) ? value.toFixed(decimals) : number(value, digits));
}

/** Numbers of an axis, with as few digits as tell them apart; large ones have an exponent, as there is little room. */
export function ticks(values) {
  const written = (value, digits) => (Math.abs(value) >= 1e7 ? exponential(value, digits) : number(value, digits));
  for (let digits = 3; digits < 12; digits += 1) {
    const texts = values.map((value) => written(value, digits));
    if (new Set(texts).size === texts.length) return texts;
  }
  return values.map((value) => written(value, 12));
}

function exponential(value, digits) {
  return value.toExponential(digits - 1).replace(/\.?0+e/, 'e').replace('e+', 'e');
}

/** A parameter's value as it was given. */
export function parameter(value) {
  if (value === undefined) return '';
  if (typeof value === 'number') return number(value, 8);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Parameters in one line, at most `most` of them. */
export function parameters(values, most = 6) {
  const all = Object.entries(values ?? {});
  const shown = all.slice(0, most).map(([name, value]) => `${clipped(name, 40)}=${clipped(typeof value === 'number' ? number(value) : parameter(value), 40)}`);
  return shown.join('  ') + (all.length > most ? ' …' : '');
}

/** A text that may be long, in few characters. */
export function clipped(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** A name within a sentence: short, and without marks that would turn the rest around. */
export function named(text) {
  return `\u2068${clipped(text.replace(/[\u0000-\u001f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, ''), 60)}\u2069`;
}

/** How long a file is. */
export function bytes(length) {
  if (typeof length !== 'number') return '';
  const units = ['B', 'kB', 'MB', 'GB'];
  let place = 0;
  let size = length;
  while (size >= 1000 && place < units.length - 1) {
    size /= 1000;
    place += 1;
  }
  return `${place ? Number(size.toPrecision(3)) : size} ${units[place]}`;
}

/** How long, from seconds. */
export function duration(seconds) {
  if (typeof seconds !== 'number' || !Number.isFinite(seconds)) return '';
  const [second, minute, hour, day] = isJapanese ? [' 秒', ' 分', ' 時間', ' 日'] : [' s', ' min', ' h', ' d'];
  if (seconds < 0.01) return `${number(seconds, 2)}${second}`;
  if (seconds < 100) return `${Number.isInteger(seconds) ? seconds : seconds.toPrecision(3)}${second}`;
  const whole = Math.round(seconds);
  if (whole < 3600) return joined(Math.floor(whole / 60), minute, whole % 60, second);
  const minutes = Math.round(seconds / 60);
  if (minutes < 48 * 60) return joined(Math.floor(minutes / 60), hour, minutes % 60, minute);
  const hours = Math.round(seconds / 3600);
  return joined(Math.floor(hours / 24), day, hours % 24, hour);
}

/** Bytes as GiB, with one decimal. */
export function gibibytes(bytes) {
  return (bytes / 2 ** 30).toFixed(1);
}

/** A duration that is only an estimate, without the seconds that it does not know. */
export function rough(seconds) {
  const step = seconds < 120 ? 10 : seconds < 7_200 ? 60 : 3_600;
  return Math.max(step, Math.round(seconds / step) * step);
}

function joined(large, largeUnit, small, smallUnit) {
  return small ? `${large}${largeUnit} ${small}${smallUnit}` : `${large}${largeUnit}`;
}

const STEPS = [
  ['second', 1, 60],
  ['minute', 60, 60],
  ['hour', 3600, 24],
  ['day', 86_400, 30],
  ['month', 2_592_000, 12],
  ['year', 31_536_000, Infinity],
];

/** How long ago, with the moment itself as the title. */
export function ago(text) {
  if (!text) return '';
  return el('time', { dateTime: text, title: dateAndTime(text), text: agoNow(text) });
}

function agoNow(text) {
  const seconds = (new Date(text) - now()) / 1000;
  const [unit, size] = STEPS.find(([, size, most]) => Math.abs(seconds) / size < most);
  return Math.abs(seconds) < 5 ? t('just_now') : relative.format(Math.round(seconds / size), unit);
}

/** Seconds from one moment to another, or to now. */
export function between(from, to) {
  return from ? ((to ? new Date(to) : now()) - new Date(from)) / 1000 : null;
}

/** How long something took, or has gone on by now. */
export function lasted(from, to) {
  if (!from) return '';
  return to ? whole(between(from, to)) : going({ 'data-since': from });
}

/** About how long something will take that takes `times` as long as it has gone on, within a text of the page that has a hole for the time. */
export function estimated(key, from, times) {
  return going({ 'data-since': from, 'data-times': String(times), 'data-key': key });
}

function going(properties) {
  const element = el('span', properties);
  element.textContent = goingNow(element);
  return element;
}

function goingNow({ dataset: { since, times, key } }) {
  const seconds = between(since);
  return key ? t(key, { time: duration(rough(seconds * Number(times))) }) : whole(seconds);
}

function whole(seconds) {
  return duration(Math.max(0, Math.round(seconds)));
}

/** Writes times again that are shown and have become others: also of what sends nothing any more. */
export function keepTimes() {
  const renew = (element, text) => element.textContent !== text && (element.textContent = text);
  everyNowAndAgain(() => {
    document.querySelectorAll('time[datetime]').forEach((element) => renew(element, agoNow(element.dateTime)));
    document.querySelectorAll('[data-since]').forEach((element) => renew(element, goingNow(element)));
  });
}
