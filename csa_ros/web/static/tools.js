// What a thing is marked with in the picture: a box, or a brush. All is in pixels of the camera.

// Of a side of the picture: a step of an arrow key; and of its width, that of the brush at first.
const STEP = 0.02;
const BRUSH = 0.08;
// Of its radius, after which a stroke has another point.
const SPACING = 0.25;
const COLOR = '#ffd24a';

/** What both have: they mark `size`, tell 'changed', and are drawn by `paint`. */
class Tool extends EventTarget {
  constructor() {
    super();
    this.size = [640, 480];
  }

  changed() {
    this.dispatchEvent(new Event('changed'));
  }

  /** Return by how much an arrow key goes, which is a direction x and y. */
  step(direction) {
    return direction.map((way, i) => way * Math.max(1, Math.round(this.size[i] * STEP)));
  }
}

export class Box extends Tool {
  // Left, top, width and height; null for none.
  sides = null;

  begin(x, y) {
    this.from = [x, y];
    this.move(x, y);
  }

  move(x, y) {
    if (!this.from) return;
    const [left, top] = this.from;
    this.set([Math.min(x, left), Math.min(y, top), Math.abs(x - left), Math.abs(y - top)]);
  }

  end() {
    this.from = null;
  }

  /** Take the sides of a box, kept inside of the picture, or null for none. */
  set(sides) {
    if (sides) {
      const [width, height] = this.size;
      const x = Math.round(Math.min(Math.max(sides[0], 0), width - 1));
      const y = Math.round(Math.min(Math.max(sides[1], 0), height - 1));
      sides = [x, y, Math.round(Math.min(Math.max(sides[2], 1), width - x)),
        Math.round(Math.min(Math.max(sides[3], 1), height - y))];
    }
    this.sides = sides;
    this.changed();
  }

  clear() {
    this.set(null);
  }

  /** Go where an arrow key says; with Shift the box is resized. */
  go(direction, shift) {
    const [width, height] = this.size;
    const [x, y] = this.step(direction);
    const sides = [...(this.sides ?? [width * 0.375, height * 0.375, width / 4, height / 4])];
    const first = shift ? 2 : 0;
    sides[first] += x;
    sides[first + 1] += y;
    this.set(sides);
  }

  press() {}

  leave() {}

  paint(context, scale) {
    if (!this.sides) return;
    context.strokeStyle = COLOR;
    context.lineWidth = Math.max(2, context.canvas.width / 320);
    context.strokeRect(...this.sides.map((side) => side * scale));
  }
}

export class Brush extends Tool {
  // Each has a radius and points, x and y in turn.
  strokes = [];

  // Where the brush is, null if it is nowhere; and its width, null for what fits the picture.
  at = null;

  chosen = null;

  painting = false;

  // A canvas with what was painted, null once that has changed.
  layer = null;

  get width() {
    return this.chosen ?? Math.round(this.size[0] * BRUSH);
  }

  set width(pixels) {
    this.chosen = pixels;
    this.changed();
  }

  begin(x, y) {
    this.painting = true;
    this.at = [x, y];
    this.strokes.push({radius: this.width / 2, points: [x, y]});
    this.repaint();
  }

  move(x, y) {
    this.at = [x, y];
    if (this.painting) {
      const {radius, points} = this.strokes.at(-1);
      const far = Math.hypot(x - points.at(-2), y - points.at(-1));
      if (far >= Math.max(1, radius * SPACING)) points.push(x, y);
      this.layer = null;
    }
    this.changed();
  }

  end() {
    if (!this.painting) return;
    this.painting = false;
    this.repaint();
  }

  leave() {
    this.at = null;
    this.changed();
  }

  clear() {
    this.strokes = [];
    this.repaint();
  }

  undo() {
    this.strokes.pop();
    this.repaint();
  }

  /** Go where an arrow key says; with Shift the brush paints on its way. */
  go(direction, shift) {
    const [width, height] = this.size;
    const [x, y] = this.step(direction);
    const from = this.at ?? [width / 2, height / 2];
    const to = [Math.min(Math.max(from[0] + x, 0), width),
      Math.min(Math.max(from[1] + y, 0), height)];
    if (shift) this.strokes.push({radius: this.width / 2, points: [...from, ...to]});
    this.at = to;
    this.repaint();
  }

  /** Paint where the brush is. */
  press() {
    const [width, height] = this.size;
    this.begin(...(this.at ?? [width / 2, height / 2]));
    this.end();
  }

  repaint() {
    this.layer = null;
    this.changed();
  }

  paint(context, scale) {
    const {width, height} = context.canvas;
    if (this.strokes.length) {
      if (this.layer?.width !== width || this.layer.height !== height) {
        this.layer = this.painted(width, height, scale);
      }
      context.globalAlpha = 0.55;
      context.drawImage(this.layer, 0, 0);
      context.globalAlpha = 1;
    }
    if (!this.at) return;
    for (const [color, thickness] of [['#000', 3], ['#fff', 1.5]]) {
      context.strokeStyle = color;
      context.lineWidth = Math.max(1, thickness * width / 640);
      context.beginPath();
      context.arc(this.at[0] * scale, this.at[1] * scale, this.width * scale / 2, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  /** Return a canvas with all strokes, and with what they enclose once none is being painted. */
  painted(width, height, scale) {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d', {willReadFrequently: true});
    context.strokeStyle = context.fillStyle = COLOR;
    context.lineCap = context.lineJoin = 'round';
    for (const {radius, points} of this.strokes) {
      context.lineWidth = 2 * radius * scale;
      context.beginPath();
      // A line that goes nowhere is not drawn.
      context.arc(points[0] * scale, points[1] * scale, radius * scale, 0, 2 * Math.PI);
      context.fill();
      context.beginPath();
      for (let i = 0; i < points.length; i += 2) {
        context.lineTo(points[i] * scale, points[i + 1] * scale);
      }
      context.stroke();
    }
    if (!this.painting) fillHoles(context);
    return canvas;
  }
}

/** Fill what is enclosed by what is opaque: it is taught as well. */
function fillHoles(context) {
  const {width, height} = context.canvas;
  const picture = context.getImageData(0, 0, width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  const outside = new Uint8Array(width * height);
  const open = [];
  const visit = (i) => {
    if (outside[i] || picture.data[4 * i + 3] > 127) return;
    outside[i] = 1;
    open.push(i);
  };
  for (let x = 0; x < width; x++) { visit(x); visit((height - 1) * width + x); }
  for (let y = 0; y < height; y++) { visit(y * width); visit(y * width + width - 1); }
  while (open.length) {
    const i = open.pop();
    const x = i % width;
    if (x > 0) visit(i - 1);
    if (x < width - 1) visit(i + 1);
    if (i >= width) visit(i - width);
    if (i < width * (height - 1)) visit(i + width);
  }
  const full = pixels.find((pixel) => pixel >>> 24 === 255);
  if (full === undefined) return;
  for (let i = 0; i < pixels.length; i++) if (!outside[i]) pixels[i] = full;
  context.putImageData(picture, 0, 0);
}
