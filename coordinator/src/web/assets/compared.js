// Whether a test tells sweeps apart, and what their files differ in: computed by the server, as `sweep compare` shows it.

import { get } from './api.js';
import { coded, el, fill, foreign } from './dom.js';
import { clipped, count, even, gain, probability } from './format.js';
import { problem } from './parts.js';
import { t } from './strings.js';

/** The part of the page. */
export class Compared {
  constructor() {
    this.wrong = el('div');
    this.verdicts = el('div');
    this.differences = el('div');
    const part = (title, body) => el('figure', {}, el('figcaption', {}, el('h2', { text: title })), body);
    this.element = el('div', { class: 'page' }, this.wrong, part(t('compare_tests'), this.verdicts), part(t('compare_differences'), this.differences));
  }

  /** Reads it where something has changed since the last time. */
  async read(sweeps) {
    this.element.hidden = sweeps.length < 2;
    const state = sweeps.map(({ sweep }) => `${sweep.id} ${sweep.name} ${sweep.state} ${sweep.done}`).join('\n');
    if (sweeps.length < 2 || state === this.state) return;
    try {
      this.show(await get(`/compare?sweeps=${sweeps.map(({ sweep }) => sweep.id).join(',')}`));
      this.state = state;
      fill(this.wrong);
    } catch (error) {
      fill(this.wrong, problem(error));
    }
  }

  /** What was computed of a sweep; nothing before the first answer. */
  of(id) {
    return this.sweeps?.find((sweep) => sweep.id === id) ?? null;
  }

  show({ sweeps, differences, differences_left_out: leftOut, against_first: pairs }) {
    this.sweeps = sweeps;
    const left = sweeps.reduce((sum, sweep) => sum + sweep.trainings_left_out, 0);
    fill(this.verdicts, left > 0 && el('p', { class: 'note', text: t('compare_left_out', { left: count(left) }) }), pairs.map((pair) => el('ul', {}, sentences(pair, sweeps).map((text) => el('li', {}, coded(text))))));
    if (!differences.length) {
      fill(this.differences, el('p', { class: 'note', text: t('compare_same') }));
      return;
    }
    const heads = [t('compare_key'), ...sweeps.map(({ id }) => String(id))].map((text) => el('th', { scope: 'col', text }));
    const value = (text) => el('td', {}, text !== null && foreign(clipped(text, 120), { class: 'foreign clip wide', title: text }));
    const rows = differences.map(({ key, values }) => el('tr', {}, el('td', { class: 'key' }, breakable(clipped(key, 120))), values.map(value)));
    const table = el('table', {}, el('thead', {}, el('tr', {}, heads)), el('tbody', {}, rows));
    const more = leftOut > 0 && el('p', { class: 'note', text: t('compare_more_keys', { keys: count(leftOut) }) });
    fill(this.differences, el('div', { class: 'scrolls', tabIndex: 0, role: 'region', 'aria-label': t('compare_differences') }, table), more);
  }
}

/** A key that a line may end within: after a dot or an underscore. */
function breakable(key) {
  return el('bdi', { class: 'foreign' }, key.split(/(?<=[._])/).flatMap((part) => [part, el('wbr')]));
}

/** What comes of comparing two sweeps. */
function sentences({ first, second, not_compared: why, other_data: differs, bests, common, paired, first_better: ahead, second_better: behind }, sweeps) {
  const of = (id) => sweeps.find((sweep) => sweep.id === id);
  if (why === 'other_metric') return [t('compare_other_metric', { first, second })];
  const told = why === 'other_data' ? [t('compare_other_data', { first, second, keys: differs.join(', ') })] : [];
  const tested = (key, test, more) => leading(key, test, [first, second], of(first).maximize, more);
  if (bests) told.push(tested('compare_bests', bests));
  else if (of(first).best_job === null || of(second).best_job === null) told.push(t('compare_no_best', { first, second }));
  else told.push(t(Math.min(of(first).trainings, of(second).trainings) < 2 ? 'compare_once' : 'compare_no_variation', { first, second }));
  const wins = { common: count(common), ahead: count(ahead), behind: count(behind) };
  if (paired) told.push(tested('compare_paired', paired, { ...wins, p: probability(paired.p_corrected), verdict: t(paired.separable ? 'compare_significant' : 'compare_not_separable') }));
  else told.push(t(common === 0 ? 'compare_none_common' : ahead + behind === 0 ? 'compare_equal' : 'compare_unpaired', { first, second, ...wins }));
  return told;
}

/** A difference, the second less the first, as which of the two is better and by how much. */
function leading(key, test, [first, second], maximize, more) {
  const isSecond = gain(test, maximize).difference >= 0;
  const [better, worse] = isSecond ? [second, first] : [first, second];
  // Where the first is better, the first less the second.
  const { difference, interval } = test.difference === 0 ? test : gain(test, maximize === isSecond);
  const all = [difference, interval.low, interval.high];
  const [by, low, high] = all.map(even(all, 3));
  return t(difference === 0 ? `${key}_equal` : key, { first, second, better, worse, difference: by, interval: t('compare_interval', { low, high }), ...more });
}
