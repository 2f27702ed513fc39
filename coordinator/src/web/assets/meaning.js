// What the results say: how much each parameter matters, what its values bring, and whether the best can be told from the runner-up. All of it
// is computed by the server; intervals are of 95 %.

import { get } from './api.js';
import { coded, el, fill, foreign, update } from './dom.js';
import { clipped, count, even, gain, number, parameter, probability } from './format.js';
import { choice, problem } from './parts.js';
import { t } from './strings.js';

const LEVELS_MAX = 40;
const PAIRS_MAX = 20;

/** The part of a page. */
export class Meaning {
  constructor(sweep) {
    this.sweep = sweep;
    this.wrong = el('div');
    this.importance = el('div', { class: 'meaning' });
    this.how = el('p', { class: 'note' });
    this.controls = el('div', { class: 'controls' });
    this.effect = el('div', { class: 'meaning' });
    this.pairs = el('details', {}, el('summary', { text: t('paired') }));
    this.verdict = el('p');
    const effects = (this.effects = el('div', { class: 'effects' }, el('div', { class: 'caption' }, el('h3', { text: t('effect') }), this.controls), this.effect, this.pairs));
    this.element = el('figure', { hidden: true }, el('figcaption', {}, el('h2', { text: t('meaning') })), this.wrong, this.verdict, this.importance, this.how, effects);
  }

  /** Reads it again. */
  async read() {
    try {
      this.show(await get(`/sweeps/${this.sweep}/analysis`));
      fill(this.wrong);
    } catch (error) {
      this.element.hidden = false;
      fill(this.wrong, problem(error));
    }
  }

  show(analysis) {
    this.analysis = analysis;
    const { importance, effects, best, jobs, points } = analysis;
    this.element.hidden = !jobs.counted;
    if (!jobs.counted) return;
    fill(this.verdict, coded(verdict(best, analysis.metric.maximize)));
    this.verdict.hidden = !best;
    const items = [...importance.items].sort((a, b) => b.share - a.share);
    update(this.importance, items.map((item) => bar(item)));
    this.how.textContent = how(importance, { points, counted: jobs.counted, cut: cut(analysis) });
    const names = items.map((item) => item.parameter).filter((name) => effects.some((effect) => effect.parameter === name));
    const known = names.length ? names : effects.map((effect) => effect.parameter);
    this.effects.hidden = !known.length;
    if (!known.length) return;
    if (!known.includes(this.chosen)) this.chosen = known[0];
    if (known.join('\n') !== this.known) {
      this.known = known.join('\n');
      fill(this.controls, choice(t('parameter'), known.map((name) => [name, name]), this.chosen, (name) => {
        this.chosen = name;
        this.showEffect();
      }));
    }
    this.showEffect();
  }

  showEffect() {
    const { effects, metric } = this.analysis;
    const { levels, left_out: leftOut, pairs } = effects.find(({ parameter: name }) => name === this.chosen);
    const shown = levels.slice(0, LEVELS_MAX);
    const ends = shown.flatMap(({ mean, interval }) => [mean, interval?.low, interval?.high]).filter((value) => typeof value === 'number');
    const [min, max] = [Math.min(...ends), Math.max(...ends)];
    const at = (value) => (max > min ? (value - min) / (max - min) : 0.5);
    const written = even(ends, 4);
    const best = Math[metric.maximize ? 'max' : 'min'](...shown.map(({ mean }) => mean).filter((mean) => typeof mean === 'number'));
    const left = leftOut + levels.length - shown.length;
    update(this.effect, shown.map((level) => dot(level, { at, written }, level.mean === best)), left > 0 && el('p', { class: 'note', text: t('levels_more', { levels: count(left) }) }));
    this.showPairs(pairs);
  }

  /** Differences of jobs that are equal in everything else. */
  showPairs(pairs) {
    this.pairs.hidden = !pairs.length;
    const name = (value) => clipped(labelOf({ value }), 24);
    const row = ({ first, second, pairs: jobs, difference, interval, p }) => {
      const written = even([difference, interval?.low, interval?.high], 3);
      return el('tr', {}, [
        el('td', {}, foreign(`${name(second)} − ${name(first)}`)),
        el('td', { 'data-kind': 'number', text: jobs ? count(jobs) : t('pairs_welch') }),
        el('td', { 'data-kind': 'number', text: written(difference) }),
        el('td', { 'data-kind': 'number', text: range(interval, written) }),
        el('td', { 'data-kind': 'number', text: p === null ? '' : probability(p).replace('= ', '') }),
      ]);
    };
    const heads = [t('difference'), t('pair_count'), t('mean'), t('interval'), 'p'].map((label, place) => el('th', { scope: 'col', 'data-kind': place ? 'number' : null, text: label }));
    fill(this.pairs, el('summary', { text: t('paired') }), el('div', { class: 'scrolls', tabIndex: 0, role: 'region', 'aria-label': t('paired') }, el('table', {}, el('thead', {}, el('tr', {}, heads)), el('tbody', {}, pairs.slice(0, PAIRS_MAX).map(row)))));
  }
}

/** How much a parameter matters, as a bar with its interval, or with what chance alone would give. */
function bar({ parameter: name, share, by_chance: byChance, interval }) {
  const told = byChance === null ? percent(share) : t('share_by_chance', { share: percent(share), by_chance: percent(byChance) });
  const text = `${told}${interval ? ` (${percent(interval.low)}–${percent(interval.high)})` : ''}`;
  return row(foreign(clipped(name, 60), { class: 'foreign clip' }), text, (track) => {
    track.append(span('share', 0, share));
    if (interval) track.append(span('whisker', interval.low, interval.high));
  });
}

/** What jobs with a value of a parameter reached, in the mean. */
function dot(level, { at, written }, isBest) {
  const { mean, interval, count: jobs, diverged } = level;
  const notes = [t('cell_jobs', { jobs: count(jobs) }), jobs > 1 && !interval && t('all_the_same'), diverged > 0 && t('diverged_too', { jobs: count(diverged) })].filter(Boolean).join(', ');
  const text = mean === null ? notes : `${written(mean)}${interval ? ` (${range(interval, written)})` : ''} · ${notes}`;
  const made = row(foreign(clipped(labelOf(level), 40), { class: 'foreign clip' }), text, (track) => {
    if (interval) track.append(span('whisker', at(interval.low), at(interval.high)));
    if (mean !== null) track.append(span('dot-mark', at(mean), at(mean)));
  });
  if (isBest) made.classList.add('is-best');
  return made;
}

function row(name, text, draw) {
  const track = el('div', { class: 'track', 'aria-hidden': 'true' });
  draw(track);
  return el('div', { class: 'meaning-row' }, el('div', {}, name), track, el('div', { class: 'note', text }));
}

/** A part of a track, from one place to another. */
function span(kind, from, to) {
  const made = el('i', { class: kind });
  made.style.left = `${Math.max(0, Math.min(1, from)) * 100}%`;
  made.style.width = `${Math.max(0, Math.min(1, to) - Math.max(0, from)) * 100}%`;
  return made;
}

function labelOf({ value, range: ends, absent }) {
  if (absent) return t('not_set');
  if (ends) return ends.from === ends.to ? number(ends.from, 4) : `${number(ends.from, 3)}–${number(ends.to, 3)}`;
  return value === null ? 'null' : parameter(value);
}

function range(interval, written) {
  return interval ? t('compare_interval', { low: written(interval.low), high: written(interval.high) }) : '';
}

function percent(share) {
  return `${number(share * 100, 2)} %`;
}

/** What the importance is, and what it rests on. */
function how({ method, quantile, rest, no_interval: none, items }, { points, counted, cut: bounds }) {
  const sentences = [t(`importance_${method}`, { quantile: quantile === null ? '' : percent(quantile), rest: rest === null ? '' : percent(rest) })];
  if (none) sentences.push(t(`no_interval_${none}`));
  if (items.some(({ by_chance: byChance }) => byChance !== null)) sentences.push(t('shares_by_chance'));
  sentences.push(t('rests_on', { jobs: count(counted), points: count(points) }));
  if (bounds) sentences.push(t('cut_at_bounds', bounds));
  return sentences.filter(Boolean).join(' ');
}

/** Where intervals of means are cut, as no value can be beyond; null where none is. */
function cut({ bounds, effects }) {
  const intervals = effects.flatMap(({ levels }) => levels.map(({ interval }) => interval));
  return bounds && intervals.some((one) => one && (one.low === bounds.low || one.high === bounds.high)) ? bounds : null;
}

/** Whether the best can be told from the runner-up. */
function verdict(best, maximize) {
  if (!best) return '';
  const { best: first, runner_up: second, planned, runner_up_leads: leads, not_tested: why, separable, not_separable: others, models } = best;
  const trainings = { first_trainings: count(first.count), second_trainings: count(second?.count ?? 0), planned: count(planned) };
  const by = gain(best, maximize);
  const written = even([by.difference, by.interval?.low, by.interval?.high], 3);
  const values = { first: first.job, second: second?.job, difference: written(by.difference), interval: range(by.interval, written), others: count(others ?? models?.not_told ?? 0), ...trainings };
  const told = leads ? [t('runner_up_leads', values)] : [];
  if (why || (separable === null && !models)) {
    const once = first.count === 1 && second?.count === 1 && planned === 1;
    told.push(t(`untested_${why === 'no_repeats' && !once ? 'some_missing' : (why ?? 'no_repeats')}`, values));
  } else if (models && !leads) {
    told.push(...ofModels(models, values, planned));
  } else {
    told.push(t(leads ? 'differ_by' : separable ? 'separable' : 'not_separable', values));
  }
  return told.join(' ');
}

/** What one training of each says of the two trained models, which is nothing of their configurations. */
function ofModels({ differ, not_told: others }, values, planned) {
  const told = [t(differ ? 'models_differ' : 'models_alike', values)];
  if (differ && planned === 1) told.push(t('train_again'));
  if (others > 0) told.push(t('models_not_told', values));
  return told;
}
