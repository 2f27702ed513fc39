// What changes while one looks: events as they happen, and questions asked again. Both rest while the page is hidden, as browsers allow few
// connections to a host and a hundred open pages are to cost the coordinator little.

import { get } from './api.js';

const WAIT_MIN_MS = 1_000;
/** The longest time between two questions that fail. */
export const WAIT_MAX_MS = 30_000;
/** How often one looks whether what has ended goes on. */
export const RESTING_MS = 15_000;
/** What costs little, and is refused to who has no session any more. */
const CHEAP = '/sweeps?rows=1';

/**
 * Follows the events of an address. `handlers` are functions by the names of events; `onState` hears `live`, `waiting` (connecting again) and
 * `ended`. Gives a function that ends it.
 */
export function follow(address, handlers, onState) {
  let source = null;
  let timer = 0;
  let wait = WAIT_MIN_MS;
  let isOver = false;

  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  // Events say nothing of why they are refused. Where it is for want of a session, the question leads to the page that asks for the token.
  const openAgain = async () => {
    try {
      await get(CHEAP);
    } catch (error) {
      if (error.status === 401) return;
    }
    if (!source) open();
  };
  const open = () => {
    close();
    if (isOver || document.hidden) return;
    source = new EventSource(address);
    source.addEventListener('open', () => {
      wait = WAIT_MIN_MS;
      onState('live');
    });
    for (const [name, handler] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
    }
    source.addEventListener('end', () => {
      isOver = true;
      close();
      onState('ended');
    });
    source.addEventListener('error', () => {
      if (isOver) return;
      onState('waiting');
      // After a broken connection a browser connects by itself; after an answer that is an error it does not.
      if (source?.readyState !== EventSource.CLOSED) return;
      close();
      timer = setTimeout(openAgain, wait);
      wait = Math.min(wait * 2, WAIT_MAX_MS);
    });
  };
  const seen = () => (document.hidden ? close() : open());
  document.addEventListener('visibilitychange', seen);
  open();
  return () => {
    isOver = true;
    close();
    document.removeEventListener('visibilitychange', seen);
  };
}

/**
 * Asks now and again every `every_ms` while the page is visible, never twice at the same time, and less often while it fails. Where `ask` gives
 * false, what it asks for has ended: it looks now and then whether that goes on, as others may try it again or extend it. Gives a function that
 * asks at once, and one that ends it. The first question waits for `delay_ms`.
 */
export function poll(ask, every_ms, onState, delay_ms = 0) {
  let timer = 0;
  let wait = every_ms;
  let isAsking = false;
  let isOver = false;

  const run = async () => {
    clearTimeout(timer);
    if (isAsking || isOver || document.hidden) return;
    isAsking = true;
    try {
      const goesOn = (await ask()) !== false;
      wait = goesOn ? every_ms : RESTING_MS;
      if (!isOver) onState?.(goesOn ? 'live' : 'ended');
    } catch (error) {
      wait = Math.min(wait * 2, WAIT_MAX_MS);
      if (!isOver) onState?.('waiting', error);
    }
    isAsking = false;
    if (!isOver) timer = setTimeout(run, wait);
  };
  document.addEventListener('visibilitychange', run);
  if (delay_ms) timer = setTimeout(run, delay_ms);
  else run();
  const stop = () => {
    isOver = true;
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', run);
  };
  return { now: run, stop };
}

/**
 * Calls `act` soon, and at most once in `every_ms()` milliseconds, however often it is asked to. Who asks while it is at work asks for what may
 * have come too late for it: it is called again afterwards.
 */
export function atMost(act, every_ms) {
  let last = -Infinity;
  let isWaiting = false;
  let isActing = false;
  let isWanted = false;
  const run = async () => {
    [isWaiting, isActing] = [false, true];
    try {
      await act();
    } finally {
      last = performance.now();
      isActing = false;
      if (isWanted) soon();
    }
  };
  const soon = () => {
    isWanted = isActing;
    if (isActing || isWaiting) return;
    isWaiting = true;
    setTimeout(run, Math.max(0, last + every_ms() - performance.now()));
  };
  return soon;
}
