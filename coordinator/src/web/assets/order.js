// The order of many rows by a column, and their ranks. Numbers are packed into keys that typed arrays sort without calling back: a hundred
// thousand rows take ten milliseconds in place of a hundred.

/** More rows than a key has room for next to 32 bits of value; the server sends at most 200,000. */
const ROWS_MAX = 2 ** 20;
const LAST = 0xffffffff;
/** The golden section: multiples of it lie evenly between whole numbers, however many there are. */
const GOLDEN = 0.6180339887498949;

/** By how much to go on among so many, from the last to the first again, so that each comes once and every beginning is like the whole. */
export function stride(length) {
  let step = Math.max(1, Math.round(length * GOLDEN));
  while (divisor(step, length) > 1) step += 1;
  return step;
}

/** The greatest common divisor. */
function divisor(one, other) {
  return other === 0 ? one : divisor(other, one % other);
}

/** Rows in the rising order of their numbers, those without one last; equal ones as they are. */
export function rising(numbers) {
  return packed(numbers, 1);
}

/** Rows in the falling order of their numbers, those without one last; equal ones as they are. */
function falling(numbers) {
  return packed(numbers, -1);
}

function packed(numbers, direction) {
  const rows = Math.min(numbers.length, ROWS_MAX);
  const value = new Float32Array(1);
  const bits = new Uint32Array(value.buffer);
  const keys = new Float64Array(rows);
  for (let row = 0; row < rows; row += 1) {
    value[0] = numbers[row] * direction;
    // The bits of a float rise with its value if those of negative ones are turned around.
    const rank = Number.isNaN(value[0]) ? LAST : bits[0] >>> 31 ? ~bits[0] >>> 0 : (bits[0] | 0x80000000) >>> 0;
    keys[row] = rank * ROWS_MAX + row;
  }
  keys.sort();
  const order = new Uint32Array(rows);
  for (let place = 0; place < rows; place += 1) order[place] = keys[place] % ROWS_MAX;
  return order;
}

/** Rows from the best to the worst; those without an objective are left out. */
export function best(objective, maximize) {
  const order = maximize ? falling(objective) : rising(objective);
  let end = order.length;
  while (end > 0 && Number.isNaN(objective[order[end - 1]])) end -= 1;
  return order.subarray(0, end);
}

/** For each row its rank from 0 (the best) to 1, of equal ones the mean; NaN without an objective. */
export function ranks(order, objective) {
  const ranks = new Float32Array(objective.length).fill(NaN);
  const last = Math.max(1, order.length - 1);
  for (let from = 0, to = 0; from < order.length; from = to) {
    while (to < order.length && objective[order[to]] === objective[order[from]]) to += 1;
    for (let place = from; place < to; place += 1) ranks[order[place]] = (from + to - 1) / 2 / last;
  }
  return ranks;
}

/** The best `most` of the rows that `isIn` takes, from the best, of equal ones the first; those without an objective are left out. */
export function leading(objective, maximize, most, isIn) {
  const isBetter = (one, other) => (maximize ? objective[one] > objective[other] : objective[one] < objective[other]);
  const rows = [];
  for (let row = 0; row < objective.length; row += 1) {
    if (Number.isNaN(objective[row]) || (rows.length === most && !isBetter(row, rows[most - 1])) || !isIn(row)) continue;
    let place = rows.length;
    while (place > 0 && isBetter(row, rows[place - 1])) place -= 1;
    rows.splice(place, 0, row);
    if (rows.length > most) rows.pop();
  }
  return rows;
}

/** Parts of the costs from the least to the greatest. */
const PARTS = 1_024;

/**
 * Rows than which no other has both a smaller cost and a better value, by rising cost; of equal ones the first. `isIn` says which rows count.
 */
export function pareto(cost, value, maximize, isIn) {
  const isBetter = (one, other) => (maximize ? one > other : one < other);
  const rows = hardlyBeaten(cost, value, isBetter, isIn);
  const front = [];
  let reached = NaN;
  let costThere = NaN;
  for (const place of rising(Float32Array.from(rows, (row) => cost[row]))) {
    const row = rows[place];
    if (!isBetter(value[row], reached) && !Number.isNaN(reached)) continue;
    // Of equal costs the better one.
    if (cost[row] === costThere) front.pop();
    front.push(row);
    reached = value[row];
    costThere = cost[row];
  }
  return front;
}

/** The rows that no other of a cheaper part of the costs beats: few of many, which need not be sorted then. */
function hardlyBeaten(cost, value, isBetter, isIn) {
  const rows = [];
  let [least, most] = [Infinity, -Infinity];
  for (let row = 0; row < cost.length; row += 1) {
    if (Number.isNaN(value[row]) || Number.isNaN(cost[row]) || !isIn(row)) continue;
    rows.push(row);
    if (cost[row] < least) least = cost[row];
    if (cost[row] > most) most = cost[row];
  }
  if (!Number.isFinite(most - least)) return rows;
  const part = (row) => Math.min(PARTS - 1, Math.floor(((cost[row] - least) / (most - least || 1)) * PARTS));
  const best = new Float64Array(PARTS).fill(NaN);
  for (const row of rows) if (Number.isNaN(best[part(row)]) || isBetter(value[row], best[part(row)])) best[part(row)] = value[row];
  // What was reached before each part.
  let reached = NaN;
  for (let at = 0; at < PARTS; at += 1) {
    const own = best[at];
    best[at] = reached;
    if (!Number.isNaN(own) && (Number.isNaN(reached) || isBetter(own, reached))) reached = own;
  }
  return rows.filter((row) => Number.isNaN(best[part(row)]) || isBetter(value[row], best[part(row)]));
}
