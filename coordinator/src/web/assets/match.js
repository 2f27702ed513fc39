// The text filter of the table of jobs, over all of them. Of a column with few different values each is looked at once, and not each job.

import { number, parameter } from './format.js';
import { t } from './strings.js';

/** A function that says whether the job in a row matches: by its number, its state, or a parameter as `name=value`. `text` is in lower case. */
export function matcher(columns, text) {
  const tests = [columns.state, ...columns.parameters].map((column) => ofColumn(column, text)).filter((test) => test);
  if (/^\d+$/.test(text)) tests.push((row) => String(columns.job[row]).includes(text));
  return (row) => tests.some((test) => test(row));
}

function ofColumn(column, text) {
  const { data, values } = column;
  if (values) {
    const matches = values.map((value) => written(column, value).includes(text));
    return matches.includes(true) && ((row) => matches[data[row]]);
  }
  const name = `${column.label}=`.toLowerCase();
  if (name.includes(text)) return (row) => !Number.isNaN(data[row]);
  // What is left for the number, if anything can match at all.
  const named = text.lastIndexOf('=') + 1;
  if (named && !name.endsWith(text.slice(0, named))) return null;
  const digits = text.slice(named);
  if (!/^[\d.e-]+$/.test(digits)) return null;
  return (row) => !Number.isNaN(data[row]) && (name + number(data[row])).includes(text);
}

/** A value as the reader sees it, with its name. */
function written(column, value) {
  if (!column.isParameter) return `${value} ${t(`state_${value}`)}`.toLowerCase();
  return `${column.label}=${typeof value === 'number' ? number(value) : parameter(value)}`.toLowerCase();
}
