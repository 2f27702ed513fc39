// What changes a sweep, a job or a worker. Each says first what will happen to what runs.

import { el } from './dom.js';
import { post } from './api.js';
import { count, named } from './format.js';
import { asks } from './parts.js';
import { t } from './strings.js';

/** Buttons of a sweep, of those that its state allows. `now` gives the sweep as it is, `then` takes it as it is afterwards. */
export function ofSweep(now, then) {
  const { id, state, failed, cancelled } = now();
  const act = (action, body) => async () => {
    const answer = await post(`/sweeps/${id}/${action}`, body?.());
    then(answer.sweep ?? answer);
    return answer.retried === undefined ? undefined : t('retried', { jobs: count(answer.retried) });
  };
  const question = (action) => () => {
    const sweep = now();
    const numbers = { running: count(sweep.running), pending: count(sweep.pending + sweep.paused) };
    const body = [t(`${action}_sweep_running`, numbers), t(`${action}_sweep_pending`, numbers)].filter((line) => line);
    return { title: t(`${action}_sweep_title`, { name: named(sweep.name), id }), body };
  };
  const isGoing = state === 'running' || state === 'paused';
  const buttons = [];
  if (state === 'running') buttons.push(asks(t('pause'), question('pause'), act('pause')));
  if (state === 'paused') buttons.push(asks(t('resume'), question('resume'), act('resume'), 'primary'));
  if (failed + cancelled > 0) buttons.push(retry(now, act));
  if (isGoing) buttons.push(asks(t('stop'), question('stop'), act('stop')));
  if (isGoing || state === 'stopping') buttons.push(asks(t('cancel'), question('cancel'), act('cancel'), 'danger'));
  return buttons;
}

function retry(now, act) {
  const too = el('input', { type: 'checkbox' });
  const question = () => {
    const { id, name, state, failed, cancelled } = now();
    // As `sweep retry` has it, the cancelled ones too. Those of a sweep that has ended early go on together or not at all.
    too.checked = true;
    too.disabled = state === 'stopped' || state === 'cancelled';
    const body = [t('retry_sweep_failed', { failed: count(failed) })];
    if (cancelled > 0) body.push(el('label', { class: 'check' }, too, t('retry_cancelled', { cancelled: count(cancelled) })));
    body.push(t('retry_running'));
    return { title: t('retry_sweep_title', { name: named(name), id }), body };
  };
  return asks(t('retry'), question, act('retry', () => ({ cancelled_too: too.checked })));
}

/** Buttons of a job. */
export function ofJob(sweep, job, then) {
  const act = (action) => async () => {
    await post(`/sweeps/${sweep}/jobs/${job.job}/${action}`);
    await then();
  };
  const question = (action) => () => ({ title: t(`${action}_job_title`, { job: job.job }), body: [t(`${action}_job_text`)] });
  const isGoing = ['pending', 'running', 'paused'].includes(job.state);
  if (isGoing) return [asks(t('stop'), question('stop'), act('stop')), asks(t('cancel'), question('cancel'), act('cancel'), 'danger')];
  if (job.state === 'failed' || job.state === 'cancelled') return [asks(t('retry'), question('retry'), act('retry'))];
  return [];
}

/** The button that tells a worker to leave; none for one that leaves or has left. `now` gives the worker as it is when asked. */
export function ofWorker(worker, now, then) {
  if (worker.state !== 'connected' && worker.state !== 'quarantined') return null;
  const question = () => ({
    title: t('drain_title', { worker: named(worker.name) }),
    body: [t('drain_running', { running: count(now().running) }), t('drain_back')],
  });
  const act = async () => {
    await post(`/workers/${encodeURIComponent(worker.name)}/drain`);
    await then();
  };
  return asks(t('drain'), question, act);
}
