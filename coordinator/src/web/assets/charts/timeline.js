// Who ran what when: a lane for each slot of each worker, and a bar for each attempt on it.

import { get } from '../api.js';
import { now } from '../clock.js';
import { Left, colour, el, fill, foreign, perFrame, say } from '../dom.js';
import { between, clipped, count, dateAndTime, duration } from '../format.js';
import { badge, choice, problem, sentence } from '../parts.js';
import { language, t } from '../strings.js';
import { Surface } from './surface.js';

const MARGIN = { left: 168, right: 12, top: 6, bottom: 26 };
const NARROW = { ...MARGIN, left: 92 };
const NARROW_FROM = 560;
const LANE = 22;
/** More lanes than this would be more than a canvas may be high. */
const LANES_MAX = 400;
/** Jobs of a pack share a slot: so many stand above each other. */
const STACKED_MAX = 6;
const MINUTE = 60;
const SPANS = [10 * MINUTE, 60 * MINUTE, 6 * 60 * MINUTE, 24 * 60 * MINUTE, 7 * 24 * 60 * MINUTE];
/** Steps between times of the axis, in seconds. */
const STEPS = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000];

/** The chart: of all workers, or (`sweep`) of one sweep, from its beginning. */
export class Timeline {
  constructor({ sweep = null, selection = null, span = SPANS[1] }) {
    Object.assign(this, { sweep, selection });
    this.left = new Left(`timeline:${selection?.key ?? ''}`, { span: sweep === null ? span : 0 });
    this.span = this.left.values.span;
    this.end = null;
    this.surface = new Surface(2, () => this.draw(), {
      class: 'surface timeline',
      tabIndex: 0,
      role: 'application',
      'aria-roledescription': t('chart'),
      'aria-label': t('timeline_label'),
      onpointermove: (event) => this.move(event),
      onpointerleave: () => this.point(null),
      onclick: (event) => this.click(event),
      onkeydown: (event) => this.key(event),
    });
    this.controls = el('div', { class: 'controls' });
    this.wrong = el('div');
    this.note = el('p', { class: 'note' });
    const scrolls = el('div', { class: 'scrolls bare lanes' }, this.surface.element);
    this.element = el('figure', { class: 'wide' }, el('figcaption', {}, el('h2', { text: t('timeline') }), this.controls), this.wrong, scrolls, this.note);
    this.over = perFrame(() => this.drawOver());
    selection?.on('hover', () => this.over());
    this.showControls();
  }

  showControls() {
    const spans = SPANS.map((span) => [String(span), t('last_span', { time: duration(span) })]);
    if (this.sweep !== null) spans.unshift(['0', t('whole_sweep')]);
    const step = (way) => () => {
      const { since, until } = this.window();
      const end = until + way * (until - since);
      this.end = end >= now() ? null : end;
      this.read();
    };
    const choose = (span) => {
      this.span = Number(span);
      this.end = null;
      this.left.keep({ span: this.span });
      this.read();
    };
    this.later = el('button', { type: 'button', text: t('later'), onclick: step(1) });
    this.earlier = el('button', { type: 'button', text: t('earlier'), onclick: step(-1) });
    fill(this.controls, choice(t('span'), spans, String(this.span), choose), this.earlier, this.later);
  }

  /** Of which sweep, and when it began and ended. */
  of(sweep) {
    this.began = Date.parse(sweep.created);
    this.ended = sweep.ended ? Date.parse(sweep.ended) : null;
    return this.read();
  }

  /** The span that is shown, in milliseconds. */
  window() {
    if (this.span === 0) return { since: this.began, until: (this.ended ?? now()) + 1 };
    const until = this.end ?? (this.sweep !== null && this.ended !== null ? this.ended + 1 : now());
    return { since: until - this.span * 1000, until };
  }

  async read() {
    const turn = (this.turn = {});
    const { since, until } = this.window();
    const query = new URLSearchParams({ since: new Date(since).toISOString(), until: new Date(Math.max(until, since + 1)).toISOString() });
    if (this.sweep !== null) query.set('sweep', this.sweep);
    try {
      const { items, is_whole: isWhole } = await get(`/timeline?${query}`);
      if (turn !== this.turn) return;
      fill(this.wrong);
      this.since = since;
      this.until = until;
      this.arrange(items, isWhole);
    } catch (error) {
      if (turn === this.turn) fill(this.wrong, problem(error));
    }
  }

  /** Lanes by workers and slots; attempts that share a slot at the same time stand above each other. */
  arrange(items, isWhole) {
    this.earlier.disabled = this.span === 0;
    this.later.disabled = this.span === 0 || this.end === null;
    const lanes = new Map();
    for (const item of [...items].reverse()) {
      const key = `${item.worker}\n${item.slot}`;
      if (!lanes.has(key)) lanes.set(key, { worker: item.worker, slot: item.slot, device: item.device, ends: [], bars: [] });
      const lane = lanes.get(key);
      const bar = { ...item, from: Date.parse(item.granted), to: item.ended ? Date.parse(item.ended) : Infinity };
      let level = lane.ends.findIndex((end) => end <= bar.from);
      if (level < 0) level = Math.min(lane.ends.length, STACKED_MAX - 1);
      lane.ends[level] = Math.max(bar.to, lane.ends[level] ?? 0);
      lane.bars.push({ ...bar, level });
    }
    const all = [...lanes.values()].sort((a, b) => a.worker.localeCompare(b.worker) || a.slot - b.slot);
    this.lanes = all.slice(0, LANES_MAX);
    this.lanes.forEach((lane, place) => lane.bars.forEach((bar) => (bar.lane = place)));
    this.bars = this.lanes.flatMap((lane) => lane.bars);
    const notes = [t('ran', { attempts: count(items.length), slots: count(all.length) })];
    if (!items.length) notes[0] = t('ran_nothing');
    if (!isWhole) notes.push(t('ran_more'));
    if (all.length > LANES_MAX) notes.push(t('lanes_more', { lanes: count(all.length - LANES_MAX) }));
    this.note.textContent = notes.join(' ');
    this.pointed = this.pointed ? (this.bars.find((bar) => same(bar, this.pointed)) ?? null) : null;
    this.surface.element.style.height = `${MARGIN.top + MARGIN.bottom + Math.max(1, this.lanes.length) * LANE}px`;
    this.surface.redraw();
  }

  place() {
    const { width } = this.surface;
    this.margin = width < NARROW_FROM ? NARROW : MARGIN;
    const room = width - this.margin.left - this.margin.right;
    const x = (moment) => this.margin.left + (room * (Math.min(this.until, Math.max(this.since, moment)) - this.since)) / (this.until - this.since);
    for (const bar of this.bars) {
      const levels = this.lanes[bar.lane].ends.length;
      const height = (LANE - 4) / levels;
      [bar.x, bar.width] = [x(bar.from), Math.max(1.5, x(Math.min(bar.to, this.until)) - x(bar.from) - 0.5)];
      [bar.y, bar.height] = [this.margin.top + bar.lane * LANE + 2 + bar.level * height, Math.max(1.5, height - (levels > 1 ? 0.5 : 0))];
    }
    return x;
  }

  draw() {
    if (!this.lanes) return;
    const x = this.place();
    const layer = this.surface.clear(0);
    this.drawAxes(layer, x);
    layer.textBaseline = 'middle';
    layer.textAlign = 'left';
    for (const bar of this.bars) {
      layer.fillStyle = colour(`state-${stateOf(bar.outcome)}`);
      layer.fillRect(bar.x, bar.y, bar.width, bar.height);
      const text = this.sweep === null ? `${bar.sweep}/${bar.job}` : String(bar.job);
      if (bar.height < 12 || bar.width < 10 + text.length * 7) continue;
      layer.font = `11px ${colour('font')}`;
      layer.fillStyle = colour('bar-text');
      layer.fillText(text, bar.x + 5, bar.y + bar.height / 2 + 0.5);
    }
    this.drawOver();
  }

  drawAxes(layer, x) {
    const { margin } = this;
    const { width, height } = this.surface;
    const bottom = height - margin.bottom;
    layer.font = `11px ${colour('font')}`;
    layer.strokeStyle = colour('grid');
    layer.lineWidth = 1;
    layer.textBaseline = 'middle';
    layer.textAlign = 'left';
    this.lanes.forEach(({ worker, slot, device }, place) => {
      const y = margin.top + (place + 0.5) * LANE;
      layer.fillStyle = place % 2 ? colour('background') : colour('surface');
      layer.fillRect(0, y - LANE / 2, width, LANE);
      layer.fillStyle = colour('muted');
      layer.fillText(laneName(layer, { worker, slot, device }, margin.left - 12), 4, y);
    });
    layer.beginPath();
    layer.fillStyle = colour('muted');
    layer.textBaseline = 'top';
    layer.textAlign = 'center';
    const ticks = times(this.since, this.until, Math.max(2, Math.floor((width - margin.left) / 110)));
    for (const { moment, text } of ticks) {
      const at = Math.round(x(moment)) + 0.5;
      layer.moveTo(at, margin.top);
      layer.lineTo(at, bottom);
      const half = layer.measureText(text).width / 2;
      layer.fillText(text, Math.max(margin.left + half - 20, Math.min(width - half - 2, at)), bottom + 7);
    }
    layer.stroke();
  }

  /** What is pointed at here, or in another chart. */
  drawOver() {
    if (!this.bars) return;
    const layer = this.surface.clear(1);
    const hovered = this.selection?.hovered ?? null;
    layer.strokeStyle = colour('text');
    layer.lineWidth = 1.5;
    for (const bar of this.bars) {
      const isShown = bar === this.pointed || (hovered !== null && bar.job === hovered);
      if (isShown) layer.strokeRect(bar.x - 0.5, bar.y - 0.5, bar.width + 1, bar.height + 1);
    }
    const bar = this.pointed;
    this.surface.tell(bar && this.tip(bar), bar ? Math.min(this.at?.[0] ?? bar.x, bar.x + bar.width) : 0, bar?.y ?? 0);
    this.surface.element.style.cursor = bar ? 'pointer' : '';
  }

  tip(bar) {
    const pairs = [
      [t('attempt'), String(bar.attempt)],
      [t('worker'), `${clipped(bar.worker, 60)} · ${t('slot')} ${bar.slot}`],
      [t('device'), bar.device],
      [t('began'), dateAndTime(bar.granted)],
      [t('time'), duration(between(bar.granted, bar.ended))],
      [t('pack_size'), bar.pack_size > 1 ? String(bar.pack_size) : ''],
    ];
    return [
      el('div', { class: 'tip-head' }, el('b', { text: `${t('job')} ${bar.sweep}/${bar.job}` }), badge(bar.outcome)),
      el('dl', {}, pairs.filter(([, value]) => value).map(([name, value]) => [el('dt', { text: name }), el('dd', {}, foreign(value))])),
      bar.reason && el('p', { class: 'note' }, sentence(clipped(bar.reason, 200))),
    ];
  }

  point(bar) {
    if (bar === this.pointed) return;
    this.pointed = bar;
    this.selection?.hover(bar?.job ?? null, this);
    this.over();
  }

  move(event) {
    if (!this.bars || !this.margin) return;
    const [x, y] = (this.at = this.surface.point(event));
    const lane = this.lanes[Math.floor((y - this.margin.top) / LANE)];
    const isHit = (bar) => x >= bar.x - 1 && x <= bar.x + bar.width + 1 && y >= bar.y - 1 && y <= bar.y + bar.height + 1;
    this.point(lane?.bars.findLast(isHit) ?? null);
  }

  click(event) {
    this.move(event);
    if (!this.pointed) return;
    if (event.pointerType === 'touch' && !(this.touched && same(this.touched, this.pointed))) this.touched = this.pointed;
    else this.open(event);
  }

  open(event) {
    const address = `/sweeps/${this.pointed.sweep}/jobs/${this.pointed.job}`;
    if (event.ctrlKey || event.metaKey) window.open(address, '_blank', 'noopener');
    else location.assign(address);
  }

  /** Left and right go along a lane, up and down from lane to lane. */
  key(event) {
    if (event.key === 'Enter' && this.pointed) this.open(event);
    if (event.key === 'Escape') this.point(null);
    const [along, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if ((!along && !down) || !this.bars?.length) return;
    event.preventDefault();
    this.at = null;
    const lane = this.lanes[Math.max(0, Math.min(this.lanes.length - 1, (this.pointed?.lane ?? 0) + (this.pointed ? down : 0)))];
    const from = this.pointed?.lane === lane.bars[0].lane ? lane.bars.indexOf(this.pointed) : lane.bars.findIndex((bar) => bar.to >= (this.pointed?.from ?? 0));
    this.point(lane.bars[Math.max(0, Math.min(lane.bars.length - 1, from + (this.pointed ? along : 0)))]);
    const bar = this.pointed;
    this.surface.element.parentElement.scrollTop = Math.max(0, bar.y - 80);
    say(`${bar.worker}, ${t('slot')} ${bar.slot}: ${t('job')} ${bar.sweep}/${bar.job}, ${t(`state_${bar.outcome}`)}, ${duration(between(bar.granted, bar.ended))}`);
  }
}

function same(one, other) {
  return one.sweep === other.sweep && one.job === other.job && one.attempt === other.attempt;
}

/** Outcomes of attempts have the colours of states. */
function stateOf(outcome) {
  const known = { handed_back: 'paused', revoked: 'stopped', lost: 'failed', rejected: 'failed', unavailable: 'cancelled', out_of_memory: 'failed', pack_lost: 'failed' };
  return known[outcome] ?? outcome;
}

const FORMATS = {
  days: { month: 'short', day: 'numeric' },
  minutes: { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
  seconds: { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' },
};
const formats = {};

/** A time as one of the formats has it, of which each takes milliseconds to make. */
function written(format, date) {
  formats[format] ??= new Intl.DateTimeFormat(language, FORMATS[format]);
  return formats[format].format(date);
}

/** Round times of a span, about `wanted` of them, in the reader's own time. */
function times(since, until, wanted) {
  const step = (STEPS.find((step) => (until - since) / 1000 / step <= wanted) ?? STEPS.at(-1)) * 1000;
  const offset = new Date(since).getTimezoneOffset() * MINUTE * 1000;
  const found = [];
  for (let moment = Math.ceil((since - offset) / step) * step + offset; moment < until; moment += step) {
    const date = new Date(moment);
    const isMidnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
    const format = step >= 86_400_000 || (isMidnight && step >= 60_000) ? 'days' : step >= 60_000 ? 'minutes' : 'seconds';
    found.push({ moment, text: written(format, date) });
  }
  return found;
}

/** A lane's worker, slot and device; where there is little room, the slot, which tells lanes of a worker apart, with as much of the name as fits. */
function laneName(layer, { worker, slot, device }, room) {
  const whole = `${worker} #${slot} · ${device}`;
  if (layer.measureText(whole).width <= room) return whole;
  const end = ` #${slot}`;
  return fitted(layer, worker, room - layer.measureText(end).width) + end;
}

/** As much of a text as fits into so many pixels. */
function fitted(layer, text, room) {
  let most = Math.min(text.length, 80);
  while (most > 3 && layer.measureText(clipped(text, most)).width > room) most -= 1;
  return clipped(text, most);
}
