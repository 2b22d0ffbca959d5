// The words: what is in force as chips, a draft of other ones, and one button that applies it.

import {announce, element, fill, note, swatch} from './dom.js';

const NONE = [];
const same = (one, other) => one.name === other.name
  && one.queries.join('|') === other.queries.join('|');
const sameList = (one, other) => one.length === other.length
  && one.every((entry, i) => same(entry, other[i]));

/** Return an entry as a vocabulary has it: name, name|synonym or name=query|query. */
export function spell({name, queries}) {
  if (queries[0] === name) return queries.join('|');
  return `${name}=${queries.join('|')}`;
}

/** Return what a person typed as entries: words with commas between, each as above. */
export function read(text) {
  return text.split(',').map((part) => part.trim()).filter(Boolean).map((part) => {
    const [name, rest] = part.split('=', 2).map((side) => side.trim());
    const queries = (rest ?? name).split('|').map((query) => query.trim()).filter(Boolean);
    return {name: rest === undefined ? queries[0] ?? '' : name, queries};
  });
}

export class Words {
  constructor(place, page) {
    this.place = place;
    this.page = page;
    this.draft = null;
    this.editing = null;
    this.reason = '';
    this.shares = null;
    this.presets = {};
    // Classes with boxes as they were asked for, until the node has said which it has.
    this.asked = null;
    this.build();
  }

  build() {
    this.chips = element('ul', {class: 'chips', 'aria-label': 'Words'});
    this.typed = element('input', {
      type: 'text', id: 'new-word', placeholder: 'forklift, or pallet|euro pallet',
      autocomplete: 'off', 'aria-describedby': 'word-help'});
    const add = element('form', {class: 'row', onsubmit: (event) => {
      event.preventDefault();
      this.add();
    }}, element('label', {class: 'hidden', for: 'new-word'}, 'New word'), this.typed,
    element('button', {type: 'submit'}, 'Add'));
    this.editor = element('div', {class: 'edit', hidden: true});
    this.preset = element('select', {id: 'preset', onchange: () => this.takePreset()});
    this.seen = element('p', {class: 'quiet'});
    this.state = element('p', {class: 'note', role: 'status'});
    this.error = element('p', {class: 'note error', role: 'alert'});
    this.apply = element('button', {class: 'main', type: 'button', onclick: () => this.send()},
      'Apply');
    this.undo = element('button', {type: 'button', onclick: () => this.reset()}, 'Undo');
    this.controls = element('div', {class: 'row'}, this.apply, this.undo);
    this.changing = element('div', {class: 'edit'}, add,
      element('p', {class: 'quiet', id: 'word-help'},
        'A bar adds synonyms. Choose a word above to rename it or to change what it looks for.'),
      element('div', {class: 'row'}, element('label', {for: 'preset'}, 'Preset'), this.preset));
    this.place.append(element('h2', {}, 'Words'), this.chips, this.seen, this.editor, this.changing,
      this.controls, this.error, this.state);
  }

  /** Show what the node says: the words that were set, and the legend that is in force. */
  update() {
    const {words, legend, diagnostics, parameters} = this.page.sections;
    this.set = words?.entries ?? NONE;
    this.legend = legend;
    if (this.draft && sameList(this.draft, this.set)) this.draft = null;
    if (parameters !== this.asked?.before) this.asked = null;
    this.changing.hidden = this.page.readOnly;
    const inForce = (legend?.classes ?? []).map(({name, queries}) => ({name, queries}));
    const fault = Object.values(diagnostics ?? {}).map(({message}) => message)
      .find((message) => message.includes('the new words are not in force'));
    if (fault) note(this.state, fault, 'error');
    else if (legend && this.set.length && !sameList(inForce, this.set)) {
      note(this.state, 'The new words are being encoded; frames go on with the old ones.', 'busy');
    } else if (legend) note(this.state, `In force: version ${legend.version}, ${legend.model}.`);
    else note(this.state, 'The node has not said yet which words are in force.', 'busy');
    this.paint();
  }

  setPresets(presets) {
    this.presets = presets;
    this.preset.replaceChildren(element('option', {value: ''}, 'Choose …'),
      ...Object.keys(presets).map((name) => element('option', {value: name},
        `${name} (${presets[name].length})`)));
  }

  setShares(shares) {
    this.shares = shares;
    for (const chip of this.chips.children) {
      const share = chip.querySelector('.share');
      if (share) share.textContent = this.shareOf(chip.dataset.name);
    }
  }

  framed() {
    return this.asked?.names ?? this.page.names('object_classes');
  }

  /** Say what of the classes with boxes is in the picture. */
  setObjects(objects) {
    const counts = new Map(this.framed().map((name) => [name, 0]));
    for (const {class: name} of objects) counts.set(name, (counts.get(name) ?? 0) + 1);
    const text = counts.size ? `In boxes: ${
      [...counts].map(([name, count]) => `${count} × ${name}`).join(', ')}` : '';
    if (this.seen.textContent !== text) this.seen.textContent = text;
  }

  shareOf(name) {
    const known = this.legend?.classes.find((each) => each.name === name);
    return known && this.shares ? `${Math.round(100 * this.shares[known.id])} %` : '';
  }

  paint() {
    const entries = this.draft ?? this.set ?? [];
    const {parameters} = this.page.sections;
    const parts = [this.draft, this.set, this.legend, parameters, this.asked, this.page.readOnly];
    fill(this.chips, parts, () => {
      const gone = this.draft ? this.set.filter(
        (entry) => !this.draft.some(({name}) => name === entry.name)) : [];
      return [...entries.map((entry, i) => this.chip(entry, i)),
        ...gone.map(({name}) => element('li', {class: 'chip gone'}, name))];
    });
    this.apply.disabled = !this.draft;
    this.undo.disabled = !this.draft;
    this.controls.hidden = this.page.readOnly;
    note(this.error, this.reason, 'error');
  }

  chip(entry, i) {
    const known = this.legend?.classes.find(({name}) => name === entry.name);
    const isNew = this.draft && !this.set.some((other) => same(entry, other));
    const name = element(this.page.readOnly ? 'span' : 'button', {
      class: 'name', type: 'button', title: spell(entry),
      onclick: () => this.edit(i)}, entry.name,
    element('span', {class: 'share'}, this.shareOf(entry.name)));
    const chip = element('li', {class: isNew ? 'chip new' : 'chip'},
      ...(known ? [swatch(known.color)] : []), name, known ? this.frame(entry.name) : null,
      this.page.readOnly ? null : element('button', {
        type: 'button', 'aria-label': `Remove ${entry.name}`, onclick: () => this.remove(i)}, '×'));
    chip.dataset.name = entry.name;
    return chip;
  }

  /** Return what puts each region of a class into a box, null where that cannot be. */
  frame(name) {
    if (this.page.readOnly || !this.page.parameter('object_classes')) return null;
    const isFramed = this.framed().includes(name);
    return element('button', {type: 'button', class: 'frame', 'aria-pressed': String(isFramed),
      'aria-label': `Boxes around ${name}`, title: `Boxes around ${name}`,
      onclick: () => this.setFramed(isFramed
        ? this.framed().filter((each) => each !== name) : [...this.framed(), name])},
    element('span', {'aria-hidden': 'true'}));
  }

  async setFramed(names) {
    this.asked = {names, before: this.page.sections.parameters};
    this.paint();
    // None is an empty text, as lists without items have no type in ROS.
    const {ok, message} = await this.page.ask({
      action: 'set', values: {object_classes: names.length ? names : ''}});
    this.reason = ok ? '' : message;
    if (!ok) this.asked = null;
    this.paint();
  }

  change(entries) {
    this.draft = sameList(entries, this.set) ? null : entries;
    this.reason = '';
    this.paint();
  }

  entries() {
    return [...(this.draft ?? this.set)];
  }

  add() {
    const added = read(this.typed.value);
    if (!added.length) return;
    this.typed.value = '';
    this.change([...this.entries(), ...added]);
    announce(`${added.map(({name}) => name).join(', ')} added to the draft`);
  }

  remove(i) {
    const entries = this.entries();
    const [{name}] = entries.splice(i, 1);
    this.change(entries);
    this.closeEditor();
    announce(`${name} removed from the draft`);
    this.typed.focus();
  }

  takePreset() {
    const entries = this.presets[this.preset.value];
    if (entries) this.change(entries.map((entry) => ({...entry})));
    this.preset.value = '';
  }

  edit(i) {
    if (this.page.readOnly) return;
    const entry = this.entries()[i];
    const name = element('input', {type: 'text', value: entry.name});
    const queries = element('input', {type: 'text', value: entry.queries.join(' | ')});
    this.editor.replaceChildren(
      element('label', {class: 'field'}, 'Name', name),
      element('label', {class: 'field'}, 'Looks for (bars between)', queries),
      element('div', {class: 'row'},
        element('button', {type: 'button', class: 'small', onclick: () => {
          const entries = this.entries();
          const looked = queries.value.split('|').map((query) => query.trim()).filter(Boolean);
          const named = name.value.trim() || entry.name;
          entries[i] = {name: named, queries: looked.length ? looked : [named]};
          this.closeEditor();
          this.change(entries);
        }}, 'Keep'),
        element('button', {type: 'button', class: 'small', onclick: () => this.closeEditor()},
          'Cancel')));
    this.editor.hidden = false;
    name.focus();
  }

  closeEditor() {
    this.editor.hidden = true;
    this.editor.replaceChildren();
  }

  reset() {
    this.draft = null;
    this.reason = '';
    this.closeEditor();
    this.paint();
  }

  async send() {
    const wanted = this.draft;
    this.apply.disabled = true;
    const values = {vocabulary: wanted.map(spell)};
    const framed = this.framed();
    const left = framed.filter((name) => wanted.some((entry) => entry.name === name));
    if (left.length < framed.length) values.object_classes = left.length ? left : '';
    const {ok, message} = await this.page.ask({action: 'set', values});
    this.reason = ok ? '' : message;
    if (ok) announce('The words were taken, and are being encoded');
    this.paint();
  }
}
