// Which page an address is, and its start.

import { Left } from './dom.js';
import { keepTimes } from './format.js';
import { head, problem, trail } from './parts.js';
import { t } from './strings.js';

const PAGES = [
  [/^\/$/, () => import('./pages/sweeps.js')],
  [/^\/sweeps\/(\d+)$/, () => import('./pages/sweep.js')],
  [/^\/sweeps\/(\d+)\/jobs\/(\d+)$/, () => import('./pages/job.js')],
  [/^\/workers$/, () => import('./pages/workers.js')],
  [/^\/compare$/, () => import('./pages/compare.js')],
];

async function start() {
  head();
  keepTimes();
  const main = document.getElementById('main');
  main.replaceChildren();
  try {
    for (const [pattern, load] of PAGES) {
      const found = pattern.exec(location.pathname);
      if (!found) continue;
      const { show } = await load();
      await show(main, ...found.slice(1).map(Number));
      return;
    }
    throw new Error(t('no_such_page'));
  } catch (error) {
    main.replaceChildren(trail([t('sweeps'), '/'], [location.pathname]), problem(error));
  } finally {
    main.dataset.ready = 'true';
    scroll();
  }
}

/** Who comes back finds the place where the page was left; the browser knows it only of pages that are whole at once. */
function scroll() {
  const left = new Left(`scroll:${location.pathname}`, { y: 0 });
  const [navigation] = performance.getEntriesByType('navigation');
  if (navigation?.type === 'back_forward' || navigation?.type === 'reload') requestAnimationFrame(() => window.scrollTo(0, left.values.y));
  addEventListener('pagehide', () => left.keep({ y: window.scrollY }));
}

start();
