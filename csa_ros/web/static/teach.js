// Teach: hold a picture, mark a thing in it, name it.

import {announce, element, fill, note} from './dom.js';
import {Box, Brush} from './tools.js';

const HINTS = {
  box: ['Held. Drag a box.', ' Or use arrow keys on the picture; with Shift they resize it.'],
  brush: ['Held. Paint the thing; what you paint around counts as well.',
    ' On the picture arrow keys move the brush, with Shift they paint, and Space sets a dot.'],
};

export class Teach {
  constructor(place, page, picture) {
    this.page = page;
    this.picture = picture;
    this.shownStamp = null;
    this.tools = {box: new Box(), brush: new Brush()};
    this.chosen = 'box';
    this.build(place);
    for (const tool of Object.values(this.tools)) {
      tool.addEventListener('changed', () => this.marked());
    }
  }

  build(place) {
    this.freeze = element('button', {type: 'button', onclick: () => this.toggle()}, 'Freeze');
    this.hint = element('p', {class: 'quiet', role: 'status'});
    this.sides = ['x', 'y', 'width', 'height'].map((name) => {
      const input = element('input', {type: 'number', min: 0, step: 1,
        onchange: () => this.typeBox()});
      return [input, element('label', {class: 'field'}, name, input)];
    });
    this.choices = element('fieldset', {class: 'segments'},
      element('legend', {class: 'hidden'}, 'Mark it with'),
      ...Object.keys(this.tools).map((name) => element('label', {},
        element('input', {type: 'radio', name: 'tool', value: name, checked: name === 'box',
          onchange: () => this.choose(name)}),
        element('span', {}, name[0].toUpperCase() + name.slice(1)))));
    this.boxing = element('div', {class: 'edit'},
      element('div', {class: 'four'}, ...this.sides.map(([, label]) => label)),
      element('div', {class: 'row'}, element('button', {type: 'button', class: 'small',
        onclick: () => this.tools.box.clear()}, 'All of the picture')));
    this.width = element('input', {type: 'range', min: 2, step: 1,
      oninput: () => { this.tools.brush.width = this.width.valueAsNumber; }});
    this.undo = element('button', {type: 'button', class: 'small',
      onclick: () => this.tools.brush.undo()}, 'Undo');
    this.wipe = element('button', {type: 'button', class: 'small',
      onclick: () => this.tools.brush.clear()}, 'Clear');
    this.brushing = element('div', {class: 'brush', hidden: true},
      element('label', {class: 'slide'}, 'Brush', this.width), this.undo, this.wipe);
    this.name = element('input', {type: 'text', id: 'taught-name', autocomplete: 'off',
      placeholder: 'dock'});
    this.names = element('datalist', {id: 'taught-names'});
    this.name.setAttribute('list', 'taught-names');
    this.form = element('form', {class: 'edit', onsubmit: (event) => {
      event.preventDefault();
      this.teach();
    }}, this.choices, this.boxing, this.brushing,
    element('div', {class: 'row'}, element('label', {class: 'hidden', for: 'taught-name'},
      'Name of what is marked'), this.name, this.names,
    element('button', {type: 'submit', class: 'main'}, 'Teach')));
    this.error = element('p', {class: 'note error', role: 'alert'});
    this.said = element('p', {class: 'note', role: 'status'});
    this.tune = element('button', {type: 'button', onclick: () => this.ask({action: 'tune'},
      'Tuning takes some seconds …')}, 'Tune');
    this.last = element('button', {type: 'button',
      onclick: () => this.ask({action: 'forget', name: ''})}, 'Forget the last');
    this.list = element('div', {class: 'edit'});
    this.kept = element('p', {class: 'quiet'});
    this.after = element('div', {class: 'row'}, this.tune, this.last);
    place.append(element('h2', {}, 'Teach by showing'),
      element('div', {class: 'row'}, this.freeze, this.hint), this.form, this.error, this.said,
      this.list, this.after, this.kept);
  }

  /** Return the stamp of the picture that the node holds of this camera, null for none. */
  frozen() {
    return this.page.sections.examples?.frozen?.[this.page.camera] ?? null;
  }

  update() {
    const {examples, thumbnails, words} = this.page.sections;
    const frozen = this.frozen();
    const classes = examples?.classes ?? [];
    this.freeze.textContent = frozen ? 'Let go' : 'Freeze';
    this.freeze.disabled = this.page.readOnly;
    for (const part of [this.form, this.after]) part.hidden = this.page.readOnly;
    const seen = frozen && this.shownStamp === `${frozen.sec}.${frozen.nanosec}`;
    const [hint, keys] = !frozen ? ['Hold the picture, then mark the thing in it.']
      : seen ? HINTS[this.chosen]
        : ['The node holds a picture that this page has not seen: let go, and freeze again.'];
    fill(this.hint, [hint], () => [hint, element('span', {class: 'keys'}, keys ?? '')]);
    fill(this.names, [words], () => (words?.entries ?? []).map(
      ({name}) => element('option', {value: name})));
    this.list.hidden = !classes.length;
    fill(this.list, [examples, thumbnails, this.page.readOnly],
      () => classes.map((each) => this.class(each)));
    this.tune.disabled = this.last.disabled = !classes.length;
    this.kept.textContent = !examples ? '' : examples.file ? `Saved in ${examples.file} on the robot.`
      : 'Not saved: start the node with the parameter examples to keep what it is taught.';
  }

  class({name, count, iou, word_iou: wordIou, examples}) {
    const worth = typeof iou === 'number'
      ? `found by the others: IoU ${iou.toFixed(2)} (the word alone ${wordIou.toFixed(2)})`
      : typeof wordIou === 'number' ? `the word alone: IoU ${wordIou.toFixed(2)}` : 'not in the words';
    return element('div', {class: 'taught'},
      element('div', {class: 'row'}, element('h3', {}, `${name}, ${count}`),
        this.page.readOnly ? null : element('button', {type: 'button', class: 'small',
          'aria-label': `Forget all of ${name}`,
          onclick: () => this.ask({action: 'forget', name})}, 'Forget')),
      element('p', {class: 'quiet'}, worth),
      this.thumbnails(name, examples));
  }

  /** Return how the newest examples of a class look. */
  thumbnails(name, examples) {
    const shown = (this.page.sections.thumbnails?.classes ?? []).find(
      (each) => each.name === name)?.thumbnails ?? [];
    const older = examples.length - shown.length;
    return element('ul', {class: 'thumbs'},
      older > 0 ? element('li', {}, shown.length ? `${older} older` : 'no picture') : null,
      ...shown.map(({jpeg, stamp}) => element('li', {}, element('img', {
        src: `data:image/jpeg;base64,${jpeg}`, title: new Date(stamp.sec * 1000).toLocaleString(),
        alt: `${name}, as it was shown`}))));
  }

  /** Take note of which picture is on the screen. */
  shown({frozen, stamp}) {
    const now = frozen ? `${stamp[0]}.${stamp[1]}` : null;
    if (now !== this.shownStamp) {
      this.shownStamp = now;
      this.update();
    }
  }

  get tool() {
    return this.tools[this.chosen];
  }

  choose(name) {
    this.chosen = name;
    this.boxing.hidden = name !== 'box';
    this.brushing.hidden = name !== 'brush';
    this.picture.take(this.tool);
    this.marked();
    this.update();
  }

  clear() {
    for (const tool of Object.values(this.tools)) tool.clear();
  }

  /** Show what is marked. */
  marked() {
    const {box, brush} = this.tools;
    const sides = box.sides ?? ['', '', '', ''];
    this.sides.forEach(([input], i) => { input.value = sides[i]; });
    this.width.max = Math.round(brush.size[0] / 4);
    this.width.value = brush.width;
    this.undo.disabled = this.wipe.disabled = !brush.strokes.length;
    this.picture.paintSoon();
  }

  typeBox() {
    const sides = this.sides.map(([input]) => input.valueAsNumber);
    if (sides.every(Number.isFinite)) this.tools.box.set(sides);
  }

  async toggle() {
    await this.ask({action: 'freeze', frozen: !this.frozen()});
  }

  async teach() {
    const name = this.name.value.trim();
    if (!name) {
      note(this.error, 'Name what is marked.', 'error');
      this.name.focus();
      return;
    }
    const {box, brush} = this.tools;
    const painted = this.chosen === 'brush';
    if (painted && !brush.strokes.length) {
      note(this.error, 'Paint over the thing first, or choose the box.', 'error');
      return;
    }
    const marked = painted ? {strokes: brush.strokes, size: brush.size} : {box: box.sides};
    const {ok} = await this.ask({action: 'teach', name, camera: this.page.camera, ...marked},
      `Looking at ${name} …`);
    // The next one is another thing, or this one in another picture.
    if (ok) brush.clear();
  }

  async ask(request, meanwhile = '') {
    note(this.said, meanwhile, 'busy');
    note(this.error, '', 'error');
    const answer = await this.page.ask(request);
    note(this.said, answer.ok ? answer.message : '');
    note(this.error, answer.ok ? '' : answer.message, 'error');
    if (answer.ok) announce(answer.message);
    return answer;
  }
}
