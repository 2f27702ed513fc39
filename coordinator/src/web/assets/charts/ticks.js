// Ranges of axes and the values that they are marked at, for numbers of any size.

/** Largest number on an axis, so that no sum or difference of two is infinite; what is beyond it is beyond the axis. */
const LARGEST = 1e307;
/** Smaller numbers are drawn as 0 on an even axis: a fraction of them may be none that is told from 0. */
const SMALLEST = 1e-300;
/** Numbers that differ by less than this part of their size differ by rounding alone, and count as one. */
const ROUNDING = 1e-9;
/** The part of the range that is left free on each side. */
const MARGIN = 0.1;
const MARGIN_LOG = 0.04;
const TICKS_MAX = 50;

/** From where to where an even axis goes that shows numbers between these. It begins at 0 where only the margin would be below. */
export function evenRange(least, largest) {
  if (!(least <= largest)) return [0, 1];
  const [min, max] = [least, largest].map((end) => Math.max(-LARGEST, Math.min(LARGEST, end)));
  const size = Math.max(Math.abs(min), Math.abs(max));
  if (size < SMALLEST) return [0, 1];
  if (max - min <= size * ROUNDING) return [min - size * MARGIN, max + size * MARGIN];
  const margin = (max - min) * MARGIN;
  return [min >= 0 ? Math.max(0, min - margin) : min - margin, max <= 0 ? Math.min(0, max + margin) : max + margin];
}

/** The same of a logarithmic axis. What is not positive is below it. */
export function logRange(least, max) {
  if (!(max > 0 && least <= max)) return [0.1, 1];
  const min = least > 0 ? least : max / 1e3;
  const [low, high] = [Math.log10(min), Math.log10(max)];
  const margin = high - low > ROUNDING ? (high - low) * MARGIN_LOG : Math.log10(2);
  return [10 ** (low - margin) || Number.MIN_VALUE, Math.min(LARGEST, 10 ** (high + margin))];
}

/** About `wanted` round numbers between two. `isWhole`: of counts, between which there is nothing. */
export function evenTicks(min, max, wanted, isWhole = false) {
  const rough = (max - min) / Math.max(1, wanted);
  const size = 10 ** Math.floor(Math.log10(rough));
  const round = size * ([1, 2, 5, 10].find((times) => times * size >= rough) ?? 10);
  const step = isWhole ? Math.max(1, Math.round(round)) : round;
  const first = Math.ceil(min / step - 1e-9);
  const ticks = [];
  for (let place = 0; place < TICKS_MAX; place += 1) {
    const value = (first + place) * step;
    if (!(value <= max + step * 1e-9)) break;
    ticks.push(Number(value.toPrecision(12)));
  }
  return ticks;
}

/** About `wanted` powers of ten between two positive numbers: where they are too many, every so many. Where there are fewer than two, finer ones. */
export function logTicks(min, max, wanted, isWhole = false) {
  const first = Math.ceil(Math.log10(min) - 1e-9);
  const last = Math.floor(Math.log10(max) + 1e-9);
  if (last - first < 1) return finerTicks(min, max, first, last) ?? evenTicks(min, max, wanted, isWhole);
  const step = Math.ceil((last - first + 1) / Math.max(1, wanted));
  const ticks = [];
  for (let power = first; power <= last; power += step) ticks.push(Number(`1e${power}`));
  return ticks;
}

/** The ones, twos and fives, if there are some. */
function finerTicks(min, max, first, last) {
  const powers = Array.from({ length: last - first + 3 }, (_, place) => first - 1 + place);
  const ticks = powers.flatMap((power) => [1, 2, 5].map((times) => Number(`${times}e${power}`)));
  const found = ticks.filter((value) => value >= min && value <= max);
  return found.length > 2 ? found : null;
}
