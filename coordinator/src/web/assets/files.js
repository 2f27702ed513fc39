// What is kept of a job: its weights, or the files that its program left. They are downloaded, never shown: a program may write anything.

import { get } from './api.js';
import { el, fill, foreign } from './dom.js';
import { bytes, clipped } from './format.js';
import { problem, section, sentence } from './parts.js';
import { t } from './strings.js';
import { LiveTable } from './table.js';

/** The name of all files of a job as one. */
const WHOLE = 'files.tar';

/** The files of one job. */
export class Files {
  constructor(sweep, job) {
    this.address = `/sweeps/${sweep}/jobs/${job}/artifacts`;
    this.table = new LiveTable(t('files'), this.columns(), ({ name, state }) => name ?? state);
    this.note = el('div');
    this.element = section(t('files'), this.table.element, this.note);
    this.element.id = 'files';
    this.element.hidden = true;
  }

  /** Reads them where something has become of them. */
  async of({ weights, attempts }) {
    const state = `${weights} ${attempts.length}`;
    if (!weights || state === this.known) return;
    this.known = state;
    try {
      const { items, left_out: leftOut } = await get(this.address);
      const isAnyThere = items.some(({ name, state }) => name || state !== 'absent');
      this.table.show(items);
      fill(this.note, leftOut.length > 0 && el('p', { class: 'note' }, foreign(clipped(t('files_left_out', { what: leftOut.map(others).join('; ') }), 2_000))));
      // That nothing is kept, the facts above say.
      this.element.hidden = !isAnyThere && !leftOut.length;
    } catch (error) {
      this.known = null;
      fill(this.note, problem(error));
      this.element.hidden = false;
    }
  }

  columns() {
    return [
      { label: t('file'), kind: 'text', render: (item) => this.link(item) },
      { label: t('state'), render: ({ state }) => t(`weights_${state}`) },
      { label: t('file_size'), kind: 'number', render: ({ bytes: length }) => bytes(length) },
      { label: 'BLAKE3', render: ({ blake3 }) => blake3 && el('code', { title: blake3, text: `${blake3.slice(0, 16)}…` }) },
      { label: t('attempt'), kind: 'number', render: ({ attempt }) => String(attempt) },
      { label: t('reason'), kind: 'text', render: ({ reason }) => sentence(clipped(reason, 2_000)) },
    ];
  }

  link({ name }) {
    if (!name) return t('none');
    const href = `/api/v1${this.address}/${encodeURIComponent(name)}`;
    const link = el('a', { href, download: '' }, foreign(clipped(name, 200)));
    return [link, name === WHOLE && el('span', { class: 'note', text: ` ${t('file_whole')}` })];
  }
}

function others({ reason, count, examples }) {
  return `${reason}: ${count} (${examples.join(', ')}${count > examples.length ? ', …' : ''})`;
}
