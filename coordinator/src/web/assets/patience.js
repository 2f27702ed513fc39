// Questions that are asked again until they are answered.

import { fill, update } from './dom.js';
import { WAIT_MAX_MS } from './live.js';
import { problem } from './parts.js';

/**
 * Gives a function that asks, says in `wrong` why there is no answer, and goes on asking until there is one: at first after `wait_ms`, then less
 * often.
 */
export function patiently(ask, wrong, wait_ms) {
  let timer = 0;
  let wait = wait_ms;
  const again = async () => {
    clearTimeout(timer);
    try {
      await ask();
      wait = wait_ms;
      fill(wrong);
    } catch (error) {
      update(wrong, problem(error));
      timer = setTimeout(later, wait);
      wait = Math.min(wait * 2, WAIT_MAX_MS);
    }
  };
  // A page that no one sees asks for nothing.
  const later = () => (document.hidden ? (timer = setTimeout(later, wait)) : again());
  return again;
}
