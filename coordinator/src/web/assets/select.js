// Which jobs are looked at. All charts and the table of a sweep share one selection: the job under the pointer, and the jobs that brushes leave.

import { perFrame } from './dom.js';

/** A selection of jobs of a sweep. Listeners are called once a frame, however much changed. */
export class Selection {
  constructor({ id, created }) {
    /** What is remembered of the sweep has this in its key: another store of this address has other sweeps of the same numbers. */
    this.key = `${id}@${created}`;
    /** The number of the job that is pointed at, or null. */
    this.hovered = null;
    /** For each row of the columns whether brushes leave it; null without brushes. */
    this.mask = null;
    /** How many they leave. */
    this.count = 0;
    /** What holds of the jobs that they leave, as the server is asked for them. */
    this.where = [];
    this.listeners = { hover: [], mask: [] };
    this.tellHover = perFrame(() => this.listeners.hover.forEach((listener) => listener(this.hovered, this.by)));
    this.tellMask = perFrame(() => this.listeners.mask.forEach((listener) => listener(this.mask)));
  }

  /** Listens to `hover` or `mask`. */
  on(what, listener) {
    this.listeners[what].push(listener);
  }

  /** Points at a job, or at none. `by` is who points, so that it need not answer itself. */
  hover(job, by = null) {
    if (this.hovered === job) return;
    this.hovered = job;
    this.by = by;
    this.tellHover();
  }

  /** Leaves the rows that brushes leave, or all; `where` says which these are. */
  choose(mask, where, isQuiet) {
    if (!mask && !this.mask) return;
    this.where = where;
    this.mask = mask;
    this.count = mask ? mask.reduce((sum, is) => sum + is, 0) : 0;
    if (!isQuiet) this.tellMask();
  }

  /** Whether a row is left. */
  has(row) {
    return !this.mask || this.mask[row] === 1;
  }
}
