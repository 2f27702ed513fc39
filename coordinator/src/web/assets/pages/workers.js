// The workers: their slots, devices and states.

import { list } from '../api.js';
import { ofWorker } from '../actions.js';
import { Timeline } from '../charts/timeline.js';
import { el, fill, foreign } from '../dom.js';
import { ago, clipped, count, gibibytes } from '../format.js';
import { atMost, follow } from '../live.js';
import { badge, entitle, isAdmin, liveness, sentence } from '../parts.js';
import { patiently } from '../patience.js';
import { t } from '../strings.js';
import { LiveTable } from '../table.js';

const AGAIN_MS = 3_000;
const WORKERS_MAX = 2_000;
/** With more slots than this, a number says more than boxes. */
const SLOTS_DRAWN_MAX = 16;
/** GPUs of a worker whose use is shown. */
const GPUS_SHOWN_MAX = 8;

/** Fills the page. */
export async function show(main) {
  entitle(t('workers'));
  const live = liveness();
  const total = el('span', { class: 'note' });
  const body = el('div');
  const wrong = el('div');
  const latest = new Map();
  // What a worker does then comes as an event.
  const action = (worker) => ofWorker(worker, () => latest.get(worker.name), () => {});
  const table = new LiveTable(t('workers'), tableColumns(action), ({ name }) => name);
  const timeline = new Timeline({});
  const ran = el('div', { class: 'page', hidden: true }, timeline.element);
  main.append(el('div', { class: 'caption' }, el('h1', { text: t('workers') }), live.element, total), wrong, body, ran);
  const showAll = (items) => {
    items.forEach((worker) => latest.set(worker.name, worker));
    const sum = (of) => items.reduce((sum, worker) => sum + of(worker), 0);
    const isThere = (worker) => worker.state !== 'disconnected';
    total.textContent = items.length ? t('slots_busy', { busy: count(sum((one) => one.busy)), all: count(sum((one) => (isThere(one) ? one.slots : 0))) }) : '';
    if (!items.length) fill(body, nothing());
    else {
      // Those that are there come first.
      items.sort((a, b) => isThere(b) - isThere(a) || a.name.localeCompare(b.name));
      table.show(items);
      if (!table.element.isConnected) fill(body, table.element);
    }
  };
  const ask = async () => {
    showAll((await list('/workers', WORKERS_MAX)).items);
    ran.hidden = false;
  };
  const patient = patiently(ask, wrong, AGAIN_MS);
  await Promise.all([patient(), timeline.read()]);
  // Of very many workers, an event has the first.
  const again = atMost(patient, () => AGAIN_MS);
  const seen = ({ items, next }) => {
    if (next) again();
    else showAll(items);
    ran.hidden = false;
    ranAgain();
  };
  const ranAgain = atMost(() => timeline.end === null && timeline.read(), () => AGAIN_MS);
  follow('/api/v1/workers/events', { snapshot: seen }, live.set);
}

function tableColumns(action) {
  return [
    { label: t('name'), render: ({ name, host }) => [foreign(clipped(name, 200), { class: 'foreign clip strong' }), host !== name && foreign(clipped(host, 200), { class: 'foreign clip note' })] },
    { label: t('state'), render: ({ state }) => badge(state) },
    { label: t('slots'), render: slots },
    { label: t('running'), kind: 'number', render: ({ running }) => count(running) },
    ...(isAdmin ? [{ label: t('actions'), isUnseen: true, render: action }] : []),
    { label: t('devices'), render: devices },
    { label: t('trains'), render: trains },
    { label: t('last_seen'), render: ({ last_seen: seen }) => ago(seen) },
    { label: t('version'), render: ({ version }) => foreign(clipped(version, 40)) },
    { label: t('reason'), kind: 'text', render: ({ reason }) => sentence(clipped(reason, 1_000)) },
  ];
}

function slots({ slots: all, busy }) {
  const text = `${count(busy)} / ${count(all)}`;
  if (all > SLOTS_DRAWN_MAX) return text;
  const boxes = Array.from({ length: all }, (_, place) => el('i', { class: place < busy ? 'slot is-busy' : 'slot' }));
  return el('span', { class: 'slots' }, el('span', { class: 'boxes', 'aria-hidden': 'true' }, boxes), text);
}

/** The devices, and below them what each GPU does where its worker says it. */
function devices({ devices: all, gpus }) {
  const shown = gpus.slice(0, GPUS_SHOWN_MAX).map(gpuUse);
  const more = gpus.length > GPUS_SHOWN_MAX && el('div', { class: 'note', text: t('more_gpus', { count: count(gpus.length - GPUS_SHOWN_MAX) }) });
  return [foreign(clipped(all, 200), { class: 'foreign clip' }), ...shown, more];
}

function gpuUse({ device, name, utilization_percent: percent, memory_used_bytes: used, memory_total_bytes: total }) {
  const memory = t('gpu_memory', { used: gibibytes(used), total: gibibytes(total) });
  const text = percent === null ? `${device}: ${memory}` : t('gpu_use', { device, percent: count(percent), memory });
  const line = el('div', { class: 'gpu note' }, foreign(clipped(text, 120)));
  line.title = clipped(name, 100);
  return line;
}

function trains({ models, programs }) {
  return foreign(clipped([...models, programs ? t('programs') : null].filter(Boolean).join(', '), 200), { class: 'foreign clip' });
}

function nothing() {
  return el('div', { class: 'nothing' }, el('p', {}, el('b', { text: t('no_workers') })), el('p', { text: t('worker_hint') }), el('pre', {}, el('code', { text: 'sweep-worker start --coordinator http://HOST:7070' })));
}
