// The lines of parallel axes, one a job. They are drawn in slices of a few milliseconds, the best first and the others behind them, so that a
// hundred thousand hold up nothing.

import { colour, el } from '../dom.js';
import { stride } from '../order.js';
import { Raster } from './raster.js';
import { RANK_COLOURS, css, rankColour, rankColours, triple } from './scale.js';
import { isDark } from './surface.js';

const SLICE_MS = 10;
const LINES_IN_PATH = 64;
/** With more lines than this, pixels are drawn and not strokes. */
export const RASTER_FROM = 4_000;
const SHOWN_EVERY_MS = 120;

/** Draws on the first two layers of a surface: what is left out on the first, the others above it. */
export class Lines {
  constructor(surface) {
    this.surface = surface;
  }

  /** Begins anew with what a chart shows: its axes in their places, columns, ranks, rows from the best, and which of them are left. */
  draw({ axes, columns, order, ranks, selection }) {
    this.shown = { axes, columns, order, ranks, selection };
    const left = selection.mask ? selection.count : columns.rows;
    this.inSlices(columns.rows > RASTER_FROM ? this.rastered() : this.stroked(left));
  }

  /** Rows to draw, from the best: those that are left, on top; then those without an objective; then the others, below them. */
  *pending(order = this.shown.order) {
    const { selection, columns, ranks: rank } = this.shown;
    for (const row of order) if (selection.has(row)) yield [1, rankColour(rank[row]), row];
    for (let row = 0; row < columns.rows; row += 1) if (Number.isNaN(rank[row]) && selection.has(row)) yield [1, RANK_COLOURS, row];
    if (selection.mask) for (const row of order) if (!selection.has(row)) yield [0, RANK_COLOURS, row];
  }

  /** Works in slices of a few milliseconds, until something else is to be drawn. */
  inSlices(work) {
    const turn = (this.turn = {});
    const slice = () => {
      if (turn !== this.turn) return;
      const end = this.surface.isPrinted ? Infinity : performance.now() + SLICE_MS;
      let isOver = false;
      while (!isOver && performance.now() < end) isOver = work.next().done;
      if (!isOver) requestAnimationFrame(slice);
    };
    slice();
  }

  /** Strokes lines, some of one colour at a time. What comes later lies behind. */
  *stroked(left) {
    const layers = [this.surface.clear(0), this.surface.clear(1)];
    const colours = [...rankColours(isDark()).map(css), colour('dim')];
    for (const layer of layers) {
      layer.globalCompositeOperation = 'destination-over';
      layer.lineWidth = left < 150 ? 1.5 : 1;
    }
    layers[0].globalAlpha = 0.5;
    layers[1].globalAlpha = left < 150 ? 0.9 : left < 1_500 ? 0.55 : 0.3;
    let [path, lines] = ['', 0];
    for (const [place, shade, row] of this.pending()) {
      if (path !== `${place} ${shade}` || lines === LINES_IN_PATH) {
        if (lines) layers[Number(path[0])].stroke();
        yield;
        [path, lines] = [`${place} ${shade}`, 0];
        layers[place].beginPath();
        layers[place].strokeStyle = colours[shade];
      }
      trace(layers[place], this.shown.axes, row);
      lines += 1;
    }
    if (lines) layers[Number(path[0])].stroke();
  }

  /** Draws very many lines pixel by pixel, and shows what there is every now and then. */
  *rastered() {
    const { width, height } = this.surface;
    const { axes, order } = this.shown;
    const colours = [...rankColours(isDark()), triple(colour('dim'))];
    const raster = new Raster(width, height);
    const canvas = el('canvas', { width: raster.width, height: raster.height });
    const show = () => {
      canvas.getContext('2d').putImageData(raster.image(colours), 0, 0);
      this.surface.clear(0);
      const layer = this.surface.clear(1);
      layer.globalCompositeOperation = 'source-over';
      layer.globalAlpha = 1;
      layer.drawImage(canvas, 0, 0);
    };
    let [lines, shown] = [0, performance.now()];
    // So that a picture of means changes little as it goes on.
    const step = stride(order.length);
    for (const [, shade, row] of this.pending(order.map((_, place) => order[(place * step) % order.length]))) {
      for (let place = 1; place < axes.length; place += 1) {
        const [from, to] = [axes[place - 1], axes[place]];
        raster.line(from.x, from.ys[row], to.x, to.ys[row], shade);
      }
      lines += 1;
      if (lines % LINES_IN_PATH !== 0) continue;
      if (performance.now() - shown > SHOWN_EVERY_MS) {
        show();
        shown = performance.now();
      }
      yield;
    }
    show();
  }
}

/** Takes a path along a row's line. */
export function trace(layer, axes, row) {
  axes.forEach((axis, place) => (place ? layer.lineTo(axis.x, axis.ys[row]) : layer.moveTo(axis.x, axis.ys[row])));
}
