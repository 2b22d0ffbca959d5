// Teach: hold a picture, draw a box, name what is in it.

import {announce, element, note} from './dom.js';

export class Teach {
  constructor(place, page, picture) {
    this.page = page;
    this.picture = picture;
    this.shownStamp = null;
    // Thumbnails of what was taught here, by `keys`, and the newest, whose example is to come.
    this.thumbnails = new Map();
    this.fresh = null;
    this.build(place);
    picture.addEventListener('boxed', () => this.showBox());
  }

  build(place) {
    this.freeze = element('button', {type: 'button', onclick: () => this.toggle()}, 'Freeze');
    this.hint = element('p', {class: 'quiet', role: 'status'});
    this.sides = ['x', 'y', 'width', 'height'].map((name) => {
      const input = element('input', {type: 'number', min: 0, step: 1,
        onchange: () => this.typeBox()});
      return [input, element('label', {class: 'field'}, name, input)];
    });
    this.whole = element('button', {type: 'button', class: 'small',
      onclick: () => this.picture.setBox(null)}, 'All of the picture');
    this.name = element('input', {type: 'text', id: 'taught-name', autocomplete: 'off',
      placeholder: 'dock'});
    this.names = element('datalist', {id: 'taught-names'});
    this.name.setAttribute('list', 'taught-names');
    this.form = element('form', {class: 'edit', onsubmit: (event) => {
      event.preventDefault();
      this.teach();
    }}, element('div', {class: 'four'}, ...this.sides.map(([, label]) => label)), this.whole,
    element('div', {class: 'row'}, element('label', {class: 'hidden', for: 'taught-name'},
      'Name of what is in the box'), this.name, this.names,
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
    const {examples, words} = this.page.sections;
    const frozen = this.frozen();
    const classes = examples?.classes ?? [];
    this.freeze.textContent = frozen ? 'Let go' : 'Freeze';
    this.freeze.disabled = this.page.readOnly;
    for (const part of [this.form, this.after]) part.hidden = this.page.readOnly;
    const seen = frozen && this.shownStamp === `${frozen.sec}.${frozen.nanosec}`;
    this.hint.textContent = !frozen ? 'Hold the picture, then draw a box around the thing.'
      : seen ? 'Held. Drag a box, or use arrow keys on the picture; with Shift they resize it.'
        : 'The node holds a picture that this page has not seen: let go, and freeze again.';
    this.names.replaceChildren(...(words?.entries ?? []).map(
      ({name}) => element('option', {value: name})));
    this.placeFresh(classes);
    this.list.hidden = !classes.length;
    this.list.replaceChildren(...classes.map((each) => this.class(each)));
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
      element('ul', {class: 'thumbs'}, ...this.keys(name, examples).map(
        (key, i) => this.thumbnail(name, examples[i].stamp, this.thumbnails.get(key)))));
  }

  /** Return what tells the examples of a class apart: several may be of one picture. */
  keys(name, examples) {
    const seen = new Map();
    return examples.map(({camera, stamp}) => {
      const key = `${name}\n${camera}\n${stamp.sec}.${stamp.nanosec}`;
      seen.set(key, (seen.get(key) ?? 0) + 1);
      return `${key}\n${seen.get(key)}`;
    });
  }

  /** Give the newest thumbnail to its example, once that is there. */
  placeFresh(classes) {
    const found = this.fresh && classes.find(({name}) => name === this.fresh.name);
    if (!found || found.count <= this.fresh.before) return;
    this.thumbnails.set(this.keys(found.name, found.examples).at(-1), this.fresh.data);
    this.fresh = null;
  }

  thumbnail(name, stamp, data) {
    return element('li', {}, data
      ? element('img', {src: `data:image/jpeg;base64,${data}`, alt: `${name}, as it was shown`})
      : new Date(stamp.sec * 1000).toLocaleTimeString());
  }

  /** Take note of which picture is on the screen. */
  shown({frozen, stamp}) {
    const now = frozen ? `${stamp[0]}.${stamp[1]}` : null;
    if (now !== this.shownStamp) {
      this.shownStamp = now;
      this.update();
    }
  }

  showBox() {
    const box = this.picture.box ?? ['', '', '', ''];
    this.sides.forEach(([input], i) => { input.value = box[i]; });
  }

  typeBox() {
    const box = this.sides.map(([input]) => input.valueAsNumber);
    if (box.every(Number.isFinite)) this.picture.setBox(box);
  }

  async toggle() {
    await this.ask({action: 'freeze', frozen: !this.frozen()});
  }

  async teach() {
    const name = this.name.value.trim();
    if (!name) {
      note(this.error, 'Name what is in the box.', 'error');
      this.name.focus();
      return;
    }
    const before = this.page.sections.examples?.classes.find(
      (each) => each.name === name)?.count ?? 0;
    const {ok, thumbnail} = await this.ask(
      {action: 'teach', name, box: this.picture.box, camera: this.page.camera},
      `Looking at ${name} …`);
    if (!ok || !thumbnail) return;
    this.fresh = {name, before, data: thumbnail};
    this.update();
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
