// The JSON API: requests, errors, and the columns of a sweep's jobs.

import { heard } from './clock.js';
import { best } from './order.js';
import { t } from './strings.js';

const ROOT = '/api/v1';
const PATIENCE_MS = 20_000;
/** Columns of a large sweep are some megabytes, which a slow line takes a while for. */
const PATIENCE_COLUMNS_MS = 120_000;

/** An answer that is an error; `code` is the server's word for its kind, or `offline` where nothing answered. */
export class Refused extends Error {
  constructor(code, message, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** Whether what was refused may be answered later: the coordinator is away, or has too much to do. */
export function passes({ status }) {
  return status === 0 || status === 429 || status >= 500;
}

async function ask(path, options, patience = PATIENCE_MS) {
  let response;
  try {
    response = await fetch(ROOT + path, { signal: AbortSignal.timeout(patience), ...options });
  } catch (error) {
    throw away(error);
  }
  heard(response);
  if (response.ok) return response;
  // The session has ended: the server sends a page that asks for the token.
  if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  let error = {};
  try {
    ({ error = {} } = await response.json());
  } catch {
    // A proxy may answer with a page of its own.
  }
  throw new Refused(error.code ?? 'unknown', error.message ?? `HTTP ${response.status}`, response.status);
}

/** Why nothing was answered, or not all of it. */
function away({ name }) {
  return new Refused('offline', ['TimeoutError', 'AbortError'].includes(name) ? t('error_slow') : t('error_offline'), 0);
}

/** What an answer says, which may still break off. */
function json(response) {
  return whole(response, 'json');
}

async function whole(response, as) {
  try {
    return await response[as]();
  } catch (error) {
    throw away(error);
  }
}

/** Reads JSON. */
export async function get(path) {
  return json(await ask(path));
}

/** Changes something, and gives the thing afterwards. */
export async function post(path, body) {
  const options = { method: 'POST' };
  if (body) {
    options.body = JSON.stringify(body);
    options.headers = { 'content-type': 'application/json' };
  }
  return json(await ask(path, options));
}

/** The first things of a list that comes in pages: at least `most`, where there are so many. `isWhole` says whether these are all. */
export async function list(path, most) {
  const items = [];
  let after = '';
  do {
    const rows = Math.min(1_000, most - items.length);
    const page = await get(`${path}?rows=${rows}${after && `&after=${encodeURIComponent(after)}`}`);
    items.push(...page.items);
    after = page.next;
  } while (after && items.length < most);
  return { items, isWhole: !after };
}

/**
 * The columns of a sweep's jobs; null where they are those that are known. Of a large sweep, those of the parameters are not among them: `isWhole`
 * says so, and `complete` adds them.
 */
export async function columns(sweep, known) {
  // The first answer is one that the page itself asked for (`frame.html`).
  return readColumns(sweep, known ? `first=true&knows=${known.version}` : 'first=true', known);
}

/** The columns with those of the parameters; null where they are those that are known. */
export async function wholeColumns(sweep, known) {
  if (known && !known.isWhole) return complete(sweep, known);
  return readColumns(sweep, known ? `knows=${known.version}` : '', known);
}

/** These columns with those of the parameters, or others where the jobs have changed since they came. Who asks meanwhile gets the same. */
export async function complete(sweep, columns) {
  if (columns.isWhole) return columns;
  columns.coming ??= readColumns(sweep, `has=${columns.version}`, columns);
  try {
    return await columns.coming;
  } finally {
    columns.coming = null;
  }
}

async function readColumns(sweep, query, known) {
  // What depends on what is known is never asked for again.
  const cache = known ? 'no-store' : 'default';
  const response = await ask(`/sweeps/${sweep}/columns?${['coarse=true', query].filter(Boolean).join('&')}`, { cache }, PATIENCE_COLUMNS_MS);
  if (response.status === 204) return null;
  const { head, columns } = read(await whole(response, 'arrayBuffer'));
  if (head.version !== known?.version) return new Columns(head, columns);
  known.add(columns);
  return known;
}

const KINDS = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, f32: Float32Array, f64: Float64Array };
/** Of numbers on a scale, the largest, and what stands for none. */
const STEPS = 65_534;
/** Before the name of a parameter, as a column. */
export const PARAMETER = 'parameter:';

/** What comes before columns, and the columns as views of the bytes that came. */
function read(bytes) {
  const length = new DataView(bytes).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  let at = 4 + length;
  const columns = head.columns.map(({ name, kind, bytes: size, values, run, scale }) => {
    const Kind = KINDS[kind];
    const alignment = Math.max(4, Kind.BYTES_PER_ELEMENT);
    const from = Math.ceil(at / alignment) * alignment;
    at = from + size;
    const came = run ? inRun(new Kind(head.rows), run) : new Kind(bytes, from, size / Kind.BYTES_PER_ELEMENT);
    return new Column(name, came, values, scale);
  });
  return { head, columns };
}

/** Jobs, column by column. */
export class Columns {
  constructor(head, columns) {
    this.version = head.version;
    this.rows = head.rows;
    this.leftOut = head.left_out;
    /** Whether the columns of parameters are there. */
    this.isWhole = head.has_parameters;
    /** The names of parameters, whether they are there or not, as columns. */
    this.varying = head.parameters.map((label) => ({ name: PARAMETER + label, label }));
    this.byName = new Map(columns.map((column) => [column.name, column]));
    this.job = this.byName.get('job').data;
    this.state = this.byName.get('state');
    this.objective = this.byName.get('objective').data;
    this.parameters = columns.filter((column) => column.isParameter);
  }

  /** Adds the columns of the parameters. */
  add(columns) {
    for (const column of columns) this.byName.set(column.name, column);
    this.parameters = columns;
    this.isWhole = true;
  }

  /** A column by its name; of a parameter, `parameter:NAME`. */
  get(name) {
    return this.byName.get(name);
  }

  get seconds() {
    return this.byName.get('train_seconds').data;
  }

  get packSizes() {
    return this.byName.get('pack_size').data;
  }

  /** Rows from the best to the worst, without those that have no objective. Made once, when someone asks. */
  order(maximize) {
    if (this.ordered?.maximize !== maximize) this.ordered = { maximize, rows: best(this.objective, maximize) };
    return this.ordered.rows;
  }

  /** How many jobs have an objective. */
  get withObjective() {
    let jobs = 0;
    for (let row = 0; row < this.rows; row += 1) if (!Number.isNaN(this.objective[row])) jobs += 1;
    return jobs;
  }

  /** How many jobs have an objective beyond the numbers that columns have: those that are infinite of themselves have diverged. */
  get beyond() {
    const diverged = this.state.values.indexOf('diverged');
    const { objective, state } = this;
    let jobs = 0;
    for (let row = 0; row < this.rows; row += 1) if (Math.abs(objective[row]) === Infinity && state.data[row] !== diverged) jobs += 1;
    return jobs;
  }

  /** The row of a job, or -1: jobs are in order. */
  rowOf(job) {
    let low = 0;
    let high = this.rows - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = this.job[middle];
      if (found === job) return middle;
      if (found < job) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** The rows of each state that some job is in, in the order of states: [state, rows]. */
  rowsByState() {
    const { values, data } = this.state;
    const counts = new Uint32Array(values.length + 1);
    for (let row = 0; row < this.rows; row += 1) counts[data[row]] += 1;
    const rows = values.map((state, place) => [state, new Uint32Array(counts[place])]);
    const next = new Uint32Array(values.length + 1);
    for (let row = 0; row < this.rows; row += 1) {
      const place = data[row];
      if (place < values.length) rows[place][1][next[place]++] = row;
    }
    return rows.filter(([, of]) => of.length);
  }

  /** Says of rows whether their jobs are in a state. */
  isIn(state) {
    const { data, values } = this.state;
    const place = values.indexOf(state);
    return (row) => data[row] === place;
  }

  /** The state of the job in a row. */
  stateOf(row) {
    return this.state.valueOf(row) ?? 'unknown';
  }
}

/** What steps of a scale stand for. */
function onScale(steps, { low, high, is_log: isLog }) {
  const of = new Float64Array(STEPS + 2);
  for (let step = 0; step <= STEPS; step += 1) of[step] = isLog ? low * (high / low) ** (step / STEPS) : low + ((high - low) * step) / STEPS;
  of[STEPS + 1] = NaN;
  // A loop: to call back for each of so many rows takes ten times as long.
  const numbers = new Float32Array(steps.length);
  for (let row = 0; row < numbers.length; row += 1) numbers[row] = of[steps[row]];
  return numbers;
}

/** Numbers that follow from each other. */
function inRun(numbers, { first, step }) {
  for (let row = 0; row < numbers.length; row += 1) numbers[row] = first + step * row;
  return numbers;
}

/** A number of a scale with the digits that it has: those beyond a step are not known. */
function rounded(number, { low, high, is_log: isLog }) {
  const step = isLog ? (number * Math.log(high / low)) / STEPS : (high - low) / STEPS;
  if (!(step > 0)) return number;
  const digits = Math.ceil(Math.log10(Math.abs(number) / step));
  return digits > 0 ? Number(number.toPrecision(digits)) : 0;
}

/** One column. */
export class Column {
  /** `scale` is that of numbers which came as steps of one: they are made of them when someone asks, as most are further down the page. */
  constructor(name, came, values, scale) {
    this.scale = scale;
    this.name = name;
    this.came = came;
    this.values = values;
    this.isParameter = name.startsWith(PARAMETER);
    this.label = this.isParameter ? name.slice(PARAMETER.length) : name;
    /** Whether its values are names, and not numbers on a scale. */
    this.isCategorical = values !== undefined && !values.every((value) => typeof value === 'number');
  }

  /** Its numbers: of values their places, of none NaN. */
  get data() {
    return (this.decoded ??= this.scale ? onScale(this.came, this.scale) : this.came);
  }

  /** The value in a row as it was; undefined where there is none. */
  valueOf(row) {
    const number = this.data[row];
    if (this.values) return this.values[number];
    if (Number.isNaN(number)) return undefined;
    return this.scale ? rounded(number, this.scale) : number;
  }

  /**
   * The place between two steps that is next to a number: what is on either side of it is so with all its digits too, as the server has it. Of a
   * column that did not come as steps, the number.
   */
  between(number) {
    if (!this.scale || !(this.scale.high > this.scale.low)) return number;
    const { low, high, is_log: isLog } = this.scale;
    const part = isLog ? Math.log(number / low) / Math.log(high / low) : (number - low) / (high - low);
    const to = (Math.floor(part * STEPS) + 0.5) / STEPS;
    return isLog ? low * (high / low) ** to : low + (high - low) * to;
  }

  /** All values as numbers: of names their places, of none NaN. Made once. */
  get numbers() {
    if (this.made) return this.made;
    if (!this.values) return (this.made = this.data);
    const places = this.isCategorical ? this.places() : this.values;
    const made = new Float64Array(this.data.length);
    for (let row = 0; row < made.length; row += 1) made[row] = places[this.data[row]] ?? NaN;
    return (this.made = made);
  }

  /** The names in the order in which axes show them. */
  get names() {
    return (this.sorted ??= [...this.values].sort((a, b) =>
      typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b)),
    ));
  }

  places() {
    return this.values.map((value) => this.names.indexOf(value));
  }
}
