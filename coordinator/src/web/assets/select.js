// Which jobs are looked at, and on which axes. All charts and the table of a sweep share one selection: the job under the pointer, the jobs that
// brushes leave, and the axes that the reader made logarithmic or even.

import { Left, perFrame } from './dom.js';

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
    /** By the names of columns, whether the reader wants their axes logarithmic. */
    this.left = new Left(`axes:${this.key}`, { logs: {} });
    this.listeners = { hover: [], mask: [], axes: [] };
    this.tellHover = perFrame(() => this.listeners.hover.forEach((listener) => listener(this.hovered, this.by)));
    this.tellAxes = perFrame(() => this.listeners.axes.forEach((listener) => listener()));
    this.tellMask = perFrame(() => this.listeners.mask.forEach((listener) => listener(this.mask)));
  }

  /** Listens to `hover`, `mask` or `axes`. */
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

  /**
   * How the axis of a column is: logarithmic, even, or (undefined) as its numbers are. Of values of which the large ones are better, the small
   * ones are of no interest: that some are very small is no reason for a logarithm.
   */
  axis({ name }, metric) {
    return { isLog: this.left.values.logs[name], isForLarge: name === 'objective' && metric.maximize };
  }

  /** Makes the axis of a column logarithmic, or even. */
  makeLog({ name }, isLog) {
    this.left.keep({ logs: { ...this.left.values.logs, [name]: isLog } });
    this.tellAxes();
  }

  /** Whether a row is left. */
  has(row) {
    return !this.mask || this.mask[row] === 1;
  }
}
