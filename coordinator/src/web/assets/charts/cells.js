// How two parameters divide jobs into cells: each value of a parameter that has few, else ranges of equal width; and what jobs in a cell reached.

import { clipped, number } from '../format.js';
import { Scale } from './scale.js';

/** Up to so many different values, each has cells of its own; with more there are so many ranges. */
const VALUES_MAX = 24;
const RANGES = 10;

/** One side of the map. */
export class Side {
  constructor(column) {
    this.column = column;
    this.label = column.label;
    const distinct = distinctOf(column);
    if (distinct.length <= VALUES_MAX) {
      const place = new Map(distinct.map((value, at) => [value, at]));
      this.texts = distinct.map((value) => clipped(String(typeof value === 'number' ? number(value, 4) : value), 24));
      this.cellOf = (row) => place.get(column.valueOf(row)) ?? -1;
      return;
    }
    if (column.isCategorical) {
      // The first names of a long list, and all others together.
      const place = new Map(distinct.slice(0, VALUES_MAX - 1).map((value, at) => [value, at]));
      this.texts = [...place.keys()].map((value) => clipped(String(value), 24)).concat('…');
      this.cellOf = (row) => (column.valueOf(row) === undefined ? -1 : (place.get(column.valueOf(row)) ?? VALUES_MAX - 1));
      return;
    }
    const scale = new Scale(column);
    const edges = Array.from({ length: RANGES + 1 }, (_, at) => scale.value(at / RANGES));
    this.texts = edges.slice(1).map((to, at) => `${number(edges[at], 3)}–${number(to, 3)}`);
    this.cellOf = (row) => {
      const at = scale.at(column.numbers[row]);
      return Number.isFinite(at) ? Math.max(0, Math.min(RANGES - 1, Math.floor(at * RANGES))) : -1;
    };
  }

  get length() {
    return this.texts.length;
  }
}

/** The different values of a column, in order; at most one more than have cells. */
function distinctOf(column) {
  if (column.values) {
    const used = new Set(column.data);
    return column.names.filter((name) => used.has(column.values.indexOf(name)));
  }
  const seen = new Set();
  for (const value of column.data) {
    if (!Number.isNaN(value)) seen.add(value);
    if (seen.size > VALUES_MAX) break;
  }
  return [...seen].sort((a, b) => a - b);
}

/** What the jobs of each cell reached: of those that `isIn` takes. Cells are numbered row by row. */
export function reached(columns, across, down, maximize, isIn) {
  const cells = new Map();
  for (let row = 0; row < columns.rows; row += 1) {
    const value = columns.objective[row];
    if (!Number.isFinite(value) || !isIn(row)) continue;
    const [x, y] = [across.cellOf(row), down.cellOf(row)];
    if (x < 0 || y < 0) continue;
    const at = y * across.length + x;
    const cell = cells.get(at);
    if (!cell) cells.set(at, { x, y, count: 1, sum: value, best: value, row });
    else {
      cell.count += 1;
      cell.sum += value;
      if (maximize ? value > cell.best : value < cell.best) [cell.best, cell.row] = [value, row];
    }
  }
  for (const cell of cells.values()) cell.mean = cell.sum / cell.count;
  return cells;
}

/** The parameters from that which explains most of the objective's variance by itself to that which explains least. */
export function telling(columns, isIn) {
  const share = (column) => {
    const side = new Side(column);
    const groups = new Map();
    let [jobs, sum] = [0, 0];
    for (let row = 0; row < columns.rows; row += 1) {
      const [value, at] = [columns.objective[row], side.cellOf(row)];
      if (!Number.isFinite(value) || at < 0 || !isIn(row)) continue;
      const group = groups.get(at) ?? { jobs: 0, sum: 0 };
      group.jobs += 1;
      group.sum += value;
      groups.set(at, group);
      jobs += 1;
      sum += value;
    }
    let between = 0;
    for (const group of groups.values()) between += (group.sum / group.jobs - sum / jobs) ** 2 * group.jobs;
    // Many groups explain much by chance.
    return groups.size > 1 ? between / (groups.size - 1) : -1;
  };
  return columns.parameters.map((column) => [column, share(column)]).sort(([, a], [, b]) => b - a).map(([column]) => column);
}
