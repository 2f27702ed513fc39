// The learning curves of a sweep's best jobs, or of the best that brushes leave.

import { get } from './api.js';
import { Lines } from './charts/curves.js';
import { open } from './charts/surface.js';
import { Left, el, fill, whenIdle } from './dom.js';
import { clipped, number, parameter } from './format.js';
import { atMost } from './live.js';
import { leading } from './order.js';
import { choice, problem } from './parts.js';
import { t } from './strings.js';

const HOW_MANY = [5, 10, 20];
const AGAIN_MS = 3_000;

/** The chart. */
export class Curves {
  constructor(sweep, selection) {
    Object.assign(this, { sweep, selection });
    this.left = new Left(`curves:${selection.key}`, { most: 10, metric: null });
    this.most = this.left.values.most;
    this.lines = new Lines({
      label: t('curves'),
      onHover: (job) => selection.hover(job, this),
      onOpen: (job, event) => open(sweep, job, event),
    });
    this.controls = el('div', { class: 'controls' });
    this.wrong = el('div');
    this.element = el('figure', {}, el('figcaption', {}, el('h2', { text: t('curves') }), this.controls), this.wrong, this.lines.element);
    selection.on('hover', (job) => this.lines.point(job));
    selection.on('mask', () => this.columns && this.again());
    this.again = atMost(() => this.read(), () => 300);
    this.later = atMost(() => this.read(), () => AGAIN_MS);
  }

  /** Shows the best of these columns. */
  show(columns, { metric, metrics }) {
    const isFirst = !this.columns;
    Object.assign(this, { columns, metric });
    if (isFirst) {
      this.chosen = this.left.values.metric ?? metric.name;
      // After what the columns alone are drawn of.
      whenIdle(() => this.again());
    } else this.later();
    const names = [...new Set([...metrics, metric.name, this.chosen])];
    if (names.join('\n') !== this.names) this.showControls(names);
    this.names = names.join('\n');
  }

  /** An epoch of a job ended: its curve is longer. */
  touched(job) {
    if (this.shown?.includes(job)) this.later();
  }

  showControls(metrics) {
    fill(
      this.controls,
      choice(t('metric'), metrics.map((name) => [name, name]), this.chosen, (name) => {
        this.chosen = name;
        this.left.keep({ metric: name });
        this.again();
      }),
      choice(t('jobs'), HOW_MANY.map((most) => [String(most), t('best_k', { most })]), String(this.most), (most) => {
        this.most = Number(most);
        this.left.keep({ most: this.most });
        this.lines.legend.style.minHeight = '';
        this.again();
      }),
    );
  }

  /** The best jobs: those that are done, and where they are too few, others with a value. */
  wanted() {
    const { columns, metric, selection, most } = this;
    const isDone = columns.isIn('done');
    const of = (hasEnded, wanted) => leading(columns.objective, metric.maximize, wanted, (row) => isDone(row) === hasEnded && selection.has(row));
    const done = of(true, most);
    return done.length < most ? [...done, ...of(false, most - done.length)] : done;
  }

  async read() {
    // Others may come before the answer.
    const { columns } = this;
    const rows = this.wanted();
    const turn = (this.turn = {});
    const jobs = rows.map((row) => columns.job[row]);
    try {
      const { items } = jobs.length ? await get(`/sweeps/${this.sweep}/curves?jobs=${jobs.join()}&metric=${encodeURIComponent(this.chosen)}`) : { items: [] };
      if (turn !== this.turn) return;
      fill(this.wrong);
      const byJob = new Map(items.map((curve) => [curve.job, curve]));
      const { isWhole, parameters } = columns;
      const varying = parameters.filter((column) => new Set(rows.map((row) => column.valueOf(row))).size > 1);
      const line = (row, place) => {
        const curve = byJob.get(jobs[place]);
        // What comes later has its place already.
        const note = !isWhole ? '…' : varying.slice(0, 6).map((column) => `${clipped(column.label, 24)} ${clipped(short(column.valueOf(row)), 24)}`).join(' · ');
        return curve && { key: jobs[place], title: `${t('job')} ${jobs[place]}`, note, href: `/sweeps/${this.sweep}/jobs/${jobs[place]}`, x: curve.epochs, y: curve.values };
      };
      this.shown = jobs;
      await this.lines.show(rows.map(line).filter(Boolean), { y: clipped(this.chosen, 60) });
    } catch (error) {
      if (turn === this.turn) fill(this.wrong, problem(error));
    }
  }
}

function short(value) {
  return typeof value === 'number' ? number(value, 3) : parameter(value) || t('none');
}
