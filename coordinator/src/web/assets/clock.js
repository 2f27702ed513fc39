// What time it is where the times that the page shows were taken. A reader's clock may be wrong by hours, so that a worker that was just seen
// would be gone for long; and times that are shown go on while nothing else changes.

/** How often times that are shown are written again. */
const EVERY_MS = 10_000;

/** The server's time less the page's own, which no one sets; until the first answer, as the browser has it. */
let offset = performance.timeOrigin;
let isHeard = false;

/** Takes the time that an answer says. It is that of its making, so that of several the latest is the nearest: a kept answer says an old one. */
export function heard(response) {
  const said = Date.parse(response.headers.get('date') ?? '') - performance.now();
  if (Number.isNaN(said)) return;
  offset = isHeard ? Math.max(offset, said) : said;
  isHeard = true;
}

/** The server's time in milliseconds, as nearly as a page can know it. */
export function now() {
  return offset + performance.now();
}

/** Calls `write` now and again while the page is seen, and at once when it comes back. */
export function everyNowAndAgain(write) {
  const see = () => !document.hidden && write();
  setInterval(see, EVERY_MS);
  document.addEventListener('visibilitychange', see);
}
