// All sweeps, the latest first.

import { ofSweep } from '../actions.js';
import { list } from '../api.js';
import { el, fill, foreign } from '../dom.js';
import { ago, clipped, count, lasted, named, number, parameters } from '../format.js';
import { atMost, follow } from '../live.js';
import { RowMenu } from '../menu.js';
import { FINAL, entitle, liveness, mayChange, mayChangeSome, ownersSlots, segments, sweepBadge, timeLeft } from '../parts.js';
import { patiently } from '../patience.js';
import { t } from '../strings.js';
import { LiveTable } from '../table.js';

const AGAIN_MS = 3_000;
/** Sweeps that are shown at first, as many as an event has, and again with each press of the button. */
const PAGE = 100;

/** Fills the page. */
export async function show(main) {
  entitle('');
  const live = liveness();
  const chosen = new Set();
  const compare = el('a', { class: 'button', role: 'link', 'aria-disabled': 'true', text: t('compare') });
  const choose = (id) => (event) => {
    if (event.target.checked) chosen.add(id);
    else chosen.delete(id);
    const isEnough = chosen.size > 1;
    if (isEnough) compare.href = `/compare?sweeps=${[...chosen].sort((a, b) => a - b).join()}`;
    else compare.removeAttribute('href');
    compare.setAttribute('aria-disabled', String(!isEnough));
  };
  const shown = new Map();
  const menu = new RowMenu((id) => ofSweep(() => shown.get(id), (after) => showAll([...shown.values()].map((sweep) => (sweep.id === id ? { ...sweep, ...after } : sweep)))));
  const table = new LiveTable(t('sweeps'), tableColumns(chosen, choose, menu), (sweep) => sweep.id, (row, { id }) => {
    row.dataset.address = `/sweeps/${id}`;
    row.addEventListener('click', (event) => !event.target.closest('a, button, input') && !getSelection().toString() && location.assign(row.dataset.address));
  });
  const body = el('div', { class: 'page' });
  const wrong = el('div');
  let most = PAGE;
  const more = el('button', {
    type: 'button',
    text: t('more'),
    onclick: () => {
      most += PAGE;
      return patient();
    },
  });
  const below = el('div', { class: 'pager', hidden: true }, more);
  main.append(el('div', { class: 'caption' }, el('h1', { text: t('sweeps') }), live.element, el('div', { class: 'controls' }, compare)), wrong, body, menu.element);
  const showAll = (items, isWhole = below.hidden) => {
    compare.hidden = items.length < 2;
    if (!items.length) {
      if (!body.querySelector('.nothing')) fill(body, nothing());
      return;
    }
    shown.clear();
    items.forEach((sweep) => shown.set(sweep.id, sweep));
    table.show(items);
    menu.renew();
    below.hidden = isWhole;
    if (!table.element.isConnected) fill(body, table.element, below);
  };
  const ask = async () => {
    const { items, isWhole } = await list('/sweeps', most);
    showAll(items, isWhole);
  };
  const patient = patiently(ask, wrong, AGAIN_MS);
  await patient();
  // An event has the newest sweeps; with more of them on the page, all are read again.
  const again = atMost(patient, () => AGAIN_MS);
  const seen = ({ items, next }) => (most > PAGE && next ? again() : showAll(items, !next));
  follow('/api/v1/sweeps/events', { snapshot: seen }, live.set);
}

function tableColumns(chosen, choose, menu) {
  return [
    {
      label: t('compare'),
      isUnseen: true,
      kind: 'check',
      render: ({ id, name }) => el('input', { type: 'checkbox', checked: chosen.has(id), 'aria-label': t('choose_sweep', { name: clipped(name, 60) }), onchange: choose(id) }),
    },
    { label: t('number'), kind: 'number', render: ({ id }) => String(id) },
    { label: t('name'), render: whose },
    { label: t('state'), render: sweepBadge },
    ...(mayChangeSome ? [{ label: t('actions'), isUnseen: true, kind: 'menu', render: (sweep) => mayChange(sweep) && menu.button(sweep.id, t('actions_of', { name: named(sweep.name) })) }] : []),
    { label: t('jobs'), render: (sweep) => [segments(sweep), el('span', { class: 'note' }, ended(sweep), sweep.failed > 0 && el('span', { class: 'bad', text: ` · ${t('failed_count', { failed: count(sweep.failed) })}` }))] },
    { label: t('best'), render: best },
    { label: t('time'), kind: 'number', render: time },
    { label: t('created'), render: ({ created }) => ago(created) },
  ];
}

/** A sweep's name, whose it is where the coordinator knows, and when its turn comes. */
function whose(sweep) {
  const { id, name, owner, priority, state } = sweep;
  // Of a sweep that has ended, no job waits for a slot.
  const [slots, turn] = FINAL.has(state) ? [] : [ownersSlots(sweep), priority !== 0 && `${t('priority')}: ${priority}`];
  return [
    el('a', { class: 'clip wide', href: `/sweeps/${id}`, title: clipped(name, 500) }, foreign(clipped(name, 200))),
    owner && el('div', { class: 'note clip wide owner', title: clipped(owner, 200) }, `${t('owner')}: `, foreign(clipped(owner, 60))),
    (slots || turn) && el('div', { class: 'note owner', text: [slots && `${t('slots')}: ${slots}`, turn].filter(Boolean).join(' · ') }),
  ];
}

function ended({ jobs, pending, running, paused }) {
  return t('ended_of', { ended: count(jobs - pending - running - paused), all: count(jobs) });
}

function best({ id, state, best: value, best_trainings: trainings, best_job: job, best_parameters: values, metric }) {
  if (job === null) return el('span', { class: 'note', text: t(FINAL.has(state) ? 'none_done_at_all' : 'none_done') });
  return [
    el('a', { href: `/sweeps/${id}/jobs/${job}` }, el('b', { class: 'figure', text: number(value) })),
    trainings > 1 && el('span', { class: 'note', text: ` ${t('mean_of', { trainings })}` }),
    ' ',
    foreign(clipped(metric.name, 40), { class: 'foreign note' }),
    el('div', { class: 'note clip wide point', title: parameters(values, 30) }, foreign(parameters(values))),
  ];
}

function time(sweep) {
  const left = timeLeft('about_left', sweep);
  return [lasted(sweep.created, FINAL.has(sweep.state) ? sweep.ended : null), left && el('div', { class: 'note' }, left)];
}

function nothing() {
  return el(
    'div',
    { class: 'nothing' },
    el('p', {}, el('b', { text: t('no_sweeps') })),
    el('p', { text: t('submit_hint') }),
    el('pre', {}, el('code', { text: 'sweep submit sweep.yaml --dataset data/train' })),
    el('p', { class: 'note', text: t('appears') }),
  );
}
