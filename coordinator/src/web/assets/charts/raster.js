// Very many lines, drawn pixel by pixel: each pixel has the mean rank of the lines that pass, where strokes above each other would show nothing
// but the last. It is also done in slices, while a canvas would take some hundred milliseconds at a time after a script has ended.

import { RANK_COLOURS } from './scale.js';

/** So many lines make a pixel opaque. */
const DENSE = 12;

/** A picture of lines, `width` by `height` pixels. */
export class Raster {
  constructor(width, height) {
    [this.width, this.height] = [Math.ceil(width), Math.ceil(height)];
    this.shades = new Uint32Array(this.width * this.height);
    this.counts = new Uint32Array(this.width * this.height);
    /** Lines that are left out of the means: they show only where no others pass. */
    this.greys = new Uint8Array(this.width * this.height);
  }

  /** Adds a line from one point to another further to the right; with the last shade, one that has no rank. */
  line(x0, y0, x1, y1, shade) {
    const { width, height, shades, counts, greys } = this;
    const from = Math.round(x0);
    const to = Math.min(width, Math.round(x1));
    const slope = (y1 - y0) / Math.max(1, to - from);
    let y = y0;
    for (let x = from; x < to; x += 1) {
      const next = y + slope;
      // All pixels between this column's y and the next one's, so that a steep line has no gaps.
      let top = Math.max(0, Math.min(y, next) | 0);
      const bottom = Math.min(height - 1, Math.max(y, next) | 0);
      for (; top <= bottom; top += 1) {
        const at = top * width + x;
        if (shade === RANK_COLOURS) {
          if (greys[at] < DENSE) greys[at] += 1;
        } else {
          shades[at] += shade;
          counts[at] += 1;
        }
      }
      y = next;
    }
  }

  /** The picture with these colours, [red, green, blue] each. */
  image(colours) {
    const image = new ImageData(this.width, this.height);
    const { data } = image;
    for (let at = 0; at < this.counts.length; at += 1) {
      const lines = this.counts[at] || this.greys[at];
      if (!lines) continue;
      const [red, green, blue] = colours[this.counts[at] ? contrasted(this.shades[at] / lines, lines) : RANK_COLOURS];
      data[at * 4] = red;
      data[at * 4 + 1] = green;
      data[at * 4 + 2] = blue;
      data[at * 4 + 3] = 55 + 200 * Math.min(1, lines / DENSE);
    }
    return image;
  }
}

/** A picture of very many points, squares of `side` pixels that let those below shine through. */
export class Cloud {
  constructor(width, height, side) {
    Object.assign(this, { width, height, side });
    this.image = new ImageData(width, height);
    this.counts = new Uint32Array(width * height);
  }

  /** Adds a point with its middle there, to be painted. */
  point(x, y) {
    const { width, height, side, counts } = this;
    const left = Math.round(x - side / 2);
    const top = Math.round(y - side / 2);
    const [right, bottom] = [Math.min(width, left + side), Math.min(height, top + side)];
    for (let down = Math.max(0, top); down < bottom; down += 1) {
      for (let across = Math.max(0, left); across < right; across += 1) counts[down * width + across] += 1;
    }
  }

  /** Paints the points that were added, above those before: each covers what is below as far as `alpha` says. */
  paint([red, green, blue], alpha) {
    const { counts } = this;
    const { data } = this.image;
    for (let pixel = 0; pixel < counts.length; pixel += 1) {
      if (counts[pixel] === 0) continue;
      const cover = 1 - (1 - alpha) ** counts[pixel];
      counts[pixel] = 0;
      const at = pixel * 4;
      const below = (data[at + 3] / 255) * (1 - cover);
      const all = cover + below;
      data[at] = (red * cover + data[at] * below) / all;
      data[at + 1] = (green * cover + data[at + 1] * below) / all;
      data[at + 2] = (blue * cover + data[at + 2] * below) / all;
      data[at + 3] = all * 255;
    }
  }
}

/** The colour of a mean rank. Means of many lie close together, so that their differences are drawn larger. */
function contrasted(mean, lines) {
  const middle = (RANK_COLOURS - 1) / 2;
  const factor = 1 + Math.min(1, lines / DENSE);
  return Math.max(0, Math.min(RANK_COLOURS - 1, Math.round(middle + (mean - middle) * factor)));
}
