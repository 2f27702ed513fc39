// Elements, built with text alone: what a user named cannot become markup.

/**
 * An element with properties and children. A property that begins with "on" is a listener; `class`, `data-*`, `aria-*`, `role` and their like
 * are attributes; all others are set as properties. Absent values (null, undefined, false) are left out.
 */
export function el(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'text') element.textContent = value;
    else if (name in element && !ATTRIBUTES.has(name) && !name.includes('-')) element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  add(element, children);
  return element;
}

// These exist as properties that read differently or not at all.
const ATTRIBUTES = new Set(['class', 'role', 'list', 'form', 'width', 'height']);

function add(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(element, child);
    else element.append(child);
  }
}

/** Replaces what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

/**
 * Replaces what has changed of what an element holds, so that neither the focus nor a selected text is lost with every answer. What is equal
 * keeps its listeners.
 */
export function update(element, ...children) {
  const fresh = children.flat(Infinity).filter((child) => child);
  fresh.forEach((child, place) => {
    const old = element.children[place];
    if (!old) element.append(child);
    else if (!old.isEqualNode(child)) replace(old, child);
  });
  while (element.children.length > fresh.length) element.lastElementChild.remove();
  return element;
}

/** Puts one element in the place of another, and the focus where it was. */
export function replace(old, fresh) {
  const held = old.contains(document.activeElement) ? [...old.querySelectorAll(FOCUSED)].indexOf(document.activeElement) : -1;
  old.replaceWith(fresh);
  if (held >= 0) fresh.querySelectorAll(FOCUSED)[held]?.focus({ preventScroll: true });
}

const FOCUSED = 'a, button, input, select, summary';

/** Text that someone else wrote: its direction does not reach beyond it. */
export function foreign(text, properties) {
  return el('bdi', { class: 'foreign', ...properties, text: String(text) });
}

/** A text with what stands between two backticks as code; one that is alone is a sign like others. */
export function coded(text) {
  const parts = String(text).split('`');
  if (parts.length % 2 === 0) return [String(text)];
  return parts.map((part, place) => (place % 2 ? el('code', { text: part }) : part)).filter(Boolean);
}

const SVG = 'http://www.w3.org/2000/svg';

/** An element of SVG with attributes. */
export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Says something to those who hear the page. */
export function say(text) {
  const says = document.getElementById('says');
  if (says && says.textContent !== text) says.textContent = text;
}

/** A colour of the theme. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Calls back when the theme changes, so that canvases are drawn again. */
export function onTheme(callback) {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', callback);
}

/** Calls back once for many calls within a frame. */
export function perFrame(callback) {
  let wanted = 0;
  return () => {
    if (!wanted) {
      wanted = requestAnimationFrame(() => {
        wanted = 0;
        callback();
      });
    }
  };
}

/** Calls back once what is there has been drawn. */
export function afterFrame(callback) {
  requestAnimationFrame(() => setTimeout(callback));
}

/** What can wait is done after so long at the latest. */
const LATER_MS = 500;

/** Calls back once the browser has time. */
export function whenIdle(callback) {
  if (window.requestIdleCallback) requestIdleCallback(callback, { timeout: LATER_MS });
  // Not every browser says when it has time.
  else setTimeout(callback, LATER_MS);
}

/** What is above an element may still grow when it is first laid out. */
const LAID_OUT_AFTER_MS = 100;

/**
 * Calls back at once where an element is on the screen or nearly, and otherwise when it comes there: what is further down may never be wanted.
 * Of several calls until then, the last counts.
 */
export function whenSeen(element, callback) {
  let isSeen = false;
  let waits = null;
  const go = () => {
    if (!isSeen || !waits) return;
    const said = waits;
    waits = null;
    callback(...said);
  };
  const look = (entries) => {
    isSeen = entries.at(-1).isIntersecting;
    setTimeout(go, LAID_OUT_AFTER_MS);
  };
  new IntersectionObserver(look, { rootMargin: '100px' }).observe(element);
  return (...said) => {
    waits = said;
    go();
  };
}

/**
 * Keeps an element where it is on the screen while what is above it grows or shrinks. Browsers do so themselves, if at all, for the first thing
 * that they see, which may be what grows.
 */
export function staysPut(element, above) {
  let top = null;
  const changed = new ResizeObserver(() => {
    const before = top;
    top = element.offsetParent === null ? null : element.offsetTop;
    const moved = top - before;
    if (before === null || top === null || !moved) return;
    // Whether it was on the screen before it moved, of a page that was scrolled at all: at its beginning, what comes first is read.
    if (scrollY > 0 && element.getBoundingClientRect().top - moved < innerHeight) scrollBy({ top: moved, behavior: 'instant' });
  });
  above.forEach((one) => changed.observe(one));
  // While it is on the screen, the browser does not do the same again.
  new IntersectionObserver((entries) => {
    document.documentElement.style.overflowAnchor = entries.at(-1).isIntersecting ? 'none' : '';
  }).observe(element);
}

/** Of how many things the latest choice is kept. */
const KEPT_MAX = 200;
const KEPT = 'sweep:kept';

/** What the reader chose before, on this browser (or, of `sessionStorage`, in this tab); `otherwise` where there is nothing. */
export function remembered(key, otherwise, storage = () => localStorage) {
  try {
    return JSON.parse(storage().getItem(`sweep:${key}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Keeps what the reader chose. A browser that keeps nothing is fine. */
export function remember(key, value, storage = () => localStorage) {
  try {
    outlast(`sweep:${key}`, storage());
    storage().setItem(`sweep:${key}`, JSON.stringify(value));
  } catch {
    // Storage may be full or forbidden.
  }
}

/** Notes that this is the latest choice, and forgets those before the last so many, as well as what an older page kept. */
function outlast(key, storage) {
  const kept = remembered('kept', [], () => storage);
  if (kept.at(-1) === key) return;
  const latest = [...kept.filter((other) => other !== key), key].slice(-KEPT_MAX);
  const all = Array.from({ length: storage.length }, (_, place) => storage.key(place));
  all.filter((other) => other.startsWith('sweep:') && other !== KEPT && !latest.includes(other)).forEach((other) => storage.removeItem(other));
  storage.setItem(KEPT, JSON.stringify(latest));
}

/** How a part of a page was left in this tab: who goes to a job and back finds it so. */
export class Left {
  constructor(key, otherwise) {
    this.key = `left:${key}`;
    this.values = { ...otherwise, ...remembered(this.key, {}, () => sessionStorage) };
  }

  /** Keeps some values. */
  keep(values) {
    Object.assign(this.values, values);
    remember(this.key, this.values, () => sessionStorage);
  }
}
