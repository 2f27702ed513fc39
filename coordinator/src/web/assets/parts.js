// Parts that several pages have: the head of all pages, states, bars, banners, and questions before something changes.

import { coded, el, fill, foreign, say, svg } from './dom.js';
import { count, estimated } from './format.js';
import { isJapanese, isKnown, t } from './strings.js';

const { role, name } = document.body.dataset;

/** Whether the reader may change everything; who may not is refused, so that nothing is offered that asks first and fails then. */
export const isAdmin = role === 'admin';
/** Whether the reader may change nothing. */
const isViewer = role === 'viewer';

/** Whether the reader may change any sweep. */
export const mayChangeSome = !isViewer;

/** Whether the reader may change a sweep and its jobs: admins may, and of those who submit its owner. */
export function mayChange({ owner }) {
  return isAdmin || (!isViewer && owner === name);
}

/** States of jobs, in the order in which bars show them. */
export const JOB_STATES = ['done', 'stopped', 'diverged', 'failed', 'cancelled', 'paused', 'running', 'pending'];

/** With fewer jobs that have ended, nothing can be said of those to come. */
const ENDED_MIN = 5;

/** States in which a sweep does nothing more by itself. */
export const FINAL = new Set(['finished', 'stopped', 'cancelled']);

/** The head of all pages. */
export function head() {
  const at = (path) => location.pathname === path;
  const link = (path, key) => el('a', { href: path, text: t(key), 'aria-current': at(path) ? 'page' : null });
  const other = isJapanese ? 'en' : 'ja';
  const language = el('button', {
    type: 'button',
    class: 'quiet',
    lang: other,
    text: isJapanese ? 'English' : '日本語',
    onclick: () => {
      document.cookie = `sweep-language=${other}; path=/; max-age=31536000; samesite=lax`;
      // Chromium sets a cookie while the script goes on, and answers who reads after it: the page that comes is asked for with it.
      if (document.cookie) location.reload();
    },
  });
  const hasSession = document.body.dataset.session === 'true';
  const logOut = el('form', { method: 'post', action: '/logout' }, el('button', { class: 'quiet', text: t('log_out') }));
  closeMenus();
  document.querySelector('.skip').textContent = t('skip');
  fill(
    document.getElementById('top'),
    el('a', { class: 'brand', href: '/' }, mark(), el('span', { text: 'sweep' })),
    el('nav', { 'aria-label': t('pages') }, link('/', 'sweeps'), link('/workers', 'workers')),
    el('div', { class: 'end' }, isViewer && el('span', { class: 'note', text: t('looks_only') }), language, hasSession && logOut),
  );
}

/** Menus close where one goes on elsewhere, or by Escape. */
function closeMenus() {
  const close = (menu) => (menu.open = false);
  const open = () => [...document.querySelectorAll('details.menu[open]')];
  document.addEventListener('pointerdown', ({ target }) => open().filter((menu) => !menu.contains(target)).forEach(close));
  document.addEventListener('keydown', ({ key }) => {
    if (key !== 'Escape') return;
    open().forEach((menu) => {
      close(menu);
      menu.querySelector('summary').focus();
    });
  });
}

/** The icon: curves that learn. */
function mark() {
  const curves = ['M6 25C9 14 14 10 26 8', 'M6 25c5-6 10-8 20-9', 'M6 25c6-2 12-2 20-1'];
  return svg('svg', { class: 'mark', viewBox: '0 0 32 32', 'aria-hidden': 'true' }, svg('rect', { width: 32, height: 32, rx: 7 }), ...curves.map((d) => svg('path', { d })));
}

/** Names the page for the browser's tab and its history. */
export function entitle(text) {
  document.title = text ? `${text.slice(0, 80)} · sweep` : 'sweep';
}

/** The way to a page. Each step is [text, address]. */
export function trail(...steps) {
  const one = ([text, address]) => el('li', {}, address ? el('a', { href: address }, foreign(text)) : foreign(text));
  return el('nav', { class: 'trail', 'aria-label': t('trail') }, el('ol', {}, steps.map(one)));
}

/** A state as a word with its colour. */
export function badge(state) {
  return el('span', { class: 'badge', 'data-state': state, text: t(`state_${state}`) });
}

/** The same of a sweep: one that a user stopped, and no rule of early stopping. One of which nothing came, as its jobs failed or diverged, has the colour of failure. */
export function sweepBadge({ state, done, failed, diverged }) {
  const badged = badge(state);
  if (state === 'stopped') badged.textContent = t('state_sweep_stopped');
  if (state === 'finished' && done === 0 && failed + diverged > 0) badged.dataset.state = 'failed';
  return badged;
}

/** Jobs by state as a bar of segments. */
export function segments(sweep) {
  const parts = JOB_STATES.filter((state) => sweep[state] > 0);
  const words = parts.map((state) => `${t(`state_${state}`)} ${count(sweep[state])}`).join(', ');
  const bar = el('div', { class: 'segments', role: 'img', 'aria-label': words || t('no_jobs'), title: words });
  for (const state of parts) {
    const segment = el('span', { 'data-state': state });
    segment.style.flexGrow = String(sweep[state]);
    bar.append(segment);
  }
  return bar;
}

/** The same counts in words, with the colours of the bar. */
export function legend(sweep) {
  const one = (state) =>
    el('li', {}, el('i', { class: 'dot', 'data-state': state }), t(`state_${state}`), ' ', el('b', { text: count(sweep[state]) }));
  return el('ul', { class: 'legend' }, JOB_STATES.filter((state) => sweep[state] > 0).map(one));
}

/** About how long a sweep may still take, in a text of the page, as long as jobs end as they did so far; null where that cannot be said. */
export function timeLeft(key, { state, created, jobs, pending, running, paused }) {
  const ended = jobs - pending - running - paused;
  if (state !== 'running' || !created || ended < ENDED_MIN || running === 0) return null;
  return estimated(key, created, (jobs - ended) / ended);
}

/** What a sweep's owner has of the slots, where the coordinator knows owners: how many, of how many, and how large the share is. */
export function ownersSlots({ owner, share }) {
  if (!owner || !share) return null;
  const { slots, quota, weight } = share;
  const held = quota === null ? count(slots) : t('slots_of', { slots: count(slots), quota: count(quota) });
  return weight === 1 ? held : `${held} · ${t('share_weight', { weight: count(weight) })}`;
}

/** How much is done, from 0 to 1. */
export function progress(part, label) {
  const bar = el('div', { class: 'progress', role: 'img', 'aria-label': label, title: label });
  const done = el('span');
  done.style.width = `${Math.max(0, Math.min(1, part)) * 100}%`;
  bar.append(done);
  return bar;
}

/** A sentence of the server, which knows most of its own in the reader's language; the others are in English, as programs and systems say them. */
export function sentence(text, properties) {
  const isTranslated = isJapanese && /[\u3040-\u30ff\u4e00-\u9fff]/.test(text);
  return el('bdi', { class: 'foreign', lang: isTranslated ? null : 'en', ...properties }, coded(text));
}

/** Something that a reader should know. */
export function banner(kind, label, text) {
  return el(
    'p',
    { class: 'banner', 'data-kind': kind, role: kind === 'error' ? 'alert' : null },
    label && el('b', { text: label }),
    label && ' ',
    sentence(text),
  );
}

/** What went wrong, in place of what could not be shown: its kind in the reader's language, then what the server says of it. */
export function problem(error) {
  if (!error.code) console.error(error);
  const kind = `kind_${error.code}`;
  const label = !error.code ? t('error_page') : isKnown(kind) ? t(kind) : t('error');
  return banner('error', label, error.message);
}

/** Whether what is shown is kept up to date. Gives the element and what sets its state. */
export function liveness() {
  const element = el('span', { class: 'liveness', 'data-live': 'waiting', text: t('live_waiting') });
  const set = (state, error) => {
    element.dataset.live = state;
    element.textContent = t(`live_${state}`);
    // What has ended says so by its own state.
    element.hidden = state === 'ended';
    element.title = error?.message ?? '';
  };
  return { element, set };
}

/**
 * A button that asks before it changes something. `question` gives what will happen, as texts and elements, at the moment of asking.
 */
export function asks(label, question, act, kind) {
  return el('button', { type: 'button', class: kind ?? '', text: label, onclick: () => ask(label, question(), act, kind) });
}

function ask(label, question, act, kind) {
  const wrong = el('div');
  const yes = el('button', { type: 'button', class: kind === 'danger' ? 'danger' : 'primary', text: label });
  const no = el('button', { type: 'button', text: t('not_now'), onclick: () => dialog.close() });
  const title = el('h2', { text: question.title });
  const body = question.body.map((part) => (typeof part === 'string' ? el('p', { text: part }) : part));
  const dialog = el('dialog', { 'aria-label': question.title }, title, body, wrong, el('div', { class: 'buttons' }, no, yes));
  yes.addEventListener('click', async () => {
    yes.disabled = true;
    try {
      say((await act()) ?? t('done_that'));
      dialog.close();
    } catch (error) {
      fill(wrong, problem(error));
      yes.disabled = false;
      // Who has closed it meanwhile would never know that nothing was done.
      if (!dialog.isConnected) show();
    }
  });
  dialog.addEventListener('close', () => {
    dialog.remove();
    // The button that asked may be gone by now.
    if (document.activeElement === document.body) document.getElementById('main').focus();
  });
  const show = () => {
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
  };
  show();
}

/** Names and values: [name, value, whether it takes the whole width]. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return el('dl', { class: 'facts' }, shown.map(([name, value, isWide]) => el('div', { class: isWide ? 'whole' : null }, el('dt', {}, name), el('dd', {}, value))));
}

/** A choice of one. `options` are [value, text]. */
export function choice(label, options, value, onChange) {
  const select = el(
    'select',
    { onchange: () => onChange(select.value) },
    options.map(([value, text]) => el('option', { value, text: text.length > 60 ? `${text.slice(0, 59)}…` : text })),
  );
  select.value = value;
  return el('label', { class: 'choice' }, el('span', { text: label }), select);
}

/** A part of a page with a heading. */
export function section(title, ...children) {
  return el('section', {}, el('h2', { text: title }), children);
}
