// Tables that are brought up to date in place, so that neither the focus nor a selected text is lost.

import { el, replace } from './dom.js';
import { column as measurements } from './format.js';

/**
 * A table. `columns` are {label, render(item), kind?, isUnseen?}: kind `number` aligns to the right, `text` wraps. `key(item)` names a row.
 * A column with `measure(item)` has measurements, which have as many decimals all the way down; `render(item, written)` puts more around them.
 */
export class LiveTable {
  constructor(label, columns, key, onRow) {
    this.columns = columns;
    this.key = key;
    this.onRow = onRow;
    this.rows = new Map();
    this.body = el('tbody');
    this.headings = el('tr', {}, columns.map((column) => heading(column)));
    this.element = el(
      'div',
      { class: 'scrolls', tabIndex: 0, role: 'region', 'aria-label': label },
      el('table', {}, el('thead', {}, this.headings), this.body),
    );
  }

  /** Shows these items, in this order. */
  show(items) {
    const rows = new Map();
    for (const column of this.columns) if (column.measure) column.written = measurements(items.map(column.measure));
    items.forEach((item, place) => {
      const key = this.key(item);
      const made = this.row(item);
      const row = this.rows.get(key) ?? made;
      if (row !== made) renew(row, made);
      if (this.body.children[place] !== row) this.body.insertBefore(row, this.body.children[place] ?? null);
      rows.set(key, row);
    });
    for (const [key, row] of this.rows) if (!rows.has(key)) row.remove();
    this.rows = rows;
  }

  row(item) {
    const row = el('tr', {}, this.columns.map((column) => cell(column, item)));
    this.onRow?.(row, item);
    return row;
  }
}

/** A heading of a column; one that sorts is a button. */
export function heading({ label, kind, sorts, isUnseen }, order, onSort) {
  const text = el('span', { class: isUnseen ? 'unseen' : 'clip', title: label, text: label });
  const way = order === 1 ? 'ascending' : order === -1 ? 'descending' : null;
  const content = sorts ? el('button', { type: 'button', class: 'sort', onclick: onSort }, text, el('i', { 'aria-hidden': 'true' })) : text;
  return el('th', { scope: 'col', 'data-kind': kind, 'aria-sort': way }, content);
}

/** A cell, with the name that it has where rows are stacked. */
export function cell({ label, render, measure, written, kind }, item) {
  const text = measure && written(measure(item));
  return el('td', { 'data-kind': kind, 'data-label': label }, render ? render(item, text) : text);
}

/** Takes over the cells that have changed. */
function renew(row, made) {
  const fresh = [...made.children];
  [...row.children].forEach((old, place) => {
    if (old.isEqualNode(fresh[place])) return;
    const held = old.contains(document.activeElement);
    replace(old, fresh[place]);
    // What had the focus may be gone: who goes on from there goes on in the row.
    if (held && document.activeElement === document.body) row.querySelector('a, button, input')?.focus({ preventScroll: true });
  });
}
