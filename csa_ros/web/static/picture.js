// The picture: a frame as it came, what lies over it, boxes, and what is under the pointer.

import {byId, element, swatch} from './dom.js';

const DECODED = {colorSpaceConversion: 'none', premultiplyAlpha: 'none'};
const STEP = 0.02;

/** Return the description and the pictures in a message of a frame. */
export function unpack(data) {
  const length = new DataView(data).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  let start = 4 + length;
  const pictures = {};
  for (const {kind, bytes} of header.pictures) {
    pictures[kind] = new Blob([new Uint8Array(data, start, bytes)]);
    start += bytes;
  }
  return {header, pictures};
}

/** Return the values (0 to 255) of a grey picture without loss: {width, height, values}. */
async function readValues(blob) {
  const bitmap = await createImageBitmap(blob, DECODED);
  const {width, height} = bitmap;
  const context = new OffscreenCanvas(width, height).getContext(
    '2d', {willReadFrequently: true});
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const values = new Uint8Array(width * height);
  for (let i = 0; i < values.length; i++) values[i] = rgba[4 * i];
  return {width, height, values};
}

/** Return 256 colours, red, green, blue and opacity, for values that are shares. */
function ramp(color) {
  const table = new Uint8ClampedArray(1024);
  for (let i = 0; i < 256; i++) table.set(color(i / 255), 4 * i);
  return table;
}

const CONFIDENCE = ramp((x) => [68 + 185 * x ** 1.6, 20 + 215 * x, 110 - 80 * x ** 2, 255]);
const HEAT = ramp((x) => [255 * Math.min(1, 2.4 * x), 255 * Math.max(0, 1.7 * x - 0.6),
  40 + 140 * x * (1 - x), 255 * Math.min(1, 1.6 * x)]);

export class Picture extends EventTarget {
  constructor() {
    super();
    this.canvas = byId('picture');
    this.layer = byId('layer');
    this.context = this.canvas.getContext('2d');
    this.size = [640, 480];
    this.classes = new Map();
    this.shown = 'labels';
    this.opacity = 0.55;
    this.beside = false;
    this.values = {};
    this.found = [];
    this.objects = [];
    // What a thing is marked with, while somebody may; null elsewhere.
    this.tool = null;
    // Where the pointer is, in shares of the picture; null if it is elsewhere.
    this.at = null;
    this.listen();
  }

  listen() {
    this.canvas.addEventListener('pointermove', (event) => {
      const place = this.place(event);
      this.tool?.move(...this.pixels(place));
      this.point(place);
    });
    this.canvas.addEventListener('pointerleave', () => {
      this.tool?.leave();
      if (document.activeElement !== this.canvas) this.point(null);
    });
    this.canvas.addEventListener('pointerdown', (event) => {
      if (!this.tool) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.tool.begin(...this.pixels(this.place(event)));
    });
    for (const end of ['pointerup', 'pointercancel']) {
      this.canvas.addEventListener(end, () => this.tool?.end());
    }
    this.canvas.addEventListener('keydown', (event) => this.key(event));
    this.canvas.addEventListener('blur', () => {
      this.tool?.leave();
      this.point(null);
    });
  }

  /** Return where an event is, in shares of the picture, which may not fill the canvas. */
  place(event) {
    const area = this.canvas.getBoundingClientRect();
    const scale = Math.min(area.width / this.canvas.width, area.height / this.canvas.height);
    const width = this.canvas.width * scale;
    const height = this.canvas.height * scale;
    const clamp = (share) => Math.min(Math.max(share, 0), 1);
    return [clamp((event.clientX - area.left - (area.width - width) / 2) / width),
      clamp((event.clientY - area.top - (area.height - height) / 2) / height)];
  }

  point(at) {
    const changed = (at === null) !== (this.at === null);
    this.at = at;
    this.read();
    this.paintSoon();
    if (changed) this.dispatchEvent(new Event('pointed'));
  }

  pixels([x, y]) {
    return [x * this.size[0], y * this.size[1]];
  }

  /** Let a tool mark things in the picture, or none. */
  take(tool) {
    this.tool = tool;
    if (tool) tool.size = this.size;
    this.canvas.classList.toggle('drawing', Boolean(tool));
    this.paintSoon();
  }

  key(event) {
    const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    const step = steps[event.key];
    if (!step && !(this.tool && event.key === ' ')) return;
    event.preventDefault();
    if (!step) {
      this.tool.press();
    } else if (this.tool) {
      this.tool.go(step, event.shiftKey);
    } else {
      const [x, y] = this.at ?? [0.5, 0.5];
      const clamp = (share) => Math.min(Math.max(share, 0), 1);
      this.point([clamp(x + step[0] * STEP), clamp(y + step[1] * STEP)]);
    }
  }

  setLegend(legend) {
    this.classes = new Map((legend?.classes ?? []).map((each) => [each.id, each]));
    this.colors = new Uint8ClampedArray(1024);
    for (const {id, color} of this.classes.values()) this.colors.set([...color, 255], 4 * id);
  }

  /** Show a frame; return when it is on the screen, with the share of each class by its id. */
  async show({header, pictures}) {
    const names = Object.keys(pictures).filter((kind) => kind !== 'image');
    const [image, ...values] = await Promise.all([
      pictures.image ? createImageBitmap(pictures.image, DECODED) : null,
      ...names.map((kind) => readValues(pictures[kind]))]);
    this.image?.close();
    this.image = image;
    this.values = Object.fromEntries(names.map((kind, i) => [kind, values[i]]));
    this.found = header.found?.found ?? [];
    this.objects = header.objects?.objects ?? [];
    if (header.size) {
      this.size = header.size;
      if (this.tool) this.tool.size = header.size;
    }
    const base = image ?? values[0];
    if (base) this.resize(base.width, base.height);
    this.paint();
    this.read();
    return this.shares();
  }

  clear() {
    this.image = null;
    this.values = {};
    this.found = [];
    this.objects = [];
    this.paint();
    this.read();
  }

  resize(width, height) {
    for (const canvas of [this.canvas, this.layer]) {
      if (canvas.width !== width || canvas.height !== height) {
        canvas.width = width;
        canvas.height = height;
      }
    }
  }

  shares() {
    const labels = this.values.labels;
    if (!labels) return null;
    const counts = new Uint32Array(256);
    for (const id of labels.values) counts[id]++;
    return Array.from(counts, (count) => count / labels.values.length);
  }

  paintSoon() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.paint(); });
  }

  paint() {
    const {context, canvas} = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (this.image) context.drawImage(this.image, 0, 0, canvas.width, canvas.height);
    const layer = this.colored();
    if (layer && !this.beside) {
      context.globalAlpha = this.image ? this.opacity : 1;
      context.imageSmoothingEnabled = false;
      context.drawImage(layer, 0, 0, canvas.width, canvas.height);
      context.globalAlpha = 1;
    }
    if (this.beside) {
      const second = this.layer.getContext('2d');
      second.clearRect(0, 0, canvas.width, canvas.height);
      if (layer) second.drawImage(layer, 0, 0, canvas.width, canvas.height);
    }
    this.paintBoxes();
    this.tool?.paint(context, canvas.width / this.size[0]);
    if (this.at && document.activeElement === canvas && !this.tool) this.paintCross();
  }

  /** Return a canvas with the layer that is shown, null if there is none. */
  colored() {
    const values = this.values[this.shown];
    if (!values) return null;
    const table = {labels: this.colors, confidence: CONFIDENCE, heat: HEAT}[this.shown];
    const picture = new ImageData(values.width, values.height);
    const from = new Uint32Array(table.buffer);
    const to = new Uint32Array(picture.data.buffer);
    for (let i = 0; i < to.length; i++) to[i] = from[values.values[i]];
    const canvas = new OffscreenCanvas(values.width, values.height);
    canvas.getContext('2d').putImageData(picture, 0, 0);
    return canvas;
  }

  paintBoxes() {
    const {context, canvas} = this;
    const scale = canvas.width / this.size[0];
    context.lineWidth = Math.max(2, canvas.width / 320);
    const font = Math.max(11, canvas.width / 48);
    context.font = `600 ${font}px system-ui, sans-serif`;
    const colors = new Map([...this.classes.values()].map(({name, color}) => [name, color]));
    const boxes = [
      ...[...this.found].sort((one, other) => other.score - one.score).map((hit) => (
        {...hit, color: '#5ed1c3', text: [hit.phrase, percent(hit.score), far(hit)].join(' ')})),
      ...[...this.objects].sort((one, other) => other.area - one.area).map((object) => (
        {...object, color: light(colors.get(object.class)),
          text: `${object.class} ${percent(object.confidence)}`}))];
    for (const {box, color} of boxes) {
      context.strokeStyle = color;
      context.strokeRect(...box.map((side) => side * scale));
    }
    const written = [];
    for (const {box: [x, y], color, text} of boxes) {
      const width = context.measureText(text.trim()).width + font * 0.8;
      const height = font * 1.4;
      const left = Math.max(Math.min(x * scale, canvas.width - width), 0);
      const top = Math.max(y * scale - height, 0);
      // What would cover the text of a better hit, or of a larger object, is left to the list.
      if (written.some((other) => Math.abs(other.top - top) < height
        && left < other.left + other.width && other.left < left + width)) continue;
      written.push({left, top, width});
      context.fillStyle = color;
      context.fillRect(left, top, width, height);
      context.fillStyle = '#06201d';
      context.fillText(text, left + font * 0.4, top + font * 1.05);
    }
  }

  paintCross() {
    const {context, canvas} = this;
    const [x, y] = [this.at[0] * canvas.width, this.at[1] * canvas.height];
    for (const [color, width] of [['#000', 4], ['#fff', 2]]) {
      context.strokeStyle = color;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(x - 12, y);
      context.lineTo(x + 12, y);
      context.moveTo(x, y - 12);
      context.lineTo(x, y + 12);
      context.stroke();
    }
  }

  /** Say what is under the pointer. */
  read() {
    const place = byId('reading');
    const labels = this.values.labels;
    if (!this.at || !labels) {
      if (place.childNodes.length) place.replaceChildren();
      return;
    }
    const value = ({width, height, values}) => values[
      Math.min(Math.floor(this.at[1] * height), height - 1) * width
      + Math.min(Math.floor(this.at[0] * width), width - 1)];
    const id = value(labels);
    const known = this.classes.get(id);
    const parts = [known?.name ?? 'unknown', `id ${id}`];
    if (this.values.confidence) {
      parts.push(`confidence ${Math.round(value(this.values.confidence) / 2.55)} %`);
    }
    if (this.values.heat) parts.push(`heat ${Math.round(value(this.values.heat) / 2.55)} %`);
    place.replaceChildren(...(known ? [swatch(known.color)] : []),
      element('span', {}, parts.join(' · ')));
  }
}

/** Return a colour, so light that dark letters are read on it; grey for none. */
function light(color) {
  return `rgb(${(color ?? [0, 0, 0]).map((value) => Math.round(140 + 115 * value / 255)).join(',')})`;
}

export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

/** Return how far away a hit is, in words; none where that is not known. */
export function far({distance}) {
  return typeof distance === 'number' ? `${distance.toFixed(1)} m` : '';
}
